//! How a reply is made of what a fault does and what the service says.

use std::time::Duration;

use crate::rules::faults::Effect;
use crate::wire::answer::Message;
use crate::wire::error::ApiError;
use crate::wire::request::Decoded;
use crate::wire::xml::Written;

/// What the server is to do about a request.
pub(crate) enum Reply {
    Send(Message),
    /// Reset the connection, after so long; never: wait for the client to go away.
    Reset(Option<Duration>),
}

/// What became of a call.
pub(crate) struct Outcome {
    pub(crate) reply: Reply,
    pub(crate) code: Option<String>,
}

/// How a reply is made of what a fault does and what the service says.
pub(crate) struct Answer<'a> {
    pub(crate) decoded: &'a Decoded,
    pub(crate) latency: Duration,
    pub(crate) request_id: &'a str,
}

impl Answer<'_> {
    pub(crate) fn refuse(&self, error: ApiError) -> Outcome {
        let code = Some(error.code.clone());
        let reply = Reply::Send(self.message(Err(error)));
        Outcome { reply, code }
    }

    fn message(&self, result: Result<String, ApiError>) -> Message {
        let mut message = Message::new(result, self.decoded.service, self.request_id);
        message.delay = self.latency;
        message
    }

    /// The reply to a call that may be carried out, in whichever way it goes wrong.
    pub(crate) fn give(
        &self,
        effect: Option<Effect>,
        carry_out: impl FnOnce() -> Result<Written, ApiError>,
    ) -> Outcome {
        let reset = |after| Outcome {
            reply: Reply::Reset(after),
            code: None,
        };
        match effect {
            Some(Effect::ResetBefore) => return reset(Some(Duration::ZERO)),
            Some(Effect::Hang(ms)) => return reset(ms.map(Duration::from_millis)),
            Some(Effect::ResetAfter) => {
                // Nobody will hear of the outcome.
                let _ = carry_out();
                return reset(Some(self.latency));
            }
            Some(Effect::Refuse(error)) => return self.refuse(error),
            Some(Effect::Garbage { status, body }) => {
                let mut message = self.message(Ok(body));
                message.status = status;
                message.content_type = "text/html";
                let reply = Reply::Send(message);
                return Outcome { reply, code: None };
            }
            _ => {}
        }
        let result = carry_out();
        let results = result.as_ref().map_or(0, |written| written.results);
        let code = result.as_ref().err().map(|error| error.code.clone());
        let mut message = self.message(result.map(|written| written.text));
        match effect {
            Some(Effect::Delay(ms)) => message.delay += Duration::from_millis(ms),
            Some(Effect::DelayPerResult(ms)) => {
                let results = u64::try_from(results).unwrap_or(u64::MAX);
                message.delay += Duration::from_millis(ms.saturating_mul(results));
            }
            Some(Effect::Truncate) => message.truncated = true,
            _ => {}
        }
        let reply = Reply::Send(message);
        Outcome { reply, code }
    }
}
