//! The model: people, EC2, and invocations whose plans are the real ones.
//!
//! An invocation takes the steps of `act::reconcile`: it reads image and policy, then the launch
//! permissions, sends the plan's call, and looks again at image, policy and permissions. Everything
//! else may happen between two steps.

use stateright::{Model, Property};

use crate::planner::{Asked, Call, Grantees, OUTSIDER, Planner, TEAMS, WISHES, letters};

/// The invocations that can be under way at the same time.
const INVOCATIONS: usize = 3;

/// The rules that let the newest wish win. Each can be taken out, to see that the model notices.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// No write rests on a read that is older than five seconds.
    pub fresh: bool,
    /// The image is looked at again after the last write.
    pub looks_again: bool,
    /// A tag event waits until EC2 shows the tags that it tells of.
    pub awaits_tags: bool,
    /// The policy is read again with the look after the last write.
    pub policy_again: bool,
}

impl Rules {
    /// As the function has them.
    pub const ALL: Self = Self {
        fresh: true,
        looks_again: true,
        awaits_tags: true,
        policy_again: true,
    };
}

/// How often each thing can still happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Somebody writes other tags.
    pub retags: u8,
    /// EC2 shows them later than their event comes.
    pub lags: u8,
    /// The group changes.
    pub policies: u8,
    /// The clock asks for a sweep.
    pub sweeps: u8,
    /// B is let in or taken out by hand.
    pub hands: u8,
    /// A process dies.
    pub crashes: u8,
    /// An event gets lost.
    pub losses: u8,
    /// A write fails.
    pub faults: u8,
    /// Six seconds pass while invocations are under way.
    pub delays: u8,
}

/// The progress of an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Phase {
    /// It has read image and policy.
    Read,
    /// It has read the launch permissions too, and has this call to send.
    Planned { launch: Grantees, call: Call },
    /// Its call went out, and it looks again. What it saw so far.
    Looks {
        expected: Grantees,
        asked: Option<Asked>,
        launch: Option<Grantees>,
    },
}

/// An invocation under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Invocation {
    /// The wish that it read last.
    asked: Asked,
    phase: Phase,
    /// What it read is over five seconds old.
    is_old: bool,
    /// What it read was withdrawn over five seconds ago.
    is_withdrawn: bool,
}

/// A rule of the contract that was broken on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Somebody outside the allow-list was let in.
    Outsider,
    /// Somebody was let in by a wish that had been withdrawn over five seconds before.
    Withdrawn,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    asked: Asked,
    /// The tags that EC2's reads show.
    shown: u8,
    launch: Grantees,
    /// Sorted: it makes no difference which process is which.
    invocations: Vec<Invocation>,
    /// The event of the newest tags is still to come. An older one that comes late would read the
    /// same, so it is left out.
    tag_event: bool,
    /// So many sweeps are still to come.
    sweeps: u8,
    left: Budget,
    /// An event was lost, or there was none, and nobody has looked at the newest state since.
    is_unheard: bool,
    broken: Option<Broken>,
}

/// One step of somebody. Invocations are named by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Retag { wish: u8, lags: bool },
    Show,
    ChangePolicy(u8),
    ByHand,
    AskForSweep,
    LoseTagEvent,
    LoseSweep,
    Delay,
    BeginByTags,
    BeginSweep,
    ReadPermissions(usize),
    ReadAgain(usize),
    Send(usize, Fate),
    LookAgain(usize),
    ReadBack(usize),
    Crash(usize),
}

/// The end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    Fine,
    NotCarriedOut,
    AnswerLost,
}

/// The model, its planner and its bounds.
#[derive(Debug)]
pub struct Warden {
    pub planner: Planner,
    pub rules: Rules,
    pub budget: Budget,
}

impl Warden {
    // --- Steps that are possible ---

    fn steps_of_people(&self, state: &State, steps: &mut Vec<Step>) {
        let left = &state.left;
        for (wish, _) in (0..).zip(WISHES) {
            if left.retags > 0 && wish != state.asked.wish {
                steps.push(Step::Retag { wish, lags: false });
                if left.lags > 0 {
                    steps.push(Step::Retag { wish, lags: true });
                }
            }
        }
        for (policy, _) in (0..).zip(TEAMS) {
            if left.policies > 0 && policy != state.asked.policy {
                steps.push(Step::ChangePolicy(policy));
            }
        }
        for (is_possible, step) in [
            (left.hands > 0, Step::ByHand),
            (left.sweeps > 0, Step::AskForSweep),
            (state.shown != state.asked.wish, Step::Show),
            (left.losses > 0 && state.tag_event, Step::LoseTagEvent),
            (left.losses > 0 && state.sweeps > 0, Step::LoseSweep),
            (
                left.delays > 0 && !state.invocations.is_empty(),
                Step::Delay,
            ),
        ] {
            if is_possible {
                steps.push(step);
            }
        }
    }

    fn steps_of_events(&self, state: &State, steps: &mut Vec<Step>) {
        if state.invocations.len() == INVOCATIONS {
            return;
        }
        let is_shown = state.shown == state.asked.wish || !self.rules.awaits_tags;
        if state.tag_event && is_shown {
            steps.push(Step::BeginByTags);
        }
        if state.sweeps > 0 {
            steps.push(Step::BeginSweep);
        }
    }

    fn steps_of(&self, state: &State, place: usize, steps: &mut Vec<Step>) {
        let invocation = &state.invocations[place];
        match invocation.phase {
            Phase::Read => steps.push(Step::ReadPermissions(place)),
            Phase::Planned { .. } if self.rules.fresh && invocation.is_old => {
                steps.push(Step::ReadAgain(place));
            }
            Phase::Planned { .. } => {
                steps.push(Step::Send(place, Fate::Fine));
                if state.left.faults > 0 {
                    steps.push(Step::Send(place, Fate::NotCarriedOut));
                    steps.push(Step::Send(place, Fate::AnswerLost));
                }
            }
            Phase::Looks { asked, launch, .. } => {
                if asked.is_none() {
                    steps.push(Step::LookAgain(place));
                }
                if launch.is_none() {
                    steps.push(Step::ReadBack(place));
                }
            }
        }
        if state.left.crashes > 0 {
            steps.push(Step::Crash(place));
        }
    }

    // --- Their effects ---

    fn people(&self, state: &mut State, step: Step) {
        match step {
            Step::Retag { wish, lags } => {
                state.left.retags -= 1;
                state.left.lags -= u8::from(lags);
                state.asked.wish = wish;
                state.tag_event = true;
                if !lags {
                    state.shown = wish;
                }
            }
            Step::Show => state.shown = state.asked.wish,
            Step::ChangePolicy(policy) => {
                state.left.policies -= 1;
                state.asked.policy = policy;
                state.sweeps += 1;
            }
            Step::ByHand => {
                state.left.hands -= 1;
                state.launch ^= 0b10;
                state.is_unheard = true;
            }
            Step::AskForSweep => {
                state.left.sweeps -= 1;
                state.sweeps += 1;
            }
            Step::LoseTagEvent => {
                state.left.losses -= 1;
                state.tag_event = false;
                state.is_unheard = true;
            }
            Step::LoseSweep => {
                state.left.losses -= 1;
                state.sweeps -= 1;
                state.is_unheard = true;
            }
            _ => self.delay(state),
        }
    }

    fn delay(&self, state: &mut State) {
        state.left.delays -= 1;
        for invocation in &mut state.invocations {
            invocation.is_old = true;
            invocation.is_withdrawn = !self.planner.is_same(invocation.asked, state.asked);
        }
    }

    fn read(state: &mut State) {
        let asked = Asked {
            wish: state.shown,
            ..state.asked
        };
        state.is_unheard &= asked != state.asked;
        state.invocations.push(Invocation {
            asked,
            phase: Phase::Read,
            is_old: false,
            is_withdrawn: false,
        });
    }

    fn read_permissions(&self, state: &mut State, mut invocation: Invocation) {
        let launch = state.launch;
        if let Some(call) = self.planner.call(invocation.asked, launch) {
            invocation.phase = Phase::Planned { launch, call };
            state.invocations.push(invocation);
        }
    }

    fn send(&self, state: &mut State, invocation: Invocation, fate: Fate) {
        let Phase::Planned { launch, call } = invocation.phase else {
            return;
        };
        if fate != Fate::NotCarriedOut {
            self.carry_out(state, invocation, call);
        }
        if fate != Fate::Fine {
            state.left.faults -= 1;
            Self::read(state);
        } else if self.rules.looks_again {
            let phase = Phase::Looks {
                expected: call.carried_out(launch),
                asked: None,
                launch: None,
            };
            state.invocations.push(Invocation {
                phase,
                ..invocation
            });
        }
    }

    fn carry_out(&self, state: &mut State, invocation: Invocation, call: Call) {
        let is_unwanted = call.add & !self.planner.wanted(state.asked) != 0;
        if call.add & OUTSIDER != 0 {
            state.broken = Some(Broken::Outsider);
        } else if invocation.is_withdrawn && is_unwanted {
            state.broken = Some(Broken::Withdrawn);
        }
        state.launch = call.carried_out(state.launch);
    }

    fn look_again(&self, state: &mut State, mut invocation: Invocation) {
        let policy = if self.rules.policy_again {
            state.asked.policy
        } else {
            invocation.asked.policy
        };
        if let Phase::Looks { asked, .. } = &mut invocation.phase {
            let wish = state.shown;
            *asked = Some(Asked { wish, policy });
        }
        self.settle(state, invocation);
    }

    fn read_back(&self, state: &mut State, mut invocation: Invocation) {
        if let Phase::Looks { launch, .. } = &mut invocation.phase {
            *launch = Some(state.launch);
        }
        self.settle(state, invocation);
    }

    /// Ends the invocation, or begins another round, as soon as it has seen both.
    fn settle(&self, state: &mut State, invocation: Invocation) {
        let Phase::Looks {
            expected,
            asked: Some(asked),
            launch: Some(launch),
        } = invocation.phase
        else {
            state.invocations.push(invocation);
            return;
        };
        let is_same = self.planner.is_same(asked, invocation.asked);
        let stands_against = self.planner.is_exact(asked) && launch != expected;
        if is_same && !stands_against {
            return;
        }
        // The real one fails after five rounds; its event comes again, and it goes on as here.
        state.invocations.push(Invocation {
            asked,
            phase: Phase::Read,
            is_old: false,
            is_withdrawn: false,
        });
    }

    /// Whether nothing is under way, and something is left to do.
    fn has_forgotten(&self, state: &State) -> bool {
        let is_quiet = state.invocations.is_empty() && !state.tag_event && state.sweeps == 0;
        let is_told = state.shown == state.asked.wish && !state.is_unheard;
        is_quiet && is_told && self.planner.call(state.asked, state.launch).is_some()
    }
}

impl Model for Warden {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            asked: Asked { wish: 0, policy: 0 },
            shown: 0,
            launch: 0,
            invocations: Vec::new(),
            tag_event: true,
            sweeps: 0,
            left: self.budget,
            is_unheard: false,
            broken: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.broken.is_some() {
            return;
        }
        self.steps_of_people(state, steps);
        self.steps_of_events(state, steps);
        for place in 0..state.invocations.len() {
            // Two that are alike have the same steps.
            let before = place.checked_sub(1).map(|before| state.invocations[before]);
            if before != Some(state.invocations[place]) {
                self.steps_of(state, place, steps);
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::BeginByTags => {
                state.tag_event = false;
                Self::read(&mut state);
            }
            Step::BeginSweep => {
                state.sweeps -= 1;
                Self::read(&mut state);
            }
            Step::ReadPermissions(place) => {
                let invocation = state.invocations.remove(place);
                self.read_permissions(&mut state, invocation);
            }
            Step::ReadAgain(place) => {
                state.invocations.remove(place);
                Self::read(&mut state);
            }
            Step::Send(place, fate) => {
                let invocation = state.invocations.remove(place);
                self.send(&mut state, invocation, fate);
            }
            Step::LookAgain(place) => {
                let invocation = state.invocations.remove(place);
                self.look_again(&mut state, invocation);
            }
            Step::ReadBack(place) => {
                let invocation = state.invocations.remove(place);
                self.read_back(&mut state, invocation);
            }
            Step::Crash(place) => {
                state.invocations.remove(place);
                state.left.crashes -= 1;
                // Its event comes again. It differs from that of the newest tags only while EC2
                // lags, and no bounds have both.
                state.tag_event = true;
            }
            people => self.people(&mut state, people),
        }
        state.invocations.sort_unstable();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the newest wish wins", |warden: &Self, state: &State| {
                !warden.has_forgotten(state)
            }),
            Property::always(
                "nobody outside the allow-list is let in",
                |_, state: &State| state.broken != Some(Broken::Outsider),
            ),
            Property::always(
                "nobody is let in by a wish withdrawn over 5 s before",
                |_, state: &State| state.broken != Some(Broken::Withdrawn),
            ),
            Property::sometimes(
                "everything has happened, and all is quiet",
                |_, state: &State| {
                    let is_used_up = state.left == Budget::default();
                    is_used_up
                        && state.invocations.is_empty()
                        && !state.tag_event
                        && state.sweeps == 0
                },
            ),
            Property::sometimes(
                "three invocations have a call to send",
                |_, state: &State| {
                    let calls = state.invocations.iter().map(|invocation| invocation.phase);
                    calls
                        .filter(|phase| matches!(phase, Phase::Planned { .. }))
                        .count()
                        == INVOCATIONS
                },
            ),
        ]
    }
}

/// A step as a person would tell it, by the state before it.
pub fn told(state: &State, step: Step) -> String {
    let who = |place: usize| {
        let Asked { wish, policy } = state.invocations[place].asked;
        format!("the one that read {}", tags(wish, policy))
    };
    match step {
        Step::Retag { wish, lags } => {
            let later = if lags {
                ", and EC2 does not show them yet"
            } else {
                ""
            };
            format!("somebody tags {}{later}", tags(wish, state.asked.policy))
        }
        Step::Show => "EC2 shows the tags".to_owned(),
        Step::ChangePolicy(policy) => {
            format!("the group becomes {}", TEAMS[usize::from(policy)])
        }
        Step::ByHand => "somebody changes the access of B by hand".to_owned(),
        Step::AskForSweep => "the clock asks for a sweep".to_owned(),
        Step::LoseTagEvent => "the tag event gets lost".to_owned(),
        Step::LoseSweep => "the event of a sweep gets lost".to_owned(),
        Step::Delay => "six seconds pass".to_owned(),
        Step::BeginByTags | Step::BeginSweep => {
            format!(
                "an invocation reads {}",
                tags(state.shown, state.asked.policy)
            )
        }
        Step::ReadPermissions(place) => {
            format!("{} sees in: {}", who(place), letters(state.launch))
        }
        Step::ReadAgain(place) => format!("{} reads again", who(place)),
        Step::Send(place, fate) => {
            let Phase::Planned { call, .. } = state.invocations[place].phase else {
                return String::new();
            };
            let how = match fate {
                Fate::Fine => "",
                Fate::NotCarriedOut => ": throttled",
                Fate::AnswerLost => ": done, and the answer is lost",
            };
            let (add, remove) = (letters(call.add), letters(call.remove));
            format!("{} adds {add}, removes {remove}{how}", who(place))
        }
        Step::LookAgain(place) => format!("{} looks again at the image", who(place)),
        Step::ReadBack(place) => format!("{} reads permissions back", who(place)),
        Step::Crash(place) => format!("{} dies", who(place)),
    }
}

fn tags(wish: u8, policy: u8) -> String {
    let (launch_permission, held) = WISHES[usize::from(wish)];
    let team = format!("({})", TEAMS[usize::from(policy)]);
    let text = launch_permission.replace("@team", &format!("@team {team}"));
    if held {
        format!("\"{text}\" and hold")
    } else {
        format!("\"{text}\"")
    }
}
