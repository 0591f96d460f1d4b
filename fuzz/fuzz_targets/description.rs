//! Whatever a description's template is, it is filled with something EC2 takes, or it is an error; never a panic.
//!
//! The first line is the template, the second the value of every placeholder.

#![no_main]

use std::collections::BTreeMap;

use ami_warden::{
    directive::DescriptionTemplate,
    image::Image,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (template, value) = text.split_once('\n').unwrap_or((text, ""));
    let image = Image {
        name: Some(value.into()),
        creation_date: Some(value.into()),
        tags: BTreeMap::from([("version".to_owned(), value.to_owned()), (String::new(), value.to_owned())]),
        ..Image::new("ami-0123456789abcdef0".parse().unwrap(), "111122223333")
    };
    let Ok(template_read) = DescriptionTemplate::read(template) else { return };
    if let Ok(description) = template_read.fill(&image) {
        assert!(description.is_ascii() && (1..=255).contains(&description.len()));
        // What a placeholder brings is text and no template again.
        assert!(template.contains(['{', '}']) || description == template);
    }
});
