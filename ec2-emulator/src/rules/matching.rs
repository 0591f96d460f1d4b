//! Which calls a fault, a gate or a trigger is about, and how often.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::rules::call::Call;
use crate::wire::filter::Pattern;

/// Chooses calls by action, parameters and sender. Unless it says otherwise, it chooses one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CallMatch {
    action: String,
    #[serde(default)]
    times: Times,
    #[serde(default)]
    skip: u32,
    #[serde(default, rename = "Match")]
    params: BTreeMap<String, Option<String>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    without: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access_key_id: Option<String>,
}

/// How often something happens: a number, or `"forever"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Times {
    Count(u32),
    Word(Word),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    Forever,
}

impl Default for Times {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl CallMatch {
    /// The next call of an action (`*`: of any).
    pub fn new(action: &str) -> Self {
        Self {
            action: action.to_owned(),
            times: Times::default(),
            skip: 0,
            params: BTreeMap::new(),
            without: BTreeSet::new(),
            access_key_id: None,
        }
    }

    /// The next `times` calls, not just one.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Times::Count(times);
        self
    }

    /// All calls, not just one.
    pub fn forever(mut self) -> Self {
        self.times = Times::Word(Word::Forever);
        self
    }

    /// Lets the first `skip` fitting calls pass.
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Only calls with this value of a parameter, written as in
    /// [`Call::params`](crate::Call::params). A `*` in the name stands for anything:
    /// `Filter.1.Value.*` finds an id wherever it stands in the filter.
    pub fn with(mut self, param: &str, value: &str) -> Self {
        self.params.insert(param.to_owned(), Some(value.to_owned()));
        self
    }

    /// Only calls that have this parameter, whatever its value.
    pub fn with_any(mut self, param: &str) -> Self {
        self.params.insert(param.to_owned(), None);
        self
    }

    /// Only calls that do not have this parameter, for example `NextToken`: first pages.
    pub fn without(mut self, param: &str) -> Self {
        self.without.insert(param.to_owned());
        self
    }

    /// Only calls that are signed with this access key: tells two processes apart.
    pub fn by(mut self, access_key_id: &str) -> Self {
        self.access_key_id = Some(access_key_id.to_owned());
        self
    }

    /// Whether the call is one of those that are meant, times and skips aside.
    pub(crate) fn fits(&self, call: &Call) -> bool {
        if self.action != "*" && self.action != call.action {
            return false;
        }
        if self.access_key_id.is_some() && self.access_key_id != call.access_key_id {
            return false;
        }
        if self.without.iter().any(|name| has(call, name, None)) {
            return false;
        }
        let mut params = self.params.iter();
        params.all(|(name, value)| has(call, name, value.as_deref()))
    }

    /// Counts a fitting call: whether it is one to act on.
    pub(crate) fn take(&mut self) -> bool {
        if self.is_used_up() {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Times::Count(left) = &mut self.times {
            *left -= 1;
        }
        true
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.times == Times::Count(0)
    }
}

/// Whether a call has a parameter, with that value if one is given.
fn has(call: &Call, name: &str, value: Option<&str>) -> bool {
    let right = |given: &String| value.is_none_or(|value| value == given);
    if !name.contains('*') {
        return call.params.get(name).is_some_and(right);
    }
    let pattern = Pattern::new(name);
    let mut params = call.params.iter();
    params.any(|(name, given)| pattern.matches(name) && right(given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(action: &str, params: &[(&str, &str)]) -> Call {
        let mut call = Call::sample(action);
        for (name, value) in params {
            call.params.insert((*name).to_owned(), (*value).to_owned());
        }
        call
    }

    #[test]
    fn calls_are_chosen_by_action_parameters_and_sender() {
        let ids = call(
            "A",
            &[("Filter.1.Value.1", "ami-1"), ("Filter.1.Value.2", "ami-2")],
        );
        let on = || CallMatch::new("A");
        assert!(on().fits(&ids));
        assert!(CallMatch::new("*").fits(&ids));
        assert!(!CallMatch::new("B").fits(&ids));
        assert!(on().with("Filter.1.Value.2", "ami-2").fits(&ids));
        assert!(!on().with("Filter.1.Value.1", "ami-2").fits(&ids));
        assert!(on().with("Filter.*", "ami-2").fits(&ids));
        assert!(!on().with("Filter.*", "ami-3").fits(&ids));
        assert!(!on().with_any("NextToken").fits(&ids));
        assert!(on().without("NextToken").fits(&ids));
        assert!(!on().without("Filter.*").fits(&ids));
        assert!(!on().by("AKID").fits(&ids));
        let signed = Call {
            access_key_id: Some("AKID".to_owned()),
            ..ids
        };
        assert!(on().by("AKID").fits(&signed));
    }

    #[test]
    fn it_skips_then_acts_so_many_times() {
        let mut on = CallMatch::new("A").skip(1).times(2);
        let acted: Vec<bool> = (0..4).map(|_| on.take()).collect();
        assert_eq!(acted, [false, true, true, false]);
        assert!(on.is_used_up());
    }
}
