//! The status tag: what the person who tagged the image sees on the image itself.

use crate::guardrail::Refusal;

/// The longest value a tag can have.
const LONGEST_VALUE: usize = 256;

/// The value of the status tag for these refusals: codes and what they name, separated by spaces; `None` if there is nothing to say.
///
/// In the characters that tags of every service can hold. What does not fit is counted, not cut in the middle.
#[must_use]
pub fn status(refusals: &[Refusal]) -> Option<String> {
    let items: Vec<String> =
        refusals.iter().map(|refusal| portable(&format!("{}:{}", refusal.code.as_str(), refusal.resource))).collect();
    let value = |shown: usize| {
        let left_out = items.len() - shown;
        let note = (left_out > 0).then(|| format!("+{left_out} more"));
        items.iter().take(shown).chain(&note).map(String::as_str).collect::<Vec<_>>().join(" ")
    };
    let fits = |value: &String| value.len() <= LONGEST_VALUE;
    // An item has a character at least: more than the value holds cannot fit.
    (0..=items.len().min(LONGEST_VALUE)).rev().map(value).find(fits).filter(|value| !value.is_empty())
}

fn portable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "+-=._:/@".contains(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guardrail::{Attribute, Code};

    fn refusal(resource: &str) -> Refusal {
        Refusal {
            attribute: Attribute::LaunchPermission,
            code: Code::GranteeNotAllowed,
            message: String::new(),
            resource: resource.into(),
            ec2_code: None,
        }
    }

    #[test]
    fn codes_and_what_they_name_stand_in_the_tag() {
        let refusals = [refusal("444455556666"), refusal("rule ä")];
        assert_eq!(status(&refusals).as_deref(), Some("grantee-not-allowed:444455556666 grantee-not-allowed:rule__"));
        assert_eq!(status(&[]), None);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_not_cut() {
        for count in 1..40 {
            let refusals: Vec<Refusal> = (0..count).map(|n| refusal(&format!("{n:012}"))).collect();
            let value = status(&refusals).unwrap();
            assert!(value.len() <= LONGEST_VALUE, "{count}: {}", value.len());
            let listed = value.matches("grantee-not-allowed:").count();
            match value.split_once(" +") {
                Some((_, more)) => assert_eq!(more, format!("{} more", count - listed)),
                None => assert_eq!(listed, count),
            }
            assert!(listed == count || listed >= 7, "{count}: only {listed}");
        }
    }

    #[test]
    fn a_value_of_256_characters_fits_and_a_longer_one_does_not() {
        let name = |length| "x".repeat(length - "grantee-not-allowed:".len());
        let item = |length| format!("grantee-not-allowed:{}", name(length));
        let of = |lengths: &[usize]| status(&lengths.iter().map(|length| refusal(&name(*length))).collect::<Vec<_>>()).unwrap();
        assert_eq!(of(&[256]), item(256));
        assert_eq!(of(&[257]), "+1 more");
        assert_eq!(of(&[100, 155]), format!("{} {}", item(100), item(155)));
        assert_eq!(of(&[248, 300]), format!("{} +1 more", item(248)));
        assert_eq!(of(&[249, 300]), "+2 more");
    }
}
