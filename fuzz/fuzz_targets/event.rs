//! Any JSON of an invocation is understood, or an error that names the place; never a panic.

#![no_main]

use ami_warden_core::{DecodeContext, Event, EventError, IMAGE_IDS_MAX, Origin, Task};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(event) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let _ = Origin::from_event(&event);
    for requests_allowed in [true, false] {
        let context = DecodeContext {
            policy_path: Some("/ami-warden"),
            allow_list_parameter: Some("/security/amis"),
            partition: "aws",
            requests_allowed,
        };
        match Event::parse(&event, &context) {
            Ok(Event::Job(job)) => match job.task {
                // A request comes only by direct invocation, not through the rules' alias.
                Task::Request(_) => {
                    assert!(requests_allowed && event.get("detail-type").is_none());
                }
                Task::Look { images, .. } => {
                    assert!((1..=IMAGE_IDS_MAX).contains(&images.len()));
                }
                Task::Sweep { also, .. } => assert!(also.len() <= IMAGE_IDS_MAX),
            },
            Ok(Event::Ignored { reason }) => assert!(!reason.is_empty()),
            Err(EventError::Event(malformed) | EventError::Request(malformed)) => {
                assert!(!malformed.path.is_empty() && !malformed.message.is_empty());
            }
        }
    }
});
