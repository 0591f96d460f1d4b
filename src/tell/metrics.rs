//! Metrics in CloudWatch's embedded format: a log line that CloudWatch turns into metrics.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{collections::BTreeMap, time::Duration};

use ami_warden_core::{Change, RefusalCode};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::act::record::{ChangeRecord, Effect, ImageRecord, Outcome};

/// The namespace of all metrics.
pub(crate) const NAMESPACE: &str = "AmiWarden";

/// The dimension of all metrics.
const FUNCTION_NAME: &str = "FunctionName";

/// The further dimension of refusals.
const CODE: &str = "Code";

/// The value of the field `event` in the lines of metrics.
pub(super) const EVENT: &str = "metrics";

/// The numbers of images and of their changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    outcomes: BTreeMap<Outcome, u64>,
    refusals: BTreeMap<RefusalCode, u64>,
    grantees_added: u64,
    grantees_removed: u64,
    unconfirmed: u64,
    public_without_directives: u64,
}

/// The numbers of an invocation as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvocationMetrics<'a> {
    /// The function, from `AWS_LAMBDA_FUNCTION_NAME`; without it the metrics have no such
    /// dimension.
    pub function_name: Option<&'a str>,
    /// Requests to AWS: each page and each try.
    pub calls: u64,
    /// From event to answer.
    pub duration: Duration,
    /// Whether it is the first invocation of its process.
    pub cold_start: bool,
    /// Whether a sweep came to its end, its chain included.
    pub sweep_finished: bool,
}

impl Metrics {
    /// Counts an image by its outcome, its changes and its refusals.
    pub fn count(&mut self, record: &ImageRecord) {
        *self.outcomes.entry(record.outcome).or_default() += 1;
        self.public_without_directives += u64::from(record.public_without_directives);
        // Refusals come in the order of their codes: one look into the map for each code.
        for same in record
            .refusals
            .chunk_by(|one, next| one.code() == next.code())
        {
            if let Some(refusal) = same.first() {
                *self.refusals.entry(refusal.code()).or_default() += same.len() as u64;
            }
        }
        for change in &record.changes {
            self.count_change(change);
        }
    }

    /// Counts a change that was made; a preview and a dry run change nothing.
    fn count_change(&mut self, record: &ChangeRecord) {
        let Effect::Done { read_back } = &record.effect else {
            return;
        };
        if let Change::LaunchPermission(change) = &record.change {
            self.grantees_added += change.add.len() as u64;
            self.grantees_removed += change.remove.len() as u64;
        }
        if let Some(seen) = read_back
            && !seen.confirmed
        {
            self.unconfirmed += 1;
        }
    }

    /// Writes the lines. They stand alone on their lines in either log format: CloudWatch takes no
    /// metric from a line that holds anything but JSON.
    pub fn write(&self, invocation: &InvocationMetrics<'_>, now: DateTime<Utc>) {
        for json in self.lines(invocation, now) {
            tracing::info!(event = EVENT, json);
        }
    }

    /// The lines: one with the totals, and one for each refusal code, since a line has one value
    /// for each dimension.
    ///
    /// No image's id is a dimension: each value of a dimension is a metric of its own, and costs.
    #[must_use]
    pub fn lines(&self, invocation: &InvocationMetrics<'_>, now: DateTime<Utc>) -> Vec<String> {
        let mut values: Vec<(&str, &str, Value)> = Vec::new();
        // All are written each time: an absent metric and a zero are different things.
        for outcome in Outcome::ALL {
            values.push((
                metric(outcome),
                "Count",
                count(&self.outcomes, &outcome).into(),
            ));
        }
        values.extend([
            ("GranteesAdded", "Count", self.grantees_added.into()),
            ("GranteesRemoved", "Count", self.grantees_removed.into()),
            ("Unconfirmed", "Count", self.unconfirmed.into()),
            (
                "PublicWithoutDirectives",
                "Count",
                self.public_without_directives.into(),
            ),
            ("AwsCalls", "Count", invocation.calls.into()),
            ("ColdStart", "Count", u8::from(invocation.cold_start).into()),
            (
                "Duration",
                "Milliseconds",
                (invocation.duration.as_secs_f64() * 1000.0).into(),
            ),
        ]);
        if invocation.sweep_finished {
            // One for each sweep: its absence is what an alarm is about.
            values.push(("SweepFinished", "Count", 1.into()));
        }
        let mut lines = vec![line(&values, invocation.function_name, None, now)];
        for code in RefusalCode::ALL {
            let refusals = count(&self.refusals, code);
            if refusals > 0 {
                let values = [("Refusals", "Count", refusals.into())];
                lines.push(line(&values, invocation.function_name, Some(*code), now));
            }
        }
        lines
    }
}

/// The name of the metric that counts images with this outcome.
fn metric(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Failed => "Failed",
        Outcome::Refused => "Refused",
        Outcome::Deferred => "Deferred",
        Outcome::Applied => "Applied",
        Outcome::Planned => "Planned",
        Outcome::Unchanged => "Unchanged",
        Outcome::Skipped => "Skipped",
    }
}

fn count<K: Ord>(counts: &BTreeMap<K, u64>, key: &K) -> u64 {
    counts.get(key).copied().unwrap_or_default()
}

fn line(
    values: &[(&str, &str, Value)],
    function_name: Option<&str>,
    code: Option<RefusalCode>,
    now: DateTime<Utc>,
) -> String {
    let mut line = Map::new();
    let mut dimensions = Vec::new();
    if let Some(name) = function_name {
        dimensions.push(FUNCTION_NAME);
        line.insert(FUNCTION_NAME.into(), name.into());
    }
    if let Some(code) = code {
        dimensions.push(CODE);
        line.insert(CODE.into(), code.as_str().into());
    }
    let mut metrics = Vec::new();
    for (name, unit, value) in values {
        metrics.push(json!({ "Name": name, "Unit": unit }));
        line.insert((*name).into(), value.clone());
    }
    let directive =
        json!({ "Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics });
    let metadata = json!({ "Timestamp": now.timestamp_millis(), "CloudWatchMetrics": [directive] });
    line.insert("_aws".into(), metadata);
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use ami_warden_core::{Attribute, Ground, Refusal};

    use super::*;
    use crate::{
        act::record::ChangeRecord,
        tell::samples::{applied, changes, done, failed, id, refused},
    };

    const INVOCATION: InvocationMetrics<'_> = InvocationMetrics {
        function_name: Some("warden"),
        calls: 5,
        duration: Duration::from_micros(1500),
        cold_start: true,
        sweep_finished: false,
    };

    fn lines(records: &[ImageRecord], invocation: &InvocationMetrics<'_>) -> Vec<Value> {
        let mut metrics = Metrics::default();
        for record in records {
            metrics.count(record);
        }
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let lines = metrics.lines(invocation, now);
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn the_lines_are_in_cloudwatchs_embedded_format() {
        let unchanged = ImageRecord::new(id(1), Outcome::Unchanged);
        let count = |name: &str| json!({ "Name": name, "Unit": "Count" });
        assert_eq!(
            lines(&[refused(2), unchanged], &INVOCATION),
            [
                json!({
                    "_aws": { "Timestamp": 1_795_262_400_000_i64, "CloudWatchMetrics": [{
                        "Namespace": "AmiWarden",
                        "Dimensions": [["FunctionName"]],
                        "Metrics": [
                            count("Failed"), count("Refused"), count("Deferred"), count("Applied"),
                            count("Planned"), count("Unchanged"), count("Skipped"),
                            count("GranteesAdded"), count("GranteesRemoved"), count("Unconfirmed"),
                            count("PublicWithoutDirectives"), count("AwsCalls"),
                            count("ColdStart"), { "Name": "Duration", "Unit": "Milliseconds" },
                        ],
                    }] },
                    "FunctionName": "warden",
                    "Failed": 0, "Refused": 1, "Deferred": 0, "Applied": 0, "Planned": 0,
                    "Unchanged": 1, "Skipped": 0, "GranteesAdded": 0, "GranteesRemoved": 0,
                    "Unconfirmed": 0, "PublicWithoutDirectives": 0, "AwsCalls": 5, "ColdStart": 1,
                    "Duration": 1.5,
                }),
                json!({
                    "_aws": { "Timestamp": 1_795_262_400_000_i64, "CloudWatchMetrics": [{
                        "Namespace": "AmiWarden",
                        "Dimensions": [["FunctionName", "Code"]],
                        "Metrics": [count("Refusals")],
                    }] },
                    "FunctionName": "warden",
                    "Code": "grantee-not-allowed",
                    "Refusals": 2,
                }),
            ]
        );
    }

    #[test]
    fn a_preview_and_a_dry_run_add_and_remove_nobody() {
        let record = |effect: &Effect| {
            let mut record = ImageRecord::new(id(1), Outcome::Planned);
            for change in changes() {
                record.changes.push(ChangeRecord {
                    change,
                    effect: effect.clone(),
                });
            }
            record
        };
        for effect in [Effect::Proposed, Effect::DryRun { permitted: true }] {
            let totals = &lines(&[record(&effect)], &INVOCATION)[0];
            assert_eq!(
                (&totals["GranteesAdded"], &totals["GranteesRemoved"]),
                (&json!(0), &json!(0))
            );
        }
        let totals = &lines(&[applied()], &INVOCATION)[0];
        assert_eq!(
            (&totals["GranteesAdded"], &totals["GranteesRemoved"]),
            (&json!(1), &json!(1))
        );
    }

    #[test]
    fn changes_that_are_not_confirmed_are_counted() {
        let mut record = ImageRecord::new(id(1), Outcome::Applied);
        record.changes = changes()
            .into_iter()
            .map(|change| done(change, false))
            .collect();
        let records = [record.clone(), record, applied()];
        assert_eq!(lines(&records, &INVOCATION)[0]["Unconfirmed"], 2);
    }

    #[test]
    fn each_refusal_is_counted_under_its_own_code() {
        let refusal = |ground| Refusal::new(Attribute::LaunchPermission, ground);
        let mut record = ImageRecord::new(id(1), Outcome::Refused);
        record.refusals = vec![
            refusal(Ground::PublicNotAllowed(id(1))),
            refusal(Ground::ProductCode("a".into())),
            refusal(Ground::ProductCode("b".into())),
            refusal(Ground::Watermark("c".into())),
        ];
        let mut metrics = Metrics::default();
        metrics.count(&record);
        let counted: Vec<_> = metrics.refusals.into_iter().collect();
        assert_eq!(
            counted,
            [
                (RefusalCode::PublicNotAllowed, 1),
                (RefusalCode::ProductCode, 2),
                (RefusalCode::Watermark, 1),
            ]
        );
    }

    #[test]
    fn a_sweep_that_came_to_its_end_says_so_once() {
        assert_eq!(lines(&[], &INVOCATION)[0].get("SweepFinished"), None);
        let finished = InvocationMetrics {
            sweep_finished: true,
            ..INVOCATION
        };
        let totals = &lines(&[failed(1)], &finished)[0];
        assert_eq!(
            (&totals["SweepFinished"], &totals["Failed"]),
            (&json!(1), &json!(1))
        );
        let metrics = totals["_aws"]["CloudWatchMetrics"][0]["Metrics"]
            .as_array()
            .unwrap();
        assert!(metrics.contains(&json!({ "Name": "SweepFinished", "Unit": "Count" })));
    }

    #[test]
    fn images_that_are_public_without_directives_are_counted() {
        let mut record = ImageRecord::new(id(1), Outcome::Skipped);
        record.public_without_directives = true;
        assert_eq!(
            lines(&[record], &INVOCATION)[0]["PublicWithoutDirectives"],
            1
        );
    }

    #[test]
    fn every_value_of_a_line_is_named_among_its_metrics_or_dimensions() {
        let records = [applied(), refused(3), failed(9)];
        for line in lines(&records, &INVOCATION) {
            let directive = &line["_aws"]["CloudWatchMetrics"][0];
            let metrics = directive["Metrics"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| &it["Name"]);
            let dimensions = directive["Dimensions"][0].as_array().unwrap();
            let mut named: Vec<&str> = metrics
                .chain(dimensions)
                .map(|name| name.as_str().unwrap())
                .collect();
            named.push("_aws");
            named.sort_unstable();
            let keys: Vec<&str> = line
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, named);
        }
    }
}
