//! Explores a bounded model of the function exhaustively: `make proof`, or
//! `cargo run -p proof --profile proof`.
//!
//! First as the function is: every property has to hold. Then with each of its rules taken out: a
//! property has to break, and the shortest way there is printed.

mod model;
mod planner;

use std::{process::ExitCode, time::Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

use model::{Budget, Rules, State, Step, Warden, told};
use planner::Planner;

/// Three invocations, three changes of tags, one of the policy, a sweep, a crash and a lost event.
const EVERYTHING: Budget = Budget {
    retags: 3,
    policies: 1,
    sweeps: 1,
    crashes: 1,
    losses: 1,
    lags: 0,
    hands: 0,
    faults: 0,
    delays: 0,
};

/// Three invocations, two changes of tags that EC2 may show late, one by hand, a write that fails,
/// a call that is held up, and a sweep.
const HOSTILE: Budget = Budget {
    retags: 2,
    lags: 2,
    hands: 1,
    faults: 1,
    delays: 1,
    policies: 0,
    sweeps: 1,
    crashes: 0,
    losses: 0,
};

/// Bounds that are enough to miss any of the rules.
const SMALL: Budget = Budget {
    retags: 1,
    policies: 1,
    faults: 0,
    delays: 1,
    lags: 1,
    sweeps: 0,
    hands: 0,
    crashes: 0,
    losses: 0,
};

const MUTANTS: [(&str, Rules); 4] = [
    (
        "no write rests on a read that is over 5 s old",
        Rules {
            fresh: false,
            ..Rules::ALL
        },
    ),
    (
        "the image is looked at again after a write",
        Rules {
            looks_again: false,
            ..Rules::ALL
        },
    ),
    (
        "a tag event waits for its tags",
        Rules {
            awaits_tags: false,
            ..Rules::ALL
        },
    ),
    (
        "the policy is read again after a write",
        Rules {
            policy_again: false,
            ..Rules::ALL
        },
    ),
];

fn main() -> ExitCode {
    println!(
        "proof: {} situations planned by the real planner",
        Planner::new().situations()
    );
    let mut is_proven = true;
    for (name, budget) in [
        (
            "3 tag changes, a policy change, a sweep, a crash, a lost event",
            EVERYTHING,
        ),
        (
            "2 late tag changes, one by hand, a fault, a delay, a sweep",
            HOSTILE,
        ),
    ] {
        is_proven &= holds(name, budget);
    }
    for (rule, rules) in MUTANTS {
        is_proven &= breaks(rule, rules);
    }
    if is_proven {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether every property holds in every state.
fn holds(name: &str, budget: Budget) -> bool {
    let started = Instant::now();
    let planner = Planner::new();
    let warden = Warden {
        planner,
        rules: Rules::ALL,
        budget,
    };
    let properties = warden.properties().len();
    let checker = warden.checker().threads(threads()).spawn_bfs().join();
    let states = checker.unique_state_count();
    let seconds = started.elapsed().as_secs();
    let discoveries = checker.discoveries();
    let mut holds = true;
    for property in checker.model().properties() {
        let is_found = discoveries.contains_key(property.name);
        if is_found != (property.expectation == Expectation::Sometimes) {
            println!("proof: FAILED: {}: {name}", property.name);
            holds = false;
        }
    }
    for path in discoveries
        .into_iter()
        .filter(|_| !holds)
        .map(|(_, path)| path)
    {
        print_steps(path);
    }
    let size = format!("{states} states, {properties} properties");
    println!("proof: {size}: {name} ({seconds} s)");
    holds
}

/// Whether a property breaks without the rule; prints the shortest way there.
fn breaks(rule: &str, rules: Rules) -> bool {
    let warden = Warden {
        planner: Planner::new(),
        rules,
        budget: SMALL,
    };
    let any = HasDiscoveries::AnyFailures;
    let checker = warden.checker().finish_when(any).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let broken = checker.model().properties().into_iter().find(|property| {
        property.expectation == Expectation::Always && discoveries.contains_key(property.name)
    });
    let Some(broken) = broken else {
        println!("proof: FAILED: nothing breaks without: {rule}");
        return false;
    };
    println!("proof: without \"{rule}\", \"{}\" breaks:", broken.name);
    if let Some(path) = checker.discovery(broken.name) {
        print_steps(path);
    }
    true
}

fn print_steps(path: Path<State, Step>) {
    for (state, step) in path.into_vec() {
        if let Some(step) = step {
            println!("    {}", told(&state, step));
        }
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
