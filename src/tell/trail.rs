//! The trail: a log line for each image that was looked at, and one for each change that was made.

use ami_warden_core::{Change, Direction, Origin};

use super::{
    answer::{accounts, entry_json, from_to, grantees},
    cut::Node,
    log::LINE_BYTES_MAX,
};
use crate::act::record::{ChangeRecord, Effect, ImageRecord, Outcome};

/// The most bytes of the fields that a line gets here; the subscriber adds time, level and the id
/// of the request.
const FIELDS_BYTES_MAX: usize = LINE_BYTES_MAX - 2000;

/// Writes the line of an image, and one for each change that was made.
///
/// The subscriber takes `json` for the fields of a line.
pub(crate) fn write(record: &ImageRecord, origin: &Origin) {
    write_image(record);
    for change in &record.changes {
        // A preview and a dry run change nothing.
        let Effect::Done { .. } = &change.effect else {
            continue;
        };
        let json = change_json(record, change, origin);
        tracing::info!(event = "change", json);
    }
}

fn write_image(record: &ImageRecord) {
    let deserves_attention = !record.refusals.is_empty() || record.is_unconfirmed();
    let json = || entry_json(record, FIELDS_BYTES_MAX);
    match record.outcome {
        Outcome::Failed => tracing::error!(event = "image", json = json()),
        _ if deserves_attention => tracing::warn!(event = "image", json = json()),
        _ => tracing::info!(event = "image", json = json()),
    }
}

fn change_json(record: &ImageRecord, change: &ChangeRecord, origin: &Origin) -> String {
    let mut fields = vec![
        ("ImageId", Node::text(record.id.to_string())),
        (
            "Attribute",
            Node::text(change.change.attribute().to_string()),
        ),
    ];
    if let Change::CopyPermission(copy) = &change.change {
        fields.push(("Snapshot", Node::text(&*copy.snapshot)));
    }
    let (before, after) = before_after(change);
    fields.extend([
        ("Before", before),
        ("After", after),
        ("EventId", Node::text_or_null(origin.event_id.as_deref())),
        ("Actor", Node::text_or_null(origin.actor.as_deref())),
    ]);
    let mut line = Node::object(fields);
    line.cut_to(FIELDS_BYTES_MAX);
    line.to_json()
}

/// The attribute before and after the change. Of copy permissions, only the accounts of the call:
/// none of them had the permission before it was added, all of them before it was removed.
fn before_after(record: &ChangeRecord) -> (Node<'_>, Node<'_>) {
    match &record.change {
        Change::LaunchPermission(change) => {
            let after = match &record.effect {
                Effect::Done {
                    read_back: Some(seen),
                } => &seen.after,
                _ => &change.after,
            };
            let before = grantees(change.before.iter(), FIELDS_BYTES_MAX);
            (before, grantees(after.iter(), FIELDS_BYTES_MAX))
        }
        Change::CopyPermission(change) => {
            let named = accounts(change.accounts.iter(), FIELDS_BYTES_MAX);
            let none = Node::List(Vec::new(), 0);
            match change.direction {
                Direction::Add => (none, named),
                Direction::Remove => (named, none),
            }
        }
        change => from_to(change),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        act::record::ReadBack,
        tell::{
            captured::Captured,
            log::LogSettings,
            samples::{applied, changes, done, failed, id, mistyped, refused, share, units},
        },
    };

    /// The lines of a record, each within its bound.
    fn lines(record: &ImageRecord, origin: &Origin) -> Vec<Value> {
        let captured = Captured::start(LogSettings::default());
        let span = tracing::info_span!("invocation", requestId = "r".repeat(36));
        span.in_scope(|| write(record, origin));
        // Short enough that the subscriber need not cut what was chosen with care.
        for line in captured.text().split_inclusive('\n') {
            assert!(line.len() < LINE_BYTES_MAX - 1500, "{}", line.len());
        }
        captured.json()
    }

    #[test]
    fn each_change_that_was_made_has_a_line() {
        let origin = Origin {
            event_id: Some("event-1".into()),
            actor: Some("arn:aws:iam::111122223333:role/builder".into()),
        };
        let lines = lines(&applied(), &origin);
        assert_eq!(lines[0]["event"], "image");
        assert_eq!(
            lines[0]["Changes"].as_array().unwrap().len(),
            changes().len()
        );
        let said: Vec<Value> = lines[1..]
            .iter()
            .map(|line| {
                assert_eq!(
                    (&line["event"], &line["ImageId"]),
                    (&json!("change"), &json!(id(1).to_string()))
                );
                assert_eq!(
                    (&line["EventId"], &line["Actor"]),
                    (&json!("event-1"), &json!(origin.actor))
                );
                assert_eq!(line["RequestId"], "r".repeat(36));
                json!([
                    line["Attribute"],
                    line["Snapshot"],
                    line["Before"],
                    line["After"]
                ])
            })
            .collect();
        let expected = [
            json!(["description", null, null, "golden"]),
            json!(["imdsSupport", null, null, "v2.0"]),
            json!(["deprecationTime", null, null, "2027-06-30T00:00:00Z"]),
            json!(["deprecationTime", null, "2027-06-30T00:00:00.000Z", null]),
            json!(["sharedTag:release", null, null, "stable"]),
            json!(["sharedTag:channel", null, "beta", null]),
            json!([
                "createVolumePermission",
                "snap-0123456789abcdef0",
                ["444455556666"],
                []
            ]),
            json!([
                "createVolumePermission",
                "snap-0123456789abcdef0",
                [],
                ["222233334444"]
            ]),
            json!(["launchPermission", null, ["all"], ["111122223333"]]),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_preview_and_a_dry_run_have_no_line_of_a_change() {
        for effect in [
            Effect::Proposed,
            Effect::DryRun { permitted: true },
            Effect::DryRun { permitted: false },
        ] {
            let mut record = ImageRecord::new(id(1), Outcome::Planned);
            for change in changes() {
                record.changes.push(ChangeRecord {
                    change,
                    effect: effect.clone(),
                });
            }
            let lines = lines(&record, &Origin::default());
            assert_eq!(lines.len(), 1, "{effect:?}");
            assert_eq!(lines[0]["Outcome"], "planned");
        }
    }

    #[test]
    fn the_level_says_whether_somebody_should_look() {
        let with = |outcome, mut record: ImageRecord| {
            record.outcome = outcome;
            record
        };
        let mut unconfirmed = ImageRecord::new(id(1), Outcome::Applied);
        unconfirmed
            .changes
            .push(done(changes().pop().unwrap(), false));
        for (record, level) in [
            (failed(10), "ERROR"),
            (mistyped(), "WARN"),
            (with(Outcome::Applied, mistyped()), "WARN"),
            (unconfirmed, "WARN"),
            (ImageRecord::new(id(1), Outcome::Applied), "INFO"),
            (ImageRecord::new(id(1), Outcome::Skipped), "INFO"),
        ] {
            let lines = lines(&record, &Origin::default());
            assert_eq!(
                (&lines[0]["level"], &lines[0]["event"]),
                (&json!(level), &json!("image"))
            );
        }
    }

    #[test]
    fn a_line_has_a_bound_and_says_what_it_lacks() {
        let image = &lines(&refused(1000), &Origin::default())[0];
        let kept = image["Refusals"].as_array().unwrap().len() as u64;
        assert!(kept > 300, "{kept}");
        assert_eq!(kept + image["More"]["Refusals"].as_u64().unwrap(), 1000);

        let change = share(&units(1000), &BTreeSet::new());
        let mut record = ImageRecord::new(id(1), Outcome::Applied);
        record.changes.push(done(change, true));
        if let Change::LaunchPermission(change) = &mut record.changes[0].change {
            change.before = units(2000);
        }
        let json = change_json(&record, &record.changes[0], &Origin::default());
        assert!(json.len() <= FIELDS_BYTES_MAX, "{}", json.len());
        let lines = lines(&record, &Origin::default());
        for (list, count) in [("Before", 2000), ("After", 1000)] {
            let kept = lines[1][list].as_array().unwrap().len() as u64;
            assert!(kept > 500, "{list}: {kept}");
            assert_eq!(
                kept + lines[1]["More"][list].as_u64().unwrap(),
                count,
                "{list}"
            );
        }
        assert_eq!(lines[1].get("EventId"), Some(&Value::Null));
    }

    #[test]
    fn what_was_read_back_counts_as_after() {
        let mut record = ImageRecord::new(id(1), Outcome::Applied);
        let read_back = ReadBack {
            after: units(1),
            confirmed: false,
        };
        let change = changes().pop().unwrap();
        record.changes.push(ChangeRecord {
            change,
            effect: Effect::Done {
                read_back: Some(read_back),
            },
        });
        let lines = lines(&record, &Origin::default());
        let seen = json!([units(1).first().unwrap().as_str()]);
        assert_eq!(lines[1]["After"], seen);
        assert_eq!(lines[0]["Changes"][0]["After"], seen);
    }
}
