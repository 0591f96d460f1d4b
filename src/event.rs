//! What happened: the JSON an invocation brings, turned into work.
//!
//! An event only says *look at this image*; nothing else in it is trusted. Details are read tolerantly, but a recognised event without
//! the field that is needed is an error, so that Lambda keeps it.

use std::collections::BTreeSet;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use serde::Serialize;
use serde_json::Value;

use crate::{
    image::ImageId,
    json::{Malformed, Node},
    request::Request,
};

/// What an invocation is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Nothing.
    Ignored {
        /// Why not.
        reason: String,
    },
    /// Something.
    Job(Job),
}

/// Work, and what set it off.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// What set it off.
    pub trigger: Trigger,
    /// Whether this invocation was asked to change nothing.
    pub dry_run: bool,
    /// What to do.
    pub work: Work,
}

/// What set an invocation off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// EC2's own event about an image.
    Ec2AmiStateChange,
    /// An API call that a trail recorded.
    Cloudtrail,
    /// Somebody changed the tags of an image.
    TagChange,
    /// The clock.
    Schedule,
    /// A group or rule changed.
    PolicyChange,
    /// A person, or this function's own continuation.
    Request,
    /// An event that concerns nothing here.
    Ignored,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Look at these images.
    Look {
        /// Each once, in the order of the event.
        images: Vec<ImageId>,
        /// What the event lets us expect of them.
        expect: Expect,
    },
    /// Look at every image.
    Sweep {
        /// Those up to this id are done already.
        after: Option<ImageId>,
        /// Images to look at besides.
        also: Vec<ImageId>,
    },
    /// Carry out a request for one image, guardrails permitting.
    Request(Request),
}

/// What an event lets us expect of its image, although EC2's answers may lag behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Nothing,
    /// It was just created: it exists.
    Exists,
    /// It just became available.
    Available,
}

/// An event that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// One that EventBridge delivered.
    #[error("{0}")]
    Event(Malformed),
    /// One that a person sent.
    #[error("{0}")]
    Request(Malformed),
}

/// What this function has been told about its surroundings that is needed to understand events.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Where groups and rules are kept.
    pub policy_path: Option<&'a str>,
    /// The partition of this Region.
    pub partition: &'a str,
}

/// The keys of a look or a sweep; anything else makes a bare event a `ModifyImageAttribute` request.
const LOOK_KEYS: [&str; 4] = ["ImageId", "ImageIds", "Sweep", "DryRun"];

impl Event {
    /// Understands the JSON of an invocation.
    ///
    /// # Errors
    /// A recognised event whose needed field is missing or malformed, or bare JSON that asks for nothing known.
    pub fn parse(event: &Value, surroundings: Surroundings<'_>) -> Result<Self, EventError> {
        if event.get("detail-type").is_some() {
            Self::from_bus(event, surroundings).map_err(EventError::Event)
        } else {
            Self::by_hand(&Node::new(event, ""), surroundings).map_err(EventError::Request)
        }
    }

    fn from_bus(event: &Value, surroundings: Surroundings<'_>) -> Result<Self, Malformed> {
        let event: EventBridgeEvent = serde_path_to_error::deserialize(event)
            .map_err(|error| Malformed { path: error.path().to_string(), message: error.inner().to_string() })?;
        let detail = Node::new(&event.detail, "detail");
        match (event.source.as_str(), event.detail_type.as_str()) {
            ("aws.ec2", "EC2 AMI State Change") => Self::state_change(&detail),
            ("aws.ec2", "AWS API Call via CloudTrail") => Self::api_call(&detail),
            ("aws.tag", "Tag Change on Resource") => Self::tag_change(&detail, &event.resources.unwrap_or_default()),
            ("aws.events" | "aws.scheduler", "Scheduled Event") => Ok(Self::sweep(Trigger::Schedule)),
            ("aws.ssm", "Parameter Store Change") => Self::parameter_change(&detail, surroundings.policy_path),
            ("ami-warden", _) => Self::custom(&detail),
            (source, detail_type) => Ok(Self::ignored(format!("\"{detail_type}\" from {source} concerns no image here"))),
        }
    }

    fn ignored(reason: impl Into<String>) -> Self {
        Self::Ignored { reason: reason.into() }
    }

    fn look(trigger: Trigger, images: Vec<ImageId>, expect: Expect) -> Self {
        Self::Job(Job { trigger, dry_run: false, work: Work::Look { images, expect } })
    }

    fn sweep(trigger: Trigger) -> Self {
        Self::Job(Job { trigger, dry_run: false, work: Work::Sweep { after: None, also: Vec::new() } })
    }

    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitor-ami-events.html>
    fn state_change(detail: &Node<'_>) -> Result<Self, Malformed> {
        match detail.require("State")?.text()? {
            "available" => {
                Ok(Self::look(Trigger::Ec2AmiStateChange, vec![detail.require("ImageId")?.parse()?], Expect::Available))
            }
            state => Ok(Self::ignored(format!("an image that is {state} is left alone"))),
        }
    }

    fn api_call(detail: &Node<'_>) -> Result<Self, Malformed> {
        let (source, name) = (detail.require("eventSource")?.text()?, detail.require("eventName")?.text()?);
        // Other services have calls of these names too, for example AppStream's CreateImage.
        if source != "ec2.amazonaws.com" {
            return Ok(Self::ignored(format!("{name} is a call of {source}")));
        }
        // Failed calls, and dry runs, have an errorCode, and often lack the rest.
        if let Some(code) = detail.get("errorCode")? {
            return Ok(Self::ignored(format!("{name} failed with {}", code.text()?)));
        }
        match name {
            "CreateImage" | "CopyImage" | "RegisterImage" => {
                let image = detail.require("responseElements")?.require("imageId")?.parse()?;
                Ok(Self::look(Trigger::Cloudtrail, vec![image], Expect::Exists))
            }
            "CreateTags" | "DeleteTags" => {
                let resources = detail.require("requestParameters")?.require("resourcesSet")?.require("items")?;
                let mut images = Vec::new();
                for item in resources.items()? {
                    let id = item.require("resourceId")?;
                    if id.text()?.starts_with("ami-") {
                        images.push(id.parse()?);
                    }
                }
                if images.is_empty() {
                    return Ok(Self::ignored(format!("{name} names no image")));
                }
                Ok(Self::look(Trigger::Cloudtrail, each_once(images), Expect::Nothing))
            }
            _ => Ok(Self::ignored(format!("{name} changes no image's tags and makes no image"))),
        }
    }

    /// <https://docs.aws.amazon.com/tag-editor/latest/userguide/monitor-tag-changes.html>
    fn tag_change(detail: &Node<'_>, resources: &[String]) -> Result<Self, Malformed> {
        let (service, kind) = (detail.require("service")?.text()?, detail.require("resource-type")?.text()?);
        if (service, kind) != ("ec2", "image") {
            return Ok(Self::ignored(format!("the tags of a {service} {kind} concern no image")));
        }
        let mut images = Vec::new();
        for (index, arn) in resources.iter().enumerate() {
            // EC2's own image ARNs have no account, those of the tagging API have one: only what follows matters.
            let id = arn.rsplit_once("image/").map_or(arn.as_str(), |(_, id)| id);
            images.push(
                id.parse()
                    .map_err(|error| Malformed { path: format!("resources[{index}]"), message: format!("\"{arn}\": {error}") })?,
            );
        }
        if images.is_empty() {
            return Err(Malformed { path: "resources[0]".into(), message: "missing; expected the ARN of an image".into() });
        }
        Ok(Self::look(Trigger::TagChange, each_once(images), Expect::Nothing))
    }

    fn parameter_change(detail: &Node<'_>, policy_path: Option<&str>) -> Result<Self, Malformed> {
        let name = detail.require("name")?.text()?;
        let below = |path: &str| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        Ok(if policy_path.is_some_and(below) {
            Self::sweep(Trigger::PolicyChange)
        } else {
            Self::ignored(format!("the parameter {name} is not part of the policy"))
        })
    }

    /// An event of our own: a look or a sweep and nothing else. Whoever may put events on the bus can so ask for no more than a look,
    /// while removing access takes a direct invocation.
    fn custom(detail: &Node<'_>) -> Result<Self, Malformed> {
        if let Some(key) =
            detail.object()?.keys().find(|key| Request::KEYS.contains(&key.as_str()) && !LOOK_KEYS.contains(&key.as_str()))
        {
            return Err(Malformed {
                path: format!("detail.{key}"),
                message: "a ModifyImageAttribute request is taken by direct invocation only, not from the event bus".into(),
            });
        }
        detail.only(&LOOK_KEYS)?;
        Self::look_or_sweep(detail)
    }

    fn by_hand(event: &Node<'_>, surroundings: Surroundings<'_>) -> Result<Self, Malformed> {
        if event.object()?.keys().all(|key| LOOK_KEYS.contains(&key.as_str())) {
            return Self::look_or_sweep(event);
        }
        let (request, dry_run) = Request::parse(event, surroundings.partition)?;
        Ok(Self::Job(Job { trigger: Trigger::Request, dry_run, work: Work::Request(request) }))
    }

    fn look_or_sweep(event: &Node<'_>) -> Result<Self, Malformed> {
        let dry_run = event.get("DryRun")?.map_or(Ok(false), |flag| flag.flag())?;
        let one = event.get("ImageId")?.map(|id| id.parse()).transpose()?;
        let many = match event.get("ImageIds")? {
            Some(ids) => each_once(ids.items()?.map(|id| id.parse()).collect::<Result<_, _>>()?),
            None => Vec::new(),
        };
        let sweep = match event.get("Sweep")? {
            Some(sweep) => {
                sweep.only(&["After"])?;
                Some(sweep.get("After")?.map(|after| after.parse()).transpose()?)
            }
            None => None,
        };
        let work = match (one, many, sweep) {
            (None, also, Some(after)) => Work::Sweep { after, also },
            (Some(image), many, None) if many.is_empty() => Work::Look { images: vec![image], expect: Expect::Nothing },
            (None, images, None) if !images.is_empty() => Work::Look { images, expect: Expect::Nothing },
            (None, _, None) => {
                return Err(event.malformed(
                    "nothing is asked for; expected ImageId, ImageIds, Sweep, a ModifyImageAttribute request, or an event of EventBridge",
                ));
            }
            (Some(_), _, _) => return Err(event.malformed("ImageId goes alone; put several ids into ImageIds")),
        };
        Ok(Self::Job(Job { trigger: Trigger::Request, dry_run, work }))
    }
}

fn each_once(images: Vec<ImageId>) -> Vec<ImageId> {
    let mut seen = BTreeSet::new();
    images.into_iter().filter(|image| seen.insert(*image)).collect()
}
