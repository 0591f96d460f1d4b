//! Whatever goes wrong with whichever call: the image ends as wanted, or Lambda is told to bring
//! the event again.
//!
//! Every call the function makes, times everything that can go wrong with it. What became of each
//! is the table in `docs/faults.md`, which this test compares, and writes where `UPDATE_DOCS` is
//! set.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ec2_emulator::{Call, ParameterType};
use serde_json::{Value, json};

use crate::world::*;

/// As many cases at the same time. They mostly wait.
const AT_ONCE: usize = 24;

/// How long an invocation lasts in which something goes wrong at every try.
const SHORT: Duration = Duration::from_secs(4);

/// How long one may last in which all ends well, on a busy machine.
const LONG: Duration = Duration::from_secs(25);

const STATUS_TAG: &str = "warden-status";

/// A call the function makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    name: &'static str,
    action: &'static str,
    /// A parameter that tells this call from others of the same action.
    param: Option<&'static str>,
    /// So many calls of that kind come before it.
    skip: u32,
    /// Elements that answers may lack; for Parameter Store, whole answers.
    lacks: &'static [&'static str],
}

const fn step(
    name: &'static str,
    param: Option<&'static str>,
    lacks: &'static [&'static str],
) -> Step {
    Step {
        name,
        action: name,
        param,
        skip: 0,
        lacks,
    }
}

const STEPS: [Step; 13] = [
    step(
        "GetParametersByPath",
        None,
        &["{}", r#"{"Parameters":[{"Name":"/ami-warden/rules"}]}"#],
    ),
    step(
        "GetParameter",
        None,
        &["{}", r#"{"Parameter":{"Name":"/security/allowed"}}"#],
    ),
    step(
        "DescribeImages",
        None,
        &[
            "imagesSet",
            "imageId",
            "imageOwnerId",
            "imageState",
            "isPublic",
            "name",
            "creationDate",
            "architecture",
            "blockDeviceMapping",
            "deviceName",
            "ebs",
            "snapshotId",
            "encrypted",
            "tagSet",
        ],
    ),
    step("DescribeImageAttribute", None, &["launchPermission"]),
    step(
        "DescribeSnapshots",
        None,
        &["snapshotSet", "snapshotId", "encrypted"],
    ),
    step(
        "GetImageBlockPublicAccessState",
        None,
        &["imageBlockPublicAccessState"],
    ),
    Step {
        name: "ModifyImageAttribute description",
        action: "ModifyImageAttribute",
        param: Some("Description.Value"),
        skip: 0,
        lacks: &["return"],
    },
    Step {
        name: "ModifyImageAttribute imdsSupport",
        action: "ModifyImageAttribute",
        param: Some("ImdsSupport.Value"),
        skip: 0,
        lacks: &["return"],
    },
    Step {
        name: "ModifyImageAttribute launchPermission",
        action: "ModifyImageAttribute",
        param: Some("LaunchPermission.Add.1.UserId"),
        skip: 0,
        lacks: &["return"],
    },
    Step {
        name: "DescribeImages, after the last write",
        action: "DescribeImages",
        param: None,
        skip: 1,
        lacks: &["imageState", "tagSet"],
    },
    Step {
        name: "DescribeImageAttribute, read-back",
        action: "DescribeImageAttribute",
        param: None,
        skip: 1,
        lacks: &["launchPermission"],
    },
    step("CreateTags", None, &["return"]),
    step("DeleteTags", None, &["return"]),
];

impl Step {
    fn is_parameter_store(self) -> bool {
        self.action.starts_with("GetParameter")
    }

    fn is(self, call: &Call) -> bool {
        call.action == self.action && self.param.is_none_or(|param| call.param(param).is_some())
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone)]
struct Trouble {
    name: String,
    /// None: it is the way to the service that breaks, see [`Gone`].
    kind: Option<FaultKind>,
    /// None: always.
    times: Option<u32>,
}

/// Everything that can go wrong with a call.
fn troubles(step: Step) -> Vec<Trouble> {
    let error = |ec2: &str, ssm: &str, status| FaultKind::Error {
        code: if step.is_parameter_store() { ssm } else { ec2 }.to_owned(),
        status,
        message: None,
    };
    let throttled = || error("RequestLimitExceeded", "ThrottlingException", None);
    let garbage = |status| FaultKind::Garbage {
        status,
        body: "<html><body>It works!</body></html>".to_owned(),
    };
    let mut troubles = Vec::new();
    for (name, kind) in [
        ("throttled", throttled()),
        (
            "HTTP 500",
            error("InternalError", "InternalServerError", Some(500)),
        ),
        (
            "HTTP 503",
            error("Unavailable", "ServiceUnavailable", Some(503)),
        ),
        (
            "connection reset before it was carried out",
            FaultKind::ResetBefore,
        ),
        (
            "connection reset after it was carried out",
            FaultKind::ResetAfter,
        ),
        ("no answer", FaultKind::Hang { ms: None }),
        ("truncated answer", FaultKind::Truncated),
        ("garbage with status 502", garbage(502)),
        ("garbage with status 200", garbage(200)),
    ] {
        // An attempt is given up after ten seconds: once is long enough.
        let (times, passes) = if matches!(kind, FaultKind::Hang { .. }) {
            (1, "once")
        } else {
            (2, "twice")
        };
        troubles.push(Trouble {
            name: format!("{name}, {passes}"),
            kind: Some(kind.clone()),
            times: Some(times),
        });
        troubles.push(Trouble {
            name: format!("{name}, always"),
            kind: Some(kind),
            times: None,
        });
    }
    troubles.push(Trouble {
        name: "connection closed without an answer, once".into(),
        kind: None,
        times: Some(1),
    });
    troubles.push(Trouble {
        name: "connection refused from here on".into(),
        kind: None,
        times: None,
    });
    troubles.push(Trouble {
        name: "access denied".into(),
        kind: Some(error(
            "UnauthorizedOperation",
            "AccessDeniedException",
            None,
        )),
        times: None,
    });
    troubles.push(Trouble {
        name: "expired credentials".into(),
        kind: Some(error("RequestExpired", "ExpiredTokenException", None)),
        times: None,
    });
    for lack in step.lacks {
        let kind = if step.is_parameter_store() {
            FaultKind::Garbage {
                status: 200,
                body: (*lack).to_owned(),
            }
        } else {
            FaultKind::Omit {
                elements: vec![(*lack).to_owned()],
            }
        };
        let name = if step.is_parameter_store() {
            format!("answer `{lack}`")
        } else {
            format!("answer without `{lack}`")
        };
        troubles.push(Trouble {
            name,
            kind: Some(kind),
            times: None,
        });
    }
    troubles
}

/// What became of one case: a row of the table without what went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    outcome: String,
    tries: String,
    event: &'static str,
    done: String,
}

fn world() -> World {
    World::new()
        .setting("ALLOW_PUBLIC", "true")
        .setting("ALLOWED_GRANTEES_PARAMETER", "/security/allowed")
        .setting("POLICY_PATH", "/ami-warden")
        .setting("STATUS_TAG", STATUS_TAG)
}

/// An image that makes the function use every call: all three attributes, public, a group, and a
/// status tag to be set or removed.
fn furnish(emulator: &Emulator, step: Step) {
    emulator.put_parameter(
        "/security/allowed",
        "444455556666,222233334444",
        ParameterType::StringList,
    );
    emulator.put_parameter("/ami-warden/groups/team", BOB, ParameterType::StringList);
    emulator.put_parameter(
        "/ami-warden/rules",
        r#"[{"Match": {}, "ImdsSupport": "v2.0"}]"#,
        ParameterType::String,
    );
    let image = share("444455556666 @team all").tag("ami-warden:description", "as wanted");
    // A tag with a typing mistake has to be told of in the status tag; without one a former status
    // goes.
    emulator.add(if step.name == "CreateTags" {
        image.tag("ami-warden:descripton", "")
    } else {
        image.tag(STATUS_TAG, "refused before")
    });
}

/// What of the wanted is there.
fn done(image: &Image, step: Step) -> Vec<&'static str> {
    let mut done = Vec::new();
    if image.description.as_deref() == Some("as wanted") {
        done.push("description");
    }
    if image.imds_support.is_some() {
        done.push("imdsSupport");
    }
    match image.grantees().as_slice() {
        [bob, alice, all] if bob == BOB && alice == ALICE && all == "all" => {
            done.push("launchPermission")
        }
        [] => {}
        other => panic!("nobody asked for {other:?}"),
    }
    let status = image.tags.get(STATUS_TAG).map(String::as_str);
    if status == (step.name == "CreateTags").then_some("invalid-directive:ami-warden:descripton") {
        done.push("status tag");
    }
    done
}

const ALL_DONE: usize = 4;

/// Runs one case in a function that is warm.
fn run(function: &mut Function, step: Step, trouble: &Trouble, service: Option<&Gone>) -> Row {
    let emulator = &function.emulator;
    emulator.reset();
    furnish(emulator, step);
    if let Some(kind) = &trouble.kind {
        let mut fault = Fault::new(step.action, kind.clone()).skip(step.skip);
        fault = step.param.into_iter().fold(fault, Fault::with_any);
        emulator.fault(match trouble.times {
            Some(times) => fault.times(times),
            None => fault.forever(),
        });
    }
    let passes = trouble.times.is_some()
        || matches!(trouble.kind, Some(FaultKind::Error { status: None, .. }));
    let time = if passes && !trouble.name.contains(", always") {
        LONG
    } else {
        SHORT
    };
    let began = Instant::now();
    let answered = function.invoke_for(time, &event("ami-available").to_string());

    let image = function.emulator.image(IMAGE).unwrap();
    let done = done(&image, step);
    // Nobody is let in before the rest is right.
    assert!(
        image.grantees().is_empty() || done.starts_with(&["description", "imdsSupport"]),
        "{step:?} {trouble:?}"
    );
    let tries = function
        .emulator
        .calls()
        .iter()
        .filter(|call| step.is(call))
        .count()
        - step.skip as usize;
    let tries = match (&trouble.kind, trouble.times) {
        // How often depends on the clock.
        (Some(kind), None) if tries > 1 && !matches!(kind, FaultKind::Omit { .. }) => {
            "until the time is up".to_owned()
        }
        (Some(FaultKind::Omit { .. }), None) if tries > 3 => "until the time is up".to_owned(),
        // What never arrived was not counted.
        (None, Some(times)) => (tries + times as usize).to_string(),
        (None, None) if began.elapsed() > SHORT / 2 => "until the time is up".to_owned(),
        _ => tries.to_string(),
    };
    let (event, outcome) = match answered {
        Ok(answer) => ("finished", outcome_of(&only_entry(&answer))),
        Err(failed) if failed.error_type == "ImagesFailed" => {
            ("kept", outcome_of(&only_entry(&failed.answer())))
        }
        Err(failed) => ("kept", failed.error_type),
    };
    let row = Row {
        outcome,
        tries,
        event,
        done: match done.len() {
            0 => "nothing".to_owned(),
            ALL_DONE => "all".to_owned(),
            _ => done.join(", "),
        },
    };
    // An answer that lacks what it need not have is EC2's word. Everything else either is done or
    // is brought again.
    let lies = matches!(trouble.kind, Some(FaultKind::Omit { .. }));
    assert!(
        lies || event == "kept" || done.len() == ALL_DONE,
        "{step:?} {trouble:?}: {row:?}"
    );

    // Brought again when all is well, or looked at by the next sweep, the image ends as wanted.
    function.emulator.clear_faults();
    if let Some(gone) = service {
        gone.back();
    }
    function.emulator.take_calls();
    function
        .invoke_for(LONG, &self::event("ami-available").to_string())
        .unwrap();
    let after = function.emulator.image(IMAGE).unwrap();
    assert_eq!(
        self::done(&after, step).len(),
        ALL_DONE,
        "{step:?} {trouble:?}: {after:?}"
    );
    let changed = function.emulator.writes().len();
    assert!(
        changed + done.len() == ALL_DONE,
        "{step:?} {trouble:?}: {changed} changes after {done:?}"
    );
    row
}

fn outcome_of(entry: &Value) -> String {
    let mut outcome = entry["Outcome"].as_str().unwrap().to_owned();
    for reason in [&entry["Reason"], &entry["Error"]["Code"]] {
        outcome.extend(reason.as_str().map(|reason| format!(" ({reason})")));
    }
    let refused: Vec<_> = codes(entry)
        .into_iter()
        .filter(|code| code != "invalid-directive")
        .collect();
    if !refused.is_empty() {
        let _ = write!(outcome, ", refused: {}", refused.join(", "));
    }
    let changes = entry["Changes"].as_array().unwrap();
    if changes
        .iter()
        .any(|change| change["Confirmed"] == json!(false))
    {
        outcome += ", not confirmed";
    }
    outcome
}

#[test]
fn every_fault_of_every_call_ends_as_wanted_or_keeps_the_event() {
    let cases: Vec<(Step, Trouble)> = STEPS
        .iter()
        .flat_map(|step| {
            troubles(*step)
                .into_iter()
                .map(move |trouble| (*step, trouble))
        })
        .collect();
    // What takes long goes first: an answer that is waited for, then whatever takes all its time.
    let mut order: Vec<usize> = (0..cases.len()).collect();
    order.sort_by_key(|index| {
        (
            cases[*index].1.name != "no answer, once",
            cases[*index].1.times.is_some(),
        )
    });
    let queue = Mutex::new(VecDeque::from(order));
    let rows = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let mut warm = None;
                loop {
                    let Some(index) = queue.lock().unwrap().pop_front() else {
                        return;
                    };
                    let (step, trouble) = &cases[index];
                    let row = if trouble.kind.is_some() {
                        run(
                            warm.get_or_insert_with(|| warm_up(world())),
                            *step,
                            trouble,
                            None,
                        )
                    } else {
                        without_service(*step, trouble)
                    };
                    rows.lock().unwrap().insert(index, row);
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap();
    assert_eq!(rows.len(), cases.len());
    let kept = rows.values().filter(|row| row.event == "kept").count();
    println!(
        "proof: {} faults over {} calls: {} finished, {kept} kept the event, all as wanted after the next one",
        cases.len(),
        STEPS.len(),
        cases.len() - kept
    );
    compare("faults.md", &document(&cases, &rows));
}

/// Starts a function and lets it do its first work, so that a short time is not spent on the start.
fn warm_up(world: World) -> Function {
    let mut function = world.start();
    furnish(&function.emulator, STEPS[0]);
    function
        .invoke_for(LONG, &event("ami-available").to_string())
        .unwrap();
    function
}

/// Runs the case in which nobody listens any more from a certain call on.
fn without_service(step: Step, trouble: &Trouble) -> Row {
    let world = world();
    let gone = Gone::before(world.emulator.address(), step, trouble.times.is_none());
    let url = format!("http://{}", gone.address);
    let mut function = warm_up(world.setting("AWS_ENDPOINT_URL", &url));
    gone.armed.store(true, Ordering::SeqCst);
    run(&mut function, step, trouble, Some(&gone))
}

/// Something between the function and the emulator that hangs up when a certain call arrives, and
/// perhaps closes its door too.
struct Gone {
    for_good: bool,
    address: SocketAddr,
    armed: Arc<AtomicBool>,
    listener: Arc<Mutex<Option<TcpListener>>>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    emulator: SocketAddr,
    step: Step,
}

impl Gone {
    fn before(emulator: SocketAddr, step: Step, for_good: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gone = Self {
            for_good,
            address,
            armed: Arc::new(AtomicBool::new(false)),
            listener: Arc::new(Mutex::new(Some(listener))),
            connections: Arc::default(),
            emulator,
            step,
        };
        gone.serve();
        gone
    }

    /// Opens the door again.
    fn back(&self) {
        self.armed.store(false, Ordering::SeqCst);
        if !self.for_good {
            return;
        }
        *self.listener.lock().unwrap() = Some(TcpListener::bind(self.address).unwrap());
        self.serve();
    }

    fn serve(&self) {
        let (listener, armed, address) = (
            Arc::clone(&self.listener),
            Arc::clone(&self.armed),
            self.emulator,
        );
        let (connections, step, for_good, mut seen) =
            (Arc::clone(&self.connections), self.step, self.for_good, 0);
        let seen = Arc::new(Mutex::new(move || {
            seen += 1;
            seen == step.skip + 1 || (for_good && seen > step.skip)
        }));
        std::thread::spawn(move || {
            loop {
                let accepted = match listener.lock().unwrap().as_ref() {
                    Some(listener) => {
                        listener.set_nonblocking(true).unwrap();
                        listener.accept()
                    }
                    None => return,
                };
                let Ok((stream, _)) = accepted else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                connections
                    .lock()
                    .unwrap()
                    .push(stream.try_clone().unwrap());
                let (listener, connections) = (Arc::clone(&listener), Arc::clone(&connections));
                let (armed, seen) = (Arc::clone(&armed), Arc::clone(&seen));
                std::thread::spawn(move || {
                    let closes = |request: &str| {
                        armed.load(Ordering::SeqCst)
                            && step.is_in(request)
                            && (seen.lock().unwrap())()
                    };
                    if pass_on(stream, address, closes).is_some() && for_good {
                        // What was sent at the same time is answered first; otherwise the outcome
                        // depends on who is faster.
                        std::thread::sleep(Duration::from_millis(300));
                        *listener.lock().unwrap() = None;
                        for connection in connections.lock().unwrap().drain(..) {
                            let _ = connection.shutdown(Shutdown::Both);
                        }
                    }
                });
            }
        });
    }
}

impl Step {
    /// Whether a request, as it is on the wire, is this call.
    fn is_in(self, request: &str) -> bool {
        let action = if self.is_parameter_store() {
            request.contains(&format!("AmazonSSM.{}\r\n", self.action))
        } else {
            request.contains(&format!("Action={}&", self.action))
        };
        action && self.param.is_none_or(|param| request.contains(param))
    }
}

/// Passes requests and answers on until one side ends, or `closes` says that this request gets no
/// answer (then `Some`).
fn pass_on(client: TcpStream, emulator: SocketAddr, closes: impl Fn(&str) -> bool) -> Option<()> {
    let server = TcpStream::connect(emulator).ok()?;
    let (mut to_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    let (mut from_client, mut from_server) = (BufReader::new(client), BufReader::new(server));
    loop {
        let request = message(&mut from_client)?;
        if closes(&request) {
            let _ = to_client.shutdown(Shutdown::Both);
            return Some(());
        }
        to_server.write_all(request.as_bytes()).ok()?;
        to_client
            .write_all(message(&mut from_server)?.as_bytes())
            .ok()?;
    }
}

/// One HTTP message with a known length.
fn message(stream: &mut impl BufRead) -> Option<String> {
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let begin = text.len();
        if stream.read_line(&mut text).ok()? == 0 {
            return None;
        }
        let line = text[begin..].trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    stream.take(length).read_to_string(&mut text).ok()?;
    Some(text)
}

fn document(cases: &[(Step, Trouble)], rows: &BTreeMap<usize, Row>) -> String {
    let mut text = format!(
        "# When a call goes wrong\n\n\
         The test writes this page and compares it; do not edit: `UPDATE_DOCS=1 cargo test --test e2e faults::`. {} cases: every call of \
         the function, times every fault that can happen to it, against the built function over HTTP.\n\n\
         The image has a tag for each attribute, asks to be public, uses a group of the policy, and has a status tag to be set \
         (`CreateTags`) or removed (`DeleteTags`).\n\n\
         * **Tries**: the number of calls; `DescribeImages` and `DescribeImageAttribute` are made once more after the last write.\n\
         * **Event**: *finished*, or *kept*: the invocation failed, so Lambda brings the event again, twice, and then puts it into the \
         dead-letter queue.\n\
         * **Done**: the wanted changes that are there when the invocation ends. Access is given only when description and IMDS support \
         are right.\n\n\
         In every case the image is as wanted once the same event (or the next sweep) finds EC2 well again, and nothing is done twice.\n\n\
         | call | what goes wrong | outcome | tries | event | done |\n| --- | --- | --- | --- | --- | --- |\n",
        cases.len()
    );
    // What ends alike stands in one row.
    let mut index = 0;
    for step in STEPS {
        let mut groups: Vec<(Vec<&str>, &Row)> = Vec::new();
        while index < cases.len() && cases[index].0 == step {
            let (name, row) = (cases[index].1.name.as_str(), &rows[&index]);
            match groups.iter_mut().find(|(_, other)| *other == row) {
                Some((names, _)) => names.push(name),
                None => groups.push((vec![name], row)),
            }
            index += 1;
        }
        for (
            names,
            Row {
                outcome,
                tries,
                event,
                done,
            },
        ) in groups
        {
            let _ = writeln!(
                text,
                "| {} | {} | {outcome} | {tries} | {event} | {done} |",
                step.name,
                names.join("; ")
            );
        }
    }
    text
}

/// Compares a document with what it should say, or writes it.
fn compare(name: &str, text: &str) {
    let path = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    for (written, expected) in written.lines().zip(text.lines()) {
        assert_eq!(
            written, expected,
            "docs/{name} is out of date: UPDATE_DOCS=1 writes it"
        );
    }
    assert!(
        written == text,
        "docs/{name} is out of date: UPDATE_DOCS=1 writes it"
    );
}
