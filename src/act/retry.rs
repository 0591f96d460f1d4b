//! Trying again: backoff for faults, a learned pace for throttling, and never beyond the time that
//! the invocation or the image has.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    pin::pin,
    rc::Rc,
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    call_error::{CallError, ErrorKind},
    pace::{Feedback, Pace},
    ports::Page,
};

/// After so many faults a call has failed: ten to twenty seconds of backoff.
const FAULTS_MAX: u32 = 8;

/// How long "not yet" is believed.
const NOT_YET_TIMEOUT: Duration = Duration::from_secs(30);

/// With less time left, a call is not tried again.
const TRY_TIME_MIN: Duration = Duration::from_millis(50);

/// Shared by all calls of one invocation: its time, what it learned of each operation's limit, and
/// its requests.
#[derive(Debug)]
pub struct Retry {
    deadline: Instant,
    paces: RefCell<BTreeMap<&'static str, Rc<Pace>>>,
    calls: Cell<u64>,
    streaks: Cell<u64>,
}

impl Retry {
    /// Tries until the deadline. No call goes on beyond it.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            paces: RefCell::default(),
            calls: Cell::new(0),
            streaks: Cell::new(0),
        }
    }

    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How many requests went out so far: each page and each try.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Delays with jitter that double from 100 ms to 5 s.
    #[must_use]
    pub fn backoff() -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times()
            .build()
    }

    /// Attempts that only the deadline limits.
    #[must_use]
    pub fn attempts(&self) -> Attempts<'_> {
        Attempts::new(self, None)
    }

    /// Attempts of one image, with a budget: the time in calls and in backoff counts. Time in the
    /// queue of a busy operation does not, since it is not the image's fault; in that of a stuck
    /// one it does, since nothing would end it.
    #[must_use]
    pub fn attempts_for(&self, budget: Duration) -> Attempts<'_> {
        Attempts::new(self, Some(budget))
    }

    /// When another image may be begun: now, or when the queues of all operations with a limit are
    /// short again. An operation that lets nothing through does not count.
    #[must_use]
    pub fn next_start(&self) -> Instant {
        let now = Instant::now();
        let paces = self.paces.borrow();
        paces
            .values()
            .map(|pace| pace.next_start(now))
            .max()
            .unwrap_or(now)
    }

    fn pace(&self, operation: &'static str) -> Rc<Pace> {
        let mut paces = self.paces.borrow_mut();
        let pace = paces
            .entry(operation)
            .or_insert_with(|| Rc::new(Pace::new(Instant::now())));
        Rc::clone(pace)
    }
}

/// Makes the calls of one image, or of something else that has its own time.
#[derive(Debug)]
pub struct Attempts<'a> {
    retry: &'a Retry,
    budget: Option<Duration>,
    stopwatch: Stopwatch,
    not_yet_since: Cell<Option<Instant>>,
    /// Of calls by [`Self::send`], by operation.
    troubles: RefCell<BTreeMap<&'static str, Trouble>>,
}

impl<'a> Attempts<'a> {
    fn new(retry: &'a Retry, budget: Option<Duration>) -> Self {
        Self {
            retry,
            budget,
            stopwatch: Stopwatch::new(Instant::now()),
            not_yet_since: Cell::new(None),
            troubles: RefCell::default(),
        }
    }

    /// Makes the call at the operation's pace, and again after a backoff while it is throttled or
    /// fails for reasons that may pass. "Not yet" is the caller's to judge: the image may be gone.
    ///
    /// # Errors
    /// The last error, when it will not pass, has lasted too long, or the time is up.
    pub async fn call<T>(
        &self,
        operation: &'static str,
        attempt: impl AsyncFn() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut trouble = Trouble::default();
        let mut last = None;
        loop {
            if let Err(error) = self.queue(operation, trouble.throttled).await {
                return Err(last.unwrap_or(error));
            }
            let error = match self.once(operation, &mut trouble, &attempt).await {
                Ok(value) => return Ok(value),
                Err(Failure::CutOff) => {
                    return Err(last.unwrap_or_else(|| CallError::timeout(operation)));
                }
                Err(Failure::Answered(error)) => error,
            };
            if error.kind == ErrorKind::NotYet || !self.pause(&mut trouble, &error).await {
                return Err(error);
            }
            last = Some(error);
        }
    }

    /// All pages of an answer. Each is tried again by itself: a fault costs one page.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn pages<T>(
        &self,
        operation: &'static str,
        page: impl AsyncFn(Option<&str>) -> Result<Page<T>, CallError>,
    ) -> Result<Vec<T>, CallError> {
        let all = self.pages_up_to(usize::MAX, operation, page).await?;
        Ok(all.unwrap_or_default())
    }

    /// The same; `None` if there are more pages than that.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn pages_up_to<T>(
        &self,
        pages_max: usize,
        operation: &'static str,
        page: impl AsyncFn(Option<&str>) -> Result<Page<T>, CallError>,
    ) -> Result<Option<Vec<T>>, CallError> {
        let mut items = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..pages_max {
            let call = async || page(token.as_deref()).await;
            let read = self.call(operation, call).await?;
            items.extend(read.items);
            token = read.next;
            if token.is_none() {
                return Ok(Some(items));
            }
        }
        Ok(None)
    }

    /// Waits until the operation's pace allows one request.
    ///
    /// # Errors
    /// When the time is up before that. With the code of throttled calls, if the operation lets
    /// nothing through.
    pub async fn slot(&self, operation: &'static str) -> Result<(), CallError> {
        let throttled = self
            .troubles
            .borrow()
            .get(operation)
            .map_or(0, |trouble| trouble.throttled);
        self.queue(operation, throttled).await
    }

    async fn queue(
        &self,
        operation: &'static str,
        throttled_in_a_row: u32,
    ) -> Result<(), CallError> {
        let pace = self.retry.pace(operation);
        let mut turn = pin!(pace.turn(throttled_in_a_row));
        while self.left() > Duration::ZERO {
            let stuck = pace.stuck();
            let check = Instant::now() + self.left().max(TRY_TIME_MIN);
            let turned = timeout_at(check.min(self.retry.deadline), &mut turn).await;
            self.stopwatch.add(pace.stuck().saturating_sub(stuck));
            if turned.is_ok() {
                return Ok(());
            }
        }
        Err(pace
            .refusal()
            .unwrap_or_else(|| CallError::timeout(operation)))
    }

    /// Makes the call once, now, and cuts it off when the time is up.
    ///
    /// # Errors
    /// The call's.
    pub async fn send<T>(
        &self,
        operation: &'static str,
        attempt: impl AsyncFn() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut trouble = self.take_trouble(operation);
        let sent = self.once(operation, &mut trouble, &attempt).await;
        if sent.is_err() {
            self.troubles.borrow_mut().insert(operation, trouble);
        }
        sent.map_err(|failure| match failure {
            Failure::CutOff => CallError::timeout(operation),
            Failure::Answered(error) => error,
        })
    }

    /// Waits before a call is tried again. False if it will not pass, has lasted too long, or the
    /// time is up.
    pub async fn back_off(&self, error: &CallError) -> bool {
        let mut trouble = self.take_trouble(error.operation);
        let again = self.pause(&mut trouble, error).await;
        self.troubles.borrow_mut().insert(error.operation, trouble);
        again
    }

    /// Waits for the delay. False, at once, if the time is up before that.
    pub async fn wait(&self, delay: Duration) -> bool {
        let _counted = self.stopwatch.start();
        if delay >= self.left() {
            return false;
        }
        sleep(delay).await;
        true
    }

    async fn once<T>(
        &self,
        operation: &'static str,
        trouble: &mut Trouble,
        attempt: &impl AsyncFn() -> Result<T, CallError>,
    ) -> Result<T, Failure> {
        let left = self.left();
        if left.is_zero() {
            return Err(Failure::CutOff);
        }
        let _counted = self.stopwatch.start();
        let sent = Instant::now();
        self.retry.calls.set(self.retry.calls.get() + 1);
        // On the heap while it lasts: futures around a large one hold it several times over.
        let attempt = Box::pin(attempt());
        let result = timeout_at(sent + left, attempt).await;
        let feedback = match &result {
            Err(_) => Feedback::Fault,
            Ok(Err(error)) => trouble.feedback(error.kind, &self.retry.streaks),
            Ok(Ok(_)) => Feedback::LetThrough,
        };
        let pace = self.retry.pace(operation);
        pace.answered(sent, feedback);
        if let (Ok(Err(error)), Feedback::Throttled { .. }) = (&result, feedback) {
            pace.keep(error);
        }
        result
            .map_err(|_| Failure::CutOff)?
            .map_err(Failure::Answered)
    }

    async fn pause(&self, trouble: &mut Trouble, error: &CallError) -> bool {
        let _counted = self.stopwatch.start();
        let left = self.left();
        // A try at the very end of the time would be cut off: the last ones share what is left.
        let mut longest = left / 2;
        match error.kind {
            ErrorKind::Denied | ErrorKind::Refused => return false,
            ErrorKind::Throttled => {}
            ErrorKind::Transient => {
                trouble.faults += 1;
                if trouble.faults >= FAULTS_MAX {
                    return false;
                }
            }
            ErrorKind::NotYet => {
                let now = Instant::now();
                let since = self.not_yet_since.get().unwrap_or(now);
                self.not_yet_since.set(Some(since));
                let bound = NOT_YET_TIMEOUT.saturating_sub(now - since);
                if bound.is_zero() {
                    return false;
                }
                longest = longest.min(bound);
            }
        }
        if left < TRY_TIME_MIN {
            return false;
        }
        let delay = trouble.backoff.next().unwrap_or_default();
        sleep(delay.min(longest)).await;
        true
    }

    /// The time before the deadline and, if there is one, the end of the budget.
    fn left(&self) -> Duration {
        let now = Instant::now();
        let left = self.retry.deadline.saturating_duration_since(now);
        let Some(budget) = self.budget else {
            return left;
        };
        left.min(budget.saturating_sub(self.stopwatch.spent(now)))
    }

    fn take_trouble(&self, operation: &'static str) -> Trouble {
        self.troubles
            .borrow_mut()
            .remove(operation)
            .unwrap_or_default()
    }
}

/// A call that did not succeed.
enum Failure {
    CutOff,
    Answered(CallError),
}

/// What went wrong with one call so far.
#[derive(Debug)]
struct Trouble {
    backoff: ExponentialBackoff,
    faults: u32,
    /// Throttled answers in a row.
    throttled: u32,
    /// Tells them apart from other callers'.
    streak: u64,
}

impl Default for Trouble {
    fn default() -> Self {
        Self {
            backoff: Retry::backoff(),
            faults: 0,
            throttled: 0,
            streak: 0,
        }
    }
}

impl Trouble {
    fn feedback(&mut self, kind: ErrorKind, streaks: &Cell<u64>) -> Feedback {
        if kind == ErrorKind::Transient {
            return Feedback::Fault;
        }
        if kind != ErrorKind::Throttled {
            self.throttled = 0;
            return Feedback::LetThrough;
        }
        if self.throttled == 0 {
            streaks.set(streaks.get() + 1);
            self.streak = streaks.get();
        }
        self.throttled += 1;
        Feedback::Throttled {
            caller: self.streak,
            in_a_row: self.throttled,
        }
    }
}

/// Counts time in which at least one thing is under way.
#[derive(Debug)]
struct Stopwatch {
    under_way: Cell<u32>,
    since: Cell<Instant>,
    spent: Cell<Duration>,
}

impl Stopwatch {
    fn new(now: Instant) -> Self {
        Self {
            under_way: Cell::new(0),
            since: Cell::new(now),
            spent: Cell::new(Duration::ZERO),
        }
    }

    /// Counts until the guard is dropped.
    fn start(&self) -> Counted<'_> {
        if self.under_way.get() == 0 {
            self.since.set(Instant::now());
        }
        self.under_way.set(self.under_way.get() + 1);
        Counted(self)
    }

    fn spent(&self, now: Instant) -> Duration {
        let current = if self.under_way.get() > 0 {
            now - self.since.get()
        } else {
            Duration::ZERO
        };
        self.spent.get() + current
    }

    fn add(&self, time: Duration) {
        self.spent.set(self.spent.get() + time);
    }
}

struct Counted<'a>(&'a Stopwatch);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let stopwatch = self.0;
        stopwatch
            .under_way
            .set(stopwatch.under_way.get().saturating_sub(1));
        if stopwatch.under_way.get() == 0 {
            stopwatch.add(Instant::now() - stopwatch.since.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, pending, ready};

    use futures_util::{FutureExt, future::join_all, join};
    use tokio::time::sleep_until;

    use super::*;

    const OPERATION: &str = "DescribeImages";

    fn error(kind: ErrorKind) -> CallError {
        CallError {
            operation: OPERATION,
            code: "Code".into(),
            message: String::new(),
            kind,
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn retry(time: u64) -> Retry {
        Retry::until(Instant::now() + seconds(time))
    }

    /// Fails so many times, and then succeeds; counts.
    struct Failing {
        kind: ErrorKind,
        times: u32,
        made: Cell<u32>,
        last: Cell<Instant>,
    }

    impl Failing {
        fn new(kind: ErrorKind, times: u32) -> Self {
            Self {
                kind,
                times,
                made: Cell::new(0),
                last: Cell::new(Instant::now()),
            }
        }

        fn call(&self) -> Ready<Result<(), CallError>> {
            self.made.set(self.made.get() + 1);
            self.last.set(Instant::now());
            ready(if self.made.get() <= self.times {
                Err(error(self.kind))
            } else {
                Ok(())
            })
        }
    }

    async fn call(kind: ErrorKind, times: u32, time: u64) -> (Result<(), CallError>, u32) {
        let (retry, failing) = (retry(time), Failing::new(kind, times));
        let result = retry.attempts().call(OPERATION, || failing.call()).await;
        assert_eq!(retry.calls(), u64::from(failing.made.get()));
        (result, failing.made.get())
    }

    /// A write: planned anew before each try.
    async fn write(attempts: &Attempts<'_>, failing: &Failing) -> Result<(), CallError> {
        loop {
            attempts.slot(OPERATION).await?;
            let Err(error) = attempts.send(OPERATION, || failing.call()).await else {
                return Ok(());
            };
            if !attempts.back_off(&error).await {
                return Err(error);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn faults_that_pass_are_tried_again() {
        assert_eq!(call(ErrorKind::Transient, 2, 60).await, (Ok(()), 3));
    }

    #[tokio::test]
    async fn a_call_that_nothing_holds_back_waits_for_no_timer() {
        let result = call(ErrorKind::Transient, 0, 60).now_or_never();
        assert_eq!(result, Some((Ok(()), 1)));
        let retry = retry(60);
        assert_eq!(
            retry
                .attempts_for(seconds(5))
                .slot(OPERATION)
                .now_or_never(),
            Some(Ok(()))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn eight_faults_in_a_row_are_enough() {
        let failed = (Err(error(ErrorKind::Transient)), 8);
        assert_eq!(call(ErrorKind::Transient, u32::MAX, 600).await, failed);
        assert_eq!(call(ErrorKind::Transient, 7, 600).await, (Ok(()), 8));
        let retry = retry(600);
        let failing = Failing::new(ErrorKind::Transient, u32::MAX);
        assert!(write(&retry.attempts(), &failing).await.is_err());
        assert_eq!(failing.made.get(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_succeeded_starts_the_count_of_faults_anew() {
        let retry = retry(600);
        let attempts = retry.attempts();
        for _ in 0..3 {
            assert_eq!(
                write(&attempts, &Failing::new(ErrorKind::Transient, 6)).await,
                Ok(())
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_is_tried_again_as_long_as_there_is_time() {
        assert_eq!(call(ErrorKind::Throttled, 50, 600).await, (Ok(()), 51));
        let (retry, failing) = (retry(20), Failing::new(ErrorKind::Throttled, u32::MAX));
        let result = retry.attempts().call(OPERATION, || failing.call()).await;
        assert_eq!(result, Err(error(ErrorKind::Throttled)));
        assert!(retry.calls() > 6 && retry.calls() < 25, "{}", retry.calls());
        let left = retry.deadline() - failing.last.get();
        assert!(
            left > Duration::ZERO && left < Duration::from_millis(50),
            "{left:?}"
        );
        assert!(Instant::now() < retry.deadline());
    }

    #[tokio::test(start_paused = true)]
    async fn errors_that_do_not_pass_are_not_tried_again() {
        for kind in [ErrorKind::Denied, ErrorKind::Refused, ErrorKind::NotYet] {
            assert_eq!(call(kind, u32::MAX, 60).await, (Err(error(kind)), 1));
        }
        let retry = retry(60);
        for kind in [ErrorKind::Denied, ErrorKind::Refused] {
            assert!(!retry.attempts().back_off(&error(kind)).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn not_yet_is_tried_for_thirty_seconds_and_the_last_time_at_their_end() {
        let retry = retry(600);
        let attempts = retry.attempts_for(seconds(60));
        let start = Instant::now();
        let failing = Failing::new(ErrorKind::NotYet, u32::MAX);
        assert_eq!(
            write(&attempts, &failing).await,
            Err(error(ErrorKind::NotYet))
        );
        assert_eq!(failing.last.get() - start, seconds(30));
        assert_eq!(start.elapsed(), seconds(30));
        let other = CallError {
            operation: "DescribeImageAttribute",
            ..error(ErrorKind::NotYet)
        };
        assert!(!attempts.back_off(&other).await, "thirty seconds in all");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_is_cut_off_at_the_deadline() {
        let retry = retry(3);
        let result = retry
            .attempts()
            .call(OPERATION, pending::<Result<(), _>>)
            .await;
        assert_eq!(result, Err(CallError::timeout(OPERATION)));
        assert_eq!(Instant::now(), retry.deadline());
        assert_eq!(
            retry.attempts().slot(OPERATION).await,
            Err(CallError::timeout(OPERATION))
        );
        let late = retry.attempts().send(OPERATION, async || Ok(())).await;
        assert_eq!(late, Err(CallError::timeout(OPERATION)));
        assert_eq!(retry.calls(), 1, "nothing is sent after the deadline");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_cut_off_after_an_error_fails_with_that_error() {
        let retry = retry(600);
        let attempts = retry.attempts_for(seconds(4));
        let start = Instant::now();
        let failing = Failing::new(ErrorKind::Transient, 1);
        let attempt = async || {
            failing.call().await?;
            pending().await
        };
        let result: Result<(), _> = attempts.call(OPERATION, attempt).await;
        assert_eq!(result, Err(error(ErrorKind::Transient)));
        assert_eq!(start.elapsed(), seconds(4));
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_that_hangs_or_is_throttled_has_failed_at_the_end_of_its_budget() {
        let retry = retry(600);
        let start = Instant::now();
        let attempts = retry.attempts_for(seconds(60));
        let result = attempts.call(OPERATION, pending::<Result<(), _>>).await;
        assert_eq!(result, Err(CallError::timeout(OPERATION)));
        assert_eq!(start.elapsed(), seconds(60));
        assert!(
            !attempts.wait(seconds(1)).await,
            "it is used up for all its calls"
        );
        assert_eq!(
            attempts.slot(OPERATION).await,
            Err(CallError::timeout(OPERATION))
        );

        let start = Instant::now();
        let failing = Failing::new(ErrorKind::Throttled, u32::MAX);
        let attempts = retry.attempts_for(seconds(60));
        let result = attempts.call(OPERATION, || failing.call()).await;
        assert_eq!(result, Err(error(ErrorKind::Throttled)));
        assert!(start.elapsed() > seconds(59) && start.elapsed() <= seconds(60));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_at_the_same_time_count_once_for_the_budget() {
        let retry = retry(600);
        let attempts = retry.attempts_for(seconds(10));
        let slow = async || {
            sleep(seconds(4)).await;
            Ok(())
        };
        for _ in 0..2 {
            let both = join!(
                attempts.call(OPERATION, slow),
                attempts.call("DescribeTags", slow)
            );
            assert_eq!(both, (Ok(()), Ok(())));
        }
        let result = attempts.call(OPERATION, slow).await;
        assert_eq!(result, Err(CallError::timeout(OPERATION)));
    }

    #[tokio::test(start_paused = true)]
    async fn time_between_calls_does_not_count_and_a_call_beside_another_has_what_is_left() {
        let retry = retry(600);
        let attempts = retry.attempts_for(seconds(10));
        let slow = async || {
            sleep(seconds(4)).await;
            Ok(())
        };
        assert_eq!(attempts.call(OPERATION, slow).await, Ok(()));
        sleep(seconds(30)).await;
        let start = Instant::now();
        let late = async {
            sleep(seconds(3)).await;
            attempts
                .call("DescribeTags", pending::<Result<(), _>>)
                .await
        };
        let first = attempts.call(OPERATION, pending::<Result<(), _>>);
        let both = join!(first, late);
        assert_eq!(both.0, Err(CallError::timeout(OPERATION)));
        assert_eq!(both.1, Err(CallError::timeout("DescribeTags")));
        assert_eq!(start.elapsed(), seconds(6));
    }

    /// Has callers learn that the operation is throttled.
    async fn throttle(retry: &Retry, callers: usize, tries: u32) {
        let call = async |_| {
            let (attempts, failing) = (retry.attempts(), Failing::new(ErrorKind::Throttled, tries));
            let _ = attempts.call(OPERATION, || failing.call()).await;
        };
        join_all((0..callers).map(call)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_busy_operation_does_not_count_for_the_budget() {
        let retry = retry(600);
        throttle(&retry, 20, 2).await;
        let start = Instant::now();
        let image = async |_| {
            let attempts = retry.attempts_for(seconds(1));
            let quick = async || {
                sleep(Duration::from_millis(30)).await;
                Ok(())
            };
            attempts.call(OPERATION, quick).await
        };
        let results = join_all((0..100).map(image)).await;
        assert!(results.iter().all(Result::is_ok));
        assert!(start.elapsed() > seconds(3), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_stuck_operation_ends_with_the_budget() {
        let retry = retry(600);
        let start = Instant::now();
        let image = async |_| {
            let failing = Failing::new(ErrorKind::Throttled, u32::MAX);
            let attempts = retry.attempts_for(seconds(60));
            attempts.call(OPERATION, || failing.call()).await
        };
        let results = join_all((0..200).map(image)).await;
        // Also those that the pace never let try.
        assert!(
            results
                .iter()
                .all(|result| *result == Err(error(ErrorKind::Throttled)))
        );
        assert!(retry.calls() < 150, "{} calls", retry.calls());
        assert!(start.elapsed() < seconds(70), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_the_time_does_not_allow_does_not_begin() {
        let retry = retry(10);
        let attempts = retry.attempts();
        let start = Instant::now();
        assert!(attempts.wait(seconds(9)).await);
        assert!(!attempts.wait(seconds(9)).await);
        assert_eq!(start.elapsed(), seconds(9));
        sleep_until(retry.deadline()).await;
        assert!(!attempts.back_off(&error(ErrorKind::Throttled)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_tried_again_with_fifty_milliseconds_left_and_not_with_fewer() {
        for (left, again) in [(50, true), (49, false)] {
            let retry = Retry::until(Instant::now() + Duration::from_millis(left));
            let attempts = retry.attempts();
            let backed_off = attempts.back_off(&error(ErrorKind::Throttled)).await;
            assert_eq!(backed_off, again, "{left} ms");
        }
    }

    #[test]
    fn delays_double_from_a_tenth_of_a_second_to_five_seconds_without_end() {
        let delays: Vec<Duration> = Retry::backoff().take(100).collect();
        assert_eq!(delays.len(), 100);
        let mut least = Duration::from_millis(100);
        for delay in delays {
            // Jitter adds at most as much again.
            assert!(
                delay >= least && delay <= least * 2,
                "{delay:?} of {least:?}"
            );
            least = (least * 2).min(seconds(5));
        }
    }
}
