//! The log of calls.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::services::ec2;

/// One request, as it came over the wire, and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Call {
    /// Counts the requests in the order of their arrival, from 1.
    pub number: u64,
    /// `ec2`, `ssm`, `kms` or `sts`.
    pub service: &'static str,
    /// For example `DescribeImages`.
    pub action: String,
    /// EC2 and STS: the parameters as they are on the wire (`Filter.1.Value.1`), without `Action`
    /// and `Version`. The others: the top-level members of the body, as text or as JSON.
    pub params: BTreeMap<String, String>,
    /// The access key that the request was signed with: the sender.
    pub access_key_id: Option<String>,
    /// The HTTP status of the answer; none when the request got no answer.
    pub status: Option<u16>,
    /// The code of a refusal.
    pub error_code: Option<String>,
    /// The moment of arrival, in milliseconds since the emulator began.
    pub at_ms: u64,
    /// The moment at which the call was carried out: later than `at_ms` if a gate held it.
    pub done_ms: u64,
    /// The number of requests under way on arrival, itself included.
    pub in_flight: usize,
}

impl Call {
    /// The value of a parameter, by its name on the wire.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    /// Whether it only asked if it would be permitted.
    pub fn is_dry_run(&self) -> bool {
        self.param("DryRun") == Some("true")
    }

    /// Whether its action may change something and it was no dry run, whatever its outcome.
    pub fn is_write(&self) -> bool {
        self.service == "ec2" && ec2::is_write(&self.action) && !self.is_dry_run()
    }

    /// Whether it was answered with success.
    pub fn succeeded(&self) -> bool {
        self.status == Some(200)
    }

    /// Whether one of its parameters has exactly this value.
    pub(crate) fn names(&self, id: &str) -> bool {
        self.params.values().any(|value| value == id)
    }

    #[cfg(test)]
    pub(crate) fn sample(action: &str) -> Self {
        Self {
            number: 1,
            service: "ec2",
            action: action.to_owned(),
            params: BTreeMap::new(),
            access_key_id: None,
            status: None,
            error_code: None,
            at_ms: 0,
            done_ms: 0,
            in_flight: 1,
        }
    }
}
