//! `GET rates` and `PUT rates`.

use std::collections::BTreeMap;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::asked::Asked;
use crate::control::mistake::Mistake;
use crate::engine::Engine;
use crate::rules::rates::Buckets;

pub(crate) fn answer(engine: &Engine, asked: &Asked) -> Result<Value, Mistake> {
    asked.method_is(&[Method::GET, Method::PUT])?;
    if asked.method == Method::GET {
        return Ok(json!(engine.lock().throttle.buckets()));
    }
    let rates: Rates = asked.json()?;
    engine.with(|inner| {
        let present = inner.throttle.buckets().clone();
        inner.throttle.set(rates.over(present));
    });
    Ok(json!({}))
}

/// The body of `PUT rates`; what is left out stays as it is.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Rates {
    limits: Option<Limits>,
    factor: Option<f64>,
    #[serde(default)]
    actions: BTreeMap<String, (u32, f64)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Limits {
    None,
    Published,
}

impl Rates {
    fn over(self, present: Buckets) -> Buckets {
        let mut buckets = match self.limits {
            None => present,
            Some(Limits::None) => Buckets::none(),
            Some(Limits::Published) => Buckets::published(),
        };
        for (action, (capacity, per_second)) in self.actions {
            buckets = buckets.action(&action, capacity, per_second);
        }
        match self.factor {
            Some(factor) => buckets.times(factor),
            None => buckets,
        }
    }
}
