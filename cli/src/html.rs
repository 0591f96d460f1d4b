//! The page of `--html`: who may launch each image of an account and Region, and why. One file that
//! loads nothing and sends nothing.
//!
//! Names and tags are data and never markup: they stand as JSON in a block that no browser
//! executes, with every `<` escaped, and the page's script puts them into the document as text. The
//! content security policy allows this style and this script, by their hashes, and nothing else.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
};

use ami_warden::{ImageRecord, SkipReason};
use ami_warden_core::{AccountId, Change, Direction, Grantee, Key, KeyFacts};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::SecondsFormat;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    access::{Access, Reason, Standing},
    failure::Failure,
    survey::{Looked, Survey},
    text::from_to,
};

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Sees that the file can be written, before minutes of reading.
///
/// # Errors
/// It cannot.
pub fn check(path: &Path) -> Result<(), Failure> {
    let is_new = !path.exists();
    let opened = File::options().append(true).create(true).open(path);
    opened.map_err(|error| Failure::Html {
        path: path.to_owned(),
        error,
    })?;
    if is_new {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// Writes the page.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, survey: &Survey) -> Result<(), Failure> {
    let written = fs::write(path, page(survey));
    written.map_err(|error| Failure::Html {
        path: path.to_owned(),
        error,
    })
}

/// The whole page: nothing of it is loaded from elsewhere.
fn page(survey: &Survey) -> String {
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let frame = PAGE
        .replace("{{POLICY}}", &policy)
        .replace("{{STYLE}}", STYLE)
        .replace("{{SCRIPT}}", SCRIPT);
    // Last, and only once: a name may hold anything, such a mark included.
    let (before, after) = frame.split_once("{{DATA}}").unwrap_or((&frame, ""));
    format!("{before}{}{after}", escaped(&data(survey)))
}

/// A source of a content security policy.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
}

/// JSON that cannot end the block it stands in: `<` would begin `</script>` or `<!--`.
fn escaped(data: &Value) -> String {
    data.to_string().replace('<', "\\u003c")
}

/// Texts that many images share, each once.
#[derive(Default)]
struct Texts {
    list: Vec<String>,
    places: BTreeMap<String, usize>,
}

impl Texts {
    fn place(&mut self, text: String) -> usize {
        if let Some(place) = self.places.get(&text) {
            return *place;
        }
        self.list.push(text.clone());
        self.places.insert(text, self.list.len() - 1);
        self.list.len() - 1
    }
}

fn data(survey: &Survey) -> Value {
    let mut messages = Texts::default();
    let listed = survey
        .images
        .iter()
        .filter(|looked| is_there(&looked.record));
    let images: Vec<Value> = listed
        .map(|looked| image(looked, survey, &mut messages))
        .collect();
    let keys: BTreeMap<&String, String> = survey
        .keys
        .iter()
        .map(|(arn, facts)| (arn, key(facts)))
        .collect();
    json!({
        "account": survey.account.as_ref().map(ToString::to_string),
        "region": survey.region,
        "time": survey.time.to_rfc3339_opts(SecondsFormat::Secs, true),
        "version": env!("CARGO_PKG_VERSION"),
        "images": images,
        "keys": keys,
        "messages": messages.list,
    })
}

fn is_there(record: &ImageRecord) -> bool {
    record.skipped != Some(SkipReason::NotFound)
}

fn image(looked: &Looked, survey: &Survey, messages: &mut Texts) -> Value {
    let record = &looked.record;
    let mut refusals = Vec::new();
    for refusal in &record.refusals {
        refusals.push(json!({
            "code": refusal.code().as_str(),
            "attribute": refusal.attribute.to_string(),
            "resource": refusal.resource(),
            "message": messages.place(refusal.message()),
        }));
    }
    let notes: Vec<usize> = record
        .notes
        .iter()
        .map(|note| messages.place(note.clone()))
        .collect();
    let changes: Vec<Value> = record
        .changes
        .iter()
        .map(|proposed| change(&proposed.change))
        .collect();
    let (mut name, mut created, mut encrypted) = (record.name.as_ref(), None, false);
    if let Some(image) = &looked.image {
        name = name.or(image.name.as_ref());
        created = image.creation_date.as_ref();
        encrypted = image.has_encrypted_mapping();
    }
    json!({
        "id": record.id.to_string(),
        "name": name,
        "created": created,
        "outcome": record.outcome.as_str(),
        "reason": record.skipped.as_ref().map(SkipReason::as_str),
        "known": record.launch_permissions.is_some(),
        "encrypted": encrypted,
        "access": ordered(&looked.access).map(access).collect::<Vec<_>>(),
        "locked": locked(looked, survey),
        "changes": changes,
        "refusals": refusals,
        "notes": notes,
        "keys": looked.keys,
        "error": record.error.as_ref().map(crate::failure::call),
    })
}

/// Everybody first, then those whom nobody explains, then organizations, then accounts.
fn ordered(access: &[Access]) -> impl Iterator<Item = &Access> {
    let mut ordered: Vec<&Access> = access.iter().collect();
    ordered.sort_by_key(|one| {
        let kind = match one.grantee {
            Grantee::All => 0,
            _ if one.reasons.is_empty() => 1,
            Grantee::Organization(_) => 2,
            Grantee::OrganizationalUnit(_) => 3,
            Grantee::Account(_) => 4,
        };
        (kind, &one.grantee)
    });
    ordered.into_iter()
}

fn access(access: &Access) -> Value {
    json!({
        "grantee": access.grantee.as_str(),
        "standing": match access.standing {
            Standing::Keeps => "keeps",
            Standing::Added => "added",
            Standing::Removed => "removed",
        },
        "reasons": access.reasons.iter().map(Reason::words).collect::<Vec<_>>(),
    })
}

/// The grantees that certainly cannot use one of the image's keys.
fn locked(looked: &Looked, survey: &Survey) -> Vec<String> {
    let mut locked = Vec::new();
    let Some(image) = &looked.image else {
        return locked;
    };
    for access in &looked.access {
        let cannot = looked.keys.iter().any(|arn| match survey.keys.get(arn) {
            Some(KeyFacts::Known(key)) => cannot_use(key, &access.grantee, &image.owner),
            _ => false,
        });
        if cannot {
            locked.push(access.grantee.to_string());
        }
    }
    locked
}

fn cannot_use(key: &Key, grantee: &Grantee, owner: &AccountId) -> bool {
    let is_unreachable = match &key.reach {
        Some(reach) => !reach.could_reach(grantee, owner),
        None => false,
    };
    key.aws_managed || key.is_unusable() || is_unreachable
}

/// A change of one attribute; those of permissions say how many.
fn change(change: &Change) -> Value {
    let words = match change {
        Change::LaunchPermission(change) => {
            let mut parts = Vec::new();
            for (list, words) in [(&change.add, "to let in"), (&change.remove, "to take out")] {
                let public = if list.contains(&Grantee::All) {
                    ", PUBLIC"
                } else {
                    ""
                };
                if !list.is_empty() {
                    parts.push(format!("{} {words}{public}", list.len()));
                }
            }
            parts.join("; ")
        }
        Change::CopyPermission(change) => {
            let accounts: Vec<&str> = change.accounts.iter().map(AccountId::as_str).collect();
            let words = match change.direction {
                Direction::Add => "may copy",
                Direction::Remove => "may no longer copy",
            };
            format!("{} {words} {}", accounts.join(", "), change.snapshot)
        }
        change => from_to(change),
    };
    json!({ "attribute": change.attribute().to_string(), "words": words })
}

/// A key in words.
fn key(facts: &KeyFacts) -> String {
    let key = match facts {
        KeyFacts::Unknown(reason) => return format!("not looked at: {reason}"),
        KeyFacts::Known(key) => key,
    };
    if key.aws_managed {
        return "managed by AWS: no other account can use it".to_owned();
    }
    if key.is_unusable() {
        return format!("{}: nobody can use it", key.state);
    }
    match &key.reach {
        None => "its policies were not read".to_owned(),
        Some(reach) if reach.anybody => "its policies or grants could reach anybody".to_owned(),
        Some(reach) => {
            let accounts: Vec<&str> = reach.accounts.iter().map(AccountId::as_str).collect();
            format!("its policies and grants name {}", accounts.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use ami_warden_core::{KeyReach, testing::accounts};

    use super::*;

    /// The data of a page, as a browser would read it.
    fn read_back(page: &str) -> Value {
        let (_, rest) = page.split_once("id=\"data\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn whatever_stands_in_a_name_stays_data() {
        let names = [
            "</script><script>alert(1)</script>",
            "<!--<script>",
            "]]><img src=x onerror=alert(1)>",
            "{{SCRIPT}} {{DATA}} {{STYLE}}",
            "\u{2028}\u{2029}\u{0}\u{202e}\"'&\\",
        ];
        let page = page(&Survey::sample(&names));
        let data = read_back(&page);
        for (place, name) in names.iter().enumerate() {
            assert_eq!(data["images"][place]["name"], *name);
        }
        assert_eq!(
            page.matches("<script").count(),
            2,
            "the data and the page's own script"
        );
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(!page.contains("<img") && !page.contains("<!--"));
    }

    #[test]
    fn the_policy_of_the_page_allows_its_own_script_and_style_and_nothing_else() {
        let page = page(&Survey::sample(&[]));
        let (_, policy) = page
            .split_once("http-equiv=\"Content-Security-Policy\" content=\"")
            .unwrap();
        let (policy, _) = policy.split_once('"').unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
        for word in ["{{", "http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
    }

    #[test]
    fn five_thousand_images_are_a_page_of_two_megabytes() {
        let names: Vec<String> = (0..5000).map(|number| format!("build-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut survey = Survey::sample(&names);
        for looked in &mut survey.images {
            let grantee = Grantee::Account("444455556666".parse().unwrap());
            let source = "tag ami-warden:launch-permission".to_owned();
            let reasons = vec![Reason {
                source,
                group: Some("data-teams".into()),
            }];
            looked.access.push(Access {
                grantee,
                standing: Standing::Keeps,
                reasons,
            });
        }
        let bytes = page(&survey).len();
        assert!(bytes < 2_500_000, "{bytes} bytes");
    }

    #[test]
    fn equal_messages_stand_in_the_page_once() {
        let mut texts = Texts::default();
        assert_eq!(
            [
                texts.place("a".into()),
                texts.place("b".into()),
                texts.place("a".into())
            ],
            [0, 1, 0]
        );
        assert_eq!(texts.list, ["a", "b"]);
    }

    #[test]
    fn those_who_certainly_cannot_use_a_key_are_marked() {
        let mut survey = Survey::sample(&["golden"]);
        let grantee = |account: &str| Grantee::Account(account.parse().unwrap());
        for account in ["444455556666", "555566667777"] {
            let grantee = grantee(account);
            survey.images[0].access.push(Access {
                grantee,
                standing: Standing::Keeps,
                reasons: vec![],
            });
        }
        survey.images[0].keys.insert("arn:key".into());
        let reach = KeyReach {
            anybody: false,
            accounts: accounts("444455556666"),
        };
        let key = Key {
            aws_managed: false,
            state: "Enabled".into(),
            reach: Some(reach),
        };
        survey.keys.insert("arn:key".into(), KeyFacts::Known(key));
        let data = data(&survey);
        assert_eq!(data["images"][0]["locked"], json!(["555566667777"]));
        assert_eq!(
            data["keys"]["arn:key"],
            "its policies and grants name 444455556666"
        );
    }

    #[test]
    fn nobody_can_use_a_key_of_aws_or_one_that_is_disabled() {
        let owner = "111122223333".parse().unwrap();
        let reach = KeyReach {
            anybody: true,
            accounts: accounts(""),
        };
        let key = |aws_managed, state: &str| {
            let reach = Some(reach.clone());
            let key = Key {
                aws_managed,
                state: state.into(),
                reach,
            };
            cannot_use(&key, &Grantee::All, &owner)
        };
        assert!(key(true, "Enabled") && key(false, "PendingDeletion"));
        assert!(!key(false, "Enabled"));
    }
}
