//! One invocation, from event to answer.

use std::{cell::Cell, time::Duration};

use ami_warden_core::{
    DecodeContext, Event, EventError, ImageId, Job, Malformed, Origin, Promised, Request, Task,
    Trigger,
};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    left::{Ending, Left},
    settings::Settings,
    time_budget::TimeBudget,
    told::Told,
};
use crate::{
    act::{
        call_error::CallError,
        crowd::{Crowd, NotBegun, one_part},
        facts::FactReader,
        observe::{Fresh, Observer, Seen},
        ports::{Ec2Write, Keys, Parameters},
        reconcile::{Manner, READ_AGE_MAX, Reconciled, Reconciler},
        record::{ImageRecord, SkipReason},
        retry::Retry,
        rulebook::{RuleSource, Rulebook, RulebookError, Rulebooks},
        sweep::{self, Lister, Progress},
    },
    tell::{
        answer::{Answer, SweepFrom},
        metrics::InvocationMetrics,
        report::Report,
    },
};

/// How long one image of several may take. One that takes longer has failed, and its event comes
/// again.
pub const IMAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The function: its settings and clients, made once at the cold start.
#[derive(Debug)]
pub struct Warden<E, K, P> {
    /// The settings of the deployment.
    pub settings: Settings,
    pub ec2: E,
    pub keys: K,
    pub parameters: P,
    /// The function's name, for its metrics.
    pub name: Option<String>,
    /// Whether no invocation was begun yet.
    cold: Cell<bool>,
}

/// Why an invocation fails, so that Lambda keeps its event.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// A payload sent by hand that is not JSON.
    #[error("the event is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// A recognised event that lacks a needed field.
    #[error("{0}")]
    InvalidEvent(Malformed),
    /// JSON sent by hand that asks for nothing that can be done.
    #[error("{0}")]
    InvalidRequest(Malformed),
    /// Rules or the allow-list that cannot be read: nothing is done on half a policy.
    #[error("{0}. ami-warden does nothing until you correct it.")]
    InvalidPolicy(#[from] RulebookError),
    /// Images that failed after all others were finished.
    #[error("{0}")]
    ImagesFailed(Box<Answer>),
    /// A sweep that could not list the images.
    #[error("{0}")]
    SweepFailed(CallError),
}

impl InvocationError {
    /// The stable name of the kind of error: `errorType` in Lambda's answer.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidEvent(_) => "InvalidEvent",
            Self::NotJson(_) | Self::InvalidRequest(_) => "InvalidRequest",
            Self::InvalidPolicy(_) => "InvalidPolicy",
            Self::ImagesFailed(_) => "ImagesFailed",
            Self::SweepFailed(_) => "SweepFailed",
        }
    }
}

impl From<EventError> for InvocationError {
    fn from(error: EventError) -> Self {
        match error {
            EventError::Event(malformed) => Self::InvalidEvent(malformed),
            EventError::Request(malformed) => Self::InvalidRequest(malformed),
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
    /// See [`InvocationError`]. A refusal is not an error.
    pub async fn handle(
        &self,
        event: &Value,
        requests_allowed: bool,
        time: TimeBudget,
    ) -> Result<Answer, InvocationError> {
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
        let rules = match job.task {
            Task::Request(_) => RuleSource::Ignored,
            Task::Look { .. } | Task::Sweep { .. } => RuleSource::Stored,
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

impl<E: Ec2Write, K: Keys, P: Parameters> Invocation<'_, E, K, P> {
    async fn run(self, job: Job) -> Result<Answer, InvocationError> {
        match job.task {
            Task::Look { images, promised } => self.look(&images, &promised).await,
            Task::Sweep {
                after,
                also,
                changed,
            } => self.sweep(after, &also, changed).await,
            Task::Request(request) => self.request(&request).await,
        }
    }

    async fn look(
        &self,
        images: &[ImageId],
        promised: &Promised,
    ) -> Result<Answer, InvocationError> {
        let mut told = Told::new(Report::listing_all(), &self.origin);
        let left = self.look_at(images, promised, &mut told).await;
        self.end(told.report, left, false)
    }

    async fn look_at(
        &self,
        images: &[ImageId],
        promised: &Promised,
        told: &mut Told<'_>,
    ) -> Result<Left, InvocationError> {
        let several = images.len() > 1;
        let manner = self.manner(self.trigger == Trigger::Request, !several);
        let left = self
            .work_on(images, promised, manner, several, told)
            .await?;
        let more = self.look_once_more(manner, told).await?;
        Ok(Left::of_images([left.all(), more].concat()))
    }

    async fn sweep(
        &self,
        after: Option<ImageId>,
        also: &[ImageId],
        changed: Option<DateTime<Utc>>,
    ) -> Result<Answer, InvocationError> {
        let mut told = Told::new(Report::of_sweep(), &self.origin);
        let rulebook = match self
            .rulebooks
            .fresh(READ_AGE_MAX, &self.retry.attempts())
            .await
        {
            Ok(rulebook) => rulebook,
            Err(error) => return self.end(told.report, Err(error.into()), true),
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
        let left = self.sweep_estate(&rulebook, after, also, &mut told).await;
        self.end(told.report, left.map(Left::bounded), true)
    }

    /// Works on the estate, which is listed meanwhile, and then on the images beside it.
    async fn sweep_estate(
        &self,
        rulebook: &Rulebook,
        after: Option<ImageId>,
        also: &[ImageId],
        told: &mut Told<'_>,
    ) -> Result<Left, InvocationError> {
        let Settings {
            tag_prefix,
            status_tag,
            ..
        } = &self.warden.settings;
        let kinds = sweep::kinds_of_images(
            rulebook.policy.has_rules(),
            tag_prefix,
            status_tag.as_deref(),
        );
        let lister = Lister::new(&self.warden.ec2, self.retry, kinds, after);
        let mut progress = Progress::default();
        let parts = lister.parts(&mut progress);
        let manner = self.manner(false, false);
        let worked = self
            .work_on_parts(parts, &Promised::Nothing, manner, true, told)
            .await;
        if progress.unreadable > 0 {
            told.report
                .note(&sweep::unreadable_note(progress.unreadable));
        }
        let (not_begun, taken) = worked?;
        let goes_on = taken
            .or(after)
            .map_or(SweepFrom::Beginning, SweepFrom::After);
        let is_listed = match progress.end {
            Some(Err(error)) => return Err(InvocationError::SweepFailed(error)),
            Some(Ok(())) => true,
            None => false,
        };
        let mut left = Left::default();
        if is_listed && not_begun.is_empty() {
            left.images = self
                .work_on(also, &Promised::Nothing, manner, true, told)
                .await?
                .all();
            left.sweep = (!left.images.is_empty()).then_some(goes_on);
        } else {
            left.images = [also, not_begun.read.as_slice()].concat();
            left.sweep = Some(goes_on);
        }
        left.images.extend(self.look_once_more(manner, told).await?);
        Ok(left)
    }

    async fn request(&self, request: &Request) -> Result<Answer, InvocationError> {
        let attempts = self.retry.attempts();
        let observer = self.observer();
        let ids = [request.image];
        let mut seen = std::pin::pin!(observer.images(&ids, &Promised::Nothing));
        let (allow_list, seen) =
            tokio::join!(self.rulebooks.fresh(READ_AGE_MAX, &attempts), seen.next());
        let mut told = Told::new(Report::listing_all(), &self.origin);
        let done = match (allow_list, seen) {
            (Err(error), _) => Err(error),
            (Ok(_), Some(Seen::Image(fresh))) => {
                let reconciler = self.reconciler(self.manner(true, true), &Promised::Nothing);
                reconciler.by_request(fresh, request, &attempts).await
            }
            (Ok(_), Some(Seen::Record(record))) => Ok(Reconciled::only(*record)),
            (Ok(_), None) => {
                let record = ImageRecord::skipped(request.image, SkipReason::NotFound);
                Ok(Reconciled::only(record))
            }
        };
        let left = match done {
            Ok(reconciled) => {
                told.tell(reconciled);
                Ok(Left::default())
            }
            Err(error) => Err(error.into()),
        };
        self.end(told.report, left, false)
    }

    async fn work_on(
        &self,
        images: &[ImageId],
        promised: &Promised,
        manner: Manner,
        several: bool,
        told: &mut Told<'_>,
    ) -> Result<NotBegun, RulebookError> {
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
    ) -> Result<(NotBegun, Option<ImageId>), RulebookError> {
        let crowd = Crowd {
            observer: self.observer(),
            retry: self.retry,
            rulebooks: self.rulebooks,
            last_start: self.last_start,
        };
        let reconciler = self.reconciler(manner, promised);
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

    /// Looks once more at the images that were written by an older policy than the one that holds
    /// now. The ids that were not begun any more.
    async fn look_once_more(
        &self,
        manner: Manner,
        told: &mut Told<'_>,
    ) -> Result<Vec<ImageId>, RulebookError> {
        if manner.recheck_policy {
            return Ok(Vec::new());
        }
        loop {
            if !told.has_written() || !self.rulebooks.can_change() {
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
        left: Result<Left, InvocationError>,
        is_sweep: bool,
    ) -> Result<Answer, InvocationError> {
        let sweep_finished = is_sweep && matches!(&left, Ok(left) if left.is_empty());
        let metrics = InvocationMetrics {
            function_name: self.warden.name.as_deref(),
            calls: self.retry.calls(),
            duration: self.started.elapsed(),
            cold_start: self.cold_start,
            sweep_finished,
        };
        report.metrics().write(&metrics, Utc::now());
        match left?.ending(&report, self.dry_run) {
            Ending::Finished => Ok(report.answer(self.trigger, self.dry_run, None)),
            Ending::Continues(rest) => Ok(report.answer(self.trigger, self.dry_run, Some(rest))),
            Ending::Failed(rest) => {
                let answer = report
                    .answer(self.trigger, self.dry_run, rest)
                    .only_failed();
                Err(InvocationError::ImagesFailed(Box::new(answer)))
            }
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
        Observer {
            ec2: &self.warden.ec2,
            retry: self.retry,
            scope: self.warden.settings.tag_scope(),
        }
    }

    fn reconciler<'b>(&'b self, manner: Manner, promised: &'b Promised) -> Reconciler<'b, E, K, P> {
        Reconciler {
            ec2: &self.warden.ec2,
            observer: self.observer(),
            facts: self.facts,
            rulebooks: self.rulebooks,
            settings: self.warden.settings.image_settings(),
            manner,
            promised,
            clock: Utc::now,
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

#[cfg(test)]
mod tests;
