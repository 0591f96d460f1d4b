//! A `ModifyImageAttribute` request as boto3 takes it and as `aws ec2 modify-image-attribute --generate-cli-skeleton` prints it.
//!
//! The API has two parameter styles for the same thing; both become one [`Wish`] here.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyImageAttribute.html>

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    directive::{Directive, Directives, LaunchPermissionWish, Source, check_description, read_imds_support},
    guardrail::{Attribute, Code, Refusal},
    image::{Grantee, Image, ImageId, ImdsSupport, LaunchPermissions},
    json::{Malformed, Node},
};

/// A request that has been understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The image it is for.
    pub image: ImageId,
    wish: Wish,
}

/// The one attribute that is to change.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wish {
    LaunchPermission {
        add: LaunchPermissions,
        remove: LaunchPermissions,
    },
    Description(String),
    ImdsSupport(ImdsSupport),
    /// Asked for and not supported by the API.
    ProductCodes(Vec<String>),
}

/// The values of `Attribute`.
const ATTRIBUTES: &str = "description, imdsSupport and launchPermission";

/// The rule that is broken most often, and what to do.
const ONE_ATTRIBUTE: &str = "one attribute a request: delete the keys of the others";

/// The lists of the second style: the key, and what its items are.
const LISTS: [(&str, Kind); 4] = [
    ("UserIds", Kind::UserId),
    ("UserGroups", Kind::Group),
    ("OrganizationArns", Kind::OrganizationArn),
    ("OrganizationalUnitArns", Kind::OrganizationalUnitArn),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    UserId,
    Group,
    OrganizationArn,
    OrganizationalUnitArn,
}

impl Kind {
    const ALL: [(&'static str, Self); 4] = [
        ("UserId", Self::UserId),
        ("Group", Self::Group),
        ("OrganizationArn", Self::OrganizationArn),
        ("OrganizationalUnitArn", Self::OrganizationalUnitArn),
    ];

    fn read(self, node: &Node<'_>, partition: &str) -> Result<Grantee, Malformed> {
        let text = node.text()?;
        let expected = match self {
            Self::UserId => "a 12-digit account id",
            Self::Group => "\"all\", the only group there is",
            Self::OrganizationArn => "an organization's ARN, arn:PARTITION:organizations::ACCOUNT:organization/o-…",
            Self::OrganizationalUnitArn => "an organizational unit's ARN, arn:PARTITION:organizations::ACCOUNT:ou/o-…/ou-…",
        };
        let grantee: Option<Grantee> = text.parse().ok();
        let grantee = grantee.filter(|grantee| match self {
            Self::UserId => matches!(grantee, Grantee::Account(_)),
            Self::Group => *grantee == Grantee::All,
            Self::OrganizationArn => matches!(grantee, Grantee::Organization(_)),
            Self::OrganizationalUnitArn => matches!(grantee, Grantee::OrganizationalUnit(_)),
        });
        match grantee {
            Some(grantee) if grantee.partition().is_none_or(|own| own == partition) => Ok(grantee),
            Some(_) => Err(node.malformed(format!(
                "\"{text}\" is not in the partition {partition}; sharing does not cross partitions, so name another"
            ))),
            None => Err(node.malformed(format!("\"{text}\" is not allowed; expected {expected}"))),
        }
    }
}

impl Request {
    /// The parameters of the API.
    pub const KEYS: [&'static str; 13] = [
        "Attribute",
        "Description",
        "DryRun",
        "ImageId",
        "ImdsSupport",
        "LaunchPermission",
        "OperationType",
        "OrganizationArns",
        "OrganizationalUnitArns",
        "ProductCodes",
        "UserGroups",
        "UserIds",
        "Value",
    ];

    /// Understands a request, and whether it is a dry run.
    ///
    /// # Errors
    /// An unknown key, a value that does not parse, or parameters that do not go together, by the API's rules.
    pub(crate) fn parse(event: &Node<'_>, partition: &str) -> Result<(Self, bool), Malformed> {
        known_keys(event)?;
        // What the skeleton prints and nobody filled in is as good as absent.
        let filled: Map<String, Value> =
            event.object()?.iter().filter_map(|(key, value)| Some((key.clone(), filled_in(value)?))).collect();
        let filled = Value::Object(filled);
        let event = Node::new(&filled, "");
        let dry_run = event.get("DryRun")?.map_or(Ok(false), |flag| flag.flag())?;
        let image = event.require("ImageId")?.parse()?;
        Ok((Self { image, wish: Wish::parse(&event, partition)? }, dry_run))
    }

    /// The request as directives, which the guardrails judge like those of tags.
    #[must_use]
    pub fn directives(&self, image: &Image) -> Directives {
        let mut directives = Directives::default();
        let (attribute, value) = match &self.wish {
            Wish::LaunchPermission { add, remove } => {
                directives.launch_permission = Some(LaunchPermissionWish::Edit { add: add.clone(), remove: remove.clone() });
                let adds = add.iter().map(ToString::to_string);
                let items: Vec<String> = adds.chain(remove.iter().map(|grantee| format!("-{grantee}"))).collect();
                (Attribute::LaunchPermission, items.join(" "))
            }
            Wish::Description(text) => {
                directives.description = Some(text.clone());
                (Attribute::Description, text.clone())
            }
            Wish::ImdsSupport(value) => {
                directives.imds_support = Some(*value);
                (Attribute::ImdsSupport, value.as_str().to_owned())
            }
            Wish::ProductCodes(codes) => {
                directives.refusals.push(Refusal {
                    attribute: Attribute::ProductCodes,
                    code: Code::NotSupported,
                    message: "ModifyImageAttribute does not change product codes (\"Not supported\", says its documentation). They come \
                              from AWS Marketplace and stay with the image; take ProductCodes out of the request."
                        .into(),
                    resource: image.id.to_string(),
                    ec2_code: None,
                });
                (Attribute::ProductCodes, codes.join(" "))
            }
        };
        directives.stated.push(Directive { attribute, value, sources: vec![Source::Request] });
        directives
    }
}

impl Wish {
    fn parse(event: &Node<'_>, partition: &str) -> Result<Self, Malformed> {
        let attribute = event.get("Attribute")?;
        let attribute_name = attribute.as_ref().map(Node::text).transpose()?;
        if let (Some(node), Some(name)) = (&attribute, attribute_name)
            && !matches!(name, "description" | "imdsSupport" | "launchPermission")
        {
            return Err(node.malformed(format!("\"{name}\" is no attribute that can be changed; there are {ATTRIBUTES}")));
        }

        let object = one_of(event, &["Description", "ImdsSupport", "LaunchPermission", "ProductCodes"])?;
        let value = event.get("Value")?;
        let operation = event.get("OperationType")?;
        let mut lists = Vec::new();
        for (key, kind) in LISTS {
            lists.extend(event.get(key)?.map(|list| (list, kind)));
        }
        let second_style = value.as_ref().or(operation.as_ref()).or(lists.first().map(|(list, _)| list));

        if let Some((key, node)) = object {
            if let Some(other) = second_style {
                return Err(other.malformed(format!(
                    "does not go together with {key}: use one of the API's two styles, and delete the keys of the other"
                )));
            }
            let own = match key {
                "Description" => "description",
                "ImdsSupport" => "imdsSupport",
                "LaunchPermission" => "launchPermission",
                _ => "productCodes",
            };
            if let (Some(attribute), Some(name)) = (&attribute, attribute_name)
                && name != own
            {
                return Err(attribute.malformed(format!("\"{name}\" does not go together with {key}; {ONE_ATTRIBUTE}")));
            }
            return match key {
                "Description" => Self::description(&node.require("Value")?),
                "ImdsSupport" => Self::imds_support(&node.require("Value")?),
                "LaunchPermission" => Self::launch_permission(&node, partition),
                _ => Ok(Self::ProductCodes(
                    node.filled_items()?.map(|code| code.text().map(ToOwned::to_owned)).collect::<Result<_, _>>()?,
                )),
            };
        }
        match (attribute_name, value, operation.as_ref(), lists.as_slice()) {
            (_, Some(value), Some(_), _) | (_, Some(value), _, [_, ..]) => {
                Err(value.malformed(format!("does not go together with OperationType and its lists; {ONE_ATTRIBUTE}")))
            }
            (Some("description"), Some(value), None, []) => Self::description(&value),
            (Some("imdsSupport"), Some(value), None, []) => Self::imds_support(&value),
            (_, Some(value), None, []) => Err(value.malformed("needs Attribute = description or imdsSupport")),
            (Some(name @ ("description" | "imdsSupport")), None, Some(node), _)
            | (Some(name @ ("description" | "imdsSupport")), None, None, [(node, _), ..]) => {
                Err(node.malformed(format!("needs Attribute = launchPermission (or none), not \"{name}\"")))
            }
            (_, None, Some(operation), [_, ..]) => Self::listed(operation, &lists, partition),
            (_, None, Some(operation), []) => {
                Err(operation.malformed("needs UserIds, UserGroups, OrganizationArns or OrganizationalUnitArns"))
            }
            (_, None, None, [(list, _), ..]) => Err(list.malformed("needs OperationType = add or remove")),
            (Some("launchPermission"), None, None, []) => Err(event.malformed(
                "no attribute to change: Attribute = launchPermission needs LaunchPermission, or OperationType and a list",
            )),
            (Some(name), None, None, []) => {
                Err(event.malformed(format!("no attribute to change: Attribute = {name} needs Value")))
            }
            (None, None, None, []) => Err(event.malformed(
                "no attribute to change: fill in Description, ImdsSupport or LaunchPermission, or send ImageId alone for a look",
            )),
        }
    }

    fn description(node: &Node<'_>) -> Result<Self, Malformed> {
        let text = node.text()?;
        check_description(text).map_err(|message| node.malformed(message))?;
        Ok(Self::Description(text.to_owned()))
    }

    fn imds_support(node: &Node<'_>) -> Result<Self, Malformed> {
        read_imds_support(node.text()?).map(Self::ImdsSupport).map_err(|message| node.malformed(message))
    }

    fn launch_permission(node: &Node<'_>, partition: &str) -> Result<Self, Malformed> {
        let side = |key| -> Result<LaunchPermissions, Malformed> {
            let Some(entries) = node.get(key)? else { return Ok(LaunchPermissions::new()) };
            entries.filled_items()?.map(|entry| read_entry(&entry, partition)).collect()
        };
        let (add, remove) = (side("Add")?, side("Remove")?);
        match add.intersection(&remove).next() {
            Some(both) => Err(node
                .malformed(format!("{both} is in Add and in Remove, and EC2 does not say which would win: delete one of them"))),
            None => Ok(Self::LaunchPermission { add, remove }),
        }
    }

    fn listed(operation: &Node<'_>, lists: &[(Node<'_>, Kind)], partition: &str) -> Result<Self, Malformed> {
        let mut grantees = BTreeSet::new();
        for (list, kind) in lists {
            for item in list.filled_items()? {
                grantees.insert(kind.read(&item, partition)?);
            }
        }
        match operation.text()? {
            "add" => Ok(Self::LaunchPermission { add: grantees, remove: LaunchPermissions::new() }),
            "remove" => Ok(Self::LaunchPermission { add: LaunchPermissions::new(), remove: grantees }),
            other => Err(operation.malformed(format!("\"{other}\" is not allowed; expected add or remove"))),
        }
    }
}

/// Allows no other keys than the API's, in what nobody filled in neither: a mistyped key is never silent.
fn known_keys(event: &Node<'_>) -> Result<(), Malformed> {
    event.only(&Request::KEYS)?;
    // What is no object is looked at again where it is used: empty it counts as absent, whatever it is.
    let is_object = |node: &Node<'_>| node.object().is_ok();
    for key in ["Description", "ImdsSupport"] {
        event.get(key)?.filter(is_object).map_or(Ok(()), |node| node.only(&["Value"]))?;
    }
    if let Some(node) = event.get("LaunchPermission")?.filter(is_object) {
        node.only(&["Add", "Remove"])?;
        for side in ["Add", "Remove"] {
            let entries = node.get(side)?;
            for entry in entries.iter().filter_map(|entries| entries.items().ok()).flatten().filter(is_object) {
                entry.only(&Kind::ALL.map(|(key, _)| key))?;
            }
        }
    }
    Ok(())
}

/// The one of these keys that is there, if any; two of them are two attributes.
fn one_of<'a>(event: &Node<'a>, keys: &[&'static str]) -> Result<Option<(&'static str, Node<'a>)>, Malformed> {
    let mut found: Option<(&'static str, Node<'a>)> = None;
    for key in keys {
        if let Some(node) = event.get(key)? {
            if let Some((first, _)) = found {
                return Err(node.malformed(format!("does not go together with {first}; {ONE_ATTRIBUTE}")));
            }
            found = Some((key, node));
        }
    }
    Ok(found)
}

fn read_entry(entry: &Node<'_>, partition: &str) -> Result<Grantee, Malformed> {
    let mut grantees = Vec::new();
    for (key, kind) in Kind::ALL {
        if let Some(node) = entry.get(key)? {
            grantees.push(kind.read(&node, partition)?);
        }
    }
    match <[Grantee; 1]>::try_from(grantees) {
        Ok([grantee]) => Ok(grantee),
        Err(several) => Err(entry.malformed(format!(
            "has {} keys; an entry has exactly one of {}",
            several.len(),
            Kind::ALL.map(|(key, _)| key).join(", ")
        ))),
    }
}

/// The value without what nobody filled in: null, `""`, `[]`, `{}` and what holds only such; `None` if nothing is left. Items of a list
/// leave null behind, so that the others keep their places.
fn filled_in(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| value.clone()),
        Value::Array(items) => {
            let items: Vec<Value> = items.iter().map(|item| filled_in(item).unwrap_or_default()).collect();
            items.iter().any(|item| !item.is_null()).then_some(Value::Array(items))
        }
        Value::Object(object) => {
            let object: Map<String, Value> =
                object.iter().filter_map(|(key, value)| Some((key.clone(), filled_in(value)?))).collect();
            (!object.is_empty()).then_some(Value::Object(object))
        }
        Value::Bool(_) | Value::Number(_) => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::{cases, grantees, image};

    const IMAGE: &str = "ami-0123456789abcdef0";
    const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
    const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";

    fn parse(mut event: Value) -> Result<(Wish, bool), String> {
        let object = event.as_object_mut().unwrap();
        object.entry("ImageId").or_insert_with(|| IMAGE.into());
        let (request, dry_run) = Request::parse(&Node::new(&event, ""), "aws").map_err(|error| error.to_string())?;
        assert_eq!(request.image, IMAGE.parse().unwrap());
        Ok((request.wish, dry_run))
    }

    #[track_caller]
    fn wish(event: Value) -> Wish {
        let (wish, dry_run) = parse(event).unwrap();
        assert!(!dry_run);
        wish
    }

    fn edit(add: &str, remove: &str) -> Wish {
        Wish::LaunchPermission { add: grantees(add), remove: grantees(remove) }
    }

    /// Each request is refused, and the message begins with the path and holds the words of the rule.
    #[track_caller]
    fn refused(table: &[(Value, &str, &str)]) {
        for (event, path, rule) in table {
            let message = parse(event.clone()).expect_err(&event.to_string());
            assert!(message.starts_with(&format!("{path}: ")) && message.contains(rule), "{event}\n  {message}");
        }
    }

    #[test]
    fn the_first_style_gives_each_attribute_as_an_object() {
        assert_eq!(wish(json!({ "Description": { "Value": "New Description" } })), Wish::Description("New Description".into()));
        assert_eq!(wish(json!({ "ImdsSupport": { "Value": "v2.0" } })), Wish::ImdsSupport(ImdsSupport::V2));
        let add = json!([
            { "UserId": "444455556666" }, { "Group": "all" }, { "OrganizationArn": ORGANIZATION }, { "OrganizationalUnitArn": UNIT }
        ]);
        let all = format!("444455556666 all {ORGANIZATION} {UNIT}");
        assert_eq!(wish(json!({ "LaunchPermission": { "Add": add } })), edit(&all, ""));
        assert_eq!(wish(json!({ "LaunchPermission": { "Remove": add } })), edit("", &all));
        assert_eq!(
            wish(json!({ "LaunchPermission": { "Add": [{ "UserId": "000000000001" }], "Remove": [{ "Group": "all" }] } })),
            edit("000000000001", "all")
        );
    }

    #[test]
    fn the_second_style_gives_an_operation_and_lists_or_an_attribute_and_its_value() {
        for attribute in [json!(null), json!("launchPermission")] {
            let event = json!({
                "Attribute": attribute, "OperationType": "add", "UserIds": ["444455556666", "222233334444"], "UserGroups": ["all"],
                "OrganizationArns": [ORGANIZATION], "OrganizationalUnitArns": [UNIT]
            });
            assert_eq!(wish(event), edit(&format!("444455556666 222233334444 all {ORGANIZATION} {UNIT}"), ""));
        }
        assert_eq!(wish(json!({ "OperationType": "remove", "UserGroups": ["all"] })), edit("", "all"));
        assert_eq!(wish(json!({ "Attribute": "description", "Value": "d" })), Wish::Description("d".into()));
        assert_eq!(wish(json!({ "Attribute": "imdsSupport", "Value": "v2.0" })), Wish::ImdsSupport(ImdsSupport::V2));
    }

    proptest! {
        #![proptest_config(cases(2000))]

        #[test]
        fn both_styles_give_the_same_request(
            operation in prop::sample::select(vec![("add", "Add"), ("remove", "Remove")]),
            accounts in prop::collection::vec("[0-9]{12}", 0..4),
            public in any::<bool>(),
            organization in any::<bool>(),
            unit in any::<bool>(),
            named in any::<bool>(),
        ) {
            let lists = [
                ("UserIds", "UserId", accounts),
                ("UserGroups", "Group", if public { vec!["all".to_owned()] } else { vec![] }),
                ("OrganizationArns", "OrganizationArn", if organization { vec![ORGANIZATION.to_owned()] } else { vec![] }),
                ("OrganizationalUnitArns", "OrganizationalUnitArn", if unit { vec![UNIT.to_owned()] } else { vec![] }),
            ];
            prop_assume!(lists.iter().any(|(_, _, values)| !values.is_empty()));
            let mut second = json!({ "OperationType": operation.0 });
            let mut entries = Vec::new();
            for (list, key, values) in &lists {
                second[list] = json!(values);
                entries.extend(values.iter().map(|value| json!({ *key: value })));
            }
            let mut first = json!({ "LaunchPermission": { operation.1: entries } });
            if named {
                first["Attribute"] = "launchPermission".into();
                second["Attribute"] = "launchPermission".into();
            }
            prop_assert_eq!(wish(first), wish(second));
        }
    }

    #[test]
    fn attribute_may_stand_beside_its_own_object() {
        for (attribute, key, value) in [
            ("description", "Description", json!({ "Value": "d" })),
            ("imdsSupport", "ImdsSupport", json!({ "Value": "v2.0" })),
            ("launchPermission", "LaunchPermission", json!({ "Add": [{ "Group": "all" }] })),
        ] {
            assert_eq!(wish(json!({ "Attribute": attribute, key: value })), wish(json!({ key: value })));
        }
    }

    #[test]
    fn a_request_is_about_exactly_one_attribute() {
        let description = json!({ "Value": "d" });
        let imds_support = json!({ "Value": "v2.0" });
        let share = json!({ "Add": [{ "Group": "all" }] });
        let rule = "one attribute a request";
        refused(&[
            (json!({ "Description": description, "ImdsSupport": imds_support }), "ImdsSupport", rule),
            (json!({ "Description": description, "LaunchPermission": share }), "LaunchPermission", rule),
            (json!({ "ImdsSupport": imds_support, "LaunchPermission": share }), "LaunchPermission", rule),
            (json!({ "Description": description, "ProductCodes": ["774F4FF8"] }), "ProductCodes", rule),
            (json!({ "Attribute": "description", "ImdsSupport": imds_support }), "Attribute", rule),
            (json!({ "Attribute": "imdsSupport", "LaunchPermission": share }), "Attribute", rule),
            (json!({ "Attribute": "launchPermission", "Description": description }), "Attribute", rule),
            (json!({ "Attribute": "description", "ProductCodes": ["774F4FF8"] }), "Attribute", rule),
            (json!({ "Attribute": "description", "Value": "d", "OperationType": "add" }), "Value", rule),
            (json!({ "Attribute": "description", "Value": "d", "UserIds": ["444455556666"] }), "Value", rule),
        ]);
    }

    #[test]
    fn the_two_styles_do_not_mix() {
        let rule = "does not go together with";
        for (key, value) in [
            ("Value", json!("d")),
            ("OperationType", json!("add")),
            ("UserIds", json!(["444455556666"])),
            ("UserGroups", json!(["all"])),
            ("OrganizationArns", json!([ORGANIZATION])),
            ("OrganizationalUnitArns", json!([UNIT])),
        ] {
            refused(&[
                (json!({ "LaunchPermission": { "Add": [{ "Group": "all" }] }, key: value }), key, rule),
                (json!({ "Description": { "Value": "d" }, key: value }), key, rule),
                (json!({ "ImdsSupport": { "Value": "v2.0" }, key: value }), key, rule),
                (json!({ "ProductCodes": ["774F4FF8"], key: value }), key, rule),
            ]);
        }
    }

    #[test]
    fn a_value_needs_an_attribute_that_has_one() {
        let rule = "needs Attribute = description or imdsSupport";
        refused(&[
            (json!({ "Value": "d" }), "Value", rule),
            (json!({ "Attribute": "launchPermission", "Value": "444455556666" }), "Value", rule),
        ]);
    }

    #[test]
    fn the_lists_and_the_operation_need_each_other_and_the_launch_permission() {
        for (list, _) in LISTS {
            refused(&[
                (json!({ list: ["444455556666"] }), list, "needs OperationType = add or remove"),
                (json!({ "Attribute": "launchPermission", list: ["444455556666"] }), list, "needs OperationType = add or remove"),
                (json!({ "Attribute": "imdsSupport", list: ["444455556666"] }), list, "needs Attribute = launchPermission"),
            ]);
        }
        refused(&[
            (json!({ "OperationType": "add" }), "OperationType", "needs UserIds, UserGroups, OrganizationArns or"),
            (json!({ "Attribute": "launchPermission", "OperationType": "add" }), "OperationType", "needs UserIds"),
            (
                json!({ "Attribute": "description", "OperationType": "add", "UserIds": ["444455556666"] }),
                "OperationType",
                "needs Attribute = launchPermission (or none), not \"description\"",
            ),
            (
                json!({ "OperationType": "ADD", "UserIds": ["444455556666"] }),
                "OperationType",
                "\"ADD\" is not allowed; expected add",
            ),
        ]);
    }

    #[test]
    fn an_entry_has_exactly_one_key() {
        let two = json!({ "UserId": "444455556666", "Group": "all" });
        let rule = "has 2 keys; an entry has exactly one of UserId, Group, OrganizationArn, OrganizationalUnitArn";
        refused(&[
            (json!({ "LaunchPermission": { "Add": [{ "Group": "all" }, two] } }), "LaunchPermission.Add[1]", rule),
            (json!({ "LaunchPermission": { "Remove": [two] } }), "LaunchPermission.Remove[0]", rule),
        ]);
    }

    #[test]
    fn the_same_grantee_is_not_both_added_and_removed() {
        let both =
            |entry: Value| json!({ "LaunchPermission": { "Add": [entry], "Remove": [{ "UserId": "222233334444" }, entry] } });
        refused(&[
            (both(json!({ "Group": "all" })), "LaunchPermission", "all is in Add and in Remove"),
            (both(json!({ "UserId": "444455556666" })), "LaunchPermission", "444455556666 is in Add and in Remove"),
        ]);
    }

    #[test]
    fn an_unknown_attribute_names_the_three_that_exist() {
        for attribute in ["kernel", "productCodes", "Description", "launch-permission"] {
            refused(&[(
                json!({ "Attribute": attribute, "Value": "d" }),
                "Attribute",
                &format!(
                    "\"{attribute}\" is no attribute that can be changed; there are description, imdsSupport and launchPermission"
                ),
            )]);
        }
    }

    #[test]
    fn product_codes_are_understood_and_refused_as_not_supported() {
        let request = json!({ "ImageId": IMAGE, "ProductCodes": ["774F4FF8", ""] });
        let (request, _) = Request::parse(&Node::new(&request, ""), "aws").unwrap();
        let directives = request.directives(&image());
        let [refusal] = directives.refusals.as_slice() else { panic!("{directives:?}") };
        assert_eq!((&refusal.attribute, refusal.code), (&Attribute::ProductCodes, Code::NotSupported));
        assert_eq!(directives.stated[0].value, "774F4FF8");
        assert_eq!((directives.description, directives.launch_permission), (None, None));
    }

    #[test]
    fn empty_values_count_as_absent_wherever_they_stand() {
        for empty in [json!(null), json!(""), json!([]), json!({}), json!([""]), json!([null, {}]), json!({ "Value": "" })] {
            for key in Request::KEYS.into_iter().filter(|key| !matches!(*key, "ImageId" | "Description")) {
                // A key that cannot stand in the object is a mistake even when it is empty.
                if key == "LaunchPermission" && empty.get("Value").is_some() {
                    continue;
                }
                let event = json!({ "Description": { "Value": "d" }, key: empty });
                assert_eq!(parse(event.clone()), Ok((Wish::Description("d".into()), false)), "{event}");
            }
        }
        let nested = json!({ "LaunchPermission": {
            "Add": [{ "UserId": "", "Group": null }, { "UserId": "444455556666", "Group": "", "OrganizationArn": null }], "Remove": [{}] } });
        assert_eq!(wish(nested), edit("444455556666", ""));
        assert_eq!(
            wish(json!({ "OperationType": "remove", "UserIds": ["", "444455556666"], "UserGroups": [""] })),
            edit("", "444455556666")
        );
    }

    #[test]
    fn empty_items_do_not_shift_the_places_that_errors_name() {
        refused(&[
            (json!({ "OperationType": "add", "UserIds": ["", "bob"] }), "UserIds[1]", "\"bob\""),
            (json!({ "LaunchPermission": { "Add": [{}, { "Group": "bob" }] } }), "LaunchPermission.Add[1].Group", "\"bob\""),
        ]);
    }

    #[test]
    fn a_request_left_with_no_attribute_is_an_error() {
        refused(&[
            (json!({ "Description": { "Value": "" } }), "the event", "no attribute to change"),
            (
                json!({ "DryRun": true, "LaunchPermission": { "Add": [], "Remove": [{ "UserId": "" }] } }),
                "the event",
                "no attribute",
            ),
            (json!({ "Attribute": "launchPermission" }), "the event", "needs LaunchPermission, or OperationType and a list"),
            (json!({ "Attribute": "description" }), "the event", "Attribute = description needs Value"),
            (json!({ "Attribute": "imdsSupport", "ImdsSupport": {} }), "the event", "Attribute = imdsSupport needs Value"),
        ]);
    }

    #[test]
    fn unknown_keys_are_errors_also_where_nothing_is_filled_in() {
        let rule = "unknown key; there may be ";
        refused(&[
            (json!({ "Description": { "Value": "d" }, "description": "d" }), "description", rule),
            (json!({ "Description": { "Value": "d" }, "ClientToken": "" }), "ClientToken", rule),
            (json!({ "Description": { "value": "d" } }), "Description.value", "there may be Value"),
            (json!({ "Description": { "value": "" } }), "Description.value", "there may be Value"),
            (json!({ "ImdsSupport": { "Value": "v2.0", "Values": [] } }), "ImdsSupport.Values", "there may be Value"),
            (json!({ "LaunchPermission": { "add": [{ "Group": "all" }] } }), "LaunchPermission.add", "there may be Add, Remove"),
            (json!({ "LaunchPermission": { "Add": [{ "Group": "all" }], "Set": [] } }), "LaunchPermission.Set", "Add, Remove"),
            (
                json!({ "LaunchPermission": { "Add": [{ "Group": "all" }, { "Userid": "" }] } }),
                "LaunchPermission.Add[1].Userid",
                "there may be UserId, Group, OrganizationArn, OrganizationalUnitArn",
            ),
            (
                json!({ "LaunchPermission": { "Remove": [{ "Account": "444455556666" }] } }),
                "LaunchPermission.Remove[0].Account",
                rule,
            ),
        ]);
    }

    #[test]
    fn values_of_a_wrong_type_are_errors_that_show_them() {
        refused(&[
            (json!({ "Attribute": 1, "Value": "d" }), "Attribute", "expected a text, not 1"),
            (json!({ "Description": "d" }), "Description", "expected an object, not \"d\""),
            (json!({ "Description": { "Value": ["d"] } }), "Description.Value", "expected a text, not a list"),
            (json!({ "Attribute": "description", "Value": true }), "Value", "expected a text, not true"),
            (json!({ "ImdsSupport": { "Value": 2.0 } }), "ImdsSupport.Value", "expected a text, not 2.0"),
            (json!({ "ImdsSupport": ["v2.0"] }), "ImdsSupport", "expected an object, not a list"),
            (json!({ "LaunchPermission": [{ "Group": "all" }] }), "LaunchPermission", "expected an object, not a list"),
            (
                json!({ "LaunchPermission": { "Add": { "Group": "all" } } }),
                "LaunchPermission.Add",
                "expected a list, not an object",
            ),
            (json!({ "LaunchPermission": { "Add": ["all"] } }), "LaunchPermission.Add[0]", "expected an object, not \"all\""),
            (
                json!({ "LaunchPermission": { "Add": [{ "UserId": 444_455_556_666_u64 }] } }),
                "LaunchPermission.Add[0].UserId",
                "expected a text, not 444455556666",
            ),
            (json!({ "OperationType": "add", "UserIds": "444455556666" }), "UserIds", "expected a list, not \"444455556666\""),
            (json!({ "OperationType": "add", "UserIds": [444_455_556_666_u64] }), "UserIds[0]", "expected a text"),
            (json!({ "OperationType": ["add"], "UserGroups": ["all"] }), "OperationType", "expected a text, not a list"),
            (json!({ "ProductCodes": "774F4FF8" }), "ProductCodes", "expected a list"),
            (json!({ "ProductCodes": [7] }), "ProductCodes[0]", "expected a text, not 7"),
            (json!({ "Description": { "Value": "d" }, "DryRun": "true" }), "DryRun", "expected true or false, not \"true\""),
            (json!({ "ImageId": 5, "Description": { "Value": "d" } }), "ImageId", "expected a text, not 5"),
        ]);
    }

    #[test]
    fn values_that_do_not_parse_are_errors_that_say_what_is_allowed() {
        let one = |key: &str, value: &str| json!({ "LaunchPermission": { "Add": [{ key: value }] } });
        let at = |key: &str| format!("LaunchPermission.Add[0].{key}");
        for (key, value, allowed) in [
            ("UserId", "44445555666", "a 12-digit account id"),
            ("UserId", "all", "a 12-digit account id"),
            ("UserId", "4444-5555-6666", "a 12-digit account id"),
            ("Group", "everyone", "\"all\", the only group there is"),
            ("Group", "444455556666", "\"all\", the only group there is"),
            ("OrganizationArn", "o-exampleorgid", "an organization's ARN, arn:"),
            ("OrganizationArn", UNIT, "an organization's ARN, arn:"),
            ("OrganizationalUnitArn", "ou-ab12-cdef3456", "an organizational unit's ARN, arn:"),
            ("OrganizationalUnitArn", ORGANIZATION, "an organizational unit's ARN, arn:"),
        ] {
            refused(&[(one(key, value), &at(key), &format!("\"{value}\" is not allowed; expected {allowed}"))]);
        }
        let elsewhere = "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid";
        refused(&[
            (one("OrganizationArn", elsewhere), &at("OrganizationArn"), "not in the partition aws"),
            (
                json!({ "OperationType": "add", "OrganizationArns": [elsewhere] }),
                "OrganizationArns[0]",
                "not in the partition aws",
            ),
            (json!({ "ImdsSupport": { "Value": "V2.0" } }), "ImdsSupport.Value", "the only one is \"v2.0\""),
            (json!({ "Attribute": "imdsSupport", "Value": "v1.0" }), "Value", "the only one is \"v2.0\""),
            (json!({ "Description": { "Value": "caf\u{e9}" } }), "Description.Value", "ASCII"),
            (json!({ "Description": { "Value": "d".repeat(256) } }), "Description.Value", "256 characters"),
            (json!({ "Description": { "Value": " " } }), "Description.Value", "empty"),
            (json!({ "ImageId": "i-0123456789abcdef0", "Description": { "Value": "d" } }), "ImageId", "\"i-0123456789abcdef0\""),
            (json!({ "ImageId": "", "Description": { "Value": "d" } }), "ImageId", "missing"),
            (json!({ "ImageId": null, "Description": { "Value": "d" } }), "ImageId", "missing"),
        ]);
    }

    #[test]
    fn a_description_is_taken_literally() {
        let text = format!("{{Name}} {{ {}", "d".repeat(246));
        assert_eq!(text.len(), 255);
        let event = json!({ "ImageId": IMAGE, "Description": { "Value": text } });
        let (request, _) = Request::parse(&Node::new(&event, ""), "aws").unwrap();
        assert_eq!(request.directives(&image()).description, Some(text));
    }

    #[test]
    fn a_dry_run_may_be_asked_for_in_a_request() {
        let event = |dry_run: bool| json!({ "Description": { "Value": "d" }, "DryRun": dry_run });
        assert_eq!(parse(event(true)), Ok((Wish::Description("d".into()), true)));
        assert_eq!(parse(event(false)), Ok((Wish::Description("d".into()), false)));
    }
}
