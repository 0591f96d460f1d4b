//! One request from arrival to answer: decoded, checked, perhaps made to go wrong, carried out,
//! logged.
//!
//! All of it happens under one lock, so requests are carried out one after the other, in the order
//! of the log. Only the waiting (latency, hanging) is done outside, by the server.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Config;
use crate::bucket::{SNAPSHOTS_UNFILTERED, Throttle};
use crate::call::Call;
use crate::ec2::{self, Action, Caller};
use crate::faults::{Effect, Faults};
use crate::ssm::{self, Place};
use crate::state::State;
use crate::wire::error::ApiError;
use crate::wire::query::Params;
use crate::wire::signature::Scope;
use crate::wire::xml::Writer;

/// A request to EC2 or Systems Manager as it came over the wire.
pub(crate) struct Request<'a> {
    pub(crate) query: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) authorization: Option<&'a str>,
    /// `X-Amz-Target`: there for Systems Manager only.
    pub(crate) target: Option<&'a str>,
}

/// What the server is to do about a request.
pub(crate) enum Reply {
    Send(Message),
    /// Reset the connection, after so long; never: wait for the client to go away.
    Reset(Option<Duration>),
}

pub(crate) struct Message {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) request_id: String,
    pub(crate) body: String,
    pub(crate) delay: Duration,
    /// To be broken off half-way.
    pub(crate) truncated: bool,
}

pub(crate) type Hook = Box<dyn FnMut(&Call, &mut State) + Send>;

pub(crate) struct Engine {
    region: Option<String>,
    latency: Duration,
    largest_page: Option<usize>,
    began: Instant,
    initial: State,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    inner: Mutex<Inner>,
}

/// What changes.
pub(crate) struct Inner {
    pub(crate) state: State,
    pub(crate) calls: Vec<Call>,
    pub(crate) faults: Faults,
    pub(crate) throttle: Throttle,
    pub(crate) hooks: Vec<Hook>,
}

/// Counts a request as under way for as long as it lives.
pub(crate) struct UnderWay(Arc<Engine>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Engine {
    pub(crate) fn new(config: Config) -> Self {
        let mut state = State::new(&config.account);
        state.apply(config.seed);
        Self {
            region: config.region,
            latency: config.latency,
            // A page of nothing would never come to an end.
            largest_page: config.largest_page.map(|size| size.max(1)),
            began: Instant::now(),
            initial: state.clone(),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                state,
                calls: Vec::new(),
                faults: Faults::default(),
                throttle: Throttle::new(config.buckets),
                hooks: Vec::new(),
            }),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("an earlier hook or edit panicked")
    }

    /// Back to how it all began, but for the hooks.
    pub(crate) fn reset(&self) {
        let mut inner = self.lock();
        inner.state = self.initial.clone();
        inner.calls.clear();
        inner.faults.clear();
        inner.throttle.reset();
    }

    /// Takes a request in. The second value is to be kept until the answer is out.
    pub(crate) fn receive(self: &Arc<Self>, request: &Request) -> (Reply, UnderWay) {
        let under_way = UnderWay(Arc::clone(self));
        let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let request_id = format!("00000000-0000-4000-8000-{number:012x}");

        let mut inner = self.lock();
        let Inner {
            state,
            calls,
            faults,
            throttle,
            hooks,
        } = &mut *inner;
        let decoded = Decoded::from(request);
        let mut call = Call {
            service: decoded.service(),
            action: decoded.action.clone(),
            params: decoded.logged.clone(),
            status: None,
            error_code: None,
            at_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            in_flight,
        };
        for hook in hooks {
            hook(&call, state);
        }
        let admitted = self
            .admit(request, &decoded, throttle)
            .map(|scope| (scope, faults.pick(&decoded.action, &decoded.logged)));
        let (scope, effect) = match admitted {
            Ok((scope, effect)) => (Ok(scope), effect),
            Err(error) => (Err(error), None),
        };
        let carry_out = |from: Option<&State>, omit: &[String]| {
            scope.and_then(|scope| {
                self.carry_out(state, from, &scope, request, &decoded, omit, &request_id)
            })
        };
        let is_query = request.target.is_none();
        let send = |result: Result<String, ApiError>, delay: u64, truncated: bool| Message {
            delay: self.latency + Duration::from_millis(delay),
            truncated,
            ..message(result, is_query, &request_id)
        };
        let (sent, code) = match effect {
            Some(Effect::ResetBefore) => (Reply::Reset(Some(Duration::ZERO)), None),
            Some(Effect::Hang(ms)) => (Reply::Reset(ms.map(Duration::from_millis)), None),
            Some(Effect::ResetAfter) => {
                // What became of it does not matter: nobody will hear of it.
                let _ = carry_out(None, &[]);
                (Reply::Reset(Some(self.latency)), None)
            }
            Some(Effect::Garbage { status, body }) => {
                let garbage = Message {
                    status,
                    content_type: "text/html",
                    ..send(Ok(body), 0, false)
                };
                (Reply::Send(garbage), None)
            }
            other => {
                let (result, delay, truncated) = match other {
                    Some(Effect::Refuse(error)) => (Err(error), 0, false),
                    Some(Effect::Truncate) => (carry_out(None, &[]), 0, true),
                    Some(Effect::Delay(ms)) => (carry_out(None, &[]), ms, false),
                    Some(Effect::Omit(elements)) => (carry_out(None, &elements), 0, false),
                    Some(Effect::ReadFrom(past)) => (carry_out(Some(&past), &[]), 0, false),
                    _ => (carry_out(None, &[]), 0, false),
                };
                let code = result.as_ref().err().map(|error| error.code.clone());
                (Reply::Send(send(result, delay, truncated)), code)
            }
        };
        if let Reply::Send(message) = &sent {
            call.status = Some(message.status);
        }
        call.error_code = code;
        calls.push(call);
        (sent, under_way)
    }

    /// Whether the request is one that may be carried out at all: well-formed, signed, and within
    /// the rate.
    fn admit(
        &self,
        request: &Request,
        decoded: &Decoded,
        throttle: &mut Throttle,
    ) -> Result<Scope, ApiError> {
        if let Err(error) = &decoded.params {
            return Err(error.clone());
        }
        let scope = Scope::check(
            request.authorization,
            decoded.service(),
            self.region.as_deref(),
        )?;
        if throttle.admit(decoded.bucket(), Instant::now()) {
            Ok(scope)
        } else if request.target.is_some() {
            Err(ApiError::new("ThrottlingException", "Rate exceeded"))
        } else {
            Err(ApiError::throttled())
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one caller, and no two alike")]
    fn carry_out(
        &self,
        state: &mut State,
        past: Option<&State>,
        scope: &Scope,
        request: &Request,
        decoded: &Decoded,
        omit: &[String],
        request_id: &str,
    ) -> Result<String, ApiError> {
        if request.target.is_some() {
            let state = past.unwrap_or(state);
            let place = Place {
                account: state.account(),
                partition: scope.partition(),
                region: &scope.region,
                largest_page: self.largest_page,
            };
            return ssm::carry_out(state, &place, &decoded.action, request.body)
                .map(|value| value.to_string());
        }
        let action = ec2::find(&decoded.action).ok_or_else(|| {
            ApiError::new(
                "InvalidAction",
                format!(
                    "The action {} is not valid for this web service.",
                    decoded.action
                ),
            )
        })?;
        if decoded.version.as_deref() != Some("2016-11-15") {
            return Err(ApiError::new(
                "NoSuchVersion",
                "The specified API version does not exist.",
            ));
        }
        let caller = Caller {
            partition: scope.partition(),
            largest_page: self.largest_page,
        };
        let mut params = Params::from(decoded.logged.clone());
        let mut out = Writer::new(omit);
        let mut result = Ok(());
        out.element_with(
            &format!("{}Response", decoded.action),
            " xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"",
            |w| {
                w.text("requestId", request_id);
                result = match action {
                    Action::Read(read) => read(past.unwrap_or(state), &caller, &mut params, w),
                    Action::Write(write) => write(state, &caller, &mut params, w),
                };
            },
        );
        result.map(|()| out.finish())
    }
}

/// A request's parts, as far as they can be told.
struct Decoded {
    is_ssm: bool,
    action: String,
    version: Option<String>,
    /// The parameters, for the log and for the action.
    logged: BTreeMap<String, String>,
    params: Result<(), ApiError>,
}

impl Decoded {
    fn from(request: &Request) -> Self {
        match request.target {
            Some(target) => Self::from_json(target, request.body),
            None => Self::from_query(request),
        }
    }

    fn from_query(request: &Request) -> Self {
        let mut decoded = Self {
            is_ssm: false,
            action: String::new(),
            version: None,
            logged: BTreeMap::new(),
            params: Ok(()),
        };
        match Params::decode(request.query, request.body) {
            Ok(mut params) => {
                decoded.action = params.take("Action").unwrap_or_default();
                decoded.version = params.take("Version");
                decoded.logged = params.into_left();
            }
            Err(error) => decoded.params = Err(error),
        }
        decoded
    }

    fn from_json(target: &str, body: &[u8]) -> Self {
        let mut decoded = Self {
            is_ssm: true,
            action: target.to_owned(),
            version: None,
            logged: BTreeMap::new(),
            params: Ok(()),
        };
        match target.strip_prefix("AmazonSSM.") {
            Some(operation) => decoded.action = operation.to_owned(),
            None => decoded.params = Err(ApiError::new("UnknownOperationException", target)),
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => {
                decoded.logged = members
                    .into_iter()
                    .map(|(name, value)| match value {
                        Value::String(text) => (name, text),
                        other => (name, other.to_string()),
                    })
                    .collect();
            }
            _ => {
                decoded.params = Err(ApiError::new(
                    "SerializationException",
                    "The body is no JSON object",
                ));
            }
        }
        decoded
    }

    fn service(&self) -> &'static str {
        if self.is_ssm { "ssm" } else { "ec2" }
    }

    fn bucket(&self) -> &str {
        let names_nothing = self
            .logged
            .keys()
            .all(|name| name == "DryRun" || name.starts_with("Owner."));
        if self.action == "DescribeSnapshots" && names_nothing {
            SNAPSHOTS_UNFILTERED
        } else {
            &self.action
        }
    }
}

/// The answer in the protocol's form.
fn message(result: Result<String, ApiError>, is_query: bool, request_id: &str) -> Message {
    let status = result.as_ref().err().map_or(200, |error| error.status);
    let body = match result {
        Ok(body) => body,
        Err(error) if is_query => {
            let mut out = Writer::new(&[]);
            out.element("Response", |w| {
                w.element("Errors", |w| {
                    w.element("Error", |w| {
                        w.text("Code", &error.code);
                        w.text("Message", &error.message);
                    });
                });
                w.text("RequestID", request_id);
            });
            out.finish()
        }
        Err(error) => json!({ "__type": error.code, "message": error.message }).to_string(),
    };
    Message {
        status,
        content_type: if is_query {
            "text/xml;charset=UTF-8"
        } else {
            "application/x-amz-json-1.1"
        },
        request_id: request_id.to_owned(),
        body,
        delay: Duration::ZERO,
        truncated: false,
    }
}
