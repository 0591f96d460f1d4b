//! What the tests run in: the built function as a process of its own, a Lambda Runtime API that
//! feeds it, and the EC2 emulator.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc, LazyLock, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

pub use ec2_emulator::{Config, Emulator, Fault, FaultKind, Image};
use serde_json::Value;
use tiny_http::{Header, Method, Response, Server};

#[path = "../schema/mod.rs"]
pub mod schema;

use schema::Schema;

/// The image that most tests and events are about.
pub const IMAGE: &str = "ami-0123456789abcdef0";
/// The account that owns the images.
pub const OWNER: &str = "111122223333";

/// No test waits longer than this for an answer, beyond the time the function has.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings and an EC2, before the function is started.
pub struct World {
    pub emulator: Emulator,
    vars: BTreeMap<String, String>,
}

impl World {
    /// An EC2 without images, and default settings.
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    /// The same with an emulator of one's own.
    pub fn with(config: Config) -> Self {
        let emulator = Emulator::spawn(config).unwrap();
        let vars = [
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret-that-no-log-may-hold"),
            ("AWS_SESSION_TOKEN", "token-that-no-log-may-hold"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_LAMBDA_FUNCTION_NAME", "ami-warden"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_ENDPOINT_URL", &emulator.url()),
        ];
        let vars = vars
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self { emulator, vars }
    }

    /// Adds an image.
    pub fn image(self, image: Image) -> Self {
        self.emulator.add(image);
        self
    }

    /// Sets an environment variable.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Settings under which everything may be added.
    pub fn permissive(self) -> Self {
        self.setting("ALLOW_PUBLIC", "true")
            .setting("ALLOWED_GRANTEES", "*")
    }

    /// Starts the function.
    pub fn start(self) -> Function {
        let log = Arc::new(Mutex::new(Vec::new()));
        Function {
            emulator: self.emulator,
            sandbox: Sandbox::launch(&self.vars, &log),
            vars: self.vars,
            log,
            invocations: 0,
            alias: None,
        }
    }
}

/// The function's process and the Runtime API that feeds it.
struct Sandbox {
    process: Child,
    server: Arc<Server>,
    /// `None` once it has ended.
    runtime_api: Option<JoinHandle<()>>,
    events: Option<Sender<Invocation>>,
    answered: Receiver<Answered>,
    readers: Vec<JoinHandle<()>>,
}

impl Sandbox {
    fn launch(vars: &BTreeMap<String, String>, log: &Arc<Mutex<Vec<String>>>) -> Self {
        let (events, next) = channel();
        let (answers, answered) = channel();
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let address = server.server_addr().to_ip().unwrap();
        let runtime_api = std::thread::spawn({
            let server = Arc::clone(&server);
            move || serve(&server, &next, &answers)
        });
        let mut process = Command::new(binary())
            .env_clear()
            .envs(vars)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let readers = vec![
            collect(process.stdout.take().unwrap(), log),
            collect(process.stderr.take().unwrap(), log),
        ];
        Self {
            process,
            server,
            runtime_api: Some(runtime_api),
            events: Some(events),
            answered,
            readers,
        }
    }

    /// Ends the process and what feeds it.
    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.events = None;
        self.server.unblock();
        if let Some(runtime_api) = self.runtime_api.take()
            && runtime_api.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the Runtime API was used in a way it does not know");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.end();
    }
}

/// The function's binary: the one named by `AMI_WARDEN_BINARY`, or the one built beside the tests.
fn binary() -> String {
    let built = option_env!("CARGO_BIN_EXE_ami-warden").map(ToOwned::to_owned);
    std::env::var("AMI_WARDEN_BINARY")
        .ok()
        .or(built)
        .unwrap_or_else(|| panic!("AMI_WARDEN_BINARY names no binary"))
}

fn collect(
    stream: impl std::io::Read + Send + 'static,
    log: &Arc<Mutex<Vec<String>>>,
) -> JoinHandle<()> {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().unwrap().push(line);
        }
    })
}

/// The Lambda Runtime API: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.
fn serve(server: &Server, next: &Receiver<Invocation>, answers: &Sender<Answered>) {
    for mut request in server.incoming_requests() {
        let header = |name: &str, value: &str| {
            Header::from_bytes(name.as_bytes(), value.as_bytes()).unwrap()
        };
        let path = request.url().to_owned();
        match (
            request.method(),
            path.rsplit('/').next().unwrap_or_default(),
        ) {
            (Method::Get, "next") => {
                let Ok(invocation) = next.recv() else { return };
                let response = Response::from_string(invocation.event)
                    .with_header(header(
                        "lambda-runtime-aws-request-id",
                        &invocation.request_id,
                    ))
                    .with_header(header(
                        "lambda-runtime-deadline-ms",
                        &invocation.deadline_ms.to_string(),
                    ))
                    .with_header(header(
                        "lambda-runtime-invoked-function-arn",
                        &invocation.function_arn,
                    ));
                let _ = request.respond(response);
            }
            (Method::Post, kind @ ("response" | "error")) => {
                let failed = kind == "error";
                let mut body = String::new();
                request.as_reader().read_to_string(&mut body).unwrap();
                let body: Value = serde_json::from_str(&body).unwrap();
                let _ = request.respond(Response::empty(202));
                let _ = answers.send(if failed {
                    let text = |key: &str| body[key].as_str().unwrap().to_owned();
                    Err(Failed {
                        error_type: text("errorType"),
                        error_message: text("errorMessage"),
                    })
                } else {
                    Ok(body)
                });
            }
            (method, _) => panic!("the function asked the Runtime API for {method} {path}"),
        }
    }
}

struct Invocation {
    event: String,
    request_id: String,
    deadline_ms: u128,
    function_arn: String,
}

/// The ARN by which the function is invoked, without an alias.
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:111122223333:function:ami-warden";

type Answered = Result<Value, Failed>;

/// What Lambda learns of an invocation that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub error_type: String,
    pub error_message: String,
}

/// The function, running.
pub struct Function {
    pub emulator: Emulator,
    vars: BTreeMap<String, String>,
    sandbox: Sandbox,
    log: Arc<Mutex<Vec<String>>>,
    invocations: usize,
    alias: Option<String>,
}

impl Function {
    /// From now on the function is invoked by this alias; by none to begin with.
    pub fn invoke_by_alias(&mut self, alias: &str) {
        self.alias = Some(alias.to_owned());
    }

    /// Invokes the function with plenty of time and expects an answer.
    #[track_caller]
    pub fn invoke(&mut self, event: &Value) -> Value {
        self.try_invoke(event).unwrap()
    }

    /// Invokes the function with plenty of time.
    pub fn try_invoke(&mut self, event: &Value) -> Answered {
        self.invoke_for(Duration::from_secs(60), &event.to_string())
    }

    /// Invokes the function with this much time and any text for an event.
    pub fn invoke_for(&mut self, time: Duration, event: &str) -> Answered {
        let deadline = SystemTime::now() + time;
        self.invoke_until(
            deadline
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap()
                .as_millis(),
            event,
        )
    }

    /// Invokes the function with this text for a deadline.
    pub fn invoke_until(&mut self, deadline_ms: u128, event: &str) -> Answered {
        self.begin(deadline_ms, event);
        let since_1970 = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis();
        let left = u64::try_from(deadline_ms.saturating_sub(since_1970)).unwrap_or_default();
        let answered = self
            .sandbox
            .answered
            .recv_timeout(PATIENCE + Duration::from_millis(left))
            .unwrap_or_else(|_| panic!("no answer; the log:\n{}", self.log().join("\n")));
        check_schema(&answered);
        answered
    }

    /// Begins an invocation and does not wait for what becomes of it.
    pub fn begin(&mut self, deadline_ms: u128, event: &str) {
        self.invocations += 1;
        let request_id = format!("request-{}", self.invocations);
        let events = self.sandbox.events.as_ref().unwrap();
        let alias = self
            .alias
            .as_ref()
            .map(|alias| format!(":{alias}"))
            .unwrap_or_default();
        let function_arn = format!("{FUNCTION_ARN}{alias}");
        events
            .send(Invocation {
                event: event.to_owned(),
                request_id,
                deadline_ms,
                function_arn,
            })
            .unwrap();
    }

    /// Kills the process, as when a sandbox is lost, and starts a fresh one beside the same EC2.
    pub fn crash(&mut self) {
        self.sandbox.end();
        self.sandbox = Sandbox::launch(&self.vars, &self.log);
    }

    /// The entry of the only image.
    #[track_caller]
    pub fn look(&mut self) -> Value {
        only_entry(&self.invoke(&serde_json::json!({ "ImageId": IMAGE })))
    }

    /// What was written to the log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The log line that fits, once it is there: lines travel beside answers.
    #[track_caller]
    pub fn logged(&self, fits: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..200 {
            let lines = self.log();
            if let Some(line) = lines
                .iter()
                .filter_map(|line| serde_json::from_str(line).ok())
                .find(|line| fits(line))
            {
                return line;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no such line; the log:\n{}", self.log().join("\n"))
    }

    /// Waits until the function has ended by itself: its exit code and its log.
    #[track_caller]
    pub fn ended(mut self) -> (Option<i32>, Vec<String>) {
        for _ in 0..1000 {
            if let Some(status) = self.sandbox.process.try_wait().unwrap() {
                for reader in self.sandbox.readers.drain(..) {
                    reader.join().unwrap();
                }
                return (status.code(), self.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still running; the log:\n{}", self.log().join("\n"))
    }

    /// The memory the function holds now, in megabytes (Linux only).
    #[allow(dead_code)] // for the benchmarks
    pub fn memory_mb(&self) -> f64 {
        self.memory_of("VmRSS:")
    }

    /// The most memory the function has held so far, in megabytes (Linux only).
    #[allow(dead_code)] // for the benchmarks
    pub fn peak_memory_mb(&self) -> f64 {
        self.memory_of("VmHWM:")
    }

    #[allow(dead_code)] // for the benchmarks
    fn memory_of(&self, field: &str) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.sandbox.process.id())).unwrap();
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .unwrap();
        memory
            .trim()
            .trim_end_matches(" kB")
            .parse::<f64>()
            .unwrap()
            / 1024.0
    }

    /// The requests since the last time, in their order, as `Action Name=value …` without what
    /// every request of its kind holds.
    pub fn requests(&self) -> Vec<String> {
        self.emulator
            .take_calls()
            .iter()
            .map(|call| {
                let params = call
                    .params
                    .iter()
                    .map(|(name, value)| format!(" {name}={value}"))
                    .collect::<String>();
                format!("{}{params}", call.action)
            })
            .collect()
    }

    /// How many requests of each action there were since the last time.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in self.emulator.take_calls() {
            *counts.entry(call.action).or_default() += 1;
        }
        counts
    }

    /// Who may launch the image, as EC2 has it.
    #[track_caller]
    pub fn grantees(&self, image: &str) -> Vec<String> {
        self.emulator.image(image).unwrap().grantees()
    }
}

/// The schema of answers.
pub const ANSWER_SCHEMA: &str = "deploy/answer.schema.json";

/// Asserts that what the function answered is as the schema says; also the answer that is the
/// message of `ImagesFailed`.
fn check_schema(answered: &Answered) {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::of_file(ANSWER_SCHEMA));
    let answer = match answered {
        Ok(answer) => answer.clone(),
        Err(failed) if failed.error_type == "ImagesFailed" => failed.answer(),
        Err(_) => return,
    };
    SCHEMA.assert_takes(&answer);
}

/// A JSON file of this repository.
pub fn json_file(path: &str) -> Value {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// An event of the `events` folder.
pub fn event(name: &str) -> Value {
    json_file(&format!("events/{name}.json"))
}

/// The entry of an answer about one image.
#[track_caller]
pub fn only_entry(answer: &Value) -> Value {
    match answer["Images"].as_array().unwrap().as_slice() {
        [entry] => entry.clone(),
        entries => panic!("{} entries: {answer:#}", entries.len()),
    }
}

/// The refusals of an entry as `(attribute, code, resource)`.
#[track_caller]
pub fn refusals(entry: &Value) -> Vec<(String, String, String)> {
    let text = |refusal: &Value, key: &str| refusal[key].as_str().unwrap().to_owned();
    let refusals = entry["Refusals"].as_array().unwrap().iter();
    refusals
        .map(|refusal| {
            (
                text(refusal, "Attribute"),
                text(refusal, "Code"),
                text(refusal, "Resource"),
            )
        })
        .collect()
}

/// The codes of an entry's refusals.
#[track_caller]
pub fn codes(entry: &Value) -> Vec<String> {
    refusals(entry)
        .into_iter()
        .map(|(_, code, _)| code)
        .collect()
}

/// The image of most tests, with a launch-permission directive.
pub fn share(value: &str) -> Image {
    Image::new(IMAGE).tag("ami-warden:launch-permission", value)
}

/// The request that reads an image by its id.
pub fn describe(image: &str) -> String {
    format!(
        "DescribeImages Filter.1.Name=image-id Filter.1.Value.1={image} IncludeDisabled=true Owner.1=self"
    )
}

/// The request that reads an image's launch permissions.
pub fn describe_permissions(image: &str) -> String {
    format!("DescribeImageAttribute Attribute=launchPermission ImageId={image}")
}

/// The requests after the last write of launch permissions: the image and its permissions are read
/// again, at the same time.
pub fn read_back(image: &str) -> Vec<String> {
    vec![describe(image), describe_permissions(image)]
}

/// The only snapshot of the image of most tests.
pub const SNAPSHOT: &str = "snap-0123456789abcdef0";
/// Another account.
pub const ALICE: &str = "444455556666";
/// And another one, before the former by its bytes.
pub const BOB: &str = "222233334444";
/// An organization.
pub const ORGANIZATION: &str = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
/// A unit of that organization.
pub const UNIT: &str = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";

/// The request that reads snapshots by their ids.
pub fn describe_snapshots(ids: &[&str]) -> String {
    let values = ids
        .iter()
        .enumerate()
        .map(|(index, id)| format!(" Filter.1.Value.{}={id}", index + 1))
        .collect::<String>();
    format!("DescribeSnapshots Filter.1.Name=snapshot-id{values}")
}

/// The request that asks whether images may be made public at all.
pub fn get_block_public_access() -> String {
    "GetImageBlockPublicAccessState".to_owned()
}

/// The request that changes an image.
pub fn modify<const N: usize>(image: &str, params: [(&str, &str); N]) -> String {
    let mut params = BTreeMap::from(params);
    params.insert("ImageId", image);
    format!(
        "ModifyImageAttribute{}",
        params
            .iter()
            .map(|(name, value)| format!(" {name}={value}"))
            .collect::<String>()
    )
}

/// The requests of an image with one snapshot that asks to be public, in two steps.
pub fn reads_before_public(image: &str, snapshot: &str) -> [Vec<String>; 2] {
    [
        vec![describe(image)],
        vec![
            describe_permissions(image),
            describe_snapshots(&[snapshot]),
            get_block_public_access(),
        ],
    ]
}

/// Asserts requests step by step. Those of one step go out together, so they arrive in any order.
#[track_caller]
pub fn assert_steps(mut requests: Vec<String>, steps: impl IntoIterator<Item = Vec<String>>) {
    let mut expected = Vec::new();
    for mut step in steps {
        let begin = expected.len();
        step.sort();
        expected.append(&mut step);
        let end = expected.len().min(requests.len());
        requests[begin.min(end)..end].sort();
    }
    assert_eq!(requests, expected);
}

/// The message of the refusal with this code.
#[track_caller]
pub fn refusal_message(entry: &Value, code: &str) -> String {
    let refusals = entry["Refusals"].as_array().unwrap();
    let refusal = refusals.iter().find(|refusal| refusal["Code"] == code);
    refusal.unwrap_or_else(|| panic!("no {code}: {entry:#}"))["Message"]
        .as_str()
        .unwrap()
        .to_owned()
}

impl Failed {
    /// The answer that an invocation with failed images leaves as its error message.
    #[track_caller]
    pub fn answer(&self) -> Value {
        assert_eq!(self.error_type, "ImagesFailed", "{self:?}");
        serde_json::from_str(&self.error_message).unwrap()
    }
}

/// An object, to be compared with the part of another one that has the same keys.
#[track_caller]
pub fn assert_holds(value: &Value, part: &Value) {
    for (key, expected) in part.as_object().unwrap() {
        assert_eq!(&value[key], expected, "{key} of {value:#}");
    }
}
