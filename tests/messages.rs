//! Every refusal and every error, as people read them, collected in `tests/messages.txt`.
//!
//! What each message has to say: what is wrong, with the value, and what to do next. After a change of one, write the file anew and
//! read the difference:
//!
//! ```text
//! UPDATE_MESSAGES=1 cargo test --no-default-features --test messages
//! ```
//!
//! Runs without the AWS SDK: EC2 and Parameter Store are the small fakes below, behind the ports that the function uses.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt::Write,
    time::Duration,
};

use ami_warden::{
    guardrail::Code,
    image::{EbsDevice, Grantee, Image, ImageId, LaunchPermissions, State},
    invocation::{Error, Function, Time},
    log::LogSettings,
    outcome::{Answer, Outcome},
    plan::Change,
    ports::{CallError, Ec2, Ec2Write, Listing, Page, Parameters},
    settings::Settings,
};
use serde_json::{Value, json};
use tokio::time::Instant;

const IMAGE: &str = "ami-0123456789abcdef0";
const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
/// What services say here.
const SAYS: &str = "(What the service says to it.)";
const ELSEWHERE: &str = "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid";

/// What one invocation meets.
struct Scene {
    settings: Vec<(&'static str, String)>,
    parameters: BTreeMap<String, String>,
    image: Option<Image>,
    launch_permissions: RefCell<LaunchPermissions>,
    snapshots: BTreeMap<String, Option<bool>>,
    block_public_access: bool,
    /// What these operations fail with.
    faults: Vec<(&'static str, &'static str)>,
    /// Whether launch permissions stay as they are although a write succeeds.
    stale: bool,
    writes: Cell<usize>,
}

/// An image without anything, and settings under which everything may be added.
fn scene() -> Scene {
    Scene {
        settings: vec![("ALLOW_PUBLIC", "true".into()), ("ALLOWED_GRANTEES", "*".into())],
        parameters: BTreeMap::new(),
        image: Some(Image::new(IMAGE.parse().unwrap(), "111122223333")),
        launch_permissions: RefCell::default(),
        snapshots: BTreeMap::new(),
        block_public_access: false,
        faults: Vec::new(),
        stale: false,
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
        self.edit(|image| {
            image.tags.insert(format!("ami-warden:{name}"), value.to_owned());
        })
    }

    fn edit(mut self, edit: impl FnOnce(&mut Image)) -> Self {
        edit(self.image.as_mut().unwrap());
        self
    }

    fn device(mut self, snapshot: Option<&str>, mapping: Option<bool>, seen: Option<Option<bool>>) -> Self {
        self.snapshots.extend(snapshot.zip(seen).map(|(id, encrypted)| (id.to_owned(), encrypted)));
        let device = EbsDevice { device: "/dev/xvda".into(), snapshot: snapshot.map(Into::into), encrypted: mapping };
        self.edit(|image| image.devices.push(device))
    }

    fn granted(self, grantees: &str) -> Self {
        self.launch_permissions.borrow_mut().extend(grantees.split(' ').map(|grantee| grantee.parse::<Grantee>().unwrap()));
        self
    }

    fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.insert(format!("/ami-warden/{name}"), value.to_owned());
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

    /// What comes of the event.
    fn answer(self, event: &Value) -> Result<Answer, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let settings = self.settings.clone();
            let settings =
                Settings::from_vars(|name| settings.iter().find(|(set, _)| *set == name).map(|(_, value)| value.clone()))
                    .unwrap();
            let parameters = Store { parameters: self.parameters.clone() };
            let time = Time::until(Instant::now() + Duration::from_secs(60));
            let now = "2026-11-21T12:00:00Z".parse().unwrap();
            Function::new(settings, self, parameters).handle(event, now, time).await
        })
    }
}

impl Ec2 for Scene {
    async fn images(&self, _: &[ImageId]) -> Result<Vec<Image>, CallError> {
        self.check("DescribeImages")?;
        Ok(self.image.iter().cloned().collect())
    }

    async fn image_ids(&self, _: &Listing, _: Option<String>) -> Result<Page, CallError> {
        self.check("DescribeImages")?;
        Ok(Page { ids: self.image.iter().map(|image| image.id).collect(), next: None })
    }

    async fn launch_permissions(&self, _: ImageId) -> Result<LaunchPermissions, CallError> {
        // A fault with an asterisk concerns only what is read back after a write.
        if self.writes.get() > 0 {
            self.check("DescribeImageAttribute*").map_err(|error| CallError { operation: "DescribeImageAttribute", ..error })?;
        }
        self.check("DescribeImageAttribute")?;
        Ok(self.launch_permissions.borrow().clone())
    }

    async fn snapshots(&self, _: &[&str]) -> Result<BTreeMap<String, Option<bool>>, CallError> {
        self.check("DescribeSnapshots")?;
        Ok(self.snapshots.clone())
    }

    async fn block_public_access(&self) -> Result<Option<bool>, CallError> {
        self.check("GetImageBlockPublicAccessState")?;
        Ok(Some(self.block_public_access))
    }
}

impl Ec2Write for Scene {
    async fn modify(&self, _: ImageId, change: &Change, _: bool) -> Result<(), CallError> {
        self.check("ModifyImageAttribute")?;
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
    parameters: BTreeMap<String, String>,
}

impl Parameters for Store {
    async fn below(&self, path: &str) -> Result<Vec<(String, String)>, CallError> {
        let below = self.parameters.iter().filter(|(name, _)| name.starts_with(&format!("{path}/")));
        if self.parameters.is_empty() {
            return Err(denied("GetParametersByPath"));
        }
        Ok(below.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    async fn value(&self, name: &str) -> Result<String, CallError> {
        self.parameters.get(name).cloned().ok_or_else(|| denied("GetParameter"))
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
            writeln!(self.text, "    {message}").unwrap();
        }
    }

    fn setting(&mut self, variables: &[(&str, &str)]) {
        let set = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        let cause: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let error = match (Settings::from_vars(set), LogSettings::from_vars(set)) {
            (Err(error), _) => error.to_string(),
            (_, Err(error)) => error,
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

    /// Bare JSON that is refused as a whole.
    fn request(&mut self, event: &Value) {
        self.error("InvalidRequest", &event.to_string(), scene(), event);
    }

    /// A request that is refused as a whole, for the image of all others.
    fn modify(&mut self, request: &Value) {
        let mut event = request.clone();
        event["ImageId"] = IMAGE.into();
        self.error("InvalidRequest", &request.to_string(), scene(), &event);
    }

    /// An event of EventBridge that is refused as a whole.
    fn event(&mut self, file: &str, path: &[&str], value: Value) {
        let name = format!("{}/events/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let mut event: Value = serde_json::from_str(&std::fs::read_to_string(name).unwrap()).unwrap();
        let (last, above) = path.split_last().unwrap();
        let object = above.iter().fold(&mut event, |node, key| &mut node[*key]).as_object_mut().unwrap();
        let cause = if value.is_null() {
            object.remove(*last);
            format!("{file} without {}", path.join("."))
        } else {
            object.insert((*last).to_owned(), value.clone());
            format!("{file} with {} = {value}", path.join("."))
        };
        self.error("InvalidEvent", &cause, scene(), &event);
    }

    /// What a look at the image, or a request for it, refuses.
    fn refusal(&mut self, cause: &str, scene: Scene, event: &Value) {
        let answer = scene.answer(event).unwrap();
        let refusals = answer.images.iter().flat_map(|entry| &entry.refusals);
        let messages: Vec<String> = refusals
            .map(|refusal| {
                assert!(refusal.message.ends_with('.'), "a sentence ends: {}", refusal.message);
                format!("{} [{}] {}", refusal.code.as_str(), refusal.resource, refusal.message)
            })
            .collect();
        self.entry(cause, &messages);
    }

    fn look(&mut self, cause: &str, scene: Scene) {
        self.refusal(cause, scene, &json!({ "ImageId": IMAGE }));
    }

    /// A tag that is refused.
    fn tag(&mut self, name: &str, value: &str) {
        self.look(&format!("ami-warden:{name} = {value}"), scene().tag(name, value));
    }

    /// An image that fails.
    fn failure(&mut self, cause: &str, scene: Scene, event: &Value) {
        let Err(Error::ImagesFailed(answer)) = scene.answer(event) else { panic!("{cause} does not fail") };
        let messages: Vec<String> =
            answer.images.iter().filter_map(|entry| entry.error.as_ref()).map(ToString::to_string).collect();
        assert!(answer.images.iter().all(|entry| entry.outcome == Outcome::Failed));
        self.entry(cause, &messages);
    }

    /// What a person should know besides.
    fn note(&mut self, cause: &str, scene: Scene) {
        let answer = scene.answer(&json!({ "ImageId": IMAGE })).unwrap();
        let notes: Vec<String> = answer.images.into_iter().flat_map(|entry| entry.notes).collect();
        self.entry(cause, &notes);
    }
}

fn settings(all: &mut Collection) {
    all.section("Settings: the function does not start");
    for (variable, value) in [
        ("TAG_PREFIX", "aws:warden:"),
        ("TAG_PREFIX", "ec2:SharedTag/"),
        ("TAG_PREFIX", "warden*"),
        ("ALLOW_PUBLIC", "yes"),
        ("ALLOWED_GRANTEES", "all"),
        ("ALLOWED_GRANTEES", "@engineering"),
        ("ALLOWED_GRANTEES", "4444"),
        ("ALLOWED_GRANTEES", "bob"),
        ("ALLOWED_GRANTEES", "o-exampleorgid"),
        ("ALLOWED_GRANTEES_PARAMETER", "a b"),
        ("ORGANIZATION_ARN", "o-exampleorgid"),
        ("POLICY_PATH", "ami-warden"),
        ("POLICY_PATH", "/"),
        ("POLICY_PATH", "/a b"),
        ("MAX_REMOVALS", "-1"),
        ("DRY_RUN", "1"),
        ("STATUS_TAG", "ami-warden:status"),
        ("STATUS_TAG", "aws:status"),
        ("AWS_LAMBDA_LOG_LEVEL", "LOUD"),
        ("AWS_LAMBDA_LOG_FORMAT", "XML"),
    ] {
        all.setting(&[(variable, value)]);
    }
    all.setting(&[("ALLOWED_GRANTEES", "*"), ("ALLOWED_GRANTEES_PARAMETER", "/security/amis")]);
    all.setting(&[("POLICY_PATH", "/ami-warden"), ("ALLOWED_GRANTEES_PARAMETER", "/ami-warden/allowed")]);
}

fn events(all: &mut Collection) {
    all.section("Events: InvalidEvent");
    all.event("ami-available", &["detail", "ImageId"], json!(null));
    all.event("ami-available", &["detail", "ImageId"], json!("ami-1"));
    all.event("ami-available", &["detail", "State"], json!(4.0));
    all.event("ami-available", &["detail"], json!(null));
    all.event("ami-available", &["source"], json!(null));
    all.event("call-create-image", &["detail", "responseElements", "imageId"], json!(null));
    all.event("call-create-tags", &["detail", "requestParameters", "resourcesSet", "items"], json!({}));
    all.event("call-create-tags", &["detail", "requestParameters", "resourcesSet", "items"], json!([{ "resourceId": "ami-x" }]));
    all.event("tag-changed", &["resources"], json!([]));
    all.event("tag-changed", &["resources"], json!(["arn:aws:ec2:us-east-1::image/golden"]));
    all.event("custom-look", &["detail"], json!({}));
    all.event("custom-look", &["detail"], json!({ "ImageId": IMAGE, "Force": true }));
    all.event("custom-look", &["detail"], json!({ "ImageId": IMAGE, "LaunchPermission": {} }));
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
    let share = json!({ "Add": [{ "Group": "all" }] });
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
        json!({ "LaunchPermission": { "Add": [{ "Group": "all" }], "Remove": [{ "Group": "all" }] } }),
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
        r#"[{"Match": {}}] x"#,
        r#"[{"Name": "x"}]"#,
        r#"[{"Match": {}, "Launch": "all"}]"#,
        r#"[{"Match": []}]"#,
        r#"[{"Match": {"Name": []}}]"#,
        r#"[{"Match": {"Tags": {"os": 1}}}]"#,
        r#"[{"Match": {}, "LaunchPermission": "bob"}]"#,
        r#"[{"Match": {}, "LaunchPermission": "= -all"}]"#,
        r#"[{"Match": {}, "Description": "{Name"}]"#,
        r#"[{"Match": {}, "ImdsSupport": "v3.0"}]"#,
    ] {
        all.error("InvalidPolicy", &format!("rules: {rules}"), scene().parameter("rules", rules), &look);
    }
    let unreadable = scene().setting("POLICY_PATH", "/ami-warden");
    all.error("InvalidPolicy", "a policy that may not be read", unreadable, &look);
    let listed = || scene().setting("ALLOWED_GRANTEES", "").setting("ALLOWED_GRANTEES_PARAMETER", "/security/amis");
    all.error("InvalidPolicy", "an allow-list that may not be read", listed(), &look);
    let mut group = listed();
    group.parameters.insert("/security/amis".into(), "@engineering".into());
    all.error("InvalidPolicy", "an allow-list with a group", group, &look);
}

fn directives(all: &mut Collection) {
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
        "444455556666 -444455556666",
        ELSEWHERE,
        "arn:aws:organizations::111122223333:root/o-exampleorgid/r-ab12",
        "arn:aws:organizations::111122223333:organization/exampleorgid",
        "arn:aws:organizations::111122223333:ou/o-exampleorgid",
    ] {
        all.tag("launch-permission", value);
    }
    let other = scene().setting("ORGANIZATION_ARN", ORGANIZATION).tag("launch-permission", "o-anotherorgid");
    all.look("ami-warden:launch-permission = o-anotherorgid, where ORGANIZATION_ARN names o-exampleorgid", other);
    for (cause, groups) in [
        ("a group that does not exist", vec![("groups/other", "444455556666")]),
        ("a group with a mistake", vec![("groups/engineering", "444455556666,bob")]),
        ("a group that names one that does not exist", vec![("groups/engineering", "@gone")]),
        ("groups in a circle", vec![("groups/engineering", "@ops"), ("groups/ops", "@engineering")]),
        ("a group with a short form", vec![("groups/engineering", "o-exampleorgid")]),
    ] {
        let scene = groups.into_iter().fold(scene(), |scene, (name, value)| scene.parameter(name, value));
        all.look(&format!("@engineering: {cause}"), scene.tag("launch-permission", "@engineering"));
    }
    for value in ["{Nme}", "{Name}", "{tag:version}", "a { b", "a } b", " ", "caf\u{e9}"] {
        all.tag("description", value);
    }
    all.look("ami-warden:description of 256 characters", scene().tag("description", &"d".repeat(256)));
    all.tag("imds-support", "V2.0");
    all.tag("imds", "v2.0");
    let rule = r#"[{"Name": "golden", "Match": {}, "Description": "{Name}"}]"#;
    all.look(&format!("rules: {rule}"), scene().parameter("rules", rule));
}

fn guardrails(all: &mut Collection) {
    all.section("Guardrails");
    let public = || scene().tag("launch-permission", "all");
    all.look("all, where ALLOW_PUBLIC is not true", public().setting("ALLOW_PUBLIC", ""));
    all.look("all, and an empty encrypted volume", public().device(None, Some(true), None));
    all.look("all, and an encrypted snapshot", public().device(Some("snap-1"), None, Some(Some(true))));
    all.look("all, and a snapshot that cannot be seen", public().device(Some("snap-1"), None, None));
    all.look("all, and a snapshot of which EC2 says nothing", public().device(Some("snap-1"), None, Some(None)));
    all.look("all, and a product code", public().edit(|image| image.product_codes.push("774F4FF8".into())));
    all.look("all, and block public access", Scene { block_public_access: true, ..public() });
    let deprecated = |image: &mut Image| image.deprecation_time = Some("2026-03-25T00:00:00Z".parse().unwrap());
    all.look("all, and a deprecated image", public().edit(deprecated));
    all.look("an account that is not allowed", scene().setting("ALLOWED_GRANTEES", "").tag("launch-permission", "444455556666"));
    let two = scene().setting("MAX_REMOVALS", "1").granted("444455556666 222233334444");
    all.look("two removals, where MAX_REMOVALS is 1", two.tag("launch-permission", "="));
    all.refusal("a request for a product code", scene(), &json!({ "ImageId": IMAGE, "ProductCodes": ["774F4FF8"] }));
    let refused = scene().fault("ModifyImageAttribute", "ResourceLimitExceeded");
    all.look("EC2 says no", refused.tag("launch-permission", "all"));
}

fn failures(all: &mut Collection) {
    all.section("Images that fail: ImagesFailed");
    let look = json!({ "ImageId": IMAGE });
    let shared = || scene().tag("launch-permission", "444455556666");
    let pending = || scene().edit(|image| image.state = State::Pending);
    let event = |name: &str| {
        let path = format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let request = json!({ "ImageId": IMAGE, "Description": { "Value": "d" } });
    all.failure("a request for a pending image", pending(), &request);
    all.failure("an event about an image that does not appear", Scene { image: None, ..scene() }, &event("ami-available"));
    all.failure("an event about an image that stays pending", pending(), &event("ami-available"));
    for (operation, code) in [
        ("DescribeImages", "UnauthorizedOperation"),
        ("DescribeImageAttribute", "AuthFailure"),
        ("ModifyImageAttribute", "UnauthorizedOperation"),
        ("ModifyImageAttribute", "InternalError"),
    ] {
        all.failure(&format!("{operation} fails with {code}"), shared().fault(operation, code), &look);
    }
    all.entry("a call that takes longer than the invocation has", &[CallError::timeout("DescribeImages").to_string()]);

    all.section("A sweep that cannot list the images: SweepFailed");
    let denied = scene().fault("DescribeImages", "UnauthorizedOperation");
    all.error("SweepFailed", "DescribeImages fails with UnauthorizedOperation", denied, &json!({ "Sweep": {} }));
}

fn notes(all: &mut Collection) {
    all.section("Notes");
    let shared = || scene().tag("launch-permission", "444455556666");
    all.note("an image is made public", scene().tag("launch-permission", "all"));
    all.note("launch permissions are read back and not as planned", Scene { stale: true, ..shared() });
    let unread = shared().fault("DescribeImageAttribute*", "UnauthorizedOperation");
    all.note("launch permissions cannot be read back", unread);
}

fn collect() -> String {
    let mut all = Collection {
        text: "# Every refusal and every error, as people read them\n\n\
               Written by tests/messages.rs (UPDATE_MESSAGES=1 cargo test --no-default-features --test messages).\n\
               A cause, and below it, indented, what is said to it; refusals with their code and [what they name]."
            .into(),
    };
    for collect in [settings, events, requests, policies, directives, guardrails, failures, notes] {
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
    for (line, (read, now)) in read.lines().zip(now.lines()).enumerate() {
        assert_eq!(now, read, "line {} of tests/messages.txt; UPDATE_MESSAGES=1 writes it anew", line + 1);
    }
    assert_eq!(now.lines().count(), read.lines().count(), "UPDATE_MESSAGES=1 writes tests/messages.txt anew");
}

#[test]
fn every_code_of_a_refusal_is_among_the_messages() {
    use Code::{
        BlockPublicAccess, Deprecated, Ec2Refused, EncryptedSnapshot, EncryptionUnknown, GranteeNotAllowed, InvalidDirective,
        NotSupported, ProductCode, PublicNotAllowed, TooManyRemovals,
    };
    // Does not compile when a code is missing here.
    let next = |code| match code {
        PublicNotAllowed => Some(EncryptedSnapshot),
        EncryptedSnapshot => Some(EncryptionUnknown),
        EncryptionUnknown => Some(ProductCode),
        ProductCode => Some(BlockPublicAccess),
        BlockPublicAccess => Some(Deprecated),
        Deprecated => Some(GranteeNotAllowed),
        GranteeNotAllowed => Some(TooManyRemovals),
        TooManyRemovals => Some(InvalidDirective),
        InvalidDirective => Some(NotSupported),
        NotSupported => Some(Ec2Refused),
        Ec2Refused => None,
    };
    let messages = collect();
    let mut code = Some(PublicNotAllowed);
    while let Some(known) = code {
        assert!(messages.contains(&format!("\n    {} [", known.as_str())), "{}", known.as_str());
        code = next(known);
    }
}

#[test]
fn every_kind_of_error_is_among_the_messages() {
    let messages = collect();
    // Does not compile when a kind is missing here.
    let listed = |error: &Error| match error {
        Error::InvalidEvent(_) => "Events: InvalidEvent",
        Error::InvalidRequest(_) => "requests: InvalidRequest",
        Error::InvalidPolicy(_) => "allow-list: InvalidPolicy",
        Error::ImagesFailed(_) => "fail: ImagesFailed",
        Error::SweepFailed(_) => "the images: SweepFailed",
    };
    let answer = scene().answer(&json!({ "ImageId": IMAGE })).unwrap();
    let parameter = ami_warden::policy::PolicyError { parameter: String::new(), message: String::new() };
    for error in [
        Error::InvalidEvent(String::new()),
        Error::InvalidRequest(String::new()),
        Error::InvalidPolicy(parameter),
        Error::ImagesFailed(Box::new(answer)),
        Error::SweepFailed(CallError::timeout("DescribeImages")),
    ] {
        assert!(messages.contains(listed(&error)), "{}", error.kind());
    }
}
