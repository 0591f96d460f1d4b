//! Observe, plan, apply: one image at a time, over the narrow port of [`Ec2`].

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::future::{OptionFuture, try_join};
use tokio::time::Instant;

use crate::{
    directive::{Context, DirectiveTags, Directives},
    event::Expect,
    guardrail::{Code, Guardrails, Refusal},
    image::{Grantee, Image, ImageId, LaunchPermissions, PublicFacts, State},
    outcome::{Applied, Entry, Outcome, ReadBack},
    patience::Patience,
    plan::{Change, LaunchPermissionChange, Needs, Observed, Plan, plan},
    ports::{CallError, Ec2, Ec2Write, ErrorKind},
    request::Request,
    status::status,
};

/// How long an image that an event tells of is waited for, while EC2's own answers lag behind the event.
const EVENTUALLY: Duration = Duration::from_secs(30);

/// How often launch permissions are read back before they count as unconfirmed.
const READ_BACKS: usize = 3;

/// Reads images, again while EC2 does not show yet what an event lets us expect.
#[derive(Debug)]
pub struct Observer<'a, E> {
    /// EC2.
    pub ec2: &'a E,
    /// How long to try.
    pub patience: &'a Patience,
}

/// An image, or what became of it already.
#[derive(Debug)]
pub enum Found {
    /// It is there.
    Image(Box<Image>),
    /// It is not, or not in time.
    Entry(Box<Entry>),
}

impl<E: Ec2> Observer<'_, E> {
    /// Reads these images (at most 200), in their order.
    ///
    /// # Errors
    /// What lasts of EC2's errors.
    pub async fn images(&self, ids: &[ImageId], expect: Expect) -> Result<Vec<Found>, CallError> {
        let until = Instant::now() + EVENTUALLY;
        let mut backoff = Patience::backoff();
        let mut seen = None;
        loop {
            let looked = self.patience.call("DescribeImages", async || self.ec2.images(ids).await).await;
            let (mut images, again): (BTreeMap<ImageId, Image>, bool) = match looked {
                Ok(images) => (images.into_iter().map(|image| (image.id, image)).collect(), true),
                // The time was up while looking once more: what was seen before is what there is to say.
                Err(error) if error.kind == ErrorKind::Transient => (seen.take().ok_or(error)?, false),
                Err(error) => return Err(error),
            };
            let early = |image: Option<&Image>| match (expect, image) {
                (Expect::Nothing, _) | (Expect::Exists, Some(_)) => false,
                (_, None) => true,
                (Expect::Available, Some(image)) => image.state == State::Pending,
            };
            if again
                && ids.iter().any(|id| early(images.get(id)))
                && Instant::now() < until
                && self.patience.wait(backoff.next().unwrap_or(EVENTUALLY)).await
            {
                seen = Some(images);
                continue;
            }
            let found = |id: &ImageId| match images.remove(id) {
                image if early(image.as_ref()) => Found::Entry(Box::new(Entry::failed(*id, too_late(image.as_ref())))),
                Some(image) => Found::Image(Box::new(image)),
                None => Found::Entry(Box::new(Entry::skipped(*id, "not-found"))),
            };
            return Ok(ids.iter().map(found).collect());
        }
    }
}

/// The error of an image that EC2 does not show as the event said, even after a while; by EC2's own codes for these cases.
fn too_late(image: Option<&Image>) -> CallError {
    let (code, message) = match image {
        None => (
            "InvalidAMIID.NotFound",
            "the event says that the image exists, and EC2 does not show it yet; if that lasts, see that it is this account's",
        ),
        Some(_) => (
            "InvalidAMIID.Unavailable",
            "the event says that the image is available, and EC2 still shows it as pending; if that lasts, look at the image",
        ),
    };
    CallError { operation: "DescribeImages", code: code.into(), message: message.into(), kind: ErrorKind::Transient }
}

/// Makes images as they are wanted.
#[derive(Debug)]
pub struct Reconciler<'a, E> {
    /// EC2.
    pub ec2: &'a E,
    /// How long to try.
    pub patience: &'a Patience,
    /// What no tag, rule or request can lift.
    pub guardrails: &'a Guardrails,
    /// What directives are read against.
    pub context: Context<'a>,
    /// The prefix of directive tags.
    pub tag_prefix: &'a str,
    /// The key of the tag that carries an image's refusals.
    pub status_tag: Option<&'a str>,
    /// Change nothing.
    pub dry_run: bool,
    /// A person asks: say also what is wanted, by whom, and who may launch the image.
    pub explain: bool,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What was read of one image besides itself.
struct Reads {
    launch_permissions: Option<LaunchPermissions>,
    public_facts: PublicFacts,
}

impl<E: Ec2> Reconciler<'_, E> {
    /// What [`by_tags`](Self::by_tags) would do, told without a call that changes anything or asks whether it may.
    pub async fn preview(&self, image: &Image) -> Entry {
        let tags = DirectiveTags::read(&image.tags, self.tag_prefix);
        match self.left_alone(image, &tags) {
            Some(entry) => entry,
            None => self.by_directives(image, &tags, async |plan| proposed(image.id, plan)).await,
        }
    }

    /// What becomes of an image that is not looked at any further.
    fn left_alone(&self, image: &Image, tags: &DirectiveTags) -> Option<Entry> {
        let entry = match &image.state {
            State::Available if tags.hold => Entry::skipped(image.id, "hold"),
            State::Available => return None,
            State::Pending => Entry::new(image.id, Outcome::Deferred),
            State::Other(state) => Entry::skipped(image.id, state.as_str()),
        };
        Some(self.explained(entry, image))
    }

    /// Has what tags and rules want carried out.
    async fn by_directives(&self, image: &Image, tags: &DirectiveTags, carry_out: impl AsyncFnOnce(Plan) -> Entry) -> Entry {
        let directives = Directives::of(image, tags, &self.context);
        if directives.is_empty() {
            let entry = Entry { public_without_directives: image.public, ..Entry::skipped(image.id, "no-directives") };
            return self.explained(entry, image);
        }
        self.reconcile(image, directives, carry_out).await
    }

    /// Reads what the plan needs, plans, and has the plan carried out.
    async fn reconcile(&self, image: &Image, directives: Directives, carry_out: impl AsyncFnOnce(Plan) -> Entry) -> Entry {
        let mut entry = match self.read(image, &directives).await {
            Ok(reads) => {
                let current = reads.launch_permissions.clone().unwrap_or_default();
                let observed = Observed { image, launch_permissions: &current, public_facts: &reads.public_facts };
                let mut entry = carry_out(plan(observed, &directives, self.guardrails, self.now)).await;
                if self.explain {
                    let after = entry.changes.iter().rev().find_map(|change| change.read_back.as_ref());
                    entry.launch_permissions = after.map_or(reads.launch_permissions, |read_back| Some(read_back.after.clone()));
                }
                entry
            }
            Err(error) => Entry { refusals: directives.refusals.clone(), ..Entry::failed(image.id, error) },
        };
        if self.explain {
            entry.directives = directives.stated;
        }
        self.explained(entry, image)
    }

    fn explained(&self, mut entry: Entry, image: &Image) -> Entry {
        if self.explain {
            let read = entry.launch_permissions.as_ref().map(|grantees| grantees.contains(&Grantee::All));
            entry.public = Some(read.unwrap_or(image.public));
        }
        entry
    }

    /// Reads what the plan needs; what does not depend on each other at the same time.
    async fn read(&self, image: &Image, directives: &Directives) -> Result<Reads, CallError> {
        let needs = Needs::of(image, directives);
        let launch_permissions = OptionFuture::from(needs.launch_permissions.then(|| self.launch_permissions(image.id)));
        let public_facts = OptionFuture::from(needs.public_facts.then(|| self.public_facts(image)));
        let (launch_permissions, public_facts) = tokio::join!(launch_permissions, public_facts);
        let launch_permissions = launch_permissions.transpose()?;
        let public_facts = match public_facts.transpose()? {
            Some(facts) => facts,
            // The image's public flag was stale: somebody took `all` away meanwhile.
            None if launch_permissions.as_ref().is_some_and(|current| adds_all(directives, current)) => {
                self.public_facts(image).await?
            }
            None => PublicFacts::default(),
        };
        Ok(Reads { launch_permissions, public_facts })
    }

    async fn launch_permissions(&self, id: ImageId) -> Result<LaunchPermissions, CallError> {
        self.patience.call("DescribeImageAttribute", async || self.ec2.launch_permissions(id).await).await
    }

    async fn public_facts(&self, image: &Image) -> Result<PublicFacts, CallError> {
        let ids: Vec<&str> = image.snapshots().into_iter().collect();
        let snapshots = async {
            if ids.is_empty() {
                return Ok(BTreeMap::new());
            }
            self.patience.call("DescribeSnapshots", async || self.ec2.snapshots(&ids).await).await
        };
        let state = self.patience.call("GetImageBlockPublicAccessState", async || self.ec2.block_public_access().await);
        let (snapshots, block_public_access) = try_join(snapshots, state).await?;
        Ok(PublicFacts { snapshots, block_public_access })
    }
}

impl<E: Ec2Write> Reconciler<'_, E> {
    /// Does what the image's tags and the policy's rules want of it.
    pub async fn by_tags(&self, image: &Image) -> Entry {
        let tags = DirectiveTags::read(&image.tags, self.tag_prefix);
        if let Some(entry) = self.left_alone(image, &tags) {
            return entry;
        }
        let mut entry = self.by_directives(image, &tags, async |plan| self.apply(image, plan).await).await;
        self.show_status(image, &mut entry).await;
        entry
    }

    /// Lets the status tag say what was refused, and nothing where nothing was. No call where it says so already.
    async fn show_status(&self, image: &Image, entry: &mut Entry) {
        let Some(key) = self.status_tag.filter(|_| !self.dry_run && entry.outcome != Outcome::Failed) else { return };
        let status = status(&entry.refusals);
        if image.tags.get(key) == status.as_ref() {
            return;
        }
        let operation = if status.is_some() { "CreateTags" } else { "DeleteTags" };
        let written = self.patience.call(operation, async || self.ec2.set_tag(image.id, key, status.as_deref()).await).await;
        match written {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::Refused => {
                entry.notes.push(format!("The status tag {key} could not be written: {error}"));
            }
            Err(error) => {
                entry.outcome = Outcome::Failed;
                entry.error = Some(error);
            }
        }
    }

    /// Does what a request wants of the image.
    pub async fn by_request(&self, image: &Image, request: &Request) -> Entry {
        match &image.state {
            State::Available => {
                self.reconcile(image, request.directives(image), async |plan| self.apply(image, plan).await).await
            }
            // Nothing would bring the request back, so it cannot be deferred.
            State::Pending => {
                let error = CallError {
                    operation: "ModifyImageAttribute",
                    code: "InvalidAMIID.Unavailable".into(),
                    message: "the image is still pending; send the request again when it is available".into(),
                    kind: ErrorKind::Transient,
                };
                self.explained(Entry::failed(image.id, error), image)
            }
            State::Other(state) => self.explained(Entry::skipped(image.id, state.as_str()), image),
        }
    }

    async fn modify(&self, id: ImageId, change: &Change) -> Result<(), CallError> {
        self.patience.call("ModifyImageAttribute", async || self.ec2.modify(id, change, self.dry_run).await).await
    }

    /// Carries the plan out, in its order, and says what became of it.
    async fn apply(&self, image: &Image, plan: Plan) -> Entry {
        let Plan { changes, refusals, notes } = plan;
        let mut entry = Entry { refusals, notes, ..Entry::new(image.id, Outcome::Unchanged) };
        let mut an_earlier_write_failed = false;
        for change in changes {
            let change = match change {
                // Nobody is let in before the rest is right. (A dry run lets nobody in and asks about every call.)
                Change::LaunchPermission(grant) if an_earlier_write_failed && !self.dry_run && !grant.add.is_empty() => {
                    entry.notes.push("Nobody was let in, because an earlier change of this image did not succeed.".into());
                    match grant.without_additions() {
                        Some(removal) => Change::LaunchPermission(removal),
                        None => continue,
                    }
                }
                change => change,
            };
            if !self.write(image.id, change, &mut entry).await {
                an_earlier_write_failed = true;
            }
        }
        entry.refusals.sort_by_key(|refusal| refusal.code);
        entry.outcome = outcome(&entry, if self.dry_run { Outcome::Planned } else { Outcome::Applied });
        entry
    }

    /// Makes one change; true if it succeeded.
    async fn write(&self, id: ImageId, change: Change, entry: &mut Entry) -> bool {
        let mut next = Some(change);
        let mut succeeded = true;
        while let Some(change) = next.take() {
            match self.modify(id, &change).await {
                Ok(()) => {
                    let read_back = match &change {
                        Change::LaunchPermission(change) if !self.dry_run => Some(self.read_back(id, change, entry).await),
                        _ => None,
                    };
                    entry.changes.push(Applied { change, read_back, permitted: self.dry_run.then_some(true) });
                }
                Err(error) if error.kind == ErrorKind::Refused => {
                    succeeded = false;
                    entry.refusals.push(refused_by_ec2(id, &change, &error));
                    // Items written with "-" are still removed when EC2 refuses those that were to be added with them.
                    if let Change::LaunchPermission(change) = &change
                        && !change.add.is_empty()
                    {
                        next = change.without_additions().map(Change::LaunchPermission);
                    }
                }
                Err(error) => {
                    succeeded = false;
                    if self.dry_run {
                        entry.changes.push(Applied { change, read_back: None, permitted: Some(false) });
                    }
                    entry.error.get_or_insert(error);
                }
            }
        }
        succeeded
    }

    /// Reads the launch permissions until they are as planned, since what was just written may not be visible at once.
    async fn read_back(&self, id: ImageId, change: &LaunchPermissionChange, entry: &mut Entry) -> ReadBack {
        let mut after = change.after.clone();
        let mut trouble = String::new();
        for (attempt, delay) in (1..=READ_BACKS).zip(Patience::backoff()) {
            match self.launch_permissions(id).await {
                Ok(seen) if seen == change.after => return ReadBack { after: seen, confirmed: true },
                Ok(seen) => {
                    trouble = "EC2 does not show them as planned".into();
                    after = seen;
                }
                Err(error) => trouble = error.to_string(),
            }
            if attempt == READ_BACKS || !self.patience.wait(delay).await {
                break;
            }
        }
        entry.notes.push(format!(
            "The launch permissions were changed and not confirmed: {}. The next look settles it.",
            trouble.trim_end_matches('.')
        ));
        ReadBack { after, confirmed: false }
    }
}

/// A plan that nobody carries out.
fn proposed(id: ImageId, plan: Plan) -> Entry {
    let Plan { changes, refusals, notes } = plan;
    let changes = changes.into_iter().map(|change| Applied { change, read_back: None, permitted: None }).collect();
    let mut entry = Entry { changes, refusals, notes, ..Entry::new(id, Outcome::Unchanged) };
    entry.outcome = outcome(&entry, Outcome::Planned);
    entry
}

/// What became of an image, by what its entry tells; changes are an outcome of their own.
fn outcome(entry: &Entry, with_changes: Outcome) -> Outcome {
    match entry {
        Entry { error: Some(_), .. } => Outcome::Failed,
        Entry { changes, .. } if !changes.is_empty() => with_changes,
        Entry { refusals, .. } if !refusals.is_empty() => Outcome::Refused,
        _ => Outcome::Unchanged,
    }
}

fn adds_all(directives: &Directives, current: &LaunchPermissions) -> bool {
    directives.launch_permission.as_ref().is_some_and(|wish| wish.wants(&Grantee::All)) && !current.contains(&Grantee::All)
}

fn refused_by_ec2(id: ImageId, change: &Change, error: &CallError) -> Refusal {
    Refusal {
        attribute: change.attribute(),
        code: Code::Ec2Refused,
        message: format!(
            "EC2 refused {} with {}: {} Settle what EC2 names; a directive is then tried again at the next run, a request has to be sent \
             again.",
            error.operation,
            error.code,
            error.message.trim()
        ),
        resource: id.to_string(),
        ec2_code: Some(error.code.clone().into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::{
        guardrail::AllowedGrantees,
        policy::Policy,
        ports::{Listing, Page},
        testing::{facts, grantees, image, now},
    };

    /// An EC2 of one image, which counts what is asked of it.
    struct OneImage {
        image: RefCell<Image>,
        launch_permissions: RefCell<LaunchPermissions>,
        writes: RefCell<Vec<Change>>,
        /// Whether reads show nothing of a write.
        lags: bool,
        /// When launch permissions were read.
        reads: RefCell<Vec<Instant>>,
    }

    impl OneImage {
        fn new(image: &Image, launch_permissions: &str, lags: bool) -> Self {
            Self {
                image: RefCell::new(image.clone()),
                launch_permissions: RefCell::new(grantees(launch_permissions)),
                writes: RefCell::default(),
                lags,
                reads: RefCell::default(),
            }
        }
    }

    impl Ec2 for OneImage {
        async fn images(&self, _: &[ImageId]) -> Result<Vec<Image>, CallError> {
            Ok(vec![self.image.borrow().clone()])
        }

        async fn image_ids(&self, _: &Listing, _: Option<String>) -> Result<Page, CallError> {
            Ok(Page { ids: vec![self.image.borrow().id], next: None })
        }

        async fn launch_permissions(&self, _: ImageId) -> Result<LaunchPermissions, CallError> {
            self.reads.borrow_mut().push(Instant::now());
            Ok(self.launch_permissions.borrow().clone())
        }

        async fn snapshots(&self, _: &[&str]) -> Result<BTreeMap<String, Option<bool>>, CallError> {
            Ok(facts(&[("snap-1", Some(true))]).snapshots)
        }

        async fn block_public_access(&self) -> Result<Option<bool>, CallError> {
            Ok(Some(false))
        }
    }

    impl Ec2Write for OneImage {
        async fn modify(&self, _: ImageId, change: &Change, dry_run: bool) -> Result<(), CallError> {
            self.writes.borrow_mut().push(change.clone());
            if dry_run || self.lags {
                return Ok(());
            }
            let mut image = self.image.borrow_mut();
            match change {
                Change::Description { to, .. } => image.description = Some(to.clone()),
                Change::ImdsSupport { to, .. } => image.imds_support = Some(to.as_str().into()),
                Change::LaunchPermission(change) => {
                    let mut current = self.launch_permissions.borrow_mut();
                    *current = current.union(&change.add).filter(|grantee| !change.remove.contains(*grantee)).cloned().collect();
                    image.public = current.contains(&Grantee::All);
                }
            }
            Ok(())
        }

        async fn set_tag(&self, _: ImageId, _: &str, _: Option<&str>) -> Result<(), CallError> {
            panic!("no status tag is set up")
        }
    }

    /// Images of every outcome, with those who may launch them.
    fn images() -> Vec<(Image, &'static str)> {
        let share = |value| image().tag("ami-warden:launch-permission", value);
        let public = || Image { public: true, ..image() };
        vec![
            (image(), ""),
            (public(), "all"),
            (Image { state: State::Pending, ..share("444455556666") }, ""),
            (Image { state: State::Other("disabled".into()), ..share("444455556666") }, ""),
            (share("444455556666").tag("ami-warden:hold", "x"), ""),
            (share("444455556666"), "444455556666"),
            (share("444455556666 -222233334444"), "222233334444 333344445555"),
            (share("= 444455556666"), "222233334444 333344445555"),
            (share("666677778888 -222233334444"), "222233334444"),
            (share("= 666677778888"), "222233334444"),
            (share("all"), ""),
            (share("all -222233334444").device("/dev/xvda", Some("snap-1"), None), "222233334444"),
            (public().tag("ami-warden:launch-permission", "-all").tag("ami-warden:description", "{ImageId}"), "all"),
            (share("bob").tag("ami-warden:description", "new").tag("ami-warden:imds-support", "v2.0"), ""),
            (image().tag("ami-warden:descripton", "new").tag("ami-warden:description", "{Nam}"), ""),
        ]
    }

    fn without_call_results(entry: &Entry) -> Entry {
        let mut entry = entry.clone();
        for change in &mut entry.changes {
            (change.read_back, change.permitted) = (None, None);
        }
        entry
    }

    fn reconciler<'a>(
        ec2: &'a OneImage,
        patience: &'a Patience,
        guardrails: &'a Guardrails,
        policy: &'a Policy,
        dry_run: bool,
    ) -> Reconciler<'a, OneImage> {
        Reconciler {
            ec2,
            patience,
            guardrails,
            context: Context { policy, organization: None, partition: "aws" },
            tag_prefix: "ami-warden:",
            status_tag: None,
            dry_run,
            explain: true,
            now: now(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_preview_makes_no_write_and_tells_what_a_dry_run_tells_and_what_is_then_done() {
        let patience = Patience::until(Instant::now() + Duration::from_secs(60));
        let guardrails = Guardrails {
            allow_public: true,
            allowed_grantees: AllowedGrantees::These(grantees("444455556666")),
            max_removals: None,
        };
        let policy = Policy::default();
        let mut outcomes = std::collections::BTreeSet::new();
        for (image, launch_permissions) in images() {
            let ec2 = OneImage::new(&image, launch_permissions, false);
            let reconciler = |dry_run| reconciler(&ec2, &patience, &guardrails, &policy, dry_run);
            let preview = reconciler(true).preview(&image).await;
            assert_eq!(*ec2.writes.borrow(), [], "{preview:?}");
            assert_eq!(preview, without_call_results(&reconciler(true).by_tags(&image).await));
            let planned: Vec<Change> = preview.changes.iter().map(|applied| applied.change.clone()).collect();
            assert_eq!(*ec2.writes.take(), planned);

            let done = reconciler(false).by_tags(&image).await;
            assert_eq!(*ec2.writes.take(), planned);
            assert_eq!(done.refusals, preview.refusals);
            let image = ec2.image.borrow().clone();
            let settled = reconciler(true).preview(&image).await;
            assert_eq!(settled.changes, [], "what is done is done");
            outcomes.insert(preview.outcome);
        }
        use Outcome::{Deferred, Planned, Refused, Skipped, Unchanged};
        assert_eq!(outcomes, [Planned, Unchanged, Refused, Deferred, Skipped].into());
    }

    #[tokio::test(start_paused = true)]
    async fn permissions_are_read_back_three_times_with_waits_that_grow_and_none_at_the_end() {
        let patience = Patience::until(Instant::now() + Duration::from_secs(60));
        let guardrails = Guardrails { allowed_grantees: AllowedGrantees::Any, ..Guardrails::default() };
        let (policy, image) = (Policy::default(), image().tag("ami-warden:launch-permission", "444455556666"));
        let ec2 = OneImage::new(&image, "", true);
        reconciler(&ec2, &patience, &guardrails, &policy, false).by_tags(&image).await;
        let reads = ec2.reads.take();
        let [_, first, second, third] = reads.as_slice() else { panic!("{reads:?}") };
        assert!(*second - *first >= Duration::from_millis(100) && *third - *second >= Duration::from_millis(200), "{reads:?}");
        assert_eq!(Instant::now(), *third);
    }
}
