//! Reconciling: one image at a time, until it is as its newest tags and the newest policy want it.
//!
//! EC2 has no conditional write, so three rules stand in for one:
//!
//! * No write rests on anything that was read more than [`READ_AGE_MAX`] before, and none is sent a
//!   second time as it is: the image is read and planned anew.
//! * After the last write the image is read again, together with the read-back of its launch
//!   permissions. If its directives, its state or `hold` are no longer those obeyed, it is planned
//!   again, up to [`ROUNDS_MAX`] times.
//! * Removals do not wait for facts that only additions need.

use std::{collections::BTreeMap, future::ready, pin::pin, rc::Rc, time::Duration};

use ami_warden_core::{
    Attribute, Change, DirectiveTags, Directives, Grantee, Hold, Image, ImageState,
    LaunchPermissionChange, LaunchPermissions, OrganizationArn, Promised, Refusal, Request,
    ShareFacts, WishContext, plan, plan_removals,
};
use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use tokio::time::{Instant, timeout};

use super::{
    call_error::{CallError, ErrorKind},
    facts::FactReader,
    observe::{Fresh, Observer, Seen},
    ports::{Ec2, Ec2Write, Keys, Parameters},
    reads::{ImageReader, Permissions, ReadCopy, ReadLaunch, launch_permissions},
    record::{ChangeRecord, Effect, ImageRecord, Outcome},
    retry::{Attempts, Retry},
    rulebook::{Rulebook, RulebookError, Rulebooks},
    status_tag::status,
    work::{
        Confirmation, Work, left_alone, outcome, policy_broke, too_slow, unsettled,
        without_additions,
    },
};

/// How old anything may be that a write rests on.
pub const READ_AGE_MAX: Duration = Duration::from_secs(5);

/// How often an image is planned before it has failed because its directives keep changing.
pub(crate) const ROUNDS_MAX: usize = 5;

/// How often launch permissions are read back before they count as unconfirmed.
const READ_BACK_ATTEMPTS: usize = 3;

/// How long removals wait for facts that only additions need, to go out in one call with them.
const FACTS_WAIT_MAX: Duration = Duration::from_secs(1);

/// How often in a row EC2 may take longer than [`READ_AGE_MAX`] to show an image before it has
/// failed.
const STALE_READS_MAX: usize = 10;

const NOBODY_LET_IN_NOTE: &str =
    "Nobody was let in, because an earlier change of this image did not succeed.";

/// The settings that decide what an image's tags mean.
#[derive(Debug, Clone, Copy)]
pub struct ImageSettings<'a> {
    /// Your organization, which completes short forms.
    pub organization: Option<&'a OrganizationArn>,
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: &'a str,
    pub tag_prefix: &'a str,
    /// The key of the tag that carries an image's refusals.
    pub status_tag: Option<&'a str>,
}

/// The manner in which images are reconciled.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Send EC2's own `DryRun` instead of the call.
    pub dry_run: bool,
    /// A person asks: say also what is wanted, by whom, and who may launch the image.
    pub explain: bool,
    /// Read the policy again with the look after the last write. A sweep does that for all its
    /// images together.
    pub recheck_policy: bool,
}

/// Makes images as they are wanted.
#[derive(Debug)]
pub struct Reconciler<'a, E, K, P> {
    pub ec2: &'a E,
    pub observer: Observer<'a, E>,
    pub facts: &'a FactReader<'a, E, K>,
    pub rulebooks: &'a Rulebooks<'a, P>,
    pub settings: ImageSettings<'a>,
    pub manner: Manner,
    /// What the event promised of the images. No later read of an image may fall behind it.
    pub promised: &'a Promised,
    pub clock: fn() -> DateTime<Utc>,
}

/// The outcome for one image, and the rulebook that its writes rested on.
#[derive(Debug)]
pub struct Reconciled {
    pub record: ImageRecord,
    /// The rulebook of its last write; `None` without a write.
    pub written_by: Option<Rc<Rulebook>>,
}

impl Reconciled {
    /// An image whose record was settled without a write.
    #[must_use]
    pub fn only(record: ImageRecord) -> Self {
        Self {
            record,
            written_by: None,
        }
    }
}

/// The source of an image's directives.
#[derive(Debug, Clone, Copy)]
enum Wish<'a> {
    /// Its tags and the policy's rules.
    Tags,
    /// A request, which leaves tags, rules and `hold` aside.
    Request(&'a Request),
}

/// Everything that a plan of one image rests on, but its facts.
struct Basis<'a> {
    fresh: &'a Fresh,
    wish: Wish<'a>,
    directives: &'a Directives,
    rulebook: &'a Rc<Rulebook>,
}

/// The end of one pass over an image.
enum Pass {
    /// Nothing is left to do.
    Settled,
    /// The image is read and planned anew.
    Again,
    /// The image was read anew already: it is planned again, as another round.
    Round(Fresh),
    /// The image's outcome is settled, whatever was planned.
    Record(Box<ImageRecord>),
    /// A call did not succeed.
    Failed(CallError),
}

/// The end of one write.
enum Written {
    Done,
    /// EC2 rejected it; its removals may go alone.
    Rejected {
        removals: Option<Change>,
    },
    /// This function may not make the call.
    Denied,
}

impl<E: Ec2, K: Keys, P: Parameters> Reconciler<'_, E, K, P> {
    /// The changes that tags and rules ask for, told without a call that changes anything or asks
    /// whether it may.
    ///
    /// # Errors
    /// A policy or an allow-list that cannot be used.
    pub async fn preview(
        &self,
        image: &Image,
        attempts: &Attempts<'_>,
    ) -> Result<ImageRecord, RulebookError> {
        let rulebook = self.rulebooks.fresh(READ_AGE_MAX, attempts).await?;
        let (tags, directives) = self.directives(image, Wish::Tags, &rulebook);
        if let Some(record) = left_alone(image, tags.hold, &directives) {
            return Ok(self.explained(record, image, &directives, None));
        }
        let reader = self.reader(image, &directives, &rulebook, attempts);
        let (permissions, facts) = match reader.all().await {
            Ok(read) => read,
            Err(error) => {
                let mut record = ImageRecord::failed(image.id, error);
                record.refusals.clone_from(&directives.refusals);
                return Ok(self.explained(record, image, &directives, None));
            }
        };
        let observed = permissions.observed(image, &facts);
        let plan = plan(&observed, &directives, &rulebook.guardrails, (self.clock)());
        let mut record = ImageRecord::new(image.id, Outcome::Unchanged);
        for change in plan.changes {
            record.changes.push(ChangeRecord {
                change,
                effect: Effect::Proposed,
            });
        }
        record.refusals = plan.refusals;
        record.notes = plan.notes;
        record.outcome = outcome(&record, true);
        Ok(self.explained(record, image, &directives, permissions.launch))
    }

    fn directives(
        &self,
        image: &Image,
        wish: Wish<'_>,
        rulebook: &Rulebook,
    ) -> (DirectiveTags, Directives) {
        match wish {
            Wish::Request(request) => (
                DirectiveTags::default(),
                Directives::of_request(request, image),
            ),
            Wish::Tags => {
                let tags = DirectiveTags::read(&image.tags, self.settings.tag_prefix);
                let context = WishContext {
                    policy: &rulebook.policy,
                    organization: self.settings.organization,
                    partition: self.settings.partition,
                };
                let directives = Directives::of(image, &tags, &context);
                (tags, directives)
            }
        }
    }

    fn reader<'b>(
        &'b self,
        image: &'b Image,
        directives: &'b Directives,
        rulebook: &'b Rulebook,
        attempts: &'b Attempts<'b>,
    ) -> ImageReader<'b, E, K> {
        let guardrails = &rulebook.guardrails;
        ImageReader {
            ec2: self.ec2,
            facts: self.facts,
            image,
            directives,
            guardrails,
            attempts,
        }
    }

    fn explained(
        &self,
        mut record: ImageRecord,
        image: &Image,
        directives: &Directives,
        launch: Option<LaunchPermissions>,
    ) -> ImageRecord {
        record.name.clone_from(&image.name);
        if !self.manner.explain {
            return record;
        }
        let read_back = record.last_read_back().map(|seen| seen.after.clone());
        record.launch_permissions = read_back.or(launch);
        let public = match &record.launch_permissions {
            Some(permissions) => permissions.contains(&Grantee::All),
            None => image.public,
        };
        record.public = Some(public);
        record.directives.clone_from(&directives.stated);
        record
    }
}

impl<E: Ec2Write, K: Keys, P: Parameters> Reconciler<'_, E, K, P> {
    /// Makes the image as its tags and the policy's rules want it.
    ///
    /// # Errors
    /// A policy or an allow-list that cannot be used.
    pub async fn by_tags(
        &self,
        fresh: Fresh,
        attempts: &Attempts<'_>,
    ) -> Result<Reconciled, RulebookError> {
        self.reconcile(fresh, Wish::Tags, attempts).await
    }

    /// Makes the image as a request wants it.
    ///
    /// # Errors
    /// An allow-list that cannot be used.
    pub async fn by_request(
        &self,
        fresh: Fresh,
        request: &Request,
        attempts: &Attempts<'_>,
    ) -> Result<Reconciled, RulebookError> {
        // Nothing would bring the request back, so it cannot be deferred.
        if fresh.image.state == ImageState::Pending {
            let error = CallError {
                operation: "ModifyImageAttribute",
                code: "InvalidAMIID.Unavailable".into(),
                message: "the image is still pending; send the request again when it is available"
                    .into(),
                kind: ErrorKind::NotYet,
            };
            let record = ImageRecord::failed(fresh.image.id, error);
            let record = self.explained(record, &fresh.image, &Directives::default(), None);
            return Ok(Reconciled::only(record));
        }
        self.reconcile(fresh, Wish::Request(request), attempts)
            .await
    }

    async fn reconcile(
        &self,
        mut fresh: Fresh,
        wish: Wish<'_>,
        attempts: &Attempts<'_>,
    ) -> Result<Reconciled, RulebookError> {
        let mut work = Work::new(fresh.image.id, attempts);
        work.promised_until = self.observer.promised_until(&fresh, self.promised);
        let mut rounds = 1;
        let (last, directives, launch) = loop {
            let rulebook = match self.rulebooks.fresh(READ_AGE_MAX, attempts).await {
                Ok(rulebook) => rulebook,
                Err(error) if work.written_by.is_none() => return Err(error),
                Err(error) => {
                    work.fail(policy_broke(&error), &Directives::default());
                    break (fresh, Directives::default(), None);
                }
            };
            let (tags, directives) = self.directives(&fresh.image, wish, &rulebook);
            if let Some(record) = left_alone(&fresh.image, tags.hold, &directives) {
                work.end_as(record);
                self.clean_status(&fresh.image, tags.hold, &mut work).await;
                break (fresh, directives, None);
            }
            let basis = Basis {
                fresh: &fresh,
                wish,
                directives: &directives,
                rulebook: &rulebook,
            };
            let (pass, launch) = self.pass(&basis, &mut work).await;
            let again = match pass {
                Pass::Again => self.again(&work).await,
                Pass::Round(newer) if rounds < ROUNDS_MAX => {
                    rounds += 1;
                    Seen::Image(newer)
                }
                Pass::Round(newer) => {
                    work.fail(unsettled(ROUNDS_MAX), &directives);
                    break (newer, directives, launch);
                }
                Pass::Record(record) => Seen::Record(record),
                Pass::Settled => break (fresh, directives, launch),
                Pass::Failed(error) => {
                    work.fail(error, &directives);
                    break (fresh, directives, launch);
                }
            };
            match again {
                Seen::Image(newer) => fresh = newer,
                Seen::Record(record) => {
                    work.end_as(*record);
                    break (fresh, directives, launch);
                }
            }
        };
        let (record, written_by) = work.finish(self.manner.dry_run);
        let record = self.explained(record, &last.image, &directives, launch);
        Ok(Reconciled { record, written_by })
    }

    /// Reads, plans, carries the plan out, and looks at the image again.
    async fn pass(
        &self,
        basis: &Basis<'_>,
        work: &mut Work<'_>,
    ) -> (Pass, Option<LaunchPermissions>) {
        match self.read_or_remove(basis, work).await {
            Err(pass) => (pass, None),
            Ok((permissions, facts)) => {
                let pass = self.carry_out(basis, &permissions, &facts, work).await;
                (pass, permissions.launch)
            }
        }
    }

    /// Reads everything that the plan needs. If facts that only additions need, or the permissions
    /// of one side, are slow or cannot be read, removals go out first.
    async fn read_or_remove(
        &self,
        basis: &Basis<'_>,
        work: &mut Work<'_>,
    ) -> Result<(Permissions, ShareFacts), Pass> {
        let reader = self.reader(
            &basis.fresh.image,
            basis.directives,
            basis.rulebook,
            work.attempts,
        );
        let early = reader.early_needs();
        let sides = pin!(self.read_sides(&reader, basis, !work.removals_sent));
        let early_facts = pin!(reader.facts(early, ShareFacts::default()));
        let (sides, early_facts) = match select(sides, early_facts).await {
            Either::Left((sides, under_way)) => (sides, Either::Left(under_way)),
            Either::Right((facts, sides)) => (sides.await, Either::Right(ready(facts))),
        };
        let permissions = match sides {
            (Some(Ok(launch)), Some(Ok(copy))) => Permissions::of(launch, copy),
            (launch, copy) => {
                if let Some(half) = half_read(launch.as_ref(), copy.as_ref())
                    && !work.removals_sent
                {
                    let removing = self.removals(basis, &half);
                    self.remove_first(removing, basis, &half, work).await?;
                }
                let error = launch.and_then(Result::err).or(copy.and_then(Result::err));
                return Err(self.read_anew(error, work).await);
            }
        };
        let removing = self.removals(basis, &permissions);
        let removals_wait = !work.removals_sent && !removing.is_empty();
        let rest = async { reader.rest(&permissions, early, early_facts.await?).await };
        let error = match wait_for(rest, removals_wait).await {
            Some(Ok(facts)) => return Ok((permissions, facts)),
            Some(Err(error)) => Some(error),
            None => None,
        };
        if removals_wait {
            self.remove_first(removing, basis, &permissions, work)
                .await?;
        }
        Err(self.read_anew(error, work).await)
    }

    /// Reads who may launch the image and who may copy it. If one side shows removals, the other
    /// one is `None` when it takes longer than they wait.
    async fn read_sides(
        &self,
        reader: &ImageReader<'_, E, K>,
        basis: &Basis<'_>,
        may_remove: bool,
    ) -> (
        Option<Result<ReadLaunch, CallError>>,
        Option<Result<ReadCopy, CallError>>,
    ) {
        let removals_wait = |half: Option<Permissions>| {
            may_remove && half.is_some_and(|half| !self.removals(basis, &half).is_empty())
        };
        let launch = pin!(reader.launch_permissions());
        let copy = pin!(reader.copy_permissions());
        match select(launch, copy).await {
            Either::Left((launch, copy)) => {
                let removals_wait = removals_wait(half_read(Some(&launch), None));
                (Some(launch), wait_for(copy, removals_wait).await)
            }
            Either::Right((copy, launch)) => {
                let removals_wait = removals_wait(half_read(None, Some(&copy)));
                (wait_for(launch, removals_wait).await, Some(copy))
            }
        }
    }

    /// Sends removals ahead of everything else.
    async fn remove_first(
        &self,
        removing: Vec<Change>,
        basis: &Basis<'_>,
        permissions: &Permissions,
        work: &mut Work<'_>,
    ) -> Result<(), Pass> {
        work.removals_sent = !removing.is_empty();
        self.write_all(removing, basis, permissions, work).await
    }

    /// Has the image read anew, after this error of a read if there was one.
    async fn read_anew(&self, error: Option<CallError>, work: &mut Work<'_>) -> Pass {
        match error {
            Some(error) => self.after_error(error, work).await,
            None => Pass::Again,
        }
    }

    fn removals(&self, basis: &Basis<'_>, permissions: &Permissions) -> Vec<Change> {
        if self.manner.dry_run {
            return Vec::new();
        }
        let facts = ShareFacts::default();
        let observed = permissions.observed(&basis.fresh.image, &facts);
        plan_removals(&observed, basis.directives, &basis.rulebook.guardrails).changes
    }

    async fn carry_out(
        &self,
        basis: &Basis<'_>,
        permissions: &Permissions,
        facts: &ShareFacts,
        work: &mut Work<'_>,
    ) -> Pass {
        let Basis {
            fresh,
            directives,
            rulebook,
            ..
        } = *basis;
        // This image was read after the last write, if there was one: that is the look after it.
        work.settle_unsure(&fresh.image, permissions);
        if let (Some(obeyed), Some(launch)) = (work.obeyed.take(), &permissions.launch) {
            work.confirm(&work.compare(launch), obeyed == *directives);
        }
        let observed = permissions.observed(&fresh.image, facts);
        let plan = plan(&observed, directives, &rulebook.guardrails, (self.clock)());
        work.forget_withdrawn(&plan.changes);
        work.record.notes.retain(|note| note != NOBODY_LET_IN_NOTE);
        work.record.refusals = plan.refusals;
        for note in plan.notes {
            work.note(note);
        }
        work.permitted = None;
        if let Err(pass) = self.write_all(plan.changes, basis, permissions, work).await {
            return pass;
        }
        work.record.refusals.extend(work.rejections());
        work.record.refusals.sort_by_key(Refusal::code);
        // The status tag tells of the image's own tags and rules, not of a request.
        let status = match basis.wish {
            Wish::Request(_) => Ok(false),
            Wish::Tags => self.show_status(&fresh.image, work).await,
        };
        let status_written = match status {
            Ok(written) => written,
            // The other writes are looked at all the same.
            Err(Pass::Failed(error)) => {
                work.record.error.get_or_insert(error);
                false
            }
            Err(pass) => return pass,
        };
        if work.obeyed.is_none() && !status_written {
            return Pass::Settled;
        }
        let written = work.permitted.take();
        self.look_again(basis, written, work).await
    }

    /// Sends the changes in their order. Nobody is let in after another write of the image failed.
    async fn write_all(
        &self,
        changes: Vec<Change>,
        basis: &Basis<'_>,
        permissions: &Permissions,
        work: &mut Work<'_>,
    ) -> Result<(), Pass> {
        let oldest = basis
            .fresh
            .read_at
            .min(permissions.read_at)
            .min(basis.rulebook.read_at);
        let (changes, mut an_earlier_write_failed) = work.without_rejected(changes);
        for mut change in changes {
            if self.manner.dry_run {
                // A dry run lets nobody in and asks about every call.
                self.ask(change, work).await?;
                continue;
            }
            if an_earlier_write_failed && change.lets_in() {
                work.note(NOBODY_LET_IN_NOTE);
                match without_additions(&change) {
                    Some(removals) => change = removals,
                    None => continue,
                }
            }
            let removals = match self.write(change, basis, oldest, work).await? {
                Written::Done => continue,
                Written::Rejected { removals } => removals,
                Written::Denied => None,
            };
            an_earlier_write_failed = true;
            // Items written with "-" are removed although EC2 rejects those to be added with them.
            if let Some(removals) = removals {
                self.write(removals, basis, oldest, work).await?;
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        change: Change,
        basis: &Basis<'_>,
        oldest: Instant,
        work: &mut Work<'_>,
    ) -> Result<Written, Pass> {
        let operation = change.operation();
        wait_for_slot(operation, oldest, work).await?;
        let id = work.id;
        let call = async || self.ec2.change(id, &change, false).await;
        match work.attempts.send(operation, call).await {
            Ok(()) => {
                work.written_by = Some(Rc::clone(basis.rulebook));
                work.obeyed = Some(basis.directives.clone());
                work.done(change);
                Ok(Written::Done)
            }
            Err(error) if error.kind == ErrorKind::Transient => {
                // The answer may be lost and the call carried out: it counts as a write.
                work.written_by = Some(Rc::clone(basis.rulebook));
                work.obeyed = Some(basis.directives.clone());
                work.answer_lost(change);
                Err(self.after_error(error, work).await)
            }
            Err(error) if error.kind.may_pass() => Err(self.after_error(error, work).await),
            Err(error) if error.kind == ErrorKind::Refused => {
                let removals = without_additions(&change);
                work.reject(change, &error);
                Ok(Written::Rejected { removals })
            }
            Err(error) => {
                work.record.error.get_or_insert(error);
                Ok(Written::Denied)
            }
        }
    }

    /// Asks EC2 whether it permits a change, without making it; of one that it rejects, whether it
    /// permits the removals alone.
    async fn ask(&self, change: Change, work: &mut Work<'_>) -> Result<(), Pass> {
        if let Some(removals) = self.ask_once(change, work).await? {
            self.ask_once(removals, work).await?;
        }
        Ok(())
    }

    /// Asks about one change, again while the image is not ready. Gives the removals of a change
    /// that EC2 rejects.
    async fn ask_once(&self, change: Change, work: &mut Work<'_>) -> Result<Option<Change>, Pass> {
        let id = work.id;
        let permitted = loop {
            let call = async || self.ec2.change(id, &change, true).await;
            let error = match work.attempts.call(change.operation(), call).await {
                Ok(()) => break true,
                Err(error) if error.kind == ErrorKind::Refused => {
                    let removals = without_additions(&change);
                    work.reject(change, &error);
                    return Ok(removals);
                }
                Err(error) if error.kind == ErrorKind::NotYet => {
                    match self.after_error(error, work).await {
                        Pass::Again => continue,
                        Pass::Failed(error) => error,
                        pass => return Err(pass),
                    }
                }
                Err(error) => error,
            };
            work.record.error.get_or_insert(error);
            break false;
        };
        let effect = Effect::DryRun { permitted };
        work.record.changes.push(ChangeRecord { change, effect });
        Ok(None)
    }

    /// The consequence of an error: if it may pass, the image is read again, and its outcome
    /// counts.
    async fn after_error(&self, error: CallError, work: &mut Work<'_>) -> Pass {
        if !error.kind.may_pass() {
            return Pass::Failed(error);
        }
        if error.kind == ErrorKind::NotYet {
            match self.again(work).await {
                Seen::Record(record) => return Pass::Record(record),
                Seen::Image(fresh) => {
                    if let Some(record) = ImageRecord::of_state(&fresh.image) {
                        return Pass::Record(Box::new(record));
                    }
                }
            }
        }
        if !work.attempts.back_off(&error).await {
            return Pass::Failed(error);
        }
        work.earlier_error = Some(error);
        Pass::Again
    }

    /// Lets the status tag say what was refused, and nothing if nothing was. No call if it says so
    /// already. Whether it was written.
    async fn show_status(&self, image: &Image, work: &mut Work<'_>) -> Result<bool, Pass> {
        let Some(key) = self.settings.status_tag else {
            return Ok(false);
        };
        if self.manner.dry_run || work.record.error.is_some() {
            return Ok(false);
        }
        let status = status(&work.record.refusals);
        if image.tags.get(key) == status.as_ref() {
            return Ok(false);
        }
        let operation = if status.is_some() {
            "CreateTags"
        } else {
            "DeleteTags"
        };
        if let Err(error) = work.attempts.slot(operation).await {
            return Err(Pass::Failed(error));
        }
        let id = work.id;
        let call = async || self.ec2.set_tag(id, key, status.as_deref()).await;
        match work.attempts.send(operation, call).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind == ErrorKind::Refused => {
                work.note(format!(
                    "The status tag {key} could not be written: {error}."
                ));
                Ok(false)
            }
            Err(error) => Err(self.after_error(error, work).await),
        }
    }

    /// Takes the status of earlier refusals off an image about which nothing is said any more. A
    /// held image is not written at all.
    async fn clean_status(&self, image: &Image, hold: Hold, work: &mut Work<'_>) {
        if hold != Hold::No || image.state != ImageState::Available {
            return;
        }
        loop {
            match self.show_status(image, work).await {
                Err(Pass::Again) => {}
                Err(Pass::Record(record)) => return work.end_as(*record),
                Err(Pass::Failed(error)) => {
                    work.record.error = Some(error);
                    return;
                }
                Ok(_) | Err(Pass::Settled | Pass::Round(_)) => return,
            }
        }
    }

    /// Looks at the image after its last write: whether its directives are still those obeyed, and
    /// its launch permissions as planned.
    async fn look_again(
        &self,
        basis: &Basis<'_>,
        expected: Option<LaunchPermissionChange>,
        work: &mut Work<'_>,
    ) -> Pass {
        let age = if self.manner.recheck_policy {
            Duration::ZERO
        } else {
            READ_AGE_MAX
        };
        let (seen, rulebook, read_back) = tokio::join!(
            self.again(work),
            self.rulebooks.fresh(age, work.attempts),
            self.read_back(expected.as_ref(), work)
        );
        work.obeyed = None;
        let mut confirm = |same_wish| {
            if let Some(seen) = &read_back {
                work.confirm(seen, same_wish);
            }
        };
        let rulebook = match rulebook {
            Ok(rulebook) => rulebook,
            Err(error) => {
                confirm(false);
                return Pass::Failed(policy_broke(&error));
            }
        };
        let fresh = match seen {
            Seen::Image(fresh) => fresh,
            Seen::Record(record) => {
                confirm(false);
                return Pass::Record(record);
            }
        };
        let (tags, directives) = self.directives(&fresh.image, basis.wish, &rulebook);
        let same = fresh.image.state == basis.fresh.image.state
            && tags.hold == Hold::No
            && directives == *basis.directives;
        confirm(same);
        let stands_against_exact_list = match (&expected, &read_back) {
            (Some(expected), Some(seen)) => expected.exact && *seen.after() != expected.after,
            _ => false,
        };
        // A time that EC2 does not take for a public image is possible now.
        let frees_deprecation = expected
            .as_ref()
            .is_some_and(|change| change.remove.contains(&Grantee::All))
            && (work.record.refusals.iter())
                .any(|refusal| refusal.attribute == Attribute::DeprecationTime);
        if same && !stands_against_exact_list && !frees_deprecation {
            Pass::Settled
        } else {
            Pass::Round(fresh)
        }
    }

    async fn again(&self, work: &Work<'_>) -> Seen {
        let Work { id, attempts, .. } = *work;
        match work.promised_until {
            Some(until) => {
                let observer = &self.observer;
                observer
                    .again_as_promised(id, self.promised, until, attempts)
                    .await
            }
            None => self.observer.again(id, attempts).await,
        }
    }

    /// Reads launch permissions until they are as planned: a write may not be visible at once.
    async fn read_back(
        &self,
        expected: Option<&LaunchPermissionChange>,
        work: &Work<'_>,
    ) -> Option<Confirmation> {
        let expected = expected?;
        let mut after = expected.after.clone();
        for (attempt, delay) in (1..=READ_BACK_ATTEMPTS).zip(Retry::backoff()) {
            match launch_permissions(self.ec2, work.id, work.attempts).await {
                Ok((launch, _)) => after = launch,
                Err(error) => return Some(Confirmation::Unread(after, error)),
            }
            if after == expected.after {
                return Some(Confirmation::AsPlanned(after));
            }
            if attempt == READ_BACK_ATTEMPTS || !work.attempts.wait(delay).await {
                break;
            }
        }
        Some(Confirmation::Differs(after))
    }
}

/// Waits for the pace of an operation. An image that grew old meanwhile is read and planned anew,
/// and keeps its slot.
async fn wait_for_slot(
    operation: &'static str,
    oldest: Instant,
    work: &mut Work<'_>,
) -> Result<(), Pass> {
    if work.slot != Some(operation) {
        if let Err(error) = work.attempts.slot(operation).await {
            return Err(Pass::Failed(error));
        }
        work.slot = Some(operation);
    }
    if oldest.elapsed() <= READ_AGE_MAX {
        work.stale_reads = 0;
        work.slot = None;
        return Ok(());
    }
    work.stale_reads += 1;
    if work.stale_reads > STALE_READS_MAX {
        return Err(Pass::Failed(too_slow(
            operation,
            READ_AGE_MAX.as_secs(),
            STALE_READS_MAX,
        )));
    }
    Err(Pass::Again)
}

/// The permissions of the side that was read, while the other one was not: of that one nobody is
/// known.
fn half_read(
    launch: Option<&Result<ReadLaunch, CallError>>,
    copy: Option<&Result<ReadCopy, CallError>>,
) -> Option<Permissions> {
    match (launch, copy) {
        (Some(Ok(launch)), None | Some(Err(_))) => {
            let nobody = (BTreeMap::new(), launch.1);
            Some(Permissions::of(launch.clone(), nobody))
        }
        (None | Some(Err(_)), Some(Ok(copy))) => {
            Some(Permissions::of((None, copy.1), copy.clone()))
        }
        _ => None,
    }
}

/// The answer of a read; `None` if removals wait for it and it takes longer than they do.
async fn wait_for<T>(read: impl Future<Output = T>, removals_wait: bool) -> Option<T> {
    if removals_wait {
        timeout(FACTS_WAIT_MAX, read).await.ok()
    } else {
        Some(read.await)
    }
}

#[cfg(test)]
mod tests;
