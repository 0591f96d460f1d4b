//! Metrics in CloudWatch's embedded format: a log line that CloudWatch turns into metrics.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::{
    guardrail::Code,
    outcome::{Entry, Outcome},
    plan::Change,
};

/// The namespace of all metrics.
const NAMESPACE: &str = "AmiWarden";

/// Every outcome with the name of its metric. All are written each time: a metric that is absent and one that is zero are not the same.
const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Applied, "Applied"),
    (Outcome::Planned, "Planned"),
    (Outcome::Unchanged, "Unchanged"),
    (Outcome::Refused, "Refused"),
    (Outcome::Deferred, "Deferred"),
    (Outcome::Skipped, "Skipped"),
    (Outcome::Failed, "Failed"),
];

/// What one invocation did, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    outcomes: BTreeMap<Outcome, u64>,
    refusals: BTreeMap<Code, u64>,
    grantees_added: u64,
    grantees_removed: u64,
}

/// The numbers of an invocation that are not about images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Requests sent to AWS, those that were tried again included.
    pub calls: u64,
    /// From event to answer.
    pub duration: Duration,
    /// Whether it was the first of its process.
    pub cold_start: bool,
}

impl Metrics {
    /// Counts an image.
    pub fn count(&mut self, entry: &Entry) {
        *self.outcomes.entry(entry.outcome).or_default() += 1;
        for refusal in &entry.refusals {
            *self.refusals.entry(refusal.code).or_default() += 1;
        }
        for applied in entry.changes.iter().filter(|applied| applied.permitted.is_none()) {
            if let Change::LaunchPermission(change) = &applied.change {
                self.grantees_added += change.add.len() as u64;
                self.grantees_removed += change.remove.len() as u64;
            }
        }
    }

    /// The lines: one with the totals, and one for each refusal code, since a line has one value for each dimension.
    ///
    /// Never an image's id among the dimensions: each value of a dimension is a metric of its own that costs and lasts.
    #[must_use]
    pub fn lines(&self, effort: Effort, now: DateTime<Utc>) -> Vec<String> {
        let mut values: Vec<(&str, &str, Value)> = OUTCOMES
            .iter()
            .map(|(outcome, name)| (*name, "Count", json!(self.outcomes.get(outcome).copied().unwrap_or(0))))
            .collect();
        values.extend([
            ("GranteesAdded", "Count", json!(self.grantees_added)),
            ("GranteesRemoved", "Count", json!(self.grantees_removed)),
            ("AwsCalls", "Count", json!(effort.calls)),
            ("ColdStart", "Count", json!(u8::from(effort.cold_start))),
            ("Duration", "Milliseconds", json!(effort.duration.as_secs_f64() * 1000.0)),
        ]);
        let totals = line(&values, None, now);
        let by_code = self.refusals.iter().map(|(code, count)| line(&[("Refusals", "Count", json!(count))], Some(*code), now));
        std::iter::once(totals).chain(by_code).collect()
    }
}

fn line(values: &[(&str, &str, Value)], code: Option<Code>, now: DateTime<Utc>) -> String {
    let dimensions: Vec<&str> = code.iter().map(|_| "Code").collect();
    let metrics: Vec<Value> = values.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".into(),
        json!({
            "Timestamp": now.timestamp_millis(),
            "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics }],
        }),
    );
    line.extend(code.map(|code| ("Code".to_owned(), json!(code.as_str()))));
    line.extend(values.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())));
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        guardrail::{Attribute, Refusal},
        testing::now,
    };

    #[test]
    fn the_lines_are_in_cloudwatchs_embedded_format() {
        let refusal = Refusal {
            attribute: Attribute::LaunchPermission,
            code: Code::PublicNotAllowed,
            message: String::new(),
            resource: String::new(),
            ec2_code: None,
        };
        let id = "ami-0123abcd".parse().unwrap();
        let mut metrics = Metrics::default();
        metrics.count(&Entry { refusals: vec![refusal.clone(), refusal], ..Entry::new(id, Outcome::Refused) });
        metrics.count(&Entry::new(id, Outcome::Unchanged));
        let effort = Effort { calls: 5, duration: Duration::from_micros(1500), cold_start: true };
        let lines: Vec<Value> = metrics.lines(effort, now()).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let count = |name: &str| json!({ "Name": name, "Unit": "Count" });
        assert_eq!(
            lines,
            [
                json!({
                    "_aws": { "Timestamp": 1_795_262_400_000_i64, "CloudWatchMetrics": [{
                        "Namespace": "AmiWarden",
                        "Dimensions": [[]],
                        "Metrics": [
                            count("Applied"), count("Planned"), count("Unchanged"), count("Refused"), count("Deferred"),
                            count("Skipped"), count("Failed"), count("GranteesAdded"), count("GranteesRemoved"), count("AwsCalls"),
                            count("ColdStart"), { "Name": "Duration", "Unit": "Milliseconds" },
                        ],
                    }] },
                    "Applied": 0, "Planned": 0, "Unchanged": 1, "Refused": 1, "Deferred": 0, "Skipped": 0, "Failed": 0,
                    "GranteesAdded": 0, "GranteesRemoved": 0, "AwsCalls": 5, "ColdStart": 1, "Duration": 1.5,
                }),
                json!({
                    "_aws": { "Timestamp": 1_795_262_400_000_i64, "CloudWatchMetrics": [{
                        "Namespace": "AmiWarden",
                        "Dimensions": [["Code"]],
                        "Metrics": [count("Refusals")],
                    }] },
                    "Code": "public-not-allowed",
                    "Refusals": 2,
                }),
            ]
        );
    }
}
