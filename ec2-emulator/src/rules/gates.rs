//! Gates: chosen calls wait there until a test lets them pass, so that a test decides in which
//! order the calls of two processes are carried out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::rules::call::Call;
use crate::rules::matching::CallMatch;

/// When a gate holds a call, or a trigger acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// Before the call is carried out: the call sees all changes that are made meanwhile.
    #[default]
    Before,
    /// When the call has been carried out, before its answer is sent: the answer is out of date if
    /// something changes meanwhile.
    After,
}

/// A rule: which calls wait, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", try_from = "Map<String, Value>")]
pub struct Gate {
    #[serde(flatten)]
    pub(crate) on: CallMatch,
    pub(crate) at: Moment,
}

impl Gate {
    /// Holds calls before they are carried out: a write that is on its way.
    pub fn before(on: CallMatch) -> Self {
        let at = Moment::Before;
        Self { on, at }
    }

    /// Holds the answers of calls that have been carried out: a slow read.
    pub fn after(on: CallMatch) -> Self {
        let at = Moment::After;
        Self { on, at }
    }
}

impl TryFrom<Map<String, Value>> for Gate {
    type Error = serde_json::Error;

    fn try_from(mut members: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let at = match members.remove("At") {
            Some(at) => serde_json::from_value(at)?,
            None => Moment::default(),
        };
        let on = serde_json::from_value(Value::Object(members))?;
        Ok(Self { on, at })
    }
}

/// How a call leaves a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    On,
    /// It is lost: never carried out if the gate was before that, and its connection is reset.
    Lost,
}

/// Why a call cannot be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// There is no gate of that number.
    #[error("there is no gate {0}")]
    NoGate(u64),
    /// No call waits at that gate.
    #[error("no call waits at gate {0}")]
    NobodyWaits(u64),
    /// The gate holds no call of that number.
    #[error("call {0} does not wait at this gate")]
    NoCall(u64),
}

struct Waiting {
    call: Call,
    go: oneshot::Sender<Pass>,
}

/// A gate and the calls at it, by their number.
struct Place {
    gate: Gate,
    waiting: BTreeMap<u64, Waiting>,
    passed: u64,
}

/// What a gate looks like from outside.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GateView {
    number: u64,
    #[serde(flatten)]
    gate: Gate,
    waiting: Vec<Call>,
    passed: u64,
}

/// The gates in place, by number.
#[derive(Default)]
pub(crate) struct Gates {
    last: u64,
    places: BTreeMap<u64, Place>,
}

impl Gates {
    pub(crate) fn add(&mut self, gate: Gate) -> u64 {
        self.last += 1;
        let place = Place {
            gate,
            waiting: BTreeMap::new(),
            passed: 0,
        };
        self.places.insert(self.last, place);
        self.last
    }

    /// Holds a call if a gate says so: the first one that fits. What is received lets it go on; so
    /// does the end of the sender.
    pub(crate) fn hold(&mut self, at: Moment, call: &Call) -> Option<oneshot::Receiver<Pass>> {
        let mut places = self.places.values_mut();
        let place = loop {
            let place = places.next()?;
            let Gate { on, at: moment } = &mut place.gate;
            if *moment == at && on.fits(call) && on.take() {
                break place;
            }
        };
        let (go, receiver) = oneshot::channel();
        let call = call.clone();
        place.waiting.insert(call.number, Waiting { call, go });
        Some(receiver)
    }

    /// The calls at a gate, in the order of their arrival.
    pub(crate) fn waiting(&self, gate: u64) -> Result<Vec<Call>, GateError> {
        let place = self.places.get(&gate).ok_or(GateError::NoGate(gate))?;
        Ok(place.waiting.values().map(|w| w.call.clone()).collect())
    }

    /// Lets one call go: the one of that number, else the one that came first.
    pub(crate) fn release(
        &mut self,
        gate: u64,
        number: Option<u64>,
        pass: Pass,
    ) -> Result<Call, GateError> {
        let place = self.places.get_mut(&gate).ok_or(GateError::NoGate(gate))?;
        let first = place.waiting.keys().next().copied();
        let number = number.or(first).ok_or(GateError::NobodyWaits(gate))?;
        let waiting = place.waiting.remove(&number);
        let waiting = waiting.ok_or(GateError::NoCall(number))?;
        place.passed += 1;
        // The call may be gone with the end of the emulator.
        let _ = waiting.go.send(pass);
        Ok(waiting.call)
    }

    /// Takes a gate away; the calls at it go on.
    pub(crate) fn remove(&mut self, gate: u64) -> Result<(), GateError> {
        let place = self.places.remove(&gate).ok_or(GateError::NoGate(gate))?;
        for waiting in place.waiting.into_values() {
            let _ = waiting.go.send(Pass::On);
        }
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        let all: Vec<u64> = self.places.keys().copied().collect();
        for gate in all {
            // It is there.
            let _ = self.remove(gate);
        }
    }

    pub(crate) fn view(&self) -> Vec<GateView> {
        let places = self.places.iter();
        places
            .map(|(number, place)| GateView {
                number: *number,
                gate: place.gate.clone(),
                waiting: place.waiting.values().map(|w| w.call.clone()).collect(),
                passed: place.passed,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_has_defaults_and_refuses_mistakes() {
        let parse = |json: &str| serde_json::from_str::<Gate>(json);
        let on = CallMatch::new("A");
        let gate = parse(r#"{"Action":"A"}"#).expect("a gate");
        assert_eq!(gate, Gate::before(on.clone()));
        let gate = parse(r#"{"Action":"A","At":"after","Times":"forever"}"#).expect("a gate");
        assert_eq!(gate, Gate::after(on.forever()));
        assert!(parse(r#"{"Action":"A","At":"answer"}"#).is_err());
        assert!(parse(r#"{"Action":"A","Time":1}"#).is_err());
        assert!(parse(r#"{"At":"after"}"#).is_err());
        let text = serde_json::to_string(&gate).expect("JSON");
        assert_eq!(parse(&text).expect("a gate"), gate);
    }
}
