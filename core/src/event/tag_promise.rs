//! The tags that an event promises, while `DescribeImages` may still show older ones.
//!
//! A promise decides one thing: whether to read the image again. No plan uses its values.

use std::collections::BTreeMap;

use crate::{
    json::{Malformed, Node},
    model::shared_tag::SHARED_TAG_PREFIX,
};

/// What an event says about the tags of its images after a change.
///
/// One promise holds for every image that the event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPromise(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// The tags are these and no others.
    Whole(BTreeMap<String, String>),
    /// These keys have these values; other tags are not known.
    Written(BTreeMap<String, String>),
    /// These tags are gone; other tags are not known.
    Deleted(Vec<DeletedTag>),
    /// All tags are gone.
    AllDeleted,
}

/// One item of `DeleteTags`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DeletedTag {
    key: String,
    /// EC2 deletes the tag if it has this value, `None`: whatever its value.
    value: Option<String>,
}

/// The tags that a look depends on: other tags may change without an event of their own.
#[derive(Debug, Clone, Copy)]
struct Relevant<'a> {
    prefix: &'a str,
    any_tag: bool,
    own_key: Option<&'a str>,
}

impl Relevant<'_> {
    /// The status tag and shared tags are this function's own writes; `aws:` tags come from AWS.
    fn counts(self, key: &str) -> bool {
        let is_ours = self.own_key == Some(key) || key.starts_with(SHARED_TAG_PREFIX);
        if is_ours || key.starts_with("aws:") {
            return false;
        }
        self.any_tag || key.starts_with(self.prefix)
    }
}

impl TagPromise {
    /// Reads the detail of `Tag Change on Resource`, which holds all tags after the change:
    /// <https://docs.aws.amazon.com/tag-editor/latest/userguide/monitor-tag-changes.html>.
    ///
    /// `None` if `tags` is missing or not an object of strings: the look goes on without a promise.
    pub(super) fn of_changed(detail: &Node<'_>) -> Option<Self> {
        let tags = detail.get("tags").ok()??;
        let mut whole = BTreeMap::new();
        for key in tags.object().ok()?.keys() {
            let value = tags.require(key).ok()?.string().ok()?;
            whole.insert(key.clone(), value.to_owned());
        }
        Some(Self(Kind::Whole(whole)))
    }

    /// Reads the `requestParameters` of `CreateTags`. A tag without a value has an empty one:
    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html>.
    ///
    /// `None` if the tags are missing or odd.
    pub(super) fn of_created(parameters: &Node<'_>) -> Option<Self> {
        let mut written = BTreeMap::new();
        for (key, value) in read_items(&parameters.get("tagSet").ok()??).ok()? {
            written.insert(key, value.unwrap_or_default());
        }
        Some(Self(Kind::Written(written)))
    }

    /// Reads the `requestParameters` of `DeleteTags`. Without tags it deletes all of them, a tag
    /// without a value whatever its value, and a tag with a value only if it has that one:
    /// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteTags.html>.
    ///
    /// `None` if the tags are odd.
    pub(super) fn of_deleted(parameters: &Node<'_>) -> Option<Self> {
        let Some(tag_set) = parameters.get("tagSet").ok()? else {
            return Some(Self(Kind::AllDeleted));
        };
        let mut deleted = Vec::new();
        for (key, value) in read_items(&tag_set).ok()? {
            deleted.push(DeletedTag { key, value });
        }
        Some(Self(if deleted.is_empty() {
            Kind::AllDeleted
        } else {
            Kind::Deleted(deleted)
        }))
    }

    /// Whether the tags that were read are those of the promise.
    ///
    /// Only keys with the prefix count, and with a policy (`any_tag`), whose rules match any tag,
    /// every key. The status tag (`own_key`), shared tags and `aws:` tags never count.
    #[must_use]
    pub fn holds(
        &self,
        tags: &BTreeMap<String, String>,
        prefix: &str,
        any_tag: bool,
        own_key: Option<&str>,
    ) -> bool {
        let relevant = Relevant {
            prefix,
            any_tag,
            own_key,
        };
        let is_relevant = |(key, _): &(&String, &String)| relevant.counts(key);
        match &self.0 {
            Kind::Whole(whole) => whole
                .iter()
                .filter(is_relevant)
                .eq(tags.iter().filter(is_relevant)),
            Kind::Written(written) => written
                .iter()
                .filter(is_relevant)
                .all(|(key, value)| tags.get(key) == Some(value)),
            Kind::Deleted(deleted) => deleted
                .iter()
                .all(|tag| !relevant.counts(&tag.key) || !tag.is_still_in(tags)),
            Kind::AllDeleted => !tags.iter().any(|tag| is_relevant(&tag)),
        }
    }
}

impl DeletedTag {
    fn is_still_in(&self, tags: &BTreeMap<String, String>) -> bool {
        match (tags.get(&self.key), &self.value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some(deleted)) => value == deleted,
        }
    }
}

/// The items of a `tagSet`: keys, and values as far as they are given.
fn read_items(tag_set: &Node<'_>) -> Result<Vec<(String, Option<String>)>, Malformed> {
    let mut tags = Vec::new();
    let Some(items) = tag_set.get("items")? else {
        return Ok(tags);
    };
    for item in items.items()? {
        let key = item.require("key")?.string()?.to_owned();
        let value = match item.get("value")? {
            Some(value) => Some(value.string()?.to_owned()),
            None => None,
        };
        tags.push((key, value));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::cases;

    const STATUS: &str = "ami-warden-status";

    type Tags = BTreeMap<String, String>;

    fn tags(list: &[(&str, &str)]) -> Tags {
        list.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn changed(value: &Value) -> Option<TagPromise> {
        TagPromise::of_changed(&Node::whole(&json!({ "tags": value }), "detail"))
    }

    fn created(items: &Value) -> Option<TagPromise> {
        TagPromise::of_created(&Node::whole(
            &json!({ "tagSet": { "items": items } }),
            "the event",
        ))
    }

    fn deleted(items: &Value) -> Option<TagPromise> {
        TagPromise::of_deleted(&Node::whole(
            &json!({ "tagSet": { "items": items } }),
            "the event",
        ))
    }

    /// Without a policy.
    fn holds(promise: &TagPromise, list: &[(&str, &str)]) -> bool {
        promise.holds(&tags(list), "ami-warden:", false, Some(STATUS))
    }

    /// With a policy.
    fn holds_with_policy(promise: &TagPromise, list: &[(&str, &str)]) -> bool {
        promise.holds(&tags(list), "ami-warden:", true, Some(STATUS))
    }

    #[test]
    fn a_changed_tag_promises_the_whole_set_of_directive_tags() {
        let promise = changed(&json!({ "Name": "golden", "ami-warden:hold": "x" })).unwrap();
        assert!(holds(
            &promise,
            &[("ami-warden:hold", "x"), ("Name", "other"), ("new", "")]
        ));
        assert!(
            !holds(&promise, &[("ami-warden:hold", "y")]),
            "another value"
        );
        assert!(!holds(&promise, &[]), "a tag is missing");
        let more = [("ami-warden:hold", "x"), ("ami-warden:description", "d")];
        assert!(!holds(&promise, &more), "a deleted tag is still there");
        let nothing = changed(&json!({})).unwrap();
        assert!(holds(&nothing, &[("Name", "golden")]) && !holds(&nothing, &more));
    }

    #[test]
    fn with_a_policy_any_tag_counts() {
        let promise = changed(&json!({ "release": "stable" })).unwrap();
        assert!(holds(&promise, &[]) && !holds_with_policy(&promise, &[]));
        assert!(holds_with_policy(&promise, &[("release", "stable")]));
        assert!(!holds_with_policy(
            &promise,
            &[("release", "stable"), ("os", "ubuntu")]
        ));
        let promise = created(&json!([{ "key": "release", "value": "stable" }])).unwrap();
        assert!(holds(&promise, &[]) && !holds_with_policy(&promise, &[]));
        let promise = deleted(&json!([{ "key": "release" }])).unwrap();
        let still = [("release", "stable")];
        assert!(holds(&promise, &still) && !holds_with_policy(&promise, &still));
    }

    #[test]
    fn the_status_tag_shared_tags_and_tags_of_aws_never_count() {
        for key in [
            STATUS,
            "ec2:SharedTag/release",
            "aws:backup:source-resource",
        ] {
            let read = [(key, "read")];
            for promise in [
                changed(&json!({ key: "event" })),
                created(&json!([{ "key": key, "value": "event" }])),
                deleted(&json!([{ "key": key }])),
                deleted(&json!([])),
            ] {
                let promise = promise.unwrap();
                assert!(holds_with_policy(&promise, &read), "{promise:?}");
                assert!(holds_with_policy(&promise, &[]), "{promise:?}");
            }
        }
        // Without the setting STATUS_TAG the key is a tag like others.
        let promise = changed(&json!({ STATUS: "event" })).unwrap();
        assert!(!promise.holds(&Tags::new(), "ami-warden:", true, None));
    }

    #[test]
    fn created_tags_are_promised_with_their_values_and_nothing_else() {
        let promise = created(&json!([
            { "key": "ami-warden:hold", "value": "x" }, { "key": "ami-warden:description" }
        ]))
        .unwrap();
        assert!(holds(
            &promise,
            &[("ami-warden:hold", "x"), ("ami-warden:description", "")]
        ));
        let more = [
            ("ami-warden:hold", "x"),
            ("ami-warden:description", ""),
            ("ami-warden:a", ""),
        ];
        assert!(holds(&promise, &more));
        assert!(!holds(&promise, &[("ami-warden:hold", "x")]));
        assert!(!holds(
            &promise,
            &[("ami-warden:hold", "x"), ("ami-warden:description", "d")]
        ));
    }

    #[test]
    fn a_tag_deleted_with_a_value_may_have_another_one() {
        let any = deleted(&json!([{ "key": "ami-warden:hold" }])).unwrap();
        let one = deleted(&json!([{ "key": "ami-warden:hold", "value": "x" }])).unwrap();
        let empty = deleted(&json!([{ "key": "ami-warden:hold", "value": "" }])).unwrap();
        for (value, promises) in [("x", [false, false, true]), ("", [false, true, false])] {
            let read = [("ami-warden:hold", value)];
            let held = [&any, &one, &empty].map(|promise| holds(promise, &read));
            assert_eq!(held, promises, "{value:?}");
        }
        for promise in [any, one, empty] {
            assert!(holds(&promise, &[("ami-warden:description", "d")]));
        }
    }

    #[test]
    fn deleting_without_tags_promises_that_all_are_gone() {
        for parameters in [
            json!({}),
            json!({ "tagSet": null }),
            json!({ "tagSet": {} }),
            json!({ "tagSet": { "items": [] } }),
        ] {
            let promise = TagPromise::of_deleted(&Node::whole(&parameters, "the event")).unwrap();
            assert!(holds(&promise, &[("Name", "golden")]), "{parameters}");
            assert!(!holds(&promise, &[("ami-warden:hold", "")]), "{parameters}");
            assert!(
                !holds_with_policy(&promise, &[("Name", "golden")]),
                "{parameters}"
            );
        }
    }

    #[test]
    fn missing_and_odd_tags_promise_nothing() {
        for odd in [
            json!(null),
            json!("x"),
            json!([]),
            json!({ "a": 1 }),
            json!({ "a": null }),
        ] {
            assert_eq!(changed(&odd), None, "{odd}");
        }
        for odd in [json!("x"), json!([1]), json!([{}]), json!([{ "key": 1 }])] {
            assert_eq!((created(&odd), deleted(&odd)), (None, None), "{odd}");
        }
        let odd_value = json!([{ "key": "a", "value": 1 }]);
        assert_eq!((created(&odd_value), deleted(&odd_value)), (None, None));
        for parameters in [
            json!({}),
            json!({ "tagSet": null }),
            json!({ "tagSet": [] }),
        ] {
            assert_eq!(
                TagPromise::of_created(&Node::whole(&parameters, "the event")),
                None,
                "{parameters}"
            );
        }
        let list = json!({ "tagSet": [] });
        assert_eq!(
            TagPromise::of_deleted(&Node::whole(&list, "the event")),
            None
        );
    }

    /// EC2's side of a tag call.
    #[derive(Debug, Clone)]
    enum Call {
        Create(Tags),
        Delete(BTreeMap<String, Option<String>>),
        DeleteAll,
    }

    impl Call {
        fn apply(&self, mut tags: Tags) -> Tags {
            match self {
                Self::Create(written) => tags.extend(written.clone()),
                Self::Delete(deleted) => tags.retain(|key, value| match deleted.get(key) {
                    None => true,
                    Some(None) => false,
                    Some(Some(deleted)) => value != deleted,
                }),
                Self::DeleteAll => tags.retain(|key, _| key.starts_with("aws:")),
            }
            tags
        }

        fn promise(&self) -> TagPromise {
            let item = |key: &String, value: &Option<String>| match value {
                Some(value) => json!({ "key": key, "value": value }),
                None => json!({ "key": key }),
            };
            let items: Vec<Value> = match self {
                Self::Create(tags) => tags
                    .iter()
                    .map(|(key, value)| item(key, &Some(value.clone())))
                    .collect(),
                Self::Delete(tags) => tags.iter().map(|(key, value)| item(key, value)).collect(),
                Self::DeleteAll => Vec::new(),
            };
            let items = Value::from(items);
            match self {
                Self::Create(_) => created(&items).unwrap(),
                Self::Delete(_) | Self::DeleteAll => deleted(&items).unwrap(),
            }
        }
    }

    fn any_key() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "ami-warden:hold",
            "ami-warden:description",
            "Name",
            "release",
            STATUS,
            "ec2:SharedTag/release",
            "aws:dlm:managed",
        ])
        .prop_map(ToOwned::to_owned)
    }

    fn any_value() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["", "x", "y"]).prop_map(ToOwned::to_owned)
    }

    fn any_tags() -> impl Strategy<Value = Tags> {
        prop::collection::btree_map(any_key(), any_value(), 0..6)
    }

    fn any_call() -> impl Strategy<Value = Call> {
        let deleted = prop::collection::btree_map(any_key(), prop::option::of(any_value()), 1..5);
        prop_oneof![
            any_tags().prop_map(Call::Create),
            deleted.prop_map(Call::Delete),
            Just(Call::DeleteAll),
        ]
    }

    /// The tags that a look depends on, by the words of the contract.
    fn counting(tags: &Tags, any_tag: bool) -> Tags {
        let mut counting = tags.clone();
        counting.retain(|key, _| {
            let never = key == STATUS || key.starts_with("ec2:SharedTag/");
            !never && !key.starts_with("aws:") && (any_tag || key.starts_with("ami-warden:"))
        });
        counting
    }

    proptest! {
        #![proptest_config(cases(2000))]

        /// A call's promise holds for tags if and only if the call would change nothing in them.
        #[test]
        fn a_promise_of_a_call_holds_where_the_call_has_nothing_left_to_do(
            call in any_call(), tags in any_tags(), any_tag: bool,
        ) {
            let after = call.apply(tags.clone());
            let promise = call.promise();
            let is_settled = counting(&after, any_tag) == counting(&tags, any_tag);
            prop_assert_eq!(promise.holds(&tags, "ami-warden:", any_tag, Some(STATUS)), is_settled);
            prop_assert!(promise.holds(&after, "ami-warden:", any_tag, Some(STATUS)));
        }

        #[test]
        fn a_promise_of_a_whole_set_holds_where_the_same_tags_count(
            whole in any_tags(), tags in any_tags(), any_tag: bool,
        ) {
            let promise = changed(&json!(whole)).unwrap();
            let is_same = counting(&whole, any_tag) == counting(&tags, any_tag);
            prop_assert_eq!(promise.holds(&tags, "ami-warden:", any_tag, Some(STATUS)), is_same);
            prop_assert!(promise.holds(&whole, "ami-warden:", any_tag, Some(STATUS)));
        }
    }
}
