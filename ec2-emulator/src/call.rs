//! The log of calls.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ec2;

/// One request, as it came over the wire, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Call {
    /// `ec2` or `ssm`.
    pub service: &'static str,
    /// For example `DescribeImages`.
    pub action: String,
    /// EC2: the parameters as they are on the wire (`Filter.1.Value.1`), without `Action` and
    /// `Version`. SSM: the top-level members of the body, as text or as JSON.
    pub params: BTreeMap<String, String>,
    /// The HTTP status that was answered; none when the request got no answer.
    pub status: Option<u16>,
    /// The code of a refusal.
    pub error_code: Option<String>,
    /// When it arrived, in milliseconds since the emulator began.
    pub at_ms: u64,
    /// How many requests were under way when it arrived, itself included.
    pub in_flight: usize,
}

impl Call {
    /// A parameter's value.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    /// Whether it only asked if it would be permitted.
    pub fn is_dry_run(&self) -> bool {
        self.param("DryRun") == Some("true")
    }

    /// Whether its action may change something and it was no dry run, whatever became of it.
    pub fn is_write(&self) -> bool {
        self.service == "ec2" && ec2::is_write(&self.action) && !self.is_dry_run()
    }

    /// Whether it was answered with success.
    pub fn succeeded(&self) -> bool {
        self.status == Some(200)
    }
}
