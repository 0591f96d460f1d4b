//! Control requests that wait for something, so that nobody has to ask again and again.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::asked::Asked;
use crate::control::mistake::Mistake;
use crate::engine::Engine;
use crate::rules::call::Call;
use crate::rules::gates::{GateError, Gates, Pass};

/// How long a request waits that does not say so.
const DEFAULT_WAIT_MS: u64 = 10_000;

/// `GET calls`: the log. `Action` chooses calls, `After` those with a higher number; with
/// `AtLeast` it waits until there are so many, for at most `Ms`.
pub(crate) async fn calls(engine: &Engine, asked: &Asked) -> Result<Value, Mistake> {
    let action = asked.query("Action");
    let after = asked.query_number("After")?.unwrap_or_default();
    let at_least = asked.query_number("AtLeast")?.unwrap_or_default();
    let chosen = |calls: &[Call]| -> Vec<Call> {
        let calls = calls.iter();
        let calls = calls.filter(|call| action.is_none_or(|action| action == call.action));
        calls.filter(|call| call.number > after).cloned().collect()
    };
    let is_enough = |calls: &[Call]| u64::try_from(calls.len()).is_ok_and(|n| n >= at_least);
    let found = engine.watch_for(patience(asked)?, |inner| {
        let calls = chosen(&inner.calls);
        is_enough(&calls).then_some(calls)
    });
    Ok(match found.await {
        Some(calls) => json!(calls),
        None => json!(chosen(&engine.lock().calls)),
    })
}

/// `GET gates/N/wait`: the calls at a gate, as soon as there are `AtLeast` so many (1), for at most
/// `Ms`.
pub(crate) async fn gate(engine: &Engine, asked: &Asked, number: &str) -> Result<Value, Mistake> {
    asked.method_is(&[Method::GET])?;
    let gate = asked.number(number)?;
    let at_least = asked.query_number("AtLeast")?.unwrap_or(1);
    let found = engine.watch_for(patience(asked)?, |inner| match inner.gates.waiting(gate) {
        Ok(calls) if u64::try_from(calls.len()).is_ok_and(|n| n < at_least) => None,
        result => Some(result),
    });
    let calls = match found.await {
        Some(calls) => calls?,
        None => engine.lock().gates.waiting(gate)?,
    };
    Ok(json!(calls))
}

fn patience(asked: &Asked) -> Result<Duration, Mistake> {
    let ms = asked.query_number("Ms")?.unwrap_or(DEFAULT_WAIT_MS);
    Ok(Duration::from_millis(ms))
}

/// The body of `POST gates/N/release`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(crate) struct Release {
    /// The call's number; none: the call that came first.
    number: Option<u64>,
    /// The call is lost, and does not go on.
    lost: bool,
}

impl Release {
    pub(crate) fn carry_out(&self, gates: &mut Gates, gate: u64) -> Result<Call, GateError> {
        let pass = if self.lost { Pass::Lost } else { Pass::On };
        gates.release(gate, self.number, pass)
    }
}
