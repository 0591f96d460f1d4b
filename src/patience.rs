//! Trying again: backoff for faults, a learned pace for throttling, and never beyond the time the invocation has.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::ports::{CallError, ErrorKind};

/// How often a call is tried when faults, not throttling, keep it from succeeding: ten to twenty seconds of backoff.
const ATTEMPTS: usize = 8;

/// Makes calls until they succeed, fail for good, or the time is up.
#[derive(Debug)]
pub struct Patience {
    deadline: Instant,
    paces: RefCell<BTreeMap<&'static str, Pace>>,
    calls: Cell<u64>,
}

impl Patience {
    /// Patience until the deadline, and not a call beyond it.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, paces: RefCell::default(), calls: Cell::new(0) }
    }

    /// When the time is up.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How many requests went out so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Delays with jitter that double up to a few seconds.
    pub fn backoff() -> impl Iterator<Item = Duration> {
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times()
            .build()
    }

    /// Waits for the delay, or until the deadline if that is sooner. False if the time is up.
    pub async fn wait(&self, delay: Duration) -> bool {
        let until = Instant::now() + delay;
        sleep_until(until.min(self.deadline)).await;
        until < self.deadline
    }

    /// Makes the call; again after a backoff while it fails for reasons that may pass, and at a pace at which it is not throttled.
    ///
    /// # Errors
    /// The last error, when it will not pass, has lasted too long, or the time is up. Throttling never lasts too long.
    pub async fn call<T>(
        &self,
        operation: &'static str,
        attempt: impl AsyncFn() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut backoff = Self::backoff();
        let mut faults = 0;
        let mut last = None;
        loop {
            let slot = self.pace(operation, Pace::next_slot);
            let attempted = async {
                // A timer takes up to a millisecond even for no time at all.
                if slot > Instant::now() {
                    sleep_until(slot).await;
                }
                self.calls.set(self.calls.get() + 1);
                attempt().await
            };
            let error = match timeout_at(self.deadline, attempted).await {
                Err(_) => return Err(last.unwrap_or_else(|| CallError::timeout(operation))),
                Ok(Ok(value)) => {
                    self.pace(operation, Pace::succeeded);
                    return Ok(value);
                }
                Ok(Err(error)) => error,
            };
            match error.kind {
                ErrorKind::Throttled => self.pace(operation, Pace::throttled),
                ErrorKind::Transient => faults += 1,
                ErrorKind::Denied | ErrorKind::Refused => return Err(error),
            }
            let enough = faults >= ATTEMPTS || !self.wait(backoff.next().unwrap_or_default()).await;
            if enough {
                return Err(error);
            }
            last = Some(error);
        }
    }

    fn pace<T>(&self, operation: &'static str, step: impl FnOnce(&mut Pace, Instant) -> T) -> T {
        step(self.paces.borrow_mut().entry(operation).or_insert_with(Pace::unlimited), Instant::now())
    }
}

/// How fast one operation may be called, learned from the answers: EC2 gives each API of each account and Region a token bucket whose
/// size it does not tell. <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
///
/// Additive increase, multiplicative decrease. Calls go out freely until the first throttled answer. From then on they are spaced
/// out; a throttled answer makes them slower, and time without one faster. Running a little below the refill rate loses nothing,
/// since the bucket keeps what is not used.
#[derive(Debug)]
struct Pace {
    /// Calls a second; `None` before the first throttled answer.
    rate: Option<f64>,
    /// The earliest moment for the next call.
    next: Instant,
    /// When the rate was last changed.
    changed: Instant,
    /// Calls that succeeded since the count began.
    succeeded: u32,
    counted_since: Instant,
}

impl Pace {
    /// The factor a throttled answer slows down by.
    const SLOWER: f64 = 0.7;
    /// The part of the rate that a second without a throttled answer adds.
    const FASTER: f64 = 0.05;
    /// The slowest pace, in calls a second.
    const SLOWEST: f64 = 0.5;
    /// Throttled answers come in bunches, one for each call under way; one bunch counts once.
    const BUNCH: Duration = Duration::from_millis(500);

    fn unlimited() -> Self {
        let now = Instant::now();
        Self { rate: None, next: now, changed: now, succeeded: 0, counted_since: now }
    }

    fn next_slot(&mut self, now: Instant) -> Instant {
        let Some(rate) = self.rate else { return now };
        let slot = self.next.max(now);
        self.next = slot + Duration::from_secs_f64(1.0 / rate);
        slot
    }

    fn succeeded(&mut self, now: Instant) {
        self.succeeded += 1;
        if let Some(rate) = &mut self.rate {
            let quiet = now.saturating_duration_since(self.changed).as_secs_f64();
            if quiet >= 0.2 {
                *rate += *rate * Self::FASTER * quiet.min(1.0);
                self.changed = now;
            }
        }
    }

    fn throttled(&mut self, now: Instant) {
        if self.rate.is_some() && now.saturating_duration_since(self.counted_since) < Self::BUNCH {
            return;
        }
        // What got through since the last bunch is what the bucket gave, its burst included: an upper bound for the refill rate.
        let since = now.saturating_duration_since(self.counted_since).as_secs_f64().max(0.1);
        let measured = f64::from(self.succeeded.max(1)) / since;
        let rate = self.rate.map_or(measured, |rate| rate.min(measured)) * Self::SLOWER;
        self.rate = Some(rate.max(Self::SLOWEST));
        (self.changed, self.succeeded, self.counted_since) = (now, 0, now);
        self.next = self.next.max(now);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn error(kind: ErrorKind) -> CallError {
        CallError { operation: "DescribeImages", code: "Code".into(), message: String::new(), kind }
    }

    /// A call that fails so many times and then succeeds; also how often it was made.
    async fn attempts(kind: ErrorKind, failures: usize, seconds: u64) -> (Result<(), CallError>, usize) {
        let patience = Patience::until(Instant::now() + Duration::from_secs(seconds));
        let made = Cell::new(0);
        let result = patience
            .call("DescribeImages", async || {
                made.set(made.get() + 1);
                if made.get() <= failures { Err(error(kind)) } else { Ok(()) }
            })
            .await;
        (result, made.get())
    }

    #[tokio::test(start_paused = true)]
    async fn faults_that_pass_are_tried_again() {
        assert_eq!(attempts(ErrorKind::Transient, 2, 60).await, (Ok(()), 3));
    }

    #[tokio::test]
    async fn a_call_that_nothing_holds_back_waits_for_no_timer() {
        assert_eq!(attempts(ErrorKind::Transient, 0, 60).now_or_never(), Some((Ok(()), 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn faults_that_last_are_given_up_after_a_while() {
        assert_eq!(attempts(ErrorKind::Transient, usize::MAX, 600).await, (Err(error(ErrorKind::Transient)), ATTEMPTS));
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_is_never_given_up_while_there_is_time() {
        assert_eq!(attempts(ErrorKind::Throttled, 50, 600).await, (Ok(()), 51));
        let (result, made) = attempts(ErrorKind::Throttled, usize::MAX, 20).await;
        assert_eq!(result, Err(error(ErrorKind::Throttled)));
        assert!(made > 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_pass_is_not_tried_again() {
        for kind in [ErrorKind::Denied, ErrorKind::Refused] {
            assert_eq!(attempts(kind, usize::MAX, 60).await, (Err(error(kind)), 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_is_cut_off_at_the_deadline() {
        let patience = Patience::until(Instant::now() + Duration::from_secs(3));
        let result = patience.call("DescribeImages", async || std::future::pending::<Result<(), CallError>>().await).await;
        assert_eq!(result, Err(CallError::timeout("DescribeImages")));
        assert_eq!(Instant::now(), patience.deadline());
    }

    #[tokio::test(start_paused = true)]
    async fn the_pace_settles_at_the_rate_of_a_token_bucket_that_nobody_told_it() {
        for (calls, burst, refill) in [(1000, 100.0, 20.0), (600, 100.0, 5.0), (2000, 200.0, 100.0), (2000, 100.0, 20.0)] {
            let patience = Patience::until(Instant::now() + Duration::from_secs(3600));
            let start = Instant::now();
            let tokens = RefCell::new((burst, start));
            let throttled = Cell::new(0);
            let call = async || {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let (mut left, filled) = *tokens.borrow();
                left = f64::min(burst, left + filled.elapsed().as_secs_f64() * refill);
                let allowed = left >= 1.0;
                *tokens.borrow_mut() = (if allowed { left - 1.0 } else { left }, Instant::now());
                if allowed {
                    Ok(())
                } else {
                    throttled.set(throttled.get() + 1);
                    Err(error(ErrorKind::Throttled))
                }
            };
            let all = (0..calls).map(|_| patience.call("ModifyImageAttribute", &call));
            use futures_util::StreamExt;
            futures_util::stream::iter(all).buffer_unordered(16).for_each(|result| async move { result.unwrap() }).await;
            let at_best = (f64::from(calls) - burst) / refill;
            let took = start.elapsed().as_secs_f64();
            // 0.91 to 0.99 of it, as the jitter falls.
            assert!(took < at_best / 0.87, "{refill}/s: {took} s, at best {at_best} s");
            assert!(throttled.get() < calls / 6, "{refill}/s: {} of {calls} throttled", throttled.get());
        }
    }
}
