//! EC2, Parameter Store and KMS in memory, behind the ports of the function. A [`Fate`] says when
//! each call is carried out, and how it ends.

use std::{cell::RefCell, collections::BTreeMap, fmt::Debug, rc::Rc};

use ami_warden::{
    CallError, Described, Ec2, Ec2Write, ErrorKind, Keys, Listing, Page, Parameters, Which,
};
use ami_warden_core::{
    Change, CopyPermissions, DeprecationTime, Direction, Grantee, Image, ImageId, ImageState, Key,
    LaunchPermissions, SHARED_TAG_PREFIX, SnapshotFacts, StoredParameter, StoredValue,
};
use chrono::SecondsFormat;

/// The image of all stories.
pub const ID: &str = "ami-0123456789abcdef0";
/// The account that owns it.
pub const OWNER: &str = "111122223333";

/// An available image without anything.
pub fn plain_image() -> Image {
    Image::new(ID.parse().unwrap(), OWNER.parse().unwrap())
}

/// A directive tag.
pub fn tag(key: &str, value: &str) -> (String, String) {
    (format!("ami-warden:{key}"), value.to_owned())
}

pub fn grantee(name: &str) -> Grantee {
    name.parse().unwrap()
}

/// The image and its permissions at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    pub image: Image,
    pub launch: LaunchPermissions,
    pub copy: BTreeMap<String, CopyPermissions>,
}

impl Truth {
    pub fn of(image: Image, launch: LaunchPermissions) -> Self {
        let nobody = |snapshot: &str| (snapshot.to_owned(), CopyPermissions::new());
        let copy = image.snapshots().into_iter().map(nobody).collect();
        let public = launch.contains(&Grantee::All);
        Self {
            image: Image { public, ..image },
            launch,
            copy,
        }
    }

    /// The effect of a call that changes something.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Description { to, .. } => self.image.description = Some(to.clone()),
            Change::ImdsSupport { to, .. } => {
                self.image.imds_support = Some(to.as_str().to_owned());
            }
            Change::Deprecation { to: None, .. } => {
                self.image.deprecation_time = DeprecationTime::Never;
            }
            Change::Deprecation { to: Some(time), .. } => {
                let text = time.to_rfc3339_opts(SecondsFormat::Millis, true);
                self.image.deprecation_time = DeprecationTime::read(&text);
            }
            Change::SharedTag { key, to, .. } => {
                self.set_tag(&format!("{SHARED_TAG_PREFIX}{key}"), to.as_deref());
            }
            Change::CopyPermission(change) => {
                let accounts = self.copy.get_mut(&change.snapshot).unwrap();
                match change.direction {
                    Direction::Add => accounts.extend(change.accounts.iter().cloned()),
                    Direction::Remove => {
                        accounts.retain(|account| !change.accounts.contains(account));
                    }
                }
            }
            Change::LaunchPermission(change) => {
                self.launch = &(&self.launch | &change.add) - &change.remove;
                self.image.public = self.launch.contains(&Grantee::All);
            }
        }
    }

    pub fn set_tag(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => drop(self.image.tags.insert(key.to_owned(), value.to_owned())),
            None => drop(self.image.tags.remove(key)),
        }
    }
}

/// Everything that the ports read.
#[derive(Debug, Clone)]
pub struct Account {
    /// Absent, then as created, then after each change; the last one holds now.
    pub history: Vec<Option<Truth>>,
    pub snapshots: BTreeMap<String, Option<bool>>,
    pub block_public_access: Option<bool>,
    /// The groups of the policy, and the parameter of rules.
    pub parameters: BTreeMap<String, String>,
    pub writes: usize,
}

impl Account {
    pub fn of(truth: Truth) -> Self {
        Self {
            history: vec![None, Some(truth)],
            snapshots: BTreeMap::new(),
            block_public_access: Some(false),
            parameters: BTreeMap::new(),
            writes: 0,
        }
    }

    pub fn now(&self) -> &Truth {
        self.history.last().unwrap().as_ref().unwrap()
    }

    /// The truth of so many changes ago.
    fn past(&self, back: usize) -> Option<&Truth> {
        let last = self.history.len() - 1;
        self.history[last - back.min(last)].as_ref()
    }

    pub fn change(&mut self, change: impl FnOnce(&mut Truth)) {
        let mut truth = self.now().clone();
        change(&mut truth);
        truth.image.public = truth.launch.contains(&Grantee::All);
        if truth != *self.now() {
            self.history.push(Some(truth));
        }
    }
}

/// How a call that is carried out ends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Carried {
    /// A read shows the truth of so many changes ago.
    pub back: usize,
    /// The answer gets lost.
    pub lost: bool,
}

/// A call that changes something.
#[derive(Debug, Clone, Copy)]
pub enum Write<'a> {
    Change(&'a Change),
    Tag(&'a str, Option<&'a str>),
}

/// The fate of calls.
#[allow(async_fn_in_trait)]
pub trait Fate {
    /// A call was sent. Returns when it is carried out; an error is EC2's answer, and nothing was
    /// done.
    async fn carry(
        &self,
        operation: &'static str,
        write: Option<Write<'_>>,
    ) -> Result<Carried, CallError>;

    /// A write is carried out: the moment to check it against the truth.
    fn check(&self, account: &Account, write: Write<'_>);

    /// The caller gets this answer.
    fn saw(&self, operation: &'static str, answer: &dyn Debug);
}

/// The ports of one invocation.
#[derive(Debug)]
pub struct World<F> {
    pub account: Rc<RefCell<Account>>,
    pub fate: F,
}

/// An error by its code.
pub fn error(operation: &'static str, code: &'static str) -> CallError {
    let status = if code == "InternalError" { 500 } else { 400 };
    CallError::answered(operation, code, status, "")
}

fn lost(operation: &'static str) -> CallError {
    let code = "ConnectionFailed".into();
    CallError {
        operation,
        code,
        message: String::new(),
        kind: ErrorKind::Transient,
    }
}

impl<F: Fate> World<F> {
    async fn read<T: Debug>(
        &self,
        operation: &'static str,
        read: impl Fn(&Account, Option<&Truth>) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let answer = match self.fate.carry(operation, None).await {
            Err(error) => Err(error),
            Ok(Carried { lost: true, .. }) => Err(lost(operation)),
            Ok(Carried { back, lost: false }) => {
                let account = self.account.borrow();
                read(&account, account.past(back))
            }
        };
        self.fate.saw(operation, &answer);
        answer
    }

    async fn write(&self, operation: &'static str, write: Write<'_>) -> Result<(), CallError> {
        let answer = match self.fate.carry(operation, Some(write)).await {
            Err(error) => Err(error),
            Ok(carried) => {
                let done = self.carry_out(operation, write);
                if carried.lost {
                    Err(lost(operation))
                } else {
                    done
                }
            }
        };
        self.fate.saw(operation, &answer);
        answer
    }

    fn carry_out(&self, operation: &'static str, write: Write<'_>) -> Result<(), CallError> {
        let mut account = self.account.borrow_mut();
        let is_available = account.now().image.state == ImageState::Available;
        // Only the tags of an image that is not available can be written.
        if !is_available && matches!(write, Write::Change(_)) {
            return Err(error(operation, "InvalidAMIID.Unavailable"));
        }
        self.fate.check(&account, write);
        account.writes += 1;
        account.change(|truth| match write {
            Write::Change(change) => truth.apply(change),
            Write::Tag(key, value) => truth.set_tag(key, value),
        });
        Ok(())
    }
}

fn is_listed(image: &Image, listing: &Listing) -> bool {
    assert!(
        listing.id_patterns.is_empty(),
        "one image needs no listing in parts"
    );
    let has_key = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => image.tags.keys().any(|key| key.starts_with(start)),
        None => image.tags.contains_key(pattern),
    };
    match &listing.which {
        Which::All => true,
        Which::Tagged(patterns) => patterns.iter().any(has_key),
        Which::Public => image.public,
    }
}

fn whole<T>(items: Vec<T>) -> Page<T> {
    Page { items, next: None }
}

impl<F: Fate> Ec2 for World<F> {
    async fn images(&self, ids: &[ImageId], _: Option<&str>) -> Result<Page<Described>, CallError> {
        let described = |_: &Account, seen: Option<&Truth>| {
            let image = seen
                .map(|truth| truth.image.clone())
                .filter(|image| ids.contains(&image.id));
            Ok(whole(
                image
                    .map(|image| Described::Image(Box::new(image)))
                    .into_iter()
                    .collect(),
            ))
        };
        self.read("DescribeImages", described).await
    }

    async fn image_ids(
        &self,
        listing: &Listing,
        _: i32,
        _: Option<&str>,
    ) -> Result<Page<Option<ImageId>>, CallError> {
        let listed = |_: &Account, seen: Option<&Truth>| {
            let image = seen
                .map(|truth| &truth.image)
                .filter(|image| is_listed(image, listing));
            Ok(whole(
                image.map(|image| Some(image.id)).into_iter().collect(),
            ))
        };
        self.read("DescribeImages (list)", listed).await
    }

    async fn launch_permissions(&self, _: ImageId) -> Result<LaunchPermissions, CallError> {
        const OPERATION: &str = "DescribeImageAttribute";
        let permissions = |_: &Account, seen: Option<&Truth>| match seen {
            Some(truth) => Ok(truth.launch.clone()),
            None => Err(error(OPERATION, "InvalidAMIID.NotFound")),
        };
        self.read(OPERATION, permissions).await
    }

    async fn snapshots(
        &self,
        ids: &[&str],
        _: Option<&str>,
    ) -> Result<Page<(String, SnapshotFacts)>, CallError> {
        let facts = |account: &Account, _: Option<&Truth>| {
            let seen = account
                .snapshots
                .iter()
                .filter(|(id, _)| ids.contains(&id.as_str()));
            let fact = |(id, encrypted): (&String, &Option<bool>)| {
                (
                    id.clone(),
                    SnapshotFacts {
                        encrypted: *encrypted,
                        key: None,
                    },
                )
            };
            Ok(whole(seen.map(fact).collect()))
        };
        self.read("DescribeSnapshots", facts).await
    }

    async fn copy_permissions(&self, snapshot: &str) -> Result<CopyPermissions, CallError> {
        const OPERATION: &str = "DescribeSnapshotAttribute";
        let accounts = |_: &Account, seen: Option<&Truth>| match seen {
            Some(truth) => Ok(truth.copy[snapshot].clone()),
            None => Ok(CopyPermissions::new()),
        };
        self.read(OPERATION, accounts).await
    }

    async fn block_public_access(&self) -> Result<Option<bool>, CallError> {
        let state = |account: &Account, _: Option<&Truth>| Ok(account.block_public_access);
        self.read("GetImageBlockPublicAccessState", state).await
    }
}

impl<F: Fate> Ec2Write for World<F> {
    async fn change(&self, _: ImageId, change: &Change, dry_run: bool) -> Result<(), CallError> {
        assert!(!dry_run, "no story asks for a dry run");
        self.write(change.operation(), Write::Change(change)).await
    }

    async fn set_tag(&self, _: ImageId, key: &str, value: Option<&str>) -> Result<(), CallError> {
        let operation = if value.is_some() {
            "CreateTags"
        } else {
            "DeleteTags"
        };
        self.write(operation, Write::Tag(key, value)).await
    }
}

impl<F: Fate> Parameters for World<F> {
    async fn below(&self, path: &str, _: Option<&str>) -> Result<Page<StoredParameter>, CallError> {
        let stored = |account: &Account, _: Option<&Truth>| {
            let all = account.parameters.iter();
            let parameter = |(name, value): (&String, &String)| StoredParameter {
                name: format!("{path}/{name}"),
                value: StoredValue::Text(value.clone()),
                modified: None,
            };
            Ok(whole(all.map(parameter).collect()))
        };
        self.read("GetParametersByPath", stored).await
    }

    async fn parameter(&self, name: &str) -> Result<StoredParameter, CallError> {
        panic!("no setting asks for {name}")
    }
}

/// No story looks at keys.
#[derive(Debug)]
pub struct NoKeys;

impl Keys for NoKeys {
    async fn key(&self, arn: &str) -> Result<Key, CallError> {
        panic!("no setting asks for {arn}")
    }

    async fn policy_names(&self, arn: &str, _: Option<&str>) -> Result<Page<String>, CallError> {
        panic!("no setting asks for {arn}")
    }

    async fn policy(&self, arn: &str, _: &str) -> Result<String, CallError> {
        panic!("no setting asks for {arn}")
    }

    async fn grantees(&self, arn: &str, _: Option<&str>) -> Result<Page<String>, CallError> {
        panic!("no setting asks for {arn}")
    }
}
