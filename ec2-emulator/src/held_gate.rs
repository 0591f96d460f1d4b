//! A gate in the hands of a test.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Engine;
use crate::rules::call::Call;
use crate::rules::gates::{Gate, GateError, Pass};

/// A gate in place. When this is dropped the gate goes away, and the calls at it go on.
pub struct HeldGate {
    engine: Arc<Engine>,
    number: u64,
}

impl HeldGate {
    pub(crate) fn new(engine: Arc<Engine>, gate: Gate) -> Self {
        let number = engine.with(|inner| inner.gates.add(gate));
        Self { engine, number }
    }

    /// The calls that wait here, in the order of their arrival.
    pub fn waiting(&self) -> Vec<Call> {
        let inner = self.engine.lock();
        inner.gates.waiting(self.number).unwrap_or_default()
    }

    /// Waits until at least so many calls wait here, for at most so long.
    pub fn wait_for(&self, count: usize, patience: Duration) -> Option<Vec<Call>> {
        self.engine.wait_for(patience, |inner| {
            let waiting = inner.gates.waiting(self.number).unwrap_or_default();
            (waiting.len() >= count).then_some(waiting)
        })
    }

    /// Waits until a call waits here.
    ///
    /// # Panics
    ///
    /// When none does within 30 seconds.
    #[track_caller]
    pub fn wait(&self) -> Call {
        let waiting = self.wait_for(1, Duration::from_secs(30));
        match waiting.unwrap_or_default().into_iter().next() {
            Some(call) => call,
            None => panic!("no call came to gate {} within 30 seconds", self.number),
        }
    }

    /// Lets the call go on that came first.
    ///
    /// # Errors
    ///
    /// When no call waits here.
    pub fn release(&self) -> Result<Call, GateError> {
        self.pass(None, Pass::On)
    }

    /// Lets the call of that [number](Call::number) go on.
    ///
    /// # Errors
    ///
    /// When it does not wait here.
    pub fn release_call(&self, number: u64) -> Result<Call, GateError> {
        self.pass(Some(number), Pass::On)
    }

    /// Loses the call that came first: its connection is reset, and if the gate is before it is
    /// carried out, that never happens.
    ///
    /// # Errors
    ///
    /// When no call waits here.
    pub fn lose(&self) -> Result<Call, GateError> {
        self.pass(None, Pass::Lost)
    }

    fn pass(&self, number: Option<u64>, pass: Pass) -> Result<Call, GateError> {
        let gate = self.number;
        self.engine
            .with(|inner| inner.gates.release(gate, number, pass))
    }
}

impl Drop for HeldGate {
    fn drop(&mut self) {
        // A reset may have taken it away before.
        let _ = self.engine.with(|inner| inner.gates.remove(self.number));
    }
}
