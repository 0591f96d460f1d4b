//! The control API under `/_emulator/`, for tests and tools in other processes. JSON in, JSON out.
//! README.md lists all requests.
//!
//! A mistake is answered with a 4xx status and `{"Error": "…"}`.

mod asked;
mod mistake;
mod rates;
mod waiting;

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use asked::Asked;

use crate::control::mistake::Mistake;
use crate::engine::Engine;
use crate::rules::acts::Act;
use crate::rules::carry_out::carry_out;
use crate::rules::faults::Fault;
use crate::rules::gates::Gate;
use crate::rules::triggers::Trigger;
use crate::state::parameter::Parameter;
use crate::state::seed::Seed;

/// Carries out one control request: a status and a body.
pub(crate) async fn answer(engine: &Engine, asked: &Asked) -> (u16, Value) {
    match route(engine, asked).await {
        Ok(value) => (200, value),
        Err(mistake) => (mistake.status(), json!({ "Error": mistake.to_string() })),
    }
}

async fn route(engine: &Engine, asked: &Asked) -> Result<Value, Mistake> {
    let segments: Vec<&str> = asked.path.split('/').collect();
    match segments.as_slice() {
        ["state" | "seed" | "reset" | "now" | "acts" | "parameter"] => state(engine, asked),
        ["images" | "snapshots" | "keys", id] => resource(engine, asked, segments[0], id),
        ["calls"] if asked.method == Method::GET => waiting::calls(engine, asked).await,
        ["gates", number, "wait"] => waiting::gate(engine, asked, number).await,
        ["calls"] => {
            asked.method_is(&[Method::DELETE])?;
            engine.with(|inner| inner.calls.clear());
            Ok(json!({}))
        }
        ["faults"] => faults(engine, asked),
        ["triggers"] => triggers(engine, asked),
        ["gates"] | ["gates", ..] => gates(engine, asked, &segments),
        ["lags"] => lags(engine, asked),
        ["settings"] => settings(engine, asked),
        ["rates"] => rates::answer(engine, asked),
        ["throttled"] => {
            asked.method_is(&[Method::GET])?;
            Ok(json!(engine.lock().throttle.refused()))
        }
        _ => Err(Mistake::NoResource(asked.path.clone())),
    }
}

fn state(engine: &Engine, asked: &Asked) -> Result<Value, Mistake> {
    match (asked.path.as_str(), asked.method.as_str()) {
        ("state", "GET") => return Ok(json!(engine.lock().state.to_seed())),
        ("now", "GET") => return Ok(json!({ "NowMs": engine.now_ms() })),
        ("parameter", "GET") => {
            let name = asked.query("Name").ok_or(Mistake::NeedsQuery("Name"))?;
            let inner = engine.lock();
            let parameter = inner.state.parameters.get(name);
            let parameter = parameter.ok_or_else(|| Mistake::NotThere(name.to_owned()))?;
            return Ok(json!(parameter));
        }
        ("seed", "POST") => {
            let seed: Seed = asked.json()?;
            engine.with(|inner| inner.edit(|state| state.apply(seed)));
        }
        ("parameter", "PUT") => {
            let parameter: Parameter = asked.json()?;
            engine.with(|inner| inner.edit(|state| state.put_parameter(parameter)));
        }
        ("acts", "POST") => {
            let acts: OneOrMany<Act> = asked.json()?;
            let acts = acts.into_vec();
            engine.with(|inner| inner.edit(|state| carry_out(state, acts)))?;
        }
        ("reset", "POST") => engine.reset(),
        _ => return Err(Mistake::Method(asked.method.clone())),
    }
    Ok(json!({}))
}

/// One resource as it is now.
fn resource(engine: &Engine, asked: &Asked, kind: &str, id: &str) -> Result<Value, Mistake> {
    asked.method_is(&[Method::GET])?;
    let inner = engine.lock();
    let state = &inner.state;
    let found = match kind {
        "images" => state.images.get(id).map(|image| json!(image)),
        "keys" => state.key(id).map(|key| json!(key)),
        _ => state.snapshots.get(id).map(|snapshot| json!(snapshot)),
    };
    found.ok_or_else(|| Mistake::NotThere(id.to_owned()))
}

fn faults(engine: &Engine, asked: &Asked) -> Result<Value, Mistake> {
    asked.method_is(&[Method::GET, Method::POST, Method::DELETE])?;
    match asked.method {
        Method::GET => return Ok(json!(engine.lock().faults.left())),
        Method::DELETE => engine.with(|inner| inner.faults.clear()),
        _ => {
            let faults: OneOrMany<Fault> = asked.json()?;
            engine.add_faults(faults.into_vec());
        }
    }
    Ok(json!({}))
}

fn triggers(engine: &Engine, asked: &Asked) -> Result<Value, Mistake> {
    asked.method_is(&[Method::GET, Method::POST, Method::DELETE])?;
    match asked.method {
        Method::GET => return Ok(json!(engine.lock().triggers.view())),
        Method::DELETE => engine.with(|inner| inner.triggers.clear()),
        _ => {
            let triggers: OneOrMany<Trigger> = asked.json()?;
            engine.with(|inner| {
                for trigger in triggers.into_vec() {
                    inner.triggers.add(trigger);
                }
            });
        }
    }
    Ok(json!({}))
}

fn gates(engine: &Engine, asked: &Asked, segments: &[&str]) -> Result<Value, Mistake> {
    match (segments, asked.method.as_str()) {
        (["gates"], "GET") => return Ok(json!(engine.lock().gates.view())),
        (["gates"], "POST") => {
            let gate: Gate = asked.json()?;
            let number = engine.with(|inner| inner.gates.add(gate));
            return Ok(json!({ "Number": number }));
        }
        (["gates"], "DELETE") => engine.with(|inner| inner.gates.clear()),
        (["gates", number], "DELETE") => {
            let number = asked.number(number)?;
            engine.with(|inner| inner.gates.remove(number))?;
        }
        (["gates", number, "release"], "POST") => {
            let number = asked.number(number)?;
            let release: waiting::Release = asked.json_or_default()?;
            let call = engine.with(|inner| release.carry_out(&mut inner.gates, number))?;
            return Ok(json!(call));
        }
        (["gates"] | ["gates", _] | ["gates", _, "release"], _) => {
            return Err(Mistake::Method(asked.method.clone()));
        }
        _ => return Err(Mistake::NoResource(asked.path.clone())),
    }
    Ok(json!({}))
}

fn lags(engine: &Engine, asked: &Asked) -> Result<Value, Mistake> {
    asked.method_is(&[Method::GET, Method::PUT])?;
    if asked.method == Method::GET {
        return Ok(json!(engine.lock().lags.rules()));
    }
    let rules = asked.json()?;
    engine.with(|inner| inner.lags.set(rules));
    Ok(json!({}))
}

/// What `PUT settings` changes; what is left out stays as it is.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Settings {
    latency_ms: Option<u64>,
    /// 0: pages are as long as was asked for.
    largest_page: Option<usize>,
}

fn settings(engine: &Engine, asked: &Asked) -> Result<Value, Mistake> {
    asked.method_is(&[Method::PUT])?;
    let settings: Settings = asked.json()?;
    engine.with(|inner| {
        if let Some(ms) = settings.latency_ms {
            inner.latency = Duration::from_millis(ms);
        }
        if let Some(most) = settings.largest_page {
            inner.largest_page = (most > 0).then_some(most);
        }
    });
    Ok(json!({}))
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
