//! The control API under `/_emulator/`, for whoever runs the emulator as a process. JSON in, JSON
//! out.
//!
//! | request | what it does |
//! | --- | --- |
//! | `GET state` | everything that is there, as a [`Seed`] |
//! | `POST seed` | adds or replaces what a [`Seed`] names |
//! | `POST reset` | back to the beginning: state, calls, faults, buckets |
//! | `GET calls`, `DELETE calls` | the log of calls |
//! | `GET faults`, `POST faults`, `DELETE faults` | the faults not used up; one [`Fault`] or a list of them |
//! | `PUT parameter` | one [`Parameter`] of Parameter Store |
//! | `GET throttled` | how many requests were refused for their rate, by bucket |
//!
//! A mistake is answered with a 4xx status and `{"Error": "…"}`.

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::faults::Fault;
use crate::ssm::Parameter;
use crate::state::Seed;

/// Carries out one control request; `resource` is what follows `/_emulator/`.
pub(crate) fn answer(
    engine: &Engine,
    method: &Method,
    resource: &str,
    body: &[u8],
) -> (StatusCode, Value) {
    let result = match (resource, method) {
        ("state", &Method::GET) => Ok(json!(engine.lock().state.to_seed())),
        ("seed", &Method::POST) => parse(body).map(|seed: Seed| {
            engine.lock().state.apply(seed);
            json!({})
        }),
        ("reset", &Method::POST) => {
            engine.reset();
            Ok(json!({}))
        }
        ("calls", &Method::GET) => Ok(json!(engine.lock().calls)),
        ("calls", &Method::DELETE) => {
            engine.lock().calls.clear();
            Ok(json!({}))
        }
        ("faults", &Method::GET) => Ok(json!(engine.lock().faults.left())),
        ("faults", &Method::POST) => parse(body).map(|faults: OneOrMany<Fault>| {
            let mut inner = engine.lock();
            for fault in faults.into_vec() {
                let inner = &mut *inner;
                inner.faults.add(fault, &inner.state);
            }
            json!({})
        }),
        ("faults", &Method::DELETE) => {
            engine.lock().faults.clear();
            Ok(json!({}))
        }
        ("parameter", &Method::PUT) => parse(body).map(|parameter: Parameter| {
            engine.lock().state.put_parameter(parameter);
            json!({})
        }),
        ("throttled", &Method::GET) => Ok(json!(engine.lock().throttle.refused())),
        ("state" | "seed" | "reset" | "calls" | "faults" | "parameter" | "throttled", _) => Err((
            StatusCode::METHOD_NOT_ALLOWED,
            format!("{method} is not possible here"),
        )),
        _ => Err((
            StatusCode::NOT_FOUND,
            format!("there is no /_emulator/{resource}"),
        )),
    };
    match result {
        Ok(value) => (StatusCode::OK, value),
        Err((status, message)) => (status, json!({ "Error": message })),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, (StatusCode, String)> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::Many(all) => all,
            Self::One(one) => vec![one],
        }
    }
}
