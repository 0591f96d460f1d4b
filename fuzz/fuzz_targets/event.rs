//! Whatever JSON an invocation brings, it is understood or an error that says where and what; never a panic.

#![no_main]

use ami_warden::event::{Event, Origin, Surroundings, Work};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(event) = serde_json::from_slice::<Value>(data) else { return };
    let _ = Origin::of(&event);
    match Event::parse(&event, Surroundings { policy_path: Some("/ami-warden"), partition: "aws" }) {
        Ok(Event::Job(job)) => {
            // A request comes only by direct invocation.
            assert!(!matches!(job.work, Work::Request(_)) || event.get("detail-type").is_none());
            if let Work::Look { images, .. } = job.work {
                assert!(!images.is_empty());
            }
        }
        Ok(Event::Ignored { reason }) => assert!(!reason.is_empty()),
        Err(error) => assert!(error.to_string().contains(": ")),
    }
});
