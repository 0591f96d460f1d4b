//! The images that an invocation has told of, and the rulebooks that its writes rested on.

use std::{collections::BTreeSet, rc::Rc};

use ami_warden_core::{ImageId, Origin};

use crate::{
    act::{reconcile::Reconciled, record::Outcome, rulebook::Rulebook},
    tell::{report::Report, trail},
};

/// The images that an invocation has told of, and those that a write of it concerns.
pub(super) struct Told<'a> {
    /// The report of all of them.
    pub(super) report: Report,
    origin: &'a Origin,
    /// The images that a write concerns, by the rulebook that it rested on.
    written: Vec<(Rc<Rulebook>, BTreeSet<ImageId>)>,
    /// Set while images are looked at once more, because the policy changed.
    pub(super) once_more: bool,
}

impl<'a> Told<'a> {
    pub(super) fn new(report: Report, origin: &'a Origin) -> Self {
        Self {
            report,
            origin,
            written: Vec::new(),
            once_more: false,
        }
    }

    /// Writes the image's lines and adds it to the report.
    pub(super) fn tell(&mut self, reconciled: Reconciled) {
        let Reconciled { record, written_by } = reconciled;
        if let Some(rulebook) = written_by {
            self.note_write(record.id, rulebook);
        }
        // An image that was looked at once more and is as wanted was told of before.
        if self.once_more && record.outcome == Outcome::Unchanged {
            return;
        }
        trail::write(&record, self.origin);
        self.report.add(&record);
    }

    fn note_write(&mut self, id: ImageId, rulebook: Rc<Rulebook>) {
        // Rulebooks are read many times and change rarely: equal ones are kept once.
        for (known, images) in self.written.iter_mut().rev() {
            if known.same_rules(&rulebook) {
                images.insert(id);
                return;
            }
        }
        self.written.push((rulebook, BTreeSet::from([id])));
    }

    /// Whether a write concerns any image.
    pub(super) fn has_written(&self) -> bool {
        !self.written.is_empty()
    }

    /// Takes the images out that another rulebook than this one wrote.
    pub(super) fn written_otherwise(&mut self, now: &Rulebook) -> Vec<ImageId> {
        let mut otherwise = BTreeSet::new();
        self.written.retain(|(rulebook, images)| {
            let still_holds = rulebook.same_rules(now);
            if !still_holds {
                otherwise.extend(images.iter().copied());
            }
            still_holds
        });
        otherwise.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use ami_warden_core::Guardrails;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;
    use crate::{
        act::record::ImageRecord,
        tell::{captured::Captured, log::LogSettings},
    };

    fn id(number: usize) -> ImageId {
        format!("ami-{number:017x}").parse().unwrap()
    }

    fn rulebook(allow_public: bool) -> Rc<Rulebook> {
        Rc::new(Rulebook {
            policy: ami_warden_core::Policy::default(),
            guardrails: Guardrails {
                allow_public,
                ..Guardrails::default()
            },
            newest_change: None,
            read_at: Instant::now(),
            unused: Vec::new(),
        })
    }

    fn tell(told: &mut Told<'_>, number: usize, outcome: Outcome, by: Option<&Rc<Rulebook>>) {
        told.tell(Reconciled {
            record: ImageRecord::new(id(number), outcome),
            written_by: by.cloned(),
        });
    }

    #[test]
    fn images_written_by_other_rules_than_those_that_hold_now_are_told_once() {
        let _log = Captured::start(LogSettings::default());
        let origin = Origin::from_event(&Value::Null);
        let mut told = Told::new(Report::listing_all(), &origin);
        assert!(!told.has_written());
        let (old, new) = (rulebook(true), rulebook(false));
        tell(&mut told, 4, Outcome::Unchanged, None);
        assert!(!told.has_written());
        for (number, by) in [(3, &old), (1, &new), (2, &old), (1, &old), (3, &old)] {
            tell(&mut told, number, Outcome::Applied, Some(by));
        }
        assert!(told.has_written());
        // The same rules, read once more.
        assert_eq!(told.written.len(), 2);
        let now = rulebook(false);
        assert_eq!(told.written_otherwise(&now), [id(1), id(2), id(3)]);
        assert!(told.written_otherwise(&now).is_empty());
        assert_eq!(told.written_otherwise(&old), [id(1)]);
        assert!(!told.has_written());
    }

    #[test]
    fn an_image_that_is_looked_at_once_more_and_is_as_wanted_is_not_counted_twice() {
        let _log = Captured::start(LogSettings::default());
        let origin = Origin::from_event(&Value::Null);
        let mut told = Told::new(Report::listing_all(), &origin);
        tell(&mut told, 1, Outcome::Applied, None);
        tell(&mut told, 2, Outcome::Unchanged, None);
        told.once_more = true;
        tell(&mut told, 1, Outcome::Unchanged, None);
        tell(&mut told, 3, Outcome::Applied, None);
        let trigger = ami_warden_core::Trigger::Schedule;
        let answer = told.report.answer(trigger, false, None);
        let answer: Value = serde_json::from_str(&answer.to_string()).unwrap();
        assert_eq!(answer["Summary"], json!({ "applied": 2, "unchanged": 1 }));
    }
}
