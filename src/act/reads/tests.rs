//! Tests of the reads for one image: each fact is read once, and only if it decides something.

use std::time::Duration;

use ami_warden_core::{
    AllowedCopiers, AllowedGrantees, CopyPermissionWish, LaunchPermissionWish,
    testing::{accounts, grantees, image},
};

use super::*;
use crate::act::{
    retry::Retry,
    script::{NoKeys, Script},
};

const A: &str = "222233334444";

/// Everything that is read for these wishes, and the calls for it.
async fn read(
    launch: Option<&str>,
    copy: Option<&str>,
    encrypted: bool,
    present: &str,
) -> (Permissions, ShareFacts, Vec<String>) {
    let public = grantees(present).contains(&"all".parse().unwrap());
    read_flagged(launch, copy, encrypted, present, public).await
}

/// The same for an image with this public flag, whatever its launch permissions are.
async fn read_flagged(
    launch: Option<&str>,
    copy: Option<&str>,
    encrypted: bool,
    present: &str,
    public: bool,
) -> (Permissions, ShareFacts, Vec<String>) {
    let ec2 = Script::new(|_, _| Ok(Duration::from_secs(1)));
    ec2.state.borrow_mut().launch = grantees(present);
    ec2.state.borrow_mut().block = Some(true);
    let nobody = ("snap-1".to_owned(), accounts(""));
    ec2.state.borrow_mut().copy.extend([nobody]);
    let mut image = image().device("/dev/sda1", Some("snap-1"), Some(encrypted));
    image.public = public;
    let directives = Directives {
        launch_permission: launch.map(|list| LaunchPermissionWish::Edit {
            add: grantees(list),
            remove: grantees(""),
        }),
        copy_permission: copy.map(|list| CopyPermissionWish {
            add: accounts(list),
            remove: accounts(""),
        }),
        ..Directives::default()
    };
    let guardrails = Guardrails {
        allow_public: true,
        allowed_grantees: AllowedGrantees::any(),
        allowed_copiers: AllowedCopiers::any(),
        ..Guardrails::default()
    };
    let retry = Retry::until(Instant::now() + Duration::from_secs(60));
    let facts = FactReader::new(&ec2, &NoKeys, &retry);
    let reader = ImageReader {
        ec2: &ec2,
        facts: &facts,
        image: &image,
        directives: &directives,
        guardrails: &guardrails,
        attempts: &retry.attempts(),
    };
    let (permissions, facts) = reader.all().await.unwrap();
    let mut calls = ec2.calls();
    calls.sort();
    (permissions, facts, calls)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_that_no_wish_is_about() {
    let (permissions, facts, calls) = read(None, None, true, "").await;
    assert_eq!((permissions.launch, permissions.copy.len()), (None, 0));
    assert_eq!((facts, calls), (ShareFacts::default(), vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_facts_about_all_are_read_beside_the_permissions_and_once() {
    let start = Instant::now();
    let (permissions, facts, calls) = read(Some("all"), None, false, A).await;
    assert_eq!(calls, ["block", "permissions", "snapshots snap-1"]);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(
        (permissions.launch, permissions.read_at),
        (Some(grantees(A)), start)
    );
    assert_eq!(
        (facts.block_public_access, facts.snapshots.len()),
        (Some(true), 1)
    );
    // A public image needs none.
    let (_, facts, calls) = read(Some("all"), None, false, "all").await;
    assert_eq!(
        (facts, calls),
        (ShareFacts::default(), vec!["permissions".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_read_for_an_account_only_behind_the_permissions_and_if_encrypted() {
    let start = Instant::now();
    let (_, facts, calls) = read(Some(A), None, true, "").await;
    assert_eq!(calls, ["permissions", "snapshots snap-1"]);
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert_eq!(
        (facts.block_public_access, facts.snapshots.len()),
        (None, 1)
    );
    let (_, _, calls) = read(Some(A), None, true, A).await;
    assert_eq!(calls, ["permissions"]);
    let (_, _, calls) = read(Some(A), None, false, "").await;
    assert_eq!(calls, ["permissions"]);
}

#[tokio::test(start_paused = true)]
async fn copy_permissions_are_read_for_a_wish_about_them() {
    let (permissions, _, calls) = read(None, Some(A), false, "").await;
    assert_eq!(calls, ["copiers snap-1"]);
    assert_eq!((permissions.launch, permissions.copy.len()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn facts_about_all_are_read_late_where_only_the_permissions_show_their_need() {
    let (_, facts, calls) = read_flagged(Some("all"), None, false, "", true).await;
    assert_eq!(calls, ["block", "permissions", "snapshots snap-1"]);
    assert_eq!(
        (facts.block_public_access, facts.snapshots.len()),
        (Some(true), 1)
    );
}
