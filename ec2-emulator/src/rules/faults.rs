//! Faults: rules that make chosen calls go wrong.

mod kind;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use kind::FaultKind;

use crate::rules::call::Call;
use crate::rules::matching::CallMatch;
use crate::state::account::State;
use crate::state::past::Past;
use crate::wire::error::{ApiError, default_message, status_of};
use crate::wire::spoil::Spoils;

/// A rule: which calls go wrong, how, and how often. Of the rules in place, the first one that fits
/// a call and is not used up is applied. `Omit`, `Replace` and `Stale` about one resource are
/// applied in addition, all that fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", try_from = "Map<String, Value>")]
pub struct Fault {
    #[serde(flatten)]
    on: CallMatch,
    kind: FaultKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    for_ms: Option<u64>,
}

impl Fault {
    /// The next call of an action (`*`: of any) goes wrong.
    pub fn new(action: &str, kind: FaultKind) -> Self {
        Self::on(CallMatch::new(action), kind)
    }

    /// The next call of an action is refused with a code.
    pub fn error(action: &str, code: &str) -> Self {
        Self::new(action, FaultKind::error(code))
    }

    /// The calls that fit go wrong.
    pub fn on(on: CallMatch, kind: FaultKind) -> Self {
        Self {
            on,
            kind,
            about: None,
            for_ms: None,
        }
    }

    /// Only calls that are about this resource, an image for example: a parameter has its id for a
    /// value, or the answer of a read holds it, on whichever page. `Omit`, `Replace` and `Stale`
    /// then change nothing but this resource in the answer.
    pub fn about(mut self, id: &str) -> Self {
        self.about = Some(id.to_owned());
        self
    }

    /// Ends so long after the fault was added, used up or not.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.for_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// See [`CallMatch::times`].
    pub fn times(self, times: u32) -> Self {
        self.map(|on| on.times(times))
    }

    /// See [`CallMatch::forever`].
    pub fn forever(self) -> Self {
        self.map(CallMatch::forever)
    }

    /// See [`CallMatch::skip`].
    pub fn skip(self, skip: u32) -> Self {
        self.map(|on| on.skip(skip))
    }

    /// See [`CallMatch::with`].
    pub fn with(self, param: &str, value: &str) -> Self {
        self.map(|on| on.with(param, value))
    }

    /// See [`CallMatch::with_any`].
    pub fn with_any(self, param: &str) -> Self {
        self.map(|on| on.with_any(param))
    }

    /// See [`CallMatch::without`].
    pub fn without(self, param: &str) -> Self {
        self.map(|on| on.without(param))
    }

    /// See [`CallMatch::by`].
    pub fn by(self, access_key_id: &str) -> Self {
        self.map(|on| on.by(access_key_id))
    }

    fn map(self, change: impl FnOnce(CallMatch) -> CallMatch) -> Self {
        let on = change(self.on);
        Self { on, ..self }
    }

    fn is_local(&self) -> bool {
        self.about.is_some() && self.kind.is_local()
    }
}

impl TryFrom<Map<String, Value>> for Fault {
    type Error = serde_json::Error;

    fn try_from(mut members: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let mut take = |name| members.remove(name).unwrap_or_default();
        let kind = serde_json::from_value(take("Kind"))?;
        let about = serde_json::from_value(take("About"))?;
        let for_ms = serde_json::from_value(take("ForMs"))?;
        let on = serde_json::from_value(Value::Object(members))?;
        Ok(Self {
            on,
            kind,
            about,
            for_ms,
        })
    }
}

/// What the rules do to one call.
#[derive(Default)]
pub(crate) struct Fate {
    pub(crate) effect: Option<Effect>,
    /// What the answer leaves out or says otherwise.
    pub(crate) spoils: Spoils,
    /// The whole state as a read sees it.
    pub(crate) seen: Option<Arc<State>>,
    /// Single resources as a read sees them.
    pub(crate) past: Past,
}

pub(crate) enum Effect {
    Refuse(ApiError),
    Garbage { status: u16, body: String },
    Truncate,
    ResetBefore,
    ResetAfter,
    Hang(Option<u64>),
    Delay(u64),
    DelayPerResult(u64),
    Page(usize),
}

/// A rule in place, with what it has to remember.
struct Rule {
    fault: Fault,
    /// The state as it was when the rule was added, for [`FaultKind::Stale`].
    seen: Option<Arc<State>>,
    ends: Option<Instant>,
}

/// The rules in place, first come first served.
#[derive(Default)]
pub(crate) struct Faults(Vec<Rule>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault, state: &State, now: Instant) {
        let seen = (fault.kind == FaultKind::Stale).then(|| Arc::new(state.clone()));
        let lasts = fault.for_ms.map(Duration::from_millis);
        let ends = lasts.and_then(|lasts| now.checked_add(lasts));
        self.0.push(Rule { fault, seen, ends });
    }

    /// The rules that are not used up.
    pub(crate) fn left(&self) -> Vec<Fault> {
        self.0.iter().map(|rule| rule.fault.clone()).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What the rules do to a call; those that do something are thereby used once. `holds` tells
    /// whether the call's answer would hold a resource, seen as in the past that is given.
    pub(crate) fn decide(
        &mut self,
        call: &Call,
        now: Instant,
        mut holds: impl FnMut(&str, &Past) -> bool,
    ) -> Fate {
        let is_over = |rule: &Rule| rule.ends.is_some_and(|ends| ends <= now);
        self.0.retain(|rule| !is_over(rule));
        let mut fate = Fate::default();
        let mut is_decided = false;
        for rule in &mut self.0 {
            let is_local = rule.fault.is_local();
            if is_decided && !is_local {
                continue;
            }
            if rule.applies(call, &mut holds) {
                is_decided |= !is_local;
                rule.add_to(&mut fate);
            }
        }
        self.0.retain(|rule| !rule.fault.on.is_used_up());
        fate
    }
}

impl Rule {
    /// Whether the rule does something to a call; it is thereby used once.
    fn applies(&mut self, call: &Call, holds: &mut impl FnMut(&str, &Past) -> bool) -> bool {
        if !self.fault.on.fits(call) {
            return false;
        }
        if let Some(id) = &self.fault.about {
            let mut past = Past::default();
            if let Some(seen) = &self.seen {
                seen.add_to(&mut past, id);
            }
            let is_about = call.names(id) || holds(id, &Past::default());
            if !is_about && (past.is_empty() || !holds(id, &past)) {
                return false;
            }
        }
        self.fault.on.take()
    }

    fn add_to(&self, fate: &mut Fate) {
        let about = self.fault.about.as_deref();
        let effect = match self.fault.kind.clone() {
            FaultKind::Error {
                code,
                status,
                message,
            } => Effect::Refuse(ApiError {
                status: status.unwrap_or_else(|| status_of(&code)),
                message: message.unwrap_or_else(|| default_message(&code).to_owned()),
                code,
            }),
            FaultKind::Garbage { status, body } => Effect::Garbage { status, body },
            FaultKind::Truncated => Effect::Truncate,
            FaultKind::ResetBefore => Effect::ResetBefore,
            FaultKind::ResetAfter => Effect::ResetAfter,
            FaultKind::Hang { ms } => Effect::Hang(ms),
            FaultKind::Latency { ms } => Effect::Delay(ms),
            FaultKind::SlowPages { per_result_ms } => Effect::DelayPerResult(per_result_ms),
            FaultKind::Page { most } => Effect::Page(most),
            FaultKind::Omit { elements } => return fate.spoils.omit(about, elements),
            FaultKind::Replace { elements } => return fate.spoils.replace(about, elements),
            FaultKind::Stale => match (about, &self.seen) {
                (Some(id), Some(seen)) => return seen.add_to(&mut fate.past, id),
                (_, seen) => {
                    fate.seen.clone_from(seen);
                    return;
                }
            },
        };
        fate.effect = Some(effect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_has_defaults_and_refuses_mistakes() {
        let parse = |json: &str| serde_json::from_str::<Fault>(json);
        assert_eq!(
            parse(r#"{"Action":"A","Kind":{"Error":{"Code":"X"}}}"#).expect("a fault"),
            Fault::error("A", "X")
        );
        let text = r#"{"Action":"*","Times":"forever","Match":{"ImageId":null},"Kind":"Stale",
            "Skip":1,"About":"ami-1","ForMs":5,"Without":["NextToken"],"AccessKeyId":"AKID"}"#;
        let fault = Fault::new("*", FaultKind::Stale)
            .forever()
            .with_any("ImageId")
            .skip(1)
            .about("ami-1")
            .lasting(Duration::from_millis(5))
            .without("NextToken")
            .by("AKID");
        assert_eq!(parse(text).expect("a fault"), fault);
        let again = serde_json::to_string(&fault).expect("JSON");
        assert_eq!(parse(&again).expect("a fault"), fault);
        assert!(parse(r#"{"Action":"A","Kind":{"Error":{"Codes":"X"}}}"#).is_err());
        assert!(parse(r#"{"Action":"A","Kind":"Stale","Time":3}"#).is_err());
        assert!(parse(r#"{"Action":"A"}"#).is_err());
    }
}
