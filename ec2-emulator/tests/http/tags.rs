use ec2_emulator::Image;

use crate::{ID, OTHER_ID, with};

fn tags(emulator: &ec2_emulator::Emulator) -> Vec<(String, String)> {
    emulator
        .image(ID)
        .expect("still there")
        .tags
        .into_iter()
        .collect()
}

#[test]
fn tags_are_created_replaced_and_deleted() {
    let (emulator, client) = with([Image::new(ID).tag("old", "1").tag("aws:kept", "1")]);
    let parameters = [
        ("ResourceId.1", ID),
        ("ResourceId.2", "snap-0123456789abcdef0"),
        ("ResourceId.3", "i-0123456789abcdef0"),
        ("Tag.1.Key", "old"),
        ("Tag.1.Value", "2"),
        ("Tag.2.Key", "empty"),
        ("Tag.2.Value", ""),
    ];
    client.ec2("CreateTags", &parameters).assert_ok();
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        tags(&emulator),
        [tag("aws:kept", "1"), tag("empty", ""), tag("old", "2")]
    );

    let delete = |parameters: &[(&str, &str)]| {
        let mut all = vec![("ResourceId.1", ID)];
        all.extend(parameters);
        client.ec2("DeleteTags", &all).assert_ok();
    };
    delete(&[("Tag.1.Key", "old"), ("Tag.1.Value", "another")]);
    assert_eq!(tags(&emulator).len(), 3);
    delete(&[("Tag.1.Key", "old")]);
    assert_eq!(tags(&emulator).len(), 2);
    delete(&[]);
    assert_eq!(tags(&emulator), [tag("aws:kept", "1")]);
}

#[test]
fn a_missing_image_spoils_the_whole_call() {
    let (emulator, client) = with([Image::new(ID)]);
    let parameters = [
        ("ResourceId.1", ID),
        ("ResourceId.2", OTHER_ID),
        ("Tag.1.Key", "k"),
        ("Tag.1.Value", "v"),
    ];
    client
        .ec2("CreateTags", &parameters)
        .assert_refused(400, "InvalidAMIID.NotFound");
    assert!(tags(&emulator).is_empty());
}

#[test]
fn reserved_doubled_and_too_many_tags_are_refused() {
    let mut image = Image::new(ID);
    for n in 0..50 {
        image = image.tag(&format!("k{n}"), "");
    }
    let (_emulator, client) = with([image]);
    let create = |parameters: &[(&str, &str)]| {
        let mut all = vec![("ResourceId.1", ID)];
        all.extend(parameters);
        client.ec2("CreateTags", &all)
    };
    create(&[("Tag.1.Key", "aws:x")]).assert_refused(400, "InvalidParameterValue");
    create(&[("Tag.1.Key", "k"), ("Tag.2.Key", "k")]).assert_refused(400, "InvalidParameterValue");
    create(&[("Tag.1.Key", "one-more")]).assert_refused(400, "TagLimitExceeded");
    create(&[("Tag.1.Key", "k1"), ("Tag.1.Value", "replaced")]).assert_ok();
    create(&[]).assert_refused(400, "MissingParameter");
}
