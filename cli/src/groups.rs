//! Equal refusals and equal faults, told once: three thousand images that are refused alike are one
//! message and a number.

use std::collections::BTreeMap;

use ami_warden::{CallError, ImageRecord};
use ami_warden_core::Refusal;

/// Refusals or faults that say the same.
#[derive(Debug)]
pub struct Group<'a> {
    /// The refusal's code and attribute, or the call and its code.
    pub title: String,
    /// The message of the first of them.
    pub message: String,
    /// The images, each with the resource at fault where that is not the image itself.
    pub members: Vec<(&'a ImageRecord, Option<String>)>,
}

/// The refusals, those with equal words together, in the order of their codes.
pub fn refusals<'a>(records: impl Iterator<Item = &'a ImageRecord>) -> Vec<Group<'a>> {
    let mut groups = BTreeMap::new();
    for record in records {
        for refusal in &record.refusals {
            let key = (
                refusal.code(),
                refusal.attribute.clone(),
                shape(record, refusal),
            );
            let group = groups.entry(key).or_insert_with(|| Group {
                title: format!("{}  {}", refusal.code().as_str(), refusal.attribute),
                message: refusal.message(),
                members: Vec::new(),
            });
            let resource = refusal.resource();
            let is_said =
                resource == record.id.to_string() || resource == refusal.attribute.to_string();
            group.members.push((record, (!is_said).then_some(resource)));
        }
    }
    groups.into_values().collect()
}

/// The faults, those of the same call and code together.
pub fn faults<'a>(records: impl Iterator<Item = &'a ImageRecord>) -> Vec<Group<'a>> {
    let mut groups = BTreeMap::new();
    for record in records {
        let Some(CallError {
            operation, code, ..
        }) = &record.error
        else {
            continue;
        };
        let group = groups
            .entry((*operation, code.as_ref()))
            .or_insert_with(|| Group {
                title: format!("{operation}  {code}"),
                message: record
                    .error
                    .as_ref()
                    .map(crate::failure::call)
                    .unwrap_or_default(),
                members: Vec::new(),
            });
        group.members.push((record, None));
    }
    groups.into_values().collect()
}

/// The message without the words that differ from image to image.
fn shape(record: &ImageRecord, refusal: &Refusal) -> String {
    let message = refusal.message().replace(&record.id.to_string(), "*");
    let resource = refusal.resource();
    if resource.is_empty() {
        message
    } else {
        message.replace(&resource, "*")
    }
}

#[cfg(test)]
mod tests {
    use ami_warden::Outcome;
    use ami_warden_core::{Attribute, Ec2Refusal, Ground};

    use super::*;

    fn refused(number: u32, grounds: Vec<Ground>) -> ImageRecord {
        let id = format!("ami-{number:08x}").parse().unwrap();
        let mut record = ImageRecord::new(id, Outcome::Refused);
        let refusal = |ground| Refusal::new(Attribute::LaunchPermission, ground);
        record.refusals = grounds.into_iter().map(refusal).collect();
        record
    }

    fn told(groups: &[Group<'_>]) -> Vec<String> {
        let told = |group: &Group<'_>| format!("{}: {}", group.title, group.members.len());
        groups.iter().map(told).collect()
    }

    #[test]
    fn equal_refusals_of_many_images_are_one_group_with_one_message() {
        let grantee = |number: usize| format!("{number:012}").parse().unwrap();
        let records: Vec<ImageRecord> = (0..3000)
            .map(|number| {
                refused(
                    number,
                    vec![Ground::GranteeNotAllowed(grantee(number as usize))],
                )
            })
            .collect();
        let groups = refusals(records.iter());
        assert_eq!(
            told(&groups),
            ["grantee-not-allowed  launchPermission: 3000"]
        );
        assert!(
            groups[0].message.contains("000000000000"),
            "{}",
            groups[0].message
        );
        assert_eq!(groups[0].members[1].1.as_deref(), Some("000000000001"));
    }

    #[test]
    fn different_words_are_told_apart_and_the_image_is_no_resource_of_its_own() {
        let invalid = |message: &str| Ground::InvalidDirective {
            author: "tag".into(),
            message: message.to_owned(),
        };
        let blocked = |number| {
            let id = format!("ami-{number:08x}").parse().unwrap();
            vec![Ground::BlockPublicAccess(id)]
        };
        let records = [
            refused(1, vec![invalid("One.")]),
            refused(2, vec![invalid("Two.")]),
            refused(3, blocked(3)),
            refused(4, blocked(4)),
        ];
        let groups = refusals(records.iter());
        assert_eq!(
            told(&groups),
            [
                "block-public-access  launchPermission: 2",
                "invalid-directive  launchPermission: 1",
                "invalid-directive  launchPermission: 1",
            ]
        );
        assert_eq!(groups[0].members[0].1, None);
    }

    #[test]
    fn words_of_ec2_about_different_images_are_equal() {
        let refused = |number: u32| {
            let image = format!("ami-{number:08x}").parse().unwrap();
            let refusal = Ec2Refusal {
                image,
                operation: "ModifyImageAttribute",
                code: "OperationNotPermitted".into(),
                message: format!("The image {image} cannot be shared."),
                new_ground: false,
            };
            refused(number, vec![Ground::Ec2Refused(Box::new(refusal))])
        };
        let records = [refused(1), refused(2)];
        let groups = refusals(records.iter());
        assert_eq!(told(&groups), ["ec2-refused  launchPermission: 2"]);
    }

    #[test]
    fn equal_faults_are_one_group() {
        let mut records = [refused(1, vec![]), refused(2, vec![]), refused(3, vec![])];
        for record in &mut records[..2] {
            let code = "UnauthorizedOperation";
            record.error = Some(CallError::answered(
                "DescribeImageAttribute",
                code,
                403,
                "No.",
            ));
        }
        let groups = faults(records.iter());
        assert_eq!(
            told(&groups),
            ["DescribeImageAttribute  UnauthorizedOperation: 2"]
        );
        assert!(
            groups[0].message.contains("--help lists"),
            "{}",
            groups[0].message
        );
    }
}
