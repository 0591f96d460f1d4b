//! A survey for programs: the answer of the function's dry run, whole, with one line for each
//! image.

use std::fmt::Write;

use ami_warden::entry_json;
use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::{
    key_policy::KeyAdvice,
    survey::Survey,
    usage::{Usage, is_hit},
};

/// The survey as JSON.
///
/// # Errors
/// A value that has no JSON, which none here is.
pub fn answer(survey: &Survey, keys: Option<&[KeyAdvice]>) -> Result<String, serde_json::Error> {
    let mut text = String::from("{\n\"Trigger\": \"request\",\n\"DryRun\": true");
    let account = survey.account.as_ref().map(ToString::to_string);
    append_field(&mut text, "Account", &json!(account))?;
    append_field(&mut text, "Region", &json!(survey.region))?;
    let entries = survey.listed().map(|record| entry_json(record, usize::MAX));
    append_list(&mut text, "Images", entries);
    append_field(&mut text, "Summary", &json!(survey.summary()))?;
    let public: Vec<String> = survey
        .public_without_directives()
        .map(|record| record.id.to_string())
        .collect();
    for (name, list) in [
        ("PublicWithoutDirectives", &public),
        ("Notes", &survey.notes),
    ] {
        if !list.is_empty() {
            append_field(&mut text, name, &json!(list))?;
        }
    }
    if !survey.usage.is_empty() {
        append_list(
            &mut text,
            "Usage",
            usage(survey).iter().map(Value::to_string),
        );
    }
    if let Some(keys) = keys {
        let keys: Result<Vec<String>, _> = keys.iter().map(serde_json::to_string).collect();
        append_list(&mut text, "KeyPolicies", keys?.into_iter());
    }
    text += "\n}\n";
    Ok(text)
}

fn usage(survey: &Survey) -> Vec<Value> {
    let mut list = Vec::new();
    for (record, change) in survey.taking_away() {
        let Some(usage) = survey.usage.get(&record.id) else {
            continue;
        };
        let mut entry = json!({ "ImageId": record.id.to_string() });
        match usage {
            Usage::Known { asked, accounts } => {
                let asked = asked.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
                entry["State"] = json!("available");
                entry["ReportTime"] = json!(asked);
                let hit = |account: &_| match &survey.account {
                    Some(owner) => is_hit(account, change, owner),
                    None => true,
                };
                let mut hits = Vec::new();
                for (account, resources) in accounts {
                    hits.push(json!({
                        "AccountId": account.to_string(),
                        "Resources": resources,
                        "LosesAccess": hit(account),
                    }));
                }
                entry["Accounts"] = json!(hits);
            }
            Usage::Pending => entry["State"] = json!("pending"),
            Usage::Unknown(reason) => {
                entry["State"] = json!("unknown");
                entry["Reason"] = json!(reason);
            }
        }
        list.push(entry);
    }
    list
}

/// A list with one line for each item.
fn append_list(text: &mut String, name: &str, items: impl Iterator<Item = String>) {
    let lines: Vec<String> = items.collect();
    let list = if lines.is_empty() {
        String::new()
    } else {
        format!("\n{}\n", lines.join(",\n"))
    };
    // A String takes everything.
    let _ = write!(text, ",\n\"{name}\": [{list}]");
}

fn append_field(text: &mut String, name: &str, value: &Value) -> Result<(), serde_json::Error> {
    let value = serde_json::to_string(value)?;
    let _ = write!(text, ",\n\"{name}\": {value}");
    Ok(())
}
