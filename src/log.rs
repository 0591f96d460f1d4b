//! Log lines: one JSON object a line, with a timestamp and a level.
//!
//! Our own subscriber, because Lambda takes a JSON line without a valid RFC 3339 timestamp for INFO and would drop an ERROR when only
//! warnings are wanted, and the runtime's own subscriber writes none:
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

/// The level that Lambda's logging configuration sets.
pub const LOG_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";
/// The format that Lambda's logging configuration sets.
pub const LOG_FORMAT: &str = "AWS_LAMBDA_LOG_FORMAT";

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

/// What to log, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    level: LevelFilter,
    format: Format,
}

impl LogSettings {
    /// Reads Lambda's own variables, given by name; INFO and JSON where they are not set.
    ///
    /// # Errors
    /// A sentence naming the variable, the value and what is allowed.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let var = |name| var(name).filter(|value| !value.is_empty());
        let level = match var(LOG_LEVEL).as_deref() {
            None | Some("INFO") => LevelFilter::INFO,
            Some("TRACE") => LevelFilter::TRACE,
            Some("DEBUG") => LevelFilter::DEBUG,
            Some("WARN") => LevelFilter::WARN,
            Some("ERROR" | "FATAL") => LevelFilter::ERROR,
            Some(other) => {
                return Err(format!("{LOG_LEVEL}=\"{other}\" is not allowed: expected TRACE, DEBUG, INFO, WARN, ERROR or FATAL"));
            }
        };
        let format = match var(LOG_FORMAT).as_deref() {
            None | Some("JSON") => Format::Json,
            Some("Text") => Format::Text,
            Some(other) => return Err(format!("{LOG_FORMAT}=\"{other}\" is not allowed: expected JSON or Text")),
        };
        Ok(Self { level, format })
    }

    /// A subscriber that writes lines to `writer`.
    pub fn subscriber<W: Write + 'static>(self, writer: impl Fn() -> W + 'static) -> impl Subscriber {
        let lines = Lines { format: self.format, writer };
        tracing_subscriber::registry().with(lines.with_filter(self.level))
    }
}

/// Writes each event as one line.
struct Lines<F> {
    format: Format,
    writer: F,
}

/// The fields of a span or an event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // A field named `json` holds an object whose fields become the line's own.
        if field.name() == "json"
            && let Ok(Value::Object(fields)) = serde_json::from_str(value)
        {
            self.0.extend(fields);
        } else {
            self.0.insert(field.name().to_owned(), Value::String(value.to_owned()));
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl<S, F, W> Layer<S> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Fn() -> W + 'static,
    W: Write + 'static,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Map::new();
        line.insert("timestamp".into(), Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true).into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        let mut fields = Fields::default();
        event.record(&mut fields);
        line.extend(fields.0);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Fields(fields)) = span.extensions().get() {
                for (name, value) in fields {
                    // The runtime's span calls it so; in our answers and logs it is named like everything else.
                    let name = if name == "requestId" { "RequestId" } else { name };
                    line.entry(name).or_insert_with(|| value.clone());
                }
            }
        }
        let text = match self.format {
            Format::Json => Value::Object(line).to_string(),
            Format::Text => {
                let text = |name: &str, line: &mut Map<String, Value>| match line.remove(name) {
                    Some(Value::String(text)) => text,
                    _ => String::new(),
                };
                let (timestamp, level) = (text("timestamp", &mut line), text("level", &mut line));
                format!("{timestamp} {level:5} {}", Value::Object(line))
            }
        };
        // One write for a line, so that lines do not mix. Where there is nobody to read it there is nobody to tell either.
        let _ = (self.writer)().write_all(format!("{text}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(vars: &[(&str, &str)], log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let settings = settings(vars).unwrap();
        let writer = sink.clone();
        tracing::subscriber::with_default(settings.subscriber(move || writer.clone()), log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn settings(vars: &[(&str, &str)]) -> Result<LogSettings, String> {
        LogSettings::from_vars(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
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
        for (level, lines) in [("TRACE", 4), ("DEBUG", 4), ("INFO", 3), ("WARN", 2), ("ERROR", 1), ("FATAL", 1), ("", 3)] {
            assert_eq!(logged(&[(LOG_LEVEL, level)], log).lines().count(), lines, "{level}");
        }
    }

    #[test]
    fn text_lines_begin_with_time_and_level() {
        let text = logged(&[(LOG_FORMAT, "Text")], || tracing::info!("hello"));
        assert!(text.contains(" INFO  {\"message\":\"hello\"}"), "{text}");
    }

    #[test]
    fn a_bad_level_or_format_is_an_error_that_names_it() {
        assert!(settings(&[(LOG_LEVEL, "LOUD")]).unwrap_err().contains("LOUD"));
        assert!(settings(&[(LOG_FORMAT, "XML")]).unwrap_err().contains("XML"));
    }
}
