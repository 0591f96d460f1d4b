//! How fast one operation may be called, learned from its answers.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use tokio::{
    sync::{Mutex, Notify},
    time::{Instant, sleep_until, timeout},
};

use super::call_error::CallError;

/// The pace of one operation. EC2 gives each API of each account and Region a token bucket, and an
/// answer tells neither its size nor its refill rate:
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>
///
/// Until calls are throttled, they go out as fast as answers come back, and a few more each time
/// (TCP's slow start). From then on they are spaced out, at a rate that follows TCP's CUBIC, like
/// the adaptive retries of the AWS SDKs. <https://www.rfc-editor.org/rfc/rfc9438>
#[derive(Debug)]
pub(super) struct Pace {
    /// Held by the first caller in the queue. Callers get it in the order of their coming.
    turn: Mutex<()>,
    /// Wakes the first caller: an answer came.
    answered: Notify,
    waiting: Cell<u32>,
    /// Those of them that the operation has not refused again and again.
    hopeful: Cell<u32>,
    queue_began: Cell<Instant>,
    learned: RefCell<Learned>,
    /// The last throttled answer.
    refusal: RefCell<Option<CallError>>,
}

/// The meaning of one answer for the pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feedback {
    /// The service took the request, even if it rejected it afterwards.
    LetThrough,
    /// A fault, or no answer: says nothing about limits.
    Fault,
    Throttled {
        /// The number of the throttled caller: one image that EC2 is busy with is no limit of the
        /// operation.
        caller: u64,
        /// The number of throttled answers in a row that this caller got.
        in_a_row: u32,
    },
}

impl Pace {
    /// Requests without an answer hold up the queue no longer than this.
    const ANSWER_WAIT_MAX: Duration = Duration::from_millis(500);
    /// An operation that lets nothing through for so long is stuck, not busy.
    const STUCK_AFTER: Duration = Duration::from_secs(2);
    /// A longer queue needs no more callers.
    const QUEUE_TIME_MAX: Duration = Duration::from_secs(2);
    /// When to look again whether answers have made the queue shorter: some round trips.
    const RECHECK_INTERVAL: Duration = Duration::from_millis(10);

    pub(super) fn new(now: Instant) -> Self {
        Self {
            turn: Mutex::default(),
            answered: Notify::new(),
            waiting: Cell::new(0),
            hopeful: Cell::new(0),
            queue_began: Cell::new(now),
            learned: RefCell::new(Learned::new(now)),
            refusal: RefCell::default(),
        }
    }

    /// Waits until the caller may send one request. Where nothing holds it back it waits for no
    /// timer, since a timer takes up to a millisecond even for no time at all.
    ///
    /// A caller that was throttled more than [`Learned::THROTTLED_IN_A_ROW_MAX`] times in a row
    /// lets all others go first: some images that EC2 is busy with would use up a slow pace, and
    /// the operation would look stuck.
    pub(super) async fn turn(&self, throttled_in_a_row: u32) {
        if self.waiting.get() == 0 {
            self.queue_began.set(Instant::now());
        }
        let _queued = Queued::new(&self.waiting);
        let is_hopeful = throttled_in_a_row <= Learned::THROTTLED_IN_A_ROW_MAX;
        let _hopeful = is_hopeful.then(|| Queued::new(&self.hopeful));
        let _turn = loop {
            let turn = self.turn.lock().await;
            if is_hopeful || self.hopeful.get() == 0 {
                break turn;
            }
            // The lock is fair: the next one in the queue has it before this one gets it again.
            drop(turn);
        };
        loop {
            let room = self.learned.borrow_mut().take(Instant::now());
            match room {
                SendTime::Now => return,
                SendTime::At(next) => sleep_until(next).await,
                SendTime::AfterAnswer => {
                    if timeout(Self::ANSWER_WAIT_MAX, self.answered.notified())
                        .await
                        .is_err()
                    {
                        self.learned.borrow_mut().forget_unanswered();
                    }
                }
            }
        }
    }

    /// Learns from the answer to a request.
    pub(super) fn answered(&self, sent: Instant, feedback: Feedback) {
        let is_queued = self.waiting.get() > 0;
        self.learned
            .borrow_mut()
            .answered(Instant::now(), sent, feedback, is_queued);
        self.answered.notify_one();
    }

    /// Keeps a throttled answer for callers that get none before they give up.
    pub(super) fn keep(&self, error: &CallError) {
        self.refusal.replace(Some(error.clone()));
    }

    /// The last throttled answer, if the operation is stuck.
    pub(super) fn refusal(&self) -> Option<CallError> {
        let is_stuck = self.learned.borrow().is_stuck(Instant::now());
        if is_stuck {
            self.refusal.borrow().clone()
        } else {
            None
        }
    }

    /// How long the operation was stuck in all.
    pub(super) fn stuck(&self) -> Duration {
        self.learned.borrow().stuck(Instant::now())
    }

    /// When one more caller will not make the queue too long. Now, if the operation is stuck: its
    /// queue may never end, and callers of other operations need not wait for it.
    pub(super) fn next_start(&self, now: Instant) -> Instant {
        let learned = self.learned.borrow();
        let waiting = f64::from(self.waiting.get());
        let is_busy = learned.is_busy(now);
        let Some(limit) = &learned.limit else {
            // All callers would begin before the first answer.
            let is_flowing = is_busy || now - self.queue_began.get() <= Self::STUCK_AFTER;
            let is_full = is_flowing && waiting >= learned.window;
            return if is_full {
                now + Self::RECHECK_INTERVAL
            } else {
                now
            };
        };
        if !is_busy {
            return now;
        }
        let next = limit.next.saturating_duration_since(now);
        let queue = next + Duration::from_secs_f64(waiting / limit.rate(now));
        now + queue.saturating_sub(Self::QUEUE_TIME_MAX)
    }
}

/// One caller in the queue, until it is dropped: callers may give up.
struct Queued<'a>(&'a Cell<u32>);

impl<'a> Queued<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// When one more request may go out.
#[derive(Debug, Clone, Copy)]
enum SendTime {
    Now,
    At(Instant),
    AfterAnswer,
}

#[derive(Debug)]
struct Learned {
    /// `None` before calls are throttled, and again when that was long ago.
    limit: Option<Limit>,
    /// Without a limit: the number of requests that may wait for their answers.
    window: f64,
    /// Without a limit: the number of requests that may go out now.
    room: f64,
    /// The last decision. Answers to requests sent before it led to it, or would have.
    decided: Instant,
    /// Answers since then.
    count: Count,
    /// When a request was last let through.
    let_through: Option<Instant>,
    /// When a request was first throttled after that.
    throttled: Option<Instant>,
    /// How long nothing was let through, in the past.
    stuck: Duration,
}

impl Learned {
    /// The first window, in requests. Not a limit: it grows as soon as callers queue.
    const INITIAL_WINDOW: f64 = 16.0;
    /// The part of a request that each answer adds to the window while callers queue. More would
    /// empty large buckets sooner, and have more calls throttled at their end.
    const WINDOW_GROWTH_PER_ANSWER: f64 = 0.1;
    /// Round trips take less. The first guess at a rate is one window in this time.
    const ROUND_TRIP_SECONDS_MAX: f64 = 0.25;
    /// The part of throttled answers that is no sign of a limit.
    const THROTTLED_SHARE_IGNORED: f64 = 0.04;
    /// More throttled answers in a row say more about the caller (one image that EC2 is busy with)
    /// than about the operation.
    const THROTTLED_IN_A_ROW_MAX: u32 = 2;
    /// A limit that has not been met for so long is forgotten: the bucket is full again, or larger.
    const LIMIT_FORGOTTEN_AFTER: Duration = Duration::from_secs(20);

    fn new(now: Instant) -> Self {
        Self {
            limit: None,
            window: Self::INITIAL_WINDOW,
            room: Self::INITIAL_WINDOW,
            decided: now,
            count: Count::new(now),
            let_through: None,
            throttled: None,
            stuck: Duration::ZERO,
        }
    }

    fn take(&mut self, now: Instant) -> SendTime {
        if self
            .limit
            .as_ref()
            .is_some_and(|limit| now - limit.since > Self::LIMIT_FORGOTTEN_AFTER)
        {
            self.limit = None;
            (self.window, self.room) = (Self::INITIAL_WINDOW, Self::INITIAL_WINDOW);
        }
        if let Some(limit) = &mut self.limit {
            return limit.take(now);
        }
        if self.room < 1.0 {
            return SendTime::AfterAnswer;
        }
        self.room -= 1.0;
        SendTime::Now
    }

    fn forget_unanswered(&mut self) {
        self.room = self.window;
    }

    fn answered(&mut self, now: Instant, sent: Instant, feedback: Feedback, is_queued: bool) {
        if feedback == Feedback::LetThrough && is_queued && self.limit.is_none() {
            self.window += Self::WINDOW_GROWTH_PER_ANSWER;
            self.room += Self::WINDOW_GROWTH_PER_ANSWER;
        }
        self.room = (self.room + 1.0).min(self.window);
        let counts = sent >= self.decided;
        if counts {
            self.count.renew(now);
        }
        match feedback {
            Feedback::Fault => {}
            Feedback::LetThrough => {
                self.stuck = self.stuck(now);
                (self.let_through, self.throttled) = (Some(now), None);
                if counts {
                    self.count.let_through += 1.0;
                }
            }
            Feedback::Throttled { caller, in_a_row } => {
                self.throttled.get_or_insert(now);
                if counts && (in_a_row <= Self::THROTTLED_IN_A_ROW_MAX || !self.is_busy(now)) {
                    self.count.throttled(caller);
                    self.decide(now);
                }
            }
        }
    }

    /// Slows down if the answers say so.
    fn decide(&mut self, now: Instant) {
        let count = &self.count;
        let answers = count.answers();
        let is_enough = answers >= Count::DECISION_ANSWERS_MIN || !self.is_busy(now);
        if !is_enough
            || !count.has_several
            || count.throttled <= answers * Self::THROTTLED_SHARE_IGNORED
        {
            return;
        }
        // Two more, since few answers do not say all.
        let share = count.throttled / (answers + 2.0);
        let rate = match &self.limit {
            Some(limit) => limit.rate(now),
            // The answers of a second, or fewer than a window brings. Callers may have asked for
            // less than the operation gives.
            None => answers.max(Self::INITIAL_WINDOW / Self::ROUND_TRIP_SECONDS_MAX),
        };
        self.limit = Some(Limit::below(rate, share, self.limit.as_ref(), now));
        self.decided = now;
        self.count = Count::new(now);
    }

    /// Whether a request was let through lately.
    fn is_busy(&self, now: Instant) -> bool {
        self.let_through
            .is_some_and(|last| now - last <= Pace::STUCK_AFTER)
    }

    /// Whether all requests have been throttled for a while.
    fn is_stuck(&self, now: Instant) -> bool {
        self.throttled
            .is_some_and(|since| now - since > Pace::STUCK_AFTER)
    }

    fn stuck(&self, now: Instant) -> Duration {
        let Some(since) = self.throttled else {
            return self.stuck;
        };
        self.stuck + (now - since).saturating_sub(Pace::STUCK_AFTER)
    }
}

/// Answers of about the last second, or the last few where they are rare. Older ones fade.
#[derive(Debug)]
struct Count {
    since: Instant,
    let_through: f64,
    throttled: f64,
    /// The first caller that was throttled.
    caller: Option<u64>,
    /// Whether others were, too.
    has_several: bool,
}

impl Count {
    /// A count that is older fades.
    const DECAY_AFTER: Duration = Duration::from_secs(1);
    /// As many answers, older than that, count half.
    const DECAY_ANSWERS_MIN: f64 = 20.0;
    /// As many answers are enough for a decision.
    const DECISION_ANSWERS_MIN: f64 = 3.0;

    fn new(since: Instant) -> Self {
        Self {
            since,
            let_through: 0.0,
            throttled: 0.0,
            caller: None,
            has_several: false,
        }
    }

    fn answers(&self) -> f64 {
        self.let_through + self.throttled
    }

    fn renew(&mut self, now: Instant) {
        let time = now - self.since;
        if time > Self::DECAY_AFTER && self.answers() >= Self::DECAY_ANSWERS_MIN {
            let (let_through, throttled) = (self.let_through / 2.0, self.throttled / 2.0);
            *self = Self {
                let_through,
                throttled,
                ..Self::new(now)
            };
        }
    }

    fn throttled(&mut self, caller: u64) {
        self.throttled += 1.0;
        self.has_several |= *self.caller.get_or_insert(caller) != caller;
    }
}

/// A rate below the last one that was throttled. It soon gets back near that one, stays there for a
/// while, and then grows faster and faster, so that a raised limit is used within seconds.
#[derive(Debug)]
struct Limit {
    /// The rate at which it stays for a while, in calls a second.
    plateau: f64,
    /// The rate at first.
    start: f64,
    trust: Trust,
    since: Instant,
    /// The earliest moment for the next request.
    next: Instant,
}

/// How well a limit is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Requests went out freely before, and nobody knows what saved-up tokens did.
    Guessed,
    /// Requests were throttled at the last rate, which may have been far too high.
    Bounded,
    /// The limit was held for some time. A lower one is believed step by step, since others may use
    /// the operation for a moment.
    Held,
}

impl Limit {
    /// The slowest rate, in calls a second.
    const RATE_MIN_PER_SECOND: f64 = 0.5;
    /// The factor that one decision slows down by at most.
    const SLOWDOWN_FACTOR_MIN: f64 = 0.3;
    /// CUBIC's β: the first rate, as a part of what was let through.
    const DECREASE_FACTOR: f64 = 0.8;
    /// The plateau (CUBIC's `W_max`), as a part of what was let through, which is seen a little
    /// too high: a bucket is not empty at once.
    const PLATEAU_FACTOR: f64 = 0.93;
    /// The factor that one decision lowers the plateau of a held limit by at most: less may be let
    /// through for a moment only.
    const PLATEAU_STEP_FACTOR_MIN: f64 = 0.9;
    /// A limit that lasted so long was held.
    const HELD_AFTER: Duration = Duration::from_secs(2);
    /// The part of the rate by which it grows in the first second after the plateau.
    const CUBIC_C: f64 = 0.003;
    /// Timers wake late, by a millisecond or more if the processor is busy. So much is made up for.
    const TIMER_DELAY_MAX: Duration = Duration::from_millis(50);

    /// The limit after a share of the requests at a rate was throttled.
    fn below(rate: f64, share: f64, before: Option<&Self>, now: Instant) -> Self {
        let given =
            (rate * (1.0 - share).max(Self::SLOWDOWN_FACTOR_MIN)).max(Self::RATE_MIN_PER_SECOND);
        let start = (given * Self::DECREASE_FACTOR).max(Self::RATE_MIN_PER_SECOND);
        let near = (given * Self::PLATEAU_FACTOR).max(Self::RATE_MIN_PER_SECOND);
        let (trust, plateau) = match before {
            None => (Trust::Guessed, near),
            Some(before) if !before.was_held(now) => (Trust::Bounded, near),
            // Throttled on the way back to the plateau, or by far.
            Some(before) if rate < before.plateau * Self::PLATEAU_STEP_FACTOR_MIN => (
                Trust::Held,
                near.max(before.plateau * Self::PLATEAU_STEP_FACTOR_MIN),
            ),
            Some(_) if share > 0.5 => (Trust::Held, near.max(rate * Self::PLATEAU_STEP_FACTOR_MIN)),
            Some(_) => (Trust::Held, near),
        };
        let next = now + Duration::from_secs_f64(1.0 / start);
        Self {
            plateau,
            start,
            trust,
            since: now,
            next,
        }
    }

    fn was_held(&self, now: Instant) -> bool {
        self.trust == Trust::Held || now - self.since > Self::HELD_AFTER
    }

    /// Calls a second. A guessed rate doubles each second, since it may be far too low.
    fn rate(&self, now: Instant) -> f64 {
        let time = (now - self.since).as_secs_f64();
        if self.trust == Trust::Guessed {
            return self.start * time.exp2();
        }
        let until_plateau = ((1.0 - self.start / self.plateau) / Self::CUBIC_C).cbrt();
        self.plateau * (1.0 + Self::CUBIC_C * (time - until_plateau).powi(3))
    }

    fn take(&mut self, now: Instant) -> SendTime {
        if self.next > now {
            return SendTime::At(self.next);
        }
        let from = self
            .next
            .max(now.checked_sub(Self::TIMER_DELAY_MAX).unwrap_or(now));
        self.next = from + Duration::from_secs_f64(1.0 / self.rate(now));
        SendTime::Now
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, future::join_all, join, stream::FuturesUnordered};
    use tokio::time::sleep;

    use super::{super::retry::Retry, *};

    const OPERATION: &str = "ModifyImageAttribute";
    /// More calls than any test lets through.
    const ENDLESS: u32 = 1_000_000;

    /// EC2's side: a token bucket, with answers after 20 to 50 ms.
    struct Bucket {
        burst: Cell<f64>,
        refill: Cell<f64>,
        tokens: Cell<f64>,
        filled: Cell<Instant>,
        given: Cell<u32>,
        throttled: Cell<u32>,
        random: RefCell<fastrand::Rng>,
    }

    impl Bucket {
        fn new(burst: f64, refill: f64) -> Self {
            Self {
                burst: Cell::new(burst),
                refill: Cell::new(refill),
                tokens: Cell::new(burst),
                filled: Cell::new(Instant::now()),
                given: Cell::new(0),
                throttled: Cell::new(0),
                random: RefCell::new(fastrand::Rng::with_seed(17)),
            }
        }

        fn unlimited() -> Self {
            Self::new(f64::INFINITY, 0.0)
        }

        fn set(&self, burst: f64, refill: f64) {
            self.fill();
            self.burst.set(burst);
            self.refill.set(refill);
        }

        fn fill(&self) {
            let now = Instant::now();
            let filled = (now - self.filled.replace(now)).as_secs_f64() * self.refill.get();
            self.tokens
                .set((self.tokens.get() + filled).min(self.burst.get()));
        }

        fn take(&self) -> bool {
            self.fill();
            let has_token = self.tokens.get() >= 1.0;
            if has_token {
                self.tokens.set(self.tokens.get() - 1.0);
            }
            has_token
        }

        async fn travel(&self) {
            let latency = self.random.borrow_mut().u64(10..=25);
            sleep(Duration::from_millis(latency)).await;
        }

        async fn call(&self) -> Result<(), CallError> {
            self.travel().await;
            let is_given = self.take();
            self.travel().await;
            let count = if is_given {
                &self.given
            } else {
                &self.throttled
            };
            count.set(count.get() + 1);
            if is_given { Ok(()) } else { Err(throttled()) }
        }

        /// Requests let through and throttled meanwhile.
        async fn watch(&self, seconds: u64) -> (f64, f64) {
            let before = (self.given.get(), self.throttled.get());
            sleep(Duration::from_secs(seconds)).await;
            let now = (self.given.get(), self.throttled.get());
            (f64::from(now.0 - before.0), f64::from(now.1 - before.1))
        }
    }

    fn throttled() -> CallError {
        CallError::answered(OPERATION, "RequestLimitExceeded", 503, "")
    }

    fn retry() -> Retry {
        Retry::until(Instant::now() + Duration::from_secs(7200))
    }

    /// Handles so many images, each begun when [`Retry::next_start`] says so.
    async fn sweep(retry: &Retry, images: u32, handle: impl AsyncFn(u32)) {
        let mut under_way = FuturesUnordered::new();
        let mut begun = 0;
        while begun < images {
            let start = retry.next_start();
            if start > Instant::now() {
                tokio::select! {
                    Some(()) = under_way.next() => {}
                    () = sleep_until(start) => {}
                }
                continue;
            }
            under_way.push(handle(begun));
            begun += 1;
            under_way.next().now_or_never();
        }
        while under_way.next().await.is_some() {}
    }

    /// So many calls, each for an image of its own.
    async fn call(retry: &Retry, calls: u32, bucket: &Bucket) {
        sweep(retry, calls, async |_| {
            let attempts = retry.attempts();
            attempts.call(OPERATION, || bucket.call()).await.unwrap();
        })
        .await;
    }

    /// The same, so many at a time, however long they queue.
    async fn call_at_once(retry: &Retry, calls: u32, bucket: &Bucket, width: usize) {
        futures_util::stream::iter(0..calls)
            .map(|_| async {
                let attempts = retry.attempts();
                attempts.call(OPERATION, || bucket.call()).await.unwrap();
            })
            .buffer_unordered(width)
            .for_each(async |()| {})
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_operation_is_called_at_the_rate_that_its_bucket_allows() {
        for (calls, burst, refill, may_throttle) in [
            (1000, 100.0, 20.0, 1.0 / 6.0),
            (600, 100.0, 5.0, 1.0 / 6.0),
            (2000, 200.0, 100.0, 1.0 / 6.0),
            (20_000, 2000.0, 400.0, 0.08),
            (6000, 2000.0, 100.0, 0.08),
        ] {
            for width in [None, Some(16), Some(usize::MAX)] {
                let (retry, bucket) = (retry(), Bucket::new(burst, refill));
                let start = Instant::now();
                match width {
                    None => call(&retry, calls, &bucket).await,
                    Some(width) => call_at_once(&retry, calls, &bucket, width).await,
                }
                let ideal = (f64::from(calls) - burst) / refill;
                let part = ideal / start.elapsed().as_secs_f64();
                let throttled = f64::from(bucket.throttled.get()) / f64::from(calls);
                println!(
                    "{calls} calls, {burst} + {refill}/s, {width:?}: {part:.3}, {throttled:.3}"
                );
                assert!(
                    part > 0.9,
                    "{burst} + {refill}/s, {width:?}: {part} of the ideal"
                );
                assert!(
                    throttled < may_throttle,
                    "{burst} + {refill}/s, {width:?}: {throttled}"
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_throttled_answer_in_a_quiet_time_slows_nothing_down() {
        let (retry, bucket) = (retry(), Bucket::new(100.0, 20.0));
        for second in 0..30 {
            let is_odd = Cell::new(second == 29);
            let attempt = async || {
                if is_odd.take() {
                    Err(throttled())
                } else {
                    bucket.call().await
                }
            };
            retry.attempts().call(OPERATION, attempt).await.unwrap();
            sleep(Duration::from_secs(2)).await;
        }
        let start = Instant::now();
        call(&retry, 300, &bucket).await;
        let took = start.elapsed().as_secs_f64();
        println!("{took} s, at best 10");
        assert!(took < 11.0, "{took} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_of_throttled_answers_in_a_quiet_time_does_not_slow_down_a_later_rush() {
        let (retry, bucket) = (retry(), Bucket::new(100.0, 20.0));
        for second in 0..30 {
            let is_odd = Cell::new(second == 29);
            let image = async |_| {
                let attempt = async || {
                    if is_odd.get() {
                        Err(throttled())
                    } else {
                        bucket.call().await
                    }
                };
                retry.attempts().call(OPERATION, attempt).await.unwrap();
            };
            let moment = async {
                sleep(Duration::from_millis(50)).await;
                is_odd.set(false);
            };
            join!(join_all((0..6).map(image)), moment);
            sleep(Duration::from_secs(2)).await;
        }
        let start = Instant::now();
        call(&retry, 300, &bucket).await;
        let took = start.elapsed().as_secs_f64();
        println!("{took} s, at best 10");
        assert!(took < 11.0, "{took} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rush_does_not_meet_the_bucket_all_at_once() {
        let rush = async |retry: &Retry, bucket: &Bucket| {
            let before = bucket.throttled.get();
            call_at_once(retry, 1000, bucket, 1000).await;
            let throttled = bucket.throttled.get() - before;
            println!("{throttled} throttled");
            assert!(throttled < 1000 / 8, "{throttled} throttled");
        };
        // After a rush before, and after many calls one by one.
        let (retry, bucket) = (retry(), Bucket::new(100.0, 20.0));
        rush(&retry, &bucket).await;
        sleep(Duration::from_secs(120)).await;
        rush(&retry, &bucket).await;
        sleep(Duration::from_secs(120)).await;
        for _ in 0..2000 {
            call(&retry, 1, &bucket).await;
            sleep(Duration::from_millis(50)).await;
        }
        rush(&retry, &bucket).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_moment_in_which_others_use_all_is_soon_over() {
        let (retry, bucket) = (retry(), Bucket::new(100.0, 20.0));
        let moment = async {
            bucket.watch(60).await;
            bucket.set(0.0, 0.0);
            let (_, throttled) = bucket.watch(3).await;
            bucket.set(100.0, 20.0);
            let (given, _) = bucket.watch(6).await;
            println!("{throttled} throttled, then {given} of 120 given");
            assert!(given > 40.0, "{given} of 120");
        };
        tokio::select! {
            () = call(&retry, ENDLESS, &bucket) => {}
            () = moment => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn others_that_use_the_same_bucket_leave_a_rest_that_is_used() {
        // Seconds of a period; seconds in which others call; their calls a second, and at once.
        for (period, on, rate, batch) in [
            (1.0, 1.0, 10.0, 1),
            (9.0, 3.0, 40.0, 1),
            (10.0, 5.0, 20.0, 1),
            (5.0, 5.0, 0.2, 50),
            (20.0, 20.0, 0.05, 200),
        ] {
            let (retry, bucket) = (retry(), Bucket::new(100.0, 20.0));
            let start = Instant::now();
            let taken = Cell::new(0);
            let others = async {
                loop {
                    let is_on = start.elapsed().as_secs_f64() % period < on;
                    for _ in 0..if is_on { batch } else { 0 } {
                        taken.set(taken.get() + u32::from(bucket.take()));
                    }
                    sleep(Duration::from_secs_f64(1.0 / rate)).await;
                }
            };
            tokio::select! {
                () = call(&retry, 2000, &bucket) => {}
                () = others => {}
            }
            let left = 100.0 + 20.0 * start.elapsed().as_secs_f64() - f64::from(taken.get());
            let (part, throttled) = (2000.0 / left, f64::from(bucket.throttled.get()) / 2000.0);
            println!(
                "{on} of {period} s, {batch} at {rate}/s: {part:.3}, {throttled:.3} throttled"
            );
            assert!(
                part > 0.85,
                "{on} of {period} s, {batch} at {rate}/s: {part} of the rest"
            );
            assert!(throttled < 1.0 / 6.0, "{throttled}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_raised_limit_is_used_within_twenty_seconds() {
        for refill in [5.0, 20.0] {
            let (retry, bucket) = (retry(), Bucket::new(100.0, refill));
            let raised = async {
                bucket.watch(60).await;
                bucket.set(100.0 * 20.0, refill * 20.0);
                bucket.watch(20).await;
                let (given, throttled) = bucket.watch(10).await;
                println!("{} of {refill}/s x 20, {throttled} throttled", given / 10.0);
                assert!(given / 10.0 > refill * 20.0 * 0.8, "{given} in 10 s");
            };
            tokio::select! {
                () = call(&retry, ENDLESS, &bucket) => {}
                () = raised => {}
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lowered_limit_brings_no_storm_of_throttled_answers() {
        for refill in [100.0, 400.0] {
            let (retry, bucket) = (retry(), Bucket::new(2000.0, refill));
            let lowered = async {
                bucket.watch(60).await;
                bucket.set(100.0, refill / 20.0);
                let (_, throttled) = bucket.watch(20).await;
                let (given, later) = bucket.watch(40).await;
                println!("{refill}/s / 20: {throttled}, then {later} throttled, {given} given");
                assert!(throttled < 160.0, "{throttled} throttled");
                assert!(given > refill / 20.0 * 40.0 * 0.9, "{given} in 40 s");
                assert!(
                    later < given / 6.0,
                    "{later} throttled, {given} let through"
                );
            };
            tokio::select! {
                () = call(&retry, ENDLESS, &bucket) => {}
                () = lowered => {}
            }
        }
    }

    /// Handles 1000 images; the calls of some are always throttled. How long the others take, in
    /// seconds, and how many images failed.
    async fn seconds_beside_stuck_images(bucket: Bucket, stuck: fn(u32) -> bool) -> (f64, u32) {
        let retry = retry();
        let start = Instant::now();
        let (last, failed) = (Cell::new(start), Cell::new(0));
        sweep(&retry, 1000, async |image| {
            let attempts = retry.attempts_for(Duration::from_secs(60));
            let attempt = async || {
                if !stuck(image) {
                    return bucket.call().await;
                }
                bucket.travel().await;
                Err(throttled())
            };
            match attempts.call(OPERATION, attempt).await {
                Ok(()) => last.set(Instant::now()),
                Err(error) => {
                    assert_eq!(error, throttled());
                    failed.set(failed.get() + 1);
                }
            }
        })
        .await;
        ((last.get() - start).as_secs_f64(), failed.get())
    }

    #[tokio::test(start_paused = true)]
    async fn images_whose_calls_are_always_throttled_do_not_slow_down_the_others() {
        let (free, _) = seconds_beside_stuck_images(Bucket::unlimited(), |_| false).await;
        for (stuck, images) in [
            ((|image| image == 0) as fn(u32) -> bool, 1),
            (|image| image == 500, 1),
            (|image| image % 100 == 7, 10),
            (|image| image % 100 == 0, 10),
        ] {
            let bucket = Bucket::unlimited();
            let (seconds, failed) = seconds_beside_stuck_images(bucket, stuck).await;
            println!("{images} stuck: {seconds} s, {free} s without");
            assert!(
                seconds < free * 1.3,
                "{images} stuck: {seconds} s, {free} s without"
            );
            assert_eq!(failed, images);

            let bucket = Bucket::new(100.0, 20.0);
            let (seconds, failed) = seconds_beside_stuck_images(bucket, stuck).await;
            println!("{images} stuck: {seconds} s, 45 s at best");
            assert!(seconds < 50.0, "{images} stuck: {seconds} s");
            assert_eq!(failed, images);
        }
        let (seconds, failed) =
            seconds_beside_stuck_images(Bucket::unlimited(), |image| image < 16).await;
        println!("the first 16 stuck: {seconds} s");
        assert!(seconds < 7.0, "the first 16 stuck: {seconds} s");
        assert_eq!(failed, 16);
    }

    #[tokio::test(start_paused = true)]
    async fn images_whose_calls_are_not_answered_do_not_hold_up_the_others() {
        let retry = retry();
        let bucket = Bucket::unlimited();
        let start = Instant::now();
        let last = Cell::new(start);
        sweep(&retry, 1000, async |image| {
            let attempts = retry.attempts_for(Duration::from_secs(60));
            let attempt = async || {
                if image < 40 {
                    std::future::pending().await
                } else {
                    bucket.call().await
                }
            };
            if attempts.call(OPERATION, attempt).await.is_ok() {
                last.set(Instant::now());
            }
        })
        .await;
        let seconds = (last.get() - start).as_secs_f64();
        println!("{seconds} s");
        assert!(seconds < 4.0, "{seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_that_is_throttled_for_everybody_slows_only_itself() {
        let retry = Retry::until(Instant::now() + Duration::from_secs(300));
        let bucket = Bucket::unlimited();
        let start = Instant::now();
        let (last, tries) = (Cell::new(start), RefCell::new(Vec::new()));
        let all = sweep(&retry, 1000, async |image| {
            let attempts = retry.attempts();
            if image % 4 == 0 {
                let attempt = async || {
                    tries.borrow_mut().push(Instant::now());
                    bucket.travel().await;
                    Err::<(), _>(throttled())
                };
                attempts
                    .call("DescribeSnapshots", attempt)
                    .await
                    .unwrap_err();
                return;
            }
            attempts.call(OPERATION, || bucket.call()).await.unwrap();
            last.set(Instant::now());
        });
        all.await;
        let seconds = (last.get() - start).as_secs_f64();
        let tries = tries.into_inner();
        let late: Vec<_> = tries
            .iter()
            .filter(|at| **at - start > Duration::from_secs(60))
            .collect();
        let gaps: Vec<_> = late.windows(2).map(|pair| *pair[1] - *pair[0]).collect();
        println!(
            "others {seconds} s, {} tries, {} after a minute",
            tries.len(),
            late.len()
        );
        assert!(seconds < 2.0, "others: {seconds} s");
        assert!(tries.len() < 300, "{} tries in 300 s", tries.len());
        assert!(
            gaps.iter().all(|gap| *gap > Duration::from_millis(500)),
            "{gaps:?}"
        );
        assert!(late.len() > 100, "{} tries in 240 s", late.len());
    }

    #[tokio::test(start_paused = true)]
    async fn few_callers_of_an_operation_that_is_throttled_for_everybody_slow_down_too() {
        let retry = Retry::until(Instant::now() + Duration::from_secs(120));
        let late = Cell::new(0);
        let image = async |_| {
            let attempt = async || {
                let is_late = retry.deadline() - Instant::now() < Duration::from_secs(60);
                late.set(late.get() + u32::from(is_late));
                Err::<(), _>(throttled())
            };
            retry.attempts().call(OPERATION, attempt).await.unwrap_err();
        };
        join_all((0..20).map(image)).await;
        println!("{} tries in the last minute", late.get());
        assert!(
            late.get() > 20 && late.get() < 45,
            "{} tries in the last minute",
            late.get()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn two_throttled_answers_are_too_few_for_a_decision() {
        let now = Instant::now();
        let pace = Pace::new(now);
        pace.learned.borrow_mut().limit = Some(Limit::below(20.0, 0.1, None, now));
        let rate = || {
            pace.learned
                .borrow()
                .limit
                .as_ref()
                .map(|limit| limit.rate(now))
        };
        let before = rate();
        pace.learned.borrow_mut().let_through = Some(now);
        for caller in 1..=2 {
            pace.answered(
                now,
                Feedback::Throttled {
                    caller,
                    in_a_row: 1,
                },
            );
            assert_eq!(rate(), before);
        }
        pace.answered(
            now,
            Feedback::Throttled {
                caller: 3,
                in_a_row: 1,
            },
        );
        assert!(rate() < before, "{:?}", rate());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_beyond_the_timers_resolution_is_kept() {
        let pace = Pace::new(Instant::now());
        let start = Instant::now();
        let limit = Limit::below(6000.0, 0.3, None, start);
        let rate = limit.rate(start);
        pace.learned.borrow_mut().limit = Some(limit);
        let calls = async {
            for calls in 0.. {
                pace.turn(0).await;
                if start.elapsed() > Duration::from_millis(200) {
                    return calls;
                }
            }
            0
        };
        let made = f64::from(calls.await) / 0.2;
        assert!(
            made > rate && made < rate * 1.3,
            "{made} of {rate} calls a second"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_of_two_seconds_delays_the_next_image_and_a_stuck_operation_does_not() {
        let (retry, bucket) = (retry(), Bucket::new(100.0, 20.0));
        let calls = call_at_once(&retry, 1000, &bucket, 200);
        let watch = async {
            assert_eq!(retry.next_start(), Instant::now());
            sleep(Duration::from_secs(20)).await;
            let queue = (retry.next_start() - Instant::now()).as_secs_f64();
            println!("{queue} s until the next start");
            assert!(queue > 4.0 && queue < 11.0, "{queue} s");
            bucket.set(0.0, 0.0);
            sleep(Duration::from_secs(3)).await;
            assert_eq!(retry.next_start(), Instant::now());
        };
        tokio::select! { biased; () = watch => {}, () = calls => {} }
    }

    #[tokio::test(start_paused = true)]
    async fn images_are_not_all_begun_before_the_first_answer() {
        let (retry, bucket) = (retry(), Bucket::unlimited());
        call(&retry, 1, &bucket).await;
        sleep(Duration::from_secs(10)).await;
        let begun = Cell::new(0);
        let all = sweep(&retry, 50_000, async |_| {
            begun.set(begun.get() + 1);
            let attempts = retry.attempts();
            attempts.call(OPERATION, || bucket.call()).await.unwrap();
        });
        tokio::select! {
            () = all => {}
            () = sleep(Duration::from_millis(15)) => {}
        }
        assert!(begun.get() < 100, "{} begun", begun.get());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_leaves_the_queue() {
        let pace = Pace::new(Instant::now());
        for _ in 0..16 {
            pace.turn(0).await;
        }
        {
            let (first, second) = (pace.turn(0), pace.turn(0));
            let given_up = timeout(Duration::from_millis(100), async { join!(first, second) });
            assert!(given_up.await.is_err());
        }
        assert_eq!(pace.waiting.get(), 0);
        pace.answered(Instant::now(), Feedback::LetThrough);
        assert_eq!(pace.turn(0).now_or_never(), Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_the_answers_before_the_last_second_count_and_few_ones_count_whole() {
        let begun = Instant::now();
        for (let_through, seconds, left) in [(16.0, 2, 8.0), (15.0, 2, 15.0), (16.0, 1, 16.0)] {
            let mut count = Count::new(begun);
            (count.let_through, count.throttled) = (let_through, 4.0);
            count.renew(begun + Duration::from_secs(seconds));
            let throttled = 4.0 * left / let_through;
            assert_eq!((count.let_through, count.throttled), (left, throttled));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_was_throttled_three_times_in_a_row_lets_all_others_go_first() {
        let pace = Pace::new(Instant::now());
        for _ in 0..16 {
            pace.turn(0).await;
        }
        let order = RefCell::new(Vec::new());
        let caller = async |in_a_row| {
            pace.turn(in_a_row).await;
            order.borrow_mut().push(in_a_row);
        };
        let answers = async {
            for _ in 0..5 {
                sleep(Duration::from_millis(100)).await;
                pace.answered(Instant::now(), Feedback::Fault);
            }
        };
        join!(
            caller(0),
            caller(4),
            caller(3),
            caller(2),
            caller(1),
            answers
        );
        assert_eq!(order.into_inner(), [0, 2, 1, 4, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_without_answers_delays_images_for_two_seconds_from_its_first_caller() {
        let pace = Pace::new(Instant::now());
        sleep(Duration::from_secs(10)).await;
        let begun = Instant::now();
        let callers = join_all((0..100).map(|_| pace.turn(0)));
        let late = async {
            sleep(Duration::from_millis(1600)).await;
            pace.turn(0).await;
        };
        let look = async {
            sleep(Duration::from_millis(1700)).await;
            let now = begun + Duration::from_secs(2);
            assert_eq!(pace.next_start(now), now + Pace::RECHECK_INTERVAL);
            let now = begun + Duration::from_millis(2001);
            assert_eq!(pace.next_start(now), now);
        };
        let queue = async { join!(callers, late) };
        tokio::select! { biased; () = look => {}, _ = queue => panic!("the queue has ended") }
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_begins_when_the_queue_will_have_two_seconds_left() {
        let now = Instant::now();
        let pace = Pace::new(now);
        // 12.8 calls a second, the first after 78.125 ms; twice as many a second later.
        pace.learned.borrow_mut().limit = Some(Limit::below(20.0, 0.2, None, now));
        pace.learned.borrow_mut().let_through = Some(now);
        let later = now + Duration::from_secs(1);
        for (waiting, now, delay) in [
            (64, now, 3.078_125),
            (24, now, 0.0),
            (64, later, 0.5),
            (51, later, 0.0),
        ] {
            pace.waiting.set(waiting);
            let delay = Duration::from_secs_f64(delay);
            assert_eq!(pace.next_start(now) - now, delay, "{waiting} waiting");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_forgotten_after_twenty_seconds() {
        let now = Instant::now();
        let mut learned = Learned::new(now);
        learned.limit = Some(Limit::below(20.0, 0.2, None, now));
        (learned.window, learned.room) = (50.0, 0.0);
        learned.take(now + Duration::from_secs(20));
        assert!(learned.limit.is_some());
        let room = learned.take(now + Duration::from_millis(20_001));
        assert!(matches!(room, SendTime::Now), "{room:?}");
        assert!(learned.limit.is_none());
        assert_eq!((learned.window, learned.room), (16.0, 15.0));
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn refused(caller: u64) -> Feedback {
        Feedback::Throttled {
            caller,
            in_a_row: 1,
        }
    }

    #[track_caller]
    fn assert_near(actual: f64, expected: f64) {
        let difference = (actual - expected).abs();
        assert!(difference < 1e-9, "{actual}, not {expected}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_makes_room_for_one_more_and_the_window_grows_while_callers_queue() {
        let now = Instant::now();
        for (answer, is_queued, room_before, window, room) in [
            (Feedback::Fault, true, 0.0, 16.0, 1.0),
            (Feedback::Fault, true, 15.5, 16.0, 16.0),
            (Feedback::LetThrough, false, 0.0, 16.0, 1.0),
            (Feedback::LetThrough, true, 0.0, 16.1, 1.1),
            (Feedback::LetThrough, true, 15.5, 16.1, 16.1),
        ] {
            let mut learned = Learned::new(now);
            learned.room = room_before;
            learned.answered(now, now, answer, is_queued);
            assert_near(learned.window, window);
            assert_near(learned.room, room);
        }
        let mut learned = Learned::new(now);
        learned.limit = Some(Limit::below(20.0, 0.2, None, now));
        learned.answered(now, now, Feedback::LetThrough, true);
        assert_near(learned.window, 16.0);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_to_requests_before_the_last_decision_do_not_count() {
        let now = Instant::now();
        let (before, later) = (now, now + seconds(0.1));
        for (sent, counted) in [(before, 0.0), (later, 1.0)] {
            let mut learned = Learned::new(later);
            learned.answered(later, sent, Feedback::LetThrough, false);
            learned.answered(later, sent, refused(1), false);
            assert_near(learned.count.let_through, counted);
            assert_near(learned.count.throttled, counted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn four_throttled_answers_of_a_hundred_are_odd_and_the_fifth_slows_down() {
        let begun = Instant::now();
        let now = begun + seconds(1.0);
        let mut learned = Learned::new(begun);
        learned.let_through = Some(now);
        (learned.count.let_through, learned.count.throttled) = (96.0, 2.0);
        for caller in [1, 2] {
            learned.answered(now, now, refused(caller), false);
            assert!(learned.limit.is_none());
        }
        learned.answered(now, now, refused(2), false);
        let limit = learned.limit.as_ref().unwrap();
        assert_near(limit.start, 0.8 * 101.0 * (1.0 - 5.0 / 103.0));
        assert_eq!((learned.decided, learned.count.since), (now, now));
        assert_near(learned.count.answers(), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn few_answers_do_not_guess_a_rate_below_a_window_in_a_round_trip() {
        let now = Instant::now();
        let mut learned = Learned::new(now);
        learned.let_through = Some(now);
        learned.count.let_through = 5.0;
        for caller in [1, 2] {
            learned.answered(now, now, refused(caller), false);
        }
        // Two of seven answers, since the first one may be its caller's own and decides nothing.
        let limit = learned.limit.as_ref().unwrap();
        assert_near(limit.start, 0.8 * 64.0 * (1.0 - 2.0 / 9.0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_that_is_throttled_again_and_again_decides_nothing() {
        let now = Instant::now();
        let mut learned = Learned::new(now);
        for _ in 0..10 {
            learned.answered(now, now, refused(1), false);
        }
        assert!(learned.limit.is_none());
        learned.answered(now, now, refused(2), false);
        assert!(learned.limit.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_is_busy_for_two_seconds_after_its_last_success_and_stuck_behind_them() {
        let now = Instant::now();
        let (end, behind) = (now + seconds(2.0), now + seconds(2.001));
        let mut learned = Learned::new(now);
        assert!(!learned.is_busy(now) && !learned.is_stuck(end));
        learned.let_through = Some(now);
        assert!(learned.is_busy(end) && !learned.is_busy(behind));
        learned.throttled = Some(now);
        assert!(!learned.is_stuck(end) && learned.is_stuck(behind));

        learned.stuck = seconds(4.0);
        assert_eq!(learned.stuck(end), seconds(4.0));
        assert_eq!(learned.stuck(now + seconds(5.0)), seconds(7.0));
        let through = now + seconds(6.0);
        learned.answered(through, through, Feedback::LetThrough, false);
        assert_eq!(learned.stuck(now + seconds(60.0)), seconds(8.0));
        assert!(!learned.is_stuck(now + seconds(60.0)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_limit_is_a_part_of_the_rate_that_was_let_through() {
        let now = Instant::now() + seconds(10.0);
        let before = |age: f64, trust, plateau| Limit {
            since: now - seconds(age),
            trust,
            plateau,
            ..Limit::below(100.0, 0.2, None, now)
        };
        let guessed = |age| Some(before(age, Trust::Guessed, 100.0));
        let held = || Some(before(0.0, Trust::Held, 100.0));
        for (rate, share, before, trust, start, plateau) in [
            (100.0, 0.2, None, Trust::Guessed, 64.0, 74.4),
            (100.0, 0.9, None, Trust::Guessed, 24.0, 27.9),
            (0.5, 0.5, None, Trust::Guessed, 0.5, 0.5),
            (100.0, 0.2, guessed(2.0), Trust::Bounded, 64.0, 74.4),
            (100.0, 0.2, guessed(2.001), Trust::Held, 64.0, 74.4),
            (50.0, 0.2, held(), Trust::Held, 32.0, 90.0),
            (90.0, 0.2, held(), Trust::Held, 57.6, 66.96),
            (90.0, 0.5, held(), Trust::Held, 36.0, 41.85),
            (90.0, 0.6, held(), Trust::Held, 28.8, 81.0),
        ] {
            let limit = Limit::below(rate, share, before.as_ref(), now);
            assert_eq!(limit.trust, trust, "{rate}, {share}");
            assert_near(limit.start, start);
            assert_near(limit.plateau, plateau);
            assert_eq!(limit.next, now + seconds(1.0 / limit.start));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_guessed_rate_doubles_each_second_and_a_bounded_one_rests_at_its_plateau() {
        let now = Instant::now();
        let mut limit = Limit::below(100.0, 0.2, None, now);
        for (age, rate) in [(0.0, 64.0), (1.0, 128.0), (2.0, 256.0)] {
            assert_near(limit.rate(now + seconds(age)), rate);
        }
        limit.trust = Trust::Bounded;
        // It gets back to the plateau after 3.6 seconds: the cube root of (1 - 64 / 74.4) / 0.003.
        let rest = ((1.0 - 64.0 / 74.4) / 0.003_f64).cbrt();
        for (age, rate) in [
            (0.0, 64.0),
            (rest, 74.4),
            (rest + 1.0, 74.4 * 1.003),
            (rest + 10.0, 74.4 * 4.0),
        ] {
            let actual = limit.rate(now + seconds(age));
            assert!((actual - rate).abs() < 1e-6, "{actual}, not {rate}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_keep_their_distance_and_make_up_for_fifty_milliseconds_at_most() {
        let now = Instant::now() + seconds(10.0);
        for (late, from) in [(0.0, 0.0), (0.05, 0.0), (0.2, 0.15)] {
            let mut limit = Limit::below(100.0, 0.2, None, now);
            limit.trust = Trust::Bounded;
            limit.next = now;
            let early = limit.take(now - seconds(0.001));
            assert!(
                matches!(early, SendTime::At(next) if next == now),
                "{early:?}"
            );
            let sent = now + seconds(late);
            let rate = limit.rate(sent);
            assert!(matches!(limit.take(sent), SendTime::Now));
            assert_eq!(limit.next, now + seconds(from) + seconds(1.0 / rate));
        }
    }
}
