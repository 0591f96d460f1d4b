//! Triggers: changes by hand that happen at a chosen call, before or after it is carried out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::rules::acts::Act;
use crate::rules::call::Call;
use crate::rules::carry_out::carry_out;
use crate::rules::gates::Moment;
use crate::rules::matching::CallMatch;
use crate::state::account::State;

/// A rule: at which calls something changes, and what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", try_from = "Map<String, Value>")]
pub struct Trigger {
    #[serde(flatten)]
    on: CallMatch,
    at: Moment,
    acts: Vec<Act>,
}

impl Trigger {
    /// Changes something before a call is carried out.
    pub fn before(on: CallMatch, acts: impl IntoIterator<Item = Act>) -> Self {
        let acts = acts.into_iter().collect();
        let at = Moment::Before;
        Self { on, at, acts }
    }

    /// Changes something when a call has been carried out. Its answer does not show the change.
    pub fn after(on: CallMatch, acts: impl IntoIterator<Item = Act>) -> Self {
        let at = Moment::After;
        Self {
            at,
            ..Self::before(on, acts)
        }
    }
}

impl TryFrom<Map<String, Value>> for Trigger {
    type Error = serde_json::Error;

    fn try_from(mut members: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let at = match members.remove("At") {
            Some(at) => serde_json::from_value(at)?,
            None => Moment::default(),
        };
        let acts = members.remove("Acts").unwrap_or_default();
        let acts = serde_json::from_value(acts)?;
        let on = serde_json::from_value(Value::Object(members))?;
        Ok(Self { on, at, acts })
    }
}

/// The triggers that are left, and what failed.
#[derive(Default)]
pub(crate) struct Triggers {
    left: Vec<Trigger>,
    /// What could not be changed, for example because the image was gone.
    failed: Vec<String>,
}

/// What the triggers look like from outside.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TriggersView<'a> {
    left: &'a [Trigger],
    failed: &'a [String],
}

impl Triggers {
    pub(crate) fn add(&mut self, trigger: Trigger) {
        self.left.push(trigger);
    }

    /// Changes what the triggers say for this call, all that fit in their order.
    pub(crate) fn pull(&mut self, at: Moment, call: &Call, state: &mut State) {
        for trigger in &mut self.left {
            if trigger.at != at || !trigger.on.fits(call) || !trigger.on.take() {
                continue;
            }
            if let Err(error) = carry_out(state, trigger.acts.clone()) {
                self.failed.push(format!("{}: {error}", call.action));
            }
        }
        self.left.retain(|trigger| !trigger.on.is_used_up());
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn view(&self) -> TriggersView<'_> {
        TriggersView {
            left: &self.left,
            failed: &self.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_has_defaults_and_refuses_mistakes() {
        let parse = |json: &str| serde_json::from_str::<Trigger>(json);
        let good = r#"{"Action":"A","Acts":[{"DeleteParameter":{"Name":"/p"}}]}"#;
        assert_eq!(parse(good).expect("a trigger").at, Moment::Before);
        assert!(parse(r#"{"Action":"A"}"#).is_err());
        assert!(parse(r#"{"Action":"A","Acts":[{"DeleteParameter":{}}]}"#).is_err());
        assert!(parse(r#"{"Action":"A","Acts":[],"Act":[]}"#).is_err());
    }
}
