//! The log of a test.
//!
//! Every test that logs captures its log, even if it does not read it: where one thread has no
//! subscriber, `tracing` may remember for all threads that nobody reads a line
//! (`Rebuilder::JustOne` of `tracing-core`).

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing::subscriber::{DefaultGuard, set_default};

use super::log::LogSettings;

/// The lines of this thread until it is dropped.
pub(crate) struct Captured {
    lines: Sink,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    pub(crate) fn start(settings: LogSettings) -> Self {
        let lines = Sink::default();
        let writer = lines.clone();
        let guard = set_default(settings.subscriber(move || writer.clone()));
        Self {
            lines,
            _guard: guard,
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines, of which each is JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
