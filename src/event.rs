//! What happened: the JSON an invocation brings, turned into work.
//!
//! An event only says *look at this image*; nothing else in it is trusted. Details are read tolerantly, but a recognised event without
//! the field that is needed is an error, so that Lambda keeps it.

use std::collections::BTreeSet;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use serde::Serialize;
use serde_json::{Map, Value};

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

/// Where an event comes from, as far as it says: for the trail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The id of `EventBridge`'s event.
    pub event_id: Option<String>,
    /// The ARN of whoever made the API call that a trail recorded. Other events do not say.
    pub actor: Option<String>,
}

impl Origin {
    /// Reads what the event says of itself. Nothing depends on it but log lines.
    #[must_use]
    pub fn of(event: &Value) -> Self {
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
        Self { event_id: text("/id"), actor: text("/detail/userIdentity/arn") }
    }
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
        // Only what is needed is read: a time or a version in some other form is no reason to lose an event.
        let mut envelope = Map::from_iter([("detail".to_owned(), Value::Null)]);
        for key in ["detail-type", "source", "resources", "detail"] {
            envelope.extend(event.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        let event: EventBridgeEvent = serde_path_to_error::deserialize(Value::Object(envelope)).map_err(|error| {
            let path = error.path().to_string();
            Malformed { path: if path == "." { "the event".into() } else { path }, message: error.inner().to_string() }
        })?;
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
            return Err(Malformed {
                path: "resources[0]".into(),
                message: "missing; send it again with the ARN of an image".into(),
            });
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
                message:
                    "a ModifyImageAttribute request is not taken from the event bus: send it by a direct invocation, as bare JSON"
                        .into(),
            });
        }
        detail.only(&LOOK_KEYS)?;
        Self::look_or_sweep(detail)
    }

    fn by_hand(event: &Node<'_>, surroundings: Surroundings<'_>) -> Result<Self, Malformed> {
        let keys = event.object()?;
        let Some(other) = keys.keys().find(|key| !LOOK_KEYS.contains(&key.as_str())) else {
            return Self::look_or_sweep(event);
        };
        if let Some(key) = ["ImageIds", "Sweep"].into_iter().find(|key| keys.contains_key(*key)) {
            return Err(Malformed {
                path: other.clone(),
                message: format!(
                    "does not go together with {key}, beside which there may be {}; a ModifyImageAttribute request is for one ImageId",
                    LOOK_KEYS.join(", ")
                ),
            });
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
                    "nothing is asked for; expected ImageId, ImageIds, Sweep, or (by direct invocation only) a ModifyImageAttribute request",
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const IMAGE: &str = "ami-0123456789abcdef0";
    const OTHER: &str = "ami-0fedcba9876543210";

    fn file(name: &str) -> Value {
        let path = format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
    }

    fn parse(event: &Value) -> Result<Event, EventError> {
        Event::parse(event, Surroundings { policy_path: Some("/ami-warden"), partition: "aws" })
    }

    #[track_caller]
    fn job(event: &Value) -> Job {
        match parse(event) {
            Ok(Event::Job(job)) => job,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn ignored(event: &Value) -> String {
        match parse(event) {
            Ok(Event::Ignored { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    fn ids(ids: &[&str]) -> Vec<ImageId> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    fn look(trigger: Trigger, images: &[&str], expect: Expect) -> Job {
        Job { trigger, dry_run: false, work: Work::Look { images: ids(images), expect } }
    }

    fn sweep(trigger: Trigger) -> Job {
        Job { trigger, dry_run: false, work: Work::Sweep { after: None, also: vec![] } }
    }

    /// The event with the value at this path of keys set, or with null the key taken out.
    fn with(mut event: Value, path: &[&str], value: Value) -> Value {
        let (last, above) = path.split_last().unwrap();
        let object = above.iter().fold(&mut event, |node, key| &mut node[*key]).as_object_mut().unwrap();
        if value.is_null() {
            object.remove(*last)
        } else {
            object.insert((*last).to_owned(), value)
        };
        event
    }

    /// An event of EventBridge is an error that names the path and the rule.
    #[track_caller]
    fn invalid_event(event: &Value, path: &str, rule: &str) {
        match parse(event) {
            Err(EventError::Event(malformed)) => {
                assert!(malformed.path == path && malformed.message.contains(rule), "{malformed}");
            }
            other => panic!("{other:?}"),
        }
    }

    /// Bare JSON is an error that names the path and the rule.
    #[track_caller]
    fn invalid_request(event: &Value, path: &str, rule: &str) {
        match parse(event) {
            Err(EventError::Request(malformed)) => {
                assert!(malformed.path == path && malformed.message.contains(rule), "{event}: {malformed}");
            }
            other => panic!("{event}: {other:?}"),
        }
    }

    fn custom(detail: Value) -> Value {
        with(file("custom-look"), &["detail"], detail)
    }

    #[test]
    fn the_trail_learns_which_event_it_was_and_who_made_the_call_where_the_event_says_so() {
        let origin = Origin::of(&file("call-create-tags"));
        assert_eq!(origin.event_id.as_deref(), Some("6f87d04b-9f07-51db-246b-d8b8441bcdf0"));
        assert_eq!(origin.actor.as_deref(), Some("arn:aws:sts::111122223333:assumed-role/image-builder/builder"));
        assert_eq!(Origin::of(&json!({ "ImageId": IMAGE })), Origin::default());
    }

    #[test]
    fn an_image_that_became_available_is_looked_at() {
        assert_eq!(job(&file("ami-available")), look(Trigger::Ec2AmiStateChange, &[IMAGE], Expect::Available));
    }

    #[test]
    fn an_image_in_any_other_state_is_left_alone() {
        for state in ["failed", "deregistered", "disabled"] {
            assert!(ignored(&file(&format!("ami-{state}"))).contains(state));
        }
        // Left alone whatever else is missing.
        assert!(ignored(&with(file("ami-failed"), &["detail", "ImageId"], json!(null))).contains("failed"));
    }

    #[test]
    fn a_call_that_makes_an_image_leads_to_a_look_at_it() {
        for name in ["call-create-image", "call-copy-image", "call-register-image"] {
            assert_eq!(job(&file(name)), look(Trigger::Cloudtrail, &[IMAGE], Expect::Exists), "{name}");
        }
    }

    #[test]
    fn a_call_that_changes_tags_leads_to_a_look_at_every_image_among_its_resources() {
        for name in ["call-create-tags", "call-delete-tags"] {
            assert_eq!(job(&file(name)), look(Trigger::Cloudtrail, &[IMAGE], Expect::Nothing), "{name}");
        }
        assert_eq!(job(&file("call-create-tags-mixed-resources")), look(Trigger::Cloudtrail, &[IMAGE, OTHER], Expect::Nothing));
    }

    #[test]
    fn each_of_a_thousand_resources_is_looked_at_once_in_their_order() {
        let id = |number: usize| format!("ami-{number:017x}");
        let items: Vec<Value> = (0..1000).map(|number| json!({ "resourceId": id(number % 600) })).collect();
        let event = with(file("call-create-tags"), &["detail", "requestParameters", "resourcesSet", "items"], items.into());
        let expected: Vec<String> = (0..600).map(id).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_eq!(job(&event), look(Trigger::Cloudtrail, &expected, Expect::Nothing));
    }

    #[test]
    fn tags_of_other_resources_concern_no_image() {
        let items = json!([{ "resourceId": "i-0123456789abcdef0" }, { "resourceId": "snap-0123456789abcdef0" }]);
        let event = with(file("call-create-tags"), &["detail", "requestParameters", "resourcesSet", "items"], items);
        assert!(ignored(&event).contains("CreateTags names no image"));
        assert!(ignored(&file("tag-of-instance-changed")).contains("instance"));
        let volume_of_another_service = with(file("tag-changed"), &["detail", "service"], json!("rds"));
        assert!(ignored(&volume_of_another_service).contains("rds image"));
    }

    #[test]
    fn calls_that_failed_are_ignored_although_the_rest_of_them_is_missing() {
        assert!(ignored(&file("call-create-image-failed")).contains("Client.InvalidAMIName.Duplicate"));
        let mut tags = with(file("call-create-tags"), &["detail", "errorCode"], json!("Client.DryRunOperation"));
        tags = with(tags, &["detail", "requestParameters"], json!(null));
        assert!(ignored(&tags).contains("CreateTags failed with Client.DryRunOperation"));
    }

    #[test]
    fn calls_that_concern_no_image_and_calls_of_other_services_are_ignored() {
        let event = with(file("call-create-image"), &["detail", "eventName"], json!("ModifyImageAttribute"));
        assert!(ignored(&event).contains("ModifyImageAttribute"));
        let app_stream = with(file("call-create-image"), &["detail", "eventSource"], json!("appstream.amazonaws.com"));
        assert!(ignored(&app_stream).contains("CreateImage is a call of appstream.amazonaws.com"));
    }

    #[test]
    fn a_changed_tag_leads_to_a_look_at_its_image_whatever_form_the_arn_has() {
        for arn in [
            "arn:aws:ec2:us-east-1::image/ami-0123456789abcdef0",
            "arn:aws:ec2:us-east-1:111122223333:image/ami-0123456789abcdef0",
            "arn:aws-cn:ec2:cn-north-1::image/ami-0123456789abcdef0",
        ] {
            for name in ["tag-changed", "tag-deleted"] {
                let event = with(file(name), &["resources"], json!([arn]));
                assert_eq!(job(&event), look(Trigger::TagChange, &[IMAGE], Expect::Nothing), "{arn}");
            }
        }
    }

    #[test]
    fn the_clock_starts_a_sweep_in_both_of_its_forms() {
        assert_eq!(file("scheduled-scheduler")["detail"], json!("{}"), "Scheduler's detail is a string");
        for name in ["scheduled-rule", "scheduled-scheduler"] {
            assert_eq!(job(&file(name)), sweep(Trigger::Schedule), "{name}");
        }
    }

    #[test]
    fn a_changed_parameter_starts_a_sweep_if_it_is_below_the_policy_path() {
        assert_eq!(job(&file("parameter-changed")), sweep(Trigger::PolicyChange));
        for name in ["/ami-warden", "/ami-warden-other/rules", "/other/ami-warden/rules"] {
            let event = with(file("parameter-changed"), &["detail", "name"], json!(name));
            assert!(ignored(&event).contains(name), "{name}");
        }
        let without_policy = Surroundings { policy_path: None, partition: "aws" };
        assert!(matches!(Event::parse(&file("parameter-changed"), without_policy), Ok(Event::Ignored { .. })));
    }

    #[test]
    fn a_custom_event_is_a_look_or_a_sweep_whatever_its_detail_type() {
        assert_eq!(job(&file("custom-look")), look(Trigger::Request, &[IMAGE], Expect::Nothing));
        let named = with(file("custom-look"), &["detail-type"], json!("Anything"));
        assert_eq!(job(&named), look(Trigger::Request, &[IMAGE], Expect::Nothing));
        let work = Work::Sweep { after: Some(IMAGE.parse().unwrap()), also: ids(&[OTHER]) };
        assert_eq!(job(&file("custom-continue")), Job { trigger: Trigger::Request, dry_run: false, work });
        assert!(job(&custom(json!({ "Sweep": {}, "DryRun": true }))).dry_run);
    }

    #[test]
    fn a_custom_event_carries_no_request() {
        for key in Request::KEYS.into_iter().filter(|key| !LOOK_KEYS.contains(key)) {
            for value in [json!("x"), json!({}), json!(null)] {
                let mut event = custom(json!({ "ImageId": IMAGE }));
                event["detail"][key] = value;
                invalid_event(&event, &format!("detail.{key}"), "not taken from the event bus");
            }
        }
        invalid_event(&custom(json!({ "ImageId": IMAGE, "Force": true })), "detail.Force", "unknown key");
        invalid_event(&custom(json!({})), "detail", "nothing is asked for");
        invalid_event(&custom(json!("{}")), "detail", "expected an object");
        // Only our own events are read so: what another source sends cannot ask for anything.
        let foreign = with(file("custom-look"), &["source"], json!("my.application"));
        assert!(ignored(&foreign).contains("my.application"));
    }

    #[test]
    fn any_other_event_is_ignored_by_name() {
        let event = with(file("ami-available"), &["detail-type"], json!("EC2 Instance State-change Notification"));
        assert!(ignored(&event).contains("EC2 Instance State-change Notification"));
        for name in ["ami-available", "call-create-tags", "tag-changed", "scheduled-rule", "parameter-changed"] {
            let forged = with(file(name), &["source"], json!("custom.app"));
            assert!(ignored(&forged).contains("custom.app"), "{name}");
        }
    }

    #[test]
    fn fields_of_the_envelope_that_are_not_needed_may_be_missing_or_odd() {
        for name in ["ami-available", "call-create-image", "tag-changed", "scheduled-rule", "parameter-changed", "custom-look"] {
            let expected = job(&file(name));
            for field in ["version", "id", "account", "time", "region"] {
                for value in [json!(null), json!(4.0), json!({})] {
                    assert_eq!(job(&with(file(name), &[field], value.clone())), expected, "{name} {field} {value}");
                }
            }
        }
        assert_eq!(job(&with(file("scheduled-rule"), &["detail"], json!(null))), sweep(Trigger::Schedule));
        assert_eq!(
            job(&with(file("ami-available"), &["resources"], json!(null))),
            look(Trigger::Ec2AmiStateChange, &[IMAGE], Expect::Available)
        );
        assert!(ignored(&json!({ "detail-type": "Anything", "source": "elsewhere" })).contains("elsewhere"));
    }

    #[test]
    fn numbers_in_details_may_have_any_form() {
        for version in [json!(3), json!(4.0), json!("5"), json!(null)] {
            let event = with(file("tag-changed"), &["detail", "version"], version);
            assert_eq!(job(&event), look(Trigger::TagChange, &[IMAGE], Expect::Nothing));
        }
    }

    #[test]
    fn a_recognised_event_without_what_is_needed_is_an_error_that_names_the_path() {
        for (name, path) in [
            ("ami-available", "detail.State"),
            ("ami-available", "detail.ImageId"),
            ("call-create-image", "detail.eventSource"),
            ("call-create-image", "detail.eventName"),
            ("call-create-image", "detail.responseElements"),
            ("call-copy-image", "detail.responseElements.imageId"),
            ("call-create-tags", "detail.requestParameters"),
            ("call-create-tags", "detail.requestParameters.resourcesSet"),
            ("call-delete-tags", "detail.requestParameters.resourcesSet.items"),
            ("tag-changed", "detail.service"),
            ("tag-changed", "detail.resource-type"),
            ("parameter-changed", "detail.name"),
        ] {
            let keys: Vec<&str> = path.split('.').collect();
            invalid_event(&with(file(name), &keys, json!(null)), path, "missing");
        }
        for (name, path) in [("ami-available", "detail"), ("call-create-tags", "detail"), ("tag-changed", "detail")] {
            invalid_event(&with(file(name), &[path], json!(null)), path, "expected an object, not null");
            invalid_event(&with(file(name), &[path], json!("{}")), path, "expected an object, not \"{}\"");
        }
        invalid_event(&with(file("tag-changed"), &["resources"], json!(null)), "resources[0]", "missing");
        invalid_event(&with(file("tag-changed"), &["resources"], json!([])), "resources[0]", "missing");
        invalid_event(&with(file("ami-available"), &["source"], json!(null)), "the event", "`source`");
    }

    #[test]
    fn a_recognised_event_with_a_malformed_field_is_an_error_that_names_the_path_and_the_value() {
        let items = &["detail", "requestParameters", "resourcesSet", "items"];
        let tagged = |items_value: Value| with(file("call-create-tags"), items, items_value);
        let place = "detail.requestParameters.resourcesSet.items";
        invalid_event(&with(file("ami-available"), &["detail", "ImageId"], json!("ami-1")), "detail.ImageId", "\"ami-1\"");
        invalid_event(&with(file("ami-available"), &["detail", "ImageId"], json!(1)), "detail.ImageId", "not 1");
        invalid_event(&with(file("ami-available"), &["detail", "State"], json!(4.0)), "detail.State", "not 4.0");
        invalid_event(&tagged(json!({})), place, "expected a list");
        invalid_event(&tagged(json!([{ "resourceId": IMAGE }, {}])), &format!("{place}[1].resourceId"), "missing");
        invalid_event(&tagged(json!([{ "resourceId": "ami-xyz" }])), &format!("{place}[0].resourceId"), "\"ami-xyz\"");
        let arn = "arn:aws:ec2:us-east-1::image/";
        invalid_event(&with(file("tag-changed"), &["resources"], json!([arn])), "resources[0]", arn);
        invalid_event(&with(file("tag-changed"), &["resources"], json!([1])), "resources[0]", "expected a string");
        invalid_event(&with(file("ami-available"), &["detail-type"], json!(1)), "detail-type", "expected a string");
    }

    #[test]
    fn by_hand_a_lone_image_id_is_a_look() {
        let request = |images: &[&str]| look(Trigger::Request, images, Expect::Nothing);
        for name in ["look", "guide-2-verify"] {
            let event = file(name);
            assert_eq!(job(&event), request(&[event["ImageId"].as_str().unwrap()]), "{name}");
        }
        assert_eq!(job(&file("look-at-several")), request(&[IMAGE, OTHER]));
        assert_eq!(job(&json!({ "ImageIds": [OTHER, IMAGE, OTHER] })), request(&[OTHER, IMAGE]));
        assert_eq!(job(&file("look-dry-run")), Job { dry_run: true, ..request(&[IMAGE]) });
        assert_eq!(job(&json!({ "ImageId": IMAGE, "DryRun": false, "ImageIds": [] })), request(&[IMAGE]));
    }

    #[test]
    fn by_hand_a_sweep_may_go_on_after_an_image_and_take_others_along() {
        let sweep = |after: Option<&str>, also: &[&str]| Job {
            trigger: Trigger::Request,
            dry_run: false,
            work: Work::Sweep { after: after.map(|id| id.parse().unwrap()), also: ids(also) },
        };
        assert_eq!(job(&file("sweep")), sweep(None, &[]));
        assert_eq!(job(&file("sweep-after")), sweep(Some(IMAGE), &[]));
        assert_eq!(job(&json!({ "Sweep": { "After": null }, "ImageIds": [OTHER] })), sweep(None, &[OTHER]));
        assert_eq!(job(&json!({ "Sweep": {}, "DryRun": true })), Job { dry_run: true, ..sweep(None, &[]) });
    }

    #[test]
    fn by_hand_every_other_key_makes_a_request() {
        for name in [
            "api-1-make-public",
            "api-2-make-private",
            "api-3-grant-to-account",
            "api-4-remove-from-account",
            "api-5-product-code",
            "api-6-description",
            "boto3-1-make-public",
            "boto3-2-grant-to-account",
            "guide-1-make-public",
            "guide-3-make-private-again",
            "imds-support",
        ] {
            let event = file(name);
            let Job { trigger: Trigger::Request, dry_run: false, work: Work::Request(request) } = job(&event) else {
                panic!("{name}")
            };
            assert_eq!(request.image.to_string(), event["ImageId"].as_str().unwrap());
        }
        assert!(job(&json!({ "ImageId": IMAGE, "Description": { "Value": "d" }, "DryRun": true })).dry_run);
        // Empty keys do not turn a request into a look.
        invalid_request(&json!({ "ImageId": IMAGE, "Description": null }), "the event", "no attribute to change");
    }

    #[test]
    fn bare_json_that_asks_for_nothing_known_is_an_error() {
        for event in [
            json!({}),
            json!({ "DryRun": true }),
            json!({ "ImageIds": [] }),
            json!({ "ImageId": null }),
            json!({ "Sweep": null }),
        ] {
            invalid_request(&event, "the event", "nothing is asked for");
        }
        for event in [json!(null), json!([]), json!("ami-0123456789abcdef0"), json!(4.0)] {
            invalid_request(&event, "the event", "expected an object");
        }
        invalid_request(&json!({ "Records": [] }), "Records", "unknown key");
        invalid_request(&json!({ "imageId": IMAGE }), "imageId", "unknown key");
        let mut without_type = file("ami-available");
        without_type.as_object_mut().unwrap().remove("detail-type");
        assert!(matches!(parse(&without_type), Err(EventError::Request(_))));
    }

    #[test]
    fn bare_json_with_a_malformed_value_is_an_error_that_names_the_path() {
        invalid_request(&json!({ "ImageId": "ami-1" }), "ImageId", "\"ami-1\"");
        invalid_request(&json!({ "ImageId": [IMAGE] }), "ImageId", "expected a text, not a list");
        invalid_request(&json!({ "ImageIds": IMAGE }), "ImageIds", "expected a list");
        invalid_request(&json!({ "ImageIds": [IMAGE, "x"] }), "ImageIds[1]", "\"x\"");
        invalid_request(&json!({ "ImageIds": [null] }), "ImageIds[0]", "expected a text, not null");
        invalid_request(&json!({ "Sweep": true }), "Sweep", "expected an object, not true");
        invalid_request(&json!({ "Sweep": { "Before": IMAGE } }), "Sweep.Before", "there may be After");
        invalid_request(&json!({ "Sweep": { "After": "x" } }), "Sweep.After", "\"x\"");
        invalid_request(&json!({ "Sweep": {}, "DryRun": "yes" }), "DryRun", "expected true or false");
    }

    #[test]
    fn keys_that_do_not_go_together_are_an_error_that_says_so() {
        invalid_request(&json!({ "ImageId": IMAGE, "ImageIds": [OTHER] }), "the event", "ImageId goes alone");
        invalid_request(&json!({ "ImageId": IMAGE, "Sweep": {} }), "the event", "ImageId goes alone");
        let description = json!({ "Value": "d" });
        invalid_request(&json!({ "ImageIds": [IMAGE], "Description": description }), "Description", "with ImageIds");
        invalid_request(&json!({ "Sweep": {}, "ImageId": IMAGE, "Description": description }), "Description", "with Sweep");
        invalid_request(&json!({ "Sweep": {}, "Aftr": IMAGE }), "Aftr", "there may be ImageId, ImageIds, Sweep, DryRun");
    }
}
