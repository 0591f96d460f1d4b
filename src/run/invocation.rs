//! One invocation, from event to answer.

use std::{cell::Cell, collections::BTreeSet, rc::Rc, time::Duration};

use ami_warden_core::{
    event::{
        request::Request,
        trigger::{DecodeContext, Event, EventError, Job, Origin, Promised, Trigger, Work},
    },
    model::image::ImageId,
    wish::policy::PolicyError,
};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use super::{settings::Settings, time_budget::TimeBudget};
use crate::{
    act::{
        call_error::CallError,
        crowd::{Crowd, NotBegun, one_part},
        facts::FactReader,
        observe::{Fresh, Observer, Seen, TagScope},
        ports::{Ec2Write, Keys, Parameters},
        reconcile::{FRESH, ImageSettings, Manner, Reconciled, Reconciler},
        record::{ImageRecord, Outcome, SkipReason},
        retry::Retry,
        rulebook::{RuleSource, Rulebook, Rulebooks},
        sweep::{self, Lister, Progress},
    },
    tell::{
        answer::{Answer, Continue},
        metrics::InvocationMetrics,
        report::Report,
        trail,
    },
};

/// How long one image of several may take. One that takes longer has failed, and its event comes again.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The most failed images whose ids travel in `Continue`: with 4,000 others they fit into the answer.
const FAILED_CARRIED_MAX: usize = 1000;

/// The most images that a link hands on by their ids; more are left to a sweep from the beginning.
const CARRIED_MAX: usize = 4000;

/// The function: its settings and clients, made once at the cold start.
#[derive(Debug)]
pub struct Warden<E, K, P> {
    /// The settings of the deployment.
    pub settings: Settings,
    /// EC2.
    pub ec2: E,
    /// KMS.
    pub keys: K,
    /// Parameter Store.
    pub parameters: P,
    /// The function's name, for its metrics.
    pub name: Option<String>,
    /// Whether no invocation was begun yet.
    cold: Cell<bool>,
}

/// Why an invocation fails, so that Lambda keeps its event.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A recognised event that lacks a needed field.
    #[error("{0}")]
    InvalidEvent(String),
    /// JSON sent by hand that asks for nothing that can be done.
    #[error("{0}")]
    InvalidRequest(String),
    /// Rules or the allow-list that cannot be read: nothing is done on half a policy.
    #[error("{0}. ami-warden does nothing until you correct it.")]
    InvalidPolicy(PolicyError),
    /// Images that failed after all others were finished.
    #[error("{}", serde_json::to_string(.0).unwrap_or_default())]
    ImagesFailed(Box<Answer>),
    /// A sweep that could not list the images.
    #[error("{0}")]
    SweepFailed(CallError),
}

impl Error {
    /// The stable name of the kind of error: `errorType` in Lambda's answer.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidEvent(_) => "InvalidEvent",
            Self::InvalidRequest(_) => "InvalidRequest",
            Self::InvalidPolicy(_) => "InvalidPolicy",
            Self::ImagesFailed(_) => "ImagesFailed",
            Self::SweepFailed(_) => "SweepFailed",
        }
    }
}

impl From<EventError> for Error {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Event(malformed) => Self::InvalidEvent(malformed.to_string()),
            EventError::Request(malformed) => Self::InvalidRequest(malformed.to_string()),
        }
    }
}

impl<E: Ec2Write, K: Keys, P: Parameters> Warden<E, K, P> {
    /// A function that has not handled anything yet.
    #[must_use]
    pub fn new(settings: Settings, ec2: E, keys: K, parameters: P, name: Option<String>) -> Self {
        Self {
            settings,
            ec2,
            keys,
            parameters,
            name,
            cold: Cell::new(true),
        }
    }

    /// Does what the event asks for.
    ///
    /// # Errors
    /// See [`Error`]. A refusal is not an error.
    pub async fn handle(
        &self,
        event: &Value,
        requests_allowed: bool,
        time: TimeBudget,
    ) -> Result<Answer, Error> {
        let cold_start = self.cold.replace(false);
        let rulebook = &self.settings.rulebook;
        let context = DecodeContext {
            policy_path: rulebook.policy_path.as_deref(),
            allow_list_parameter: rulebook.allow_list_parameter.as_deref(),
            partition: self.settings.partition,
            requests_allowed,
        };
        let job = match Event::parse(event, &context)? {
            Event::Ignored { reason } => {
                return Ok(Answer::ignored(&reason, self.settings.dry_run));
            }
            Event::Job(job) => job,
        };
        let retry = Retry::until(time.end);
        let rules = match job.work {
            Work::Request(_) => RuleSource::Ignored,
            Work::Look { .. } | Work::Sweep { .. } => RuleSource::Stored,
        };
        let invocation = Invocation {
            warden: self,
            retry: &retry,
            rulebooks: &Rulebooks::new(&self.parameters, rulebook, rules),
            facts: &FactReader::new(&self.ec2, &self.keys, &retry),
            last_start: time.last_start,
            trigger: job.trigger,
            origin: Origin::from_event(event),
            started: Instant::now(),
            dry_run: job.dry_run || self.settings.dry_run,
            cold_start,
        };
        // Boxed, as the whole state of an invocation is too much for one type to hold.
        Box::pin(invocation.run(job)).await
    }
}

/// One invocation at work.
struct Invocation<'a, E, K, P> {
    warden: &'a Warden<E, K, P>,
    retry: &'a Retry,
    rulebooks: &'a Rulebooks<'a, P>,
    facts: &'a FactReader<'a, E, K>,
    last_start: Instant,
    trigger: Trigger,
    origin: Origin,
    started: Instant,
    dry_run: bool,
    cold_start: bool,
}

/// The images that an invocation has told of, and those that a write of it concerns.
struct Told<'a> {
    report: Report,
    origin: &'a Origin,
    /// The rulebooks that writes rested on, each once, and the images written by them.
    rulebooks: Vec<Rc<Rulebook>>,
    written: Vec<(ImageId, usize)>,
    /// Whether images are looked at once more, because the policy changed.
    once_more: bool,
}

/// The work that is left at the end of an invocation.
#[derive(Debug, Default)]
struct Left {
    /// A sweep goes on behind this image.
    sweep_after: Option<ImageId>,
    /// A sweep begins anew.
    sweep_anew: bool,
    images: Vec<ImageId>,
}

/// The end of an invocation.
enum Ending {
    Finished,
    Continues(Continue),
    Failed(Option<Continue>),
}

impl<E: Ec2Write, K: Keys, P: Parameters> Invocation<'_, E, K, P> {
    async fn run(self, job: Job) -> Result<Answer, Error> {
        match job.work {
            Work::Look { images, promised } => self.look(&images, &promised).await,
            Work::Sweep {
                after,
                also,
                changed,
            } => self.sweep(after, &also, changed).await,
            Work::Request(request) => self.request(&request).await,
        }
    }

    async fn look(&self, images: &[ImageId], promised: &Promised) -> Result<Answer, Error> {
        let mut told = Told::new(Report::listing_all(), &self.origin);
        let several = images.len() > 1;
        let manner = self.manner(self.trigger == Trigger::Request, !several);
        let left = match self
            .work_on(images, promised, manner, several, &mut told)
            .await
        {
            Ok(left) => {
                let more = self.look_once_more(manner, &mut told).await;
                more.map(|more| [left.all(), more].concat())
            }
            Err(error) => Err(error),
        };
        self.end(told.report, left.map(Left::of_images), false)
    }

    async fn sweep(
        &self,
        after: Option<ImageId>,
        also: &[ImageId],
        changed: Option<DateTime<Utc>>,
    ) -> Result<Answer, Error> {
        let rulebook = match self.rulebooks.fresh(FRESH, &self.retry.attempts()).await {
            Ok(rulebook) => rulebook,
            Err(error) => return Err(Error::InvalidPolicy(error)),
        };
        if let Some(reason) = superseded(changed, rulebook.newest_change) {
            return Ok(Answer::ignored(&reason, self.dry_run));
        }
        for parameter in &rulebook.unused {
            tracing::warn!(
                event = "policy",
                parameter,
                "neither \"rules\", \"rules/NAME\" nor \"groups/NAME\": not used"
            );
        }
        let mut told = Told::new(Report::of_sweep(), &self.origin);
        let manner = self.manner(false, false);
        let swept = self
            .sweep_parts(&rulebook, after, also, manner, &mut told)
            .await?;
        let left = match swept {
            Ok(mut left) => self.look_once_more(manner, &mut told).await.map(|more| {
                left.images.extend(more);
                left
            }),
            Err(error) => Err(error),
        };
        let left = left.map(Left::bounded);
        self.end(told.report, left, true)
    }

    /// Works on the estate, which is listed meanwhile.
    async fn sweep_parts(
        &self,
        rulebook: &Rulebook,
        after: Option<ImageId>,
        also: &[ImageId],
        manner: Manner,
        told: &mut Told<'_>,
    ) -> Result<Result<Left, PolicyError>, Error> {
        let Settings {
            tag_prefix,
            status_tag,
            ..
        } = &self.warden.settings;
        let kinds = sweep::kinds(
            rulebook.policy.has_rules(),
            tag_prefix,
            status_tag.as_deref(),
        );
        let lister = Lister::new(&self.warden.ec2, self.retry, kinds, after);
        let mut progress = Progress::default();
        let parts = lister.parts(&mut progress);
        let worked = self
            .work_on_parts(parts, &Promised::Nothing, manner, true, told)
            .await;
        if progress.unreadable > 0 {
            told.report
                .note(&sweep::unreadable_note(progress.unreadable));
        }
        let (left, done_to) = match worked {
            Ok((left, taken)) => (left, taken.or(after)),
            Err(error) => return Ok(Err(error)),
        };
        let end = progress.end.transpose().map_err(Error::SweepFailed)?;
        if end.is_none() || !left.read.is_empty() || !left.rest.is_empty() {
            return Ok(Ok(Left {
                sweep_after: done_to,
                sweep_anew: false,
                images: [also, left.read.as_slice()].concat(),
            }));
        }
        match self
            .work_on(also, &Promised::Nothing, manner, true, told)
            .await
        {
            Ok(left) => {
                let images = left.all();
                if images.is_empty() {
                    return Ok(Ok(Left::default()));
                }
                Ok(Ok(Left {
                    sweep_after: done_to,
                    sweep_anew: done_to.is_none(),
                    images,
                }))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn request(&self, request: &Request) -> Result<Answer, Error> {
        let attempts = self.retry.attempts();
        let observer = self.observer();
        let ids = [request.image];
        let mut seen = std::pin::pin!(observer.images(&ids, &Promised::Nothing));
        let (allow_list, seen) = tokio::join!(self.rulebooks.fresh(FRESH, &attempts), seen.next());
        let mut told = Told::new(Report::listing_all(), &self.origin);
        let done = match (allow_list, seen) {
            (Err(error), _) => Err(error),
            (Ok(_), Some(Seen::Image(fresh))) => {
                let reconciler = self.reconciler(self.manner(true, true));
                reconciler.by_request(fresh, request, &attempts).await
            }
            (Ok(_), Some(Seen::Record(record))) => Ok(Reconciled::only(*record)),
            (Ok(_), None) => {
                let record = ImageRecord::skipped(request.image, SkipReason::NotFound);
                Ok(Reconciled::only(record))
            }
        };
        let left = done.map(|reconciled| {
            told.tell(reconciled);
            Left::default()
        });
        self.end(told.report, left, false)
    }

    async fn work_on(
        &self,
        images: &[ImageId],
        promised: &Promised,
        manner: Manner,
        several: bool,
        told: &mut Told<'_>,
    ) -> Result<NotBegun, PolicyError> {
        let (left, _) = self
            .work_on_parts(one_part(images), promised, manner, several, told)
            .await?;
        Ok(left)
    }

    async fn work_on_parts(
        &self,
        parts: impl Stream<Item = Vec<ImageId>>,
        promised: &Promised,
        manner: Manner,
        several: bool,
        told: &mut Told<'_>,
    ) -> Result<(NotBegun, Option<ImageId>), PolicyError> {
        let crowd = Crowd {
            observer: self.observer(),
            retry: self.retry,
            rulebooks: self.rulebooks,
            last_start: self.last_start,
        };
        let reconciler = self.reconciler(manner);
        let (retry, reconciler) = (self.retry, &reconciler);
        let begin = move |fresh: Fresh| async move {
            let attempts = if several {
                retry.attempts_for(IMAGE_TIMEOUT)
            } else {
                retry.attempts()
            };
            reconciler.by_tags(fresh, &attempts).await
        };
        crowd
            .work_on(parts, promised, &begin, &mut |done| told.tell(done))
            .await
    }

    /// Looks once more at the images that were written by an older policy than the one that holds now.
    /// The ids that were not begun any more.
    async fn look_once_more(
        &self,
        manner: Manner,
        told: &mut Told<'_>,
    ) -> Result<Vec<ImageId>, PolicyError> {
        if manner.recheck_policy {
            return Ok(Vec::new());
        }
        loop {
            if told.written.is_empty() || !self.rulebooks.can_change() {
                return Ok(Vec::new());
            }
            let now = self
                .rulebooks
                .fresh(Duration::ZERO, &self.retry.attempts())
                .await?;
            let again = told.written_otherwise(&now);
            if again.is_empty() {
                return Ok(Vec::new());
            }
            if Instant::now() >= self.last_start {
                return Ok(again);
            }
            told.once_more = true;
            let left = self
                .work_on(&again, &Promised::Nothing, manner, true, told)
                .await?
                .all();
            if !left.is_empty() {
                return Ok(left);
            }
        }
    }

    /// Writes the metrics, and turns the end into an answer or into the error that keeps the event.
    fn end(
        &self,
        report: Report,
        left: Result<Left, PolicyError>,
        is_sweep: bool,
    ) -> Result<Answer, Error> {
        let sweep_finished = is_sweep && matches!(&left, Ok(left) if left.is_empty());
        let metrics = InvocationMetrics {
            function_name: self.warden.name.as_deref(),
            calls: self.retry.calls(),
            duration: self.started.elapsed(),
            cold_start: self.cold_start,
            sweep_finished,
        };
        report.metrics().write(&metrics, Utc::now());
        let left = left.map_err(Error::InvalidPolicy)?;
        let ending = self.ending(&report, left, is_sweep);
        match ending {
            Ending::Finished => Ok(report.answer(self.trigger, self.dry_run, None)),
            Ending::Continues(rest) => Ok(report.answer(self.trigger, self.dry_run, Some(rest))),
            Ending::Failed(rest) => {
                let answer = report
                    .answer(self.trigger, self.dry_run, rest)
                    .only_failed();
                Err(Error::ImagesFailed(Box::new(answer)))
            }
        }
    }

    /// Failed images travel with the rest while the chain gets on. A link that finishes no image ends
    /// it, and so does one that would carry too many; the last link fails if images still do.
    fn ending(&self, report: &Report, left: Left, is_sweep: bool) -> Ending {
        let failed = report.failed_count();
        if left.is_empty() {
            return if failed == 0 {
                Ending::Finished
            } else {
                Ending::Failed(None)
            };
        }
        let mut images = left.images;
        let known: BTreeSet<ImageId> = images.iter().copied().collect();
        let carried = report.failed().iter().take(FAILED_CARRIED_MAX);
        images.extend(carried.filter(|id| !known.contains(id)));
        let rest = Continue {
            sweep: is_sweep && (left.sweep_after.is_some() || left.sweep_anew),
            after: left.sweep_after,
            images,
            dry_run: self.dry_run,
        };
        if report.finished() == 0 || failed > FAILED_CARRIED_MAX {
            Ending::Failed(Some(rest))
        } else {
            Ending::Continues(rest)
        }
    }

    fn manner(&self, explain: bool, recheck_policy: bool) -> Manner {
        let recheck_policy = recheck_policy && self.rulebooks.can_change();
        Manner {
            dry_run: self.dry_run,
            explain,
            recheck_policy,
        }
    }

    fn observer(&self) -> Observer<'_, E> {
        let Settings {
            tag_prefix,
            status_tag,
            rulebook,
            ..
        } = &self.warden.settings;
        let scope = TagScope {
            prefix: tag_prefix,
            any_tag: rulebook.policy_path.is_some(),
            status_tag: status_tag.as_deref(),
        };
        Observer {
            ec2: &self.warden.ec2,
            retry: self.retry,
            scope,
        }
    }

    fn reconciler(&self, manner: Manner) -> Reconciler<'_, E, K, P> {
        let settings = &self.warden.settings;
        Reconciler {
            ec2: &self.warden.ec2,
            observer: self.observer(),
            facts: self.facts,
            rulebooks: self.rulebooks,
            settings: ImageSettings {
                organization: settings.rulebook.organization.as_ref(),
                partition: settings.partition,
                tag_prefix: &settings.tag_prefix,
                status_tag: settings.status_tag.as_deref(),
            },
            manner,
            clock: Utc::now,
        }
    }
}

impl<'a> Told<'a> {
    fn new(report: Report, origin: &'a Origin) -> Self {
        Self {
            report,
            origin,
            rulebooks: Vec::new(),
            written: Vec::new(),
            once_more: false,
        }
    }

    fn tell(&mut self, reconciled: Reconciled) {
        let Reconciled { record, written_by } = reconciled;
        if let Some(rulebook) = written_by {
            let place = self.place_of(rulebook);
            self.written.push((record.id, place));
        }
        // An image that was looked at once more and is as wanted was told of before.
        if self.once_more && record.outcome == Outcome::Unchanged {
            return;
        }
        trail::write(&record, self.origin);
        self.report.add(&record);
    }

    /// Rulebooks are read many times and change rarely: equal ones are kept once.
    fn place_of(&mut self, rulebook: Rc<Rulebook>) -> usize {
        let known = self
            .rulebooks
            .iter()
            .rposition(|known| known.same_rules(&rulebook));
        known.unwrap_or_else(|| {
            self.rulebooks.push(rulebook);
            self.rulebooks.len() - 1
        })
    }

    /// Takes the images out that another rulebook than this one wrote.
    fn written_otherwise(&mut self, now: &Rulebook) -> Vec<ImageId> {
        let holds: Vec<bool> = self
            .rulebooks
            .iter()
            .map(|known| known.same_rules(now))
            .collect();
        let mut otherwise = BTreeSet::new();
        self.written.retain(|(id, place)| {
            let still_holds = holds.get(*place).copied().unwrap_or(false);
            if !still_holds {
                otherwise.insert(*id);
            }
            still_holds
        });
        otherwise.into_iter().collect()
    }
}

impl Left {
    fn of_images(images: Vec<ImageId>) -> Self {
        Self {
            images,
            ..Self::default()
        }
    }

    fn is_empty(&self) -> bool {
        self.images.is_empty() && self.sweep_after.is_none() && !self.sweep_anew
    }

    /// The same, with a sweep from the beginning for more images than an answer can name.
    fn bounded(self) -> Self {
        if self.images.len() <= CARRIED_MAX {
            return self;
        }
        Self {
            sweep_after: None,
            sweep_anew: true,
            images: Vec::new(),
        }
    }
}

/// Why a sweep for a changed parameter does not start: a newer change has an event of its own.
fn superseded(changed: Option<DateTime<Utc>>, newest: Option<DateTime<Utc>>) -> Option<String> {
    let (changed, newest) = (changed?, newest?);
    if changed.timestamp() >= newest.timestamp() {
        return None;
    }
    Some(format!(
        "superseded: the policy changed again at {}, and that change has an event of its own",
        newest.format("%Y-%m-%dT%H:%M:%SZ")
    ))
}
