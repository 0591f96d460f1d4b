//! DescribeImageAttribute, ModifyImageAttribute, ResetImageAttribute.

use crate::services::caller::Caller;
use crate::services::ec2::answer::{succeeded, write_grantees, write_product_codes};
use crate::services::ec2::launch_permission;
use crate::services::ec2::named::{check_modifiable, own_image};
use crate::services::ec2::permissions::{LAUNCH, PermissionChange};
use crate::services::ec2::query::{Done, Query};
use crate::state::account::State;
use crate::state::image::Image;
use crate::wire::error::ApiError;
use crate::wire::query::Params;
use crate::wire::xml::Writer;

/// What the API model of CreateImage says.
const DESCRIPTION_CHARACTERS_MAX: usize = 255;

/// Source: API Reference, DescribeImageAttribute. Only the owner may ask.
pub(crate) fn describe(state: &State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
    let id = params.require("ImageId")?;
    let attribute = params.require("Attribute")?;
    let dry_run = params.finish()?;
    let image = own_image(state, &id)?;
    dry_run.permitted()?;
    match attribute.as_str() {
        "launchPermission" | "description" | "imdsSupport" | "productCodes" => {}
        // The API Reference: "The block device mapping […] results in the Client.AuthFailure
        // error."
        "blockDeviceMapping" => return Err(ApiError::image_not_yours(&id)),
        other => {
            return Err(ApiError::invalid_value(
                "Attribute",
                other,
                "The emulator knows description, imdsSupport, launchPermission and productCodes.",
            ));
        }
    }
    out.resource(&id, |w| {
        w.text("imageId", &id);
        write_attribute(w, image, &attribute);
    });
    Ok(())
}

fn write_attribute(w: &mut Writer, image: &Image, attribute: &str) {
    let value = match attribute {
        "launchPermission" => {
            return write_grantees(w, attribute, &image.launch_permissions);
        }
        "productCodes" => return write_product_codes(w, &image.product_codes),
        "description" => image.description.as_ref(),
        _ => image.imds_support.as_ref(),
    };
    w.element(attribute, |w| w.optional("value", value));
}

/// What one ModifyImageAttribute is about.
enum Change {
    Description(String),
    ImdsSupport,
    LaunchPermission(PermissionChange),
}

impl Change {
    fn attribute(&self) -> &'static str {
        match self {
            Self::Description(_) => "description",
            Self::ImdsSupport => "imdsSupport",
            Self::LaunchPermission(_) => "launchPermission",
        }
    }
}

/// Source: API Reference, ModifyImageAttribute.
///
/// Refusals come in this order: what the request alone shows, the image's existence and owner, the
/// end of a dry run, the image's state, and what forbids making it public. Nothing is changed
/// unless everything is.
pub(crate) fn modify(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let Query { caller, params } = query;
    let id = params.require("ImageId")?;
    let change = take_change(params, caller)?;
    let dry_run = params.finish()?;
    let image = own_image(state, &id)?;
    dry_run.permitted()?;
    check_modifiable(image)?;
    let permissions = match &change {
        Change::LaunchPermission(change) => Some(launch_permission::after(state, image, change)?),
        _ => None,
    };
    if let Some(image) = state.images.get_mut(&id) {
        match change {
            Change::Description(text) => image.description = Some(text),
            Change::ImdsSupport => image.imds_support = Some("v2.0".to_owned()),
            Change::LaunchPermission(_) => {
                let was_public = image.is_public();
                image.launch_permissions = permissions.unwrap_or_default();
                if image.is_public() && !was_public {
                    let latest = image.latest_public_deprecation();
                    let set = image.deprecation_time.map_or(latest, |at| at.min(latest));
                    image.deprecation_time = Some(set);
                }
            }
        }
    }
    succeeded(out);
    Ok(())
}

/// Source: API Reference, ResetImageAttribute; EC2 User Guide, "Share an AMI with specific AWS
/// accounts": it removes all explicit and public launch permissions.
pub(crate) fn reset(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
    let id = params.require("ImageId")?;
    let attribute = params.require("Attribute")?;
    let dry_run = params.finish()?;
    if attribute != "launchPermission" {
        return Err(ApiError::invalid_value(
            "Attribute",
            &attribute,
            "Only launchPermission can be reset.",
        ));
    }
    let image = own_image(state, &id)?;
    dry_run.permitted()?;
    check_modifiable(image)?;
    if let Some(image) = state.images.get_mut(&id) {
        image.launch_permissions.clear();
    }
    succeeded(out);
    Ok(())
}

fn take_change(params: &mut Params, caller: &Caller) -> Result<Change, ApiError> {
    let attribute = params.take("Attribute");
    if !params.take_list("ProductCode")?.is_empty() {
        // The API Reference says "Not supported" and nothing about the code.
        return Err(ApiError::new(
            "UnsupportedOperation",
            "Product codes are not supported.",
        ));
    }
    let mut changes = Vec::new();
    if let Some(text) = params.take("Description.Value") {
        changes.push(description(text)?);
    }
    if let Some(text) = params.take("ImdsSupport.Value") {
        changes.push(imds_support(&text)?);
    }
    if let Some(text) = params.take("Value") {
        changes.push(match attribute.as_deref() {
            Some("description") => description(text)?,
            Some("imdsSupport") => imds_support(&text)?,
            _ => {
                return Err(ApiError::invalid_combination(
                    "The parameter Value needs an Attribute of description or imdsSupport.",
                ));
            }
        });
    }
    let permissions = LAUNCH.take_all(params, caller)?;
    changes.extend(permissions.into_iter().map(Change::LaunchPermission));

    let mut changes = changes.into_iter();
    match (changes.next(), changes.next(), attribute.as_deref()) {
        (Some(_), Some(_), _) => Err(ApiError::invalid_combination(
            "Fields for multiple attribute types specified. \
             You can specify only one attribute at a time.",
        )),
        (Some(change), None, Some(attribute)) if change.attribute() != attribute => {
            Err(ApiError::invalid_combination(format!(
                "The attribute is {attribute}, but {} is given.",
                change.attribute()
            )))
        }
        (Some(change), None, _) => Ok(change),
        (None, _, None) => Err(ApiError::invalid_combination("No attributes specified.")),
        (None, _, Some("launchPermission")) => Err(ApiError::missing_parameter("LaunchPermission")),
        (None, _, Some("description")) => Err(ApiError::missing_parameter("Description")),
        (None, _, Some("imdsSupport")) => Err(ApiError::missing_parameter("ImdsSupport")),
        (None, _, Some(other)) => Err(ApiError::invalid_value(
            "Attribute",
            other,
            "Expecting description, imdsSupport or launchPermission.",
        )),
    }
}

/// ASCII only: real refusals are known. What EC2 does with an empty description is not known:
/// refused here, so that nobody relies on it.
fn description(text: String) -> Result<Change, ApiError> {
    let refuse = |why: &str| Err(ApiError::invalid_value("description", &text, why));
    if !text.is_ascii() {
        return refuse("Character sets beyond ASCII are not supported.");
    }
    if text.len() > DESCRIPTION_CHARACTERS_MAX {
        let most = DESCRIPTION_CHARACTERS_MAX;
        return refuse(&format!(
            "The description may hold at most {most} characters."
        ));
    }
    if text.is_empty() {
        return refuse("The description may not be empty.");
    }
    Ok(Change::Description(text))
}

/// EC2 User Guide, "Configure the instance metadata options": `v2.0` is the only value, and it
/// cannot be taken back.
fn imds_support(text: &str) -> Result<Change, ApiError> {
    match text {
        "v2.0" => Ok(Change::ImdsSupport),
        other => Err(ApiError::invalid_value(
            "imdsSupport",
            other,
            "Expecting v2.0.",
        )),
    }
}
