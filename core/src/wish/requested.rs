//! A request as directives, which the guardrails judge like those of tags.

use super::{
    directives::{Directive, Directives},
    launch_permission::LaunchPermissionWish,
    statement::Source,
};
use crate::{
    json::shortened,
    model::{
        grantee::LaunchPermissions,
        image::Image,
        refusal::{Attribute, Ground, Refusal},
        request::{Request, RequestedChange},
    },
};

impl Directives {
    /// The directives of a request for this image.
    #[must_use]
    pub fn of_request(request: &Request, image: &Image) -> Self {
        let mut directives = Self::default();
        let (attribute, value) = match &request.change {
            RequestedChange::LaunchPermission { add, remove } => {
                let wish = LaunchPermissionWish::Edit {
                    add: add.clone(),
                    remove: remove.clone(),
                };
                directives.launch_permission = Some(wish);
                (Attribute::LaunchPermission, written(add, remove))
            }
            RequestedChange::Description(text) => {
                directives.description = Some(text.clone());
                (Attribute::Description, text.clone())
            }
            RequestedChange::ImdsSupport(value) => {
                directives.imds_support = Some(*value);
                (Attribute::ImdsSupport, value.as_str().to_owned())
            }
            RequestedChange::ProductCodes(codes) => {
                let codes = shortened(&codes.join(", "));
                let ground = Ground::NotSupported {
                    image: image.id,
                    codes: codes.clone(),
                };
                directives
                    .refusals
                    .push(Refusal::new(Attribute::ProductCodes, ground));
                (Attribute::ProductCodes, codes)
            }
        };
        directives.stated.push(Directive {
            attribute,
            value,
            sources: vec![Source::Request],
        });
        directives
    }
}

/// The grantees as a launch-permission tag would hold them.
fn written(add: &LaunchPermissions, remove: &LaunchPermissions) -> String {
    let mut items: Vec<String> = add.iter().map(ToString::to_string).collect();
    items.extend(remove.iter().map(|grantee| format!("-{grantee}")));
    items.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::image::ImdsSupport,
        testing::{grantees, image},
    };

    fn directives(change: RequestedChange) -> Directives {
        let image = image();
        let request = Request {
            image: image.id,
            change,
        };
        Directives::of_request(&request, &image)
    }

    fn stated(attribute: Attribute, value: &str) -> Vec<Directive> {
        vec![Directive {
            attribute,
            value: value.into(),
            sources: vec![Source::Request],
        }]
    }

    #[test]
    fn product_codes_are_understood_and_refused_as_not_supported_by_name() {
        let codes = vec!["774F4FF8".into(), "8SVPUQ8M".into()];
        let ground = Ground::NotSupported {
            image: image().id,
            codes: "774F4FF8, 8SVPUQ8M".into(),
        };
        let expected = Directives {
            refusals: vec![Refusal::new(Attribute::ProductCodes, ground)],
            stated: stated(Attribute::ProductCodes, "774F4FF8, 8SVPUQ8M"),
            ..Directives::default()
        };
        assert_eq!(directives(RequestedChange::ProductCodes(codes)), expected);
        let message = expected.refusals[0].message();
        assert!(
            message.contains("the request names 774F4FF8, 8SVPUQ8M"),
            "{message}"
        );
    }

    #[test]
    fn a_refusal_of_many_product_codes_stays_short() {
        let codes: Vec<String> = (0..100_000).map(|code| code.to_string()).collect();
        let message = directives(RequestedChange::ProductCodes(codes)).refusals[0].message();
        assert!(
            message.len() < 1_500 && message.contains("names 0, 1, 2, "),
            "{message}"
        );
    }

    #[test]
    fn a_request_becomes_the_directives_of_its_attribute_and_nothing_else() {
        let permission = RequestedChange::LaunchPermission {
            add: grantees("444455556666 all"),
            remove: grantees("222233334444"),
        };
        let edit = LaunchPermissionWish::Edit {
            add: grantees("444455556666 all"),
            remove: grantees("222233334444"),
        };
        for (change, expected) in [
            (
                permission,
                Directives {
                    launch_permission: Some(edit),
                    stated: stated(
                        Attribute::LaunchPermission,
                        "444455556666 all -222233334444",
                    ),
                    ..Directives::default()
                },
            ),
            (
                RequestedChange::Description("{Name}".into()),
                Directives {
                    description: Some("{Name}".into()),
                    stated: stated(Attribute::Description, "{Name}"),
                    ..Directives::default()
                },
            ),
            (
                RequestedChange::ImdsSupport(ImdsSupport::V2),
                Directives {
                    imds_support: Some(ImdsSupport::V2),
                    stated: stated(Attribute::ImdsSupport, "v2.0"),
                    ..Directives::default()
                },
            ),
        ] {
            assert_eq!(directives(change), expected);
        }
    }
}
