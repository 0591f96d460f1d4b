//! Looks at images as the function does, and stops where the function would begin to change them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ami_warden::{
    Attempts, CallError, Caller, Crowd, Ec2, FactReader, Fresh, IMAGE_TIMEOUT, ImageRecord, Keys,
    Lister, Manner, Observer, Outcome, Parameters, Progress, READ_AGE_MAX, Reconciled, Reconciler,
    Retry, RuleSource, RulebookError, Rulebooks, Settings, SkipReason, UsageReports, Which,
    kinds_of_images, one_part, unreadable_note,
};
use ami_warden_core::{
    AccountId, Change, Direction, Grantee, Ground, Image, ImageId, KeyFacts,
    LaunchPermissionChange, LaunchPermissions, Promised, Rule, WishContext,
};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::{
    access::{Access, Explainer, Standing},
    failure::Failure,
    key_policy::{self, KeyAdvice, Need},
    usage::{self, Usage},
};

/// Nobody waits longer than this for an answer. There is no other deadline.
const SURVEY_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything that a survey reads.
pub struct Sources<'a, E, K, P> {
    pub settings: &'a Settings,
    pub region: &'a str,
    pub ec2: &'a E,
    pub keys: &'a K,
    pub parameters: &'a P,
}

/// The subject of a survey.
#[derive(Debug, Default)]
pub struct Scope {
    /// These images; all that a sweep looks at if there are none.
    pub images: Vec<ImageId>,
    /// Every image of the account and Region, whatever is said about it.
    pub every_image: bool,
    /// Who may launch each image, also where no directive is about that.
    pub permissions: bool,
    /// The keys of encrypted images.
    pub keys: bool,
}

/// An image that was looked at.
#[derive(Debug)]
pub struct Looked {
    /// The function's plan for it.
    pub record: ImageRecord,
    /// The image; `None` if it could not be read.
    pub image: Option<Box<Image>>,
    /// The keys of its encrypted snapshots, if the survey is about keys.
    pub keys: BTreeSet<String>,
    /// Everybody who may launch it or would be let in, and why.
    pub access: Vec<Access>,
}

/// The function's plan for an account and Region.
#[derive(Debug)]
pub struct Survey {
    /// The account of the images; `None` if it cannot be told.
    pub account: Option<AccountId>,
    pub region: String,
    pub time: DateTime<Utc>,
    /// Whether a person named the images, or asked about all: then all are listed.
    pub lists_all: bool,
    /// Whether a person named the images.
    pub named: bool,
    /// By outcome, then by id: as the function would answer.
    pub images: Vec<Looked>,
    /// The keys that were looked at, by ARN.
    pub keys: BTreeMap<String, KeyFacts>,
    /// Who uses the images from which access would be taken away, if that was asked.
    pub usage: BTreeMap<ImageId, Usage>,
    /// Sentences about no image in particular.
    pub notes: Vec<String>,
    /// Parameters below the policy's path that are not used.
    pub unused: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub looked_at: usize,
    pub to_change: usize,
    pub to_publish: usize,
    pub to_unpublish: usize,
    pub to_add: usize,
    pub to_remove: usize,
    pub copiers_to_add: usize,
    pub copiers_to_remove: usize,
    pub refusals: usize,
    pub unchanged: usize,
    pub skipped: usize,
    pub deferred: usize,
    pub failed: usize,
}

/// An image, and the keys of its snapshots.
type SeenImage = (Box<Image>, BTreeSet<String>);

impl Survey {
    /// Looks at these images, or at all that a sweep would look at.
    ///
    /// # Errors
    /// A policy or an allow-list that cannot be used, or images that cannot be listed. A fault of
    /// one image is told with it.
    pub async fn make<E: Ec2, K: Keys, P: Parameters>(
        sources: &Sources<'_, E, K, P>,
        rules: Option<&[Rule]>,
        scope: &Scope,
    ) -> Result<Self, Failure> {
        let Sources {
            settings,
            region,
            ec2,
            keys,
            parameters,
        } = *sources;
        let retry = Retry::until(Instant::now() + SURVEY_TIME_MAX);
        let source = match rules {
            Some(rules) => RuleSource::Replaced(rules),
            None => RuleSource::Stored,
        };
        let rulebooks = Rulebooks::new(parameters, &settings.rulebook, source);
        let rulebook = rulebooks.fresh(READ_AGE_MAX, &retry.attempts()).await?;
        let facts = FactReader::new(ec2, keys, &retry);
        let context = WishContext {
            policy: &rulebook.policy,
            organization: settings.rulebook.organization.as_ref(),
            partition: settings.partition,
        };
        let look = Look {
            reconciler: reconciler(sources, &rulebooks, &facts, &retry),
            retry: &retry,
            scope,
            explainer: Explainer::new(context),
            bar: progress_bar("listing images"),
            keys: RefCell::default(),
        };
        let mut survey = Self {
            account: None,
            region: region.to_owned(),
            time: Utc::now(),
            lists_all: !scope.images.is_empty() || scope.every_image,
            named: !scope.images.is_empty(),
            images: Vec::new(),
            keys: BTreeMap::new(),
            usage: BTreeMap::new(),
            notes: Vec::new(),
            unused: rulebook.unused.clone(),
        };
        if survey.named {
            look.at(one_part(&scope.images), &mut survey.images).await?;
        } else {
            let all = scope.every_image || rulebook.policy.has_rules();
            let status_tag = settings.status_tag.as_deref();
            let kinds = kinds_of_images(all, &settings.tag_prefix, status_tag);
            look.at_all(kinds, &mut survey).await?;
        }
        look.bar.finish_and_clear();
        survey.keys = look.keys.into_inner();
        survey
            .images
            .sort_by_key(|looked| (looked.record.outcome, looked.record.id));
        survey.account = survey
            .images
            .iter()
            .find_map(|looked| Some(looked.image.as_ref()?.owner.clone()));
        Ok(survey)
    }

    /// Asks AWS for the account where no image tells it. A fault leaves it unknown.
    pub async fn ask_for_account<C: Caller>(&mut self, caller: &C) {
        if self.account.is_none() {
            let retry = Retry::until(Instant::now() + IMAGE_TIMEOUT);
            let attempts = retry.attempts();
            let call = async || caller.account().await;
            self.account = attempts.call("GetCallerIdentity", call).await.ok();
        }
    }

    /// Asks EC2 who uses the images from which access would be taken away.
    pub async fn ask_for_usage<U: UsageReports>(&mut self, reports: &U) {
        let images: BTreeSet<ImageId> = self
            .taking_away()
            .iter()
            .map(|(record, _)| record.id)
            .collect();
        if images.is_empty() {
            return;
        }
        let bar = progress_bar("waiting for usage reports");
        show_numbers(&bar, "usage reports, {elapsed} so far");
        bar.inc_length(images.len() as u64);
        let retry = Retry::until(Instant::now() + SURVEY_TIME_MAX);
        self.usage = usage::usage(reports, &retry, &images, &bar).await;
        bar.finish_and_clear();
    }

    /// The images from which launch permissions would be taken away.
    pub fn taking_away(&self) -> Vec<(&ImageRecord, &LaunchPermissionChange)> {
        let mut found = Vec::new();
        for record in self.records() {
            if let Some(change) = launch_change(record)
                && !change.remove.is_empty()
            {
                found.push((record, change));
            }
        }
        found
    }

    /// The records of all images.
    pub fn records(&self) -> impl Iterator<Item = &ImageRecord> {
        self.images.iter().map(|looked| &looked.record)
    }

    /// Whether the answer lists the image.
    pub fn is_listed(&self, record: &ImageRecord) -> bool {
        self.lists_all || !matches!(record.outcome, Outcome::Unchanged | Outcome::Skipped)
    }

    /// Images that are public although nothing says that they should be. They are left alone.
    pub fn public_without_directives(&self) -> impl Iterator<Item = &ImageRecord> {
        self.records()
            .filter(|record| record.public_without_directives)
    }

    /// Images that a person named and that are not there.
    pub fn not_found(&self) -> impl Iterator<Item = &ImageRecord> {
        let missing =
            |record: &&ImageRecord| record.skipped.as_ref() == Some(&SkipReason::NotFound);
        self.records()
            .filter(move |record| self.named && missing(record))
    }

    /// Who needs which key: the grantees that have access, would be let in, or are kept out for the
    /// key alone.
    pub fn key_needs(&self) -> BTreeMap<String, Need> {
        let mut needs: BTreeMap<String, Need> = BTreeMap::new();
        for looked in &self.images {
            let mut grantees = LaunchPermissions::new();
            for access in &looked.access {
                if access.standing != Standing::Removed {
                    grantees.insert(access.grantee.clone());
                }
            }
            for refusal in &looked.record.refusals {
                if let Ground::KeyNotShared { grantee, .. } = &refusal.ground {
                    grantees.insert(grantee.clone());
                }
            }
            if grantees.is_empty() {
                continue;
            }
            for key in &looked.keys {
                let need = needs.entry(key.clone()).or_default();
                need.images.insert(looked.record.id);
                need.grantees.extend(grantees.iter().cloned());
            }
        }
        needs
    }

    /// The statements for the keys that somebody needs.
    pub fn key_advice(&self) -> Vec<KeyAdvice> {
        // An image tells the account, and without an image nobody needs a key.
        let Some(owner) = &self.account else {
            return Vec::new();
        };
        key_policy::advice(&self.key_needs(), &self.keys, owner)
    }

    /// Counts images, changes and refusals.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            looked_at: self.images.len(),
            ..Totals::default()
        };
        for record in self.records() {
            match record.outcome {
                Outcome::Unchanged => totals.unchanged += 1,
                Outcome::Skipped => totals.skipped += 1,
                Outcome::Deferred => totals.deferred += 1,
                Outcome::Failed => totals.failed += 1,
                Outcome::Refused | Outcome::Applied | Outcome::Planned => {}
            }
            totals.to_change += usize::from(!record.changes.is_empty());
            totals.refusals += record.refusals.len();
            for proposed in &record.changes {
                totals.count(&proposed.change);
            }
        }
        totals
    }
}

impl Totals {
    fn count(&mut self, change: &Change) {
        match change {
            Change::LaunchPermission(change) => {
                let publishes = usize::from(change.add.contains(&Grantee::All));
                let unpublishes = usize::from(change.remove.contains(&Grantee::All));
                self.to_publish += publishes;
                self.to_unpublish += unpublishes;
                self.to_add += change.add.len() - publishes;
                self.to_remove += change.remove.len() - unpublishes;
            }
            Change::CopyPermission(change) => match change.direction {
                Direction::Add => self.copiers_to_add += change.accounts.len(),
                Direction::Remove => self.copiers_to_remove += change.accounts.len(),
            },
            _ => {}
        }
    }
}

/// The change of launch permissions of a plan.
fn launch_change(record: &ImageRecord) -> Option<&LaunchPermissionChange> {
    for proposed in &record.changes {
        if let Change::LaunchPermission(change) = &proposed.change {
            return Some(change);
        }
    }
    None
}

fn reconciler<'a, E: Ec2, K: Keys, P: Parameters>(
    sources: &Sources<'a, E, K, P>,
    rulebooks: &'a Rulebooks<'a, P>,
    facts: &'a FactReader<'a, E, K>,
    retry: &'a Retry,
) -> Reconciler<'a, E, K, P> {
    Reconciler {
        ec2: sources.ec2,
        observer: Observer {
            ec2: sources.ec2,
            retry,
            scope: sources.settings.tag_scope(),
        },
        facts,
        rulebooks,
        settings: sources.settings.image_settings(),
        manner: Manner {
            dry_run: true,
            explain: true,
            recheck_policy: false,
        },
        promised: &Promised::Nothing,
        clock: Utc::now,
    }
}

/// Looks at images, and shows how far it is.
struct Look<'a, E, K, P> {
    reconciler: Reconciler<'a, E, K, P>,
    retry: &'a Retry,
    scope: &'a Scope,
    explainer: Explainer<'a>,
    bar: ProgressBar,
    keys: RefCell<BTreeMap<String, KeyFacts>>,
}

impl<E: Ec2, K: Keys, P: Parameters> Look<'_, E, K, P> {
    async fn at_all(&self, kinds: Vec<Which>, survey: &mut Survey) -> Result<(), Failure> {
        let lister = Lister::new(self.reconciler.ec2, self.retry, kinds, None);
        let mut progress = Progress::default();
        let parts = lister.parts(&mut progress);
        self.at(parts, &mut survey.images).await?;
        if let Some(Err(error)) = progress.end {
            return Err(error.into());
        }
        if progress.unreadable > 0 {
            survey.notes.push(unreadable_note(progress.unreadable));
        }
        Ok(())
    }

    async fn at(
        &self,
        parts: impl Stream<Item = Vec<ImageId>>,
        images: &mut Vec<Looked>,
    ) -> Result<(), RulebookError> {
        let parts = parts.inspect(|ids| {
            show_numbers(&self.bar, "images, {eta} to go");
            self.bar.inc_length(ids.len() as u64);
        });
        let crowd = Crowd {
            observer: self.reconciler.observer,
            retry: self.retry,
            rulebooks: self.reconciler.rulebooks,
            last_start: self.retry.deadline(),
        };
        // A crowd tells of records; this is the rest.
        let seen = RefCell::<BTreeMap<ImageId, SeenImage>>::default();
        let begin = |fresh: Fresh| {
            let seen = &seen;
            async move {
                let (record, keys) = self.one(&fresh.image).await?;
                seen.borrow_mut()
                    .insert(fresh.image.id, (fresh.image, keys));
                Ok(Reconciled::only(record))
            }
        };
        let mut records = Vec::new();
        let mut told = |done: Reconciled| {
            records.push(done.record);
            self.bar.inc(1);
        };
        crowd
            .work_on(parts, &Promised::Nothing, &begin, &mut told)
            .await?;
        let mut seen = seen.into_inner();
        for record in records {
            let (image, keys) = match seen.remove(&record.id) {
                Some((image, keys)) => (Some(image), keys),
                None => (None, BTreeSet::new()),
            };
            let access = self.explainer.access(&record, image.as_deref());
            images.push(Looked {
                record,
                image,
                keys,
                access,
            });
        }
        Ok(())
    }

    async fn one(&self, image: &Image) -> Result<(ImageRecord, BTreeSet<String>), RulebookError> {
        let attempts = self.retry.attempts_for(IMAGE_TIMEOUT);
        let mut record = self.reconciler.preview(image, &attempts).await?;
        let mut keys = BTreeSet::new();
        if let Err(error) = self
            .look_further(image, &mut record, &mut keys, &attempts)
            .await
        {
            record.outcome = Outcome::Failed;
            record.error.get_or_insert(error);
        }
        Ok((record, keys))
    }

    /// Reads permissions and keys where no directive made anybody read them.
    async fn look_further(
        &self,
        image: &Image,
        record: &mut ImageRecord,
        keys: &mut BTreeSet<String>,
        attempts: &Attempts<'_>,
    ) -> Result<(), CallError> {
        let is_readable = record.error.is_none();
        if self.scope.permissions && is_readable && record.launch_permissions.is_none() {
            let call = async || self.reconciler.ec2.launch_permissions(image.id).await;
            let permissions = attempts.call("DescribeImageAttribute", call).await?;
            record.public = Some(permissions.contains(&Grantee::All));
            record.launch_permissions = Some(permissions);
        }
        if !self.scope.keys || !image.has_encrypted_mapping() {
            return Ok(());
        }
        let snapshots = self.reconciler.facts.snapshots(image, attempts).await?;
        for facts in snapshots.into_values() {
            if facts.encrypted == Some(true) {
                keys.extend(facts.key);
            }
        }
        for arn in keys.iter() {
            let facts = self.reconciler.facts.key(arn).await;
            self.keys.borrow_mut().insert(arn.clone(), facts);
        }
        Ok(())
    }
}

/// Shown on a terminal only.
fn progress_bar(message: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar.set_message(message);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn show_numbers(bar: &ProgressBar, things: &str) {
    let template = format!("{{bar:30}} {{pos}} of {{len}} {things}");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
}

#[cfg(test)]
impl Survey {
    /// A survey of available images with these names, about which nobody says anything.
    pub fn sample(names: &[&str]) -> Self {
        let looked = |name: &&str| {
            let mut image = ami_warden_core::testing::image();
            image.name = Some((*name).to_owned());
            let mut record = ImageRecord::new(image.id, Outcome::Unchanged);
            record.name.clone_from(&image.name);
            let image = Some(Box::new(image));
            Looked {
                record,
                image,
                keys: BTreeSet::new(),
                access: Vec::new(),
            }
        };
        Self {
            account: "111122223333".parse().ok(),
            region: "eu-west-1".to_owned(),
            time: DateTime::UNIX_EPOCH,
            lists_all: true,
            named: false,
            images: names.iter().map(looked).collect(),
            keys: BTreeMap::new(),
            usage: BTreeMap::new(),
            notes: Vec::new(),
            unused: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ami_warden_core::{Attribute, Refusal, testing::grantees};

    use super::*;

    #[test]
    fn a_key_is_needed_by_those_who_keep_access_get_it_or_lack_nothing_but_the_key() {
        let mut survey = Survey::sample(&["golden", "plain"]);
        let looked = &mut survey.images[0];
        looked.keys.insert("arn:key".to_owned());
        for (account, standing) in [
            ("444455556666", Standing::Keeps),
            ("555566667777", Standing::Added),
            ("666677778888", Standing::Removed),
        ] {
            let grantee = Grantee::Account(account.parse().unwrap());
            looked.access.push(Access {
                grantee,
                standing,
                reasons: Vec::new(),
            });
        }
        let grantee = Grantee::Account("777788889999".parse().unwrap());
        let ground = Ground::KeyNotShared {
            grantee,
            keys: vec!["arn:key".to_owned()],
        };
        looked
            .record
            .refusals
            .push(Refusal::new(Attribute::LaunchPermission, ground));
        let needs = survey.key_needs();
        assert_eq!(needs.keys().collect::<Vec<_>>(), ["arn:key"]);
        let expected = grantees("444455556666 555566667777 777788889999");
        assert_eq!(needs["arn:key"].grantees, expected);
        assert_eq!(needs["arn:key"].images.len(), 1);
    }

    #[test]
    fn an_image_that_goes_away_during_a_sweep_is_no_error() {
        let mut survey = Survey::sample(&["golden"]);
        survey.images[0].record.skipped = Some(SkipReason::NotFound);
        assert_eq!(survey.not_found().count(), 0);
        survey.named = true;
        assert_eq!(survey.not_found().count(), 1);
    }
}
