//! Faults: rules that make chosen requests go wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::state::State;
use crate::wire::error::{ApiError, default_message, status_of};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "PascalCase", deny_unknown_fields)]
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
        /// The HTTP status.
        status: u16,
        /// The body, sent as `text/html`.
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
        /// Milliseconds.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// Carried out at once, answered so many milliseconds later.
    Latency {
        /// Milliseconds.
        ms: u64,
    },
    /// Carried out, but these XML elements (with all they hold) are left out of the answer.
    Omit {
        /// Names of elements, for example `encrypted`.
        elements: Vec<String>,
    },
    /// A read is answered from the state as it was when the fault was added (eventual consistency).
    /// Writes are carried out as usual.
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
}

/// A rule: which requests go wrong, how, and how often. Of the rules in place, the first one that
/// fits a request and is not used up is applied, and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Fault {
    action: String,
    kind: FaultKind,
    #[serde(default)]
    times: Times,
    #[serde(default)]
    skip: u32,
    #[serde(default, rename = "Match")]
    params: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Times {
    Count(u32),
    Word(Word),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Forever,
}

impl Default for Times {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl Fault {
    /// The next request of an action (`*`: of any) goes wrong.
    pub fn new(action: &str, kind: FaultKind) -> Self {
        Self {
            action: action.to_owned(),
            kind,
            times: Times::default(),
            skip: 0,
            params: BTreeMap::new(),
        }
    }

    /// The next request of an action is refused with a code.
    pub fn error(action: &str, code: &str) -> Self {
        Self::new(action, FaultKind::error(code))
    }

    /// The next `times` requests go wrong, not just one.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Times::Count(times);
        self
    }

    /// All requests go wrong.
    pub fn forever(mut self) -> Self {
        self.times = Times::Word(Word::Forever);
        self
    }

    /// Lets the first `skip` fitting requests pass.
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Only requests with this value of a parameter, written as in
    /// [`Call::params`](crate::Call::params).
    pub fn with(mut self, param: &str, value: &str) -> Self {
        self.params.insert(param.to_owned(), Some(value.to_owned()));
        self
    }

    /// Only requests that have this parameter, whatever its value.
    pub fn with_any(mut self, param: &str) -> Self {
        self.params.insert(param.to_owned(), None);
        self
    }

    fn fits(&self, action: &str, params: &BTreeMap<String, String>) -> bool {
        (self.action == "*" || self.action == action)
            && self.params.iter().all(|(name, wanted)| {
                params
                    .get(name)
                    .is_some_and(|value| wanted.as_ref().is_none_or(|wanted| wanted == value))
            })
    }
}

/// What a rule does to one request.
pub(crate) enum Effect {
    Refuse(ApiError),
    Garbage { status: u16, body: String },
    Truncate,
    ResetBefore,
    ResetAfter,
    Hang(Option<u64>),
    Delay(u64),
    Omit(Vec<String>),
    ReadFrom(Arc<State>),
}

/// The rules in place.
#[derive(Default)]
pub(crate) struct Faults(Vec<(Fault, Option<Arc<State>>)>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault, state: &State) {
        let seen = (fault.kind == FaultKind::Stale).then(|| Arc::new(state.clone()));
        self.0.push((fault, seen));
    }

    /// The rules that are not used up.
    pub(crate) fn left(&self) -> Vec<Fault> {
        self.0.iter().map(|(fault, _)| fault.clone()).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The effect of the first rule that fits, which is thereby used once.
    pub(crate) fn pick(
        &mut self,
        action: &str,
        params: &BTreeMap<String, String>,
    ) -> Option<Effect> {
        let index = self.0.iter_mut().position(|(fault, _)| {
            if !fault.fits(action, params) || fault.times == Times::Count(0) {
                return false;
            }
            let passes = fault.skip > 0;
            fault.skip = fault.skip.saturating_sub(1);
            !passes
        })?;
        let (fault, seen) = &mut self.0[index];
        let effect = effect(&fault.kind, seen.as_ref());
        if let Times::Count(left) = &mut fault.times {
            *left -= 1;
        }
        self.0.retain(|(fault, _)| fault.times != Times::Count(0));
        Some(effect)
    }
}

fn effect(kind: &FaultKind, seen: Option<&Arc<State>>) -> Effect {
    match kind.clone() {
        FaultKind::Error {
            code,
            status,
            message,
        } => Effect::Refuse(ApiError {
            status: status.unwrap_or_else(|| status_of(&code)),
            message: message.unwrap_or_else(|| default_message(&code).to_owned()),
            code,
        }),
        FaultKind::Garbage { status, body } => Effect::Garbage { status, body },
        FaultKind::Truncated => Effect::Truncate,
        FaultKind::ResetBefore => Effect::ResetBefore,
        FaultKind::ResetAfter => Effect::ResetAfter,
        FaultKind::Hang { ms } => Effect::Hang(ms),
        FaultKind::Latency { ms } => Effect::Delay(ms),
        FaultKind::Omit { elements } => Effect::Omit(elements),
        FaultKind::Stale => match seen {
            Some(state) => Effect::ReadFrom(Arc::clone(state)),
            None => Effect::Delay(0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(faults: &mut Faults, action: &str) -> bool {
        let params = BTreeMap::from([("ImageId".to_owned(), "ami-00000001".to_owned())]);
        faults.pick(action, &params).is_some()
    }

    fn faults(fault: Fault) -> Faults {
        let mut faults = Faults::default();
        faults.add(fault, &State::new("111122223333"));
        faults
    }

    #[test]
    fn a_rule_skips_then_applies_so_many_times() {
        let mut faults = faults(Fault::error("A", "X").skip(1).times(2));
        let applied: Vec<bool> = (0..4).map(|_| pick(&mut faults, "A")).collect();
        assert_eq!(applied, [false, true, true, false]);
        assert!(faults.left().is_empty());
    }

    #[test]
    fn a_rule_for_other_actions_or_parameters_does_not_apply() {
        assert!(!pick(&mut faults(Fault::error("A", "X")), "B"));
        assert!(pick(&mut faults(Fault::error("*", "X")), "B"));
        let fault = || Fault::error("A", "X");
        assert!(!pick(
            &mut faults(fault().with("ImageId", "ami-00000002")),
            "A"
        ));
        assert!(!pick(&mut faults(fault().with_any("Attribute")), "A"));
        assert!(pick(&mut faults(fault().with_any("ImageId")), "A"));
    }

    #[test]
    fn the_json_form_has_defaults_and_refuses_mistakes() {
        let parse = |json: &str| serde_json::from_str::<Fault>(json);
        assert_eq!(
            parse(r#"{"Action":"A","Kind":{"Error":{"Code":"X"}}}"#).expect("a fault"),
            Fault::error("A", "X")
        );
        assert_eq!(
            parse(r#"{"Action":"*","Times":"forever","Match":{"ImageId":null},"Kind":"Stale"}"#)
                .expect("a fault"),
            Fault::new("*", FaultKind::Stale)
                .forever()
                .with_any("ImageId")
        );
        assert!(parse(r#"{"Action":"A","Kind":{"Error":{"Codes":"X"}}}"#).is_err());
        assert!(parse(r#"{"Action":"A","Kind":"Stale","Time":3}"#).is_err());
    }
}
