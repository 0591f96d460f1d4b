//! The real planner, asked once about every situation of the model.

use std::collections::BTreeMap;

use ami_warden_core::{AllowedGrantees, Change, DirectiveTags, Directives, Grantee, Guardrails, Hold, Image, LaunchPermissionWish, LaunchPermissions, Observed, Policy, ShareFacts, StoredParameter, StoredValue, WishContext, plan};

/// A set of grantees: a bit for each of [`NAMES`].
pub type Grantees = u8;

/// The grantees of the model. The allow-list covers A and B.
pub const NAMES: [(&str, &str); 3] = [
    ("A", "222233334444"),
    ("B", "333344445555"),
    ("C", "444455556666"),
];

/// The grantee that the allow-list does not cover.
pub const OUTSIDER: Grantees = 0b100;

/// The tags that the image can have: the launch permission, and `hold`.
pub const WISHES: [(&str, bool); 4] = [
    ("= @team", false),
    ("-B", false),
    ("B", true),
    ("A C", false),
];

/// The members that the group can have.
pub const TEAMS: [&str; 2] = ["A,B", "B"];

/// The numbers of the tags and of the policy that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asked {
    pub wish: u8,
    pub policy: u8,
}

impl Asked {
    /// Every pair.
    pub fn all() -> impl Iterator<Item = Self> {
        let policies = || (0..).zip(TEAMS).map(|(policy, _)| policy);
        let wishes = (0..).zip(WISHES).map(|(wish, _)| wish);
        wishes.flat_map(move |wish| policies().map(move |policy| Self { wish, policy }))
    }
}

/// A call that changes launch permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    pub add: Grantees,
    pub remove: Grantees,
}

impl Call {
    /// The permissions after the call.
    pub fn carried_out(self, launch: Grantees) -> Grantees {
        (launch | self.add) & !self.remove
    }
}

/// The answers of the planner.
#[derive(Debug)]
pub struct Planner {
    plans: BTreeMap<(Asked, Grantees), Option<Call>>,
    wishes: BTreeMap<Asked, Wish>,
}

/// The directives, as far as the model needs them.
#[derive(Debug)]
struct Wish {
    directives: Directives,
    held: bool,
    wanted: Grantees,
}

impl Planner {
    /// Asks the planner about everything.
    pub fn new() -> Self {
        let mut planner = Self {
            plans: BTreeMap::new(),
            wishes: BTreeMap::new(),
        };
        for asked in Asked::all() {
            let wish = Wish::of(asked);
            for launch in 0..1 << NAMES.len() {
                let call = if wish.held {
                    None
                } else {
                    decide(&image(asked), &wish.directives, launch)
                };
                planner.plans.insert((asked, launch), call);
            }
            planner.wishes.insert(asked, wish);
        }
        planner
    }

    /// The number of questions.
    pub fn situations(&self) -> usize {
        self.plans.len()
    }

    /// The call that the plan has, if there is one.
    pub fn call(&self, asked: Asked, launch: Grantees) -> Option<Call> {
        self.plans[&(asked, launch)]
    }

    /// The grantees that the directives ask for; nobody while the image is held.
    pub fn wanted(&self, asked: Asked) -> Grantees {
        let Wish { held, wanted, .. } = &self.wishes[&asked];
        if *held { 0 } else { *wanted }
    }

    /// Whether both are the same directives, and none of them is held.
    pub fn is_same(&self, one: Asked, other: Asked) -> bool {
        let (one, other) = (&self.wishes[&one], &self.wishes[&other]);
        one.directives == other.directives && one.held == other.held
    }

    /// Whether the directives name exactly the grantees that have access.
    pub fn is_exact(&self, asked: Asked) -> bool {
        let wish = &self.wishes[&asked].directives.launch_permission;
        matches!(wish, Some(LaunchPermissionWish::Exactly(_)))
    }
}

impl Wish {
    fn of(asked: Asked) -> Self {
        let image = image(asked);
        let group = StoredParameter {
            name: "/p/groups/team".to_owned(),
            value: StoredValue::Text(spelt_out(TEAMS[usize::from(asked.policy)])),
            modified: None,
        };
        let (policy, _) = Policy::parse("/p", vec![group], None).unwrap();
        let context = WishContext {
            policy: &policy,
            organization: None,
            partition: "aws",
        };
        let tags = DirectiveTags::read(&image.tags, "ami-warden:");
        let directives = Directives::of(&image, &tags, &context);
        let wanted = match &directives.launch_permission {
            Some(wish) => bits(wish.wanted()),
            None => 0,
        };
        Self {
            directives,
            held: tags.hold == Hold::Yes,
            wanted,
        }
    }
}

/// The text with the accounts' ids instead of their letters.
fn spelt_out(text: &str) -> String {
    let replace = |text: String, (letter, id): &(&str, &str)| text.replace(letter, id);
    NAMES.iter().fold(text.to_owned(), replace)
}

fn image(asked: Asked) -> Image {
    let (launch_permission, held) = WISHES[usize::from(asked.wish)];
    let id = "ami-0123456789abcdef0".parse().unwrap();
    let mut image = Image::new(id, "111122223333".parse().unwrap());
    let tags = [
        ("launch-permission", spelt_out(launch_permission)),
        ("hold", if held { "x".to_owned() } else { String::new() }),
    ];
    let tags = tags.map(|(key, value)| (format!("ami-warden:{key}"), value));
    image.tags.extend(tags);
    image
}

fn decide(image: &Image, directives: &Directives, launch: Grantees) -> Option<Call> {
    let allowed = format!("{} {}", NAMES[0].1, NAMES[1].1);
    let guardrails = Guardrails {
        allowed_grantees: AllowedGrantees::parse(&allowed, None).unwrap(),
        ..Guardrails::default()
    };
    let observed = Observed {
        image,
        launch_permissions: &grantees(launch),
        copy_permissions: &BTreeMap::new(),
        facts: &ShareFacts::default(),
    };
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let plan = plan(&observed, directives, &guardrails, now);
    match plan.changes.as_slice() {
        [] => None,
        [Change::LaunchPermission(change)] => Some(Call {
            add: bits(&change.add),
            remove: bits(&change.remove),
        }),
        other => panic!("the model has no such plan: {other:?}"),
    }
}

fn bits(grantees: &LaunchPermissions) -> Grantees {
    let mut bits = 0;
    for (index, (_, id)) in NAMES.iter().enumerate() {
        if grantees.contains(&id.parse::<Grantee>().unwrap()) {
            bits |= 1 << index;
        }
    }
    bits
}

fn grantees(bits: Grantees) -> LaunchPermissions {
    let named = NAMES.iter().enumerate();
    let named = named.filter(|(index, _)| bits & (1 << index) != 0);
    named.map(|(_, (_, id))| id.parse().unwrap()).collect()
}

/// The grantees by their letters.
pub fn letters(bits: Grantees) -> String {
    let named = NAMES.iter().enumerate();
    let named = named.filter(|(index, _)| bits & (1 << index) != 0);
    let letters: Vec<&str> = named.map(|(_, (letter, _))| *letter).collect();
    if letters.is_empty() {
        "nobody".to_owned()
    } else {
        letters.join(" ")
    }
}
