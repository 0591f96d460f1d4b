//! Order and duplicates: whatever order things happen in, and whatever order events tell of them
//! in, the image ends as the last truth wants it.

use ec2_emulator::{Grantee, ImageState, State};
use serde_json::Value;

use crate::{
    newest_wish::{tag_changed, tags_created},
    world::*,
};

/// Something that happens to an image, and the event that tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    Created,
    Tagged,
    Retagged,
    Untagged,
    Disabled,
    Enabled,
    /// By hand: no event tells of that; a sweep finds it.
    MadePublic,
}

use Happening::*;

const TAG: &str = "ami-warden:launch-permission";
const FIRST: &str = "= 444455556666";
const SECOND: &str = "= 222233334444 444455556666";

impl Happening {
    /// Does it to the image.
    fn happen(self, state: &mut State) {
        // Nothing can be done to an image that is not there yet, and creating it twice is another
        // image.
        if self == Created && !state.images.contains_key(IMAGE) {
            state.add(Image::new(IMAGE));
        }
        let Some(image) = state.images.get_mut(IMAGE) else {
            return;
        };
        match self {
            Created => {}
            Tagged => drop(image.tags.insert(TAG.into(), FIRST.into())),
            Retagged => drop(image.tags.insert(TAG.into(), SECOND.into())),
            Untagged => drop(image.tags.remove(TAG)),
            Disabled => {
                image.state = ImageState::Disabled;
                image.launch_permissions.clear();
            }
            Enabled => image.state = ImageState::Available,
            MadePublic if image.state == ImageState::Available => {
                image.launch_permissions.insert(Grantee::all());
            }
            MadePublic => {}
        }
    }

    /// The event that tells of it, with the tags that it promises.
    fn event(self) -> Value {
        match self {
            Created | Enabled => event("ami-available"),
            Tagged => tag_changed(&share(FIRST)),
            Retagged => tags_created(&share(SECOND)),
            Untagged => tag_changed(&Image::new(IMAGE)),
            Disabled => event("ami-disabled"),
            MadePublic => event("sweep"),
        }
    }

    /// The same without its tags: a late event promises tags that were changed again, and would be
    /// waited for.
    fn late_event(self) -> Value {
        let mut event = self.event();
        if let Some(detail) = event.get_mut("detail").and_then(Value::as_object_mut) {
            detail.remove("tags");
            if let Some(parameters) = detail
                .get_mut("requestParameters")
                .and_then(Value::as_object_mut)
            {
                parameters.remove("tagSet");
            }
        }
        event
    }
}

/// Who may launch an image after it was looked at, written from the contract and not from the code.
fn wanted(image: &Image) -> Vec<String> {
    let owned = |grantees: &[&str]| {
        grantees
            .iter()
            .map(|grantee| (*grantee).to_owned())
            .collect()
    };
    match (image.state, image.tags.get(TAG).map(String::as_str)) {
        (ImageState::Available, Some(FIRST)) => owned(&[ALICE]),
        (ImageState::Available, Some(SECOND)) => owned(&[BOB, ALICE]),
        _ => image.grantees(),
    }
}

/// How many invocations a test made.
struct Walk {
    function: Function,
    invocations: usize,
}

impl Walk {
    fn begin() -> Self {
        Self {
            function: World::new().permissive().start(),
            invocations: 0,
        }
    }

    fn deliver(&mut self, event: &Value, told: &[Happening]) {
        self.invocations += 1;
        // An image that an event tells of and that is not there would be waited for: that is
        // another test.
        let answer = self.function.try_invoke(event);
        assert!(answer.is_ok(), "{told:?}: {answer:?}");
    }

    fn image(&self) -> Image {
        self.function.emulator.image(IMAGE).unwrap()
    }

    /// Lets each of `left` happen next and be told of at once, and goes on from each place until
    /// three were told of: every order of every part of the set. With `first`, only those orders
    /// that begin with that one.
    fn every_order(&mut self, told: &mut Vec<Happening>, left: &[Happening], first: Option<usize>) {
        if told.len() == 3 {
            return;
        }
        for (index, happening) in left
            .iter()
            .enumerate()
            .filter(|(index, _)| first.is_none_or(|first| first == *index))
        {
            let before = self.function.emulator.edit(|state| state.clone());
            self.function.emulator.edit(|state| happening.happen(state));
            told.push(*happening);
            let expected = wanted(&self.image());
            self.deliver(&happening.event(), told);
            // "disabled" looks at nothing, and nothing is wanted of a disabled image.
            assert_eq!(self.image().grantees(), expected, "{told:?}");
            let mut rest = left.to_vec();
            rest.remove(index);
            self.every_order(told, &rest, None);
            told.pop();
            self.function.emulator.edit(|state| *state = before);
        }
    }
}

/// Does the parts at the same time, each with a function of its own, and adds up their invocations.
fn at_once<T: Send>(
    parts: impl IntoIterator<Item = T>,
    walk: impl Fn(&mut Walk, T) + Sync,
) -> usize {
    std::thread::scope(|scope| {
        let walk = &walk;
        let threads: Vec<_> = parts
            .into_iter()
            .map(|part| {
                scope.spawn(move || {
                    let mut own = Walk::begin();
                    walk(&mut own, part);
                    own.invocations
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}

#[test]
fn every_order_of_up_to_three_events_ends_as_the_last_truth_wants() {
    // The image is there from the beginning. Orders by the thousand run in the same process, in
    // `tests/model.rs`.
    let set = [Tagged, Retagged, Untagged, Disabled, Enabled, MadePublic];
    let invocations = at_once(0..set.len(), |walk, first| {
        walk.function.emulator.edit(|state| Created.happen(state));
        walk.every_order(&mut Vec::new(), &set, Some(first));
    });
    // 6 + 6·5 + 6·5·4.
    assert_eq!(invocations, 156);
    println!(
        "proof: {invocations} orders of up to three of {} events, each told of as it happens",
        set.len()
    );
}

/// All orders of these.
fn orders(set: &[Happening]) -> Vec<Vec<Happening>> {
    if set.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, first) in set.iter().enumerate() {
        let mut rest = set.to_vec();
        rest.remove(index);
        all.extend(
            orders(&rest)
                .into_iter()
                .map(|order| [vec![*first], order].concat()),
        );
    }
    all
}

#[test]
fn events_that_arrive_late_and_in_many_orders_settle_the_last_truth_at_the_first_that_looks() {
    let truths = [
        [Created, Tagged, Retagged, Disabled, Enabled],
        [Created, Retagged, MadePublic, Tagged, Enabled],
        [Created, Tagged, Enabled, Retagged, Untagged],
        [Created, Tagged, MadePublic, Retagged, Disabled],
    ];
    let invocations = at_once(truths, |walk, truth| {
        for order in orders(&truth).into_iter().step_by(17) {
            walk.function.emulator.reset();
            walk.function
                .emulator
                .edit(|state| truth.iter().for_each(|happening| happening.happen(state)));
            let expected = wanted(&walk.image());
            for happening in &order {
                walk.deliver(&happening.late_event(), &order);
            }
            assert_eq!(
                walk.image().grantees(),
                expected,
                "{truth:?} told as {order:?}"
            );
            assert!(
                walk.function.emulator.writes().len() <= 1,
                "{truth:?} told as {order:?} wrote more than once"
            );
        }
    });
    assert_eq!(invocations, 4 * 8 * 5);
    println!("proof: {} orders of five events that all come late", 4 * 8);
}

#[test]
fn events_that_come_in_between_late_and_twice_do_no_harm_in_30_stories_by_seed() {
    let threads = 3;
    at_once(0..threads, |walk, thread| {
        (0..30)
            .filter(|seed| seed % threads == thread)
            .for_each(|seed| story(walk, seed));
    });
    println!("proof: 30 stories by seed, with events in between, late and twice");
}

fn story(walk: &mut Walk, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    walk.function.emulator.reset();
    let mut story = [Tagged, Retagged, Untagged, Disabled, Enabled, MadePublic];
    random.shuffle(&mut story);
    let (mut truth, mut told, mut under_way) = (vec![Created], Vec::new(), Vec::<Happening>::new());
    truth.extend_from_slice(&story[..random.usize(1..=6)]);
    for happening in &truth {
        walk.function.emulator.edit(|state| happening.happen(state));
        under_way.extend([*happening; 2].iter().take(random.usize(1..=2)));
        // Some of the events that are under way arrive now.
        while !under_way.is_empty() && random.f32() < 0.3 {
            let happening = under_way.swap_remove(random.usize(..under_way.len()));
            told.push(happening);
            walk.deliver(&happening.late_event(), &told);
        }
    }
    // The rest arrives when all has happened; at least the last one does.
    random.shuffle(&mut under_way);
    under_way.push(MadePublic);
    let expected = wanted(&walk.image());
    for happening in under_way {
        told.push(happening);
        walk.deliver(&happening.late_event(), &told);
    }
    assert_eq!(
        walk.image().grantees(),
        expected,
        "seed {seed}: {truth:?} told as {told:?}"
    );
}
