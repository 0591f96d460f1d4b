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

const SHARED: &str = "ec2:SharedTag/release";

#[test]
fn an_owner_sets_changes_and_deletes_shared_tags_of_images() {
    let (emulator, client) = with([Image::new(ID).tag("own", "1")]);
    for value in ["stable", "old"] {
        let tag = [
            ("ResourceId.1", ID),
            ("Tag.1.Key", SHARED),
            ("Tag.1.Value", value),
        ];
        client.ec2("CreateTags", &tag).assert_ok();
        let image = emulator.image(ID).expect("there");
        assert_eq!(image.tags[SHARED], value);
    }
    let filter = [
        ("Filter.1.Name", "tag-key"),
        ("Filter.1.Value.1", "ec2:SharedTag/*"),
    ];
    assert_eq!(client.ec2("DescribeImages", &filter).texts("imageId"), [ID]);
    let tag = [("ResourceId.1", ID), ("Tag.1.Key", SHARED)];
    client.ec2("DeleteTags", &tag).assert_ok();
    assert_eq!(tags(&emulator), [("own".to_owned(), "1".to_owned())]);
}

#[test]
fn shared_tags_are_refused_on_anything_but_own_images() {
    let foreign = Image::new(OTHER_ID).owned_by("444455556666").granted("all");
    let (emulator, client) = with([Image::new(ID), foreign]);
    for (id, code) in [
        ("snap-0123456789abcdef0", "InvalidParameterValue"),
        ("i-0123456789abcdef0", "InvalidParameterValue"),
        (OTHER_ID, "AuthFailure"),
        ("ami-00000001", "InvalidAMIID.NotFound"),
    ] {
        for action in ["CreateTags", "DeleteTags"] {
            let parameters = [
                ("ResourceId.1", ID),
                ("ResourceId.2", id),
                ("Tag.1.Key", "k"),
                ("Tag.2.Key", SHARED),
            ];
            client.ec2(action, &parameters).assert_refused(400, code);
        }
    }
    let nameless = [("ResourceId.1", ID), ("Tag.1.Key", "ec2:SharedTag/")];
    client
        .ec2("CreateTags", &nameless)
        .assert_refused(400, "InvalidParameterValue");
    assert!(tags(&emulator).is_empty());
}
