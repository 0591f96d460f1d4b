//! The function against an EC2 in memory that misbehaves, and properties of the texts it reads.
//! Without the AWS SDK: `cargo test --no-default-features --test model`.
//!
//! Cases that once failed are kept in `tests/proptest-regressions/model.txt` and run first.

mod world;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    rc::Rc,
    time::Duration,
};

use ami_warden::{CallError, Settings, TimeBudget, Warden};
use ami_warden_core::{
    Change, DecodeContext, DeprecationTime, Direction, DirectiveTags, Directives, EbsDevice, Event,
    Grantee, Image, LaunchPermissionWish, LaunchPermissions, OrganizationArn, Policy, Template,
    WishContext, testing::must_not_be_public,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use proptest::{prelude::*, sample::Index, test_runner::FileFailurePersistence};
use serde_json::{Map, Value, json};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep},
};

use world::{
    Account, Carried, Fate, ID, NoKeys, OWNER, Truth, World, Write, error, grantee, plain_image,
    tag,
};

const TEAM: &str = "333344445555";
const ORGANIZATION: &str = "arn:aws:organizations::444455556666:organization/o-exampleorgid";
const UNIT: &str = "arn:aws:organizations::444455556666:ou/o-exampleorgid/ou-ab12-cdef3456";
const NAMES: [&str; 6] = ["all", OWNER, "222233334444", TEAM, ORGANIZATION, UNIT];

/// So many cases of a property, or as many as `PROPTEST_CASES` says; prints how many, for
/// `make proof`.
fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(cases);
    println!(
        "proof: {cases} cases: {}",
        std::thread::current().name().unwrap_or_default()
    );
    let kept = FileFailurePersistence::Direct("tests/proptest-regressions/model.txt");
    ProptestConfig {
        failure_persistence: Some(Box::new(kept)),
        ..ProptestConfig::with_cases(cases)
    }
}

// --- Grammar ---

fn any_grantee() -> impl Strategy<Value = Grantee> {
    let organization =
        "arn:aws(-cn|-us-gov|-iso-b)?:organizations::[0-9]{12}:organization/o-[a-z0-9]{10,32}";
    let unit = "arn:aws(-cn)?:organizations::[0-9]{12}:ou/o-[a-z0-9]{10,32}\
                /ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}";
    prop_oneof![
        Just(Grantee::All),
        "[0-9]{12}".prop_map(|text| grantee(&text)),
        organization.prop_map(|text| grantee(&text)),
        unit.prop_map(|text| grantee(&text)),
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
        named in prop::collection::btree_map(
            "[2-9][0-9]{11}".prop_map(|text| grantee(&text)),
            any::<bool>(),
            0..8,
        ),
        public in prop::option::of(any::<bool>()),
        organization in prop::option::of(any::<bool>()),
        separators in prop::collection::vec("[ ,]{1,3}", 12),
        lead in "[ ,]{0,2}",
        order in any::<Index>(),
    ) -> Written {
        let mut named = named;
        named.extend(public.map(|removes| (Grantee::All, removes)));
        named.extend(organization.map(|removes| (grantee(ORGANIZATION), removes)));
        let item = |(grantee, removes)| (grantee, removes && !exactly);
        let mut items: Vec<(Grantee, bool)> = named.into_iter().map(item).collect();
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
        let these = |which: bool| {
            let those = items.iter().filter(|(_, removes)| *removes == which);
            those.map(|(grantee, _)| grantee.clone()).collect()
        };
        let wish = if exactly {
            LaunchPermissionWish::Exactly(these(false))
        } else {
            LaunchPermissionWish::Edit { add: these(false), remove: these(true) }
        };
        Written { wish, text }
    }
}

fn directives(tags: &BTreeMap<String, String>) -> Directives {
    let image = Image {
        tags: tags.clone(),
        ..plain_image()
    };
    let policy = Policy::default();
    let organization: OrganizationArn = ORGANIZATION.parse().unwrap();
    let context = WishContext {
        policy: &policy,
        organization: Some(&organization),
        partition: "aws",
    };
    Directives::of(&image, &DirectiveTags::read(tags, "ami-warden:"), &context)
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn a_grantee_that_is_written_is_read_back_the_same(grantee in any_grantee()) {
        prop_assert_eq!(grantee.to_string().parse::<Grantee>().unwrap(), grantee);
    }

    #[test]
    fn a_text_that_is_read_as_a_grantee_is_written_back_the_same(
        text in "(all|[0-9]{11,13}|\\PC{0,20}\
                 |arn:aws[a-z-]{0,4}:organizations::[0-9]{12}\
                 :(organization|ou|root)/o-[a-z0-9/-]{8,40})",
    ) {
        if let Ok(grantee) = text.parse::<Grantee>() {
            prop_assert_eq!(grantee.as_str(), text);
        }
    }

    #[test]
    fn a_launch_permission_value_is_read_back_as_written_however_it_is_split_over_tags(
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
            let parts = [tag("launch-permission", first), tag("launch-permission:2", rest)];
            let split = directives(&BTreeMap::from(parts));
            prop_assert_eq!(split.launch_permission, Some(written.wish));
        }
    }

    #[test]
    fn whatever_tags_say_a_directive_is_understood_or_refused_and_never_guessed(
        values in prop::collection::btree_map(
            "(launch-permission(:[a-z]{0,2})?|copy-permission|description|imds-support\
              |shared-tag:[a-z]{0,2}|deprecate-at|hold|[a-z]{0,3})",
            "(\\PC{0,30}|[-=@ ,a-z0-9:/{}]{0,60})",
            0..5,
        ),
    ) {
        let tags: BTreeMap<_, _> = values.iter().map(|(key, value)| tag(key, value)).collect();
        let understood = directives(&tags);
        for refusal in &understood.refusals {
            prop_assert!(tags.contains_key(&refusal.resource()), "{:?}", refusal);
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
        let filled = Template::read(&text);
        let filled = filled.and_then(|template| template.description(&plain_image()));
        prop_assert_eq!(filled.ok(), Some(text.clone()).filter(|text| !text.trim().is_empty()));
    }
}

// --- Events ---

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
            prop::collection::vec((key.clone(), inner), 0..5)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

fn events() -> Vec<Value> {
    let folder = format!("{}/events", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort();
    paths
        .iter()
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .collect()
}

/// The pointers of all places in a value, itself included.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(members) => members.iter().for_each(|(key, member)| {
            places(
                member,
                &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                all,
            )
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| places(item, &format!("{at}/{index}"), all)),
        _ => {}
    }
}

fn understand(event: &Value) -> bool {
    let context = DecodeContext {
        policy_path: Some("/ami-warden"),
        allow_list_parameter: Some("/security/amis"),
        partition: "aws",
        requests_allowed: true,
    };
    Event::parse(event, &context).is_ok()
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

// --- Reconciling ---

/// Other people's doing, in the middle of a call.
#[derive(Debug, Clone, PartialEq)]
enum Meddling {
    /// Another launch-permission tag.
    Retag(Wish),
    /// The tag `hold`, or its end.
    Hold(bool),
    /// The image is made public by hand, and no event tells of it.
    MakePublic,
}

/// The fate of one call.
#[derive(Debug, Clone, PartialEq)]
enum Whim {
    Fine,
    /// The answer takes so many milliseconds.
    Slow(u64),
    Throttled,
    /// An error, and nothing was done.
    Fault,
    /// An error, although it was done.
    Lost,
    /// No answer at all.
    Hang,
    Denied,
    /// A read shows the truth of so many changes ago.
    Stale(usize),
    Meanwhile(Meddling),
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
        let is_named = |allowed: &BTreeSet<usize>| {
            allowed
                .iter()
                .any(|index| NAMES[*index] == grantee.as_str())
        };
        self.allowed.as_ref().is_none_or(is_named)
    }

    /// Whether the contract forbids making the image public.
    fn forbid_public(&self, account: &Account) -> bool {
        let image = &account.now().image;
        let flag = |snapshot: &str| account.snapshots.get(snapshot).copied();
        !self.allow_public
            || image.deprecation_time != DeprecationTime::Never
            || must_not_be_public(image, flag, account.block_public_access)
    }
}

/// The whims of one story, for all its invocations.
#[derive(Debug, Clone)]
struct Whims {
    account: Rc<RefCell<Account>>,
    limits: Limits,
    left: Rc<RefCell<VecDeque<Whim>>>,
    /// What people did so far.
    done: Rc<RefCell<Vec<Meddling>>>,
    /// The events of what people do.
    events: UnboundedSender<Value>,
}

impl Whims {
    fn meddle(&self, meddling: Meddling) {
        let mut account = self.account.borrow_mut();
        account.change(|truth| match &meddling {
            Meddling::Retag(wish) => {
                truth.set_tag("ami-warden:launch-permission", Some(&wish.text()));
            }
            Meddling::Hold(holds) => {
                truth.set_tag("ami-warden:hold", if *holds { Some("x") } else { None });
            }
            Meddling::MakePublic => drop(truth.launch.insert(Grantee::All)),
        });
        if meddling != Meddling::MakePublic {
            self.events.send(tag_change(&account.now().image)).unwrap();
        }
        self.done.borrow_mut().push(meddling);
    }
}

/// EventBridge's event of a change of tags.
fn tag_change(image: &Image) -> Value {
    let mut event: Value =
        serde_json::from_str(include_str!("../events/tag-changed.json")).unwrap();
    event["detail"]["tags"] = json!(image.tags);
    event
}

impl Fate for Whims {
    async fn carry(
        &self,
        operation: &'static str,
        _: Option<Write<'_>>,
    ) -> Result<Carried, CallError> {
        let whim = self.left.borrow_mut().pop_front().unwrap_or(Whim::Fine);
        let time = if let Whim::Slow(milliseconds) = whim {
            milliseconds
        } else {
            10
        };
        // Every call takes a while, so that calls overlap.
        sleep(Duration::from_millis(time)).await;
        match whim {
            Whim::Fine | Whim::Slow(_) => Ok(Carried::default()),
            Whim::Throttled => Err(error(operation, "RequestLimitExceeded")),
            Whim::Fault => Err(error(operation, "InternalError")),
            Whim::Denied => Err(error(operation, "UnauthorizedOperation")),
            Whim::Hang => std::future::pending().await,
            Whim::Lost => Ok(Carried {
                lost: true,
                ..Carried::default()
            }),
            Whim::Stale(back) => Ok(Carried {
                back,
                ..Carried::default()
            }),
            Whim::Meanwhile(meddling) => {
                self.meddle(meddling);
                Ok(Carried::default())
            }
        }
    }

    /// The rules that hold whenever something is changed, whatever was read before.
    fn check(&self, account: &Account, write: Write<'_>) {
        let Write::Change(change) = write else { return };
        match change {
            Change::LaunchPermission(launch) => {
                for grantee in &launch.add {
                    match grantee {
                        Grantee::All => assert!(
                            !self.limits.forbid_public(account),
                            "made public against a guardrail"
                        ),
                        grantee => assert!(
                            self.limits.allows(grantee),
                            "{grantee} was let in against the allow-list"
                        ),
                    }
                }
                assert!(
                    self.limits
                        .max_removals
                        .is_none_or(|most| launch.remove.len() <= most),
                    "more removals than allowed"
                );
                if !launch.add.is_empty() {
                    assert!(
                        rest_is_right(account.now(), true),
                        "let in before the rest is right"
                    );
                }
            }
            Change::CopyPermission(copy) if copy.direction == Direction::Add => {
                assert!(
                    rest_is_right(account.now(), false),
                    "let in before the rest is right"
                );
            }
            _ => {}
        }
    }

    fn saw(&self, _: &'static str, _: &dyn Debug) {}
}

/// Whether everything but the launch permissions is as the tags want it.
fn rest_is_right(truth: &Truth, with_copies: bool) -> bool {
    let Truth { image, copy, .. } = truth;
    let has = |key: &str| image.tags.contains_key(&tag(key, "").0);
    let described = !has("description") || image.description.as_deref() == Some("as wanted");
    let protected = !has("imds-support") || image.imds_support.is_some();
    let shown = !has("shared-tag:release") || image.tags.contains_key("ec2:SharedTag/release");
    let team = TEAM.parse().unwrap();
    let copied = !has("copy-permission") || copy.values().all(|accounts| accounts.contains(&team));
    described && protected && shown && (copied || !with_copies)
}

/// A launch-permission directive as the test knows it.
#[derive(Debug, Clone, PartialEq)]
struct Wish {
    exactly: bool,
    items: Vec<(bool, usize)>,
}

impl Wish {
    fn text(&self) -> String {
        let name = |index: usize| {
            if NAMES[index] == TEAM {
                "@team"
            } else {
                NAMES[index]
            }
        };
        let sign = |removes: bool| if removes { "-" } else { "" };
        let items = self
            .items
            .iter()
            .map(|(removes, index)| format!("{}{}", sign(*removes), name(*index)));
        let start = if self.exactly { "= " } else { "" };
        format!("{start}{}", items.collect::<Vec<_>>().join(" "))
    }

    fn named(&self, removed: bool) -> LaunchPermissions {
        let named = self.items.iter().filter(|(removes, _)| *removes == removed);
        named.map(|(_, index)| grantee(NAMES[*index])).collect()
    }

    /// The launch permissions in the end; written from the contract, not from the code.
    fn outcome(
        &self,
        current: &LaunchPermissions,
        account: &Account,
        limits: &Limits,
    ) -> LaunchPermissions {
        let owner = LaunchPermissions::from([grantee(OWNER)]);
        let (add, remove) = (self.named(false), self.named(true));
        if !add.is_disjoint(&remove) || (self.items.is_empty() && !self.exactly) {
            return current.clone();
        }
        let new = &(&add - current) - &owner;
        let gone = if self.exactly {
            &(current - &add) - &owner
        } else {
            &(&remove & current) - &owner
        };
        let keeps_out = |new: &Grantee| match new {
            Grantee::All => limits.forbid_public(account),
            new => !limits.allows(new),
        };
        let no_additions = new.iter().any(keeps_out);
        let no_removals = limits.max_removals.is_some_and(|most| gone.len() > most);
        if self.exactly && (no_additions || no_removals) {
            return current.clone();
        }
        let with = if no_additions {
            current.clone()
        } else {
            current | &new
        };
        if no_removals { with } else { &with - &gone }
    }
}

prop_compose! {
    fn any_wish()(
        exactly in prop::bool::weighted(0.4),
        items in prop::collection::vec((any::<bool>(), 0..NAMES.len()), 0..5),
    ) -> Wish {
        let item = |(removes, index)| (removes && !exactly, index);
        Wish { exactly, items: items.into_iter().map(item).collect() }
    }
}

fn slow() -> impl Strategy<Value = Whim> {
    let long = prop::sample::select(vec![900_u64, 1_500, 4_000, 6_000, 9_000]);
    prop_oneof![3 => 1..400_u64, 1 => long].prop_map(Whim::Slow)
}

fn retagged() -> impl Strategy<Value = Whim> {
    any_wish().prop_map(|wish| Whim::Meanwhile(Meddling::Retag(wish)))
}

/// Every whim.
fn any_whim() -> impl Strategy<Value = Whim> {
    prop_oneof![
        6 => Just(Whim::Fine),
        3 => slow(),
        2 => Just(Whim::Throttled),
        2 => Just(Whim::Fault),
        2 => Just(Whim::Lost),
        1 => Just(Whim::Hang),
        1 => Just(Whim::Denied),
        2 => (1..4_usize).prop_map(Whim::Stale),
        3 => retagged(),
        1 => any::<bool>().prop_map(|holds| Whim::Meanwhile(Meddling::Hold(holds))),
        1 => Just(Whim::Meanwhile(Meddling::MakePublic)),
    ]
}

/// The whims after which no sweep is needed.
fn honest_whim() -> impl Strategy<Value = Whim> {
    prop_oneof![
        6 => Just(Whim::Fine),
        6 => slow(),
        1 => Just(Whim::Throttled),
        1 => Just(Whim::Fault),
        1 => Just(Whim::Lost),
        4 => retagged(),
        1 => any::<bool>().prop_map(|holds| Whim::Meanwhile(Meddling::Hold(holds))),
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
    fn any_device()(
        index in 0..3_u8,
        has_snapshot in any::<bool>(),
        encrypted in prop_oneof![3 => Just(Some(false)), 1 => any::<Option<bool>>()],
    ) -> EbsDevice {
        let snapshot = has_snapshot.then(|| format!("snap-{index}"));
        EbsDevice { device: format!("/dev/sd{index}"), snapshot, encrypted }
    }
}

prop_compose! {
    fn any_tags()(
        description in any::<bool>(),
        imds_support in any::<bool>(),
        shared_tag in prop::bool::weighted(0.3),
        copy_permission in prop::bool::weighted(0.3),
        unknown in any::<bool>(),
    ) -> BTreeMap<String, String> {
        let tags = [
            (description, tag("description", "as wanted")),
            (imds_support, tag("imds-support", "v2.0")),
            (shared_tag, tag("shared-tag:release", "stable")),
            (copy_permission, tag("copy-permission", "@team")),
            (unknown, tag("typo", "")),
        ];
        tags.into_iter().filter(|(is_there, _)| *is_there).map(|(_, tag)| tag).collect()
    }
}

prop_compose! {
    fn any_limits()(
        allow_public in prop::bool::weighted(0.7),
        allowed in prop::option::weighted(
            0.5,
            prop::collection::btree_set(1..NAMES.len(), 0..NAMES.len()),
        ),
        max_removals in prop::option::weighted(0.3, 0..3_usize),
    ) -> Limits {
        Limits { allow_public, allowed, max_removals }
    }
}

prop_compose! {
    fn any_story()(
        wish in any_wish(),
        before in prop::collection::btree_set(0..NAMES.len(), 0..4),
        tags in any_tags(),
        status_tag in any::<bool>(),
        devices in prop::collection::vec(any_device(), 0..3),
        seen in prop::collection::btree_map(
            0..3_u8,
            prop_oneof![4 => Just(Some(false)), 1 => any::<Option<bool>>()],
            0..4,
        ),
        product_code in prop::bool::weighted(0.1),
        deprecated in prop::bool::weighted(0.1),
        block_public_access in prop_oneof![
            5 => Just(Some(false)),
            1 => Just(None),
            1 => Just(Some(true)),
        ],
        limits in any_limits(),
        whims in prop_oneof![
            1 => prop::collection::vec(any_whim(), 0..25),
            2 => prop::collection::vec(honest_whim(), 0..25),
        ],
    ) -> Story {
        let before = before.into_iter().map(|index| grantee(NAMES[index])).collect();
        let mut tags = tags;
        tags.extend([tag("launch-permission", &wish.text())]);
        let deprecation_time = match deprecated {
            true => DeprecationTime::read("2020-01-01T00:00:00.000Z"),
            false => DeprecationTime::Never,
        };
        let product_codes = if product_code { vec!["code".into()] } else { vec![] };
        let image = Image { tags, devices, product_codes, deprecation_time, ..plain_image() };
        let snapshot = |(index, encrypted)| (format!("snap-{index}"), encrypted);
        let snapshots = seen.into_iter().map(snapshot).collect();
        Story { wish, before, image, snapshots, block_public_access, limits, whims, status_tag }
    }
}

/// Everything that one story needs, and the events that are still to come.
struct Stage {
    settings: Settings,
    whims: Whims,
}

impl Stage {
    fn set(story: &Story) -> (Self, UnboundedReceiver<Value>) {
        let truth = Truth::of(story.image.clone(), story.before.clone());
        let account = Account {
            snapshots: story.snapshots.clone(),
            block_public_access: story.block_public_access,
            parameters: BTreeMap::from([("groups/team".to_owned(), TEAM.to_owned())]),
            ..Account::of(truth)
        };
        let (events, coming) = unbounded_channel();
        let whims = Whims {
            account: Rc::new(RefCell::new(account)),
            limits: story.limits.clone(),
            left: Rc::new(RefCell::new(story.whims.clone().into())),
            done: Rc::default(),
            events,
        };
        (
            Self {
                settings: settings(story),
                whims,
            },
            coming,
        )
    }

    /// One invocation, in a process of its own.
    async fn invoke(&self, event: &Value) -> bool {
        let world = || World {
            account: Rc::clone(&self.whims.account),
            fate: self.whims.clone(),
        };
        let warden = Warden::new(self.settings.clone(), world(), NoKeys, world(), None);
        let minute = TimeBudget::until(Instant::now() + Duration::from_secs(60));
        warden.handle(event, false, minute).await.is_ok()
    }

    /// An event, as often as Lambda brings it. Whether an invocation finished it.
    async fn deliver(&self, event: Value) -> bool {
        for _ in 0..3 {
            if self.invoke(&event).await {
                return true;
            }
            sleep(Duration::from_secs(60)).await;
        }
        false
    }

    fn account(&self) -> Account {
        self.whims.account.borrow().clone()
    }
}

fn settings(story: &Story) -> Settings {
    let Limits {
        allow_public,
        allowed,
        max_removals,
    } = &story.limits;
    let listed = |allowed: &BTreeSet<usize>| {
        allowed
            .iter()
            .map(|index| NAMES[*index])
            .collect::<Vec<_>>()
            .join(" ")
    };
    let settings = Settings::from_vars(|name| match name {
        "ALLOW_PUBLIC" => Some(allow_public.to_string()),
        "ALLOWED_GRANTEES" => Some(allowed.as_ref().map_or("*".to_owned(), listed)),
        "ALLOWED_COPIERS" => Some("*".to_owned()),
        "SHARED_TAGS" => Some("release".to_owned()),
        "MAX_REMOVALS" => max_removals.map(|most| most.to_string()),
        "POLICY_PATH" => Some("/ami-warden".to_owned()),
        "STATUS_TAG" => story.status_tag.then(|| "warden-status".to_owned()),
        _ => None,
    });
    settings.unwrap()
}

/// The wishes of a story in the order in which they held, and whether it ends with `hold`.
struct Wishes {
    all: Vec<Wish>,
    held: bool,
    by_hand: bool,
}

impl Wishes {
    fn of(story: &Story, meddlings: &[Meddling]) -> Self {
        let mut wishes = Self {
            all: vec![story.wish.clone()],
            held: false,
            by_hand: false,
        };
        for meddling in meddlings {
            match meddling {
                Meddling::Retag(wish) => wishes.all.push(wish.clone()),
                Meddling::Hold(holds) => wishes.held = *holds,
                Meddling::MakePublic => wishes.by_hand = true,
            }
        }
        wishes
    }

    /// The image is as the last of them wants it, and nobody came or went without one of them.
    fn check_end(&self, story: &Story, account: &Account) {
        if self.held {
            return;
        }
        let now = &account.now().launch;
        assert!(
            rest_is_right(account.now(), true),
            "the rest is not as wanted: {:?}",
            account.now()
        );
        let outcome =
            |wish: &Wish, launch: &LaunchPermissions| wish.outcome(launch, account, &story.limits);
        let last = self.all.last().unwrap();
        assert_eq!(
            now,
            &outcome(last, now),
            "the newest wish was not carried out: {last:?}"
        );
        if let ([only], false) = (self.all.as_slice(), self.by_hand) {
            assert_eq!(now, &outcome(only, &story.before), "{only:?}");
        }
        for grantee in now - &story.before {
            let wished = self
                .all
                .iter()
                .any(|wish| wish.named(false).contains(&grantee));
            let made_public = self.by_hand && grantee == Grantee::All;
            assert!(wished || made_public, "no wish let {grantee} in");
        }
        for grantee in &story.before - now {
            let unwished = |wish: &Wish| {
                wish.named(true).contains(&grantee)
                    || (wish.exactly && !wish.named(false).contains(&grantee))
            };
            assert!(
                self.all.iter().any(unwished),
                "no wish took {grantee}'s access away"
            );
        }
    }
}

async fn tell(story: Story) {
    let (stage, mut coming) = Stage::set(&story);
    let event = serde_json::from_str(include_str!("../events/ami-available.json")).unwrap();
    // Invocations overlap: an event is delivered as soon as it comes.
    let mut running = FuturesUnordered::from_iter([stage.deliver(event)]);
    let mut all_finished = true;
    loop {
        tokio::select! {
            biased;
            Some(event) = coming.recv() => running.push(stage.deliver(event)),
            done = running.next() => match done {
                Some(finished) => all_finished &= finished,
                None => break,
            },
        }
    }
    let wishes = Wishes::of(&story, &stage.whims.done.borrow());
    // No event tells of a change of permissions by hand, and a read of permissions that lags behind
    // cannot be told from a true one: both are left to the sweep.
    let misled = wishes.by_hand
        || story
            .whims
            .iter()
            .any(|whim| matches!(whim, Whim::Stale(_)));
    if all_finished && !misled {
        wishes.check_end(&story, &stage.account());
    }
    stage.whims.left.borrow_mut().clear();
    // The next sweep, when all is well.
    let sweep = json!({ "Sweep": {} });
    assert!(stage.invoke(&sweep).await);
    wishes.check_end(&story, &stage.account());
    // And then there is nothing left to do.
    let writes = stage.account().writes;
    assert!(stage.invoke(&sweep).await);
    assert_eq!(
        stage.account().writes,
        writes,
        "a settled image was changed again"
    );
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn the_image_ends_as_its_newest_tags_want_it_and_no_guardrail_is_broken_on_the_way(
        story in any_story(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(tell(story));
    }
}
