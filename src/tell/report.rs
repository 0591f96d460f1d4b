//! Collects the records of images, and keeps what a bounded answer can hold of them.
//!
//! Nothing here grows with the number of images, grantees or refusals but numbers: a record that
//! the answer has no room for is counted and dropped when it is added.

use std::collections::BTreeMap;

use ami_warden_core::{ImageId, Trigger};

use super::{
    answer::{
        self, ANSWER_BYTES_MAX, Answer, Continue, Counts, Frame, ListedImage, PUBLIC_IDS_MAX,
    },
    cut::{self, Node},
    metrics::Metrics,
};
use crate::act::record::{ImageRecord, Outcome};

/// The most failed images that are known by id: one more than may travel in `Continue`.
pub(crate) const FAILED_IDS_MAX: usize = 1001;

/// An entry is not cut below so many bytes for the sake of others: a few refusals, or a message of
/// EC2 with its encoded authorization failure, remain readable.
const ENTRY_BYTES_MIN: usize = 2048;

/// The most bytes of all notes, and of one.
const NOTES_BYTES_MAX: usize = 4096;
const NOTE_BYTES_MAX: usize = 1024;

/// The place of an entry in the answer: by outcome, then by id. The number tells entries of the
/// same image apart.
type Place = (Outcome, ImageId, usize);

/// Collects the records of images.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    lists_all: bool,
    /// The bytes of the answer.
    bytes_max: usize,
    counts: BTreeMap<Outcome, usize>,
    /// The JSON of the entries that the answer has room for.
    entries: BTreeMap<Place, String>,
    /// The bytes of the entries, with a comma each.
    entries_bytes: usize,
    /// The bytes to which entries are cut; less with each entry that needs room.
    entry_bytes_max: usize,
    /// The most important outcome of which an entry was dropped; from there on none is added.
    full_from: Option<Outcome>,
    not_listed: BTreeMap<Outcome, usize>,
    failed: Vec<ImageId>,
    public: Vec<ImageId>,
    public_count: usize,
    notes: Vec<String>,
    notes_bytes: usize,
    more_notes: usize,
    metrics: Metrics,
}

impl Report {
    /// A report that lists every image.
    #[must_use]
    pub(crate) fn listing_all() -> Self {
        Self {
            lists_all: true,
            bytes_max: ANSWER_BYTES_MAX,
            counts: BTreeMap::new(),
            entries: BTreeMap::new(),
            entries_bytes: 0,
            entry_bytes_max: ANSWER_BYTES_MAX,
            full_from: None,
            not_listed: BTreeMap::new(),
            failed: Vec::new(),
            public: Vec::new(),
            public_count: 0,
            notes: Vec::new(),
            notes_bytes: 0,
            more_notes: 0,
            metrics: Metrics::default(),
        }
    }

    /// A report that counts every image and lists those that are not `unchanged` or `skipped`.
    #[must_use]
    pub(crate) fn of_sweep() -> Self {
        Self {
            lists_all: false,
            ..Self::listing_all()
        }
    }

    /// With another bound, for examples.
    #[cfg(test)]
    pub(super) fn with_bytes_max(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// Takes in the record of an image.
    pub(crate) fn add(&mut self, record: &ImageRecord) {
        let outcome = record.outcome;
        *self.counts.entry(outcome).or_default() += 1;
        self.metrics.count(record);
        if outcome == Outcome::Failed && self.failed.len() < FAILED_IDS_MAX {
            self.failed.push(record.id);
        }
        if record.public_without_directives {
            self.public_count += 1;
            if self.public.len() < PUBLIC_IDS_MAX {
                self.public.push(record.id);
            }
        }
        if !self.lists_all && matches!(outcome, Outcome::Unchanged | Outcome::Skipped) {
            return;
        }
        if self.full_from.is_some_and(|full_from| outcome >= full_from) {
            *self.not_listed.entry(outcome).or_default() += 1;
            return;
        }
        let mut json = answer::entry_json(record, self.entry_bytes_max);
        json.shrink_to_fit();
        self.entries_bytes += json.len() + 1;
        self.entries.insert(
            (outcome, record.id, self.finished() + self.failed_count()),
            json,
        );
        self.fit(self.bytes_max);
    }

    /// Adds a sentence that a person should know, about no image in particular.
    pub(crate) fn note(&mut self, note: &str) {
        let note = cut::shortened(note, NOTE_BYTES_MAX);
        let bytes = Node::text(&*note).bytes() + 1;
        if self.notes_bytes + bytes > NOTES_BYTES_MAX {
            self.more_notes += 1;
            return;
        }
        self.notes_bytes += bytes;
        self.notes.push(note.into_owned());
    }

    /// The numbers for the metrics.
    #[must_use]
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The first [`FAILED_IDS_MAX`] images that failed.
    #[must_use]
    pub(crate) fn failed(&self) -> &[ImageId] {
        &self.failed
    }

    #[must_use]
    pub(crate) fn failed_count(&self) -> usize {
        self.counts
            .get(&Outcome::Failed)
            .copied()
            .unwrap_or_default()
    }

    /// How many images did not fail.
    #[must_use]
    pub(crate) fn finished(&self) -> usize {
        self.counts.values().sum::<usize>() - self.failed_count()
    }

    /// The bytes that the report keeps of entries, ids and notes.
    #[cfg(test)]
    fn retained_bytes(&self) -> usize {
        let entries: usize = self.entries.values().map(String::capacity).sum();
        entries
            + self.entries.len() * size_of::<(Place, String)>()
            + (self.failed.capacity() + self.public.capacity()) * size_of::<ImageId>()
            + self.notes.iter().map(String::capacity).sum::<usize>()
    }

    /// Makes the entries fit, and the answer of them.
    #[must_use]
    pub(crate) fn answer(
        mut self,
        trigger: Trigger,
        dry_run: bool,
        rest: Option<Continue>,
    ) -> Answer {
        let mut answer = Answer::without_images(Frame {
            trigger,
            dry_run,
            summary: by_word(&self.counts),
            public_without_directives: (&self.public, self.public_count),
            notes: (std::mem::take(&mut self.notes), self.more_notes),
            rest,
        });
        self.fit(answer.room(self.bytes_max));
        let images = self.entries.into_iter();
        let images = images.map(|((outcome, ..), json)| ListedImage { outcome, json });
        answer.list(images.collect(), by_word(&self.not_listed));
        answer
    }

    /// Makes the entries fit: cuts large ones, then drops the least important ones.
    fn fit(&mut self, room: usize) {
        if self.entries_bytes <= room {
            return;
        }
        let sizes: Vec<usize> = self.entries.values().map(|json| json.len() + 1).collect();
        let entry_bytes_max = cut::share(&sizes, room)
            .saturating_sub(1)
            .max(ENTRY_BYTES_MIN);
        self.cut_entries(entry_bytes_max);
        while self.entries_bytes > room {
            let Some(((outcome, ..), json)) = self.entries.pop_last() else {
                return;
            };
            self.entries_bytes -= json.len() + 1;
            *self.not_listed.entry(outcome).or_default() += 1;
            self.full_from = Some(outcome);
        }
    }

    /// Cuts the entries to so many bytes each, those to come too.
    fn cut_entries(&mut self, bytes_max: usize) {
        if bytes_max >= self.entry_bytes_max {
            return;
        }
        self.entry_bytes_max = bytes_max;
        for json in self.entries.values_mut() {
            let before = json.len();
            if before <= bytes_max {
                continue;
            }
            recut(json, bytes_max);
            self.entries_bytes = self.entries_bytes - before + json.len();
        }
    }
}

/// Cuts the JSON of an entry further.
fn recut(json: &mut String, bytes_max: usize) {
    if let Ok(mut node) = serde_json::from_str::<Node<'_>>(json) {
        node.cut_to(bytes_max);
        *json = node.to_json();
        json.shrink_to_fit();
    }
}

fn by_word(counts: &BTreeMap<Outcome, usize>) -> Counts {
    counts
        .iter()
        .map(|(outcome, count)| (outcome.as_str(), *count))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        act::record::{ChangeRecord, Effect, SkipReason},
        tell::{
            answer::SweepFrom,
            samples::{
                applied, changes, done, failed, id, mistyped, refused, share, units, with_id,
            },
        },
    };

    /// The answer's JSON, within its bound and true to its own counts.
    fn parsed(answer: &Answer) -> Value {
        let json = answer.to_string();
        assert_eq!(json, serde_json::to_string(answer).unwrap());
        assert!(json.len() <= ANSWER_BYTES_MAX, "{}", json.len());
        let value: Value = serde_json::from_str(&json).unwrap();
        let places: Vec<usize> = outcomes(&value).map(place).collect();
        assert!(places.is_sorted(), "{places:?}");
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        for outcome in outcomes(&value) {
            *known.entry(outcome.to_owned()).or_default() += 1;
        }
        for (outcome, count) in value["NotListed"].as_object().into_iter().flatten() {
            *known.entry(outcome.clone()).or_default() += count.as_u64().unwrap();
        }
        for (outcome, count) in known {
            assert_eq!(value["Summary"][&outcome], count, "{outcome}");
        }
        value
    }

    fn outcomes(answer: &Value) -> impl Iterator<Item = &str> {
        answer["Images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["Outcome"].as_str().unwrap())
    }

    fn place(outcome: &str) -> usize {
        Outcome::ALL
            .iter()
            .position(|known| known.as_str() == outcome)
            .unwrap()
    }

    fn answer(report: Report) -> Answer {
        report.answer(Trigger::Schedule, false, None)
    }

    /// A sweep over so many copies of the record. Its memory stays bounded meanwhile.
    fn sweep(record: &ImageRecord, count: usize) -> Report {
        let mut report = Report::of_sweep();
        let mut record = record.clone();
        let mut retained = 0;
        for number in 0..count {
            record.id = id(number);
            report.add(&record);
            retained = retained.max(report.retained_bytes());
        }
        let entries = report.entries.values();
        let bytes: usize = entries.map(|json| json.len() + 1).sum();
        assert_eq!(report.entries_bytes, bytes);
        println!("{count} images: at most {retained} bytes retained");
        assert!(retained <= 300_000, "{retained}");
        report
    }

    #[test]
    fn a_region_of_refused_images_with_long_lists_has_a_bounded_answer() {
        let mut report = sweep(&refused(1000), 50_000);
        report.add(&with_id(&failed(900), 60_000));
        let value = parsed(&answer(report));
        let images = value["Images"].as_array().unwrap();
        assert!(images.len() > 40, "{}", images.len());
        assert_eq!(
            images[0]["Outcome"], "failed",
            "the most important one comes first"
        );
        assert_eq!(value["NotListed"]["refused"], 50_000 - (images.len() - 1));
        for entry in &images[1..] {
            let refusals = entry["Refusals"].as_array().unwrap();
            assert_eq!(entry["More"]["Refusals"], 1000 - refusals.len());
            assert_eq!(refusals[0]["Code"], "grantee-not-allowed");
        }
    }

    #[test]
    fn mistyped_keys_fill_the_answer_and_the_others_are_counted() {
        let answer = answer(sweep(&mistyped(), 20_000));
        assert!(
            answer.bytes() > ANSWER_BYTES_MAX - 500,
            "{} used",
            answer.bytes()
        );
        let value = parsed(&answer);
        let listed = value["Images"].as_array().unwrap();
        assert_eq!(
            value["NotListed"],
            json!({ "refused": 20_000 - listed.len() })
        );
        assert_eq!(listed[0]["ImageId"], id(0).to_string(), "from the first on");
        assert!(
            listed.iter().all(|entry| entry.get("More").is_none()),
            "and none is cut"
        );
    }

    #[test]
    fn failures_with_long_messages_are_bounded_in_answer_and_error() {
        for (message_bytes, listed_min) in [(900, 100), (20_000, 60)] {
            let mut report = sweep(&failed(message_bytes), 1000);
            report.add(&applied());
            assert_eq!((report.failed().len(), report.failed_count()), (1000, 1000));
            assert_eq!(report.failed()[999], id(999));
            let error = answer(report).only_failed();
            assert_eq!(error.failed(), 1000);
            let value = parsed(&error);
            let images = value["Images"].as_array().unwrap();
            assert!(images.len() >= listed_min, "{}", images.len());
            assert_eq!(value["NotListed"], json!({ "failed": 1000 - images.len() }));
            assert_eq!(value["Summary"], json!({ "applied": 1, "failed": 1000 }));
            let message = images[0]["Error"]["Message"].as_str().unwrap();
            assert_eq!(message.ends_with('…'), message_bytes > 2000, "{message}");
            assert!(message.starts_with(&"x".repeat(900)), "{message}");
        }
    }

    #[test]
    fn one_image_with_a_thousand_units_uses_the_whole_answer() {
        let mut record = ImageRecord::new(id(0), Outcome::Applied);
        record
            .changes
            .push(done(share(&units(1000), &BTreeSet::new()), true));
        let mut report = Report::listing_all();
        report.add(&record);
        let answer = answer(report);
        assert!(
            answer.bytes() > ANSWER_BYTES_MAX - 1000,
            "{} used",
            answer.bytes()
        );
        let value = parsed(&answer);
        let change = &value["Images"][0]["Changes"][0];
        for list in ["Add", "After"] {
            let kept = change[list].as_array().unwrap();
            assert_eq!(kept[0], units(1).first().unwrap().as_str());
            assert_eq!(
                kept.len() as u64 + change["More"][list].as_u64().unwrap(),
                1000
            );
        }
        assert_eq!(change["Remove"], json!([]));
        assert_eq!(change["Confirmed"], true);
        assert_eq!(value.get("NotListed"), None);
    }

    #[test]
    fn images_that_each_would_fill_the_answer_share_it() {
        let mut record = ImageRecord::new(id(0), Outcome::Applied);
        record
            .changes
            .push(done(share(&units(1000), &BTreeSet::new()), true));
        let mut report = sweep(&record, 10);
        report.add(&with_id(&failed(100), 20));
        let value = parsed(&answer(report));
        assert_eq!(value.get("NotListed"), None);
        for entry in &value["Images"].as_array().unwrap()[1..] {
            assert!(
                entry["Changes"][0]["Add"].as_array().unwrap().len() > 20,
                "{entry}"
            );
        }
    }

    #[test]
    fn a_large_entry_leaves_room_for_the_commas_of_small_ones() {
        let mut report = Report::listing_all();
        report.add(&failed(ANSWER_BYTES_MAX));
        for number in 100..140 {
            report.add(&ImageRecord::new(id(number), Outcome::Deferred));
        }
        let answer = answer(report);
        let used = answer.bytes();
        assert!(used > ANSWER_BYTES_MAX - 200, "{used} used");
        let value = parsed(&answer);
        assert_eq!(value.get("NotListed"), None);
        assert_eq!(outcomes(&value).count(), 41);
    }

    #[test]
    fn entries_that_fill_their_room_to_the_last_byte_stay() {
        let mut report = Report::listing_all();
        for number in 0..10 {
            report.add(&ImageRecord::new(id(number), Outcome::Deferred));
        }
        let room = report.entries_bytes / 10 * 7;
        report.fit(room);
        assert_eq!(report.entries_bytes, room);
        assert_eq!(report.entries.len(), 7);
    }

    #[test]
    fn work_that_is_left_is_whole_whatever_else_there_is() {
        let images: Vec<ImageId> = (100_000..105_000).map(id).collect();
        let rest = Continue {
            sweep: Some(SweepFrom::After(id(50_000))),
            images: images.clone(),
            dry_run: true,
        };
        for record in [refused(1000), failed(20_000), mistyped()] {
            let mut report = sweep(&record, 2000);
            for number in 0..150 {
                let mut public = ImageRecord::skipped(id(number), SkipReason::NoDirectives);
                public.public_without_directives = true;
                report.add(&public);
            }
            for _ in 0..20 {
                report.note(&"n".repeat(2000));
            }
            let answer = report.answer(Trigger::Schedule, true, Some(rest.clone()));
            assert_eq!(answer.rest(), Some(&rest));
            let value = parsed(&answer);
            let ids: Vec<String> = images.iter().map(ToString::to_string).collect();
            assert_eq!(
                value["Continue"],
                json!({
                    "Sweep": { "After": id(50_000).to_string() },
                    "ImageIds": ids,
                    "DryRun": true,
                })
            );
            assert!(!value["Images"].as_array().unwrap().is_empty());
            assert_eq!(value["Summary"]["skipped"], 150);
            assert_eq!(
                value["PublicWithoutDirectives"].as_array().unwrap().len(),
                100
            );
            assert_eq!(value["More"]["PublicWithoutDirectives"], 50);
            let notes = value["Notes"].as_array().unwrap().len();
            assert_eq!(value["More"]["Notes"], 20 - notes);
            assert!(notes > 0);
        }
    }

    #[test]
    fn the_least_important_outcomes_make_room() {
        let mut report = Report::listing_all();
        for (order, outcome) in Outcome::ALL.into_iter().rev().enumerate() {
            for number in 0..500 {
                let mut record = ImageRecord::new(id(order * 1000 + number), outcome);
                record.notes.push("n".repeat(200));
                report.add(&record);
            }
        }
        let value = parsed(&answer(report));
        let listed: Vec<&str> = outcomes(&value).collect();
        assert!(listed.len() > 400, "{}", listed.len());
        assert!(listed.iter().all(|outcome| *outcome == "failed"));
        assert_eq!(value["NotListed"]["failed"], 500 - listed.len());
        for outcome in &Outcome::ALL[1..] {
            assert_eq!(value["NotListed"][outcome.as_str()], 500);
        }
    }

    #[test]
    fn an_outcome_that_has_lost_an_entry_takes_no_further_one() {
        let mut report = Report::of_sweep();
        for number in 0..100 {
            report.add(&with_id(&refused(1000), number));
        }
        let full = report.entries.len();
        report.add(&with_id(&mistyped(), 200));
        report.add(&ImageRecord::new(id(201), Outcome::Applied));
        assert_eq!(
            report.entries.len(),
            full,
            "not even a small one: the choice is by outcome"
        );
        report.add(&with_id(&failed(10), 202));
        let value = parsed(&answer(report));
        assert_eq!(outcomes(&value).next(), Some("failed"));
        assert_eq!(value["NotListed"]["applied"], 1);
    }

    #[test]
    fn a_sweep_lists_no_settled_images_and_does_not_count_them_as_not_listed() {
        let mut report = Report::of_sweep();
        report.add(&ImageRecord::new(id(1), Outcome::Unchanged));
        report.add(&ImageRecord::skipped(id(2), SkipReason::Hold));
        report.add(&ImageRecord::new(id(3), Outcome::Deferred));
        assert_eq!(report.finished(), 3);
        let value = parsed(&answer(report));
        let expected = json!({
            "Trigger": "schedule",
            "DryRun": false,
            "Images": [
                {
                    "ImageId": id(3).to_string(), "Outcome": "deferred",
                    "Changes": [], "Refusals": [],
                },
            ],
            "Summary": { "unchanged": 1, "skipped": 1, "deferred": 1 },
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn images_are_in_the_order_of_outcomes_and_ids_whatever_the_order_of_work() {
        let mut report = Report::listing_all();
        for (number, outcome) in [
            (4, Outcome::Applied),
            (1, Outcome::Skipped),
            (3, Outcome::Applied),
            (9, Outcome::Failed),
        ] {
            report.add(&ImageRecord::new(id(number), outcome));
        }
        let value = parsed(&answer(report));
        let ids: Vec<&str> = value["Images"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["ImageId"].as_str().unwrap())
            .collect();
        assert_eq!(ids, [9, 3, 4, 1].map(|number| id(number).to_string()));
    }

    #[test]
    fn an_image_that_was_told_of_twice_is_listed_twice() {
        for outcome in [Outcome::Applied, Outcome::Failed] {
            let mut report = Report::listing_all();
            for _ in 0..3 {
                report.add(&ImageRecord::new(id(1), outcome));
            }
            let value = parsed(&answer(report));
            assert_eq!(outcomes(&value).collect::<Vec<_>>(), [outcome.as_str(); 3]);
        }
    }

    #[test]
    fn the_metrics_count_every_image_of_a_report_listed_or_not() {
        let (mut report, mut expected) = (Report::of_sweep(), Metrics::default());
        for record in [applied(), ImageRecord::new(id(1), Outcome::Unchanged)] {
            report.add(&record);
            expected.count(&record);
        }
        assert_eq!(*report.metrics(), expected);
        assert_ne!(expected, Metrics::default());
    }

    #[test]
    fn notes_are_kept_up_to_4096_bytes_with_their_quotes_and_commas() {
        let mut report = Report::listing_all();
        for _ in 0..4 {
            report.note(&"n".repeat(1021));
        }
        report.note("");
        report.note("n");
        let value = parsed(&answer(report));
        assert_eq!(value["Notes"], json!(vec!["n".repeat(1021); 4]));
        assert_eq!(value["More"]["Notes"], 2);
    }

    #[test]
    fn no_more_failed_ids_are_kept_than_could_travel_and_one() {
        let mut report = Report::of_sweep();
        for number in 0..3000 {
            report.add(&with_id(&failed(10), number));
        }
        assert_eq!(
            (report.failed().len(), report.failed_count()),
            (FAILED_IDS_MAX, 3000)
        );
        assert_eq!(report.finished(), 0);
    }

    #[test]
    fn changes_are_written_by_attribute() {
        let mut record = ImageRecord::new(id(1), Outcome::Applied);
        record.changes = changes()
            .into_iter()
            .map(|change| done(change, false))
            .collect();
        let entry: Value = serde_json::from_str(&answer::entry_json(&record, usize::MAX)).unwrap();
        let snapshot = "snap-0123456789abcdef0";
        let expected = json!([
            { "Attribute": "description", "From": null, "To": "golden" },
            { "Attribute": "imdsSupport", "From": null, "To": "v2.0" },
            { "Attribute": "deprecationTime", "From": null, "To": "2027-06-30T00:00:00Z" },
            { "Attribute": "deprecationTime", "From": "2027-06-30T00:00:00.000Z", "To": null },
            { "Attribute": "sharedTag:release", "From": null, "To": "stable" },
            { "Attribute": "sharedTag:channel", "From": "beta", "To": null },
            {
                "Attribute": "createVolumePermission", "Snapshot": snapshot,
                "Add": [], "Remove": ["444455556666"],
            },
            {
                "Attribute": "createVolumePermission", "Snapshot": snapshot,
                "Add": ["222233334444"], "Remove": [],
            },
            {
                "Attribute": "launchPermission", "Add": ["111122223333"], "Remove": ["all"],
                "After": ["111122223333"], "Confirmed": false,
            },
        ]);
        assert_eq!(entry["Changes"], expected);
    }

    #[test]
    fn only_a_dry_run_says_whether_ec2_permits_a_change_and_only_a_change_is_confirmed() {
        let change = changes().pop().unwrap();
        for (effect, permitted) in [
            (Effect::Proposed, None),
            (Effect::DryRun { permitted: true }, Some(true)),
            (Effect::DryRun { permitted: false }, Some(false)),
        ] {
            let mut record = ImageRecord::new(id(1), Outcome::Planned);
            record.changes.push(ChangeRecord {
                change: change.clone(),
                effect,
            });
            let json = answer::entry_json(&record, usize::MAX);
            let entry: Value = serde_json::from_str(&json).unwrap();
            let change = &entry["Changes"][0];
            assert_eq!(change.get("Permitted").and_then(Value::as_bool), permitted);
            assert_eq!(change.get("Confirmed"), None);
            assert_eq!(change["After"], json!(["111122223333"]));
        }
    }
}
