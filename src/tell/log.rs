//! Log lines: one JSON object a line, with a timestamp and a level.
//!
//! Our own subscriber, because Lambda takes a JSON line without a valid RFC 3339 timestamp for INFO
//! and would drop an ERROR when only warnings are wanted, and the runtime's own subscriber writes
//! none:
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>.

use std::{fmt, io::Write};

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan};

use super::{cut::Node, metrics};

/// The level that Lambda's logging configuration sets.
pub(crate) const LOG_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";
/// The format that Lambda's logging configuration sets.
pub(crate) const LOG_FORMAT: &str = "AWS_LAMBDA_LOG_FORMAT";

/// The most bytes of a line.
pub(crate) const LINE_BYTES_MAX: usize = 200_000;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

/// The level and the format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    level: LevelFilter,
    format: Format,
}

/// A variable of Lambda's logging configuration with a value that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogSettingsError {
    /// The value of the level's variable.
    #[error("{LOG_LEVEL}={0:?} is not allowed: expected TRACE, DEBUG, INFO, WARN, ERROR or FATAL")]
    Level(String),
    /// The value of the format's variable.
    #[error("{LOG_FORMAT}={0:?} is not allowed: expected JSON or Text")]
    Format(String),
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: LevelFilter::INFO,
            format: Format::Json,
        }
    }
}

impl LogSettings {
    /// Reads Lambda's own variables, given by name; INFO and JSON if they are unset.
    ///
    /// # Errors
    /// Names the variable, its value and the values that are allowed.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, LogSettingsError> {
        let var = |name| var(name).unwrap_or_default();
        let level = var(LOG_LEVEL);
        let level = match level.as_str() {
            "" | "INFO" => LevelFilter::INFO,
            "TRACE" => LevelFilter::TRACE,
            "DEBUG" => LevelFilter::DEBUG,
            "WARN" => LevelFilter::WARN,
            "ERROR" | "FATAL" => LevelFilter::ERROR,
            _ => return Err(LogSettingsError::Level(level)),
        };
        let format = var(LOG_FORMAT);
        let format = match format.as_str() {
            "" | "JSON" => Format::Json,
            "Text" => Format::Text,
            _ => return Err(LogSettingsError::Format(format)),
        };
        Ok(Self { level, format })
    }

    /// A subscriber that writes lines to `writer`.
    pub fn subscriber<W: Write + 'static>(
        self,
        writer: impl Fn() -> W + 'static,
    ) -> impl Subscriber {
        let lines = Lines {
            format: self.format,
            writer,
        };
        tracing_subscriber::registry().with(lines.with_filter(self.level))
    }
}

/// Writes each event as one line.
struct Lines<F> {
    format: Format,
    writer: F,
}

/// The crate whose events may bring fields as JSON.
const CRATE: &str = env!("CARGO_CRATE_NAME");

/// The fields of a span or an event.
#[derive(Default)]
struct Fields {
    map: Map<String, Value>,
    /// The text of an object whose fields become the line's own.
    json: Option<String>,
    takes_json: bool,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.map.insert(field.name().to_owned(), text.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if self.takes_json && field.name() == "json" && members(value).is_some() {
            self.json = Some(value.to_owned());
        } else {
            self.map.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.map.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.map.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.map.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.map.insert(field.name().to_owned(), value.into());
    }
}

/// What stands between the braces of an object's text.
fn members(object: &str) -> Option<&str> {
    object.strip_prefix('{')?.strip_suffix('}')
}

/// One object with the members of all of these, in their order.
fn joined(objects: &[&str]) -> String {
    let mut joined = String::from("{");
    for object in objects {
        let members = members(object).unwrap_or_default();
        if !members.is_empty() {
            if joined.len() > 1 {
                joined.push(',');
            }
            joined.push_str(members);
        }
    }
    joined.push('}');
    joined
}

impl Format {
    /// The line of an event with these fields at this level, now; with its line end.
    fn line(self, fields: &Fields, level: &str) -> String {
        let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let own = Value::Object(fields.map.clone()).to_string();
        let json = fields.json.as_deref().unwrap_or_default();
        let is_metrics = fields.map.get("event").and_then(Value::as_str) == Some(metrics::EVENT);
        let (prefix, object) = match self {
            Self::Json => {
                let head = format!("{{\"timestamp\":\"{timestamp}\",\"level\":\"{level}\"}}");
                (String::new(), joined(&[&head, &own, json]))
            }
            // "no additional data at the beginning or end", says the specification (see `metrics`).
            Self::Text if is_metrics => (String::new(), joined(&[&own, json])),
            Self::Text => (format!("{timestamp} {level:5} "), joined(&[&own, json])),
        };
        let object = cut(object, LINE_BYTES_MAX - prefix.len() - 1);
        format!("{prefix}{object}\n")
    }
}

/// The object, cut if it is larger: a last resort, since those that write long lines cut them.
fn cut(object: String, bytes_max: usize) -> String {
    if object.len() <= bytes_max {
        return object;
    }
    match serde_json::from_str::<Node<'_>>(&object) {
        Ok(mut node) => {
            node.cut_to(bytes_max);
            node.to_json()
        }
        Err(_) => object,
    }
}

impl<S, F, W> Layer<S> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Fn() -> W + 'static,
    W: Write + 'static,
{
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields {
            takes_json: event.metadata().target().split("::").next() == Some(CRATE),
            ..Fields::default()
        };
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                for (name, value) in &of_span.map {
                    // The runtime's span calls it so; here it is named like everything else.
                    let name = if name == "requestId" {
                        "RequestId"
                    } else {
                        name
                    };
                    fields.map.entry(name).or_insert_with(|| value.clone());
                }
            }
        }
        let line = self.format.line(&fields, event.metadata().level().as_str());
        // One write for a line, so that lines do not mix. Without a reader there is nobody to tell.
        let _ = (self.writer)().write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tell::captured::Captured;

    fn logged(vars: &[(&str, &str)], log: impl FnOnce()) -> String {
        let captured = Captured::start(settings(vars).unwrap());
        log();
        captured.text()
    }

    fn settings(vars: &[(&str, &str)]) -> Result<LogSettings, LogSettingsError> {
        LogSettings::from_vars(|name| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_line_is_json_with_timestamp_level_fields_and_the_requests_id() {
        let text = logged(&[], || {
            let span = tracing::info_span!("Lambda runtime invoke", requestId = "id-1");
            let _entered = span.enter();
            tracing::warn!(
                event = "image",
                json = r#"{"ImageId": "ami-0123abcd", "Changes": [{"Add": ["all"]}]}"#,
                count = 3_u64
            );
        });
        let line: Value = serde_json::from_str(&text).unwrap();
        let timestamp = line["timestamp"].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(timestamp).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["event"], "image");
        assert_eq!(line["ImageId"], "ami-0123abcd");
        assert_eq!(line["Changes"][0]["Add"][0], "all");
        assert_eq!(line["RequestId"], "id-1");
        assert_eq!(line["count"], 3);
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn the_level_is_lambdas_own() {
        let log = || {
            tracing::debug!("debug");
            tracing::info!("info");
            tracing::warn!("warn");
            tracing::error!("error");
        };
        for (level, lines) in [
            ("TRACE", 4),
            ("DEBUG", 4),
            ("INFO", 3),
            ("WARN", 2),
            ("ERROR", 1),
            ("FATAL", 1),
            ("", 3),
        ] {
            assert_eq!(
                logged(&[(LOG_LEVEL, level)], log).lines().count(),
                lines,
                "{level}"
            );
        }
    }

    #[test]
    fn text_lines_begin_with_time_and_level() {
        let text = logged(&[(LOG_FORMAT, "Text")], || tracing::info!("hello"));
        assert!(text.contains(" INFO  {\"message\":\"hello\"}"), "{text}");
    }

    #[test]
    fn a_line_of_metrics_is_bare_json_in_either_format() {
        for format in ["JSON", "Text"] {
            let text = logged(&[(LOG_FORMAT, format)], || {
                tracing::info!(
                    event = metrics::EVENT,
                    json = r#"{"_aws": {}, "Applied": 1}"#
                );
            });
            let line: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(line["Applied"], 1);
            assert_eq!(line["_aws"], serde_json::json!({}));
            assert_eq!(line.get("timestamp").is_some(), format == "JSON", "{text}");
            assert_eq!(line.get("level").is_some(), format == "JSON", "{text}");
        }
    }

    #[test]
    fn no_line_is_longer_than_the_limit() {
        let items: Vec<String> = (0..60_000).map(|number| format!("{number:012}")).collect();
        let json = serde_json::json!({ "ImageId": "ami-0123abcd", "Add": items }).to_string();
        for format in ["JSON", "Text"] {
            let text = logged(&[(LOG_FORMAT, format)], || {
                tracing::info!(event = "image", text = "\u{1}".repeat(300_000), json);
                tracing::info!("{}", "ä".repeat(300_000));
            });
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            assert_eq!(lines.len(), 2);
            for line in &lines {
                assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
                assert!(line.len() > LINE_BYTES_MAX - 1000, "{}", line.len());
            }
            let object = lines[0].find('{').unwrap();
            let line: Value = serde_json::from_str(&lines[0][object..]).unwrap();
            assert_eq!(
                (&line["event"], &line["ImageId"]),
                (&"image".into(), &"ami-0123abcd".into())
            );
            let kept = line["Add"].as_array().unwrap().len() as u64;
            assert_eq!(kept + line["More"]["Add"].as_u64().unwrap(), 60_000);
        }
    }

    #[test]
    fn a_line_of_any_length_near_the_bound_stays_within_it() {
        for format in ["JSON", "Text"] {
            for shorter in 0..200 {
                let message = "x".repeat(LINE_BYTES_MAX - shorter);
                let text = logged(&[(LOG_FORMAT, format)], || tracing::info!("{message}"));
                assert!(text.len() <= LINE_BYTES_MAX, "{format} {shorter}");
            }
        }
    }

    #[test]
    fn numbers_and_truth_values_stay_what_they_are() {
        let text = logged(&[], || {
            tracing::info!(yes = true, below = -1_i64, part = 1.5, count = 2_u64);
        });
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["yes"], &line["below"], &line["part"], &line["count"]),
            (&true.into(), &(-1).into(), &1.5.into(), &2.into())
        );
    }

    #[test]
    fn a_field_named_json_of_somebody_else_is_a_field_like_any_other() {
        let text = logged(&[], || {
            tracing::info!(target: "other", json = "{ this is }");
            tracing::info!(json = "neither is this");
        });
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["json"], "{ this is }");
        assert_eq!(lines[1]["json"], "neither is this");
    }

    #[test]
    fn a_bad_level_or_format_is_an_error_that_names_it() {
        assert_eq!(
            settings(&[(LOG_LEVEL, "LOUD")]),
            Err(LogSettingsError::Level("LOUD".into()))
        );
        assert_eq!(
            settings(&[(LOG_FORMAT, "XML")]),
            Err(LogSettingsError::Format("XML".into()))
        );
        assert_eq!(
            LogSettingsError::Level("LOUD".into()).to_string(),
            "AWS_LAMBDA_LOG_LEVEL=\"LOUD\" is not allowed: expected TRACE, DEBUG, INFO, WARN, \
             ERROR or FATAL"
        );
    }
}
