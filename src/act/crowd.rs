//! A crowd of images, worked on at the same time, none of them waiting for another.
//!
//! The number of images at work follows from EC2's answers: it grows while they come and nothing is
//! throttled, and an image that hangs does not count. Images are begun in their order, so those
//! that are left at the end of the time are known.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    time::Duration,
};

use ami_warden_core::{ImageId, Promised};
use futures_util::{
    Stream, StreamExt,
    stream::{self, FuturesUnordered, LocalBoxStream, SelectAll},
};
use tokio::time::{Instant, sleep_until};

use super::{
    observe::{Fresh, Observer, Seen},
    ports::{Ec2, FILTER_VALUES_MAX, Parameters},
    reconcile::Reconciled,
    retry::Retry,
    rulebook::{RulebookError, Rulebooks},
};

/// The most images at work, hanging ones included: a bound on memory, some 20 kB each.
const IMAGES_AT_WORK_MAX: usize = 400;

/// The images at work at first, and the most that do not hang: each may hold a thousand refusals,
/// 150 kB. Twenty times EC2's published limits are 100 writes a second, 60 images at 0.6 s each.
const ACTIVE_IMAGES_MIN: usize = 24;
const ACTIVE_IMAGES_MAX: usize = 64;

/// An image at work for longer than this hangs, unless the others take as long: it waits for its
/// own retries.
const HANGS_AFTER: Duration = Duration::from_secs(2);

/// So many times longer than the others an image is at work before it hangs.
const HANGS_FACTOR: u32 = 4;

/// Where images typically take longer than this, the older reads of many are too old for a write:
/// fewer are at work at the same time.
const TYPICAL_TIME_MAX: Duration = Duration::from_secs(4);

/// So many finished images let one more be at work.
const FINISHED_PER_STEP: usize = 4;

/// The smallest batch of images that is read together.
const BATCH_SIZE_MIN: usize = 10;

/// A batch whose last image was begun later than this after its reading was too large: the images
/// would be read again before they are written.
const BATCH_WAIT_MAX: Duration = Duration::from_secs(3);

/// How often the crowd looks whether another image may be begun.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The same while no image is read yet.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// The next part is asked for while no more ids than this are left: EC2 lists it meanwhile.
const IDS_LOW_WATER_MARK: usize = 5000;

/// The batches that are read at the same time.
const BATCHES_AT_ONCE_MAX: usize = 2;

/// Reconciles many images at once, as many as EC2 keeps up with.
#[derive(Debug)]
pub struct Crowd<'a, E, P> {
    pub observer: Observer<'a, E>,
    pub retry: &'a Retry,
    /// Read again with every batch.
    pub rulebooks: &'a Rulebooks<'a, P>,
    /// No further image is begun after this.
    pub last_start: Instant,
}

/// The images that were not begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotBegun {
    /// Those of batches that were being read; others of these batches were begun.
    pub read: Vec<ImageId>,
    /// The ids behind the last batch that was read.
    pub rest: Vec<ImageId>,
}

impl NotBegun {
    /// Whether all images were begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.rest.is_empty()
    }

    #[must_use]
    pub fn all(mut self) -> Vec<ImageId> {
        self.read.extend(self.rest);
        self.read
    }
}

/// Images that are all known.
pub fn one_part(ids: &[ImageId]) -> impl Stream<Item = Vec<ImageId>> + use<> {
    stream::iter([ids.to_vec()])
}

type ReconcileFuture<'b> =
    Pin<Box<dyn Future<Output = Result<(ImageId, Reconciled), RulebookError>> + 'b>>;
type RefreshFuture<'b> = Pin<Box<dyn Future<Output = Result<(), RulebookError>> + 'b>>;

/// The images of one call of [`Crowd::work_on`].
#[derive(Default)]
struct Shift<'b> {
    /// Ids of batches that were not read yet.
    rest: VecDeque<ImageId>,
    /// Whether no further part comes.
    is_whole: bool,
    /// The last id of the last batch.
    taken: Option<ImageId>,
    /// Batches that are being read; an image comes when EC2 shows it as promised.
    reading: SelectAll<LocalBoxStream<'b, Seen>>,
    /// Ids that are being read, and images that were read, with the moment of their batch.
    waiting: BTreeMap<ImageId, Instant>,
    ready: VecDeque<Seen>,
    working: FuturesUnordered<ReconcileFuture<'b>>,
    begun: BTreeMap<ImageId, Instant>,
    refreshing: FuturesUnordered<RefreshFuture<'b>>,
    active_max: usize,
    finished: usize,
    /// How long an image is at work, as far as the last finished ones tell.
    typical: Duration,
    batch_size: usize,
    /// Whether anything was begun: the first image always is, so that a chain gets on.
    any_begun: bool,
    error: Option<RulebookError>,
}

impl<E: Ec2, P: Parameters> Crowd<'_, E, P> {
    /// Works on the images until all are done or it is too late to begin another. They become known
    /// part by part, and no part waits for an image of the one before.
    ///
    /// Says which of them were not begun, and the last one that was read, in the order of the
    /// parts.
    ///
    /// # Errors
    /// A policy or an allow-list that cannot be used. The images at work are finished first.
    pub async fn work_on<'b, F, W>(
        &'b self,
        parts: impl Stream<Item = Vec<ImageId>>,
        promised: &'b Promised,
        begin: &'b F,
        told: &mut impl FnMut(Reconciled),
    ) -> Result<(NotBegun, Option<ImageId>), RulebookError>
    where
        F: Fn(Fresh) -> W,
        W: Future<Output = Result<Reconciled, RulebookError>> + 'b,
    {
        let mut parts = std::pin::pin!(parts);
        let mut shift = Shift::new();
        loop {
            if shift.error.is_none() {
                self.read_more(&mut shift, promised);
                self.begin_some(&mut shift, begin, told);
            }
            let stopping = shift.error.is_some() || self.too_late(&shift);
            if stopping && shift.working.is_empty() {
                break;
            }
            if shift.is_done() {
                break;
            }
            let wake = self.wake_at(&shift);
            tokio::select! {
                biased;
                Some(done) = shift.working.next(), if !shift.working.is_empty() => {
                    shift.finish(done, told);
                }
                Some(refreshed) = shift.refreshing.next(), if !shift.refreshing.is_empty() => {
                    if let Err(error) = refreshed {
                        shift.error.get_or_insert(error);
                    }
                }
                // `None` when the last batch is read to its end: then the loop looks what is left.
                seen = shift.reading.next(), if !stopping && !shift.reading.is_empty() => {
                    shift.ready.extend(seen);
                }
                part = parts.next(), if !stopping && shift.wants_more() => match part {
                    Some(ids) => shift.rest.extend(ids),
                    None => shift.is_whole = true,
                },
                () = sleep_until(wake), if !stopping => {}
            }
        }
        match shift.error.take() {
            Some(error) => Err(error),
            None => Ok(shift.left()),
        }
    }

    fn too_late(&self, shift: &Shift<'_>) -> bool {
        shift.any_begun && Instant::now() >= self.last_start
    }

    /// The moment to look again whether an image may be begun, or to stop.
    ///
    /// Never in the past: the loop would spin until EC2 answers.
    fn wake_at(&self, shift: &Shift<'_>) -> Instant {
        let soon = Instant::now() + LOOK_INTERVAL;
        let end = self.last_start.max(soon);
        if !shift.ready.is_empty() {
            self.retry.next_start().max(soon).min(end)
        } else if shift.any_begun {
            end
        } else {
            // Nothing is begun yet, so only an image that is read changes it.
            soon + IDLE_INTERVAL
        }
    }

    fn read_more<'b>(&'b self, shift: &mut Shift<'b>, promised: &'b Promised) {
        while !shift.rest.is_empty()
            && shift.reading.len() < BATCHES_AT_ONCE_MAX
            && shift.ready.len() < shift.batch_size / 2 + 1
            && !self.too_late(shift)
        {
            let size = shift.batch_size.min(shift.rest.len());
            let batch: Vec<ImageId> = shift.rest.drain(..size).collect();
            shift.taken = batch.last().copied();
            let now = Instant::now();
            shift.waiting.extend(batch.iter().map(|id| (*id, now)));
            shift
                .reading
                .push(self.observer.images(&batch, promised).boxed_local());
            let refresh = async {
                let attempts = self.retry.attempts();
                self.rulebooks
                    .fresh(Duration::ZERO, &attempts)
                    .await
                    .map(drop)
            };
            shift.refreshing.push(Box::pin(refresh));
        }
    }

    fn begin_some<'b, F, W>(
        &self,
        shift: &mut Shift<'b>,
        begin: &'b F,
        told: &mut impl FnMut(Reconciled),
    ) where
        F: Fn(Fresh) -> W,
        W: Future<Output = Result<Reconciled, RulebookError>> + 'b,
    {
        while !self.too_late(shift) && shift.has_room() {
            if shift.any_begun && self.retry.next_start() > Instant::now() {
                return;
            }
            let Some(seen) = shift.ready.pop_front() else {
                return;
            };
            let id = seen.id();
            shift.note_wait(id);
            shift.any_begun = true;
            match seen {
                Seen::Record(record) => {
                    told(Reconciled::only(*record));
                }
                Seen::Image(fresh) => {
                    shift.begun.insert(id, Instant::now());
                    let work = begin(fresh);
                    shift
                        .working
                        .push(Box::pin(async move { Ok((id, work.await?)) }));
                }
            }
        }
    }
}

impl Shift<'_> {
    fn new() -> Self {
        Self {
            active_max: ACTIVE_IMAGES_MIN,
            batch_size: FILTER_VALUES_MAX,
            ..Self::default()
        }
    }

    fn wants_more(&self) -> bool {
        !self.is_whole && self.rest.len() <= IDS_LOW_WATER_MARK
    }

    fn is_done(&self) -> bool {
        self.is_whole
            && self.rest.is_empty()
            && self.reading.is_empty()
            && self.ready.is_empty()
            && self.working.is_empty()
            && self.refreshing.is_empty()
    }

    fn has_room(&self) -> bool {
        let hangs_after = HANGS_AFTER.max(self.typical * HANGS_FACTOR);
        let active = self
            .begun
            .values()
            .filter(|begun| begun.elapsed() < hangs_after)
            .count();
        self.working.len() < IMAGES_AT_WORK_MAX && active < self.active_max
    }

    /// Learns from the time between reading and beginning how many images to read together.
    fn note_wait(&mut self, id: ImageId) {
        let Some(read_at) = self.waiting.remove(&id) else {
            return;
        };
        let waited = read_at.elapsed();
        if waited > BATCH_WAIT_MAX {
            self.batch_size = (self.batch_size / 2).max(BATCH_SIZE_MIN);
        } else if waited < BATCH_WAIT_MAX / 3 && self.waiting.is_empty() {
            self.batch_size = (self.batch_size * 2).min(FILTER_VALUES_MAX);
        }
    }

    fn finish(
        &mut self,
        done: Result<(ImageId, Reconciled), RulebookError>,
        told: &mut impl FnMut(Reconciled),
    ) {
        match done {
            Ok((id, reconciled)) => {
                let took = self.begun.remove(&id).map(|begun| begun.elapsed());
                self.finished += 1;
                self.learn(took.unwrap_or_default());
                told(reconciled);
            }
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }

    /// Learns from a finished image how many more may be at work. Where all take long there are too
    /// many for EC2, or for this function's processor.
    fn learn(&mut self, took: Duration) {
        if took < self.typical * HANGS_FACTOR || took < HANGS_AFTER {
            self.typical = (self.typical * 7 + took) / 8;
        }
        if !self.finished.is_multiple_of(FINISHED_PER_STEP) {
            return;
        }
        if self.typical < TYPICAL_TIME_MAX {
            self.active_max = (self.active_max + 1).min(ACTIVE_IMAGES_MAX);
        } else {
            self.active_max = (self.active_max - 1).max(ACTIVE_IMAGES_MIN);
        }
    }

    fn left(self) -> (NotBegun, Option<ImageId>) {
        let left = NotBegun {
            read: self.waiting.into_keys().collect(),
            rest: self.rest.into(),
        };
        (left, self.taken)
    }
}

#[cfg(test)]
mod tests;
