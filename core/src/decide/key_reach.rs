//! The principals that the policies and grants of a key could reach.
//!
//! The answer errs to one side only. Without a statement of a key policy or a grant nothing reaches
//! another account
//! (<https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html>),
//! so an account that no `Allow` statement and no grant could mean certainly cannot use the key.
//! Conditions, actions and `Deny` are never needed: they only narrow. Every statement that is not
//! certainly understood counts as one for anybody.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::model::{arn, grantee::AccountId, key::KeyReach};

/// Reads all policies of a key, as JSON, and the grantees of all its grants: ARNs of principals, or
/// names of services.
///
/// A key always has a policy, so without any it is unknown who can use it: anybody could.
#[must_use]
pub fn key_reach(policies: &[String], grantees: &[String]) -> KeyReach {
    let mut reach = KeyReach {
        anybody: policies.is_empty(),
        ..KeyReach::default()
    };
    for policy in policies {
        match serde_json::from_str(policy) {
            Ok(policy) => read_policy(&policy, &mut reach),
            Err(_) => reach.anybody = true,
        }
    }
    for grantee in grantees {
        read_principal(grantee, &mut reach);
    }
    reach
}

fn read_policy(policy: &Json, reach: &mut KeyReach) {
    let mut statements = policy.all("Statement").peekable();
    if statements.peek().is_none() {
        reach.anybody = true;
    }
    for statements in statements {
        for statement in one_or_many(statements) {
            read_statement(statement, reach);
        }
    }
}

fn read_statement(statement: &Json, reach: &mut KeyReach) {
    let effects: Vec<&Json> = statement.all("Effect").collect();
    if let [Json::Text(effect)] = effects.as_slice()
        && effect == "Deny"
    {
        return;
    }
    // They stand for everything but what they name.
    let inverted = ["NotPrincipal", "NotAction"];
    if inverted
        .into_iter()
        .any(|key| statement.all(key).next().is_some())
    {
        reach.anybody = true;
    }
    let mut principals = statement.all("Principal").peekable();
    if principals.peek().is_none() {
        reach.anybody = true;
    }
    for principal in principals {
        read_principals(principal, reach);
    }
}

/// Reads the value of `Principal`.
fn read_principals(principal: &Json, reach: &mut KeyReach) {
    let Json::Object(members) = principal else {
        // "*", or a form that IAM does not have.
        reach.anybody = true;
        return;
    };
    if members.is_empty() {
        reach.anybody = true;
    }
    for (kind, names) in members {
        if kind.eq_ignore_ascii_case("AWS") {
            for name in one_or_many(names) {
                read_name(name, reach);
            }
        } else {
            // A service, a federation or a canonical user may act for any account.
            reach.anybody = true;
        }
    }
}

fn read_name(name: &Json, reach: &mut KeyReach) {
    match name {
        Json::Text(name) => read_principal(name, reach),
        _ => reach.anybody = true,
    }
}

/// Reads one principal: 12 digits, or the ARN of a principal with 12 digits. Everything else could
/// stand for any account: wildcards, names of services, and the unique ids of deleted principals.
fn read_principal(name: &str, reach: &mut KeyReach) {
    match account_of(name) {
        Some(account) => {
            reach.accounts.insert(account);
        }
        None => reach.anybody = true,
    }
}

fn account_of(name: &str) -> Option<AccountId> {
    if name.contains(['*', '?', '$']) {
        return None;
    }
    if let Ok(account) = name.parse() {
        return Some(account);
    }
    match arn::parts(name)? {
        ["arn", _partition, "iam" | "sts", "", account, resource] if !resource.is_empty() => {
            account.parse().ok()
        }
        _ => None,
    }
}

/// The items of a list, or the value itself. An empty list is a form that IAM does not have.
fn one_or_many(value: &Json) -> &[Json] {
    match value {
        Json::List(items) if !items.is_empty() => items,
        other => std::slice::from_ref(other),
    }
}

/// A JSON value that keeps the members of an object that occur twice: one of them may be the one
/// that counts.
#[derive(Debug)]
enum Json {
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
    /// A number, a boolean or null, which mean nothing here.
    Other,
}

impl Json {
    /// All members with this key, in any case: IAM's keys know no case
    /// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>).
    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Json> {
        let members = match self {
            Self::Object(members) => members.as_slice(),
            _ => &[],
        };
        let members = members
            .iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(key));
        members.map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(key) = members.next_key::<String>()? {
            object.push((key, members.next_value()?));
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests;
