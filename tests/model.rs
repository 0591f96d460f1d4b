//! The core against an EC2 in memory that misbehaves, and properties of what it reads. Without the AWS SDK:
//! `cargo test --no-default-features --test model`.
//!
//! Cases that once failed are kept in `tests/proptest-regressions/model.txt` and run first.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use ami_warden::{
    directive::{Context, DescriptionTemplate, DirectiveTags, Directives, LaunchPermissionWish},
    event::{Event, Surroundings},
    image::{EbsDevice, Grantee, Image, ImageId, LaunchPermissions, OrganizationArn},
    invocation::{Function, Time},
    plan::Change,
    policy::Policy,
    ports::{CallError, Ec2, Ec2Write, ErrorKind, Listing, Page, Parameters},
    settings::Settings,
};
use chrono::{DateTime, Utc};
use proptest::{prelude::*, sample::Index, test_runner::FileFailurePersistence};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

const ID: &str = "ami-0123456789abcdef0";
const OWNER: &str = "111122223333";
const TEAM: &str = "333344445555";
const ORGANIZATION: &str = "arn:aws:organizations::444455556666:organization/o-exampleorgid";
const NAMES: [&str; 6] =
    ["all", OWNER, "222233334444", TEAM, ORGANIZATION, "arn:aws:organizations::444455556666:ou/o-exampleorgid/ou-ab12-cdef3456"];

/// So many cases of a property, or as many as `PROPTEST_CASES` says; prints how many, for `make proof`.
fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    println!("proof: {cases} cases: {}", std::thread::current().name().unwrap_or_default());
    let kept = FileFailurePersistence::Direct("tests/proptest-regressions/model.txt");
    ProptestConfig { failure_persistence: Some(Box::new(kept)), ..ProptestConfig::with_cases(cases) }
}

fn now() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn grantee(name: &str) -> Grantee {
    name.parse().unwrap()
}

// --- Grammar ------------------------------------------------------------------------------------------------------------------------------

fn any_grantee() -> impl Strategy<Value = Grantee> {
    let organization = "arn:aws(-cn|-us-gov|-iso-b)?:organizations::[0-9]{12}:organization/o-[a-z0-9]{10,32}";
    let unit = "arn:aws(-cn)?:organizations::[0-9]{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}";
    prop_oneof![
        Just(Grantee::All),
        "[0-9]{12}".prop_map(Grantee::Account),
        organization.prop_map(Grantee::Organization),
        unit.prop_map(Grantee::OrganizationalUnit),
    ]
}

/// A launch-permission value: what it means, and one of the many ways to write it.
#[derive(Debug, Clone)]
struct Written {
    wish: LaunchPermissionWish,
    text: String,
}

prop_compose! {
    fn any_written()(
        exactly in any::<bool>(),
        named in prop::collection::btree_map("[2-9][0-9]{11}".prop_map(Grantee::Account), any::<bool>(), 0..8),
        public in prop::option::of(any::<bool>()),
        organization in prop::option::of(any::<bool>()),
        separators in prop::collection::vec("[ ,]{1,3}", 12),
        lead in "[ ,]{0,2}",
        order in any::<Index>(),
    ) -> Written {
        let mut named = named;
        named.extend(public.map(|removes| (Grantee::All, removes)));
        named.extend(organization.map(|removes| (grantee(ORGANIZATION), removes)));
        let mut items: Vec<(Grantee, bool)> = named.into_iter().map(|(grantee, removes)| (grantee, removes && !exactly)).collect();
        if !items.is_empty() {
            let by = order.index(items.len());
            items.rotate_left(by);
        }
        let mut text = lead;
        if exactly {
            text.push('=');
        }
        for ((grantee, removes), separator) in items.iter().zip(&separators) {
            text += &format!("{}{grantee}{separator}", if *removes { "-" } else { "" });
        }
        let these = |which: bool| items.iter().filter(|(_, removes)| *removes == which).map(|(grantee, _)| grantee.clone()).collect();
        let wish = if exactly {
            LaunchPermissionWish::Exactly(these(false))
        } else {
            LaunchPermissionWish::Edit { add: these(false), remove: these(true) }
        };
        Written { wish, text }
    }
}

fn directives(tags: &BTreeMap<String, String>) -> Directives {
    let image = Image { tags: tags.clone(), ..plain_image() };
    let policy = Policy::default();
    let organization: OrganizationArn = ORGANIZATION.parse().unwrap();
    let context = Context { policy: &policy, organization: Some(&organization), partition: "aws" };
    Directives::of(&image, &DirectiveTags::read(tags, "ami-warden:"), &context)
}

fn plain_image() -> Image {
    Image::new(ID.parse().unwrap(), OWNER)
}

fn tag(key: &str, value: &str) -> (String, String) {
    (format!("ami-warden:{key}"), value.to_owned())
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn a_grantee_that_is_written_is_read_back_the_same(grantee in any_grantee()) {
        prop_assert_eq!(grantee.to_string().parse::<Grantee>().unwrap(), grantee);
    }

    #[test]
    fn a_text_that_is_read_as_a_grantee_is_written_back_the_same(text in "(all|[0-9]{11,13}|arn:aws[a-z-]{0,4}:organizations::[0-9]{12}:(organization|ou|root)/o-[a-z0-9/-]{8,40}|\\PC{0,20})") {
        if let Ok(grantee) = text.parse::<Grantee>() {
            prop_assert_eq!(grantee.as_str(), text);
        }
    }

    #[test]
    fn a_launch_permission_value_that_is_written_is_read_back_the_same_however_it_is_split_over_tags(
        written in any_written(),
        cut in any::<Index>(),
    ) {
        let states_nothing = written.text.trim_matches([' ', ',']).is_empty();
        let whole = directives(&BTreeMap::from([tag("launch-permission", &written.text)]));
        prop_assert_eq!(&whole.refusals, &vec![]);
        prop_assert_eq!(whole.launch_permission.is_none(), states_nothing);
        if let Some(wish) = whole.launch_permission {
            prop_assert_eq!(&wish, &written.wish);
        }
        // Cut between two items, the parts say the same.
        let cuts: Vec<usize> = written.text.match_indices([' ', ',']).map(|(at, _)| at).collect();
        if !cuts.is_empty() && !states_nothing {
            let (first, rest) = written.text.split_at(cuts[cut.index(cuts.len())]);
            let split = directives(&BTreeMap::from([tag("launch-permission", first), tag("launch-permission:2", rest)]));
            prop_assert_eq!(split.launch_permission, Some(written.wish));
        }
    }

    #[test]
    fn whatever_tags_say_a_directive_is_understood_or_refused_and_never_guessed(
        values in prop::collection::btree_map("(launch-permission(:[a-z]{0,2})?|description|imds-support|hold|[a-z]{0,3})", "(\\PC{0,30}|[-=@ ,a-z0-9:/{}]{0,60})", 0..5),
    ) {
        let tags: BTreeMap<String, String> = values.iter().map(|(key, value)| tag(key, value)).collect();
        let understood = directives(&tags);
        for refusal in &understood.refusals {
            prop_assert!(tags.contains_key(&refusal.resource), "{:?}", refusal);
        }
        if let Some(LaunchPermissionWish::Edit { add, remove }) = &understood.launch_permission {
            prop_assert!(add.is_disjoint(remove));
            // Everyone who is named stands in a tag, in full or as a short form that ends its ARN.
            for grantee in add | remove {
                let last = grantee.as_str().rsplit('/').next().unwrap().to_owned();
                prop_assert!(values.values().any(|value| value.contains(&last)), "{}", grantee);
            }
        }
        if let Some(description) = understood.description {
            prop_assert!(description.is_ascii() && (1..=255).contains(&description.len()));
        }
    }

    #[test]
    fn a_template_without_braces_is_its_own_description(text in "[ -z|~]{1,255}") {
        let filled = DescriptionTemplate::read(&text).and_then(|template| template.fill(&plain_image()));
        prop_assert_eq!(filled.ok(), Some(text.clone()).filter(|text| !text.trim().is_empty()));
    }
}

// --- Events -------------------------------------------------------------------------------------------------------------------------------

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just(ID.to_owned()),
        Just("arn:aws:ec2:us-east-1::image/ami-0123456789abcdef0".to_owned()),
        Just("available".to_owned()),
        Just("launchPermission".to_owned()),
        Just("all".to_owned()),
        "\\PC{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "detail-type",
            "source",
            "detail",
            "resources",
            "ImageId",
            "ImageIds",
            "Sweep",
            "After",
            "DryRun",
            "LaunchPermission",
            "Add",
            "Remove",
            "Group",
            "UserId",
            "Attribute",
            "Value",
            "OperationType",
            "UserIds",
            "Description",
            "State",
            "eventSource",
            "eventName",
            "requestParameters",
            "resourcesSet",
            "items",
            "resourceId",
            "errorCode",
            "service",
            "resource-type",
            "name",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

fn events() -> Vec<Value> {
    let folder = format!("{}/events", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()).collect()
}

/// The pointers of all places in a value, itself included.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(key, member)| places(member, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), all)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), all)),
        _ => {}
    }
}

fn understand(event: &Value) -> bool {
    Event::parse(event, Surroundings { policy_path: Some("/ami-warden"), partition: "aws" }).is_ok()
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn no_json_makes_the_event_decoder_panic(event in any_json()) {
        understand(&event);
    }

    #[test]
    fn no_event_with_something_else_in_one_place_makes_the_decoder_panic(
        which in any::<Index>(),
        place in any::<Index>(),
        instead in any_json(),
    ) {
        let mut event = which.get(&events()).clone();
        let mut all = Vec::new();
        places(&event, "", &mut all);
        *event.pointer_mut(&all[place.index(all.len())]).unwrap() = instead;
        understand(&event);
    }
}

// --- Reconciling --------------------------------------------------------------------------------------------------------------------------

/// What EC2 does with a call that comes.
#[derive(Debug, Clone, PartialEq)]
enum Whim {
    Fine,
    Throttled,
    /// An error, and nothing was done.
    Fault,
    /// An error, although it was done.
    Lost,
    /// No answer at all.
    Hang,
    Denied,
    /// A read shows what was so many changes ago.
    Stale(usize),
    /// Somebody writes another launch-permission tag meanwhile.
    Retagged(String),
    /// Somebody makes the image public meanwhile.
    MadePublic,
}

impl Whim {
    /// Whether it shows or makes something else than this function did.
    fn is_misleading(&self) -> bool {
        matches!(self, Self::Stale(_) | Self::Retagged(_) | Self::MadePublic)
    }
}

/// What is so at one moment.
#[derive(Debug, Clone, PartialEq)]
struct Truth {
    image: Image,
    permissions: LaunchPermissions,
}

struct Account {
    /// Not there, then as it was created, then after each change; the last one is now.
    history: Vec<Option<Truth>>,
    whims: VecDeque<Whim>,
    snapshots: BTreeMap<String, Option<bool>>,
    block_public_access: Option<bool>,
    limits: Limits,
    writes: usize,
    /// Description and IMDS support are to be as wanted before anybody is let in.
    watch_order: bool,
}

/// The guardrails, as the test knows them.
#[derive(Debug, Clone)]
struct Limits {
    allow_public: bool,
    allowed: Option<BTreeSet<usize>>,
    max_removals: Option<usize>,
}

impl Limits {
    fn allows(&self, grantee: &Grantee) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.iter().any(|index| NAMES[*index] == grantee.as_str()))
    }
}

impl Account {
    fn now(&self) -> &Truth {
        self.history.last().unwrap().as_ref().unwrap()
    }

    fn change(&mut self, change: impl FnOnce(&mut Truth)) {
        let mut truth = self.now().clone();
        change(&mut truth);
        truth.image.public = truth.permissions.contains(&Grantee::All);
        if truth != *self.now() {
            self.history.push(Some(truth));
        }
    }

    /// Whether the contract forbids making the image public; written from the contract, not from the code.
    fn public_is_forbidden(&self) -> bool {
        let image = &self.now().image;
        !self.limits.allow_public
            || !image.product_codes.is_empty()
            || self.block_public_access == Some(true)
            || image.deprecation_time.is_some_and(|time| time <= now())
            || image.devices.iter().any(|device| match &device.snapshot {
                None => device.encrypted == Some(true),
                Some(snapshot) => match self.snapshots.get(snapshot) {
                    None | Some(Some(true)) => true,
                    Some(Some(false)) => device.encrypted == Some(true),
                    Some(None) => device.encrypted != Some(false),
                },
            })
    }

    /// What must hold whenever something is changed, whatever was read before.
    fn check(&self, change: &Change) {
        let Change::LaunchPermission(change) = change else { return };
        for grantee in &change.add {
            match grantee {
                Grantee::All => assert!(!self.public_is_forbidden(), "made public against a guardrail"),
                grantee => assert!(self.limits.allows(grantee), "{grantee} was let in against the allow-list"),
            }
            if self.watch_order {
                let image = &self.now().image;
                let wanted = |key: &str| image.tags.get(&tag(key, "").0);
                assert!(wanted("description").is_none_or(|text| image.description.as_ref() == Some(text)));
                assert!(wanted("imds-support").is_none() || image.imds_support.is_some());
            }
        }
        assert!(self.limits.max_removals.is_none_or(|most| change.remove.len() <= most), "more removals than allowed");
    }
}

#[derive(Clone)]
struct Fake(Rc<RefCell<Account>>);

impl Fake {
    fn error(operation: &'static str, code: &'static str, kind: ErrorKind) -> CallError {
        CallError { operation, code: code.into(), message: String::new(), kind }
    }

    /// The next whim, after what somebody else does meanwhile was done.
    async fn whim(&self, operation: &'static str) -> Result<Whim, CallError> {
        // Every call takes a while, so that calls overlap.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let whim = self.0.borrow_mut().whims.pop_front().unwrap_or(Whim::Fine);
        let error = |code, kind| Err(Self::error(operation, code, kind));
        match whim {
            Whim::Throttled => error("RequestLimitExceeded", ErrorKind::Throttled),
            Whim::Fault => error("InternalError", ErrorKind::Transient),
            Whim::Denied => error("UnauthorizedOperation", ErrorKind::Denied),
            Whim::Hang => std::future::pending().await,
            Whim::Retagged(value) => {
                self.0.borrow_mut().change(|truth| {
                    let (key, value) = tag("launch-permission", &value);
                    truth.image.tags.insert(key, value);
                });
                Ok(Whim::Fine)
            }
            Whim::MadePublic => {
                self.0.borrow_mut().change(|truth| _ = truth.permissions.insert(Grantee::All));
                Ok(Whim::Fine)
            }
            other => Ok(other),
        }
    }

    async fn read<T>(&self, operation: &'static str, read: impl Fn(&Account, Option<&Truth>) -> T) -> Result<T, CallError> {
        let whim = self.whim(operation).await?;
        let account = self.0.borrow();
        let back = if let Whim::Stale(back) = whim { back } else { 0 };
        let seen = account.history[account.history.len() - 1 - back.min(account.history.len() - 1)].as_ref();
        match whim {
            Whim::Lost => Err(Self::error(operation, "ConnectionFailed", ErrorKind::Transient)),
            _ => Ok(read(&account, seen)),
        }
    }

    async fn write(
        &self,
        operation: &'static str,
        check: impl Fn(&Account),
        change: impl FnOnce(&mut Truth),
    ) -> Result<(), CallError> {
        let whim = self.whim(operation).await?;
        let mut account = self.0.borrow_mut();
        check(&account);
        account.writes += 1;
        account.change(change);
        match whim {
            Whim::Lost => Err(Self::error(operation, "ConnectionFailed", ErrorKind::Transient)),
            _ => Ok(()),
        }
    }
}

impl Ec2 for Fake {
    async fn images(&self, ids: &[ImageId]) -> Result<Vec<Image>, CallError> {
        let seen = self.read("DescribeImages", |_, seen| seen.map(|truth| truth.image.clone())).await?;
        Ok(seen.into_iter().filter(|image| ids.contains(&image.id)).collect())
    }

    async fn image_ids(&self, _: &Listing, _: Option<String>) -> Result<Page, CallError> {
        let ids = self.read("DescribeImages", |_, seen| seen.map(|truth| truth.image.id).into_iter().collect()).await?;
        Ok(Page { ids, next: None })
    }

    async fn launch_permissions(&self, _: ImageId) -> Result<LaunchPermissions, CallError> {
        const OPERATION: &str = "DescribeImageAttribute";
        let seen = self.read(OPERATION, |_, seen| seen.map(|truth| truth.permissions.clone())).await?;
        seen.ok_or_else(|| Self::error(OPERATION, "InvalidAMIID.NotFound", ErrorKind::Refused))
    }

    async fn snapshots(&self, ids: &[&str]) -> Result<BTreeMap<String, Option<bool>>, CallError> {
        let all = self.read("DescribeSnapshots", |account, _| account.snapshots.clone()).await?;
        Ok(all.into_iter().filter(|(id, _)| ids.contains(&id.as_str())).collect())
    }

    async fn block_public_access(&self) -> Result<Option<bool>, CallError> {
        self.read("GetImageBlockPublicAccessState", |account, _| account.block_public_access).await
    }
}

impl Ec2Write for Fake {
    async fn modify(&self, _: ImageId, change: &Change, dry_run: bool) -> Result<(), CallError> {
        assert!(!dry_run);
        let apply = |truth: &mut Truth| match change {
            Change::Description { to, .. } => truth.image.description = Some(to.clone()),
            Change::ImdsSupport { to, .. } => truth.image.imds_support = Some(to.as_str().to_owned()),
            Change::LaunchPermission(change) => truth.permissions = &(&truth.permissions | &change.add) - &change.remove,
        };
        self.write("ModifyImageAttribute", |account| account.check(change), apply).await
    }

    async fn set_tag(&self, _: ImageId, key: &str, value: Option<&str>) -> Result<(), CallError> {
        let apply = |truth: &mut Truth| match value {
            Some(value) => drop(truth.image.tags.insert(key.to_owned(), value.to_owned())),
            None => drop(truth.image.tags.remove(key)),
        };
        self.write("CreateTags", |_| {}, apply).await
    }
}

impl Parameters for Fake {
    async fn below(&self, path: &str) -> Result<Vec<(String, String)>, CallError> {
        self.read("GetParametersByPath", |_, _| vec![(format!("{path}/groups/team"), TEAM.to_owned())]).await
    }

    async fn value(&self, _: &str) -> Result<String, CallError> {
        unreachable!("no setting asks for it")
    }
}

/// A launch-permission directive as the test knows it.
#[derive(Debug, Clone)]
struct Wish {
    exactly: bool,
    items: Vec<(bool, usize)>,
}

impl Wish {
    fn text(&self) -> String {
        let name = |index: usize| if NAMES[index] == TEAM { "@team" } else { NAMES[index] };
        let items = self.items.iter().map(|(removes, index)| format!("{}{}", if *removes { "-" } else { "" }, name(*index)));
        format!("{}{}", if self.exactly { "= " } else { "" }, items.collect::<Vec<_>>().join(" "))
    }

    fn named(&self, removed: bool) -> LaunchPermissions {
        let named = self.items.iter().filter(|(removes, _)| *removes == removed);
        named.map(|(_, index)| grantee(NAMES[*index])).collect()
    }

    /// Who is to have access in the end; written from the contract, not from the code.
    fn outcome(&self, current: &LaunchPermissions, account: &Account) -> LaunchPermissions {
        let owner = LaunchPermissions::from([grantee(OWNER)]);
        let (add, remove) = (self.named(false), self.named(true));
        if !add.is_disjoint(&remove) || (self.items.is_empty() && !self.exactly) {
            return current.clone();
        }
        let new = &(&add - current) - &owner;
        let gone = if self.exactly { &(current - &add) - &owner } else { &(&remove & current) - &owner };
        let keeps_out = |new: &Grantee| match new {
            Grantee::All => account.public_is_forbidden(),
            new => !account.limits.allows(new),
        };
        let no_additions = new.iter().any(keeps_out);
        let no_removals = account.limits.max_removals.is_some_and(|most| gone.len() > most);
        if self.exactly && (no_additions || no_removals) {
            return current.clone();
        }
        let with = if no_additions { current.clone() } else { current | &new };
        if no_removals { with } else { &with - &gone }
    }
}

prop_compose! {
    fn any_wish()(exactly in prop::bool::weighted(0.4), items in prop::collection::vec((any::<bool>(), 0..NAMES.len()), 0..5)) -> Wish {
        Wish { exactly, items: items.into_iter().map(|(removes, index)| (removes && !exactly, index)).collect() }
    }
}

fn any_whim() -> impl Strategy<Value = Whim> {
    prop_oneof![
        6 => Just(Whim::Fine),
        2 => Just(Whim::Throttled),
        2 => Just(Whim::Fault),
        2 => Just(Whim::Lost),
        1 => Just(Whim::Hang),
        1 => Just(Whim::Denied),
        3 => (1..4_usize).prop_map(Whim::Stale),
        1 => any_wish().prop_map(|wish| Whim::Retagged(wish.text())),
        1 => Just(Whim::MadePublic),
    ]
}

#[derive(Debug, Clone)]
struct Story {
    wish: Wish,
    before: LaunchPermissions,
    image: Image,
    snapshots: BTreeMap<String, Option<bool>>,
    block_public_access: Option<bool>,
    limits: Limits,
    whims: Vec<Whim>,
    status_tag: bool,
}

prop_compose! {
    fn any_device()(index in 0..3_u8, has_snapshot in any::<bool>(), encrypted in prop_oneof![3 => Just(Some(false)), 1 => any::<Option<bool>>()])
        -> EbsDevice {
        EbsDevice { device: format!("/dev/sd{index}"), snapshot: has_snapshot.then(|| format!("snap-{index}")), encrypted }
    }
}

prop_compose! {
    fn any_story()(
        wish in any_wish(),
        before in prop::collection::btree_set(0..NAMES.len(), 0..4),
        (description, imds_support, status_tag, unknown) in any::<(bool, bool, bool, bool)>(),
        devices in prop::collection::vec(any_device(), 0..3),
        seen in prop::collection::btree_map(0..3_u8, prop_oneof![4 => Just(Some(false)), 1 => any::<Option<bool>>()], 0..4),
        product_code in prop::bool::weighted(0.1),
        deprecated in prop::bool::weighted(0.1),
        block_public_access in prop_oneof![5 => Just(Some(false)), 1 => Just(None), 1 => Just(Some(true))],
        allow_public in prop::bool::weighted(0.7),
        allowed in prop::option::weighted(0.5, prop::collection::btree_set(1..NAMES.len(), 0..NAMES.len())),
        max_removals in prop::option::weighted(0.3, 0..3_usize),
        whims in prop::collection::vec(any_whim(), 0..25),
    ) -> Story {
        let before: LaunchPermissions = before.into_iter().map(|index| grantee(NAMES[index])).collect();
        let mut tags = BTreeMap::from([tag("launch-permission", &wish.text())]);
        if description {
            tags.extend([tag("description", "as wanted")]);
        }
        if imds_support {
            tags.extend([tag("imds-support", "v2.0")]);
        }
        if unknown {
            tags.extend([tag("typo", "")]);
        }
        let image = Image {
            tags,
            devices,
            public: before.contains(&Grantee::All),
            product_codes: if product_code { vec!["code".into()] } else { vec![] },
            deprecation_time: deprecated.then(now),
            ..plain_image()
        };
        let snapshots = seen.into_iter().map(|(index, encrypted)| (format!("snap-{index}"), encrypted)).collect();
        let limits = Limits { allow_public, allowed, max_removals };
        Story { wish, before, image, snapshots, block_public_access, limits, whims, status_tag }
    }
}

fn function(story: &Story, fake: &Fake) -> Function<Fake, Fake> {
    let settings = Settings::from_vars(|name| match name {
        "ALLOW_PUBLIC" => Some(story.limits.allow_public.to_string()),
        "ALLOWED_GRANTEES" => Some(
            story
                .limits
                .allowed
                .as_ref()
                .map_or("*".to_owned(), |allowed| allowed.iter().map(|index| NAMES[*index]).collect::<Vec<_>>().join(" ")),
        ),
        "MAX_REMOVALS" => story.limits.max_removals.map(|most| most.to_string()),
        "POLICY_PATH" => Some("/ami-warden".to_owned()),
        "STATUS_TAG" => story.status_tag.then(|| "warden-status".to_owned()),
        _ => None,
    });
    Function::new(settings.unwrap(), fake.clone(), fake.clone())
}

async fn tell(story: Story) {
    let truth = Truth { image: story.image.clone(), permissions: story.before.clone() };
    let misled = story.whims.iter().any(Whim::is_misleading);
    let account = Account {
        history: vec![None, Some(truth)],
        whims: story.whims.clone().into(),
        snapshots: story.snapshots.clone(),
        block_public_access: story.block_public_access,
        limits: story.limits.clone(),
        writes: 0,
        watch_order: !story.whims.iter().any(|whim| matches!(whim, Whim::Retagged(_))),
    };
    let wanted = story.wish.outcome(&story.before, &account);
    let fake = Fake(Rc::new(RefCell::new(account)));
    let function = function(&story, &fake);
    let settled = || {
        let account = fake.0.borrow();
        let Truth { image, permissions } = account.now();
        let has = |key: &str| image.tags.contains_key(&tag(key, "").0);
        assert_eq!(permissions, &wanted);
        assert!(!has("description") || image.description.as_deref() == Some("as wanted"));
        assert!(!has("imds-support") || image.imds_support.is_some());
    };
    let event: Value = serde_json::from_str(include_str!("../events/ami-available.json")).unwrap();
    let minute = || Time::until(Instant::now() + Duration::from_secs(60));
    // Lambda brings an event again twice.
    for _ in 0..3 {
        if function.handle(&event, now(), minute()).await.is_ok() {
            // A finished event is a settled image, unless somebody else had a hand in it.
            if !misled {
                settled();
            }
            break;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    // The next sweep, when all is well.
    fake.0.borrow_mut().whims.clear();
    let sweep = json!({ "Sweep": {} });
    function.handle(&sweep, now(), minute()).await.unwrap();
    let meddled = story.whims.iter().any(|whim| matches!(whim, Whim::Retagged(_) | Whim::MadePublic));
    if !meddled {
        settled();
    }
    // And then there is nothing left to do.
    fake.0.borrow_mut().writes = 0;
    function.handle(&sweep, now(), minute()).await.unwrap();
    assert_eq!(fake.0.borrow().writes, 0, "a settled image was changed again");
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn whatever_ec2_does_the_image_ends_as_wanted_and_nobody_is_let_in_whom_the_guardrails_forbid(story in any_story()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(tell(story));
    }
}
