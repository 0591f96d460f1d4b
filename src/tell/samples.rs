//! Records and answers for tests.

use std::collections::BTreeMap;

use ami_warden_core::{
    Attribute, Change, CopyPermissionChange, Direction, Directive, Ec2Refusal, Grantee, Ground,
    ImageId, ImdsSupport, LaunchPermissionChange, LaunchPermissions, Refusal, Source, Trigger,
};

use super::{
    answer::{Answer, Continue, SweepFrom},
    report::Report,
};
use crate::act::{
    call_error::CallError,
    record::{ChangeRecord, Effect, ImageRecord, Outcome, ReadBack, SkipReason},
};

pub(super) fn id(number: usize) -> ImageId {
    format!("ami-{number:017x}").parse().unwrap()
}

/// An organizational unit with the longest ids.
pub(super) fn unit(number: usize) -> Grantee {
    let organization = "a".repeat(32);
    let root = "b".repeat(32);
    format!("arn:aws:organizations::111122223333:ou/o-{organization}/ou-{root}-{number:032}")
        .parse()
        .unwrap()
}

pub(super) fn units(count: usize) -> LaunchPermissions {
    (0..count).map(unit).collect()
}

pub(super) fn grantees(list: &str) -> LaunchPermissions {
    list.split_whitespace()
        .map(|text| text.parse().unwrap())
        .collect()
}

/// An image all of whose grantees are refused.
pub(super) fn refused(grantees: usize) -> ImageRecord {
    let mut record = ImageRecord::new(id(0), Outcome::Refused);
    for number in 0..grantees {
        let ground = Ground::GranteeNotAllowed(unit(number));
        record
            .refusals
            .push(Refusal::new(Attribute::LaunchPermission, ground));
    }
    record
}

/// An image with a mistyped tag key.
pub(super) fn mistyped() -> ImageRecord {
    let key = "ami-warden:launch-permisson";
    let mut record = ImageRecord::new(id(0), Outcome::Refused);
    let ground = Ground::InvalidDirective {
        author: key.into(),
        message: format!("{key:?} is not a directive. Correct the key, or delete the tag."),
    };
    record
        .refusals
        .push(Refusal::new(Attribute::UnknownTag(key.into()), ground));
    record
}

/// An image whose write failed with so long a message.
pub(super) fn failed(message_bytes: usize) -> ImageRecord {
    let message = "x".repeat(message_bytes);
    let error = CallError::answered(
        "ModifyImageAttribute",
        "UnauthorizedOperation",
        403,
        &message,
    );
    ImageRecord::failed(id(0), error)
}

/// A change of launch permissions.
pub(super) fn share(add: &LaunchPermissions, remove: &LaunchPermissions) -> Change {
    let change = LaunchPermissionChange::new(remove, add.clone(), remove.clone(), false).unwrap();
    Change::LaunchPermission(change)
}

/// The change, done; launch permissions read back as planned.
pub(super) fn done(change: Change, confirmed: bool) -> ChangeRecord {
    let read_back = match &change {
        Change::LaunchPermission(change) => Some(ReadBack {
            after: change.after.clone(),
            confirmed,
        }),
        _ => None,
    };
    ChangeRecord {
        change,
        effect: Effect::Done { read_back },
    }
}

/// One change of every kind.
pub(super) fn changes() -> Vec<Change> {
    let copy = |direction, account: &str| {
        Change::CopyPermission(CopyPermissionChange {
            snapshot: "snap-0123456789abcdef0".into(),
            direction,
            accounts: [account.parse().unwrap()].into(),
        })
    };
    vec![
        Change::Description {
            from: None,
            to: "golden".into(),
        },
        Change::ImdsSupport {
            from: None,
            to: ImdsSupport::V2,
        },
        Change::Deprecation {
            from: None,
            to: Some("2027-06-30T00:00:00Z".parse().unwrap()),
        },
        Change::Deprecation {
            from: Some("2027-06-30T00:00:00.000Z".into()),
            to: None,
        },
        Change::SharedTag {
            key: "release".into(),
            from: None,
            to: Some("stable".into()),
        },
        Change::SharedTag {
            key: "channel".into(),
            from: Some("beta".into()),
            to: None,
        },
        copy(Direction::Remove, "444455556666"),
        copy(Direction::Add, "222233334444"),
        share(&grantees("111122223333"), &grantees("all")),
    ]
}

/// An image with everything that an entry can hold.
pub(super) fn applied() -> ImageRecord {
    let mut record = ImageRecord::new(id(1), Outcome::Applied);
    record.public = Some(false);
    record.launch_permissions = Some(grantees("111122223333"));
    record.directives.push(Directive {
        attribute: Attribute::LaunchPermission,
        value: "111122223333 -all".into(),
        sources: vec![Source::Tag("ami-warden:launch-permission".into())],
    });
    record.changes = changes()
        .into_iter()
        .map(|change| done(change, true))
        .collect();
    record.refusals = mistyped().refusals;
    record
        .notes
        .push("EC2 deprecates public images two years after their creation.".into());
    record
}

fn planned() -> ImageRecord {
    let mut record = ImageRecord::new(id(2), Outcome::Planned);
    for change in changes() {
        let effect = Effect::DryRun { permitted: true };
        record.changes.push(ChangeRecord { change, effect });
    }
    record
}

fn rejected_by_ec2() -> ImageRecord {
    let mut record = ImageRecord::new(id(3), Outcome::Refused);
    let refusal = Ec2Refusal {
        image: record.id,
        operation: "ModifyImageAttribute",
        code: "OperationNotPermitted".into(),
        message: "Not allowed".into(),
        new_ground: false,
    };
    let ground = Ground::Ec2Refused(Box::new(refusal));
    record
        .refusals
        .push(Refusal::new(Attribute::LaunchPermission, ground));
    record
}

/// An image all of whose lists are long.
fn long_lists() -> ImageRecord {
    let accounts: Vec<String> = (0..500).map(|number| format!("{number:012}")).collect();
    let accounts = accounts.join(" ");
    let mut record = applied();
    record.public_without_directives = true;
    record.launch_permissions = Some(grantees(&accounts));
    let copy = CopyPermissionChange {
        snapshot: "snap-0123456789abcdef0".into(),
        direction: Direction::Add,
        accounts: accounts
            .split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect(),
    };
    let share = share(&grantees(&accounts), &LaunchPermissions::new());
    record.changes = vec![done(Change::CopyPermission(copy), true), done(share, false)];
    for directive in &mut record.directives {
        for number in 0..50 {
            let key = format!("ami-warden:launch-permission:{number:02}");
            directive.sources.push(Source::Tag(key));
        }
    }
    record
}

/// The record with another id.
pub(super) fn with_id(record: &ImageRecord, number: usize) -> ImageRecord {
    ImageRecord {
        id: id(number),
        ..record.clone()
    }
}

/// Answers in which every key of the schema occurs, by name.
pub(super) fn answers() -> BTreeMap<&'static str, Answer> {
    let mut look = Report::listing_all();
    look.add(&applied());
    look.add(&rejected_by_ec2());
    look.add(&ImageRecord::new(id(4), Outcome::Deferred));
    look.add(&ImageRecord::new(id(5), Outcome::Unchanged));
    look.add(&ImageRecord::skipped(
        id(6),
        SkipReason::State("disabled".into()),
    ));
    let mut dry_run = Report::listing_all();
    dry_run.add(&planned());

    let mut chain = Report::of_sweep();
    chain.add(&ImageRecord::new(id(7), Outcome::Unchanged));
    for number in 0..102 {
        let mut public = ImageRecord::skipped(id(10 + number), SkipReason::NoDirectives);
        public.public_without_directives = true;
        chain.add(&public);
    }
    chain.note("The parameter /ami-warden/extra is not used.");
    let rest = Continue {
        sweep: Some(SweepFrom::After(id(120))),
        images: vec![id(8)],
        dry_run: true,
    };

    let mut failing = Report::of_sweep();
    failing.add(&failed(30));
    failing.add(&mistyped());

    // Examples are for reading, so they are full early.
    let mut full = Report::of_sweep().with_bytes_max(6000);
    let record = refused(20);
    for number in 0..10 {
        full.add(&with_id(&record, number));
    }
    let mut wide = Report::listing_all().with_bytes_max(6000);
    wide.add(&long_lists());

    BTreeMap::from([
        ("cut", wide.answer(Trigger::Request, false, None)),
        ("dry run", dry_run.answer(Trigger::TagChange, true, None)),
        (
            "failed",
            failing
                .answer(Trigger::PolicyChange, false, None)
                .only_failed(),
        ),
        ("full", full.answer(Trigger::Schedule, false, None)),
        ("ignored", Answer::ignored("the state is disabled", false)),
        (
            "link of a chain",
            chain.answer(Trigger::Schedule, true, Some(rest)),
        ),
        ("look", look.answer(Trigger::Ec2AmiStateChange, false, None)),
    ])
}
