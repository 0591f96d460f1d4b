//! What an answer is to leave out or to say otherwise, so that it is odd in chosen places only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What is spoilt: in the whole answer, or in the part about one resource.
#[derive(Debug, Default)]
pub(crate) struct Spoils {
    everywhere: Spoil,
    of: BTreeMap<String, Spoil>,
}

/// What is spoilt in some part of an answer, by the names of elements (in JSON: members).
#[derive(Debug, Default)]
pub(crate) struct Spoil {
    omit: BTreeSet<String>,
    replace: BTreeMap<String, String>,
}

/// What becomes of an element.
pub(crate) enum Verdict<'a> {
    Kept,
    Omitted,
    Replaced(&'a str),
}

impl Spoils {
    pub(crate) fn omit(&mut self, about: Option<&str>, elements: Vec<String>) {
        self.part(about).omit.extend(elements);
    }

    pub(crate) fn replace(&mut self, about: Option<&str>, elements: BTreeMap<String, String>) {
        self.part(about).replace.extend(elements);
    }

    fn part(&mut self, about: Option<&str>) -> &mut Spoil {
        match about {
            None => &mut self.everywhere,
            Some(id) => self.of.entry(id.to_owned()).or_default(),
        }
    }

    /// What is spoilt about one resource.
    pub(crate) fn of(&self, id: &str) -> Option<&Spoil> {
        self.of.get(id)
    }

    /// What becomes of an element within the part about a resource.
    pub(crate) fn verdict<'a>(&'a self, of: Option<&'a Spoil>, name: &str) -> Verdict<'a> {
        for spoil in [Some(&self.everywhere), of].into_iter().flatten() {
            if spoil.omit.contains(name) {
                return Verdict::Omitted;
            }
            if let Some(text) = spoil.replace.get(name) {
                return Verdict::Replaced(text);
            }
        }
        Verdict::Kept
    }

    /// Spoils an answer in JSON. A resource is an object whose name or id is a member of it.
    pub(crate) fn apply(&self, answer: &mut Value) {
        self.apply_within(None, answer);
    }

    fn apply_within<'a>(&'a self, of: Option<&'a Spoil>, value: &mut Value) {
        match value {
            Value::Array(members) => {
                for member in members {
                    self.apply_within(of, member);
                }
            }
            Value::Object(members) => {
                let own = ids(members).find_map(|id| self.of(id));
                self.apply_to_members(own.or(of), members);
                for (name, text) in own.iter().flat_map(|spoil| &spoil.replace) {
                    members.insert(name.clone(), Value::String(text.clone()));
                }
            }
            _ => {}
        }
    }

    fn apply_to_members(&self, of: Option<&Spoil>, members: &mut Map<String, Value>) {
        members.retain(|name, _| !matches!(self.verdict(of, name), Verdict::Omitted));
        for (name, value) in members {
            match self.verdict(of, name) {
                Verdict::Replaced(text) => *value = Value::String(text.to_owned()),
                _ => self.apply_within(of, value),
            }
        }
    }
}

impl Spoil {
    /// Elements and their texts that are to be there, whether or not the resource has them.
    pub(crate) fn replaced(&self) -> impl Iterator<Item = (&String, &String)> {
        self.replace.iter()
    }
}

/// The names and ids of a resource in JSON.
fn ids(members: &Map<String, Value>) -> impl Iterator<Item = &str> {
    const ID_MEMBERS: [&str; 5] = ["Name", "ARN", "KeyId", "Arn", "GrantId"];
    ID_MEMBERS
        .into_iter()
        .filter_map(|name| members.get(name)?.as_str())
}

/// The names and ids of all resources in an answer in JSON.
pub(crate) fn resources_in(answer: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match answer {
        Value::Array(members) => found.extend(members.iter().flat_map(resources_in)),
        Value::Object(members) => {
            found.extend(ids(members).map(str::to_owned));
            found.extend(members.values().flat_map(resources_in));
        }
        _ => {}
    }
    found
}
