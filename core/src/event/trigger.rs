//! An invocation's trigger and its work.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::tag_promise::TagPromise;
use crate::{
    json::{Malformed, shortened},
    model::{image::ImageId, request::Request},
};

/// The decoded JSON of an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The event concerns nothing here.
    Ignored {
        /// Why not, in words for people.
        reason: String,
    },
    /// The event asks for work.
    Job(Job),
}

/// The work that an event asks for, and its trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The kind of event that asks for it.
    pub trigger: Trigger,
    /// Whether the event itself asks for a dry run.
    pub dry_run: bool,
    /// The images to look at, or the request to carry out.
    pub task: Task,
}

/// The origin of an event from the bus, as far as the event says it: for the trail alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The id of `EventBridge`'s event.
    pub event_id: Option<String>,
    /// The ARN of the caller of the API, from `CloudTrail`'s record. Other events do not say it.
    pub actor: Option<String>,
}

/// `EventBridge`'s name for API calls that `CloudTrail` recorded.
pub(super) const API_CALL: &str = "AWS API Call via CloudTrail";

impl Origin {
    /// Reads the origin of an event; a bare one, which a caller writes freely, has none.
    #[must_use]
    pub fn from_event(event: &Value) -> Self {
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
        let Some(detail_type) = text("/detail-type") else {
            return Self::default();
        };
        // A custom event holds whatever its sender writes, and its source cannot begin with "aws.".
        let is_recorded = detail_type == API_CALL && text("/source") == Some("aws.ec2");
        let actor = if is_recorded {
            text("/detail/userIdentity/arn")
        } else {
            None
        };
        Self {
            event_id: text("/id").map(shortened),
            actor: actor.map(shortened),
        }
    }
}

/// The kinds of triggers that an answer tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// EC2's own event about an image.
    Ec2AmiStateChange,
    /// An API call that a trail recorded.
    Cloudtrail,
    /// The tags of an image changed.
    TagChange,
    /// A schedule of `EventBridge`: the clock.
    Schedule,
    /// A group, a rule or the allow-list changed.
    PolicyChange,
    /// A person, or this function's own continuation.
    Request,
    /// An event that concerns nothing here.
    Ignored,
}

impl Trigger {
    /// Every trigger: documents, schema and tests loop over this list.
    pub const ALL: &'static [Self] = &[
        Self::Ec2AmiStateChange,
        Self::Cloudtrail,
        Self::TagChange,
        Self::Schedule,
        Self::PolicyChange,
        Self::Request,
        Self::Ignored,
    ];

    /// The trigger's name in answers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ec2AmiStateChange => "ec2-ami-state-change",
            Self::Cloudtrail => "cloudtrail",
            Self::TagChange => "tag-change",
            Self::Schedule => "schedule",
            Self::PolicyChange => "policy-change",
            Self::Request => "request",
            Self::Ignored => "ignored",
        }
    }
}

/// The work of an invocation.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Look at the images that the event names.
    Look {
        /// Each once, in the order of the event; at most [`IMAGE_IDS_MAX`].
        ///
        /// [`IMAGE_IDS_MAX`]: super::decode::IMAGE_IDS_MAX
        images: Vec<ImageId>,
        /// What the event promises of each of them.
        promised: Promised,
    },
    /// Look at every image, in the order of ids.
    Sweep {
        /// The images up to this id are done already.
        after: Option<ImageId>,
        /// Further images to look at, wherever their ids stand; at most [`IMAGE_IDS_MAX`].
        ///
        /// [`IMAGE_IDS_MAX`]: super::decode::IMAGE_IDS_MAX
        also: Vec<ImageId>,
        /// When a parameter changed, by the event, to the second. `None` for any other sweep, and
        /// where the event has no readable time: such a sweep is never superseded.
        changed: Option<DateTime<Utc>>,
    },
    /// Carry out a request for one image, as far as the guardrails allow it.
    Request(Request),
}

/// What an event promises of its image, although EC2's answers may lag behind it.
///
/// A promise only says when to read again; nothing is planned from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promised {
    /// The event promises nothing about its image.
    Nothing,
    /// It was just created: it exists.
    Exists,
    /// It just became available.
    Available,
    /// Its tags just changed.
    Tags(TagPromise),
}

impl From<Option<TagPromise>> for Promised {
    fn from(tags: Option<TagPromise>) -> Self {
        match tags {
            Some(promise) => Self::Tags(promise),
            None => Self::Nothing,
        }
    }
}

/// An event that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// `EventBridge` delivered it.
    #[error(transparent)]
    Event(Malformed),
    /// A direct invocation brought it.
    #[error(transparent)]
    Request(Malformed),
}

/// The settings that decoding an event needs.
#[derive(Debug, Clone, Copy)]
pub struct DecodeContext<'a> {
    /// `POLICY_PATH`, without a `/` at its end.
    pub policy_path: Option<&'a str>,
    /// The name in `ALLOWED_GRANTEES_PARAMETER`, if it is set.
    pub allow_list_parameter: Option<&'a str>,
    /// The partition of this Region.
    pub partition: &'a str,
    /// Whether `ModifyImageAttribute` requests are taken: not through the alias `events`.
    pub requests_allowed: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recorded() -> Value {
        json!({
            "detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2", "id": "6f87d04b",
            "detail": { "userIdentity": { "arn": "arn:aws:iam::111122223333:user/alice" } }
        })
    }

    #[test]
    fn a_recorded_call_names_event_and_actor() {
        let origin = Origin {
            event_id: Some("6f87d04b".into()),
            actor: Some("arn:aws:iam::111122223333:user/alice".into()),
        };
        assert_eq!(Origin::from_event(&recorded()), origin);
    }

    #[test]
    fn a_bare_event_names_neither_event_nor_actor() {
        let mut event = recorded();
        event["ImageId"] = "ami-0123456789abcdef0".into();
        for detail_type in [None, Some(json!(null)), Some(json!(1))] {
            match detail_type {
                None => event.as_object_mut().unwrap().remove("detail-type"),
                Some(odd) => event
                    .as_object_mut()
                    .unwrap()
                    .insert("detail-type".into(), odd),
            };
            assert_eq!(Origin::from_event(&event), Origin::default(), "{event}");
        }
    }

    #[test]
    fn an_event_of_another_source_or_kind_names_no_actor() {
        for (key, value) in [
            ("source", "ami-warden"),
            ("source", "custom.app"),
            ("detail-type", "Continue"),
        ] {
            let mut event = recorded();
            event[key] = value.into();
            let origin = Origin {
                event_id: Some("6f87d04b".into()),
                actor: None,
            };
            assert_eq!(Origin::from_event(&event), origin, "{event}");
        }
    }

    #[test]
    fn every_trigger_has_a_name_of_its_own() {
        let names: Vec<&str> = Trigger::ALL
            .iter()
            .map(|trigger| trigger.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "ec2-ami-state-change",
                "cloudtrail",
                "tag-change",
                "schedule",
                "policy-change",
                "request",
                "ignored"
            ]
        );
    }
}
