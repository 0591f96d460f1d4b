//! The record of one image: its outcome, and the reasons for it.

use ami_warden_core::{Change, Directive, Image, ImageId, ImageState, LaunchPermissions, Refusal};

use super::call_error::CallError;

/// The outcome of one image. The order is the order of the answer's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A call did not succeed that may succeed later.
    Failed,
    /// Nothing was changed, and something was refused.
    Refused,
    /// The image is pending; its state change brings it back.
    Deferred,
    Applied,
    /// A dry run: something would be changed.
    Planned,
    /// Everything was as wanted.
    Unchanged,
    /// The image was not looked at any further.
    Skipped,
}

impl Outcome {
    pub const ALL: [Self; 7] = [
        Self::Failed,
        Self::Refused,
        Self::Deferred,
        Self::Applied,
        Self::Planned,
        Self::Unchanged,
        Self::Skipped,
    ];

    /// The word of answers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Deferred => "deferred",
            Self::Applied => "applied",
            Self::Planned => "planned",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// No tag and no rule says anything about it.
    NoDirectives,
    /// It is not there, or not yours.
    NotFound,
    /// Its tag `hold` has a value.
    Hold,
    /// It is in this state.
    State(String),
}

impl SkipReason {
    /// The word of answers and logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::NoDirectives => "no-directives",
            Self::NotFound => "not-found",
            Self::Hold => "hold",
            Self::State(name) => name,
        }
    }
}

/// A change, and how far it went: proposed, tried and done are never mistaken for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    pub change: Change,
    pub effect: Effect,
}

/// How far a change went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A preview: no call was sent.
    Proposed,
    /// A dry run: EC2 was asked whether it permits the call.
    DryRun { permitted: bool },
    /// The call was sent, and EC2 took it.
    Done {
        /// The launch permissions afterwards; `None` for other attributes.
        read_back: Option<ReadBack>,
    },
}

/// The launch permissions after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBack {
    /// Everyone who may launch the image; as planned, if they could not be read.
    pub after: LaunchPermissions,
    /// Whether they are as planned, and the directives read with them are those that were obeyed.
    pub confirmed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    pub id: ImageId,
    /// Its name, if it was read.
    pub name: Option<String>,
    pub outcome: Outcome,
    pub skipped: Option<SkipReason>,
    /// The call that did not succeed.
    pub error: Option<CallError>,
    /// The directives as their authors wrote them; for people who ask about an image.
    pub directives: Vec<Directive>,
    /// Whether everyone may launch it now; for people who ask about an image.
    pub public: Option<bool>,
    /// Who may launch it now, if that was read; for people who ask about an image.
    pub launch_permissions: Option<LaunchPermissions>,
    /// The changes, in the order of their calls.
    pub changes: Vec<ChangeRecord>,
    /// The refusals, in the order of their codes.
    pub refusals: Vec<Refusal>,
    /// Sentences that a person should know.
    pub notes: Vec<String>,
    /// Whether it is public although no tag and no rule says anything about it.
    pub public_without_directives: bool,
}

impl ImageRecord {
    /// A record of nothing but an outcome.
    #[must_use]
    pub fn new(id: ImageId, outcome: Outcome) -> Self {
        Self {
            id,
            name: None,
            outcome,
            skipped: None,
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
    pub fn skipped(id: ImageId, reason: SkipReason) -> Self {
        Self {
            skipped: Some(reason),
            ..Self::new(id, Outcome::Skipped)
        }
    }

    /// An image whose call did not succeed.
    #[must_use]
    pub fn failed(id: ImageId, error: CallError) -> Self {
        Self {
            error: Some(error),
            ..Self::new(id, Outcome::Failed)
        }
    }

    /// The record of an image in a state that is not planned; `None` for `available`.
    #[must_use]
    pub fn of_state(image: &Image) -> Option<Self> {
        match &image.state {
            ImageState::Available => None,
            ImageState::Pending => Some(Self::new(image.id, Outcome::Deferred)),
            ImageState::Other(state) => {
                Some(Self::skipped(image.id, SkipReason::State(state.clone())))
            }
        }
    }

    /// The launch permissions after the last change of them.
    pub(super) fn last_read_back(&mut self) -> Option<&mut ReadBack> {
        for change in self.changes.iter_mut().rev() {
            if let Effect::Done {
                read_back: Some(read_back),
            } = &mut change.effect
            {
                return Some(read_back);
            }
        }
        None
    }

    /// Whether a change of launch permissions was done and not confirmed.
    #[must_use]
    pub fn is_unconfirmed(&self) -> bool {
        self.changes.iter().any(|change| {
            matches!(&change.effect, Effect::Done { read_back: Some(seen) } if !seen.confirmed)
        })
    }
}

#[cfg(test)]
mod tests {
    use ami_warden_core::testing::{grantees, image};

    use super::*;

    #[test]
    fn every_outcome_and_every_reason_has_its_word() {
        let words = Outcome::ALL.map(Outcome::as_str);
        assert_eq!(
            words.join(" "),
            "failed refused deferred applied planned unchanged skipped"
        );
        assert_eq!(SkipReason::NoDirectives.as_str(), "no-directives");
        assert_eq!(SkipReason::NotFound.as_str(), "not-found");
        assert_eq!(SkipReason::Hold.as_str(), "hold");
        assert_eq!(SkipReason::State("failed".into()).as_str(), "failed");
    }

    #[test]
    fn an_image_in_another_state_than_available_is_not_planned() {
        let mut image = image();
        assert_eq!(ImageRecord::of_state(&image), None);
        image.state = ImageState::Pending;
        let deferred = ImageRecord::new(image.id, Outcome::Deferred);
        assert_eq!(ImageRecord::of_state(&image), Some(deferred));
        image.state = ImageState::Other("disabled".into());
        let record = ImageRecord::of_state(&image).unwrap();
        assert_eq!(record.outcome, Outcome::Skipped);
        assert_eq!(record.skipped, Some(SkipReason::State("disabled".into())));
    }

    #[test]
    fn a_record_is_unconfirmed_if_the_look_after_a_write_did_not_show_it() {
        let effect = |read_back: Option<bool>| Effect::Done {
            read_back: read_back.map(|confirmed| ReadBack {
                after: grantees(""),
                confirmed,
            }),
        };
        for (effects, unconfirmed) in [
            (vec![], false),
            (vec![effect(None)], false),
            (vec![effect(Some(true))], false),
            (vec![effect(Some(true)), effect(Some(false))], true),
            (
                vec![Effect::Proposed, Effect::DryRun { permitted: false }],
                false,
            ),
        ] {
            let mut record = ImageRecord::new(image().id, Outcome::Applied);
            for effect in effects {
                let change = Change::Description {
                    from: None,
                    to: "d".into(),
                };
                record.changes.push(ChangeRecord { change, effect });
            }
            assert_eq!(record.is_unconfirmed(), unconfirmed);
        }
    }
}
