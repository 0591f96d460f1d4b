//! What was done: the answer, and the log line of each image.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use crate::{
    directive::Directive,
    event::{Origin, Trigger},
    guardrail::{Attribute, Refusal},
    image::{ImageId, LaunchPermissions},
    metrics::Metrics,
    plan::{Change, LaunchPermissionChange},
    ports::CallError,
};

/// What became of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Something was changed.
    Applied,
    /// Something would be changed, were this no dry run.
    Planned,
    /// All was as wanted.
    Unchanged,
    /// Nothing was changed, and something was refused.
    Refused,
    /// It is pending; its state change will bring it back.
    Deferred,
    /// It was not looked at any further.
    Skipped,
    /// Something did not work that may work later.
    Failed,
}

impl Outcome {
    /// The word as it stands in answers, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Planned => "planned",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Deferred => "deferred",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// A change that was carried out, or in a dry run tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What was changed.
    pub change: Change,
    /// What the read-back of launch permissions showed; `None` where nothing is read back.
    pub read_back: Option<ReadBack>,
    /// In a dry run, whether EC2 permits the call.
    pub permitted: Option<bool>,
}

/// What launch permissions were after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// Everyone who may launch the image; as planned, where they could not be read.
    pub after: LaunchPermissions,
    /// Whether that is what was planned.
    pub confirmed: bool,
}

impl Serialize for Applied {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Attribute", &self.change.attribute())?;
        match &self.change {
            Change::Description { from, to } => {
                map.serialize_entry("From", from)?;
                map.serialize_entry("To", to)?;
            }
            Change::ImdsSupport { from, to } => {
                map.serialize_entry("From", from)?;
                map.serialize_entry("To", to)?;
            }
            Change::LaunchPermission(LaunchPermissionChange { add, remove, after, .. }) => {
                map.serialize_entry("Add", add)?;
                map.serialize_entry("Remove", remove)?;
                map.serialize_entry("After", self.read_back.as_ref().map_or(after, |read_back| &read_back.after))?;
                if let Some(read_back) = &self.read_back {
                    map.serialize_entry("Confirmed", &read_back.confirmed)?;
                }
            }
        }
        if let Some(permitted) = self.permitted {
            map.serialize_entry("Permitted", &permitted)?;
        }
        map.end()
    }
}

impl Change {
    /// The attribute it changes.
    #[must_use]
    pub fn attribute(&self) -> Attribute {
        match self {
            Self::Description { .. } => Attribute::Description,
            Self::ImdsSupport { .. } => Attribute::ImdsSupport,
            Self::LaunchPermission(_) => Attribute::LaunchPermission,
        }
    }
}

/// What became of one image, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    /// The image.
    pub image_id: ImageId,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What did not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<CallError>,
    /// What is wanted, and who says so; for people who ask about an image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<Directive>,
    /// Whether everyone may launch it now; for people who ask about an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    /// Who may launch it now, where that was read; for people who ask about an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_permissions: Option<LaunchPermissions>,
    /// What was changed, in the order in which it was.
    pub changes: Vec<Applied>,
    /// What was refused.
    pub refusals: Vec<Refusal>,
    /// What a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether it is public although nothing says that it should be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub public_without_directives: bool,
}

impl Entry {
    /// An entry without anything but an outcome.
    #[must_use]
    pub fn new(image_id: ImageId, outcome: Outcome) -> Self {
        Self {
            image_id,
            outcome,
            reason: None,
            error: None,
            directives: Vec::new(),
            public: None,
            launch_permissions: None,
            changes: Vec::new(),
            refusals: Vec::new(),
            notes: Vec::new(),
            public_without_directives: false,
        }
    }

    /// An image that was not looked at any further.
    #[must_use]
    pub fn skipped(image_id: ImageId, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::new(image_id, Outcome::Skipped) }
    }

    /// An image for which something did not work.
    #[must_use]
    pub fn failed(image_id: ImageId, error: CallError) -> Self {
        Self { error: Some(error), ..Self::new(image_id, Outcome::Failed) }
    }

    /// Writes the image's log line, and one for each change: who asked for what, and how it was before.
    ///
    /// The subscriber takes `json` for the fields of a line and adds the request's id.
    pub fn log(&self, origin: &Origin) {
        self.log_outcome();
        for Applied { change, read_back, permitted } in &self.changes {
            if permitted.is_some() {
                continue; // A dry run changes nothing.
            }
            let (before, after) = match change {
                Change::Description { from, to } => (json!(from), json!(to)),
                Change::ImdsSupport { from, to } => (json!(from), json!(to)),
                Change::LaunchPermission(change) => {
                    let after = read_back.as_ref().map_or(&change.after, |read_back| &read_back.after);
                    (json!(change.before), json!(after))
                }
            };
            let line = json!({
                "ImageId": self.image_id,
                "Attribute": change.attribute(),
                "Before": before,
                "After": after,
                "EventId": origin.event_id,
                "Actor": origin.actor,
            });
            tracing::info!(event = "change", json = line.to_string());
        }
    }

    fn log_outcome(&self) {
        let json = serde_json::to_string(self).unwrap_or_default();
        match self.outcome {
            Outcome::Failed => tracing::error!(event = "image", json),
            Outcome::Refused => tracing::warn!(event = "image", json),
            _ if self.refusals.is_empty() && self.unconfirmed().is_none() => tracing::info!(event = "image", json),
            _ => tracing::warn!(event = "image", json),
        }
    }

    fn unconfirmed(&self) -> Option<&ReadBack> {
        self.changes.iter().filter_map(|change| change.read_back.as_ref()).find(|read_back| !read_back.confirmed)
    }
}

/// Collects entries; a sweep counts all and keeps only those a person has to know of.
#[derive(Debug, Clone)]
pub struct Report {
    everything: bool,
    entries: Vec<Entry>,
    counts: BTreeMap<Outcome, usize>,
    metrics: Metrics,
    public_without_directives: usize,
}

impl Report {
    /// A report that lists every image.
    #[must_use]
    pub fn of_everything() -> Self {
        Self {
            everything: true,
            entries: Vec::new(),
            counts: BTreeMap::new(),
            metrics: Metrics::default(),
            public_without_directives: 0,
        }
    }

    /// A report that counts every image and lists those that are not `unchanged` or `skipped`.
    #[must_use]
    pub fn of_a_sweep() -> Self {
        Self { everything: false, ..Self::of_everything() }
    }

    /// Takes an entry in.
    pub fn add(&mut self, entry: Entry) {
        *self.counts.entry(entry.outcome).or_default() += 1;
        self.metrics.count(&entry);
        self.public_without_directives += usize::from(entry.public_without_directives);
        if self.everything || !matches!(entry.outcome, Outcome::Unchanged | Outcome::Skipped) {
            self.entries.push(entry);
        }
    }

    /// What was done, in numbers.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The images that failed.
    #[must_use]
    pub fn failed(&self) -> Vec<ImageId> {
        self.entries.iter().filter(|entry| entry.outcome == Outcome::Failed).map(|entry| entry.image_id).collect()
    }

    /// How many images are done, for better or worse, but not failed.
    #[must_use]
    pub fn finished(&self) -> usize {
        self.counts.iter().filter(|(outcome, _)| **outcome != Outcome::Failed).map(|(_, count)| count).sum()
    }

    /// The answer.
    #[must_use]
    pub fn answer(self, trigger: Trigger, dry_run: bool, rest: Option<Continue>) -> Answer {
        let summary = self.counts.into_iter().map(|(outcome, count)| (outcome.as_str(), count)).collect();
        let public_without_directives = self.public_without_directives;
        Answer { trigger, dry_run, reason: None, images: self.entries, summary, public_without_directives, rest }
    }
}

/// What an invocation answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer {
    /// What set it off.
    pub trigger: Trigger,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// Why the event was ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What became of each image.
    pub images: Vec<Entry>,
    /// How many images became what.
    pub summary: BTreeMap<&'static str, usize>,
    /// How many images are public although nothing says that they should be. They were left alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub public_without_directives: usize,
    /// What is left to do: an event that asks for it.
    #[serde(rename = "Continue", skip_serializing_if = "Option::is_none")]
    pub rest: Option<Continue>,
}

impl Answer {
    /// The answer to an event that concerns nothing here.
    #[must_use]
    pub fn ignored(reason: String, dry_run: bool) -> Self {
        let answer = Report::of_everything().answer(Trigger::Ignored, dry_run, None);
        Self { reason: Some(reason), ..answer }
    }

    /// The same answer with only the failed images listed.
    #[must_use]
    pub fn only_failed(mut self) -> Self {
        self.images.retain(|entry| entry.outcome == Outcome::Failed);
        self
    }
}

/// What is left to do when the time is up, in the form of an event that asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continue {
    /// Where a sweep goes on.
    pub after: Option<ImageId>,
    /// Images still to be looked at.
    pub images: Vec<ImageId>,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
}

impl Serialize for Continue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut event = serde_json::Map::new();
        if let Some(after) = self.after {
            event.insert("Sweep".into(), json!({ "After": after }));
        }
        if !self.images.is_empty() {
            event.insert("ImageIds".into(), json!(self.images));
        }
        if self.dry_run {
            event.insert("DryRun".into(), Value::Bool(true));
        }
        event.serialize(serializer)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(count: &usize) -> bool {
    *count == 0
}
