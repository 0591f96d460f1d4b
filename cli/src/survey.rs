//! Looks at images as the function does, and stops where the function would begin to change them.

use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, Instant},
};

use ami_warden::{
    event::{Expect, Trigger},
    image::{ImageId, LaunchPermissions},
    invocation::{AT_ONCE, IDS_A_CALL},
    limits::{Heeded, Limits},
    outcome::{Answer, Entry, Outcome, Report},
    patience::Patience,
    plan::Change,
    ports::{Ec2, Parameters},
    reconcile::{Found, Observer, Reconciler},
    settings::Settings,
    sweep,
};
use chrono::Utc;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::options::Rules;

/// Nobody waits longer than this for an answer. There is no other deadline.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What the function would do.
pub struct Survey {
    /// As the function would answer in a dry run.
    pub answer: Answer,
    /// The names of the images that the answer lists.
    pub names: BTreeMap<ImageId, String>,
    /// Images that are public although nothing says that they should be. They are left alone.
    pub public_without_directives: Vec<ImageId>,
}

/// A survey in numbers.
#[derive(Debug, Default)]
pub struct Totals {
    pub looked_at: usize,
    pub to_change: usize,
    pub to_add: usize,
    pub to_remove: usize,
    pub refusals: usize,
    pub unchanged: usize,
    pub skipped: usize,
    pub deferred: usize,
    pub failed: usize,
}

impl Survey {
    /// Looks at these images, or at all that a sweep would look at.
    ///
    /// # Errors
    /// A policy or an allow-list that cannot be used, or images that cannot be listed. What concerns one image is told with it.
    pub async fn make<E: Ec2, P: Parameters>(
        settings: &Settings,
        ec2: &E,
        parameters: &P,
        rules: Option<&Rules>,
        images: &[ImageId],
    ) -> Result<Self, Box<dyn Error>> {
        let patience = Patience::until((Instant::now() + LONGEST).into());
        let heeded = rules.map_or(Heeded::Policy, |rules| Heeded::GroupsAnd { name: &rules.name, rules: &rules.json });
        let limits = Limits::read(settings, parameters, &patience, heeded).await?;

        // Shown on a terminal only.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
            .with_style(ProgressStyle::with_template("{spinner} listing images")?);
        bar.enable_steady_tick(Duration::from_millis(100));
        let listed;
        let (ids, report) = if images.is_empty() {
            listed = sweep::list(ec2, &patience, &settings.tag_prefix, limits.policy.has_rules()).await?;
            (listed.as_slice(), Report::of_a_sweep())
        } else {
            (images, Report::of_everything())
        };
        bar.set_style(ProgressStyle::with_template("{bar:40} {pos} of {len} images, {eta} to go")?);
        bar.set_length(ids.len() as u64);

        let reconciler = Reconciler {
            ec2,
            patience: &patience,
            guardrails: &limits.guardrails,
            context: limits.context(settings),
            tag_prefix: &settings.tag_prefix,
            status_tag: None,
            dry_run: true,
            explain: true,
            now: Utc::now(),
        };
        let observer = Observer { ec2, patience: &patience };
        let mut collected = Collected { report, names: BTreeMap::new(), public_without_directives: Vec::new() };
        for ids in ids.chunks(IDS_A_CALL) {
            match observer.images(ids, Expect::Nothing).await {
                Ok(found) => {
                    let looks = stream::iter(found).map(|found| look(&reconciler, found)).buffered(AT_ONCE);
                    looks
                        .for_each(|(name, entry)| {
                            collected.add(name, entry);
                            bar.inc(1);
                            std::future::ready(())
                        })
                        .await;
                }
                Err(error) => ids.iter().for_each(|id| collected.add(None, Entry::failed(*id, error.clone()))),
            }
        }
        bar.finish_and_clear();
        let Collected { report, names, public_without_directives } = collected;
        Ok(Self { answer: report.answer(Trigger::Request, true, None), names, public_without_directives })
    }

    /// The numbers.
    pub fn totals(&self) -> Totals {
        let count = |outcome: Outcome| self.answer.summary.get(outcome.as_str()).copied().unwrap_or_default();
        let mut totals = Totals {
            looked_at: self.answer.summary.values().sum(),
            unchanged: count(Outcome::Unchanged),
            skipped: count(Outcome::Skipped),
            deferred: count(Outcome::Deferred),
            failed: count(Outcome::Failed),
            ..Totals::default()
        };
        for entry in &self.answer.images {
            totals.to_change += usize::from(!entry.changes.is_empty());
            totals.refusals += entry.refusals.len();
            for applied in &entry.changes {
                if let Change::LaunchPermission(change) = &applied.change {
                    totals.to_add += LaunchPermissions::len(&change.add);
                    totals.to_remove += LaunchPermissions::len(&change.remove);
                }
            }
        }
        totals
    }
}

/// What would become of one image, and its name.
async fn look<E: Ec2>(reconciler: &Reconciler<'_, E>, found: Found) -> (Option<String>, Entry) {
    match found {
        Found::Image(image) => {
            let entry = reconciler.preview(&image).await;
            (image.name, entry)
        }
        Found::Entry(entry) => (None, *entry),
    }
}

struct Collected {
    report: Report,
    names: BTreeMap<ImageId, String>,
    public_without_directives: Vec<ImageId>,
}

impl Collected {
    fn add(&mut self, name: Option<String>, entry: Entry) {
        if entry.public_without_directives {
            self.public_without_directives.push(entry.image_id);
        }
        self.names.extend(name.map(|name| (entry.image_id, name)));
        self.report.add(entry);
    }
}
