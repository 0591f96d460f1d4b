//! Every refusal and every error, as people read them, collected in `tests/messages.txt`.
//!
//! Each message says what is wrong, with the value, and what to do next. After a change of one,
//! write the file anew and read the difference:
//!
//! ```text
//! UPDATE_MESSAGES=1 cargo test --no-default-features --test messages
//! ```
//!
//! Runs without the AWS SDK: EC2, KMS and Parameter Store are the small fakes below.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use ami_warden::{
    Answer, CallError, Described, Ec2, Ec2Write, InvocationError, Keys, Listing, LogSettings, Page,
    Parameters, RulebookError, Settings, TimeBudget, Warden, settings,
};
use ami_warden_core::{
    Change, CopyPermissions, DeprecationTime, EbsDevice, Grantee, Image, ImageId, ImageState, Key,
    LaunchPermissions, Malformed, PolicyFault, RefusalCode, RootDevice, Scan, Severity,
    SnapshotFacts, StoredParameter, StoredValue,
};
use chrono::{DateTime, Months, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::time::Instant;

const IMAGE: &str = "ami-0123456789abcdef0";
const SNAPSHOT: &str = "snap-0123456789abcdef0";
const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
const ELSEWHERE: &str = "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid";
/// The text of services here.
const SAYS: &str = "The service says why.";

/// Everything that one invocation meets.
struct Scene {
    settings: Vec<(&'static str, String)>,
    parameters: BTreeMap<String, StoredValue>,
    image: Option<Image>,
    /// EC2 describes the image in a way that cannot be read.
    unreadable: bool,
    launch_permissions: RefCell<LaunchPermissions>,
    snapshots: BTreeMap<String, SnapshotFacts>,
    block_public_access: bool,
    key: Option<Key>,
    /// Operations that fail, and the codes.
    faults: Vec<(&'static str, &'static str)>,
    /// Launch permissions stay as they are although a write succeeds.
    stale: bool,
    /// Each write is followed by another person's change of the description's tag.
    retagged: bool,
    /// The image is held after the first write.
    held: bool,
    writes: Cell<usize>,
}

/// An image without anything, and settings under which everything may be added.
fn scene() -> Scene {
    Scene {
        settings: vec![
            ("ALLOW_PUBLIC", "true".into()),
            ("ALLOWED_GRANTEES", "*".into()),
            ("ALLOWED_COPIERS", "*".into()),
            ("SHARED_TAGS", "release*".into()),
        ],
        parameters: BTreeMap::new(),
        image: Some(Image::new(
            IMAGE.parse().unwrap(),
            "111122223333".parse().unwrap(),
        )),
        unreadable: false,
        launch_permissions: RefCell::default(),
        snapshots: BTreeMap::new(),
        block_public_access: false,
        key: None,
        faults: Vec::new(),
        stale: false,
        retagged: false,
        held: false,
        writes: Cell::new(0),
    }
}

impl Scene {
    fn setting(mut self, name: &'static str, value: &str) -> Self {
        self.settings.retain(|(set, _)| *set != name);
        self.settings.push((name, value.to_owned()));
        self
    }

    fn tag(self, name: &str, value: &str) -> Self {
        self.any_tag(&format!("ami-warden:{name}"), value)
    }

    fn any_tag(self, key: &str, value: &str) -> Self {
        self.edit(|image| drop(image.tags.insert(key.to_owned(), value.to_owned())))
    }

    fn edit(mut self, edit: impl FnOnce(&mut Image)) -> Self {
        edit(self.image.as_mut().unwrap());
        self
    }

    fn device(self, snapshot: Option<&str>, encrypted: Option<bool>) -> Self {
        let device = EbsDevice {
            device: "/dev/xvda".into(),
            snapshot: snapshot.map(Into::into),
            encrypted,
        };
        self.edit(|image| image.devices.push(device))
    }

    fn snapshot(mut self, encrypted: Option<bool>, key: Option<&str>) -> Self {
        let facts = SnapshotFacts {
            encrypted,
            key: key.map(Into::into),
        };
        self.snapshots.insert(SNAPSHOT.to_owned(), facts);
        self
    }

    /// An encrypted snapshot with this key.
    fn key(self, aws_managed: bool, state: &str) -> Self {
        let key = Key {
            aws_managed,
            state: state.to_owned(),
            reach: None,
        };
        let scene = self
            .device(Some(SNAPSHOT), Some(true))
            .snapshot(Some(true), Some(KEY));
        Self {
            key: Some(key),
            ..scene
        }
    }

    fn granted(self, grantees: &str) -> Self {
        let grantees = grantees
            .split(' ')
            .map(|grantee| grantee.parse::<Grantee>().unwrap());
        self.launch_permissions.borrow_mut().extend(grantees);
        self
    }

    fn parameter(self, name: &str, value: &str) -> Self {
        self.stored(name, StoredValue::Text(value.to_owned()))
    }

    fn stored(mut self, name: &str, value: StoredValue) -> Self {
        self.parameters.insert(format!("/ami-warden/{name}"), value);
        self.setting("POLICY_PATH", "/ami-warden")
    }

    fn fault(mut self, operation: &'static str, code: &'static str) -> Self {
        self.faults.push((operation, code));
        self
    }

    fn check(&self, operation: &'static str) -> Result<(), CallError> {
        match self.faults.iter().find(|(faulty, ..)| *faulty == operation) {
            Some((_, code)) => Err(CallError::answered(operation, code, 400, SAYS)),
            None => Ok(()),
        }
    }

    /// The answer to the event.
    fn answer(self, event: &Value) -> Result<Answer, InvocationError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let value = |name: &str| {
                let set = self.settings.iter().find(|(set, _)| *set == name);
                set.map(|(_, value)| value.clone())
            };
            let settings = Settings::from_vars(value).unwrap();
            let parameters = Store {
                parameters: self.parameters.clone(),
            };
            let keys = OneKey {
                key: self.key.clone(),
                fault: self.check("DescribeKey").err(),
            };
            let time = TimeBudget::until(Instant::now() + Duration::from_secs(60));
            Warden::new(settings, self, keys, parameters, None)
                .handle(event, true, time)
                .await
        })
    }
}

impl Ec2 for Scene {
    async fn images(&self, _: &[ImageId], _: Option<&str>) -> Result<Page<Described>, CallError> {
        self.check("DescribeImages")?;
        let writes = self.writes.get();
        let describe = |image: &Image| {
            let mut image = image.clone();
            if self.unreadable {
                return Described::Unreadable(image.id, "its owner \"me\" is no account".into());
            }
            if self.retagged {
                let number = writes.to_string();
                image
                    .tags
                    .insert("ami-warden:description".to_owned(), number);
            }
            if self.held && writes > 0 {
                image
                    .tags
                    .insert("ami-warden:hold".to_owned(), "incident".to_owned());
            }
            Described::Image(Box::new(image))
        };
        Ok(Page {
            items: self.image.iter().map(describe).collect(),
            next: None,
        })
    }

    async fn image_ids(
        &self,
        _: &Listing,
        _: i32,
        _: Option<&str>,
    ) -> Result<Page<Option<ImageId>>, CallError> {
        self.check("DescribeImages")?;
        let mut items: Vec<_> = self.image.iter().map(|image| Some(image.id)).collect();
        if self.unreadable {
            items.push(None);
        }
        Ok(Page { items, next: None })
    }

    async fn launch_permissions(&self, _: ImageId) -> Result<LaunchPermissions, CallError> {
        // A fault with an asterisk concerns only the look after a write.
        if self.writes.get() > 0 {
            let operation = "DescribeImageAttribute";
            self.check("DescribeImageAttribute*")
                .map_err(|error| CallError { operation, ..error })?;
        }
        self.check("DescribeImageAttribute")?;
        Ok(self.launch_permissions.borrow().clone())
    }

    async fn snapshots(
        &self,
        _: &[&str],
        _: Option<&str>,
    ) -> Result<Page<(String, SnapshotFacts)>, CallError> {
        self.check("DescribeSnapshots")?;
        Ok(Page {
            items: self.snapshots.clone().into_iter().collect(),
            next: None,
        })
    }

    async fn copy_permissions(&self, _: &str) -> Result<CopyPermissions, CallError> {
        self.check("DescribeSnapshotAttribute")?;
        Ok(CopyPermissions::new())
    }

    async fn block_public_access(&self) -> Result<Option<bool>, CallError> {
        self.check("GetImageBlockPublicAccessState")?;
        Ok(Some(self.block_public_access))
    }
}

impl Ec2Write for Scene {
    async fn change(&self, _: ImageId, change: &Change, _: bool) -> Result<(), CallError> {
        self.check(change.operation())?;
        self.writes.set(self.writes.get() + 1);
        if let (Change::LaunchPermission(change), false) = (change, self.stale) {
            *self.launch_permissions.borrow_mut() = change.after.clone();
        }
        Ok(())
    }

    async fn set_tag(&self, _: ImageId, _: &str, _: Option<&str>) -> Result<(), CallError> {
        self.check("CreateTags")
    }
}

struct Store {
    parameters: BTreeMap<String, StoredValue>,
}

fn stored((name, value): (&String, &StoredValue)) -> StoredParameter {
    StoredParameter {
        name: name.clone(),
        value: value.clone(),
        modified: None,
    }
}

impl Parameters for Store {
    async fn below(&self, path: &str, _: Option<&str>) -> Result<Page<StoredParameter>, CallError> {
        let below = |(name, _): &(&String, &StoredValue)| name.starts_with(&format!("{path}/"));
        if self.parameters.is_empty() {
            return Err(denied("GetParametersByPath"));
        }
        Ok(Page {
            items: self.parameters.iter().filter(below).map(stored).collect(),
            next: None,
        })
    }

    async fn parameter(&self, name: &str) -> Result<StoredParameter, CallError> {
        let parameter = self.parameters.get_key_value(name).map(stored);
        parameter.ok_or_else(|| denied("GetParameter"))
    }
}

struct OneKey {
    key: Option<Key>,
    fault: Option<CallError>,
}

impl Keys for OneKey {
    async fn key(&self, _: &str) -> Result<Key, CallError> {
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(self.key.clone().unwrap()),
        }
    }

    async fn policy_names(&self, _: &str, _: Option<&str>) -> Result<Page<String>, CallError> {
        Ok(Page {
            items: vec!["default".to_owned()],
            next: None,
        })
    }

    async fn policy(&self, _: &str, _: &str) -> Result<String, CallError> {
        let owner = json!({ "AWS": "arn:aws:iam::111122223333:root" });
        let all =
            json!({ "Effect": "Allow", "Principal": owner, "Action": "kms:*", "Resource": "*" });
        Ok(json!({ "Version": "2012-10-17", "Statement": [all] }).to_string())
    }

    async fn grantees(&self, _: &str, _: Option<&str>) -> Result<Page<String>, CallError> {
        Ok(Page::default())
    }
}

fn denied(operation: &'static str) -> CallError {
    CallError::answered(operation, "AccessDeniedException", 400, SAYS)
}

/// The collection as it grows.
#[derive(Default)]
struct Collection {
    text: String,
}

impl Collection {
    fn section(&mut self, title: &str) {
        write!(self.text, "\n\n## {title}\n").unwrap();
    }

    fn entry(&mut self, cause: &str, messages: &[String]) {
        assert!(!messages.is_empty(), "nothing comes of {cause}");
        write!(self.text, "\n{cause}\n").unwrap();
        for message in messages {
            writeln!(self.text, "    {}", without_today(message)).unwrap();
        }
    }

    fn setting(&mut self, variables: &[(&str, &str)]) {
        let set = |name: &str| {
            let found = variables.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let assign = |(name, value): &(&str, &str)| format!("{name}={value}");
        let cause: Vec<String> = variables.iter().map(assign).collect();
        let error = match (Settings::from_vars(set), LogSettings::from_vars(set)) {
            (Err(error), _) => error.to_string(),
            (_, Err(error)) => error.to_string(),
            _ => panic!("{cause:?} is fine"),
        };
        self.entry(&cause.join(" "), &[error]);
    }

    /// An invocation that fails before anything is done.
    fn error(&mut self, kind: &str, cause: &str, scene: Scene, event: &Value) {
        let error = scene.answer(event).expect_err(cause);
        assert_eq!(error.kind(), kind, "{error}");
        self.entry(cause, &[error.to_string()]);
    }

    /// Bare JSON that is an error as a whole.
    fn request(&mut self, event: &Value) {
        self.error("InvalidRequest", &event.to_string(), scene(), event);
    }

    /// A request that is an error as a whole, for the image of all others.
    fn modify(&mut self, request: &Value) {
        let mut event = request.clone();
        event["ImageId"] = IMAGE.into();
        self.error("InvalidRequest", &request.to_string(), scene(), &event);
    }

    /// An event of EventBridge that is an error as a whole.
    fn event(&mut self, file: &str, path: &[&str], value: Value) {
        let name = format!("{}/events/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let mut event: Value =
            serde_json::from_str(&std::fs::read_to_string(name).unwrap()).unwrap();
        let (last, above) = path.split_last().unwrap();
        let object = above
            .iter()
            .fold(&mut event, |node, key| &mut node[*key])
            .as_object_mut()
            .unwrap();
        let cause = if value.is_null() {
            object.remove(*last);
            format!("{file} without {}", path.join("."))
        } else {
            object.insert((*last).to_owned(), value.clone());
            format!("{file} with {} = {value}", path.join("."))
        };
        self.error("InvalidEvent", &cause, scene(), &event);
    }

    /// The refusals of a look at the image, or of a request for it.
    fn refusal(&mut self, cause: &str, scene: Scene, event: &Value) {
        let answer = json(&scene.answer(event).unwrap());
        let mut messages = Vec::new();
        for refusal in each(&answer, "/Refusals") {
            let [code, resource, message] =
                ["Code", "Resource", "Message"].map(|key| refusal[key].as_str().unwrap());
            assert!(message.ends_with('.'), "a sentence ends: {message}");
            messages.push(format!("{code} [{resource}] {message}"));
        }
        self.entry(cause, &messages);
    }

    fn look(&mut self, cause: &str, scene: Scene) {
        self.refusal(cause, scene, &json!({ "ImageId": IMAGE }));
    }

    /// A tag that is refused.
    fn tag(&mut self, name: &str, value: &str) {
        self.look(
            &format!("ami-warden:{name} = {value}"),
            scene().tag(name, value),
        );
    }

    /// An image that fails.
    fn failure(&mut self, cause: &str, scene: Scene, event: &Value) {
        let Err(InvocationError::ImagesFailed(answer)) = scene.answer(event) else {
            panic!("{cause} does not fail")
        };
        let answer = json(&answer);
        let mut messages = Vec::new();
        for image in answer["Images"].as_array().unwrap() {
            assert_eq!(image["Outcome"], "failed");
            let [operation, code, message] =
                ["Operation", "Code", "Message"].map(|key| image["Error"][key].as_str().unwrap());
            messages.push(format!("{operation} failed with {code}: {message}"));
        }
        self.entry(cause, &messages);
    }

    /// The notes of an answer about the image.
    fn note(&mut self, cause: &str, scene: Scene) {
        let answer = json(&scene.answer(&json!({ "ImageId": IMAGE })).unwrap());
        let notes: Vec<String> = each(&answer, "/Notes")
            .map(|note| note.as_str().unwrap().to_owned())
            .collect();
        self.entry(cause, &notes);
    }
}

/// The message with a date in it that moves on with the calendar, ten years ahead, masked.
fn without_today(message: &str) -> String {
    const LATEST: &str = "the latest possible time is ";
    let Some((start, rest)) = message.split_once(LATEST) else {
        return message.to_owned();
    };
    let (time, end) = rest.split_at("2036-11-21T12:00:00Z".len());
    let ten_years = Utc::now() + Months::new(12 * 10) - TimeDelta::hours(1);
    match time.parse::<DateTime<Utc>>() {
        Ok(parsed) if parsed > ten_years => format!("{start}{LATEST}TEN-YEARS-FROM-NOW{end}"),
        _ => message.to_owned(),
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.to_string()).unwrap()
}

/// The items of this list of every image.
fn each<'a>(answer: &'a Value, list: &'a str) -> impl Iterator<Item = &'a Value> {
    let images = answer["Images"].as_array().unwrap().iter();
    images
        .filter_map(move |image| image.pointer(list))
        .flat_map(|list| list.as_array().unwrap())
}

fn bad_settings(all: &mut Collection) {
    all.section("Settings: the function does not start");
    let values = values();
    for setting in settings::ALL {
        for refused in values[setting.variable]["refused"].as_array().unwrap() {
            all.setting(&[(setting.variable, refused[0].as_str().unwrap())]);
        }
    }
    for (variable, value) in [
        ("AWS_LAMBDA_LOG_LEVEL", "LOUD"),
        ("AWS_LAMBDA_LOG_FORMAT", "XML"),
    ] {
        all.setting(&[(variable, value)]);
    }
    all.setting(&[
        ("ALLOWED_GRANTEES", "*"),
        ("ALLOWED_GRANTEES_PARAMETER", "/security/amis"),
    ]);
    all.setting(&[
        ("POLICY_PATH", "/ami-warden"),
        ("ALLOWED_GRANTEES_PARAMETER", "/ami-warden/allowed"),
    ]);
}

fn events(all: &mut Collection) {
    const ITEMS: [&str; 4] = ["detail", "requestParameters", "resourcesSet", "items"];
    all.section("Events: InvalidEvent");
    all.event("ami-available", &["detail", "ImageId"], json!(null));
    all.event("ami-available", &["detail", "ImageId"], json!("ami-1"));
    all.event("ami-available", &["detail", "State"], json!(4.0));
    all.event("ami-available", &["detail"], json!(null));
    all.event("ami-available", &["source"], json!(null));
    all.event(
        "call-create-image",
        &["detail", "responseElements", "imageId"],
        json!(null),
    );
    all.event("call-create-tags", &ITEMS, json!({}));
    all.event(
        "call-create-tags",
        &ITEMS,
        json!([{ "resourceId": "ami-x" }]),
    );
    let omitted = json!({ "omitted": true });
    all.event(
        "call-create-tags",
        &["detail", "requestParameters"],
        omitted,
    );
    all.event("tag-changed", &["resources"], json!([]));
    let golden = json!(["arn:aws:ec2:us-east-1::image/golden"]);
    all.event("tag-changed", &["resources"], golden);
    all.event("custom-look", &["detail"], json!({}));
    all.event(
        "custom-look",
        &["detail"],
        json!({ "ImageId": IMAGE, "Force": true }),
    );
    all.event(
        "custom-look",
        &["detail"],
        json!({ "ImageId": IMAGE, "LaunchPermission": {} }),
    );
}

fn requests(all: &mut Collection) {
    all.section("By hand, looks and sweeps: InvalidRequest");
    for event in [
        json!(null),
        json!([]),
        json!({}),
        json!({ "Records": [] }),
        json!({ "ImageId": "golden" }),
        json!({ "ImageId": [IMAGE] }),
        json!({ "ImageIds": IMAGE }),
        json!({ "ImageId": IMAGE, "ImageIds": [IMAGE] }),
        json!({ "ImageIds": [IMAGE], "Description": { "Value": "d" } }),
        json!({ "Sweep": true }),
        json!({ "Sweep": { "Before": IMAGE } }),
        json!({ "Sweep": {}, "DryRun": "yes" }),
    ] {
        all.request(&event);
    }

    all.section("By hand, requests: InvalidRequest (each with an ImageId, but for the first)");
    all.request(&json!({ "Description": { "Value": "d" } }));
    let everyone = json!([{ "Group": "all" }]);
    let share = json!({ "Add": everyone });
    for request in [
        json!({ "Description": { "Value": "" } }),
        json!({ "Attribute": "launchPermission" }),
        json!({ "Attribute": "description" }),
        json!({ "Attribute": "kernel", "Value": "d" }),
        json!({ "Attribute": "description", "LaunchPermission": share }),
        json!({ "Description": { "Value": "d" }, "LaunchPermission": share }),
        json!({ "Description": { "Value": "d" }, "Value": "d" }),
        json!({ "LaunchPermission": share, "UserIds": ["444455556666"] }),
        json!({ "Value": "d" }),
        json!({ "Attribute": "description", "Value": "d", "OperationType": "add" }),
        json!({ "Attribute": "description", "OperationType": "add", "UserIds": ["444455556666"] }),
        json!({ "OperationType": "add" }),
        json!({ "UserIds": ["444455556666"] }),
        json!({ "OperationType": "reset", "UserIds": ["444455556666"] }),
        json!({ "OperationType": "add", "UserIds": [444_455_556_666_u64] }),
        json!({ "OperationType": "add", "UserIds": ["4444-5555-6666"] }),
        json!({ "OperationType": "add", "UserGroups": ["everyone"] }),
        json!({ "OperationType": "add", "OrganizationArns": ["o-exampleorgid"] }),
        json!({ "OperationType": "add", "OrganizationArns": [ELSEWHERE] }),
        json!({ "OperationType": "add", "OrganizationalUnitArns": ["ou-ab12-cdef3456"] }),
        json!({ "LaunchPermission": [{ "Group": "all" }] }),
        json!({ "LaunchPermission": { "Add": [{ "Group": "all", "UserId": "444455556666" }] } }),
        json!({ "LaunchPermission": { "Add": [{ "Account": "444455556666" }] } }),
        json!({ "LaunchPermission": { "Add": everyone, "Remove": everyone } }),
        json!({ "Description": "d" }),
        json!({ "Description": { "Value": " " } }),
        json!({ "Description": { "Value": "caf\u{e9}" } }),
        json!({ "Description": { "Value": "d".repeat(256) } }),
        json!({ "ImdsSupport": { "Value": "2.0" } }),
        json!({ "Description": { "Value": "d" }, "ClientToken": "x" }),
        json!({ "Description": { "Value": "d" }, "DryRun": "true" }),
    ] {
        all.modify(&request);
    }
}

fn policies(all: &mut Collection) {
    all.section("Policy and allow-list: InvalidPolicy");
    let look = json!({ "ImageId": IMAGE });
    for rules in [
        "",
        "{}",
        "null",
        r#"[{"Match": {}}] x"#,
        r#"[{"Name": "x"}]"#,
        r#"[{"Match": {}, "Match": {}}]"#,
        r#"[{"Match": {}, "Launch": "all"}]"#,
        r#"[{"Match": []}]"#,
        r#"[{"Match": null}]"#,
        r#"[{"Match": {"Name": []}}]"#,
        r#"[{"Match": {"Tags": {"os": 1}}}]"#,
        r#"[{"Match": {"Tags": {"os": null}}}]"#,
        r#"[{"Match": {"Tags": {"ec2:SharedTag/release": "stable"}}}]"#,
        r#"[{"Match": {}, "LaunchPermission": "bob"}]"#,
        r#"[{"Match": {}, "LaunchPermission": "= -all"}]"#,
        r#"[{"Match": {}, "LaunchPermission": null}]"#,
        r#"[{"Match": {}, "CopyPermission": "= 444455556666"}]"#,
        r#"[{"Match": {}, "Description": "{Name"}]"#,
        r#"[{"Match": {}, "Description": "{tag:ec2:SharedTag/release}"}]"#,
        r#"[{"Match": {}, "ImdsSupport": "v3.0"}]"#,
        r#"[{"Match": {}, "DeprecateAt": "soon"}]"#,
        r#"[{"Match": {}, "SharedTags": "release"}]"#,
        r#"[{"Match": {}, "SharedTags": {"": "x"}}]"#,
        r#"[{"Match": {}, "SharedTags": {"release": "{"}}]"#,
        r#"[{"Match": {"Tags": {"os": ["ubuntu-*", null]}}}]"#,
        r#"[{"Match": {}"#,
        r#"[{"Match": {},}]"#,
        r#"[{"Match": {} "Name": "x"}]"#,
        "[{'Match': {}}]",
        "release = stable",
    ] {
        let scene = scene().parameter("rules", rules);
        all.error("InvalidPolicy", &format!("rules: {rules}"), scene, &look);
    }
    let more = scene()
        .parameter("rules", "[]")
        .parameter("rules/team", "[{}]");
    all.error("InvalidPolicy", "rules/team: [{}]", more, &look);
    let secret = scene().stored("rules", StoredValue::Secure);
    all.error("InvalidPolicy", "rules in a SecureString", secret, &look);
    let unreadable = scene().setting("POLICY_PATH", "/ami-warden");
    all.error(
        "InvalidPolicy",
        "a policy that may not be read",
        unreadable,
        &look,
    );
    let listed = || {
        let scene = scene().setting("ALLOWED_GRANTEES", "");
        scene.setting("ALLOWED_GRANTEES_PARAMETER", "/security/amis")
    };
    all.error(
        "InvalidPolicy",
        "an allow-list that may not be read",
        listed(),
        &look,
    );
    for (cause, value) in [
        (
            "an allow-list with a group",
            StoredValue::Text("@engineering".into()),
        ),
        (
            "an allow-list with a mistake",
            StoredValue::Text("444455556666\u{a0}o-x".into()),
        ),
        ("an allow-list in a SecureString", StoredValue::Secure),
    ] {
        let mut scene = listed();
        scene.parameters.insert("/security/amis".into(), value);
        all.error("InvalidPolicy", cause, scene, &look);
    }
}

fn grantee_directives(all: &mut Collection) {
    all.section("Directives that are not possible");
    for value in [
        "bob",
        "44445555666",
        "4444-5555-6666",
        "o-Short",
        "ou-short",
        "o-exampleorgid",
        "ou-ab12-cdef3456",
        "@",
        "@engineering",
        "-",
        "444455556666 =",
        "= -444455556666",
        "--444455556666",
        "-bob",
        "444455556666 -444455556666",
        ELSEWHERE,
        "arn:aws:organizations::111122223333:root/o-exampleorgid/r-ab12",
        "arn:aws:organizations::111122223333:organization/exampleorgid",
        "arn:aws:organizations::111122223333:ou/o-exampleorgid",
    ] {
        all.tag("launch-permission", value);
    }
    let other = scene().setting("ORGANIZATION_ARN", ORGANIZATION);
    all.look(
        "ami-warden:launch-permission = o-anotherorgid, where ORGANIZATION_ARN is o-exampleorgid",
        other.tag("launch-permission", "o-anotherorgid"),
    );
    for value in ["= 444455556666", "all", ORGANIZATION, "bob"] {
        all.tag("copy-permission", value);
    }
    for (cause, groups) in [
        (
            "a group that does not exist",
            vec![("groups/other", "444455556666")],
        ),
        (
            "a group with a mistake",
            vec![("groups/engineering", "444455556666,bob")],
        ),
        (
            "a group with a blank that cannot be seen",
            vec![("groups/engineering", "bob\u{a0}")],
        ),
        (
            "a group without an item",
            vec![("groups/engineering", " , ")],
        ),
        (
            "a group that names one that does not exist",
            vec![("groups/engineering", "@gone")],
        ),
        (
            "groups in a circle",
            vec![
                ("groups/engineering", "@ops"),
                ("groups/ops", "@engineering"),
            ],
        ),
        (
            "a group that names a broken one",
            vec![("groups/engineering", "@ops"), ("groups/ops", "bob")],
        ),
        (
            "a group with a short form",
            vec![("groups/engineering", "o-exampleorgid")],
        ),
    ] {
        let mut scene = scene();
        for (name, value) in groups {
            scene = scene.parameter(name, value);
        }
        let scene = scene.tag("launch-permission", "@engineering");
        all.look(&format!("@engineering: {cause}"), scene);
    }
    let secret = scene().stored("groups/engineering", StoredValue::Secure);
    let secret = secret.tag("launch-permission", "@engineering");
    all.look("@engineering: a group in a SecureString", secret);
}

fn other_directives(all: &mut Collection) {
    for value in [
        "{Nme}",
        "{Name}",
        "{tag:version}",
        "{tag:ec2:SharedTag/release}",
        "a { b",
        "a } b",
        " ",
        "caf\u{e9}",
    ] {
        all.tag("description", value);
    }
    let long = scene().tag("description", &"d".repeat(256));
    all.look("ami-warden:description of 256 characters", long);
    all.tag("imds-support", "V2.0");
    all.tag("imds", "v2.0");
    all.tag("Hold", "incident 42");
    all.tag("shared-tag:", "stable");
    all.tag("shared-tag:release", "{tag:version}");
    let long = scene().tag("shared-tag:release", &"d".repeat(257));
    all.look("ami-warden:shared-tag:release of 257 characters", long);
    let long_key = format!("shared-tag:{}", "k".repeat(115));
    all.look(
        "a shared tag whose key has 115 characters",
        scene().tag(&long_key, "x"),
    );
    for value in [
        "soon",
        "2027-13-01",
        "180",
        "2020-01-01",
        "99999d",
        "2099-01-01",
    ] {
        let created = |image: &mut Image| {
            image.creation_date = Some("2026-11-21T12:00:00.000Z".to_owned());
        };
        let scene = scene().edit(created).tag("deprecate-at", value);
        all.look(&format!("ami-warden:deprecate-at = {value}"), scene);
    }
    let undated = scene().edit(|image| image.creation_date = Some("yesterday".to_owned()));
    all.look(
        "ami-warden:deprecate-at = 180d, and a creation date that cannot be read",
        undated.tag("deprecate-at", "180d"),
    );
    let public = || {
        let created = |image: &mut Image| {
            image.creation_date = Some("2026-11-21T12:00:00.000Z".to_owned());
            image.deprecation_time = DeprecationTime::read("2028-11-21T12:00:00.000Z");
            image.public = true;
        };
        scene().edit(created)
    };
    for value in ["-", "2028-12-01", "2030-01-01"] {
        let cause = format!("ami-warden:deprecate-at = {value}, and a public image");
        all.look(&cause, public().tag("deprecate-at", value));
    }
    let rule = r#"[{"Name": "golden", "Match": {}, "Description": "{Name}"}]"#;
    all.look(&format!("rules: {rule}"), scene().parameter("rules", rule));
}

fn guardrails(all: &mut Collection) {
    all.section("Guardrails");
    let public = || scene().tag("launch-permission", "all");
    all.look(
        "all, where ALLOW_PUBLIC is not true",
        public().setting("ALLOW_PUBLIC", ""),
    );
    all.look(
        "all, and an empty encrypted volume",
        public().device(None, Some(true)),
    );
    let snapshot = || public().device(Some(SNAPSHOT), None);
    all.look(
        "all, and an encrypted snapshot",
        snapshot().snapshot(Some(true), None),
    );
    all.look("all, and a snapshot that cannot be seen", snapshot());
    all.look(
        "all, and a snapshot of which EC2 says nothing",
        snapshot().snapshot(None, None),
    );
    let unclear = |image: &mut Image| image.unclear_devices.push("/dev/sdx".to_owned());
    all.look(
        "all, and a device of which EC2 says nothing",
        public().edit(unclear),
    );
    let root = |image: &mut Image| {
        image.root_device = RootDevice {
            is_ebs: true,
            name: Some("/dev/xvda".to_owned()),
        };
    };
    all.look(
        "all, and a root device that no mapping shows",
        public().edit(root),
    );
    let product = |image: &mut Image| image.product_codes.push("774F4FF8".into());
    all.look("all, and a product code", public().edit(product));
    let watermark = |image: &mut Image| image.watermarks.push("444455556666:golden".into());
    all.look("all, and a watermark", public().edit(watermark));
    let blocked = Scene {
        block_public_access: true,
        ..public()
    };
    all.look("all, and block public access", blocked);
    for (cause, time) in [
        ("all, and a deprecated image", "2026-03-25T00:00:00.000Z"),
        ("all, and a deprecation time that cannot be read", "soon"),
    ] {
        let scene = public().edit(|image| image.deprecation_time = DeprecationTime::read(time));
        all.look(cause, scene);
    }
    let shared = || scene().tag("launch-permission", "444455556666");
    all.look(
        "an image of AWS Backup",
        shared().any_tag("aws:backup:source-resource", "i-1"),
    );
    all.look(
        "an image of Data Lifecycle Manager",
        shared().any_tag("aws:dlm:lifecycle-policy-id", "policy-1"),
    );
    let limited = || shared().setting("MAX_FINDING_SEVERITY", "medium");
    let scanned = |scan| limited().edit(|image| image.scan = scan);
    all.look(
        "a scan with a high finding",
        scanned(Scan::Scanned(Severity::High)),
    );
    all.look("a scan that cannot be read", scanned(Scan::Unreadable));
    all.look("no scan", limited());
    let checked = || shared().setting("KEY_CHECK", "refuse");
    all.look("an AWS-managed key", checked().key(true, "Enabled"));
    all.look(
        "a key that is pending deletion",
        checked().key(false, "PendingDeletion"),
    );
    all.look("a key that reaches nobody", checked().key(false, "Enabled"));
    let two = scene().setting("KEY_CHECK", "refuse").key(false, "Enabled");
    all.look(
        "a key that reaches nobody, and all",
        two.tag("launch-permission", "all"),
    );
    all.look(
        "an account that is not allowed",
        shared().setting("ALLOWED_GRANTEES", ""),
    );
    let forbidden = shared().setting("ALLOWED_GRANTEES", "* -444455556666");
    all.look("an account that the allow-list forbids", forbidden);
    let copier = scene()
        .device(Some(SNAPSHOT), Some(false))
        .snapshot(Some(false), None);
    let copier = copier
        .setting("ALLOWED_COPIERS", "")
        .tag("copy-permission", "444455556666");
    all.look("a copier that is not allowed", copier);
    all.tag("shared-tag:owner", "team");
    let two = scene()
        .setting("MAX_REMOVALS", "1")
        .granted("444455556666 222233334444");
    all.look(
        "two removals, where MAX_REMOVALS is 1",
        two.tag("launch-permission", "="),
    );
    let codes = json!({ "ImageId": IMAGE, "ProductCodes": ["774F4FF8"] });
    all.refusal("a request for a product code", scene(), &codes);
    for code in ["ResourceLimitExceeded", "SomethingNew"] {
        let refused = public().fault("ModifyImageAttribute", code);
        all.look(&format!("EC2 rejects a change with {code}"), refused);
    }
}

fn failures(all: &mut Collection) {
    all.section("Images that fail: ImagesFailed");
    let look = json!({ "ImageId": IMAGE });
    let shared = || scene().tag("launch-permission", "444455556666");
    let pending = || scene().edit(|image| image.state = ImageState::Pending);
    let event = |name: &str| {
        let path = format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let request = json!({ "ImageId": IMAGE, "Description": { "Value": "d" } });
    all.failure("a request for a pending image", pending(), &request);
    let absent = Scene {
        image: None,
        ..scene()
    };
    all.failure(
        "an event about an image that does not appear",
        absent,
        &event("ami-available"),
    );
    let stays = "an event about an image that stays pending";
    all.failure(stays, pending(), &event("ami-available"));
    let unreadable = Scene {
        unreadable: true,
        ..scene()
    };
    all.failure(
        "an image that EC2 describes in an odd way",
        unreadable,
        &look,
    );
    for (operation, code) in [
        ("DescribeImages", "UnauthorizedOperation"),
        ("DescribeImageAttribute", "AuthFailure"),
        ("ModifyImageAttribute", "UnauthorizedOperation"),
        ("ModifyImageAttribute", "InternalError"),
        ("ModifyImageAttribute", "InvalidAMIID.Unavailable"),
    ] {
        let cause = format!("{operation} fails with {code}");
        all.failure(&cause, shared().fault(operation, code), &look);
    }
    let retagged = Scene {
        retagged: true,
        ..scene()
    };
    all.failure(
        "an image whose tags change after each write",
        retagged,
        &look,
    );
    let timeout = CallError::timeout("DescribeImages").to_string();
    all.entry(
        "a call that takes longer than the invocation has",
        &[timeout],
    );

    all.section("A sweep that cannot list the images: SweepFailed");
    let denied = scene().fault("DescribeImages", "UnauthorizedOperation");
    let cause = "DescribeImages fails with UnauthorizedOperation";
    all.error("SweepFailed", cause, denied, &json!({ "Sweep": {} }));
}

fn notes(all: &mut Collection) {
    all.section("Notes");
    let shared = || scene().tag("launch-permission", "444455556666");
    all.note(
        "an image is made public",
        scene().tag("launch-permission", "all"),
    );
    let stale = Scene {
        stale: true,
        ..shared()
    };
    all.note("launch permissions are read back and not as planned", stale);
    let unread = shared().fault("DescribeImageAttribute*", "UnauthorizedOperation");
    all.note("launch permissions cannot be read back", unread);
    all.note(
        "the image is held after a write",
        Scene {
            held: true,
            ..shared()
        },
    );
    all.note("an encrypted snapshot", shared().key(false, "Enabled"));
    let hidden = shared()
        .device(Some(SNAPSHOT), Some(true))
        .snapshot(Some(true), None);
    all.note("an encrypted snapshot whose key EC2 does not show", hidden);
    let warned = || shared().setting("KEY_CHECK", "warn");
    all.note(
        "a key that reaches nobody, where KEY_CHECK is warn",
        warned().key(false, "Enabled"),
    );
    let unknown = warned()
        .key(false, "Enabled")
        .fault("DescribeKey", "AccessDeniedException");
    all.note("a key that cannot be looked at", unknown);
    let removed = scene().granted(&format!("444455556666 all {ORGANIZATION}"));
    all.note(
        "an account is removed, and others stay",
        removed.tag("launch-permission", "-444455556666"),
    );
    let many: Vec<String> = (0..1001).map(|number| format!("{number:012}")).collect();
    let many = scene()
        .granted(&many.join(" "))
        .tag("launch-permission", "444455556666");
    all.note("more than 1,000 permissions", many);
    let failed = shared().tag("description", "d").tag("imds-support", "v2.0");
    let failed = failed.fault("ModifyImageAttribute", "OperationNotPermitted");
    all.note("a write before the grant is rejected", failed);

    all.section("Notes of a sweep");
    let odd = Scene {
        unreadable: true,
        image: None,
        ..scene()
    };
    let answer = json(&odd.answer(&json!({ "Sweep": {} })).unwrap());
    let notes = answer["Notes"].as_array().unwrap();
    let notes: Vec<String> = notes
        .iter()
        .map(|note| note.as_str().unwrap().to_owned())
        .collect();
    all.entry("an image without an id that can be read", &notes);
}

fn collect() -> String {
    let mut all = Collection {
        text: "# Every refusal and every error, as people read them\n\n\
               Written by tests/messages.rs \
               (UPDATE_MESSAGES=1 cargo test --no-default-features --test messages).\n\
               A cause, and below it, indented, the messages; refusals with their code and [the \
               resource that they name]."
            .into(),
    };
    for collect in [
        bad_settings,
        events,
        requests,
        policies,
        grantee_directives,
        other_directives,
        guardrails,
        failures,
        notes,
    ] {
        collect(&mut all);
    }
    all.text
}

fn path() -> String {
    format!("{}/tests/messages.txt", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_message_is_as_it_was_read_last() {
    let now = collect();
    if std::env::var_os("UPDATE_MESSAGES").is_some() {
        std::fs::write(path(), &now).unwrap();
    }
    let read = std::fs::read_to_string(path()).unwrap();
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (read.lines().collect(), now.lines().collect());
    let gone: Vec<_> = old.difference(&new).collect();
    let come: Vec<_> = new.difference(&old).collect();
    assert!(
        now == read,
        "tests/messages.txt has {gone:#?}, and the code gives {come:#?}; UPDATE_MESSAGES=1 writes \
         it anew"
    );
}

#[test]
fn every_code_of_a_refusal_is_among_the_messages() {
    let messages = collect();
    let mut missing = Vec::new();
    for code in RefusalCode::ALL {
        if !messages.contains(&format!("\n    {} [", code.as_str())) {
            missing.push(code.as_str());
        }
    }
    assert!(missing.is_empty(), "no cause here gives {missing:?}");
}

/// The values of settings, of which the first accepted one is not the default.
fn values() -> Value {
    serde_json::from_str(include_str!("../deploy/tests/settings.json")).unwrap()
}

/// What becomes of an image that every setting concerns, with this directive and these settings.
fn end(grantees: &str, settings: &[(&'static str, String)]) -> String {
    let mut scene = scene()
        .tag("launch-permission", grantees)
        .tag("copy-permission", "222233334444")
        .tag("shared-tag:release", "stable")
        .any_tag("aws:backup:source-resource", "i-1")
        .edit(|image| image.scan = Scan::Scanned(Severity::High))
        .key(false, "Enabled")
        .granted("333344445555")
        .parameter("rules", r#"[{"Match": {}, "Description": "golden"}]"#)
        .fault("CreateTags", "UnauthorizedOperation");
    let list = StoredValue::Text("444455556666".into());
    scene.parameters.insert("/security/amis".into(), list);
    scene.settings = settings.to_vec();
    format!("{:?}", scene.answer(&json!({ "ImageId": IMAGE })))
}

#[test]
fn each_setting_alone_changes_what_becomes_of_an_image() {
    let values = values();
    let first = |name: &'static str| {
        let value = values[name]["accepted"][0].as_str().unwrap();
        (name, value.to_owned())
    };
    let strict = vec![first(settings::ORGANIZATION_ARN)];
    let mut open = vec![
        first(settings::ORGANIZATION_ARN),
        (settings::ALLOWED_GRANTEES, "*".to_owned()),
    ];
    for setting in settings::ALL {
        let name = setting.variable;
        if values[name]["default"] == "false" && name != settings::DRY_RUN {
            open.push((name, "true".to_owned()));
        }
    }
    let bases = [
        ("all 444455556666 o-exampleorgid -333344445555", strict),
        ("444455556666", open),
    ];
    let mut without_effect = Vec::new();
    for setting in settings::ALL {
        let name = setting.variable;
        let mut has_effect = false;
        for (grantees, base) in &bases {
            let mut base = base.clone();
            // The two allow-lists exclude each other.
            let is_list = name == settings::ALLOWED_GRANTEES_PARAMETER;
            base.retain(|(set, _)| {
                *set != name && !(is_list && *set == settings::ALLOWED_GRANTEES)
            });
            let before = end(grantees, &base);
            base.push(first(name));
            has_effect |= end(grantees, &base) != before;
        }
        if !has_effect {
            without_effect.push(name);
        }
    }
    assert!(without_effect.is_empty(), "{without_effect:?}");
}

#[test]
fn every_kind_of_error_is_among_the_messages() {
    let messages = collect();
    // Does not compile when a kind is missing here.
    let listed = |error: &InvocationError| match error {
        InvocationError::InvalidEvent(_) => "Events: InvalidEvent",
        InvocationError::NotJson(_) | InvocationError::InvalidRequest(_) => {
            "requests: InvalidRequest"
        }
        InvocationError::InvalidPolicy(_) => "allow-list: InvalidPolicy",
        InvocationError::ImagesFailed(_) => "fail: ImagesFailed",
        InvocationError::SweepFailed(_) => "the images: SweepFailed",
    };
    let answer = scene().answer(&json!({ "ImageId": IMAGE })).unwrap();
    let malformed = Malformed {
        path: String::new(),
        message: String::new(),
    };
    let policy = RulebookError::new("", PolicyFault::Secure);
    let mut missing = Vec::new();
    for error in [
        InvocationError::InvalidEvent(malformed.clone()),
        InvocationError::InvalidRequest(malformed),
        InvocationError::InvalidPolicy(policy),
        InvocationError::ImagesFailed(Box::new(answer)),
        InvocationError::SweepFailed(CallError::timeout("DescribeImages")),
    ] {
        if !messages.contains(listed(&error)) {
            missing.push(error.kind());
        }
    }
    assert!(missing.is_empty(), "no section is of {missing:?}");
}
