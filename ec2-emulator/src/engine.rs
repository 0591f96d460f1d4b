//! One call from arrival to answer: held at gates, checked, perhaps made to go wrong, carried out,
//! logged.
//!
//! Each call is carried out under one lock, so calls are carried out one after the other, in the
//! order of the log. All waiting (gates, latency, hanging) is done outside.

pub(crate) mod reply;
pub(crate) mod run;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::config::Config;
use crate::engine::reply::{Answer, Outcome, Reply};
use crate::engine::run::{Run, View};
use crate::rules::call::Call;
use crate::rules::faults::{Effect, Fate, Fault, Faults};
use crate::rules::gates::{Gates, Moment, Pass};
use crate::rules::lag::{BY_HAND, Lags};
use crate::rules::rates::{Throttle, limited_as};
use crate::rules::triggers::Triggers;
use crate::services::caller::Caller;
use crate::state::account::State;
use crate::state::partition::partition_of;
use crate::wire::error::ApiError;
use crate::wire::request::{Decoded, Request};
use crate::wire::signature::{self, Scope};

pub(crate) type Hook = Box<dyn FnMut(&Call, &mut State) + Send>;

pub(crate) struct Engine {
    region: Option<String>,
    began: Instant,
    initial: State,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    inner: Mutex<Inner>,
    /// Something happened, for waiters with a thread of their own…
    news: Condvar,
    /// … and for tasks.
    told: Notify,
}

/// What changes from call to call, under one lock.
pub(crate) struct Inner {
    pub(crate) latency: Duration,
    pub(crate) largest_page: Option<usize>,
    pub(crate) state: State,
    pub(crate) calls: Vec<Call>,
    pub(crate) faults: Faults,
    pub(crate) gates: Gates,
    pub(crate) triggers: Triggers,
    pub(crate) lags: Lags,
    pub(crate) throttle: Throttle,
    pub(crate) hooks: Vec<Hook>,
}

impl Inner {
    /// Changes the state by hand.
    pub(crate) fn edit<R>(&mut self, edit: impl FnOnce(&mut State) -> R) -> R {
        let result = edit(&mut self.state);
        self.remember(BY_HAND);
        result
    }

    fn remember(&mut self, by: &str) {
        let changes = self.state.take_changes();
        self.lags.remember(changes, by, Instant::now());
    }
}

/// Counts a request as under way for as long as it lives.
pub(crate) struct UnderWay(Arc<Engine>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A call that has arrived and is not carried out yet.
struct Arrived {
    request: Request,
    decoded: Decoded,
    call: Call,
    gate: Option<oneshot::Receiver<Pass>>,
}

impl Engine {
    pub(crate) fn new(config: Config) -> Self {
        let region = config.region.as_deref().unwrap_or("us-east-1");
        let mut state = State::new(&config.account, region);
        state.apply(config.seed);
        state.take_changes();
        Self {
            region: config.region,
            began: Instant::now(),
            initial: state.clone(),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                latency: config.latency,
                // A page of nothing would never come to an end.
                largest_page: config.largest_page.map(|size| size.max(1)),
                state,
                calls: Vec::new(),
                faults: Faults::default(),
                gates: Gates::default(),
                triggers: Triggers::default(),
                lags: Lags::new(config.lags),
                throttle: Throttle::new(config.buckets),
                hooks: Vec::new(),
            }),
            news: Condvar::new(),
            told: Notify::new(),
        }
    }

    /// What changes. A test that panicked while it held the lock has failed already.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at or changes what there is, and tells the waiters.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Inner) -> R) -> R {
        let result = work(&mut self.lock());
        self.news.notify_all();
        self.told.notify_waiters();
        result
    }

    /// Looks again whenever something happens, for at most so long, until there is a result.
    pub(crate) fn wait_for<R>(
        &self,
        patience: Duration,
        mut look: impl FnMut(&mut Inner) -> Option<R>,
    ) -> Option<R> {
        let deadline = Instant::now() + patience;
        let mut inner = self.lock();
        loop {
            if let Some(result) = look(&mut inner) {
                return Some(result);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.news.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The same for a task.
    pub(crate) async fn watch_for<R>(
        &self,
        patience: Duration,
        mut look: impl FnMut(&mut Inner) -> Option<R>,
    ) -> Option<R> {
        let watch = async {
            loop {
                let told = self.told.notified();
                tokio::pin!(told);
                // From here on no news is missed.
                told.as_mut().enable();
                if let Some(result) = look(&mut self.lock()) {
                    return result;
                }
                told.await;
            }
        };
        tokio::time::timeout(patience, watch).await.ok()
    }

    /// Back to how it all began, but for the hooks. The calls at gates go on.
    pub(crate) fn reset(&self) {
        self.with(|inner| {
            inner.state = self.initial.clone();
            inner.calls.clear();
            inner.faults.clear();
            inner.gates.clear();
            inner.triggers.clear();
            inner.lags.forget();
            inner.throttle.reset();
        });
    }

    /// Puts faults in place, behind those that are there.
    pub(crate) fn add_faults(&self, faults: Vec<Fault>) {
        let now = Instant::now();
        self.with(|inner| {
            for fault in faults {
                inner.faults.add(fault, &inner.state, now);
            }
        });
    }

    /// Milliseconds since the emulator began.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Carries a request out. The second value is to be kept until the answer is out.
    pub(crate) async fn handle(self: Arc<Self>, request: Request) -> (Reply, UnderWay) {
        let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let under_way = UnderWay(Arc::clone(&self));
        let mut arrived = self.arrive(request, in_flight);
        if is_lost(arrived.gate.take()).await {
            self.with(|inner| inner.calls.push(arrived.call));
            return (Reply::Reset(Some(Duration::ZERO)), under_way);
        }
        let (reply, gate) = self.carry_out(arrived);
        if is_lost(gate).await {
            return (Reply::Reset(Some(Duration::ZERO)), under_way);
        }
        (reply, under_way)
    }

    fn arrive(&self, request: Request, in_flight: usize) -> Arrived {
        let decoded = Decoded::from(&request);
        let at_ms = self.now_ms();
        let authorization = request.authorization.as_deref();
        let call = Call {
            number: self.requests.fetch_add(1, Ordering::SeqCst) + 1,
            service: decoded.service.name(),
            action: decoded.action.clone(),
            params: decoded.params.clone(),
            access_key_id: authorization.and_then(signature::access_key_id),
            status: None,
            error_code: None,
            at_ms,
            done_ms: at_ms,
            in_flight,
        };
        let gate = self.with(|inner| inner.gates.hold(Moment::Before, &call));
        Arrived {
            request,
            decoded,
            call,
            gate,
        }
    }

    /// The reply, and the gate that holds it.
    fn carry_out(&self, arrived: Arrived) -> (Reply, Option<oneshot::Receiver<Pass>>) {
        self.with(|inner| {
            let mut call = arrived.call.clone();
            call.done_ms = self.now_ms();
            for hook in &mut inner.hooks {
                hook(&call, &mut inner.state);
            }
            inner.triggers.pull(Moment::Before, &call, &mut inner.state);
            inner.remember(BY_HAND);
            let outcome = self.outcome(inner, &arrived);
            inner.remember(&call.action);
            inner.triggers.pull(Moment::After, &call, &mut inner.state);
            inner.remember(BY_HAND);
            if let Reply::Send(message) = &outcome.reply {
                call.status = Some(message.status);
            }
            call.error_code = outcome.code;
            let gate = inner.gates.hold(Moment::After, &call);
            inner.calls.push(call);
            (outcome.reply, gate)
        })
    }

    fn outcome(&self, inner: &mut Inner, arrived: &Arrived) -> Outcome {
        let Arrived { decoded, call, .. } = arrived;
        let request_id = format!("00000000-0000-4000-8000-{:012x}", call.number);
        let now = Instant::now();
        let answer = Answer {
            decoded,
            latency: inner.latency,
            request_id: &request_id,
        };
        let scope = match self.admit(arrived, &mut inner.throttle, now) {
            Ok(scope) => scope,
            Err(error) => return answer.refuse(error),
        };
        let mut run = Run {
            call,
            decoded,
            body: &arrived.request.body,
            request_id: &request_id,
            caller: Caller {
                partition: partition_of(&scope.region),
                region: scope.region,
                largest_page: inner.largest_page,
            },
        };
        let unseen = inner.lags.unseen_by(&call.action, now);
        let state = &mut inner.state;
        let fate = inner.faults.decide(call, now, |id, past| {
            let mut past = past.clone();
            past.extend(unseen.clone());
            let resources = run.resources(state, past);
            resources.iter().any(|resource| resource == id)
        });
        let Fate {
            effect,
            spoils,
            seen,
            mut past,
        } = fate;
        past.extend(unseen);
        let mut view = View { seen, past };
        if let Some(Effect::Page(most)) = effect {
            run.caller.largest_page = Some(most);
        }
        answer.give(effect, || {
            let written = run.carry_out(&mut inner.state, &mut view, &spoils)?;
            if call.action == "DescribeImageUsageReports" {
                inner.state.count_described(&written.resources);
            }
            Ok(written)
        })
    }

    /// Whether the request is one that may be carried out at all: well-formed, signed, and within
    /// the rate.
    fn admit(
        &self,
        arrived: &Arrived,
        throttle: &mut Throttle,
        now: Instant,
    ) -> Result<Scope, ApiError> {
        let decoded = &arrived.decoded;
        if let Some(mistake) = &decoded.mistake {
            return Err(mistake.clone());
        }
        let authorization = arrived.request.authorization.as_deref();
        let region = self.region.as_deref();
        let scope = Scope::check(authorization, decoded.service.name(), region)?;
        if throttle.admit(limited_as(&arrived.call), now) {
            Ok(scope)
        } else {
            Err(ApiError::throttled(decoded.service))
        }
    }
}

/// Waits at a gate; whether the call is lost there. A gate that goes away lets it pass.
async fn is_lost(gate: Option<oneshot::Receiver<Pass>>) -> bool {
    match gate {
        Some(gate) => gate.await == Ok(Pass::Lost),
        None => false,
    }
}
