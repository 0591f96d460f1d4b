//! The work on one image, across its passes: the calls that went out, and their record.

use std::rc::Rc;

use ami_warden_core::{
    Attribute, Change, Direction, Directives, Ec2Refusal, Ground, Hold, Image, ImageId,
    LaunchPermissionChange, LaunchPermissions, Refusal,
};

use tokio::time::Instant;

use super::{
    call_error::{CallError, ErrorKind},
    reads::Permissions,
    record::{ChangeRecord, Effect, ImageRecord, Outcome, ReadBack, SkipReason},
    retry::Attempts,
    rulebook::{Rulebook, RulebookError},
};

/// EC2's codes against public images that a guardrail knows, or that concern a quota.
const KNOWN_REJECTION_CODES: [&str; 4] = [
    "OperationNotPermitted",
    "UnsupportedOperation",
    "InvalidParameter",
    "ResourceLimitExceeded",
];

/// The state of the work on one image.
pub(super) struct Work<'a> {
    pub(super) id: ImageId,
    pub(super) attempts: &'a Attempts<'a>,
    pub(super) record: ImageRecord,
    /// The rulebook of the last write.
    pub(super) written_by: Option<Rc<Rulebook>>,
    /// The directives that the last write obeyed, until the image is looked at again.
    pub(super) obeyed: Option<Directives>,
    /// The last change of launch permissions that EC2 took in this pass.
    pub(super) permitted: Option<LaunchPermissionChange>,
    /// The last error that the work went on after, until a write succeeds.
    pub(super) earlier_error: Option<CallError>,
    /// Changes whose answer was lost: they may have been carried out.
    unsure: Vec<Change>,
    /// Changes that EC2 rejected in this invocation: they are not sent again.
    rejected: Vec<(Change, Refusal)>,
    /// An operation whose pace was waited for, and that was not sent yet.
    pub(super) slot: Option<&'static str>,
    pub(super) stale_reads: usize,
    pub(super) removals_sent: bool,
    /// Until when a read that falls behind the event's promise is one that lags.
    pub(super) promised_until: Option<Instant>,
}

/// The look at launch permissions after a write of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    AsPlanned(LaunchPermissions),
    Differs(LaunchPermissions),
    /// A read did not succeed; with those read before it, or the planned ones.
    Unread(LaunchPermissions, CallError),
}

impl Confirmation {
    pub(super) fn after(&self) -> &LaunchPermissions {
        match self {
            Self::AsPlanned(after) | Self::Differs(after) | Self::Unread(after, _) => after,
        }
    }
}

impl<'a> Work<'a> {
    pub(super) fn new(id: ImageId, attempts: &'a Attempts<'a>) -> Self {
        Self {
            id,
            attempts,
            record: ImageRecord::new(id, Outcome::Unchanged),
            written_by: None,
            obeyed: None,
            permitted: None,
            earlier_error: None,
            unsure: Vec::new(),
            rejected: Vec::new(),
            slot: None,
            stale_reads: 0,
            removals_sent: false,
            promised_until: None,
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.record.notes.contains(&note) {
            self.record.notes.push(note);
        }
    }

    /// The changes without those that EC2 rejected, and whether one was taken out. Of one that also
    /// removes, the removals stay: an answer to them may have been lost.
    pub(super) fn without_rejected(&self, changes: Vec<Change>) -> (Vec<Change>, bool) {
        let mut kept = Vec::new();
        let mut taken_out = false;
        for change in changes {
            if !self.is_rejected(&change) {
                kept.push(change);
                continue;
            }
            taken_out = true;
            if let Some(removals) = without_additions(&change)
                && !self.is_rejected(&removals)
            {
                kept.push(removals);
            }
        }
        (kept, taken_out)
    }

    /// Records a change that EC2 took. A second write of the same, after a read that did not show
    /// the first yet, is not a second change, unless another one was made against it in between.
    pub(super) fn done(&mut self, change: Change) {
        self.earlier_error = None;
        let read_back = match &change {
            Change::LaunchPermission(change) => {
                self.permitted = Some(change.clone());
                Some(ReadBack {
                    after: change.after.clone(),
                    confirmed: false,
                })
            }
            _ => None,
        };
        if !self.is_recorded(&change) {
            self.record.changes.push(ChangeRecord {
                change,
                effect: Effect::Done { read_back },
            });
        }
    }

    fn is_recorded(&self, change: &Change) -> bool {
        for earlier in self.record.changes.iter().rev() {
            if earlier.change == *change {
                return true;
            }
            if undoes(&earlier.change, change) {
                return false;
            }
        }
        false
    }

    pub(super) fn answer_lost(&mut self, change: Change) {
        self.unsure.push(change);
    }

    /// Records the changes whose answer was lost and whose effect shows.
    pub(super) fn settle_unsure(&mut self, image: &Image, permissions: &Permissions) {
        for change in std::mem::take(&mut self.unsure) {
            if shows(&change, image, permissions) {
                self.done(change);
            }
        }
    }

    pub(super) fn reject(&mut self, change: Change, error: &CallError) {
        let refusal = rejected(self.id, &change, error);
        self.rejected.push((change, refusal));
    }

    fn is_rejected(&self, change: &Change) -> bool {
        self.rejected.iter().any(|(rejected, _)| rejected == change)
    }

    /// Forgets what EC2 rejected and nobody wants any more: it is no refusal of this image.
    pub(super) fn forget_withdrawn(&mut self, wanted: &[Change]) {
        self.rejected.retain(|(rejected, _)| {
            wanted.iter().any(|change| {
                change == rejected || without_additions(change).as_ref() == Some(rejected)
            })
        });
    }

    /// What EC2 rejected, each refusal once.
    pub(super) fn rejections(&self) -> Vec<Refusal> {
        let mut rejections: Vec<Refusal> = Vec::new();
        for (_, refusal) in &self.rejected {
            if !rejections.contains(refusal) {
                rejections.push(refusal.clone());
            }
        }
        rejections
    }

    /// Compares launch permissions that were read after a write with the plan of that write.
    pub(super) fn compare(&self, launch: &LaunchPermissions) -> Confirmation {
        for record in self.record.changes.iter().rev() {
            if let Change::LaunchPermission(change) = &record.change {
                if change.after != *launch {
                    return Confirmation::Differs(launch.clone());
                }
                break;
            }
        }
        Confirmation::AsPlanned(launch.clone())
    }

    /// Records the look at the launch permissions after the last change of them.
    pub(super) fn confirm(&mut self, seen: &Confirmation, same_wish: bool) {
        let Some(last) = self.record.last_read_back() else {
            return;
        };
        last.after.clone_from(seen.after());
        last.confirmed = same_wish && matches!(seen, Confirmation::AsPlanned(_));
        let problem = match seen {
            Confirmation::AsPlanned(_) => {
                if !same_wish {
                    self.note("The wish changed while the launch permissions were written.");
                }
                return;
            }
            Confirmation::Differs(_) => "EC2 does not show them as planned",
            Confirmation::Unread(_, error) => &error.to_string(),
        };
        self.note(format!(
            "The launch permissions were changed and not confirmed: {problem}."
        ));
    }

    pub(super) fn fail(&mut self, error: CallError, directives: &Directives) {
        if self.record.refusals.is_empty() {
            self.record.refusals.clone_from(&directives.refusals);
        }
        self.record.error.get_or_insert(error);
    }

    /// Takes the outcome of a look that ends the work. Changes that were made stay listed.
    pub(super) fn end_as(&mut self, record: ImageRecord) {
        let made = std::mem::take(&mut self.record.changes);
        let notes = std::mem::take(&mut self.record.notes);
        self.record = ImageRecord {
            changes: made,
            ..record
        };
        for note in notes {
            self.note(note);
        }
        if let (Some(reason), false) = (&self.record.skipped, self.record.changes.is_empty()) {
            let note = format!("The image was left alone afterwards: {}.", reason.as_str());
            self.note(note);
        }
    }

    /// The record at the end, and the rulebook of the last write.
    pub(super) fn finish(self, dry_run: bool) -> (ImageRecord, Option<Rc<Rulebook>>) {
        let mut record = self.record;
        // A try that the end of the time cuts off says less than the error before it.
        if let (Some(error), Some(earlier)) = (&record.error, self.earlier_error)
            && error.is_cut_off()
        {
            record.error = Some(earlier);
        }
        let fixed = matches!(record.outcome, Outcome::Skipped | Outcome::Deferred);
        if !fixed || record.error.is_some() || !record.changes.is_empty() {
            record.outcome = outcome(&record, dry_run);
        }
        (record, self.written_by)
    }
}

/// Whether a change takes back something of another one.
fn undoes(change: &Change, other: &Change) -> bool {
    match (change, other) {
        (Change::LaunchPermission(change), Change::LaunchPermission(other)) => {
            !change.add.is_disjoint(&other.remove) || !change.remove.is_disjoint(&other.add)
        }
        (Change::CopyPermission(change), Change::CopyPermission(other)) => {
            change.snapshot == other.snapshot
                && change.direction != other.direction
                && !change.accounts.is_disjoint(&other.accounts)
        }
        (change, other) => change.attribute() == other.attribute(),
    }
}

/// Whether the effect of a change shows in what was read.
fn shows(change: &Change, image: &Image, permissions: &Permissions) -> bool {
    match change {
        Change::Description { to, .. } => image.description.as_ref() == Some(to),
        Change::ImdsSupport { to, .. } => image.imds_support.as_deref() == Some(to.as_str()),
        Change::Deprecation { from, to } => match to {
            None => image.deprecation_time.text().is_none(),
            Some(_) => image.deprecation_time.text() != from.as_deref(),
        },
        Change::SharedTag { key, to, .. } => {
            let key = format!("{}{key}", ami_warden_core::SHARED_TAG_PREFIX);
            image.tags.get(&key) == to.as_ref()
        }
        Change::CopyPermission(change) => match permissions.copy.get(&change.snapshot) {
            None => false,
            Some(accounts) if change.direction == Direction::Add => {
                change.accounts.is_subset(accounts)
            }
            Some(accounts) => change.accounts.is_disjoint(accounts),
        },
        Change::LaunchPermission(change) => match &permissions.launch {
            None => false,
            Some(now) => change.add.is_subset(now) && change.remove.is_disjoint(now),
        },
    }
}

/// The outcome of a record that was not left alone.
pub(super) fn outcome(record: &ImageRecord, dry_run: bool) -> Outcome {
    if record.error.is_some() {
        Outcome::Failed
    } else if !record.changes.is_empty() {
        if dry_run {
            Outcome::Planned
        } else {
            Outcome::Applied
        }
    } else if !record.refusals.is_empty() {
        Outcome::Refused
    } else {
        Outcome::Unchanged
    }
}

/// The record of an image that is not planned: by its state, then `hold`, then because nothing is
/// said about it.
pub(super) fn left_alone(
    image: &Image,
    hold: Hold,
    directives: &Directives,
) -> Option<ImageRecord> {
    if let Some(record) = ImageRecord::of_state(image) {
        return Some(record);
    }
    match hold {
        Hold::Yes => return Some(ImageRecord::skipped(image.id, SkipReason::Hold)),
        Hold::Mistyped => {
            let mut record = ImageRecord::new(image.id, Outcome::Refused);
            record.refusals.clone_from(&directives.refusals);
            let unknown = |refusal: &Refusal| matches!(refusal.attribute, Attribute::UnknownTag(_));
            record.refusals.retain(unknown);
            return Some(record);
        }
        Hold::No => {}
    }
    if directives.is_empty() {
        let record = ImageRecord::skipped(image.id, SkipReason::NoDirectives);
        return Some(ImageRecord {
            public_without_directives: image.public,
            ..record
        });
    }
    None
}

/// The removals of a change that also adds, if they make sense alone.
pub(super) fn without_additions(change: &Change) -> Option<Change> {
    match change {
        Change::LaunchPermission(change) if !change.add.is_empty() => {
            change.without_additions().map(Change::LaunchPermission)
        }
        _ => None,
    }
}

fn rejected(image: ImageId, change: &Change, error: &CallError) -> Refusal {
    let makes_public = match change {
        Change::LaunchPermission(change) => change.makes_public(),
        _ => false,
    };
    let refusal = Ec2Refusal {
        image,
        operation: error.operation,
        code: error.code.clone().into_owned(),
        message: error.message.clone(),
        new_ground: makes_public && !KNOWN_REJECTION_CODES.contains(&error.code.as_ref()),
    };
    Refusal::new(change.attribute(), Ground::Ec2Refused(Box::new(refusal)))
}

/// The error of an image that somebody else keeps changing.
pub(super) fn unsettled(rounds: usize) -> CallError {
    CallError {
        operation: "ModifyImageAttribute",
        code: "Unsettled".into(),
        message: format!(
            "the image's directives, its state or its launch permissions changed after each of \
             {rounds} writes; find out who else changes them"
        ),
        kind: ErrorKind::Transient,
    }
}

/// The error of an image that EC2 shows too slowly.
pub(super) fn too_slow(operation: &'static str, seconds: u64, times: usize) -> CallError {
    CallError {
        operation,
        code: "Timeout".into(),
        message: format!(
            "EC2 took longer than {seconds} s to show the image, {times} times in a row, and \
             nothing is written on an older look"
        ),
        kind: ErrorKind::Transient,
    }
}

/// The error of a policy that broke after the image was written. A call's error, although no call
/// failed where the policy cannot be parsed: answers and logs tell of an image's error by the
/// operation, code and message of a call, and this operation is the one that read the policy.
pub(super) fn policy_broke(error: &RulebookError) -> CallError {
    CallError {
        operation: "GetParametersByPath",
        code: "InvalidPolicy".into(),
        message: format!("{error}. The image was changed before that"),
        kind: ErrorKind::Transient,
    }
}

#[cfg(test)]
mod tests;
