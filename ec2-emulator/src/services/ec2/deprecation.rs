//! EnableImageDeprecation and DisableImageDeprecation.
//! Source: API Reference of both; EC2 User Guide, "Deprecate an Amazon EC2 AMI". No real refusal is
//! known: the codes here are not confirmed.

use chrono::{DateTime, Months, Utc};

use crate::services::ec2::answer::succeeded;
use crate::services::ec2::named::{check_modifiable, own_image, take_image};
use crate::services::ec2::query::{Done, Query};
use crate::state::account::State;
use crate::state::image::{Image, timestamp, to_the_minute};
use crate::wire::error::ApiError;
use crate::wire::query::Params;
use crate::wire::xml::Writer;

pub(crate) fn enable(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
    let id = params.require("ImageId")?;
    let at = take_time(params)?;
    let dry_run = params.finish()?;
    let image = own_image(state, &id)?;
    dry_run.permitted()?;
    // Whether images that are not available can be deprecated is not documented.
    check_modifiable(image)?;
    check_time(image, at)?;
    if let Some(image) = state.images.get_mut(&id) {
        image.deprecation_time = Some(to_the_minute(at));
        image.deprecation_text = None;
    }
    succeeded(out);
    Ok(())
}

pub(crate) fn disable(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let image = take_image(state, &mut query.params)?;
    check_modifiable(image)?;
    if image.is_public() {
        // The User Guide: to cancel the deprecation of a public AMI, make it private first.
        let message = "The deprecation of a public image can’t be canceled.";
        return Err(ApiError::new("OperationNotPermitted", message));
    }
    image.deprecation_time = None;
    image.deprecation_text = None;
    succeeded(out);
    Ok(())
}

/// A time in UTC, such as `2027-06-30T00:00:00Z`, with or without fractions of a second.
fn take_time(params: &mut Params) -> Result<DateTime<Utc>, ApiError> {
    let text = params.require("DeprecateAt")?;
    let time = if text.ends_with('Z') {
        text.parse().ok()
    } else {
        None
    };
    time.ok_or_else(|| refuse(&text, "Expecting the form YYYY-MM-DDTHH:MM:SSZ."))
}

fn check_time(image: &Image, at: DateTime<Utc>) -> Result<(), ApiError> {
    let now = Utc::now();
    let text = timestamp(at);
    if at < now {
        return Err(refuse(&text, "It is in the past."));
    }
    if now
        .checked_add_months(Months::new(120))
        .is_some_and(|most| at > most)
    {
        return Err(refuse(&text, "It is more than 10 years from now."));
    }
    if image.is_public() && to_the_minute(at) > image.latest_public_deprecation() {
        return Err(refuse(
            &text,
            "It is more than 2 years after the creation of a public image.",
        ));
    }
    Ok(())
}

fn refuse(value: &str, why: &str) -> ApiError {
    ApiError::invalid_value("DeprecateAt", value, why)
}
