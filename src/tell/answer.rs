//! The answer's JSON: no other file knows it. `deploy/answer.schema.json` describes it, and
//! `deploy/plan.schema.json` the answer of the plan command.

use std::{collections::BTreeMap, fmt};

use ami_warden_core::{
    AccountId, Change, Direction, Directive, Grantee, ImageId, Refusal, Trigger,
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer, ser::Error};
use serde_json::value::RawValue;

use super::cut::{Node, shortened};
use crate::act::record::{ChangeRecord, Effect, ImageRecord, Outcome};

/// The most bytes of an answer's JSON: event and answer travel together in one entry of a bus,
/// which takes 1 MB, in some partitions 256 KB.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html>
pub(crate) const ANSWER_BYTES_MAX: usize = 131_072;

/// The most ids that an answer names as public without directives.
pub(crate) const PUBLIC_IDS_MAX: usize = 100;

/// The most bytes of a text beside the list of images.
const TEXT_BYTES_MAX: usize = 1024;

/// Numbers of images by the word of their outcome.
pub(crate) type Counts = BTreeMap<&'static str, usize>;

/// The answer of an invocation; at most `ANSWER_BYTES_MAX` bytes of JSON, which it displays.
///
/// The answer of a plan has the same frame. `Place` and `Added` are objects, of which it shows the
/// fields besides: the place of the images before their list, and everything else at the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer<Place = (), Added = ()> {
    trigger: &'static str,
    dry_run: bool,
    #[serde(flatten)]
    place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    images: Vec<ListedImage>,
    summary: Counts,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_listed: Counts,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    public_without_directives: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    more: BTreeMap<&'static str, usize>,
    #[serde(rename = "Continue", skip_serializing_if = "Option::is_none")]
    rest: Option<Continue>,
    #[serde(flatten)]
    added: Added,
}

/// Everything of an answer but its list of images.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) trigger: Trigger,
    pub(super) dry_run: bool,
    pub(super) summary: Counts,
    /// The first of the images that are public without directives, and the number of all.
    pub(super) public_without_directives: (&'a [ImageId], usize),
    /// The first notes, and how many more there are.
    pub(super) notes: (Vec<String>, usize),
    pub(super) rest: Option<Continue>,
}

/// The entry of an image that an answer lists.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ListedImage {
    pub(super) outcome: Outcome,
    /// The entry's JSON, cut to its size.
    pub(super) json: String,
}

impl Serialize for ListedImage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry: &RawValue = serde_json::from_str(&self.json).map_err(S::Error::custom)?;
        entry.serialize(serializer)
    }
}

impl<Place, Added> Answer<Place, Added> {
    /// The answer without its list of images.
    fn framed(frame: Frame<'_>, place: Place, added: Added) -> Self {
        let (ids, public_count) = frame.public_without_directives;
        let (notes, more_notes) = frame.notes;
        let mut ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        ids.sort_unstable();
        let mut more = BTreeMap::new();
        for (key, lacking) in [
            ("Notes", more_notes),
            ("PublicWithoutDirectives", public_count - ids.len()),
        ] {
            if lacking > 0 {
                more.insert(key, lacking);
            }
        }
        Self {
            trigger: frame.trigger.as_str(),
            dry_run: frame.dry_run,
            place,
            reason: None,
            images: Vec::new(),
            summary: frame.summary,
            not_listed: Counts::new(),
            public_without_directives: ids,
            notes,
            more,
            rest: frame.rest,
            added,
        }
    }

    /// The answer of a plan for these images, of which it lists those that `is_listed` chooses. It
    /// is whole, whatever its size.
    #[must_use]
    pub fn of_plan<'a>(
        records: impl Iterator<Item = &'a ImageRecord>,
        is_listed: impl Fn(&ImageRecord) -> bool,
        notes: Vec<String>,
        place: Place,
        added: Added,
    ) -> Self {
        let mut images = Vec::new();
        let mut summary = Counts::new();
        let mut public = Vec::new();
        for record in records {
            let outcome = record.outcome;
            *summary.entry(outcome.as_str()).or_default() += 1;
            if record.public_without_directives {
                public.push(record.id);
            }
            if is_listed(record) {
                let json = entry_json(record, usize::MAX);
                images.push(ListedImage { outcome, json });
            }
        }
        let frame = Frame {
            trigger: Trigger::Request,
            dry_run: true,
            summary,
            public_without_directives: (&public, public.len()),
            notes: (notes, 0),
            rest: None,
        };
        let mut answer = Self::framed(frame, place, added);
        answer.images = images;
        answer
    }
}

impl Answer {
    /// The answer to an event that concerns nothing here.
    #[must_use]
    pub fn ignored(reason: &str, dry_run: bool) -> Self {
        Self {
            trigger: Trigger::Ignored.as_str(),
            dry_run,
            place: (),
            reason: Some(shortened(reason, TEXT_BYTES_MAX).into_owned()),
            images: Vec::new(),
            summary: Counts::new(),
            not_listed: Counts::new(),
            public_without_directives: Vec::new(),
            notes: Vec::new(),
            more: BTreeMap::new(),
            rest: None,
            added: (),
        }
    }

    /// An answer without its list of images.
    pub(super) fn without_images(frame: Frame<'_>) -> Self {
        Self::framed(frame, (), ())
    }

    /// The room for the list of images, whatever it will lack.
    pub(super) fn room(&self, bytes_max: usize) -> usize {
        // No count of images that are not listed is above that of the summary.
        let frame = Self {
            not_listed: self.summary.clone(),
            ..self.clone()
        };
        bytes_max.saturating_sub(frame.bytes())
    }

    /// The answer with these images listed, and the number of others that it would list if there
    /// were room.
    pub(super) fn list(&mut self, images: Vec<ListedImage>, not_listed: Counts) {
        self.images = images;
        self.not_listed = not_listed;
    }

    /// The same answer with only the failed images listed.
    #[must_use]
    pub fn only_failed(mut self) -> Self {
        self.images.retain(|image| image.outcome == Outcome::Failed);
        self.not_listed
            .retain(|outcome, _| *outcome == Outcome::Failed.as_str());
        self
    }

    #[must_use]
    pub fn failed(&self) -> usize {
        self.summary
            .get(Outcome::Failed.as_str())
            .copied()
            .unwrap_or_default()
    }

    /// The work that is left.
    #[must_use]
    pub fn rest(&self) -> Option<&Continue> {
        self.rest.as_ref()
    }

    /// The bytes of its JSON.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.to_string().len()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&json)
    }
}

/// Where a sweep goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepFrom {
    Beginning,
    After(ImageId),
}

/// The work that is left when the time is up, in the form of an event that asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Continue {
    /// Where a sweep goes on; `None` if none does.
    pub sweep: Option<SweepFrom>,
    /// Images to look at, whether or not a sweep goes on.
    pub images: Vec<ImageId>,
    /// Whether it is a dry run.
    pub dry_run: bool,
}

impl Serialize for Continue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Vec::new();
        if let Some(from) = self.sweep {
            let after = match from {
                SweepFrom::Beginning => None,
                SweepFrom::After(id) => Some(("After", Node::text(id.to_string()))),
            };
            fields.push(("Sweep", Node::object(after)));
        }
        if !self.images.is_empty() {
            let ids = self.images.iter().map(|id| Node::text(id.to_string()));
            fields.push(("ImageIds", Node::List(ids.collect(), 0)));
        }
        if self.dry_run {
            fields.push(("DryRun", Node::Plain(true.into())));
        }
        Node::object(fields).serialize(serializer)
    }
}

/// The JSON of an image's record, cut to so many bytes.
pub(crate) fn entry_json(record: &ImageRecord, bytes_max: usize) -> String {
    entry(record, bytes_max).to_json()
}

/// An image's record, cut to so many bytes.
pub(super) fn entry(record: &ImageRecord, bytes_max: usize) -> Node<'_> {
    let mut fields = vec![
        ("ImageId", Node::text(record.id.to_string())),
        ("Outcome", Node::text(record.outcome.as_str())),
    ];
    if let Some(reason) = &record.skipped {
        fields.push(("Reason", Node::text(reason.as_str())));
    }
    if let Some(error) = &record.error {
        let error = Node::object([
            ("Operation", Node::text(error.operation)),
            ("Code", Node::text(&*error.code)),
            ("Message", Node::text(&*error.message)),
        ]);
        fields.push(("Error", error));
    }
    if !record.directives.is_empty() {
        let directives = Node::list(record.directives.iter(), bytes_max, |wish| {
            directive(wish, bytes_max)
        });
        fields.push(("Directives", directives));
    }
    if let Some(public) = record.public {
        fields.push(("Public", Node::Plain(public.into())));
    }
    if let Some(permissions) = &record.launch_permissions {
        fields.push(("LaunchPermissions", grantees(permissions.iter(), bytes_max)));
    }
    let changes = Node::list(record.changes.iter(), bytes_max, |done| {
        change(done, bytes_max)
    });
    fields.push(("Changes", changes));
    fields.push((
        "Refusals",
        Node::list(record.refusals.iter(), bytes_max, refusal),
    ));
    if !record.notes.is_empty() {
        fields.push((
            "Notes",
            Node::list(record.notes.iter(), bytes_max, |note| Node::text(&**note)),
        ));
    }
    if record.public_without_directives {
        fields.push(("PublicWithoutDirectives", Node::Plain(true.into())));
    }
    let mut node = Node::object(fields);
    node.cut_to(bytes_max);
    node
}

fn directive(directive: &Directive, room: usize) -> Node<'_> {
    let source = |source: &_| Node::text(ToString::to_string(source));
    Node::object([
        ("Attribute", Node::text(directive.attribute.to_string())),
        ("Value", Node::text(&*directive.value)),
        (
            "Sources",
            Node::list(directive.sources.iter(), room, source),
        ),
    ])
}

fn refusal(refusal: &Refusal) -> Node<'_> {
    let mut fields = vec![
        ("Attribute", Node::text(refusal.attribute.to_string())),
        ("Code", Node::text(refusal.code().as_str())),
        ("Message", Node::text(refusal.message())),
        ("Resource", Node::text(refusal.resource())),
    ];
    if let Some(code) = refusal.ec2_code() {
        fields.push(("Ec2Code", Node::text(code)));
    }
    Node::object(fields)
}

fn change(record: &ChangeRecord, room: usize) -> Node<'_> {
    let mut fields = vec![(
        "Attribute",
        Node::text(record.change.attribute().to_string()),
    )];
    match &record.change {
        Change::LaunchPermission(change) => {
            let read_back = match &record.effect {
                Effect::Done { read_back } => read_back.as_ref(),
                Effect::Proposed | Effect::DryRun { .. } => None,
            };
            let after = read_back.map_or(&change.after, |seen| &seen.after);
            fields.push(("Add", grantees(change.add.iter(), room)));
            fields.push(("Remove", grantees(change.remove.iter(), room)));
            fields.push(("After", grantees(after.iter(), room)));
            if let Some(seen) = read_back {
                fields.push(("Confirmed", Node::Plain(seen.confirmed.into())));
            }
        }
        Change::CopyPermission(change) => {
            let (add, remove) = match change.direction {
                Direction::Add => (
                    accounts(change.accounts.iter(), room),
                    Node::List(Vec::new(), 0),
                ),
                Direction::Remove => (
                    Node::List(Vec::new(), 0),
                    accounts(change.accounts.iter(), room),
                ),
            };
            fields.push(("Snapshot", Node::text(&*change.snapshot)));
            fields.push(("Add", add));
            fields.push(("Remove", remove));
        }
        change => {
            let (from, to) = from_to(change);
            fields.push(("From", from));
            fields.push(("To", to));
        }
    }
    if let Effect::DryRun { permitted } = record.effect {
        fields.push(("Permitted", Node::Plain(permitted.into())));
    }
    Node::object(fields)
}

/// The values of an attribute before and after its change; null for lists, which have parts of
/// their own.
pub(super) fn from_to(change: &Change) -> (Node<'_>, Node<'_>) {
    let null = || Node::text_or_null(None);
    match change {
        Change::Description { from, to } => {
            (Node::text_or_null(from.as_deref()), Node::text(&**to))
        }
        Change::ImdsSupport { from, to } => {
            (Node::text_or_null(from.as_deref()), Node::text(to.as_str()))
        }
        Change::Deprecation { from, to } => (
            Node::text_or_null(from.as_deref()),
            to.map_or_else(null, |to| Node::text(time(to))),
        ),
        Change::SharedTag { from, to, .. } => (
            Node::text_or_null(from.as_deref()),
            Node::text_or_null(to.as_deref()),
        ),
        Change::CopyPermission(_) | Change::LaunchPermission(_) => (null(), null()),
    }
}

pub(super) fn grantees<'a>(
    grantees: impl ExactSizeIterator<Item = &'a Grantee>,
    room: usize,
) -> Node<'a> {
    Node::list(grantees, room, |grantee| Node::text(grantee.as_str()))
}

pub(super) fn accounts<'a>(
    accounts: impl ExactSizeIterator<Item = &'a AccountId>,
    room: usize,
) -> Node<'a> {
    Node::list(accounts, room, |account| Node::text(account.as_str()))
}

/// RFC 3339, to the second: `2027-06-30T00:00:00Z`.
fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, fs, path::PathBuf};

    use ami_warden_core::RefusalCode;
    use serde_json::Value;

    use super::*;
    use crate::tell::samples::answers;

    fn file(path: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), path].iter().collect()
    }

    /// After a change, write the file anew and read the difference:
    ///
    /// ```text
    /// UPDATE_ANSWERS=1 cargo test --no-default-features --lib examples_of_answers
    /// ```
    ///
    /// `tests/e2e/answer_schema.rs` holds the schema against it.
    #[test]
    fn examples_of_answers_are_those_of_the_file() {
        let mut written = String::from("{\n");
        for (name, answer) in answers() {
            let separator = if written.len() > 2 { ",\n" } else { "" };
            write!(written, "{separator}\"{name}\":\n{answer}").unwrap();
        }
        written.push_str("\n}\n");
        let path = file("tests/answers.json");
        if std::env::var_os("UPDATE_ANSWERS").is_some() {
            fs::write(&path, &written).unwrap();
        }
        let read = fs::read_to_string(&path).unwrap();
        assert!(
            read == written,
            "tests/answers.json is out of date: see this test's comment"
        );
    }

    #[test]
    fn the_schema_knows_every_trigger_outcome_and_code() {
        let text = fs::read_to_string(file("deploy/answer.schema.json")).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        let triggers = Trigger::ALL.iter().map(|trigger| trigger.as_str());
        let codes = RefusalCode::ALL.iter().map(|code| code.as_str());
        let lists: [(&str, Vec<&str>); 3] = [
            ("/properties/Trigger/enum", triggers.collect()),
            (
                "/$defs/outcome/enum",
                Outcome::ALL.map(Outcome::as_str).to_vec(),
            ),
            ("/$defs/refusal/properties/Code/enum", codes.collect()),
        ];
        let mut wrong = Vec::new();
        for (pointer, words) in lists {
            let list = schema.pointer(pointer).unwrap().as_array().unwrap();
            let known: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            for word in &words {
                if !known.contains(word) {
                    wrong.push(format!("{pointer} has no {word}"));
                }
            }
            for word in &known {
                if !words.contains(word) {
                    wrong.push(format!("{pointer} has {word}, the code has not"));
                }
            }
            if wrong.is_empty() && known != words {
                wrong.push(format!("{pointer} is in another order than the code"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn an_answer_begins_with_its_trigger_and_an_entry_with_its_image() {
        let json = answers().remove("failed").unwrap().to_string();
        assert!(
            json.starts_with(r#"{"Trigger":"policy-change","DryRun":false,"Images":[{"ImageId":"#),
            "{json}"
        );
        let ends = r#""Summary":{"failed":1,"refused":1}}"#;
        assert!(json.ends_with(ends), "{json}");
    }

    #[test]
    fn the_work_that_is_left_is_an_event() {
        let sweep = Continue {
            sweep: Some(SweepFrom::Beginning),
            ..Continue::default()
        };
        assert_eq!(serde_json::to_string(&sweep).unwrap(), r#"{"Sweep":{}}"#);
        let ids = Continue {
            images: vec!["ami-0123abcd".parse().unwrap()],
            dry_run: true,
            ..Continue::default()
        };
        let json = r#"{"ImageIds":["ami-0123abcd"],"DryRun":true}"#;
        assert_eq!(serde_json::to_string(&ids).unwrap(), json);
    }

    #[test]
    fn an_ignored_event_has_a_short_reason_and_no_images() {
        let json = Answer::ignored("the state is disabled", true).to_string();
        let begins = r#"{"Trigger":"ignored","DryRun":true,"Reason":"the state is disabled","#;
        assert_eq!(json, format!("{begins}\"Images\":[],\"Summary\":{{}}}}"));
        assert!(Answer::ignored(&"\u{1}".repeat(1_000_000), false).bytes() < 2000);
    }
}
