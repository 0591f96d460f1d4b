//! Every schedule of a few invocations and of other people's doings, over one account in memory.
//!
//! Each call of a port is a point at which the schedule decides: the call waits until it is this
//! call's turn. One thread polls the real futures of the function; the clock stands still, but
//! where the schedule lets time pass. A depth-first search goes through all choices.
//!
//! An invocation is deterministic, so its state follows from the answers that it got so far, and
//! when. Two schedules that lead to the same answers and the same account go on alike: the search
//! goes on from there once, and counts both.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, HashMap},
    fmt::{self, Debug},
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use ami_warden::{Answer, CallError, InvocationError, Settings, TimeBudget, Warden};
use ami_warden_core::{Change, Grantee, Image, ImageState, LaunchPermissions};
use serde_json::Value;
use tokio::{
    sync::oneshot,
    task::{unconstrained, yield_now},
    time::{Instant, advance},
};

use crate::world::{Account, Carried, Fate, NoKeys, Truth, World, Write, error, grantee};

/// The contract: no write rests on anything older.
const FRESH: Duration = Duration::from_secs(5);

/// Longer than any wait of an invocation between two calls.
const WAIT_MAX: Duration = Duration::from_secs(40);

/// EC2 shows a change of tags after so many more reads at the latest.
const HIDDEN_WAITS_MAX: usize = 2;

/// The parts of the account that calls read and change one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Image,
    Launch,
    Parameters,
}

/// One thing that people do, and the parts that it may change.
#[derive(Clone, Copy)]
pub struct Doing {
    pub name: &'static str,
    pub parts: &'static [Part],
    pub act: fn(&mut Account),
}

/// One event, and the number of doings after which it comes.
#[derive(Clone, Copy)]
pub struct Cue {
    pub after: usize,
    /// The event, by the image as it is when it comes.
    pub event: fn(&Image) -> Value,
}

/// The fault of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It is carried out, and the answer gets lost.
    Lost,
    /// It is throttled, and not carried out.
    Throttled,
    /// EC2 says "not yet".
    NotYet,
}

/// Everything that can happen.
#[derive(Clone)]
pub struct Scene {
    pub settings: Settings,
    pub account: Account,
    pub doings: Vec<Doing>,
    pub cues: Vec<Cue>,
    /// The parts that invocations may change.
    pub written: &'static [Part],
    /// So many times calls are held up, and for how long.
    pub held_up: (usize, Duration),
    /// So many writes end with one of these faults.
    pub faults: (usize, &'static [Fault]),
    /// EC2 shows the last of the doings later than the event tells of it.
    pub lags: bool,
    /// So many processes die, and their events come again.
    pub crashes: usize,
    /// Whether an account is as the newest wish wants it.
    pub is_as_wanted: fn(&Truth) -> bool,
}

/// The number of schedules, and of states that they go through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Explored {
    pub schedules: u128,
    pub states: usize,
}

/// A schedule that breaks a rule.
pub struct Broken {
    pub rule: String,
    pub schedule: Vec<String>,
}

impl Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.rule)?;
        for step in &self.schedule {
            writeln!(f, "    {step}")?;
        }
        Ok(())
    }
}

/// Goes through every schedule of the scene.
pub fn explore(scene: &Scene) -> Result<Explored, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(search(scene))
}

/// A state on the way of the search.
struct Frame {
    key: u128,
    choices: Vec<Choice>,
    taken: usize,
    schedules: u128,
}

async fn search(scene: &Scene) -> Result<Explored, Broken> {
    let mut known: HashMap<u128, u128> = HashMap::new();
    let mut way: Vec<Frame> = Vec::new();
    loop {
        let mut run = Run::new(scene);
        run.settle().await;
        for frame in &way {
            run.take(frame.choices[frame.taken]).await;
        }
        let mut schedules = loop {
            if let Some(rule) = run.desk.broken.take() {
                return Err(Broken {
                    rule,
                    schedule: run.trace,
                });
            }
            let key = run.key();
            if let Some(schedules) = known.get(&key) {
                break *schedules;
            }
            let choices = run.choices();
            let Some(first) = choices.first().copied() else {
                if let Err(rule) = run.check_end().await {
                    return Err(Broken {
                        rule,
                        schedule: run.trace,
                    });
                }
                known.insert(key, 1);
                break 1;
            };
            way.push(Frame {
                key,
                choices,
                taken: 0,
                schedules: 0,
            });
            run.take(first).await;
        };
        // Back to the last state with a choice that was not taken yet.
        loop {
            let Some(frame) = way.last_mut() else {
                return Ok(Explored {
                    schedules,
                    states: known.len(),
                });
            };
            frame.schedules += schedules;
            frame.taken += 1;
            if frame.taken < frame.choices.len() {
                break;
            }
            schedules = frame.schedules;
            known.insert(frame.key, schedules);
            way.pop();
        }
    }
}

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The event of this invocation comes.
    Begin(usize),
    /// This call is carried out.
    Carry(u64),
    /// This call ends with a fault.
    Fail(u64, Fault),
    /// People do the next thing.
    Do,
    /// EC2 shows what people did.
    Show,
    /// Time passes until an invocation that waits goes on.
    Wait,
    /// Time passes while calls are under way.
    HoldUp,
    /// The process of this invocation dies.
    Crash(usize),
}

/// A call under way.
struct Ticket {
    id: u64,
    owner: usize,
    operation: &'static str,
    write: Option<String>,
    turn: oneshot::Sender<Result<Carried, CallError>>,
}

/// What an invocation got to know.
#[derive(Default)]
struct Knowledge {
    /// Milliseconds, operation, and the hash of the answer.
    answers: Vec<(u128, &'static str, u64)>,
    image: Option<(Instant, Image)>,
    permissions: Option<(Instant, LaunchPermissions)>,
    parameters: Option<(Instant, Vec<(String, String)>)>,
    /// A write ended with a fault, and the image was not read since.
    must_read: bool,
    /// The image was written, and not read since.
    must_look: bool,
}

impl Knowledge {
    fn learn(
        &mut self,
        answer: (u128, &'static str, u64),
        account: &Account,
        back: usize,
        fault: Option<Fault>,
    ) {
        self.answers.push(answer);
        match answer.1 {
            "DescribeImages" => {
                let seen = account.history[account.history.len() - 1 - back].as_ref();
                self.image = seen.map(|truth| (Instant::now(), truth.image.clone()));
                (self.must_read, self.must_look) = (false, false);
            }
            "DescribeImageAttribute" => {
                self.permissions = Some((Instant::now(), account.now().launch.clone()));
            }
            "GetParametersByPath" => {
                let parameters = account.parameters.clone().into_iter().collect();
                self.parameters = Some((Instant::now(), parameters));
            }
            _ => self.must_read |= fault.is_some(),
        }
    }
}

/// Hashes of the account, by what a call reads of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Prints {
    image: u64,
    launch: u64,
    parameters: u64,
}

impl Prints {
    fn of(account: &Account, back: usize) -> Self {
        let truth = account.history[account.history.len() - 1 - back].as_ref();
        let image = hash(&truth.map(|truth| format!("{:?}", truth.image)));
        let launch = hash(&truth.map(|truth| &truth.launch));
        Self {
            image,
            launch,
            parameters: hash(&account.parameters),
        }
    }

    fn of_part(self, part: Part) -> u64 {
        match part {
            Part::Image => self.image,
            Part::Launch => self.launch,
            Part::Parameters => self.parameters,
        }
    }

    /// Whether both are the same but for these parts.
    fn differs_only_in(self, other: Self, parts: &[Part]) -> bool {
        let all = [Part::Image, Part::Launch, Part::Parameters];
        all.iter()
            .all(|part| parts.contains(part) || self.of_part(*part) == other.of_part(*part))
    }
}

/// The part that a call reads; `None` for a write.
fn part_read_by(operation: &str) -> Option<Part> {
    match operation {
        "DescribeImages" | "DescribeImages (list)" => Some(Part::Image),
        "DescribeImageAttribute" => Some(Part::Launch),
        "GetParametersByPath" => Some(Part::Parameters),
        _ => None,
    }
}

/// Where calls wait for their turn.
struct Desk {
    start: Instant,
    tickets: RefCell<Vec<Ticket>>,
    handed_in: Cell<u64>,
    known: RefCell<Vec<Knowledge>>,
    broken: RefCell<Option<String>>,
    has_policy: bool,
}

impl Desk {
    fn break_rule(&self, rule: String) {
        self.broken.borrow_mut().get_or_insert(rule);
    }

    /// The rules for a write at the moment in which it is sent.
    fn check_sending(&self, owner: usize, change: &Change) {
        let known = &self.known.borrow()[owner];
        let is_old = |read: Option<Instant>| read.is_none_or(|at| at.elapsed() > FRESH);
        let mut oldest = vec![("image", known.image.as_ref().map(|(at, _)| *at))];
        if matches!(change, Change::LaunchPermission(_)) {
            let read = known.permissions.as_ref().map(|(at, _)| *at);
            oldest.push(("list of launch permissions", read));
        }
        if self.has_policy {
            oldest.push(("policy", known.parameters.as_ref().map(|(at, _)| *at)));
        }
        for (name, read) in oldest {
            if is_old(read) {
                self.break_rule(format!("the write of {owner} rests on an old {name}"));
            }
        }
        if known.must_read {
            self.break_rule(format!("{owner} repeats a write without reading the image"));
        }
    }

    /// The rules for the end of an invocation that succeeded.
    fn check_ending(&self, owner: usize) {
        let known = &self.known.borrow()[owner];
        if known.must_look {
            self.break_rule(format!("{owner} ends without a look after its last write"));
        }
        let (Some((_, image)), Some((_, launch))) = (&known.image, &known.permissions) else {
            return;
        };
        let groups = known
            .parameters
            .as_ref()
            .map(|(_, groups)| groups.as_slice());
        if is_exact(image) && *launch != asked_for(image, groups.unwrap_or_default()) {
            self.break_rule(format!(
                "{owner} ends and saw permissions against an exact list"
            ));
        }
    }

    /// The rule for a write at the moment in which it is carried out: it lets in only grantees that
    /// the newest tags ask for that its invocation has read.
    fn check_carrying(&self, owner: usize, change: &Change) {
        let Change::LaunchPermission(change) = change else {
            return;
        };
        let known = &self.known.borrow()[owner];
        let Some((_, image)) = &known.image else {
            return;
        };
        let groups = known
            .parameters
            .as_ref()
            .map(|(_, groups)| groups.as_slice());
        let asked_for = asked_for(image, groups.unwrap_or_default());
        for grantee in change.add.difference(&asked_for) {
            self.break_rule(format!(
                "{owner} lets {grantee} in, and the tags it read do not"
            ));
        }
    }
}

/// Whether the tags name exactly the grantees that are to have access.
fn is_exact(image: &Image) -> bool {
    let value = image.tags.get("ami-warden:launch-permission");
    image.state == ImageState::Available
        && !image.tags.contains_key("ami-warden:hold")
        && value.is_some_and(|value| value.starts_with('='))
}

/// The grantees that an image's tags ask for; written from the contract, for simple lists only.
fn asked_for(image: &Image, groups: &[(String, String)]) -> BTreeSet<Grantee> {
    let tag = |key: &str| {
        image
            .tags
            .get(&format!("ami-warden:{key}"))
            .map_or("", String::as_str)
    };
    if image.state != ImageState::Available || !tag("hold").is_empty() {
        return BTreeSet::new();
    }
    let mut asked_for = BTreeSet::new();
    for item in tag("launch-permission")
        .split(' ')
        .filter(|item| !item.starts_with(['-', '=']))
    {
        match item.strip_prefix('@') {
            None if item.is_empty() => {}
            None => drop(asked_for.insert(grantee(item))),
            Some(name) => {
                let group = groups
                    .iter()
                    .find(|(group, _)| *group == format!("groups/{name}"));
                asked_for.extend(group.unwrap().1.split(',').map(grantee));
            }
        }
    }
    asked_for
}

/// The fate of the calls of one invocation: they wait at the desk.
#[derive(Clone)]
struct Clerk {
    owner: usize,
    desk: Rc<Desk>,
}

impl Fate for Clerk {
    async fn carry(
        &self,
        operation: &'static str,
        write: Option<Write<'_>>,
    ) -> Result<Carried, CallError> {
        let (turn, wait) = oneshot::channel();
        let id = self.desk.handed_in.get();
        self.desk.handed_in.set(id + 1);
        let shown = match write {
            Some(Write::Change(change)) => {
                self.desk.check_sending(self.owner, change);
                Some(shown(change))
            }
            Some(Write::Tag(key, value)) => Some(format!("{key} = {value:?}")),
            None => None,
        };
        let ticket = Ticket {
            id,
            owner: self.owner,
            operation,
            write: shown,
            turn,
        };
        self.desk.tickets.borrow_mut().push(ticket);
        wait.await
            .unwrap_or_else(|_| Err(error(operation, "InternalError")))
    }

    fn check(&self, _: &Account, write: Write<'_>) {
        if let Write::Change(change) = write {
            self.desk.check_carrying(self.owner, change);
            self.desk.known.borrow_mut()[self.owner].must_look = true;
        }
    }

    fn saw(&self, operation: &'static str, answer: &dyn Debug) {
        let time = self.desk.start.elapsed().as_millis();
        let answer = hash(&format!("{answer:?}"));
        self.desk.known.borrow_mut()[self.owner]
            .answers
            .push((time, operation, answer));
    }
}

fn shown(change: &Change) -> String {
    match change {
        Change::LaunchPermission(change) => {
            let add = change.add.iter().map(|grantee| format!("+{grantee}"));
            let remove = change.remove.iter().map(|grantee| format!("-{grantee}"));
            add.chain(remove).collect::<Vec<_>>().join(" ")
        }
        Change::Description { to, .. } => format!("description {to:?}"),
        other => other.attribute().to_string(),
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

type Work = Pin<Box<dyn Future<Output = Result<Answer, InvocationError>>>>;

enum Invocation {
    ToCome,
    Running(Value, Work),
    Done { event: Value, succeeded: bool },
}

/// One schedule on its way.
struct Run<'a> {
    scene: &'a Scene,
    account: Rc<RefCell<Account>>,
    desk: Rc<Desk>,
    invocations: Vec<Invocation>,
    done: usize,
    /// The images after each doing.
    images: Vec<Image>,
    /// The account as it is, and as reads show it.
    prints: (Prints, Prints),
    /// The place in the history that EC2's answers do not show yet.
    hidden: Option<usize>,
    hidden_waits: usize,
    held_up: usize,
    faults: usize,
    crashes: usize,
    trace: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(scene: &'a Scene) -> Self {
        let known = scene.cues.iter().map(|_| Knowledge::default()).collect();
        let desk = Desk {
            start: Instant::now(),
            tickets: RefCell::default(),
            handed_in: Cell::new(0),
            known: RefCell::new(known),
            broken: RefCell::default(),
            has_policy: scene.settings.rulebook.policy_path.is_some(),
        };
        Self {
            scene,
            account: Rc::new(RefCell::new(scene.account.clone())),
            desk: Rc::new(desk),
            invocations: scene.cues.iter().map(|_| Invocation::ToCome).collect(),
            done: 0,
            images: vec![scene.account.now().image.clone()],
            prints: (Prints::of(&scene.account, 0), Prints::of(&scene.account, 0)),
            hidden: None,
            hidden_waits: 0,
            held_up: 0,
            faults: 0,
            crashes: 0,
            trace: Vec::new(),
        }
    }

    /// Lets every invocation go on until it waits for a call or for time.
    async fn settle(&mut self) {
        // Timers that are due fire now.
        yield_now().await;
        let mut handed_in = None;
        while handed_in != Some(self.desk.handed_in.get()) {
            handed_in = Some(self.desk.handed_in.get());
            for owner in 0..self.invocations.len() {
                self.poll(owner);
            }
        }
        self.desk
            .tickets
            .borrow_mut()
            .retain(|ticket| !ticket.turn.is_closed());
    }

    fn poll(&mut self, owner: usize) {
        let Invocation::Running(event, work) = &mut self.invocations[owner] else {
            return;
        };
        // Jitter is the only chance in an invocation.
        fastrand::seed(7);
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(result) = Pin::new(work).poll(&mut context) else {
            return;
        };
        let succeeded = result.is_ok();
        let event = event.take();
        if succeeded {
            self.desk.check_ending(owner);
        }
        self.invocations[owner] = Invocation::Done { event, succeeded };
    }

    /// A choice that makes no difference when it is taken: nobody can change any more what the call
    /// reads, or an invocation only begins. It is taken at once, and schedules that differ in its
    /// place count as one. Not while a hold-up may come, which makes reads old.
    fn free_choice(&self) -> Option<Choice> {
        if self.held_up < self.scene.held_up.0 {
            return None;
        }
        for (owner, invocation) in self.invocations.iter().enumerate() {
            let is_due = self.scene.cues[owner].after <= self.done;
            if is_due && matches!(invocation, Invocation::ToCome) {
                return Some(Choice::Begin(owner));
            }
        }
        let tickets = self.desk.tickets.borrow();
        let free = tickets
            .iter()
            .find(|ticket| match part_read_by(ticket.operation) {
                Some(part) => self.is_settled(part, ticket.owner),
                None => false,
            });
        free.map(|ticket| Choice::Carry(ticket.id))
    }

    /// Whether nobody but this invocation can change the part any more.
    fn is_settled(&self, part: Part, owner: usize) -> bool {
        let to_come = &self.scene.doings[self.done..];
        if to_come.iter().any(|doing| doing.parts.contains(&part)) {
            return false;
        }
        if part == Part::Image && self.hidden.is_some() {
            return false;
        }
        let is_over = |invocation: &Invocation| matches!(invocation, Invocation::Done { .. });
        let mut others = self
            .invocations
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != owner);
        !self.scene.written.contains(&part) || others.all(|(_, other)| is_over(other))
    }

    fn choices(&self) -> Vec<Choice> {
        if let Some(free) = self.free_choice() {
            return vec![free];
        }
        let tickets = self.desk.tickets.borrow();
        let mut choices: Vec<Choice> = tickets
            .iter()
            .map(|ticket| Choice::Carry(ticket.id))
            .collect();
        let (faults_max, faults) = self.scene.faults;
        if self.faults < faults_max {
            for ticket in tickets.iter().filter(|ticket| ticket.write.is_some()) {
                choices.extend(faults.iter().map(|fault| Choice::Fail(ticket.id, *fault)));
            }
        }
        if self.done < self.scene.doings.len() {
            choices.push(Choice::Do);
        }
        if self.hidden.is_some() {
            choices.push(Choice::Show);
        }
        let mut is_running = false;
        let mut is_waiting = false;
        for (owner, invocation) in self.invocations.iter().enumerate() {
            match invocation {
                Invocation::ToCome if self.scene.cues[owner].after <= self.done => {
                    choices.push(Choice::Begin(owner));
                }
                Invocation::Running(..) => {
                    is_running = true;
                    is_waiting |= !tickets.iter().any(|ticket| ticket.owner == owner);
                    if self.crashes < self.scene.crashes {
                        choices.push(Choice::Crash(owner));
                    }
                }
                Invocation::ToCome | Invocation::Done { .. } => {}
            }
        }
        if is_waiting && (self.hidden.is_none() || self.hidden_waits < HIDDEN_WAITS_MAX) {
            choices.push(Choice::Wait);
        }
        if is_running && self.hidden.is_none() && self.held_up < self.scene.held_up.0 {
            choices.push(Choice::HoldUp);
        }
        choices
    }

    async fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Begin(owner) => self.begin(owner),
            Choice::Carry(id) => self.carry(id, None),
            Choice::Fail(id, fault) => {
                self.faults += 1;
                self.carry(id, Some(fault));
            }
            Choice::Do => self.act(),
            Choice::Show => {
                self.hidden = None;
                self.take_prints(&[]);
                self.trace.push("EC2 shows it".to_owned());
            }
            Choice::Wait => self.wait().await,
            Choice::HoldUp => {
                self.held_up += 1;
                let (_, time) = self.scene.held_up;
                self.trace.push(format!("{time:?} pass"));
                advance(time).await;
            }
            Choice::Crash(owner) => {
                self.crashes += 1;
                self.trace.push(format!("{owner}: the process dies"));
                self.invocations[owner] = Invocation::ToCome;
                self.desk.known.borrow_mut()[owner] = Knowledge::default();
            }
        }
        // Time never stands quite still, so that "later" and "at the same time" differ.
        advance(Duration::from_micros(1)).await;
        self.settle().await;
    }

    fn begin(&mut self, owner: usize) {
        let Cue { after, event } = self.scene.cues[owner];
        let event = event(&self.images[after]);
        self.trace.push(format!("{owner}: begins"));
        let work = self.work(owner, event.clone());
        self.invocations[owner] = Invocation::Running(event, work);
    }

    fn work(&self, owner: usize, event: Value) -> Work {
        let clerk = Clerk {
            owner,
            desk: Rc::clone(&self.desk),
        };
        let account = Rc::clone(&self.account);
        let settings = self.scene.settings.clone();
        Box::pin(unconstrained(async move {
            let world = || World {
                account: Rc::clone(&account),
                fate: clerk.clone(),
            };
            let warden = Warden::new(settings, world(), NoKeys, world(), None);
            let time = TimeBudget::until(Instant::now() + Duration::from_secs(300));
            warden.handle(&event, false, time).await
        }))
    }

    fn carry(&mut self, id: u64, fault: Option<Fault>) {
        let mut tickets = self.desk.tickets.borrow_mut();
        let place = tickets.iter().position(|ticket| ticket.id == id).unwrap();
        let Ticket {
            owner,
            operation,
            write,
            turn,
            ..
        } = tickets.remove(place);
        drop(tickets);
        let account = self.account.borrow();
        let back = if operation == "DescribeImages" {
            self.back(&account)
        } else {
            0
        };
        let prints = if back > 0 {
            self.prints.1
        } else {
            self.prints.0
        };
        let time = self.desk.start.elapsed().as_millis();
        let read = part_read_by(operation).map(|part| prints.of_part(part));
        let answer = (time, operation, hash(&(fault, read)));
        self.desk.known.borrow_mut()[owner].learn(answer, &account, back, fault);
        drop(account);
        let is_write = write.is_some();
        let what = write.unwrap_or_default();
        let how = fault.map_or(String::new(), |fault| format!(" ({fault:?})"));
        self.trace.push(format!("{owner}: {operation} {what}{how}"));
        let fate = match fault {
            None => Ok(Carried { back, lost: false }),
            Some(Fault::Lost) => Ok(Carried {
                back: 0,
                lost: true,
            }),
            Some(Fault::Throttled) => Err(error(operation, "RequestLimitExceeded")),
            Some(Fault::NotYet) => Err(error(operation, "InvalidAMIID.Unavailable")),
        };
        drop(turn.send(fate));
        if is_write {
            self.poll(owner);
            self.take_prints(self.scene.written);
        }
    }

    /// How many changes DescribeImages does not show.
    fn back(&self, account: &Account) -> usize {
        self.hidden
            .map_or(0, |hidden| account.history.len() - hidden)
    }

    /// Takes prints after a change of these parts.
    fn take_prints(&mut self, parts: &[Part]) {
        let account = self.account.borrow();
        let now = Prints::of(&account, 0);
        assert!(
            now.differs_only_in(self.prints.0, parts),
            "changed more than {parts:?}"
        );
        self.prints = (now, Prints::of(&account, self.back(&account)));
    }

    fn act(&mut self) {
        let Doing { name, parts, act } = self.scene.doings[self.done];
        self.trace.push(format!("people: {name}"));
        self.done += 1;
        let mut account = self.account.borrow_mut();
        if self.scene.lags && self.done == self.scene.doings.len() {
            self.hidden = Some(account.history.len());
        }
        act(&mut account);
        self.images.push(account.now().image.clone());
        drop(account);
        self.take_prints(parts);
    }

    /// Time passes until an invocation goes on.
    async fn wait(&mut self) {
        self.hidden_waits += usize::from(self.hidden.is_some());
        self.trace.push("time passes".to_owned());
        let handed_in = self.desk.handed_in.get();
        let running = self.running();
        let start = Instant::now();
        while self.desk.handed_in.get() == handed_in && self.running() == running {
            if start.elapsed() > WAIT_MAX {
                self.desk
                    .break_rule("an invocation waits for nothing".to_owned());
                return;
            }
            advance(Duration::from_millis(25)).await;
            self.settle().await;
        }
    }

    fn running(&self) -> usize {
        let is_running = |invocation: &&Invocation| matches!(invocation, Invocation::Running(..));
        self.invocations.iter().filter(is_running).count()
    }

    /// Everything on which the rest of the schedule depends.
    fn key(&self) -> u128 {
        let mut parts = Vec::new();
        let account = self.account.borrow();
        parts.push(hash(&format!(
            "{:?}{:?}",
            account.now(),
            account.parameters
        )));
        // What is hidden differs from what is so.
        parts.push(hash(
            &self
                .hidden
                .map(|at| format!("{:?}", account.history[at - 1])),
        ));
        let now = self.desk.start.elapsed().as_millis();
        let counters = [
            self.done,
            self.hidden_waits,
            self.held_up,
            self.faults,
            self.crashes,
        ];
        parts.push(hash(&counters));
        let tickets = self.desk.tickets.borrow();
        for (owner, known) in self.desk.known.borrow().iter().enumerate() {
            let state = match &self.invocations[owner] {
                Invocation::ToCome => 0,
                Invocation::Running(..) => 1,
                Invocation::Done { succeeded, .. } => 2 + u8::from(*succeeded),
            };
            let calls = tickets.iter().filter(|ticket| ticket.owner == owner);
            let calls: Vec<_> = calls.map(|call| (call.operation, &call.write)).collect();
            let answers: Vec<_> = known
                .answers
                .iter()
                .map(|(at, op, h)| ((now - at) / 1000, op, h))
                .collect();
            parts.push(hash(&(state, answers, calls)));
        }
        u128::from(hash(&(0, &parts))) << 64 | u128::from(hash(&(1, &parts)))
    }

    /// At the end the image is as wanted. An event that failed comes again before that.
    async fn check_end(&mut self) -> Result<(), String> {
        let mut again = Vec::new();
        for invocation in &self.invocations {
            if let Invocation::Done {
                event,
                succeeded: false,
            } = invocation
            {
                again.push(event.clone());
            }
        }
        for event in again {
            if !self.alone(event).await {
                return Err("an event that comes again is not finished".to_owned());
            }
        }
        let account = self.account.borrow().clone();
        if !(self.scene.is_as_wanted)(account.now()) {
            let launch: Vec<_> = account
                .now()
                .launch
                .iter()
                .map(ToString::to_string)
                .collect();
            return Err(format!("the image does not end as wanted: {launch:?}"));
        }
        Ok(())
    }

    /// One more invocation, with nothing beside it. Whether it finished the event.
    async fn alone(&mut self, event: Value) -> bool {
        self.desk.known.borrow_mut()[0] = Knowledge::default();
        let work = self.work(0, event.clone());
        self.invocations[0] = Invocation::Running(event, work);
        self.settle().await;
        while let Invocation::Running(..) = &self.invocations[0] {
            let next = self.desk.tickets.borrow().first().map(|ticket| ticket.id);
            match next {
                Some(id) => self.take(Choice::Carry(id)).await,
                None => self.take(Choice::Wait).await,
            }
        }
        matches!(
            self.invocations[0],
            Invocation::Done {
                succeeded: true,
                ..
            }
        )
    }
}
