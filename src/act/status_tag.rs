//! The status tag: the refusals of an image, on the image itself.

use ami_warden_core::Refusal;

/// The longest value of a tag, in characters:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions>.
const VALUE_CHARACTERS_MAX: usize = 256;

/// The value of the status tag for these refusals: codes and resources, separated by spaces; `None`
/// if there are none.
///
/// In the characters that tags of every service can hold. Refusals that do not fit are counted, not
/// cut in the middle.
#[must_use]
pub(crate) fn status(refusals: &[Refusal]) -> Option<String> {
    let mut best = None;
    let mut text = String::new();
    for (shown, refusal) in refusals.iter().enumerate() {
        let counted = join(&text, &format!("+{} more", refusals.len() - shown));
        if counted.len() <= VALUE_CHARACTERS_MAX {
            best = Some(counted);
        }
        let item = format!("{}:{}", refusal.code().as_str(), refusal.resource());
        text = join(&text, &portable(&item));
        if text.len() > VALUE_CHARACTERS_MAX {
            return best;
        }
    }
    if text.is_empty() { None } else { Some(text) }
}

fn join(text: &str, item: &str) -> String {
    if text.is_empty() {
        item.to_owned()
    } else {
        format!("{text} {item}")
    }
}

fn portable(text: &str) -> String {
    let is_portable = |c: char| c.is_ascii_alphanumeric() || "+-=._:/@".contains(c);
    text.chars()
        .map(|c| if is_portable(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use ami_warden_core::{Attribute, Ground};

    use super::*;

    /// A refusal with the code `invalid-directive` that names this resource.
    fn refusal(resource: &str) -> Refusal {
        let ground = Ground::InvalidDirective {
            author: resource.into(),
            message: String::new(),
        };
        Refusal::new(Attribute::LaunchPermission, ground)
    }

    #[test]
    fn codes_and_resources_stand_in_the_tag() {
        let refusals = [refusal("444455556666"), refusal("rule ä")];
        let expected = "invalid-directive:444455556666 invalid-directive:rule__";
        assert_eq!(status(&refusals).as_deref(), Some(expected));
        assert_eq!(status(&[]), None);
    }

    #[test]
    fn refusals_that_do_not_fit_are_counted_and_not_cut() {
        for count in 1..40 {
            let refusals: Vec<Refusal> = (0..count)
                .map(|number| refusal(&format!("{number:012}")))
                .collect();
            let value = status(&refusals).unwrap();
            assert!(
                value.len() <= VALUE_CHARACTERS_MAX,
                "{count}: {}",
                value.len()
            );
            let listed = value.matches("invalid-directive:").count();
            match value.split_once(" +") {
                Some((_, more)) => assert_eq!(more, format!("{} more", count - listed)),
                None => assert_eq!(listed, count),
            }
            assert!(listed == count || listed >= 7, "{count}: only {listed}");
        }
    }

    #[test]
    fn a_value_of_256_characters_fits_and_a_longer_one_does_not() {
        let name = |length| "x".repeat(length - "invalid-directive:".len());
        let item = |length| format!("invalid-directive:{}", name(length));
        let of = |lengths: &[usize]| {
            let refusals: Vec<_> = lengths
                .iter()
                .map(|length| refusal(&name(*length)))
                .collect();
            status(&refusals).unwrap()
        };
        assert_eq!(of(&[256]), item(256));
        assert_eq!(of(&[257]), "+1 more");
        assert_eq!(of(&[100, 155]), format!("{} {}", item(100), item(155)));
        assert_eq!(of(&[248, 300]), format!("{} +1 more", item(248)));
        assert_eq!(of(&[249, 300]), "+2 more");
    }
}
