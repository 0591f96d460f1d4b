//! The ways in which a call can go wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What goes wrong, and whether the call is carried out all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "most members' names say it")]
pub enum FaultKind {
    /// The service refuses; nothing is carried out. See [`FaultKind::error`].
    Error {
        /// For example `RequestLimitExceeded`.
        code: String,
        /// None: the status that goes with the code.
        #[serde(default)]
        status: Option<u16>,
        /// None: a text that goes with the code.
        #[serde(default)]
        message: Option<String>,
    },
    /// An answer that is not from the service at all; nothing is carried out.
    Garbage {
        status: u16,
        /// Sent as `text/html`.
        body: String,
    },
    /// Carried out, but the answer breaks off half-way.
    Truncated,
    /// The connection is reset; nothing is carried out.
    ResetBefore,
    /// Carried out, but the connection is reset before the answer.
    ResetAfter,
    /// No answer, and nothing is carried out. The connection is reset after so many milliseconds;
    /// none: only the client's patience ends it.
    Hang {
        #[serde(default)]
        ms: Option<u64>,
    },
    /// Carried out at once, answered so many milliseconds later.
    Latency { ms: u64 },
    /// Carried out at once, answered later by so much for each result in the answer: a page of
    /// half the size takes half the time.
    SlowPages { per_result_ms: u64 },
    /// A page holds at most so many results, whatever was asked for. With 0 the page is empty, and
    /// its token leads to where it began: EC2 may answer so when a filter leaves nothing of a page.
    Page { most: usize },
    /// Carried out, but these elements (in JSON: members), with all they hold, are left out of the
    /// answer.
    Omit {
        /// Names of elements, for example `encrypted`.
        elements: Vec<String>,
    },
    /// Carried out, but these elements (in JSON: members) hold another text. One that the answer
    /// does not have is added at the end of the resource, if the fault is about one.
    Replace {
        /// Texts by the names of elements, for example `deprecationTime`.
        elements: BTreeMap<String, String>,
    },
    /// A read is answered from the state as it was when the fault was added (eventual
    /// consistency). Writes are carried out as usual.
    Stale,
}

impl FaultKind {
    /// A refusal with the status and text that go with its code.
    pub fn error(code: &str) -> Self {
        Self::Error {
            code: code.to_owned(),
            status: None,
            message: None,
        }
    }

    /// Leaves elements out of an answer.
    pub fn omit<'a>(elements: impl IntoIterator<Item = &'a str>) -> Self {
        let elements = elements.into_iter().map(str::to_owned).collect();
        Self::Omit { elements }
    }

    /// Puts a text in an element of an answer.
    pub fn replace(element: &str, text: &str) -> Self {
        let elements = BTreeMap::from([(element.to_owned(), text.to_owned())]);
        Self::Replace { elements }
    }

    /// Whether, about one resource, it changes only that resource's part of an answer, so that any
    /// number of them can be applied to one answer.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Omit { .. } | Self::Replace { .. } | Self::Stale)
    }
}
