//! A `ModifyImageAttribute` request in boto3's form, which
//! `aws ec2 modify-image-attribute --generate-cli-skeleton` prints too.
//!
//! The API has two parameter styles for the same thing; both become one `RequestedChange` here.
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyImageAttribute.html>

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    json::{Malformed, Node},
    model::{
        description::check_description,
        grantee::{Grantee, LaunchPermissions},
        request::{Request, RequestedChange},
    },
};

/// A value of the API's parameter `Attribute`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttributeName {
    Description,
    ImdsSupport,
    LaunchPermission,
}

impl AttributeName {
    const ALL: [Self; 3] = [Self::Description, Self::ImdsSupport, Self::LaunchPermission];

    fn as_str(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::ImdsSupport => "imdsSupport",
            Self::LaunchPermission => "launchPermission",
        }
    }

    fn read(node: &Node<'_>) -> Result<Self, Malformed> {
        let text = node.string()?;
        for name in Self::ALL {
            if name.as_str() == text {
                return Ok(name);
            }
        }
        Err(node.malformed(format!(
            "{text:?} is not an attribute that can be changed; there are description, \
             imdsSupport and launchPermission"
        )))
    }
}

/// The rule that is broken most often, and the remedy.
const ONE_ATTRIBUTE: &str = "one attribute a request: delete the keys of the others";

/// The objects of the first style, and the attribute that each of them changes.
const OBJECTS: [(&str, Option<AttributeName>); 4] = [
    ("Description", Some(AttributeName::Description)),
    ("ImdsSupport", Some(AttributeName::ImdsSupport)),
    ("LaunchPermission", Some(AttributeName::LaunchPermission)),
    ("ProductCodes", None), // Attribute takes no such value
];

/// The lists of the second style, and what their items are.
const LISTS: [(&str, Kind); 4] = [
    ("UserIds", Kind::UserId),
    ("UserGroups", Kind::Group),
    ("OrganizationArns", Kind::OrganizationArn),
    ("OrganizationalUnitArns", Kind::OrganizationalUnitArn),
];

/// The forms in which the API takes a grantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    UserId,
    Group,
    OrganizationArn,
    OrganizationalUnitArn,
}

impl Kind {
    /// Each with its key in an entry of `LaunchPermission`.
    const ALL: [(&'static str, Self); 4] = [
        ("UserId", Self::UserId),
        ("Group", Self::Group),
        ("OrganizationArn", Self::OrganizationArn),
        ("OrganizationalUnitArn", Self::OrganizationalUnitArn),
    ];

    fn read(self, node: &Node<'_>, partition: &str) -> Result<Grantee, Malformed> {
        let text = node.string()?;
        let expected = self.expected();
        let grantee = match text.parse::<Grantee>() {
            Ok(grantee) if self.is_kind_of(&grantee) => grantee,
            _ => {
                let message = format!("{text:?} is not allowed; expected {expected}");
                return Err(node.malformed(message));
            }
        };
        match grantee.partition() {
            Some(other) if other != partition => Err(node.malformed(format!(
                "{text:?} is not in the partition {partition}; sharing does not cross \
                 partitions, so name another"
            ))),
            _ => Ok(grantee),
        }
    }

    fn is_kind_of(self, grantee: &Grantee) -> bool {
        match self {
            Self::UserId => matches!(grantee, Grantee::Account(_)),
            Self::Group => matches!(grantee, Grantee::All),
            Self::OrganizationArn => matches!(grantee, Grantee::Organization(_)),
            Self::OrganizationalUnitArn => matches!(grantee, Grantee::OrganizationalUnit(_)),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::UserId => "a 12-digit account id",
            Self::Group => "\"all\", the only group there is",
            Self::OrganizationArn => {
                "an organization's ARN, arn:PARTITION:organizations::ACCOUNT:organization/o-…"
            }
            Self::OrganizationalUnitArn => {
                "an organizational unit's ARN, arn:PARTITION:organizations::ACCOUNT:ou/o-…/ou-…"
            }
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
    /// An unknown key, a value that does not parse, or parameters that do not go together, by the
    /// API's rules.
    pub(crate) fn parse(event: &Node<'_>, partition: &str) -> Result<(Self, bool), Malformed> {
        check_keys(event)?;
        // A key of the skeleton that nobody filled in is as good as absent.
        let mut filled = Map::new();
        for (key, value) in event.object()? {
            if let Some(value) = filled_in(value) {
                filled.insert(key.clone(), value);
            }
        }
        let filled = Value::Object(filled);
        let event = Node::whole(&filled, "the event");
        let dry_run = match event.get("DryRun")? {
            Some(flag) => flag.flag()?,
            None => false,
        };
        let image = event.require("ImageId")?.parse()?;
        let change = RequestedChange::parse(&event, partition)?;
        Ok((Self { image, change }, dry_run))
    }
}

/// The two parameter styles of the API.
enum Style<'a> {
    /// An object of the attribute's name.
    First {
        key: &'static str,
        attribute: Option<AttributeName>,
        object: Node<'a>,
    },
    /// `Attribute` and `Value`, or `OperationType` and lists.
    Second(SecondStyle<'a>),
}

#[derive(Default)]
struct SecondStyle<'a> {
    value: Option<Node<'a>>,
    operation: Option<Node<'a>>,
    lists: Vec<(Node<'a>, Kind)>,
}

impl<'a> Style<'a> {
    fn of(event: &Node<'a>) -> Result<Self, Malformed> {
        let mut first: Option<(&'static str, Option<AttributeName>, Node<'a>)> = None;
        for (key, attribute) in OBJECTS {
            let Some(object) = event.get(key)? else {
                continue;
            };
            if let Some((other, ..)) = first {
                let rule = format!("does not go together with {other}; {ONE_ATTRIBUTE}");
                return Err(object.malformed(rule));
            }
            first = Some((key, attribute, object));
        }
        let second = SecondStyle::of(event)?;
        let Some((key, attribute, object)) = first else {
            return Ok(Self::Second(second));
        };
        match second.any_key() {
            Some(other) => Err(other.malformed(format!(
                "does not go together with {key}: use one of the API's two styles, and delete the \
                 keys of the other"
            ))),
            None => Ok(Self::First {
                key,
                attribute,
                object,
            }),
        }
    }
}

impl<'a> SecondStyle<'a> {
    fn of(event: &Node<'a>) -> Result<Self, Malformed> {
        let value = event.get("Value")?;
        let operation = event.get("OperationType")?;
        let mut lists = Vec::new();
        for (key, kind) in LISTS {
            if let Some(list) = event.get(key)? {
                lists.push((list, kind));
            }
        }
        Ok(Self {
            value,
            operation,
            lists,
        })
    }

    /// A key of this style that is filled in.
    fn any_key(&self) -> Option<&Node<'a>> {
        self.value.as_ref().or(self.operation_or_list())
    }

    fn operation_or_list(&self) -> Option<&Node<'a>> {
        self.operation
            .as_ref()
            .or(self.lists.first().map(|(list, _)| list))
    }
}

impl RequestedChange {
    fn parse(event: &Node<'_>, partition: &str) -> Result<Self, Malformed> {
        let named = match event.get("Attribute")? {
            Some(node) => Some((AttributeName::read(&node)?, node)),
            None => None,
        };
        match Style::of(event)? {
            Style::First {
                key,
                attribute,
                object,
            } => {
                if let Some((name, node)) = named
                    && attribute != Some(name)
                {
                    let name = name.as_str();
                    return Err(node.malformed(format!(
                        "{name:?} does not go together with {key}; {ONE_ATTRIBUTE}"
                    )));
                }
                Self::first_style(attribute, &object, partition)
            }
            Style::Second(second) => {
                Self::second_style(named.map(|(name, _)| name), &second, event, partition)
            }
        }
    }

    fn first_style(
        attribute: Option<AttributeName>,
        object: &Node<'_>,
        partition: &str,
    ) -> Result<Self, Malformed> {
        match attribute {
            Some(AttributeName::Description) => Self::description(&object.require("Value")?),
            Some(AttributeName::ImdsSupport) => Self::imds_support(&object.require("Value")?),
            Some(AttributeName::LaunchPermission) => Self::launch_permission(object, partition),
            None => {
                let mut codes = Vec::new();
                for code in object.filled_items()? {
                    codes.push(code.string()?.to_owned());
                }
                Ok(Self::ProductCodes(codes))
            }
        }
    }

    fn second_style(
        attribute: Option<AttributeName>,
        style: &SecondStyle<'_>,
        event: &Node<'_>,
        partition: &str,
    ) -> Result<Self, Malformed> {
        let other = style.operation_or_list();
        if let Some(value) = &style.value {
            if other.is_some() {
                return Err(value.malformed(format!(
                    "does not go together with OperationType and its lists; {ONE_ATTRIBUTE}"
                )));
            }
            return match attribute {
                Some(AttributeName::Description) => Self::description(value),
                Some(AttributeName::ImdsSupport) => Self::imds_support(value),
                Some(AttributeName::LaunchPermission) | None => {
                    Err(value.malformed("needs Attribute = description or imdsSupport"))
                }
            };
        }
        let Some(other) = other else {
            return Err(nothing_to_change(attribute, event));
        };
        match attribute {
            None | Some(AttributeName::LaunchPermission) => Self::listed(style, other, partition),
            Some(name) => Err(other.malformed(format!(
                "needs Attribute = launchPermission (or none), not {:?}",
                name.as_str()
            ))),
        }
    }

    /// `OperationType` and lists; `given` is one of them.
    fn listed(
        SecondStyle {
            operation, lists, ..
        }: &SecondStyle<'_>,
        given: &Node<'_>,
        partition: &str,
    ) -> Result<Self, Malformed> {
        let Some(operation) = operation else {
            return Err(given.malformed("needs OperationType = add or remove"));
        };
        if lists.is_empty() {
            let lists = LISTS.map(|(key, _)| key).join(", ");
            return Err(operation.malformed(format!("needs one of the lists {lists}")));
        }
        let mut grantees = BTreeSet::new();
        for (list, kind) in lists {
            for item in list.filled_items()? {
                grantees.insert(kind.read(&item, partition)?);
            }
        }
        let nobody = LaunchPermissions::new();
        match operation.string()? {
            "add" => Ok(Self::LaunchPermission {
                add: grantees,
                remove: nobody,
            }),
            "remove" => Ok(Self::LaunchPermission {
                add: nobody,
                remove: grantees,
            }),
            other => {
                let message = format!("{other:?} is not allowed; expected add or remove");
                Err(operation.malformed(message))
            }
        }
    }

    /// Taken literally: a request has no placeholders.
    fn description(node: &Node<'_>) -> Result<Self, Malformed> {
        let text = node.string()?;
        check_description(text).map_err(|error| node.malformed(error))?;
        Ok(Self::Description(text.to_owned()))
    }

    fn imds_support(node: &Node<'_>) -> Result<Self, Malformed> {
        Ok(Self::ImdsSupport(node.parse()?))
    }

    fn launch_permission(node: &Node<'_>, partition: &str) -> Result<Self, Malformed> {
        let add = read_entries(node, "Add", partition)?;
        let remove = read_entries(node, "Remove", partition)?;
        match add.intersection(&remove).next() {
            Some(both) => Err(node.malformed(format!(
                "{both} is in Add and in Remove, and EC2 does not define the result: delete one of \
                 them"
            ))),
            None => Ok(Self::LaunchPermission { add, remove }),
        }
    }
}

/// The error of a request in which nothing is filled in but `Attribute`, if that is.
fn nothing_to_change(attribute: Option<AttributeName>, event: &Node<'_>) -> Malformed {
    let remedy = match attribute {
        None => {
            "fill in Description, ImdsSupport or LaunchPermission, or send ImageId alone for a look"
        }
        Some(AttributeName::Description) => "Attribute = description needs Value",
        Some(AttributeName::ImdsSupport) => "Attribute = imdsSupport needs Value",
        Some(AttributeName::LaunchPermission) => {
            "Attribute = launchPermission needs LaunchPermission, or OperationType and a list"
        }
    };
    event.malformed(format!("no attribute to change: {remedy}"))
}

/// Allows no other keys than the API's, in objects that nobody filled in neither, so that a typo
/// never goes unnoticed.
fn check_keys(event: &Node<'_>) -> Result<(), Malformed> {
    event.only(&Request::KEYS)?;
    // A value that is not an object is read again where it is used; an empty one counts as absent.
    let is_object = |node: &Node<'_>| node.object().is_ok();
    for key in ["Description", "ImdsSupport"] {
        if let Some(node) = event.get(key)?
            && is_object(&node)
        {
            node.only(&["Value"])?;
        }
    }
    let node = match event.get("LaunchPermission")? {
        Some(node) if is_object(&node) => node,
        _ => return Ok(()),
    };
    node.only(&["Add", "Remove"])?;
    for side in ["Add", "Remove"] {
        let Some(list) = node.get(side)? else {
            continue;
        };
        let Ok(entries) = list.items() else { continue };
        for entry in entries {
            if is_object(&entry) {
                entry.only(&Kind::ALL.map(|(key, _)| key))?;
            }
        }
    }
    Ok(())
}

/// The grantees of `Add` or `Remove`.
fn read_entries(
    node: &Node<'_>,
    side: &str,
    partition: &str,
) -> Result<LaunchPermissions, Malformed> {
    let mut grantees = LaunchPermissions::new();
    if let Some(list) = node.get(side)? {
        for entry in list.filled_items()? {
            grantees.insert(read_entry(&entry, partition)?);
        }
    }
    Ok(grantees)
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

/// The value without its empty parts: null, `""`, `[]`, `{}` and what holds only such; `None` if
/// nothing is left. Empty items of a list leave null behind, so that the others keep their places.
fn filled_in(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => {
            if text.is_empty() {
                None
            } else {
                Some(value.clone())
            }
        }
        Value::Array(items) => {
            let items: Vec<Value> = items
                .iter()
                .map(|item| filled_in(item).unwrap_or_default())
                .collect();
            if items.iter().all(Value::is_null) {
                None
            } else {
                Some(Value::Array(items))
            }
        }
        Value::Object(object) => {
            let mut filled = Map::new();
            for (key, value) in object {
                if let Some(value) = filled_in(value) {
                    filled.insert(key.clone(), value);
                }
            }
            if filled.is_empty() {
                None
            } else {
                Some(Value::Object(filled))
            }
        }
        Value::Bool(_) | Value::Number(_) => Some(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        model::image::ImdsSupport,
        testing::{cases, grantees},
    };

    const IMAGE: &str = "ami-0123456789abcdef0";
    const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
    const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";

    fn parse(mut event: Value) -> Result<(RequestedChange, bool), String> {
        let object = event.as_object_mut().unwrap();
        object.entry("ImageId").or_insert_with(|| IMAGE.into());
        let (request, dry_run) = Request::parse(&Node::whole(&event, "the event"), "aws")
            .map_err(|error| error.to_string())?;
        assert_eq!(request.image, IMAGE.parse().unwrap());
        Ok((request.change, dry_run))
    }

    #[track_caller]
    fn wish(event: Value) -> RequestedChange {
        let (wish, dry_run) = parse(event).unwrap();
        assert!(!dry_run);
        wish
    }

    fn edit(add: &str, remove: &str) -> RequestedChange {
        RequestedChange::LaunchPermission {
            add: grantees(add),
            remove: grantees(remove),
        }
    }

    /// Each request is refused; the message begins with the path and holds the words of the rule.
    #[track_caller]
    fn refused(table: &[(Value, &str, &str)]) {
        for (event, path, rule) in table {
            let message = parse(event.clone()).expect_err(&event.to_string());
            assert!(
                message.starts_with(&format!("{path}: ")) && message.contains(rule),
                "{event}\n  {message}"
            );
        }
    }

    #[test]
    fn the_first_style_gives_each_attribute_as_an_object() {
        assert_eq!(
            wish(json!({ "Description": { "Value": "New Description" } })),
            RequestedChange::Description("New Description".into())
        );
        assert_eq!(
            wish(json!({ "ImdsSupport": { "Value": "v2.0" } })),
            RequestedChange::ImdsSupport(ImdsSupport::V2)
        );
        let add = json!([
            { "UserId": "444455556666" }, { "Group": "all" },
            { "OrganizationArn": ORGANIZATION }, { "OrganizationalUnitArn": UNIT }
        ]);
        let all = format!("444455556666 all {ORGANIZATION} {UNIT}");
        assert_eq!(
            wish(json!({ "LaunchPermission": { "Add": add } })),
            edit(&all, "")
        );
        assert_eq!(
            wish(json!({ "LaunchPermission": { "Remove": add } })),
            edit("", &all)
        );
        assert_eq!(
            wish(json!({ "LaunchPermission": {
                    "Add": [{ "UserId": "000000000001" }], "Remove": [{ "Group": "all" }] } })),
            edit("000000000001", "all")
        );
    }

    #[test]
    fn the_second_style_gives_an_operation_and_lists_or_an_attribute_and_its_value() {
        for attribute in [json!(null), json!("launchPermission")] {
            let event = json!({
                "Attribute": attribute, "OperationType": "add",
                "UserIds": ["444455556666", "222233334444"], "UserGroups": ["all"],
                "OrganizationArns": [ORGANIZATION], "OrganizationalUnitArns": [UNIT]
            });
            assert_eq!(
                wish(event),
                edit(
                    &format!("444455556666 222233334444 all {ORGANIZATION} {UNIT}"),
                    ""
                )
            );
        }
        assert_eq!(
            wish(json!({ "OperationType": "remove", "UserGroups": ["all"] })),
            edit("", "all")
        );
        assert_eq!(
            wish(json!({ "Attribute": "description", "Value": "d" })),
            RequestedChange::Description("d".into())
        );
        assert_eq!(
            wish(json!({ "Attribute": "imdsSupport", "Value": "v2.0" })),
            RequestedChange::ImdsSupport(ImdsSupport::V2)
        );
    }

    fn one_if(is_in: bool, item: &str) -> Vec<String> {
        if is_in { vec![item.to_owned()] } else { vec![] }
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
                ("UserGroups", "Group", one_if(public, "all")),
                ("OrganizationArns", "OrganizationArn", one_if(organization, ORGANIZATION)),
                ("OrganizationalUnitArns", "OrganizationalUnitArn", one_if(unit, UNIT)),
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
            (
                "launchPermission",
                "LaunchPermission",
                json!({ "Add": [{ "Group": "all" }] }),
            ),
        ] {
            assert_eq!(
                wish(json!({ "Attribute": attribute, key: value })),
                wish(json!({ key: value }))
            );
        }
    }

    #[test]
    fn a_request_is_about_exactly_one_attribute() {
        let description = json!({ "Value": "d" });
        let imds_support = json!({ "Value": "v2.0" });
        let share = json!({ "Add": [{ "Group": "all" }] });
        let rule = "one attribute a request";
        refused(&[
            (
                json!({ "Description": description, "ImdsSupport": imds_support }),
                "ImdsSupport",
                rule,
            ),
            (
                json!({ "Description": description, "LaunchPermission": share }),
                "LaunchPermission",
                rule,
            ),
            (
                json!({ "ImdsSupport": imds_support, "LaunchPermission": share }),
                "LaunchPermission",
                rule,
            ),
            (
                json!({ "Description": description, "ProductCodes": ["774F4FF8"] }),
                "ProductCodes",
                rule,
            ),
            (
                json!({ "Attribute": "description", "ImdsSupport": imds_support }),
                "Attribute",
                rule,
            ),
            (
                json!({ "Attribute": "imdsSupport", "LaunchPermission": share }),
                "Attribute",
                rule,
            ),
            (
                json!({ "Attribute": "launchPermission", "Description": description }),
                "Attribute",
                rule,
            ),
            (
                json!({ "Attribute": "description", "ProductCodes": ["774F4FF8"] }),
                "Attribute",
                rule,
            ),
            (
                json!({ "Attribute": "description", "Value": "d", "OperationType": "add" }),
                "Value",
                rule,
            ),
            (
                json!({ "Attribute": "description", "Value": "d", "UserIds": ["444455556666"] }),
                "Value",
                rule,
            ),
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
                (
                    json!({ "LaunchPermission": { "Add": [{ "Group": "all" }] }, key: value }),
                    key,
                    rule,
                ),
                (
                    json!({ "Description": { "Value": "d" }, key: value }),
                    key,
                    rule,
                ),
                (
                    json!({ "ImdsSupport": { "Value": "v2.0" }, key: value }),
                    key,
                    rule,
                ),
                (
                    json!({ "ProductCodes": ["774F4FF8"], key: value }),
                    key,
                    rule,
                ),
            ]);
        }
    }

    #[test]
    fn a_value_needs_an_attribute_that_has_one() {
        let rule = "needs Attribute = description or imdsSupport";
        refused(&[
            (json!({ "Value": "d" }), "Value", rule),
            (
                json!({ "Attribute": "launchPermission", "Value": "444455556666" }),
                "Value",
                rule,
            ),
        ]);
    }

    #[test]
    fn the_lists_and_the_operation_need_each_other_and_the_launch_permission() {
        for (list, _) in LISTS {
            refused(&[
                (
                    json!({ list: ["444455556666"] }),
                    list,
                    "needs OperationType = add or remove",
                ),
                (
                    json!({ "Attribute": "launchPermission", list: ["444455556666"] }),
                    list,
                    "needs OperationType = add or remove",
                ),
                (
                    json!({ "Attribute": "imdsSupport", list: ["444455556666"] }),
                    list,
                    "needs Attribute = launchPermission",
                ),
            ]);
        }
        refused(&[
            (
                json!({ "OperationType": "add" }),
                "OperationType",
                "needs one of the lists UserIds, UserGroups, OrganizationArns, ",
            ),
            (
                json!({ "Attribute": "launchPermission", "OperationType": "add" }),
                "OperationType",
                "needs one of the lists UserIds",
            ),
            (
                json!({ "Attribute": "description", "OperationType": "add", "UserIds": ["4"] }),
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
        let rule = "has 2 keys; an entry has exactly one of UserId, Group, OrganizationArn, \
                    OrganizationalUnitArn";
        refused(&[
            (
                json!({ "LaunchPermission": { "Add": [{ "Group": "all" }, two] } }),
                "LaunchPermission.Add[1]",
                rule,
            ),
            (
                json!({ "LaunchPermission": { "Remove": [two] } }),
                "LaunchPermission.Remove[0]",
                rule,
            ),
        ]);
    }

    #[test]
    fn the_same_grantee_is_not_both_added_and_removed() {
        let both = |entry: Value| {
            let remove = json!([{ "UserId": "222233334444" }, entry]);
            json!({ "LaunchPermission": { "Add": [entry], "Remove": remove } })
        };
        refused(&[
            (
                both(json!({ "Group": "all" })),
                "LaunchPermission",
                "all is in Add and in Remove",
            ),
            (
                both(json!({ "UserId": "444455556666" })),
                "LaunchPermission",
                "444455556666 is in Add and in Remove",
            ),
        ]);
    }

    #[test]
    fn an_unknown_attribute_names_the_three_that_exist() {
        for attribute in ["kernel", "productCodes", "Description", "launch-permission"] {
            refused(&[(
                json!({ "Attribute": attribute, "Value": "d" }),
                "Attribute",
                &format!(
                    "\"{attribute}\" is not an attribute that can be changed; there are \
                     description, imdsSupport and launchPermission"
                ),
            )]);
        }
    }

    #[test]
    fn product_codes_are_understood() {
        assert_eq!(
            wish(json!({ "ProductCodes": ["774F4FF8", "", "8SVPUQ8M"] })),
            RequestedChange::ProductCodes(vec!["774F4FF8".into(), "8SVPUQ8M".into()])
        );
    }

    #[test]
    fn empty_values_count_as_absent_wherever_they_stand() {
        for empty in [
            json!(null),
            json!(""),
            json!([]),
            json!({}),
            json!([""]),
            json!([null, {}]),
            json!({ "Value": "" }),
        ] {
            for key in Request::KEYS
                .into_iter()
                .filter(|key| !matches!(*key, "ImageId" | "Description"))
            {
                // A key that cannot stand in the object is a mistake even when it is empty.
                if key == "LaunchPermission" && empty.get("Value").is_some() {
                    continue;
                }
                let event = json!({ "Description": { "Value": "d" }, key: empty });
                assert_eq!(
                    parse(event.clone()),
                    Ok((RequestedChange::Description("d".into()), false)),
                    "{event}"
                );
            }
        }
        let nested = json!({ "LaunchPermission": {
            "Add": [
                { "UserId": "", "Group": null },
                { "UserId": "444455556666", "Group": "", "OrganizationArn": null }
            ],
            "Remove": [{}] } });
        assert_eq!(wish(nested), edit("444455556666", ""));
        assert_eq!(
            wish(json!({
                "OperationType": "remove", "UserIds": ["", "444455556666"], "UserGroups": [""]
            })),
            edit("", "444455556666")
        );
    }

    #[test]
    fn empty_items_do_not_shift_the_places_that_errors_name() {
        refused(&[
            (
                json!({ "OperationType": "add", "UserIds": ["", "bob"] }),
                "UserIds[1]",
                "\"bob\"",
            ),
            (
                json!({ "LaunchPermission": { "Add": [{}, { "Group": "bob" }] } }),
                "LaunchPermission.Add[1].Group",
                "\"bob\"",
            ),
        ]);
    }

    #[test]
    fn a_request_left_with_no_attribute_is_an_error() {
        refused(&[
            (
                json!({ "Description": { "Value": "" } }),
                "the event",
                "no attribute to change",
            ),
            (
                json!({ "DryRun": true, "LaunchPermission": {
                    "Add": [], "Remove": [{ "UserId": "" }] } }),
                "the event",
                "no attribute",
            ),
            (
                json!({ "Attribute": "launchPermission" }),
                "the event",
                "needs LaunchPermission, or OperationType and a list",
            ),
            (
                json!({ "Attribute": "description" }),
                "the event",
                "Attribute = description needs Value",
            ),
            (
                json!({ "Attribute": "imdsSupport", "ImdsSupport": {} }),
                "the event",
                "Attribute = imdsSupport needs Value",
            ),
        ]);
    }

    #[test]
    fn unknown_keys_are_errors_also_where_nothing_is_filled_in() {
        let rule = "unknown key; allowed are ";
        refused(&[
            (
                json!({ "Description": { "Value": "d" }, "description": "d" }),
                "description",
                rule,
            ),
            (
                json!({ "Description": { "Value": "d" }, "ClientToken": "" }),
                "ClientToken",
                rule,
            ),
            (
                json!({ "Description": { "value": "d" } }),
                "Description.value",
                "allowed are Value",
            ),
            (
                json!({ "Description": { "value": "" } }),
                "Description.value",
                "allowed are Value",
            ),
            (
                json!({ "ImdsSupport": { "Value": "v2.0", "Values": [] } }),
                "ImdsSupport.Values",
                "allowed are Value",
            ),
            (
                json!({ "LaunchPermission": { "add": [{ "Group": "all" }] } }),
                "LaunchPermission.add",
                "allowed are Add, Remove",
            ),
            (
                json!({ "LaunchPermission": { "Add": [{ "Group": "all" }], "Set": [] } }),
                "LaunchPermission.Set",
                "Add, Remove",
            ),
            (
                json!({ "LaunchPermission": { "Add": [{ "Group": "all" }, { "Userid": "" }] } }),
                "LaunchPermission.Add[1].Userid",
                "allowed are UserId, Group, OrganizationArn, OrganizationalUnitArn",
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
            (
                json!({ "Attribute": 1, "Value": "d" }),
                "Attribute",
                "expected a string, got 1",
            ),
            (
                json!({ "Description": "d" }),
                "Description",
                "expected an object, got \"d\"",
            ),
            (
                json!({ "Description": { "Value": ["d"] } }),
                "Description.Value",
                "expected a string, got a list",
            ),
            (
                json!({ "Attribute": "description", "Value": true }),
                "Value",
                "expected a string, got true",
            ),
            (
                json!({ "ImdsSupport": { "Value": 2.0 } }),
                "ImdsSupport.Value",
                "expected a string, got 2.0",
            ),
            (
                json!({ "ImdsSupport": ["v2.0"] }),
                "ImdsSupport",
                "expected an object, got a list",
            ),
            (
                json!({ "LaunchPermission": [{ "Group": "all" }] }),
                "LaunchPermission",
                "expected an object, got a list",
            ),
            (
                json!({ "LaunchPermission": { "Add": { "Group": "all" } } }),
                "LaunchPermission.Add",
                "expected a list, got an object",
            ),
            (
                json!({ "LaunchPermission": { "Add": ["all"] } }),
                "LaunchPermission.Add[0]",
                "expected an object, got \"all\"",
            ),
            (
                json!({ "LaunchPermission": { "Add": [{ "UserId": 444_455_556_666_u64 }] } }),
                "LaunchPermission.Add[0].UserId",
                "expected a string, got 444455556666",
            ),
            (
                json!({ "OperationType": "add", "UserIds": "444455556666" }),
                "UserIds",
                "expected a list, got \"444455556666\"",
            ),
            (
                json!({ "OperationType": "add", "UserIds": [444_455_556_666_u64] }),
                "UserIds[0]",
                "expected a string",
            ),
            (
                json!({ "OperationType": ["add"], "UserGroups": ["all"] }),
                "OperationType",
                "expected a string, got a list",
            ),
            (
                json!({ "ProductCodes": "774F4FF8" }),
                "ProductCodes",
                "expected a list",
            ),
            (
                json!({ "ProductCodes": [7] }),
                "ProductCodes[0]",
                "expected a string, got 7",
            ),
            (
                json!({ "Description": { "Value": "d" }, "DryRun": "true" }),
                "DryRun",
                "expected true or false, got \"true\"",
            ),
            (
                json!({ "ImageId": 5, "Description": { "Value": "d" } }),
                "ImageId",
                "expected a string, got 5",
            ),
        ]);
    }

    #[test]
    fn values_that_do_not_parse_are_errors_that_say_what_is_allowed() {
        let one =
            |key: &str, value: &str| json!({ "LaunchPermission": { "Add": [{ key: value }] } });
        let at = |key: &str| format!("LaunchPermission.Add[0].{key}");
        for (key, value, allowed) in [
            ("UserId", "44445555666", "a 12-digit account id"),
            ("UserId", "all", "a 12-digit account id"),
            ("UserId", "4444-5555-6666", "a 12-digit account id"),
            ("Group", "everyone", "\"all\", the only group there is"),
            ("Group", "444455556666", "\"all\", the only group there is"),
            (
                "OrganizationArn",
                "o-exampleorgid",
                "an organization's ARN, arn:",
            ),
            ("OrganizationArn", UNIT, "an organization's ARN, arn:"),
            (
                "OrganizationalUnitArn",
                "ou-ab12-cdef3456",
                "an organizational unit's ARN, arn:",
            ),
            (
                "OrganizationalUnitArn",
                ORGANIZATION,
                "an organizational unit's ARN, arn:",
            ),
        ] {
            refused(&[(
                one(key, value),
                &at(key),
                &format!("\"{value}\" is not allowed; expected {allowed}"),
            )]);
        }
        let elsewhere = "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid";
        refused(&[
            (
                one("OrganizationArn", elsewhere),
                &at("OrganizationArn"),
                "not in the partition aws",
            ),
            (
                json!({ "OperationType": "add", "OrganizationArns": [elsewhere] }),
                "OrganizationArns[0]",
                "not in the partition aws",
            ),
            (
                json!({ "ImdsSupport": { "Value": "V2.0" } }),
                "ImdsSupport.Value",
                "the only one is \"v2.0\"",
            ),
            (
                json!({ "Attribute": "imdsSupport", "Value": "v1.0" }),
                "Value",
                "the only one is \"v2.0\"",
            ),
            (
                json!({ "Description": { "Value": "caf\u{e9}" } }),
                "Description.Value",
                "ASCII",
            ),
            (
                json!({ "Description": { "Value": "d".repeat(256) } }),
                "Description.Value",
                "256 characters",
            ),
            (
                json!({ "Description": { "Value": " " } }),
                "Description.Value",
                "empty",
            ),
            (
                json!({ "ImageId": "i-0123456789abcdef0", "Description": { "Value": "d" } }),
                "ImageId",
                "\"i-0123456789abcdef0\"",
            ),
            (
                json!({ "ImageId": "", "Description": { "Value": "d" } }),
                "ImageId",
                "missing",
            ),
            (
                json!({ "ImageId": null, "Description": { "Value": "d" } }),
                "ImageId",
                "missing",
            ),
        ]);
    }

    #[test]
    fn a_description_is_taken_literally() {
        let text = format!("{{Name}} {{ {}", "d".repeat(246));
        assert_eq!(text.len(), 255);
        let event = json!({ "Description": { "Value": text } });
        assert_eq!(wish(event), RequestedChange::Description(text));
    }

    #[test]
    fn a_dry_run_may_be_asked_for_in_a_request() {
        let event = |dry_run: bool| json!({ "Description": { "Value": "d" }, "DryRun": dry_run });
        assert_eq!(
            parse(event(true)),
            Ok((RequestedChange::Description("d".into()), true))
        );
        assert_eq!(
            parse(event(false)),
            Ok((RequestedChange::Description("d".into()), false))
        );
    }
}
