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
    let (last, _) = items.split_last()?;
    let mut value = String::new();
    for (index, item) in items.iter().enumerate() {
        let separated = if value.is_empty() { item.clone() } else { format!(" {item}") };
        let more = items.len() - index - 1;
        // Room for saying how many are left out, unless none are.
        let reserve = if more == 0 && std::ptr::eq(item, last) { 0 } else { format!(" +{more} more").len() };
        if value.len() + separated.len() + reserve > LONGEST_VALUE {
            let left_out = items.len() - index;
            let note = format!("+{left_out} more");
            return Some(if value.is_empty() { note } else { format!("{value} {note}") });
        }
        value.push_str(&separated);
    }
    Some(value)
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
        assert_eq!(status(&[refusal(&"x".repeat(300))]).as_deref(), Some("+1 more"));
    }
}
