//! Tests of reading facts: which calls go out, and how often.

use ami_warden_core::{
    KeyReach,
    testing::{accounts, image},
};
use tokio::time::advance;

use super::*;
use crate::act::{
    ports::Page,
    script::{NoKeys, Script},
};

const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1";
const HOUR: Duration = Duration::from_secs(3600);
const MILLI: Duration = Duration::from_millis(1);

/// A key with two policies on two pages and so many pages of grants.
struct Kms {
    key: Key,
    grant_pages: usize,
    /// The call that fails.
    fails: &'static str,
    calls: RefCell<Vec<String>>,
}

impl Kms {
    fn new(aws_managed: bool, state: &str, grant_pages: usize, fails: &'static str) -> Self {
        let key = Key {
            aws_managed,
            state: state.into(),
            reach: None,
        };
        Self {
            key,
            grant_pages,
            fails,
            calls: RefCell::default(),
        }
    }

    fn call(&self, operation: &'static str, page: Option<&str>) -> Result<usize, CallError> {
        self.calls.borrow_mut().push(operation.to_owned());
        if operation == self.fails {
            return Err(CallError::answered(
                operation,
                "AccessDeniedException",
                400,
                "no",
            ));
        }
        Ok(page.map_or(0, |page| page.parse().unwrap()))
    }

    fn page(number: usize, pages: usize, item: String) -> Page<String> {
        let next = (number + 1 < pages).then(|| (number + 1).to_string());
        Page {
            items: vec![item],
            next,
        }
    }
}

impl Keys for Kms {
    async fn key(&self, arn: &str) -> Result<Key, CallError> {
        assert_eq!(arn, ARN);
        self.call("DescribeKey", None)?;
        Ok(self.key.clone())
    }

    async fn policy_names(&self, _: &str, page: Option<&str>) -> Result<Page<String>, CallError> {
        let number = self.call("ListKeyPolicies", page)?;
        Ok(Self::page(number, 2, format!("policy-{number}")))
    }

    async fn policy(&self, _: &str, name: &str) -> Result<String, CallError> {
        self.call("GetKeyPolicy", None)?;
        let account = match name {
            "policy-0" => "111122223333",
            "policy-1" => "222233334444",
            other => panic!("{other}"),
        };
        let principal = format!(r#"{{"AWS": "arn:aws:iam::{account}:root"}}"#);
        Ok(format!(
            r#"{{"Statement": [{{"Effect": "Allow", "Principal": {principal}}}]}}"#
        ))
    }

    async fn grantees(&self, _: &str, page: Option<&str>) -> Result<Page<String>, CallError> {
        let number = self.call("ListGrants", page)?;
        let grantee = format!("arn:aws:iam::{:012}:role/a", 500 + number);
        Ok(Self::page(number, self.grant_pages, grantee))
    }
}

fn reach(accounts_: &str) -> Option<KeyReach> {
    Some(KeyReach {
        anybody: false,
        accounts: accounts(accounts_),
    })
}

/// What is known of the key, and the calls for it.
async fn look(kms: &Kms) -> (KeyFacts, Vec<String>) {
    let ec2 = Script::new(|_, _| panic!("a key is not EC2's"));
    let retry = Retry::until(Instant::now() + HOUR);
    let reader = FactReader::new(&ec2, kms, &retry);
    let facts = reader.key(ARN).await;
    assert_eq!(reader.key(ARN).await, facts);
    let calls = kms.calls.borrow().clone();
    (facts, calls)
}

#[tokio::test(start_paused = true)]
async fn a_key_is_looked_at_once_with_all_its_policies_and_grants() {
    let (facts, calls) = look(&Kms::new(false, "Enabled", 2, "")).await;
    let key = Key {
        aws_managed: false,
        state: "Enabled".into(),
        reach: reach("111122223333 222233334444 000000000500 000000000501"),
    };
    assert_eq!(facts, KeyFacts::Known(key));
    let count = |operation: &str| calls.iter().filter(|call| *call == operation).count();
    assert_eq!(
        [
            "DescribeKey",
            "ListKeyPolicies",
            "GetKeyPolicy",
            "ListGrants"
        ]
        .map(count),
        [1, 2, 2, 2]
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_can_share_or_use_needs_no_second_call() {
    for (aws_managed, state) in [(true, "Enabled"), (false, "Disabled"), (true, "Disabled")] {
        let kms = Kms::new(aws_managed, state, 1, "");
        let (facts, calls) = look(&kms).await;
        assert_eq!(facts, KeyFacts::Known(kms.key));
        assert_eq!(calls, ["DescribeKey"]);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_claimed_of_a_key_with_more_grants_than_are_read_or_with_a_call_that_fails() {
    for (pages, fails, known) in [
        (GRANT_PAGES_MAX, "", true),
        (GRANT_PAGES_MAX + 1, "", false),
        (1, "ListKeyPolicies", false),
        (1, "GetKeyPolicy", false),
        (1, "ListGrants", false),
    ] {
        let (facts, _) = look(&Kms::new(false, "Enabled", pages, fails)).await;
        let KeyFacts::Known(key) = facts else {
            panic!("{facts:?}");
        };
        assert_eq!(key.reach.is_some(), known, "{pages} {fails}");
    }
    let (facts, _) = look(&Kms::new(false, "Enabled", 1, "DescribeKey")).await;
    let error = CallError::answered("DescribeKey", "AccessDeniedException", 400, "no");
    assert_eq!(facts, KeyFacts::Unknown(error.to_string()));
}

#[tokio::test(start_paused = true)]
async fn block_public_access_is_read_once_in_five_seconds() {
    let ec2 = Script::new(|_, _| Ok(Duration::ZERO));
    let retry = Retry::until(Instant::now() + HOUR);
    let reader = FactReader::new(&ec2, &NoKeys, &retry);
    let attempts = retry.attempts();
    for (state, after, seen, calls) in [
        (Some(true), Duration::ZERO, Some(true), 1),
        (None, Duration::from_millis(4999), Some(true), 1),
        (None, MILLI, None, 2),
        (Some(false), Duration::from_millis(4999), None, 2),
        (Some(false), 2 * MILLI, Some(false), 3),
        (Some(true), Duration::from_secs(15), Some(true), 4),
    ] {
        advance(after).await;
        ec2.state.borrow_mut().block = state;
        assert_eq!(reader.block_public_access(&attempts).await, Ok(seen));
        assert_eq!(ec2.calls().len(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_read_two_hundred_at_a_time_and_copy_permissions_at_the_same_time() {
    let ec2 = Script::new(|_, _| Ok(Duration::from_secs(1)));
    let retry = Retry::until(Instant::now() + HOUR);
    let reader = FactReader::new(&ec2, &NoKeys, &retry);
    let attempts = retry.attempts();
    let mut image = image();
    for number in 0..=FILTER_VALUES_MAX {
        let device = format!("/dev/sd{number}");
        image = image.device(&device, Some(&format!("snap-{number:03}")), None);
    }
    let seen = reader.snapshots(&image, &attempts).await.unwrap();
    let ids: Vec<&str> = image.snapshots().into_iter().collect();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ids);
    let sizes: Vec<usize> = ec2
        .calls()
        .iter()
        .map(|call| call.split(' ').count() - 1)
        .collect();
    assert_eq!(sizes, [FILTER_VALUES_MAX, 1]);

    image.devices.truncate(2);
    let copiers = [("snap-000", "222233334444"), ("snap-001", "")];
    let copiers = copiers.map(|(snapshot, list)| (snapshot.to_owned(), accounts(list)));
    ec2.state.borrow_mut().copy.extend(copiers.clone());
    let asked = Instant::now();
    let (seen, read_at) = reader.copy_permissions(&image, &attempts).await.unwrap();
    assert_eq!(seen, BTreeMap::from(copiers));
    assert_eq!((read_at, asked.elapsed()), (asked, Duration::from_secs(1)));
}
