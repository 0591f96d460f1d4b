//! An EC2 for tests: it keeps images, writes every call down, and fails or waits as a script says.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    time::Duration,
};

use ami_warden_core::{
    Change, CopyPermissions, Direction, Grantee, Image, ImageId, Key, LaunchPermissions,
    SnapshotFacts, StoredParameter, StoredValue,
};
use chrono::DateTime;
use tokio::time::{Instant, sleep};

use super::{
    call_error::CallError,
    ports::{Described, Ec2, Ec2Write, Keys, Listing, Page, Parameters, Which},
};

/// The path of every policy.
pub(crate) const POLICY_PATH: &str = "/ami-warden";

/// The parameter of its rules.
pub(crate) const RULES: &str = "/ami-warden/rules";

/// A loop without end fails its test here.
const CALLS_MAX: usize = 5000;

#[derive(Debug, Default)]
pub(crate) struct Ec2State {
    pub(crate) images: BTreeMap<ImageId, Described>,
    /// The launch permissions of every image.
    pub(crate) launch: LaunchPermissions,
    /// The copy permissions of each snapshot.
    pub(crate) copy: BTreeMap<String, CopyPermissions>,
    /// Whether block public access is on.
    pub(crate) block: Option<bool>,
    /// What every listing names, in this order, so many on a page; an image without an id only
    /// where no id is asked for.
    pub(crate) listed: Vec<Option<ImageId>>,
    pub(crate) page: usize,
    pub(crate) calls: Vec<String>,
}

impl Ec2State {
    pub(crate) fn put(&mut self, image: Image) {
        let id = image.id;
        self.images.insert(id, Described::Image(Box::new(image)));
    }

    pub(crate) fn edit(&mut self, edit: impl Fn(&mut Image)) {
        for described in self.images.values_mut() {
            if let Described::Image(image) = described {
                edit(image);
            }
        }
    }

    /// The number of calls that begin so.
    pub(crate) fn count(&self, start: &str) -> usize {
        let calls = self.calls.iter();
        calls.filter(|call| call.starts_with(start)).count()
    }

    fn image(&mut self, id: ImageId) -> Option<&mut Image> {
        match self.images.get_mut(&id) {
            Some(Described::Image(image)) => Some(image),
            _ => None,
        }
    }

    /// The effect of a write.
    fn apply(&mut self, id: ImageId, change: &Change) {
        match change {
            Change::Description { to, .. } => {
                if let Some(image) = self.image(id) {
                    image.description = Some(to.clone());
                }
            }
            Change::LaunchPermission(change) => {
                self.launch = &(&self.launch | &change.add) - &change.remove;
                let public = self.launch.contains(&Grantee::All);
                self.edit(|image| image.public = public);
            }
            Change::CopyPermission(change) => {
                let accounts = self.copy.entry(change.snapshot.clone()).or_default();
                *accounts = match change.direction {
                    Direction::Add => &*accounts | &change.accounts,
                    Direction::Remove => &*accounts - &change.accounts,
                };
            }
            other => panic!("no script writes {other:?}"),
        }
    }
}

type Hook<'a> = dyn FnMut(&str, &mut Ec2State) -> Result<Duration, CallError> + 'a;

/// EC2 with a hook that sees each call before it is carried out: it may change the state, and says
/// how long the call takes, or with what error it ends.
pub(crate) struct Script<'a> {
    pub(crate) state: RefCell<Ec2State>,
    hook: RefCell<Box<Hook<'a>>>,
}

impl fmt::Debug for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

impl<'a> Script<'a> {
    pub(crate) fn new(
        hook: impl FnMut(&str, &mut Ec2State) -> Result<Duration, CallError> + 'a,
    ) -> Self {
        Self {
            state: RefCell::default(),
            hook: RefCell::new(Box::new(hook)),
        }
    }

    pub(crate) fn with(self, image: Image) -> Self {
        self.state.borrow_mut().put(image);
        self
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.borrow().calls.clone()
    }

    async fn call(&self, call: String) -> Result<(), CallError> {
        let takes = {
            let mut state = self.state.borrow_mut();
            state.calls.push(call.clone());
            assert!(state.calls.len() < CALLS_MAX, "the calls have no end");
            (self.hook.borrow_mut())(&call, &mut state)?
        };
        if !takes.is_zero() {
            sleep(takes).await;
        }
        Ok(())
    }
}

/// A change in a few words.
fn words(change: &Change) -> String {
    let names = |grantees: &LaunchPermissions| {
        let names: Vec<&str> = grantees.iter().map(Grantee::as_str).collect();
        names.join(" ")
    };
    match change {
        Change::Description { to, .. } => format!("description {to}"),
        Change::LaunchPermission(change) => {
            format!("launch +{} -{}", names(&change.add), names(&change.remove))
        }
        Change::CopyPermission(change) => {
            let accounts: Vec<_> = change.accounts.iter().map(ToString::to_string).collect();
            let accounts = accounts.join(" ");
            match change.direction {
                Direction::Add => format!("copy {} +{accounts}", change.snapshot),
                Direction::Remove => format!("copy {} -{accounts}", change.snapshot),
            }
        }
        other => format!("{other:?}"),
    }
}

impl Ec2 for Script<'_> {
    async fn images(&self, ids: &[ImageId], _: Option<&str>) -> Result<Page<Described>, CallError> {
        let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
        self.call(format!("images {}", names.join(" "))).await?;
        let state = self.state.borrow();
        let items = ids.iter().filter_map(|id| state.images.get(id).cloned());
        Ok(Page {
            items: items.collect(),
            next: None,
        })
    }

    async fn image_ids(
        &self,
        listing: &Listing,
        size: i32,
        token: Option<&str>,
    ) -> Result<Page<Option<ImageId>>, CallError> {
        let which = match listing.which {
            Which::All => "all",
            Which::Tagged(_) => "tagged",
            Which::Public => "public",
        };
        let patterns = &listing.id_patterns;
        self.call(format!("list {which} {} {size}", patterns.join(" ")))
            .await?;
        let matches = |id: &&Option<ImageId>| {
            let id = id.map(|id| id.to_string()).unwrap_or_default();
            let begins = |pattern: &String| id.starts_with(pattern.trim_end_matches('*'));
            patterns.is_empty() || (!id.is_empty() && patterns.iter().any(begins))
        };
        let state = self.state.borrow();
        let ids: Vec<Option<ImageId>> = state.listed.iter().filter(matches).copied().collect();
        let from: usize = token.map_or(0, |token| token.parse().unwrap());
        let to = ids.len().min(from + state.page);
        Ok(Page {
            items: ids[from..to].to_vec(),
            next: (to < ids.len()).then(|| to.to_string()),
        })
    }

    async fn launch_permissions(&self, _: ImageId) -> Result<LaunchPermissions, CallError> {
        self.call("permissions".into()).await?;
        Ok(self.state.borrow().launch.clone())
    }

    async fn snapshots(
        &self,
        ids: &[&str],
        _: Option<&str>,
    ) -> Result<Page<(String, SnapshotFacts)>, CallError> {
        self.call(format!("snapshots {}", ids.join(" "))).await?;
        let plain = SnapshotFacts {
            encrypted: Some(false),
            key: None,
        };
        let items = ids.iter().map(|id| ((*id).to_owned(), plain.clone()));
        Ok(Page {
            items: items.collect(),
            next: None,
        })
    }

    async fn copy_permissions(&self, snapshot: &str) -> Result<CopyPermissions, CallError> {
        self.call(format!("copiers {snapshot}")).await?;
        Ok(self.state.borrow().copy[snapshot].clone())
    }

    async fn block_public_access(&self) -> Result<Option<bool>, CallError> {
        self.call("block".into()).await?;
        Ok(self.state.borrow().block)
    }
}

impl Ec2Write for Script<'_> {
    async fn change(&self, id: ImageId, change: &Change, dry_run: bool) -> Result<(), CallError> {
        let words = words(change);
        if dry_run {
            return self.call(format!("ask {words}")).await;
        }
        self.call(words).await?;
        self.state.borrow_mut().apply(id, change);
        Ok(())
    }

    async fn set_tag(&self, id: ImageId, key: &str, value: Option<&str>) -> Result<(), CallError> {
        self.call(format!("tag {key}={value:?}")).await?;
        if let Some(image) = self.state.borrow_mut().image(id) {
            match value {
                Some(value) => image.tags.insert(key.to_owned(), value.to_owned()),
                None => image.tags.remove(key),
            };
        }
        Ok(())
    }
}

/// A Parameter Store that gives two parameters a page.
#[derive(Debug, Default)]
pub(crate) struct Store {
    parameters: RefCell<Vec<StoredParameter>>,
    /// How long an answer takes.
    pub(crate) takes: Cell<Duration>,
    /// Every so many requests one fails with a fault that passes; with 0 none does.
    pub(crate) fault_every: Cell<usize>,
    requests: RefCell<Vec<String>>,
}

impl Store {
    /// A store with these parameters, changed one second after the other.
    pub(crate) fn of(parameters: &[(&str, &str)]) -> Self {
        let store = Self::default();
        for (name, value) in parameters {
            store.put(name, StoredValue::Text((*value).to_owned()));
        }
        store
    }

    pub(crate) fn put(&self, name: &str, value: StoredValue) {
        let mut parameters = self.parameters.borrow_mut();
        let second = i64::try_from(parameters.len()).unwrap();
        parameters.retain(|parameter| parameter.name != name);
        let modified = DateTime::from_timestamp(second, 0);
        parameters.push(StoredParameter {
            name: name.to_owned(),
            value,
            modified,
        });
    }

    /// The requests since the last question.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.take()
    }

    async fn answer(&self, request: String) -> Result<(), CallError> {
        self.requests.borrow_mut().push(request);
        let number = self.requests.borrow().len();
        sleep(self.takes.get()).await;
        if number.is_multiple_of(self.fault_every.get()) {
            let code = "InternalServerError";
            return Err(CallError::answered("GetParametersByPath", code, 500, ""));
        }
        Ok(())
    }
}

impl Parameters for &Store {
    async fn below(
        &self,
        path: &str,
        page: Option<&str>,
    ) -> Result<Page<StoredParameter>, CallError> {
        self.answer(format!("{path} {}", page.unwrap_or("first")))
            .await?;
        let from: usize = page.map_or(0, |page| page.parse().unwrap());
        let mut below = self.parameters.borrow().clone();
        below.retain(|parameter| parameter.name.starts_with(path));
        let next = (from + 2 < below.len()).then(|| (from + 2).to_string());
        let items = below.into_iter().skip(from).take(2).collect();
        Ok(Page { items, next })
    }

    async fn parameter(&self, name: &str) -> Result<StoredParameter, CallError> {
        self.answer(name.to_owned()).await?;
        let all = self.parameters.borrow();
        let found = all.iter().find(|parameter| parameter.name == name).cloned();
        found.ok_or_else(|| CallError::answered("GetParameter", "ParameterNotFound", 400, ""))
    }
}

/// No script looks at keys.
#[derive(Debug)]
pub(crate) struct NoKeys;

impl Keys for NoKeys {
    async fn key(&self, arn: &str) -> Result<Key, CallError> {
        panic!("no script reads {arn}")
    }

    async fn policy_names(&self, arn: &str, _: Option<&str>) -> Result<Page<String>, CallError> {
        panic!("no script reads {arn}")
    }

    async fn policy(&self, arn: &str, _: &str) -> Result<String, CallError> {
        panic!("no script reads {arn}")
    }

    async fn grantees(&self, arn: &str, _: Option<&str>) -> Result<Page<String>, CallError> {
        panic!("no script reads {arn}")
    }
}

/// An error of `DescribeImages` with this code.
pub(crate) fn error(code: &'static str) -> CallError {
    let status = if code == "InternalError" { 500 } else { 400 };
    CallError::answered("DescribeImages", code, status, "no")
}

/// How long it is since then, in seconds.
pub(crate) fn since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}
