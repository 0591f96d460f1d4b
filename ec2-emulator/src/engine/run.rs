//! Carrying one call out, on the state as the call sees it.

use std::sync::Arc;

use serde_json::Value;

use crate::rules::call::Call;
use crate::services::caller::Caller;
use crate::services::ec2::query::Query;
use crate::services::ec2::{self, Action};
use crate::services::kms;
use crate::services::ssm;
use crate::services::sts;
use crate::state::account::State;
use crate::state::past::Past;
use crate::wire::error::ApiError;
use crate::wire::query::Params;
use crate::wire::request::Decoded;
use crate::wire::service::{EC2_VERSION, Service};
use crate::wire::spoil::{self, Spoils};
use crate::wire::xml::{Writer, Written};

/// The state as a read sees it.
#[derive(Default)]
pub(crate) struct View {
    /// All of it as it was once.
    pub(crate) seen: Option<Arc<State>>,
    /// Single resources as they were once.
    pub(crate) past: Past,
}

impl View {
    fn look<R>(&mut self, state: &mut State, look: impl FnOnce(&State) -> R) -> R {
        match &self.seen {
            Some(seen) => look(seen),
            None => state.with(&mut self.past, look),
        }
    }
}

type JsonService = fn(&State, &Caller, &str, &[u8]) -> Result<Value, ApiError>;

/// A call that may be carried out.
pub(crate) struct Run<'a> {
    pub(crate) call: &'a Call,
    pub(crate) decoded: &'a Decoded,
    pub(crate) body: &'a [u8],
    pub(crate) request_id: &'a str,
    pub(crate) caller: Caller,
}

impl Run<'_> {
    /// Carries the call out: the answer, or a refusal.
    pub(crate) fn carry_out(
        &self,
        state: &mut State,
        view: &mut View,
        spoils: &Spoils,
    ) -> Result<Written, ApiError> {
        match self.decoded.service {
            Service::Ec2 => self.ec2(state, view, spoils),
            Service::Ssm => self.json(ssm::carry_out, state, view, spoils),
            Service::Kms => self.json(kms::carry_out, state, view, spoils),
            Service::Sts => {
                let params = Params::from(self.call.params.clone());
                let (action, id) = (&self.call.action, self.request_id);
                let mut out = Writer::new(spoils);
                view.look(state, |state| {
                    sts::carry_out(state, &self.caller, action, &params, id, &mut out)
                })?;
                Ok(out.finish())
            }
        }
    }

    fn json(
        &self,
        service: JsonService,
        state: &mut State,
        view: &mut View,
        spoils: &Spoils,
    ) -> Result<Written, ApiError> {
        let action = &self.call.action;
        let answer = view.look(state, |state| {
            service(state, &self.caller, action, self.body)
        });
        let mut answer = answer?;
        let resources = spoil::resources_in(&answer);
        let results = results_in(&answer);
        spoils.apply(&mut answer);
        Ok(Written {
            text: answer.to_string(),
            resources,
            results,
        })
    }

    /// The resources in the answer, if the call is a read.
    pub(crate) fn resources(&self, state: &mut State, past: Past) -> Vec<String> {
        if self.is_write() {
            return Vec::new();
        }
        let mut view = View { seen: None, past };
        let written = self.carry_out(state, &mut view, &Spoils::default());
        written.map(|written| written.resources).unwrap_or_default()
    }

    fn is_write(&self) -> bool {
        self.decoded.service == Service::Ec2 && ec2::is_write(&self.call.action)
    }

    fn ec2(
        &self,
        state: &mut State,
        view: &mut View,
        spoils: &Spoils,
    ) -> Result<Written, ApiError> {
        let action = ec2::find(&self.call.action).ok_or_else(|| self.invalid_action())?;
        if self.decoded.version.as_deref() != Some(EC2_VERSION) {
            let text = "The specified API version does not exist.";
            return Err(ApiError::new("NoSuchVersion", text));
        }
        let mut query = Query {
            caller: &self.caller,
            params: Params::from(self.call.params.clone()),
        };
        let mut out = Writer::new(spoils);
        let mut result = Ok(());
        let name = format!("{}Response", self.call.action);
        let namespace = " xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"";
        out.element_with(&name, namespace, |w| {
            w.text("requestId", self.request_id);
            result = match action {
                Action::Read(read) => view.look(state, |state| read(state, &mut query, w)),
                Action::Write(write) => write(state, &mut query, w),
            };
        });
        result.map(|()| out.finish())
    }

    fn invalid_action(&self) -> ApiError {
        let action = &self.call.action;
        let message = format!("The action {action} is not valid for this web service.");
        ApiError::new("InvalidAction", message)
    }
}

/// How many results an answer in JSON holds: the members of its longest list.
fn results_in(answer: &Value) -> usize {
    let members = answer.as_object().into_iter().flatten();
    let lists = members.filter_map(|(_, value)| value.as_array());
    lists.map(Vec::len).max().unwrap_or_default()
}
