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
            Some(_) => {
                Err(node.malformed(format!("\"{text}\" is not in the partition {partition}; sharing does not cross partitions")))
            }
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
        event.only(&Self::KEYS)?;
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
                              from AWS Marketplace and stay with the image."
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
                return Err(other.malformed(format!("does not go together with {key}; use one of the API's two styles")));
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
                return Err(attribute.malformed(format!("\"{name}\" does not go together with {key}; one attribute a request")));
            }
            return match key {
                "Description" => Self::description(&only_value(&node)?),
                "ImdsSupport" => Self::imds_support(&only_value(&node)?),
                "LaunchPermission" => Self::launch_permission(&node, partition),
                _ => Ok(Self::ProductCodes(
                    node.items()?.map(|code| code.text().map(ToOwned::to_owned)).collect::<Result<_, _>>()?,
                )),
            };
        }
        match (attribute_name, value, operation, lists.as_slice()) {
            (_, Some(value), Some(_), _) | (_, Some(value), _, [_, ..]) => {
                Err(value.malformed("does not go together with OperationType and its lists; one attribute a request"))
            }
            (Some("description"), Some(value), None, []) => Self::description(&value),
            (Some("imdsSupport"), Some(value), None, []) => Self::imds_support(&value),
            (_, Some(value), None, []) => Err(value.malformed("needs Attribute = description or imdsSupport")),
            (None | Some("launchPermission"), None, Some(operation), [_, ..]) => Self::listed(&operation, &lists, partition),
            (Some(name), None, Some(operation), _) if name != "launchPermission" => {
                Err(operation.malformed(format!("needs Attribute = launchPermission (or none), not \"{name}\"")))
            }
            (_, None, Some(operation), _) => {
                Err(operation.malformed("needs UserIds, UserGroups, OrganizationArns or OrganizationalUnitArns"))
            }
            (_, None, None, [(list, _), ..]) => Err(list.malformed("needs OperationType = add or remove")),
            (Some(name), None, None, []) => Err(event.malformed(match name {
                "launchPermission" => {
                    "no attribute to change: Attribute = launchPermission needs LaunchPermission, or OperationType and a list"
                        .to_owned()
                }
                _ => format!("no attribute to change: Attribute = {name} needs Value"),
            })),
            (None, None, None, []) => {
                Err(event.malformed(format!("no attribute to change; a request changes one of {ATTRIBUTES}")))
            }
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
        node.only(&["Add", "Remove"])?;
        let side = |key| -> Result<LaunchPermissions, Malformed> {
            let Some(entries) = node.get(key)? else { return Ok(LaunchPermissions::new()) };
            entries.items()?.map(|entry| read_entry(&entry, partition)).collect()
        };
        let (add, remove) = (side("Add")?, side("Remove")?);
        match add.intersection(&remove).next() {
            Some(both) => Err(node.malformed(format!("{both} is in Add and in Remove; EC2 does not say which would win"))),
            None => Ok(Self::LaunchPermission { add, remove }),
        }
    }

    fn listed(operation: &Node<'_>, lists: &[(Node<'_>, Kind)], partition: &str) -> Result<Self, Malformed> {
        let mut grantees = BTreeSet::new();
        for (list, kind) in lists {
            for item in list.items()? {
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

/// The one of these keys that is there, if any; two of them are two attributes.
fn one_of<'a>(event: &Node<'a>, keys: &[&'static str]) -> Result<Option<(&'static str, Node<'a>)>, Malformed> {
    let mut found: Option<(&'static str, Node<'a>)> = None;
    for key in keys {
        if let Some(node) = event.get(key)? {
            if let Some((first, _)) = found {
                return Err(node.malformed(format!("does not go together with {first}; one attribute a request")));
            }
            found = Some((key, node));
        }
    }
    Ok(found)
}

fn only_value<'a>(node: &Node<'a>) -> Result<Node<'a>, Malformed> {
    node.only(&["Value"])?;
    node.require("Value")
}

fn read_entry(entry: &Node<'_>, partition: &str) -> Result<Grantee, Malformed> {
    let keys = Kind::ALL.map(|(key, _)| key);
    entry.only(&keys)?;
    let mut grantees = Vec::new();
    for (key, kind) in Kind::ALL {
        if let Some(node) = entry.get(key)? {
            grantees.push(kind.read(&node, partition)?);
        }
    }
    match <[Grantee; 1]>::try_from(grantees) {
        Ok([grantee]) => Ok(grantee),
        Err(several) => {
            Err(entry.malformed(format!("has {} keys; an entry has exactly one of {}", several.len(), keys.join(", "))))
        }
    }
}

/// The value without what nobody filled in: null, `""`, `[]`, `{}` and what holds only such; `None` if nothing is left.
fn filled_in(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| value.clone()),
        Value::Array(items) => {
            let items: Vec<Value> = items.iter().filter_map(filled_in).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(object) => {
            let object: Map<String, Value> =
                object.iter().filter_map(|(key, value)| Some((key.clone(), filled_in(value)?))).collect();
            (!object.is_empty()).then_some(Value::Object(object))
        }
        Value::Bool(_) | Value::Number(_) => Some(value.clone()),
    }
}
