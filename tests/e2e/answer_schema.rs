//! `deploy/answer.schema.json` is tight: it refuses what differs in one place from an answer of the
//! function. That it takes every answer is checked where these tests get one, in `world`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::world::{schema::Schema, *};

/// The edits that make another answer of an answer, by place. All others make none. `*` stands for
/// any item of a list, which is else named by its outcome, attribute or code.
const TAKEN: &[(&[&str], &[&str])] = &[
    // Keys that an object may lack.
    (
        &["absent", "added"],
        &[
            "/Continue",
            "/Continue/DryRun",
            "/Continue/ImageIds",
            "/Continue/Sweep",
            "/Continue/Sweep/After",
            "/Images/*/Changes/createVolumePermission/More",
            "/Images/*/Changes/launchPermission/More",
            "/Images/*/Changes/*/More/Add",
            "/Images/*/Changes/*/More/Remove",
            "/Images/*/Changes/launchPermission/More/After",
            "/Images/*/Changes/*/Permitted",
            "/Images/*/Changes/launchPermission/Confirmed",
            "/Images/*/Directives",
            "/Images/*/Directives/*/More",
            "/Images/*/LaunchPermissions",
            "/Images/*/More",
            "/Images/*/More/*",
            "/Images/*/Notes",
            "/Images/*/Public",
            "/Images/*/PublicWithoutDirectives",
            "/More",
            "/More/*",
            "/NotListed",
            "/Notes",
            "/PublicWithoutDirectives",
            "/Summary/*",
        ],
    ),
    (
        &["the only key, absent"],
        &["/Continue/Sweep/After", "/Summary/*"],
    ),
    // Texts for people, and words of EC2 or of a tag.
    (
        &["begins otherwise", "ends otherwise", "is longer"],
        &[
            "/Images/*/Changes/*/From",
            "/Images/*/Changes/*/To",
            "/Images/*/Directives/*/Attribute",
            "/Images/*/Directives/*/Sources/*",
            "/Images/*/Directives/*/Value",
            "/Images/*/Error/*",
            "/Images/*/Notes/*",
            "/Images/*/Reason",
            "/Images/*/Refusals/*/Attribute",
            "/Images/*/Refusals/*/Message",
            "/Images/*/Refusals/*/Resource",
            "/Images/*/Refusals/ec2-refused/Ec2Code",
            "/Notes/*",
            "/Reason",
        ],
    ),
    (
        &["ends otherwise", "is longer"],
        &[
            "/Images/*/Changes/createVolumePermission/Snapshot",
            "/Images/*/Changes/sharedTag/Attribute",
        ],
    ),
    (
        &["is empty"],
        &[
            "/Continue/Sweep",
            "/Images",
            "/Images/*/Changes/*/Add",
            "/Images/*/Changes/*/After",
            "/Images/*/Changes/*/From",
            "/Images/*/Changes/*/Remove",
            "/Images/*/Changes/*/To",
            "/Images/*/Directives/*/Value",
            "/Images/*/Error/Code",
            "/Images/*/Error/Message",
            "/Images/*/LaunchPermissions",
            "/Images/*/Refusals/ec2-refused/Ec2Code",
            "/Images/applied/Refusals",
            "/Summary",
        ],
    ),
    (
        &["has an item twice"],
        &[
            "/Continue/ImageIds",
            "/Images",
            "/Images/*/Changes",
            "/Images/*/Directives",
            "/Images/*/Directives/*/Sources",
            "/Images/*/Notes",
            "/Images/*/Refusals",
            "/Notes",
        ],
    ),
    (
        &["is the opposite"],
        &[
            "/DryRun",
            "/Images/*/Changes/*/Permitted",
            "/Images/*/Changes/launchPermission/Confirmed",
            "/Images/*/Public",
        ],
    ),
    (
        &["is null", "is a text"],
        &["/Images/*/Changes/*/From", "/Images/*/Changes/*/To"],
    ),
];

/// An answer with one edit.
struct Edited {
    place: String,
    edit: &'static str,
    answer: Value,
}

/// Answers of the function, each list cut to its first item of each kind, and some with more in one
/// place.
fn answers() -> Vec<Value> {
    let answers: BTreeMap<String, Value> =
        serde_json::from_value(json_file("tests/answers.json")).unwrap();
    let mut all: Vec<Value> = answers.values().map(cut).collect();
    let more = |keys: &[&str]| {
        keys.iter()
            .map(|key| ((*key).to_owned(), json!(1)))
            .collect::<Value>()
    };
    for (name, pointer, value) in [
        (
            "cut",
            "/Images/0/More",
            more(&[
                "Directives",
                "LaunchPermissions",
                "Changes",
                "Refusals",
                "Notes",
            ]),
        ),
        ("cut", "/Images/0/Changes/0/More", more(&["Add", "Remove"])),
        (
            "cut",
            "/Images/0/Changes/1/More",
            more(&["Add", "Remove", "After"]),
        ),
        (
            "link of a chain",
            "/More",
            more(&["Notes", "PublicWithoutDirectives"]),
        ),
        ("link of a chain", "/Continue", json!({ "Sweep": {} })),
        (
            "link of a chain",
            "/Continue",
            json!({ "ImageIds": ["ami-0123abcd"] }),
        ),
    ] {
        let mut answer = cut(&answers[name]);
        *answer.pointer_mut(pointer).unwrap() = value;
        all.push(answer);
    }
    all
}

/// The word by which an item of a list is told from others.
fn word(item: &Value) -> &str {
    let words = ["Outcome", "Code", "Attribute"];
    let word = words.iter().find_map(|key| item[*key].as_str());
    word.unwrap_or("*").split(':').next().unwrap()
}

fn cut(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.clone(), cut(value)))
            .collect(),
        Value::Array(list) => {
            let mut seen = BTreeSet::new();
            list.iter()
                .filter(|item| seen.insert((word(item), item["From"].is_null())))
                .map(cut)
                .collect()
        }
        value => value.clone(),
    }
}

/// Calls `each` with the place, pointer and value of everything in an answer.
fn walk<'a>(
    value: &'a Value,
    place: &str,
    pointer: &str,
    each: &mut impl FnMut(&str, &str, &'a Value),
) {
    each(place, pointer, value);
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                walk(
                    value,
                    &format!("{place}/{key}"),
                    &format!("{pointer}/{key}"),
                    each,
                );
            }
        }
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                walk(
                    item,
                    &format!("{place}/{}", word(item)),
                    &format!("{pointer}/{index}"),
                    each,
                );
            }
        }
        _ => {}
    }
}

/// Other values for one of an answer.
fn others(value: &Value) -> Vec<(&'static str, Value)> {
    let mut others = vec![
        ("is null", json!(null)),
        ("is a boolean", json!(true)),
        ("is a number", json!(7)),
        ("is a text", json!("text")),
        ("is a list", json!([])),
        ("is an object", json!({})),
    ];
    others.retain(|(_, other)| std::mem::discriminant(other) != std::mem::discriminant(value));
    match value {
        Value::String(text) => others.extend([
            ("is empty", json!("")),
            ("begins otherwise", json!(format!("x{}", &text[1..]))),
            (
                "ends otherwise",
                json!(format!("{}x", &text[..text.len() - 1])),
            ),
            ("is longer", json!(format!("{text}x"))),
        ]),
        Value::Array(list) => {
            others.push(("is empty", json!([])));
            if let Some(first) = list.first() {
                others.push(("has an item twice", json!([first, first])));
            }
        }
        Value::Object(_) => others.push(("is empty", json!({}))),
        Value::Number(_) => others.extend([("is 0", json!(0)), ("is a fraction", json!(1.5))]),
        Value::Bool(is) => others.push(("is the opposite", json!(!is))),
        Value::Null => {}
    }
    others.retain(|(_, other)| other != value);
    others
}

/// Every answer that differs from one of the answers in one place.
fn edited(answers: &[Value]) -> Vec<Edited> {
    // The keys of all objects that stand in the same place, with a value.
    let mut keys: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for answer in answers {
        walk(answer, "", "", &mut |place, _, value| {
            if let Value::Object(object) = value {
                let keys = keys.entry(stars(place)).or_default();
                for (key, value) in object {
                    keys.entry(key).or_insert(value.clone());
                }
            }
        });
    }
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for answer in answers {
        walk(answer, "", "", &mut |place, pointer, value| {
            let mut push = |place: String, edit, change: &dyn Fn(&mut Value)| {
                if seen.insert((alike(&place), edit)) {
                    let mut answer = answer.clone();
                    change(answer.pointer_mut(pointer).unwrap());
                    all.push(Edited {
                        place,
                        edit,
                        answer,
                    });
                }
            };
            for (edit, other) in others(value) {
                push(place.to_owned(), edit, &|value| *value = other.clone());
            }
            let Value::Object(object) = value else { return };
            let fellows = &keys[&stars(place)];
            let unknown = fellows.values().next().cloned().unwrap_or(json!(1));
            push(format!("{place}/Unknown"), "added", &|value| {
                value["Unknown"] = unknown.clone()
            });
            for (key, other) in fellows {
                let (edit, only) = if object.contains_key(key) {
                    ("absent", object.len() == 1)
                } else {
                    ("added", false)
                };
                let edit = if only { "the only key, absent" } else { edit };
                push(format!("{place}/{key}"), edit, &|value| match edit {
                    "added" => value[key] = other.clone(),
                    _ => drop(value.as_object_mut().unwrap().remove(key)),
                });
            }
        });
    }
    all
}

/// Answers that are wrong in more than one place, by the name of the answer they are made of.
fn wrong() -> Vec<Value> {
    let answers = json_file("tests/answers.json");
    let change = |name: &str, changes: &[(&str, Value)]| {
        let mut answer = answers[name].clone();
        for (pointer, value) in changes {
            let (above, key) = pointer.rsplit_once('/').unwrap();
            let above = answer.pointer_mut(above).unwrap();
            match value {
                Value::Null => drop(above.as_object_mut().unwrap().remove(key)),
                value => above[key] = value.clone(),
            }
        }
        answer
    };
    let image = &answers["look"]["Images"][0];
    let error = &answers["failed"]["Images"][0]["Error"];
    let ids: Vec<String> = (0..101).map(|id| format!("ami-{id:08}")).collect();
    vec![
        change(
            "link of a chain",
            &[("/PublicWithoutDirectives", json!(ids))],
        ),
        change("ignored", &[("/Images", json!([image]))]),
        change("ignored", &[("/Summary", json!({ "failed": 1 }))]),
        change("ignored", &[("/Notes", json!(["Something else."]))]),
        change("ignored", &[("/Trigger", json!(null))]),
        change(
            "cut",
            &[
                ("/Images/0/Outcome", json!(null)),
                ("/Images/0/Error", error.clone()),
                ("/Images/0/Reason", json!("hold")),
            ],
        ),
    ]
}

/// The place, without the outcome of the image if it is below the image's own keys.
fn alike(place: &str) -> String {
    let mut parts: Vec<&str> = place.split('/').collect();
    if parts.len() > 4 && parts[1] == "Images" {
        parts[2] = "*";
    }
    parts.join("/")
}

/// The place without the words of items.
fn stars(place: &str) -> String {
    let mut parts: Vec<&str> = place.split('/').collect();
    for index in 1..parts.len() {
        if ["Images", "Changes", "Refusals", "Directives"].contains(&parts[index - 1])
            && parts[index - 2] != "More"
        {
            parts[index] = "*";
        }
    }
    parts.join("/")
}

/// The row of [`TAKEN`] for this edit.
fn row(edited: &Edited) -> Option<&'static str> {
    let rows = TAKEN
        .iter()
        .filter(|(edits, _)| edits.contains(&edited.edit));
    rows.flat_map(|(_, places)| *places).copied().find(|row| {
        let (row, place) = (row.split('/'), edited.place.split('/'));
        row.clone().count() == place.clone().count()
            && row
                .zip(place)
                .all(|(row, part)| row == part || row == "*" && part != "Unknown")
    })
}

#[test]
fn the_schema_refuses_what_differs_from_an_answer_in_one_place() {
    let schema = Schema::of_file(ANSWER_SCHEMA);
    let answers = answers();
    let mut wrong = Vec::new();
    let mut stale: BTreeSet<&str> = TAKEN
        .iter()
        .flat_map(|(_, places)| *places)
        .copied()
        .collect();
    for edited in edited(&answers) {
        let row = row(&edited);
        stale.remove(row.unwrap_or_default());
        let taken = schema.check(&edited.answer).is_ok();
        if taken != row.is_some() {
            wrong.push(format!(
                "{} {}: {}",
                edited.place,
                edited.edit,
                if taken { "taken" } else { "refused" }
            ));
        }
    }
    for answer in self::wrong() {
        if schema.check(&answer).is_ok() {
            wrong.push(format!("taken: {answer:#}"));
        }
    }
    assert!(
        wrong.is_empty() && stale.is_empty(),
        "{wrong:#?}, rows without an edit: {stale:#?}"
    );
}

/// The pointers of every keyword, and of every item of its lists, but for texts for people and for
/// the words that `the_schema_knows_every_trigger_outcome_and_code` compares with the code.
fn keywords(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, "", "", &mut |_, pointer, value| {
        let key = pointer.rsplit('/').next().unwrap();
        let is_said = ["title", "description", "$schema"].contains(&key) && value.is_string();
        let is_word = pointer.contains("/Trigger/enum/") || pointer.contains("/Code/enum/");
        if !is_said && !is_word && !pointer.is_empty() {
            found.push(pointer.to_owned());
        }
    });
    found
}

#[test]
fn no_keyword_of_the_schema_can_go_unnoticed() {
    let schema = json_file(ANSWER_SCHEMA);
    let answers = answers();
    let (mut taken, mut refused) = (answers.clone(), wrong());
    for edited in edited(&answers) {
        let list = if row(&edited).is_some() {
            &mut taken
        } else {
            &mut refused
        };
        list.push(edited.answer);
    }
    let mut survivors = Vec::new();
    for pointer in keywords(&schema) {
        let mut less = schema.clone();
        let (above, key) = pointer.rsplit_once('/').unwrap();
        match less.pointer_mut(above).unwrap() {
            Value::Object(object) => drop(object.remove(key)),
            Value::Array(list) => drop(list.remove(key.parse().unwrap())),
            _ => unreachable!(),
        }
        // What is no schema any more is noticed.
        let Ok(less) = Schema::compile(ANSWER_SCHEMA, less) else {
            continue;
        };
        let takes = |answer| less.check(answer).is_ok();
        if taken.iter().all(takes) && !refused.iter().any(takes) {
            survivors.push(pointer);
        }
    }
    assert!(survivors.is_empty(), "{survivors:#?}");
}
