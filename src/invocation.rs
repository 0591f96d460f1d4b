//! One invocation, from event to answer: what flows where.

use std::{cell::Cell, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    event::{Event, EventError, Expect, Job, Origin, Surroundings, Trigger, Work},
    image::ImageId,
    limits::{Heeded, Limits},
    metrics::Effort,
    outcome::{Answer, Continue, Entry, Report},
    patience::Patience,
    policy::PolicyError,
    ports::{CallError, Ec2Write, Parameters},
    reconcile::{Found, Observer, Reconciler},
    request::Request,
    settings::Settings,
    sweep,
};

/// How many images are worked on at the same time. More would only wait for EC2's rate limits.
pub const AT_ONCE: usize = 16;

/// How many ids one `DescribeImages` takes as values of its filter: 200.
pub const IDS_A_CALL: usize = 200;

/// The function: its settings and what it needs of AWS, made once at the cold start.
#[derive(Debug)]
pub struct Function<E, P> {
    /// What was set at deployment.
    pub settings: Settings,
    /// EC2.
    pub ec2: E,
    /// Parameter Store.
    pub parameters: P,
    /// Whether nothing was handled yet.
    cold: Cell<bool>,
}

/// Why an invocation fails, so that Lambda keeps its event.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A recognised event that lacks what is needed.
    #[error("{0}")]
    InvalidEvent(String),
    /// JSON sent by hand that asks for nothing that can be done.
    #[error("{0}")]
    InvalidRequest(String),
    /// Rules or the allow-list that cannot be read: nothing is done on half a policy.
    #[error("{0}")]
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

/// How much time an invocation has, and how much of it it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// No further image is begun after this.
    last_start: Instant,
    /// No call goes on after this.
    end: Instant,
}

impl Time {
    /// Divides what is left until Lambda's deadline: a tenth, at most a second, to answer in, and before that a fifth, at most five
    /// seconds, to finish what was begun.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        let end = deadline - (left / 10).min(Duration::from_secs(1));
        Self { last_start: end - (left / 5).min(Duration::from_secs(5)), end }
    }
}

/// How far an invocation came.
#[derive(Debug)]
struct Progress {
    report: Report,
    /// How many of the images it works on, from the front, were begun.
    begun: usize,
}

impl<E: Ec2Write, P: Parameters> Function<E, P> {
    /// A function that has not handled anything yet.
    #[must_use]
    pub fn new(settings: Settings, ec2: E, parameters: P) -> Self {
        Self { settings, ec2, parameters, cold: Cell::new(true) }
    }

    /// Does what the event asks for.
    ///
    /// # Errors
    /// See [`Error`]. A refusal is no error.
    pub async fn handle(&self, event: &Value, now: DateTime<Utc>, time: Time) -> Result<Answer, Error> {
        let surroundings = Surroundings { policy_path: self.settings.policy_path.as_deref(), partition: self.settings.partition };
        let job = match Event::parse(event, surroundings)? {
            Event::Ignored { reason } => return Ok(Answer::ignored(reason, self.settings.dry_run)),
            Event::Job(job) => job,
        };
        let invocation = Invocation {
            function: self,
            patience: Patience::until(time.end),
            last_start: time.last_start,
            trigger: job.trigger,
            origin: Origin::of(event),
            started: Instant::now(),
            dry_run: job.dry_run || self.settings.dry_run,
            now,
        };
        // Boxed, as the whole state of an invocation is too much for one type to hold.
        Box::pin(invocation.run(job)).await
    }
}

/// One invocation at work.
struct Invocation<'a, E, P> {
    function: &'a Function<E, P>,
    patience: Patience,
    last_start: Instant,
    trigger: Trigger,
    origin: Origin,
    started: Instant,
    dry_run: bool,
    now: DateTime<Utc>,
}

impl<E: Ec2Write, P: Parameters> Invocation<'_, E, P> {
    async fn run(self, job: Job) -> Result<Answer, Error> {
        match job.work {
            Work::Look { images, expect } => self.look(&images, expect).await,
            Work::Sweep { after, also } => self.sweep(after, &also).await,
            Work::Request(request) => self.request(&request).await,
        }
    }

    async fn look(&self, images: &[ImageId], expect: Expect) -> Result<Answer, Error> {
        let first = &images[..images.len().min(IDS_A_CALL)];
        let observer = self.observer();
        let (limits, found) = tokio::join!(self.limits(Heeded::Policy), observer.images(first, expect));
        let mut progress = Progress { report: Report::of_everything(), begun: 0 };
        self.work_on(images, &limits?, Some(found), &mut progress).await;
        self.answer(progress.report, None, &images[progress.begun..])
    }

    async fn request(&self, request: &Request) -> Result<Answer, Error> {
        let (observer, image) = (self.observer(), [request.image]);
        let (limits, found) = tokio::join!(self.limits(Heeded::Nothing), observer.images(&image, Expect::Nothing));
        let limits = limits?;
        let mut report = Report::of_everything();
        let entry = match found.map(|mut found| found.pop()) {
            Ok(Some(Found::Image(image))) => self.reconciler(&limits).by_request(&image, request).await,
            Ok(Some(Found::Entry(entry))) => *entry,
            Ok(None) => Entry::skipped(request.image, "not-found"),
            Err(error) => Entry::failed(request.image, error),
        };
        entry.log(&self.origin);
        report.add(entry);
        self.answer(report, None, &[])
    }

    async fn sweep(&self, after: Option<ImageId>, also: &[ImageId]) -> Result<Answer, Error> {
        let limits = self.limits(Heeded::Policy).await?;
        let rules = limits.policy.has_rules();
        let ids = sweep::list(&self.function.ec2, &self.patience, &self.function.settings.tag_prefix, rules)
            .await
            .map_err(Error::SweepFailed)?;
        let ids = &ids[ids.partition_point(|id| Some(*id) <= after)..];
        let mut progress = Progress { report: Report::of_a_sweep(), begun: 0 };
        self.work_on(ids, &limits, None, &mut progress).await;
        if let (begun @ 1.., [_, ..]) = (progress.begun, &ids[progress.begun..]) {
            return self.answer(progress.report, Some(ids[begun - 1]), also);
        }
        progress.begun = 0;
        self.work_on(also, &limits, None, &mut progress).await;
        self.answer(progress.report, None, &also[progress.begun..])
    }

    /// Works on the images in their order, as many at once as is sensible, until all are begun or it is too late to begin another.
    /// The first one is always begun, so that a chain of invocations gets on.
    async fn work_on(
        &self,
        images: &[ImageId],
        limits: &Limits,
        mut first: Option<Result<Vec<Found>, CallError>>,
        progress: &mut Progress,
    ) {
        let (reconciler, observer) = (&self.reconciler(limits), &self.observer());
        let too_late = || Instant::now() >= self.last_start;
        // The next batch is read while the last images of the one before are still worked on.
        let found = stream::iter(images.chunks(IDS_A_CALL))
            .map(|ids| (ids, first.take()))
            .enumerate()
            .then(|(batch, (ids, read))| async move {
                let found = match read {
                    Some(found) => found,
                    None if batch > 0 && too_late() => return Vec::new(),
                    None => observer.images(ids, Expect::Nothing).await,
                };
                found.unwrap_or_else(|error| {
                    let failed = |id: &ImageId| Found::Entry(Box::new(Entry::failed(*id, error.clone())));
                    ids.iter().map(failed).collect()
                })
            })
            .flat_map(stream::iter);
        // Each looks at the clock when its turn comes, not when it is made.
        let entries = found
            .enumerate()
            .map(|(place, found)| async move {
                let entry = match found {
                    _ if place > 0 && too_late() => return None,
                    Found::Entry(entry) => *entry,
                    Found::Image(image) => reconciler.by_tags(&image).await,
                };
                entry.log(&self.origin);
                Some(entry)
            })
            .buffered(AT_ONCE);
        // In their order, so that what was begun is the front of the list.
        let mut entries = std::pin::pin!(entries);
        while let Some(Some(entry)) = entries.next().await {
            progress.report.add(entry);
            progress.begun += 1;
        }
    }

    /// The answer, or the error that keeps the event, depending on what failed and what is left.
    fn answer(&self, report: Report, after: Option<ImageId>, rest: &[ImageId]) -> Result<Answer, Error> {
        let effort = Effort {
            calls: self.patience.calls(),
            duration: self.started.elapsed(),
            cold_start: self.function.cold.replace(false),
        };
        for line in report.metrics().lines(effort, self.now) {
            tracing::info!(event = "metrics", json = line);
        }
        let failed = report.failed();
        let work_is_left = after.is_some() || !rest.is_empty();
        // Failed images travel with the rest while this chain gets anywhere. One that only fails must end, and so does its last link.
        let goes_on = work_is_left && (after.is_some() || report.finished() > 0);
        let next = work_is_left.then(|| Continue {
            after,
            images: rest.iter().chain(failed.iter().filter(|id| !rest.contains(id))).copied().collect(),
            dry_run: self.dry_run,
        });
        let answer = report.answer(self.trigger, self.dry_run, next);
        if goes_on || (failed.is_empty() && !work_is_left) {
            Ok(answer)
        } else {
            Err(Error::ImagesFailed(Box::new(answer.only_failed())))
        }
    }

    async fn limits(&self, heeded: Heeded<'_>) -> Result<Limits, Error> {
        let Function { settings, parameters, .. } = self.function;
        Limits::read(settings, parameters, &self.patience, heeded).await.map_err(Error::InvalidPolicy)
    }

    fn observer(&self) -> Observer<'_, E> {
        Observer { ec2: &self.function.ec2, patience: &self.patience }
    }

    fn reconciler<'a>(&'a self, limits: &'a Limits) -> Reconciler<'a, E> {
        let settings = &self.function.settings;
        Reconciler {
            ec2: &self.function.ec2,
            patience: &self.patience,
            guardrails: &limits.guardrails,
            context: limits.context(settings),
            tag_prefix: &settings.tag_prefix,
            status_tag: settings.status_tag.as_deref(),
            dry_run: self.dry_run,
            explain: self.trigger == Trigger::Request,
            now: self.now,
        }
    }
}
