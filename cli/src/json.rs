//! A survey for programs: the answer of the function's dry run, whole, with one line for each
//! image.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use ami_warden::Answer;
use ami_warden_core::{AccountId, ImageId, LaunchPermissionChange};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use crate::{
    key_policy::KeyAdvice,
    survey::Survey,
    usage::{Usage, is_hit},
};

/// The place of the images.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Place<'a> {
    account: Option<&'a str>,
    region: &'a str,
}

/// The answers to `--usage` and `--key-policy`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Added<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    usage: Vec<UsageOfImage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_policies: Option<&'a [KeyAdvice]>,
}

/// The use of an image from which access would be taken away.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageOfImage<'a> {
    #[serde(serialize_with = "text")]
    image_id: ImageId,
    #[serde(flatten)]
    state: UsageState<'a>,
}

#[derive(Serialize)]
#[serde(
    tag = "State",
    rename_all = "lowercase",
    rename_all_fields = "PascalCase"
)]
enum UsageState<'a> {
    Available {
        #[serde(serialize_with = "seconds")]
        report_time: Option<DateTime<Utc>>,
        accounts: Vec<UsageByAccount<'a>>,
    },
    Pending,
    Unknown {
        reason: &'a str,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageByAccount<'a> {
    account_id: &'a str,
    /// How many of each type.
    resources: &'a BTreeMap<String, u64>,
    loses_access: bool,
}

fn text<T: ToString, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

/// RFC 3339, to the second; or null.
fn seconds<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    text.serialize(serializer)
}

/// The survey as JSON.
///
/// # Errors
/// A value that has no JSON, which none here is.
pub fn answer(survey: &Survey, keys: Option<&[KeyAdvice]>) -> Result<Vec<u8>, serde_json::Error> {
    let place = Place {
        account: survey.account.as_ref().map(AccountId::as_str),
        region: &survey.region,
    };
    let added = Added {
        usage: usage(survey),
        key_policies: keys,
    };
    let is_listed = |record: &_| survey.is_listed(record);
    let notes = survey.notes.clone();
    let answer = Answer::of_plan(survey.records(), is_listed, notes, place, added);
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, Lines::default());
    answer.serialize(&mut serializer)?;
    json.push(b'\n');
    Ok(json)
}

fn usage(survey: &Survey) -> Vec<UsageOfImage<'_>> {
    let mut list = Vec::new();
    for (record, change) in survey.taking_away() {
        let Some(usage) = survey.usage.get(&record.id) else {
            continue;
        };
        let state = match usage {
            Usage::Known { asked, accounts } => UsageState::Available {
                report_time: *asked,
                accounts: by_account(accounts, change, survey.account.as_ref()),
            },
            Usage::Pending => UsageState::Pending,
            Usage::Unknown(reason) => UsageState::Unknown { reason },
        };
        list.push(UsageOfImage {
            image_id: record.id,
            state,
        });
    }
    list
}

fn by_account<'a>(
    accounts: &'a BTreeMap<AccountId, BTreeMap<String, u64>>,
    change: &LaunchPermissionChange,
    owner: Option<&AccountId>,
) -> Vec<UsageByAccount<'a>> {
    let mut list = Vec::new();
    for (account, resources) in accounts {
        list.push(UsageByAccount {
            account_id: account.as_str(),
            resources,
            loses_access: owner.is_none_or(|owner| is_hit(account, change, owner)),
        });
    }
    list
}

/// One line for each key of the answer, and for each object in its lists.
#[derive(Debug, Default)]
struct Lines {
    /// The objects and lists that are open.
    depth: usize,
    /// Whether the list that is open has lines.
    has_lines: bool,
}

/// The depth within the answer itself.
const KEYS_DEPTH: usize = 1;
/// The depth within a list of the answer.
const ITEMS_DEPTH: usize = 2;

impl Lines {
    fn begin_item<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.depth != ITEMS_DEPTH {
            return Ok(());
        }
        self.has_lines = true;
        writer.write_all(b"\n")
    }
}

impl Formatter for Lines {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin_item(writer)?;
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth == KEYS_DEPTH {
            writer.write_all(b"\n")?;
        }
        Ok(())
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let colon: &[u8] = if self.depth == KEYS_DEPTH {
            b": "
        } else {
            b":"
        };
        writer.write_all(colon)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.depth == KEYS_DEPTH {
            writer.write_all(b"\n")?;
        }
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.depth == ITEMS_DEPTH && self.has_lines {
            self.has_lines = false;
            writer.write_all(b"\n")?;
        }
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn write_raw_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        self.begin_item(writer)?;
        writer.write_all(fragment.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use ami_warden::{ChangeRecord, Effect};
    use ami_warden_core::{Change, testing::grantees};

    use super::*;

    fn json(survey: &Survey) -> String {
        String::from_utf8(answer(survey, None).unwrap()).unwrap()
    }

    #[test]
    fn each_key_has_a_line_and_each_image() {
        let mut survey = Survey::sample(&["golden", "plain"]);
        survey.images[1].record.public_without_directives = true;
        survey.notes.push("One image is not readable.".to_owned());
        let image = r#"{"ImageId":"ami-0123456789abcdef0","Outcome":"unchanged","Changes":[],"Refusals":[]"#;
        assert_eq!(
            json(&survey),
            format!(
                r#"{{
"Trigger": "request",
"DryRun": true,
"Account": "111122223333",
"Region": "eu-west-1",
"Images": [
{image}}},
{image},"PublicWithoutDirectives":true}}
],
"Summary": {{"unchanged":2}},
"PublicWithoutDirectives": ["ami-0123456789abcdef0"],
"Notes": ["One image is not readable."]
}}
"#
            )
        );
        let nothing = Survey {
            account: None,
            ..Survey::sample(&[])
        };
        let ends =
            "\"Account\": null,\n\"Region\": \"eu-west-1\",\n\"Images\": [],\n\"Summary\": {}\n}\n";
        assert!(json(&nothing).ends_with(ends), "{}", json(&nothing));
    }

    #[test]
    fn usage_is_told_by_its_state() {
        let account: AccountId = "444455556666".parse().unwrap();
        let resources = BTreeMap::from([("ec2:Instance".to_owned(), 15)]);
        let known = Usage::Known {
            asked: "2026-11-01T10:00:00.5Z".parse().ok(),
            accounts: BTreeMap::from([(account, resources)]),
        };
        for (usage, json_of_usage) in [
            (
                known,
                r#""State":"available","ReportTime":"2026-11-01T10:00:00Z","Accounts":[{"AccountId":"444455556666","Resources":{"ec2:Instance":15},"LosesAccess":true}]"#,
            ),
            (Usage::Pending, r#""State":"pending""#),
            (
                Usage::Unknown("No.".into()),
                r#""State":"unknown","Reason":"No.""#,
            ),
        ] {
            let mut survey = Survey::sample(&["golden"]);
            let record = &mut survey.images[0].record;
            let before = grantees("444455556666");
            let change = LaunchPermissionChange::new(&before, grantees(""), before.clone(), false);
            record.changes.push(ChangeRecord {
                change: Change::LaunchPermission(change.unwrap()),
                effect: Effect::Proposed,
            });
            survey.usage.insert(record.id, usage);
            let json = json(&survey);
            let ends = format!(
                "\"Usage\": [\n{{\"ImageId\":\"ami-0123456789abcdef0\",{json_of_usage}}}\n]\n}}\n"
            );
            assert!(json.ends_with(&ends), "{json}");
        }
    }
}
