//! The JSON of an invocation, turned into work.
//!
//! An event only says *look at this image*; nothing else in it is trusted. Details are read
//! tolerantly, but a recognised event without the field that is needed is an error, so that Lambda
//! keeps it.

use std::collections::BTreeSet;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    tag_promise::TagPromise,
    trigger::{API_CALL, DecodeContext, Event, EventError, Job, Promised, Task, Trigger},
};
use crate::{
    json::{Malformed, Node, shortened},
    model::{image::ImageId, request::Request},
};

/// The keys of a look or a sweep; any other makes a bare event a `ModifyImageAttribute` request.
const LOOK_KEYS: [&str; 4] = ["ImageId", "ImageIds", "Sweep", "DryRun"];

/// The most images that one event may name, each counted once.
///
/// An invocation that runs out of time hands the rest on in `Continue`, which must fit into an
/// answer of 131,072 bytes together with the summary. An id takes 24 bytes there (`"ami-…",`), so
/// 4,000 ids take 96,000.
pub const IMAGE_IDS_MAX: usize = 4000;

/// How to start a sweep, for messages.
const SWEEP: &str = "invoke the function with {\"Sweep\": {}}";

impl Event {
    /// Decodes the JSON of an invocation.
    ///
    /// # Errors
    /// A recognised event whose needed field is missing or malformed, or bare JSON that asks for
    /// nothing known.
    pub fn parse(event: &Value, context: &DecodeContext<'_>) -> Result<Self, EventError> {
        let node = Node::whole(event, "the event");
        if event.get("detail-type").is_some() {
            from_bus(event, &node, context).map_err(EventError::Event)
        } else {
            by_hand(&node, context).map_err(EventError::Request)
        }
    }
}

/// Decodes an event that `EventBridge` delivers.
fn from_bus(
    event: &Value,
    node: &Node<'_>,
    context: &DecodeContext<'_>,
) -> Result<Event, Malformed> {
    let EventBridgeEvent {
        source,
        detail_type,
        ..
    } = read_envelope(node)?;
    let detail = || node.require("detail");
    match (source.as_str(), detail_type.as_str()) {
        ("aws.ec2", "EC2 AMI State Change") => state_change(&detail()?),
        ("aws.ec2", API_CALL) => api_call(&detail()?),
        ("aws.tag", "Tag Change on Resource") => tag_change(&detail()?, node),
        ("aws.events" | "aws.scheduler", "Scheduled Event") => Ok(sweep(Trigger::Schedule, None)),
        ("aws.ssm", "Parameter Store Change") => parameter_change(&detail()?, time(event), context),
        ("ami-warden", _) => custom(&detail()?),
        (source, kind) => Ok(ignored(format!(
            "{kind:?} from {source:?} concerns no image here"
        ))),
    }
}

/// Reads the two fields of the envelope that every event needs.
///
/// A time, a version or a list of resources in some other form is no reason to lose an event. The
/// detail, which may be large, is read in place.
fn read_envelope(event: &Node<'_>) -> Result<EventBridgeEvent, Malformed> {
    let envelope = json!({
        "detail-type": event.require("detail-type")?.string()?,
        "source": event.require("source")?.string()?,
        "detail": null,
    });
    EventBridgeEvent::deserialize(envelope).map_err(|error| event.malformed(error))
}

/// The envelope's time; `None` if it is missing or not in the form of RFC 3339.
fn time(event: &Value) -> Option<DateTime<Utc>> {
    let text = event.get("time")?.as_str()?;
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
}

fn ignored(reason: impl AsRef<str>) -> Event {
    Event::Ignored {
        reason: shortened(reason.as_ref()),
    }
}

fn look(trigger: Trigger, images: Vec<ImageId>, promised: Promised) -> Event {
    Event::Job(Job {
        trigger,
        dry_run: false,
        task: Task::Look { images, promised },
    })
}

fn sweep(trigger: Trigger, changed: Option<DateTime<Utc>>) -> Event {
    let task = Task::Sweep {
        after: None,
        also: Vec::new(),
        changed,
    };
    Event::Job(Job {
        trigger,
        dry_run: false,
        task,
    })
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitor-ami-events.html>
fn state_change(detail: &Node<'_>) -> Result<Event, Malformed> {
    let state = detail.require("State")?.string()?;
    if state != "available" {
        return Ok(ignored(format!("an image that is {state} is left alone")));
    }
    let image = detail.require("ImageId")?.parse()?;
    Ok(look(
        Trigger::Ec2AmiStateChange,
        vec![image],
        Promised::Available,
    ))
}

/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html>
fn api_call(detail: &Node<'_>) -> Result<Event, Malformed> {
    let source = detail.require("eventSource")?.string()?;
    let name = detail.require("eventName")?.string()?;
    // Other services have calls of these names too, for example AppStream's CreateImage.
    if source != "ec2.amazonaws.com" {
        return Ok(ignored(format!("{name} is a call of {source}")));
    }
    // Failed calls, and dry runs, have an errorCode, and often lack the rest.
    if let Some(code) = detail.get("errorCode")? {
        return Ok(ignored(format!("{name} failed with {}", code.string()?)));
    }
    match name {
        "CreateImage" | "CopyImage" | "RegisterImage" => {
            let elements = detail.require("responseElements")?;
            recorded(&elements)?;
            let image = elements.require("imageId")?.parse()?;
            Ok(look(Trigger::Cloudtrail, vec![image], Promised::Exists))
        }
        "CreateTags" => tag_call(detail, name, TagPromise::of_created),
        "DeleteTags" => tag_call(detail, name, TagPromise::of_deleted),
        _ => Ok(ignored(format!(
            "{name} changes no image's tags and makes no image"
        ))),
    }
}

/// A call that changes tags, of up to 1,000 resources of any kind.
fn tag_call(
    detail: &Node<'_>,
    name: &str,
    promise: fn(&Node<'_>) -> Option<TagPromise>,
) -> Result<Event, Malformed> {
    let parameters = detail.require("requestParameters")?;
    recorded(&parameters)?;
    let resources = parameters.require("resourcesSet")?.require("items")?;
    let mut images = Vec::new();
    for item in resources.items()? {
        let id = item.require("resourceId")?;
        if id.string()?.starts_with("ami-") {
            images.push(id.parse()?);
        }
    }
    if images.is_empty() {
        return Ok(ignored(format!("{name} names no image")));
    }
    let images = each_once(images, &resources)?;
    Ok(look(
        Trigger::Cloudtrail,
        images,
        promise(&parameters).into(),
    ))
}

/// `CloudTrail` leaves out what is too large for a record (`{"omitted": true}`): no retry brings it
/// back.
fn recorded(part: &Node<'_>) -> Result<(), Malformed> {
    if let Some(omitted) = part.get("omitted")?
        && omitted.flag() == Ok(true)
    {
        return Err(part.malformed(format!(
            "CloudTrail left this out of its record, as it was too large, so the images are \
             unknown: {SWEEP} to look at every image"
        )));
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/tag-editor/latest/userguide/monitor-tag-changes.html>
fn tag_change(detail: &Node<'_>, event: &Node<'_>) -> Result<Event, Malformed> {
    let service = detail.require("service")?.string()?;
    let kind = detail.require("resource-type")?.string()?;
    if (service, kind) != ("ec2", "image") {
        return Ok(ignored(format!(
            "the tags of a {service} {kind} concern no image"
        )));
    }
    let missing = || event.malformed_at("resources[0]", "missing: expected the ARN of an image");
    let resources = event.get("resources")?.ok_or_else(missing)?;
    let mut images = Vec::new();
    for resource in resources.items()? {
        let arn = resource.string()?;
        // EC2's own image ARNs have no account, those of the tagging API have one: only the id
        // behind "image/" matters.
        let (_, id) = arn.rsplit_once("image/").unwrap_or_default();
        let Ok(image) = id.parse() else {
            return Err(resource.malformed(format!("{arn:?} {NOT_AN_IMAGE_ARN}")));
        };
        images.push(image);
    }
    if images.is_empty() {
        return Err(missing());
    }
    let images = each_once(images, &resources)?;
    Ok(look(
        Trigger::TagChange,
        images,
        TagPromise::of_changed(detail).into(),
    ))
}

const NOT_AN_IMAGE_ARN: &str = "is not the ARN of an image: expected \
                                arn:PARTITION:ec2:REGION:ACCOUNT:image/ and \"ami-\" with 8 or 17 \
                                lower-case hexadecimal digits";

/// A change of a parameter, its deletion included:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-cwe.html>.
fn parameter_change(
    detail: &Node<'_>,
    changed: Option<DateTime<Utc>>,
    context: &DecodeContext<'_>,
) -> Result<Event, Malformed> {
    let name = detail.require("name")?.string()?;
    let is_policy = if let Some(path) = context.policy_path
        && let Some(place) = name.strip_prefix(path)
    {
        place.starts_with('/')
    } else {
        false
    };
    if is_policy || context.allow_list_parameter == Some(name) {
        return Ok(sweep(Trigger::PolicyChange, changed));
    }
    Ok(ignored(format!(
        "the parameter {name:?} is neither below POLICY_PATH nor ALLOWED_GRANTEES_PARAMETER"
    )))
}

/// An event of our own: a look or a sweep and nothing else. A permission to put events on the bus
/// is so no permission to share an image.
fn custom(detail: &Node<'_>) -> Result<Event, Malformed> {
    no_request(
        detail,
        "from the event bus",
        "with the request as bare JSON",
    )?;
    look_or_sweep(detail)
}

/// Decodes the bare JSON of a direct invocation.
fn by_hand(event: &Node<'_>, context: &DecodeContext<'_>) -> Result<Event, Malformed> {
    let keys = event.object()?;
    let Some(other) = keys.keys().find(|key| !LOOK_KEYS.contains(&key.as_str())) else {
        return look_or_sweep(event);
    };
    if !context.requests_allowed {
        // The template's rules invoke this alias, and a rule's author writes its constant input:
        // events:PutTargets is so no permission to share an image.
        no_request(event, "through the alias `events`", "without an alias")?;
    }
    if let Some(key) = ["ImageIds", "Sweep"]
        .into_iter()
        .find(|key| keys.contains_key(*key))
    {
        return Err(event.malformed_at(
            other,
            format!(
                "does not go together with {key}: a look or a sweep takes {}, and a \
                 ModifyImageAttribute request changes the one image in ImageId",
                LOOK_KEYS.join(", ")
            ),
        ));
    }
    let (request, dry_run) = Request::parse(event, context.partition)?;
    Ok(Event::Job(Job {
        trigger: Trigger::Request,
        dry_run,
        task: Task::Request(request),
    }))
}

/// Allows the keys of looks and sweeps only.
fn no_request(event: &Node<'_>, way: &str, instead: &str) -> Result<(), Malformed> {
    for key in event.object()?.keys() {
        if Request::KEYS.contains(&key.as_str()) && !LOOK_KEYS.contains(&key.as_str()) {
            return Err(event.malformed_at(
                key,
                format!(
                    "a ModifyImageAttribute request is not taken {way}: invoke the function \
                     itself, {instead}"
                ),
            ));
        }
    }
    event.only(&LOOK_KEYS)
}

fn look_or_sweep(event: &Node<'_>) -> Result<Event, Malformed> {
    let dry_run = match event.get("DryRun")? {
        Some(flag) => flag.flag()?,
        None => false,
    };
    let one: Option<ImageId> = match event.get("ImageId")? {
        Some(id) => Some(id.parse()?),
        None => None,
    };
    let many = match event.get("ImageIds")? {
        Some(list) => {
            let ids: Result<Vec<ImageId>, Malformed> = list.items()?.map(|id| id.parse()).collect();
            each_once(ids?, &list)?
        }
        None => Vec::new(),
    };
    let sweep = event.get("Sweep")?;
    if one.is_some() && (sweep.is_some() || !many.is_empty()) {
        return Err(event.malformed("ImageId goes alone; put several ids into ImageIds"));
    }
    let task = if let Some(sweep) = sweep {
        sweep.only(&["After"])?;
        let after = match sweep.get("After")? {
            Some(after) => Some(after.parse()?),
            None => None,
        };
        Task::Sweep {
            after,
            also: many,
            changed: None,
        }
    } else {
        let images: Vec<ImageId> = one.into_iter().chain(many).collect();
        if images.is_empty() {
            return Err(event.malformed(
                "nothing is asked for; expected ImageId, ImageIds, Sweep, or (by direct \
                 invocation only) a ModifyImageAttribute request",
            ));
        }
        Task::Look {
            images,
            promised: Promised::Nothing,
        }
    };
    Ok(Event::Job(Job {
        trigger: Trigger::Request,
        dry_run,
        task,
    }))
}

/// The images in their order, each once.
fn each_once(mut images: Vec<ImageId>, list: &Node<'_>) -> Result<Vec<ImageId>, Malformed> {
    let mut seen = BTreeSet::new();
    images.retain(|image| seen.insert(*image));
    if images.len() > IMAGE_IDS_MAX {
        return Err(list.malformed(format!(
            "{} images, and one event takes at most {IMAGE_IDS_MAX}: send several events, or \
             {SWEEP} to look at every image",
            images.len()
        )));
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::trigger::Origin;

    const IMAGE: &str = "ami-0123456789abcdef0";
    const OTHER: &str = "ami-0fedcba9876543210";

    const CONTEXT: DecodeContext<'_> = DecodeContext {
        policy_path: Some("/ami-warden"),
        allow_list_parameter: Some("/security/grantees"),
        partition: "aws",
        requests_allowed: true,
    };

    fn file(name: &str) -> Value {
        let path = format!("{}/../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
    }

    fn parse(event: &Value) -> Result<Event, EventError> {
        Event::parse(event, &CONTEXT)
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

    fn look(trigger: Trigger, images: &[&str], promised: Promised) -> Job {
        Job {
            trigger,
            dry_run: false,
            task: Task::Look {
                images: ids(images),
                promised,
            },
        }
    }

    /// The event leads to a look at these images, and promises tags.
    #[track_caller]
    fn tag_look(event: &Value, trigger: Trigger, images: &[&str]) -> TagPromise {
        let job = job(event);
        let Task::Look {
            promised: Promised::Tags(promise),
            ..
        } = &job.task
        else {
            panic!("{job:?}")
        };
        let promised = Promised::Tags(promise.clone());
        assert_eq!(job, look(trigger, images, promised));
        promise.clone()
    }

    /// Whether these tags are the promised ones, for an installation without a policy.
    fn holds(promise: &TagPromise, tags: &[(&str, &str)]) -> bool {
        let tags = tags
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect();
        promise.holds(&tags, "ami-warden:", false, None)
    }

    fn sweep(trigger: Trigger) -> Job {
        Job {
            trigger,
            dry_run: false,
            task: Task::Sweep {
                after: None,
                also: vec![],
                changed: None,
            },
        }
    }

    /// The event with the value at this path of keys set, or with null the key taken out.
    fn with(mut event: Value, path: &[&str], value: Value) -> Value {
        let (last, above) = path.split_last().unwrap();
        let object = above
            .iter()
            .fold(&mut event, |node, key| &mut node[*key])
            .as_object_mut()
            .unwrap();
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
                assert!(
                    malformed.path == path && malformed.message.contains(rule),
                    "{malformed}"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    /// Bare JSON is an error that names the path and the rule.
    #[track_caller]
    fn invalid_request(event: &Value, path: &str, rule: &str) {
        match parse(event) {
            Err(EventError::Request(malformed)) => {
                assert!(
                    malformed.path == path && malformed.message.contains(rule),
                    "{event}: {malformed}"
                );
            }
            other => panic!("{event}: {other:?}"),
        }
    }

    fn custom(detail: Value) -> Value {
        with(file("custom-look"), &["detail"], detail)
    }

    #[test]
    fn the_trail_learns_event_and_actor_where_the_event_says_so() {
        let origin = Origin::from_event(&file("call-create-tags"));
        assert_eq!(
            origin.event_id.as_deref(),
            Some("6f87d04b-9f07-51db-246b-d8b8441bcdf0")
        );
        let actor = "arn:aws:sts::111122223333:assumed-role/image-builder/builder";
        assert_eq!(origin.actor.as_deref(), Some(actor));
    }

    #[test]
    fn an_image_that_became_available_is_looked_at() {
        assert_eq!(
            job(&file("ami-available")),
            look(Trigger::Ec2AmiStateChange, &[IMAGE], Promised::Available)
        );
    }

    #[test]
    fn an_image_in_any_other_state_is_left_alone() {
        for state in ["failed", "deregistered", "disabled"] {
            assert!(ignored(&file(&format!("ami-{state}"))).contains(state));
        }
        // Left alone whatever else is missing.
        assert!(
            ignored(&with(
                file("ami-failed"),
                &["detail", "ImageId"],
                json!(null)
            ))
            .contains("failed")
        );
    }

    #[test]
    fn a_call_that_makes_an_image_leads_to_a_look_at_it() {
        for name in [
            "call-create-image",
            "call-copy-image",
            "call-register-image",
        ] {
            assert_eq!(
                job(&file(name)),
                look(Trigger::Cloudtrail, &[IMAGE], Promised::Exists),
                "{name}"
            );
        }
    }

    #[test]
    fn a_call_that_changes_tags_leads_to_a_look_at_every_image_among_its_resources() {
        for name in ["call-create-tags", "call-delete-tags"] {
            tag_look(&file(name), Trigger::Cloudtrail, &[IMAGE]);
        }
        let mixed = file("call-create-tags-mixed-resources");
        tag_look(&mixed, Trigger::Cloudtrail, &[IMAGE, OTHER]);
    }

    #[test]
    fn a_call_that_changes_tags_promises_them() {
        let shared = [("ami-warden:launch-permission", "444455556666")];
        let created = tag_look(&file("call-create-tags"), Trigger::Cloudtrail, &[IMAGE]);
        assert!(holds(&created, &shared) && !holds(&created, &[]));
        let deleted = tag_look(&file("call-delete-tags"), Trigger::Cloudtrail, &[IMAGE]);
        assert!(!holds(&deleted, &shared) && holds(&deleted, &[("ami-warden:hold", "x")]));
        let tag_set = &["detail", "requestParameters", "tagSet"];
        let all = with(file("call-delete-tags"), tag_set, json!(null));
        let all = tag_look(&all, Trigger::Cloudtrail, &[IMAGE]);
        assert!(!holds(&all, &[("ami-warden:hold", "x")]) && holds(&all, &[]));
    }

    #[test]
    fn a_changed_tag_promises_the_tags_of_the_event() {
        let shared = [("ami-warden:launch-permission", "444455556666")];
        let changed = tag_look(&file("tag-changed"), Trigger::TagChange, &[IMAGE]);
        assert!(holds(&changed, &shared) && !holds(&changed, &[]));
        let deleted = tag_look(&file("tag-deleted"), Trigger::TagChange, &[IMAGE]);
        assert!(!holds(&deleted, &shared) && holds(&deleted, &[]));
    }

    #[test]
    fn odd_tags_of_an_event_promise_nothing_and_the_look_goes_on() {
        for odd in [json!(null), json!("x"), json!([]), json!({ "Name": 4.0 })] {
            let event = with(file("tag-changed"), &["detail", "tags"], odd.clone());
            let expected = look(Trigger::TagChange, &[IMAGE], Promised::Nothing);
            assert_eq!(job(&event), expected, "{odd}");
        }
        for odd in [
            json!("x"),
            json!([]),
            json!({ "items": [{ "value": "x" }] }),
        ] {
            for name in ["call-create-tags", "call-delete-tags"] {
                let tag_set = &["detail", "requestParameters", "tagSet"];
                let event = with(file(name), tag_set, odd.clone());
                let expected = look(Trigger::Cloudtrail, &[IMAGE], Promised::Nothing);
                assert_eq!(job(&event), expected, "{name} {odd}");
            }
        }
    }

    #[test]
    fn each_of_a_thousand_resources_is_looked_at_once_in_their_order() {
        let id = |number: usize| format!("ami-{number:017x}");
        let item = |number: usize| json!({ "resourceId": id(number % 600) });
        let items: Vec<Value> = (0..1000).map(item).collect();
        let path = &["detail", "requestParameters", "resourcesSet", "items"];
        let event = with(file("call-create-tags"), path, items.into());
        let expected: Vec<String> = (0..600).map(id).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        tag_look(&event, Trigger::Cloudtrail, &expected);
    }

    #[test]
    fn a_record_without_the_ids_is_an_error_that_points_to_a_sweep() {
        let omitted = json!({ "omitted": true, "reason": "requestParameters too large" });
        for (name, part) in [
            ("call-create-tags", "requestParameters"),
            ("call-delete-tags", "requestParameters"),
            ("call-copy-image", "responseElements"),
        ] {
            let event = with(file(name), &["detail", part], omitted.clone());
            let path = format!("detail.{part}");
            invalid_event(&event, &path, "invoke the function with {\"Sweep\": {}}");
        }
    }

    #[test]
    fn tags_of_other_resources_concern_no_image() {
        let items = json!([{ "resourceId": "i-0123456789abcdef0" }, { "resourceId": "snap-0123" }]);
        let event = with(
            file("call-create-tags"),
            &["detail", "requestParameters", "resourcesSet", "items"],
            items,
        );
        assert!(ignored(&event).contains("CreateTags names no image"));
        assert!(ignored(&file("tag-of-instance-changed")).contains("instance"));
        let volume_of_another_service =
            with(file("tag-changed"), &["detail", "service"], json!("rds"));
        assert!(ignored(&volume_of_another_service).contains("rds image"));
    }

    #[test]
    fn calls_that_failed_are_ignored_although_the_rest_of_them_is_missing() {
        assert!(
            ignored(&file("call-create-image-failed")).contains("Client.InvalidAMIName.Duplicate")
        );
        let mut tags = with(
            file("call-create-tags"),
            &["detail", "errorCode"],
            json!("Client.DryRunOperation"),
        );
        tags = with(tags, &["detail", "requestParameters"], json!(null));
        assert!(ignored(&tags).contains("CreateTags failed with Client.DryRunOperation"));
    }

    #[test]
    fn calls_that_concern_no_image_and_calls_of_other_services_are_ignored() {
        let event = with(
            file("call-create-image"),
            &["detail", "eventName"],
            json!("ModifyImageAttribute"),
        );
        assert!(ignored(&event).contains("ModifyImageAttribute"));
        let app_stream = with(
            file("call-create-image"),
            &["detail", "eventSource"],
            json!("appstream.amazonaws.com"),
        );
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
                tag_look(&event, Trigger::TagChange, &[IMAGE]);
            }
        }
    }

    #[test]
    fn the_clock_starts_a_sweep_in_both_of_its_forms() {
        assert_eq!(
            file("scheduled-scheduler")["detail"],
            json!("{}"),
            "Scheduler's detail is a string"
        );
        for name in ["scheduled-rule", "scheduled-scheduler"] {
            assert_eq!(job(&file(name)), sweep(Trigger::Schedule), "{name}");
        }
    }

    fn policy_sweep(time: Option<&str>) -> Job {
        let changed = time.map(|time| time.parse().unwrap());
        let task = Task::Sweep {
            after: None,
            also: vec![],
            changed,
        };
        Job {
            trigger: Trigger::PolicyChange,
            dry_run: false,
            task,
        }
    }

    #[test]
    fn a_changed_parameter_starts_a_sweep_if_it_is_below_the_policy_path() {
        let expected = policy_sweep(Some("2026-11-21T16:30:25Z"));
        assert_eq!(job(&file("parameter-changed")), expected);
        for name in [
            "/ami-warden/rules",
            "/ami-warden/rules/a",
            "/ami-warden/elsewhere",
        ] {
            let event = with(file("parameter-changed"), &["detail", "name"], json!(name));
            assert_eq!(job(&event), expected, "{name}");
        }
        for name in [
            "/ami-warden",
            "/ami-warden-other/rules",
            "/other/ami-warden/rules",
            "ami-warden/rules",
            "/AMI-warden/rules",
        ] {
            let event = with(file("parameter-changed"), &["detail", "name"], json!(name));
            assert!(ignored(&event).contains(name), "{name}");
        }
        let without = DecodeContext {
            policy_path: None,
            allow_list_parameter: None,
            ..CONTEXT
        };
        let event = Event::parse(&file("parameter-changed"), &without);
        assert!(matches!(event, Ok(Event::Ignored { .. })), "{event:?}");
    }

    #[test]
    fn a_changed_allow_list_starts_a_sweep_with_and_without_a_policy() {
        let named = |name: &str| with(file("parameter-changed"), &["detail", "name"], json!(name));
        for policy_path in [CONTEXT.policy_path, None] {
            let context = DecodeContext {
                policy_path,
                ..CONTEXT
            };
            let sweep = Event::Job(policy_sweep(Some("2026-11-21T16:30:25Z")));
            assert_eq!(
                Event::parse(&named("/security/grantees"), &context),
                Ok(sweep)
            );
            for other in [
                "/security/grantees/",
                "/security/grantees/a",
                "/security",
                "grantees",
            ] {
                let event = Event::parse(&named(other), &context);
                assert!(matches!(event, Ok(Event::Ignored { .. })), "{event:?}");
            }
        }
    }

    #[test]
    fn a_deleted_parameter_starts_a_sweep_too() {
        for operation in ["Create", "Delete", "LabelParameterVersion"] {
            let path = &["detail", "operation"];
            let event = with(file("parameter-changed"), path, json!(operation));
            assert_eq!(
                job(&event),
                policy_sweep(Some("2026-11-21T16:30:25Z")),
                "{operation}"
            );
        }
    }

    #[test]
    fn a_policy_sweep_carries_the_time_of_its_event_as_far_as_it_can_be_read() {
        for (time, read) in [
            (json!("2026-11-21T16:30:25Z"), Some("2026-11-21T16:30:25Z")),
            (
                json!("2026-11-21T17:30:25.5+01:00"),
                Some("2026-11-21T16:30:25.5Z"),
            ),
            (json!("2026-11-21"), None),
            (json!(""), None),
            (json!(1_795_278_625), None),
            (json!({}), None),
            (json!(null), None),
        ] {
            let event = with(file("parameter-changed"), &["time"], time.clone());
            assert_eq!(job(&event), policy_sweep(read), "{time}");
        }
        // Other sweeps have none: they are never superseded.
        assert_eq!(job(&file("scheduled-rule")), sweep(Trigger::Schedule));
        assert_eq!(
            job(&custom(json!({ "Sweep": {} }))),
            sweep(Trigger::Request)
        );
    }

    #[test]
    fn a_custom_event_is_a_look_or_a_sweep_whatever_its_detail_type() {
        assert_eq!(
            job(&file("custom-look")),
            look(Trigger::Request, &[IMAGE], Promised::Nothing)
        );
        let named = with(file("custom-look"), &["detail-type"], json!("Anything"));
        assert_eq!(
            job(&named),
            look(Trigger::Request, &[IMAGE], Promised::Nothing)
        );
        let task = Task::Sweep {
            after: Some(IMAGE.parse().unwrap()),
            also: ids(&[OTHER]),
            changed: None,
        };
        assert_eq!(
            job(&file("custom-continue")),
            Job {
                trigger: Trigger::Request,
                dry_run: false,
                task,
            }
        );
        assert!(job(&custom(json!({ "Sweep": {}, "DryRun": true }))).dry_run);
    }

    #[test]
    fn a_custom_event_carries_no_request() {
        for key in Request::KEYS
            .into_iter()
            .filter(|key| !LOOK_KEYS.contains(key))
        {
            for value in [json!("x"), json!({}), json!(null)] {
                let mut event = custom(json!({ "ImageId": IMAGE }));
                event["detail"][key] = value;
                invalid_event(
                    &event,
                    &format!("detail.{key}"),
                    "not taken from the event bus",
                );
            }
        }
        invalid_event(
            &custom(json!({ "ImageId": IMAGE, "Force": true })),
            "detail.Force",
            "unknown key",
        );
        invalid_event(&custom(json!({})), "detail", "nothing is asked for");
        invalid_event(&custom(json!("{}")), "detail", "expected an object");
        // Only our own events are read so: what another source sends cannot ask for anything.
        let foreign = with(file("custom-look"), &["source"], json!("my.application"));
        assert!(ignored(&foreign).contains("my.application"));
    }

    #[test]
    fn any_other_event_is_ignored_by_name() {
        let event = with(
            file("ami-available"),
            &["detail-type"],
            json!("EC2 Instance State-change Notification"),
        );
        assert!(ignored(&event).contains("EC2 Instance State-change Notification"));
        for name in [
            "ami-available",
            "call-create-tags",
            "tag-changed",
            "scheduled-rule",
            "parameter-changed",
        ] {
            let forged = with(file(name), &["source"], json!("custom.app"));
            assert!(ignored(&forged).contains("custom.app"), "{name}");
        }
    }

    #[test]
    fn fields_of_the_envelope_that_are_not_needed_may_be_missing_or_odd() {
        for name in [
            "ami-available",
            "call-create-image",
            "scheduled-rule",
            "custom-look",
        ] {
            let expected = job(&file(name));
            for field in ["version", "id", "account", "time", "region", "resources"] {
                for value in [json!(null), json!(4.0), json!({})] {
                    assert_eq!(
                        job(&with(file(name), &[field], value.clone())),
                        expected,
                        "{name} {field} {value}"
                    );
                }
            }
        }
        assert_eq!(
            job(&with(file("scheduled-rule"), &["detail"], json!(null))),
            sweep(Trigger::Schedule)
        );
        assert_eq!(
            job(&with(file("ami-available"), &["resources"], json!(null))),
            look(Trigger::Ec2AmiStateChange, &[IMAGE], Promised::Available)
        );
        assert!(
            ignored(&json!({ "detail-type": "Anything", "source": "elsewhere" }))
                .contains("elsewhere")
        );
    }

    #[test]
    fn numbers_in_details_may_have_any_form() {
        for version in [json!(3), json!(4.0), json!("5"), json!(null)] {
            let event = with(file("tag-changed"), &["detail", "version"], version);
            tag_look(&event, Trigger::TagChange, &[IMAGE]);
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
            (
                "call-delete-tags",
                "detail.requestParameters.resourcesSet.items",
            ),
            ("tag-changed", "detail.service"),
            ("tag-changed", "detail.resource-type"),
            ("parameter-changed", "detail.name"),
        ] {
            let keys: Vec<&str> = path.split('.').collect();
            invalid_event(&with(file(name), &keys, json!(null)), path, "missing");
        }
        for (name, path) in [
            ("ami-available", "detail"),
            ("call-create-tags", "detail"),
            ("tag-changed", "detail"),
        ] {
            invalid_event(&with(file(name), &[path], json!(null)), path, "missing");
            invalid_event(
                &with(file(name), &[path], json!("{}")),
                path,
                "expected an object, got \"{}\"",
            );
        }
        invalid_event(
            &with(file("tag-changed"), &["resources"], json!(null)),
            "resources[0]",
            "missing",
        );
        invalid_event(
            &with(file("tag-changed"), &["resources"], json!([])),
            "resources[0]",
            "missing",
        );
        invalid_event(
            &with(file("ami-available"), &["source"], json!(null)),
            "source",
            "missing",
        );
    }

    #[test]
    fn a_recognised_event_with_a_malformed_field_is_an_error_that_names_the_path_and_the_value() {
        let items = &["detail", "requestParameters", "resourcesSet", "items"];
        let tagged = |items_value: Value| with(file("call-create-tags"), items, items_value);
        let place = "detail.requestParameters.resourcesSet.items";
        invalid_event(
            &with(
                file("ami-available"),
                &["detail", "ImageId"],
                json!("ami-1"),
            ),
            "detail.ImageId",
            "\"ami-1\"",
        );
        invalid_event(
            &with(file("ami-available"), &["detail", "ImageId"], json!(1)),
            "detail.ImageId",
            "got 1",
        );
        invalid_event(
            &with(file("ami-available"), &["detail", "State"], json!(4.0)),
            "detail.State",
            "got 4.0",
        );
        invalid_event(&tagged(json!({})), place, "expected a list");
        invalid_event(
            &tagged(json!([{ "resourceId": IMAGE }, {}])),
            &format!("{place}[1].resourceId"),
            "missing",
        );
        invalid_event(
            &tagged(json!([{ "resourceId": "ami-xyz" }])),
            &format!("{place}[0].resourceId"),
            "\"ami-xyz\"",
        );
        let arn = "arn:aws:ec2:us-east-1::image/";
        invalid_event(
            &with(file("tag-changed"), &["resources"], json!([arn])),
            "resources[0]",
            arn,
        );
        invalid_event(
            &with(file("tag-changed"), &["resources"], json!([1])),
            "resources[0]",
            "expected a string",
        );
        invalid_event(
            &with(file("tag-changed"), &["resources"], json!("x")),
            "resources",
            "expected a list",
        );
        for field in ["detail-type", "source"] {
            invalid_event(
                &with(file("ami-available"), &[field], json!(5)),
                field,
                "expected a string, got 5",
            );
        }
    }

    #[test]
    fn by_hand_a_lone_image_id_is_a_look() {
        let request = |images: &[&str]| look(Trigger::Request, images, Promised::Nothing);
        for name in ["look", "guide-2-verify"] {
            let event = file(name);
            assert_eq!(
                job(&event),
                request(&[event["ImageId"].as_str().unwrap()]),
                "{name}"
            );
        }
        assert_eq!(job(&file("look-at-several")), request(&[IMAGE, OTHER]));
        assert_eq!(
            job(&json!({ "ImageIds": [OTHER, IMAGE, OTHER] })),
            request(&[OTHER, IMAGE])
        );
        assert_eq!(
            job(&file("look-dry-run")),
            Job {
                dry_run: true,
                ..request(&[IMAGE])
            }
        );
        assert_eq!(
            job(&json!({ "ImageId": IMAGE, "DryRun": false, "ImageIds": [] })),
            request(&[IMAGE])
        );
    }

    #[test]
    fn by_hand_a_sweep_may_go_on_after_an_image_and_take_others_along() {
        let sweep = |after: Option<&str>, also: &[&str]| Job {
            trigger: Trigger::Request,
            dry_run: false,
            task: Task::Sweep {
                after: after.map(|id| id.parse().unwrap()),
                also: ids(also),
                changed: None,
            },
        };
        assert_eq!(job(&file("sweep")), sweep(None, &[]));
        assert_eq!(job(&file("sweep-after")), sweep(Some(IMAGE), &[]));
        assert_eq!(
            job(&json!({ "Sweep": { "After": null }, "ImageIds": [OTHER] })),
            sweep(None, &[OTHER])
        );
        assert_eq!(
            job(&json!({ "Sweep": {}, "DryRun": true })),
            Job {
                dry_run: true,
                ..sweep(None, &[])
            }
        );
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
            let Job {
                trigger: Trigger::Request,
                dry_run: false,
                task: Task::Request(request),
            } = job(&event)
            else {
                panic!("{name}")
            };
            assert_eq!(
                request.image.to_string(),
                event["ImageId"].as_str().unwrap()
            );
        }
        assert!(
            job(&json!({ "ImageId": IMAGE, "Description": { "Value": "d" }, "DryRun": true }))
                .dry_run
        );
        // Empty keys do not turn a request into a look.
        invalid_request(
            &json!({ "ImageId": IMAGE, "Description": null }),
            "the event",
            "no attribute to change",
        );
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
        for event in [
            json!(null),
            json!([]),
            json!("ami-0123456789abcdef0"),
            json!(4.0),
        ] {
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
        invalid_request(
            &json!({ "ImageId": [IMAGE] }),
            "ImageId",
            "expected a string, got a list",
        );
        invalid_request(&json!({ "ImageIds": IMAGE }), "ImageIds", "expected a list");
        invalid_request(&json!({ "ImageIds": [IMAGE, "x"] }), "ImageIds[1]", "\"x\"");
        invalid_request(
            &json!({ "ImageIds": [null] }),
            "ImageIds[0]",
            "expected a string, got null",
        );
        invalid_request(
            &json!({ "Sweep": true }),
            "Sweep",
            "expected an object, got true",
        );
        invalid_request(
            &json!({ "Sweep": { "Before": IMAGE } }),
            "Sweep.Before",
            "allowed are After",
        );
        invalid_request(
            &json!({ "Sweep": { "After": "x" } }),
            "Sweep.After",
            "\"x\"",
        );
        invalid_request(
            &json!({ "Sweep": {}, "DryRun": "yes" }),
            "DryRun",
            "expected true or false",
        );
    }

    #[test]
    fn keys_that_do_not_go_together_are_an_error_that_says_so() {
        invalid_request(
            &json!({ "ImageId": IMAGE, "ImageIds": [OTHER] }),
            "the event",
            "ImageId goes alone",
        );
        invalid_request(
            &json!({ "ImageId": IMAGE, "Sweep": {} }),
            "the event",
            "ImageId goes alone",
        );
        let description = json!({ "Value": "d" });
        invalid_request(
            &json!({ "ImageIds": [IMAGE], "Description": description }),
            "Description",
            "with ImageIds",
        );
        invalid_request(
            &json!({ "Sweep": {}, "ImageId": IMAGE, "Description": description }),
            "Description",
            "with Sweep",
        );
        invalid_request(
            &json!({ "Sweep": {}, "Aftr": IMAGE }),
            "Aftr",
            "takes ImageId, ImageIds, Sweep, DryRun",
        );
    }

    #[test]
    fn an_arn_of_no_image_is_named_once() {
        for arn in [
            "arn:aws:ec2:us-east-1::image/ami-1",
            "arn:aws:ec2:us-east-1::snapshot/x",
        ] {
            let event = with(file("tag-changed"), &["resources"], json!([arn]));
            let Err(EventError::Event(malformed)) = parse(&event) else {
                panic!("{arn}")
            };
            assert_eq!(malformed.message.matches(arn).count(), 1, "{malformed}");
            assert!(
                malformed.message.contains("8 or 17 lower-case"),
                "{malformed}"
            );
        }
    }

    fn numbered(count: usize) -> Value {
        (0..count)
            .map(|number| format!("ami-{number:017x}"))
            .collect()
    }

    #[test]
    fn an_event_takes_four_thousand_images_each_counted_once() {
        let most = numbered(IMAGE_IDS_MAX);
        let mut doubled = most.as_array().unwrap().clone();
        doubled.extend(doubled.clone());
        for list in [most, doubled.into()] {
            let bare = job(&json!({ "ImageIds": list }));
            assert_eq!(job(&custom(json!({ "ImageIds": list }))), bare);
            let Task::Look { images, .. } = bare.task else {
                panic!("{bare:?}")
            };
            assert_eq!(images.len(), 4000);
        }
    }

    #[test]
    fn more_than_four_thousand_images_are_an_error_that_points_to_a_sweep() {
        let list = numbered(IMAGE_IDS_MAX + 1);
        for rule in [
            "4001 images, and one event takes at most 4000",
            "{\"Sweep\": {}}",
        ] {
            invalid_request(&json!({ "ImageIds": list }), "ImageIds", rule);
            invalid_request(&json!({ "ImageIds": list, "Sweep": {} }), "ImageIds", rule);
            invalid_event(
                &custom(json!({ "ImageIds": list })),
                "detail.ImageIds",
                rule,
            );
            let arns = (0..4001).map(|id| format!("arn:aws:ec2:us-east-1::image/ami-{id:08x}"));
            let event = with(file("tag-changed"), &["resources"], arns.collect());
            invalid_event(&event, "resources", rule);
        }
    }

    #[test]
    fn the_most_images_of_an_event_fit_into_continue() {
        let carried = json!({ "ImageIds": numbered(IMAGE_IDS_MAX), "DryRun": true }).to_string();
        assert!(carried.len() < 131_072 * 3 / 4, "{} bytes", carried.len());
    }

    #[test]
    fn through_the_alias_events_a_request_is_an_error_that_says_how_to_send_it() {
        let context = DecodeContext {
            requests_allowed: false,
            ..CONTEXT
        };
        let error = |event: &Value| match Event::parse(event, &context) {
            Err(EventError::Request(malformed)) => malformed,
            other => panic!("{event}: {other:?}"),
        };
        let add = json!([{ "UserId": "444455556666" }]);
        let request = json!({ "ImageId": IMAGE, "LaunchPermission": { "Add": add } });
        let message = "LaunchPermission: a ModifyImageAttribute request is not taken through the \
                       alias `events`: invoke the function itself, without an alias";
        assert_eq!(error(&request).to_string(), message);
        for key in Request::KEYS
            .into_iter()
            .filter(|key| !LOOK_KEYS.contains(key))
        {
            for value in [json!("x"), json!({}), json!(null)] {
                for beside in ["ImageId", "Sweep"] {
                    let event = json!({ beside: IMAGE, key: value });
                    assert_eq!(error(&event).path, key, "{event}");
                }
            }
        }
        let unknown = error(&json!({ "ImageId": IMAGE, "Force": true }));
        assert_eq!(unknown.path, "Force");
        assert!(
            unknown
                .message
                .contains("allowed are ImageId, ImageIds, Sweep, DryRun")
        );
    }

    #[test]
    fn through_the_alias_events_everything_else_is_taken() {
        let context = DecodeContext {
            requests_allowed: false,
            ..CONTEXT
        };
        for event in [
            json!({ "ImageId": IMAGE }),
            json!({ "ImageIds": [IMAGE, OTHER], "DryRun": true }),
            json!({ "Sweep": { "After": IMAGE }, "ImageIds": [OTHER] }),
            file("ami-available"),
            file("tag-changed"),
            file("parameter-changed"),
            file("custom-continue"),
        ] {
            assert_eq!(Event::parse(&event, &context), parse(&event), "{event}");
            job(&event);
        }
    }

    #[test]
    fn the_reason_of_an_ignored_event_is_short_however_long_its_names_are() {
        let long = "x".repeat(100_000);
        for path in [&["source"][..], &["detail-type"]] {
            let reason = ignored(&with(file("ami-available"), path, json!(long)));
            assert!(reason.len() < 1_100, "{} bytes", reason.len());
        }
        let state = with(file("ami-available"), &["detail", "State"], json!(long));
        assert!(ignored(&state).len() < 1_100);
    }
}
