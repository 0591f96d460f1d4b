//! A template of any text becomes a text that EC2 takes, or an error; never a panic.
//!
//! The first line is the template, the second the value of every placeholder.

#![no_main]

use std::collections::BTreeMap;

use ami_warden_core::{Image, Template};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (text, value) = text.split_once('\n').unwrap_or((text, ""));
    let keys = ["version", ""];
    let image = Image {
        name: Some(value.into()),
        creation_date: Some(value.into()),
        tags: BTreeMap::from(keys.map(|key| (key.to_owned(), value.to_owned()))),
        ..Image::new(
            "ami-0123456789abcdef0".parse().unwrap(),
            "111122223333".parse().unwrap(),
        )
    };
    let Ok(template) = Template::read(text) else {
        return;
    };
    let has_placeholder = text.contains(['{', '}']);
    if let Ok(description) = template.description(&image) {
        assert!(description.is_ascii() && (1..=255).contains(&description.len()));
        // A placeholder brings text and not another template.
        assert!(has_placeholder || description == text);
    }
    if let Ok(shared) = template.shared_tag(&image) {
        assert!(shared.chars().count() <= 256);
        assert!(has_placeholder || shared == text);
    }
});
