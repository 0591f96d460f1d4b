//! The decision on shared tags, which EC2 shows to everybody an image is shared with.

use super::guardrail::Guardrails;
use crate::{
    model::{
        change::Change,
        image::Image,
        refusal::{Attribute, Ground, Refusal},
        shared_tag::SHARED_TAG_PREFIX,
    },
    wish::directives::Directives,
};

/// A change for each tag that is not as wanted, or the refusal of it, in the order of the keys.
pub(super) fn decide(
    image: &Image,
    directives: &Directives,
    guardrails: &Guardrails,
) -> Vec<Result<Change, Refusal>> {
    let mut decisions = Vec::new();
    for (key, to) in &directives.shared_tags {
        let from = image.tags.get(&format!("{SHARED_TAG_PREFIX}{key}"));
        if from == to.as_ref() {
            continue;
        }
        let (key, from, to) = (key.clone(), from.cloned(), to.clone());
        decisions.push(if guardrails.shared_tags.cover(&key) {
            Ok(Change::SharedTag { key, from, to })
        } else {
            let attribute = Attribute::SharedTag(key.clone());
            Err(Refusal::new(attribute, Ground::SharedTagNotAllowed { key }))
        });
    }
    decisions
}
