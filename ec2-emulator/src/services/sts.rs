//! STS: GetCallerIdentity, in the Query protocol.
//! Source: STS API Reference, GetCallerIdentity; nobody needs a permission for it.

use crate::services::caller::Caller;
use crate::state::account::State;
use crate::wire::error::ApiError;
use crate::wire::query::Params;
use crate::wire::service::STS_VERSION;
use crate::wire::xml::Writer;

pub(crate) fn carry_out(
    state: &State,
    caller: &Caller,
    action: &str,
    params: &Params,
    request_id: &str,
    out: &mut Writer,
) -> Result<(), ApiError> {
    if action != "GetCallerIdentity" {
        let message = format!("Could not find operation {action} for version {STS_VERSION}");
        return Err(ApiError::new("InvalidAction", message));
    }
    params.finish_member()?;
    let namespace = " xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"";
    out.element_with("GetCallerIdentityResponse", namespace, |w| {
        w.element("GetCallerIdentityResult", |w| {
            let account = state.account();
            let arn = format!("arn:{}:iam::{account}:user/emulated", caller.partition);
            w.text("Arn", state.caller_arn.as_ref().unwrap_or(&arn));
            w.text("UserId", "AIDAEMULATED00000000");
            w.text("Account", account);
        });
        w.element("ResponseMetadata", |w| w.text("RequestId", request_id));
    });
    Ok(())
}
