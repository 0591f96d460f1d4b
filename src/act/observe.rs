//! Observing: images as EC2 shows them, again while EC2 does not show yet what an event promised.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use ami_warden_core::{Image, ImageId, ImageState, Promised, TagPromise};
use backon::ExponentialBackoff;
use futures_util::{Stream, stream};
use tokio::time::Instant;

use super::{
    call_error::{CallError, ErrorKind},
    ports::{Described, Ec2, FILTER_VALUES_MAX},
    record::{ImageRecord, SkipReason},
    retry::{Attempts, Retry},
};

/// How long EC2's reads may lag behind an event that tells of an image or its state: AWS advises
/// "a couple of seconds up to minutes".
/// <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
const STATE_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long EC2's reads may lag behind an event that tells of tags. A forged or late event costs
/// this much and nothing else.
const TAGS_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long many images may be read together before they are read in smaller parts, so that one
/// image that EC2 cannot answer for does not take the others along.
const BATCH_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for a part.
const PART_READ_TIMEOUT: Duration = Duration::from_secs(3);

/// How often in a row parts are halved although EC2 answers for none of them.
const UNANSWERED_HALVINGS_MAX: usize = 2;

/// Our own code for an image that EC2 describes in a way that cannot be read.
const UNREADABLE_IMAGE_CODE: &str = "UnreadableImage";

/// An image, and the moment in which EC2 was asked for it: what its answer shows is not older.
#[derive(Debug, Clone)]
pub struct Fresh {
    pub image: Box<Image>,
    /// When EC2 was asked for it.
    pub read_at: Instant,
}

/// An image that was looked for.
#[derive(Debug, Clone)]
pub enum Seen {
    Image(Fresh),
    /// Its outcome is settled already.
    Record(Box<ImageRecord>),
}

impl Seen {
    #[must_use]
    pub fn id(&self) -> ImageId {
        match self {
            Self::Image(fresh) => fresh.image.id,
            Self::Record(record) => record.id,
        }
    }
}

/// The tags that count for a promise.
#[derive(Debug, Clone, Copy)]
pub struct TagScope<'a> {
    /// The prefix of directive tags.
    pub prefix: &'a str,
    /// With a policy any tag counts, since rules can match it.
    pub any_tag: bool,
    /// The status tag, which this function writes itself.
    pub status_tag: Option<&'a str>,
}

#[derive(Debug)]
pub struct Observer<'a, E> {
    pub ec2: &'a E,
    pub retry: &'a Retry,
    /// The tags that count for a promise.
    pub scope: TagScope<'a>,
}

// Derived, both would ask that `E` be copied too.
impl<E> Clone for Observer<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Observer<'_, E> {}

/// An image that EC2 does not show as promised.
#[derive(Clone, Copy)]
enum Early {
    Missing,
    Pending,
    OtherTags,
}

impl<'a, E: Ec2> Observer<'a, E> {
    /// Reads these images (at most 200). An image that EC2 shows as promised comes at once, the
    /// others when it does, or when the time for that is up.
    pub fn images(
        self,
        ids: &[ImageId],
        promised: &'a Promised,
    ) -> impl Stream<Item = Seen> + use<'a, E> {
        let timeout = visibility_timeout(promised);
        let waiting = Waiting {
            ids: ids.to_vec(),
            promised,
            until: Instant::now() + timeout,
            backoff: Retry::backoff(),
            ready: VecDeque::new(),
            early: BTreeMap::new(),
        };
        stream::unfold(waiting, move |mut waiting| async move {
            while waiting.ready.is_empty() && !waiting.ids.is_empty() {
                self.read_waiting(&mut waiting).await;
            }
            let seen = waiting.ready.pop_front()?;
            Some((seen, waiting))
        })
    }

    /// Reads one image, as it is now.
    pub async fn again(&self, id: ImageId, attempts: &Attempts<'_>) -> Seen {
        match self.read(&[id], attempts).await {
            Ok(mut found) => found.take(id),
            Err(error) => failed(id, its_own_fault(error)),
        }
    }

    /// Until when the reads of an image that shows what an event promised are held against the
    /// promise: as long as for the first read. `None` if nothing was promised, or if the image does
    /// not show it.
    #[must_use]
    pub fn promised_until(&self, fresh: &Fresh, promised: &Promised) -> Option<Instant> {
        if matches!(promised, Promised::Nothing) {
            return None;
        }
        let seen = Seen::Image(fresh.clone());
        match self.early(&seen, promised) {
            None => Some(Instant::now() + visibility_timeout(promised)),
            Some(_) => None,
        }
    }

    /// Reads an image again that showed what an event promised. A read that falls behind the
    /// promise lags, and says nothing until the time is up; then what is read counts.
    pub async fn again_as_promised(
        &self,
        id: ImageId,
        promised: &Promised,
        until: Instant,
        attempts: &Attempts<'_>,
    ) -> Seen {
        for delay in Retry::backoff() {
            let seen = self.again(id, attempts).await;
            let Some(early) = self.early(&seen, promised) else {
                return seen;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !attempts.wait(delay.min(left)).await {
                // It was there, so it may be gone by now; but it cannot become pending again.
                return match early {
                    Early::Pending => too_early(id, seen, early),
                    Early::Missing | Early::OtherTags => seen,
                };
            }
        }
        self.again(id, attempts).await
    }

    async fn read_waiting(&self, waiting: &mut Waiting<'_>) {
        let mut last = false;
        if !waiting.early.is_empty() {
            let delay = waiting.backoff.next().unwrap_or(STATE_VISIBILITY_TIMEOUT);
            let left = waiting.until.saturating_duration_since(Instant::now());
            // The last look is at the end of the time, not a backoff before or behind it.
            last = left <= delay;
            if !self.retry.attempts().wait(delay.min(left)).await {
                last = true;
            }
        }
        let ids = std::mem::take(&mut waiting.ids);
        for (id, seen) in self.read_isolated(&ids).await {
            // A look that the time cuts off says less than the one before it.
            let known = if is_cut_off(&seen) {
                waiting.early.get(&id).copied()
            } else {
                None
            };
            match known.or_else(|| self.early(&seen, waiting.promised)) {
                Some(early) if last || known.is_some() => {
                    waiting.ready.push_back(too_early(id, seen, early));
                }
                Some(early) => {
                    waiting.ids.push(id);
                    waiting.early.insert(id, early);
                }
                None => waiting.ready.push_back(seen),
            }
        }
    }

    fn early(&self, seen: &Seen, promised: &Promised) -> Option<Early> {
        let image = match seen {
            Seen::Image(fresh) => Some(&fresh.image),
            Seen::Record(record) if record.skipped == Some(SkipReason::NotFound) => None,
            Seen::Record(_) => return None,
        };
        match (promised, image) {
            (Promised::Exists | Promised::Available, None) => Some(Early::Missing),
            (Promised::Available, Some(image)) if image.state == ImageState::Pending => {
                Some(Early::Pending)
            }
            (Promised::Tags(promise), Some(image)) if !self.holds(promise, image) => {
                Some(Early::OtherTags)
            }
            _ => None,
        }
    }

    fn holds(&self, promise: &TagPromise, image: &Image) -> bool {
        let scope = &self.scope;
        promise.holds(&image.tags, scope.prefix, scope.any_tag, scope.status_tag)
    }

    /// Reads the images together; in parts if EC2 does not answer for all of them, so that one
    /// image fails alone. Gives up when no part at all is answered.
    async fn read_isolated(&self, ids: &[ImageId]) -> Vec<(ImageId, Seen)> {
        // One image has no neighbours to take along: it has all the time there is.
        if let [id] = *ids {
            return vec![(id, self.again(id, &self.retry.attempts()).await)];
        }
        let mut seen = Vec::new();
        let mut parts: Vec<&[ImageId]> = ids.chunks(FILTER_VALUES_MAX).collect();
        let mut timeout = BATCH_READ_TIMEOUT;
        let mut levels_without_answer = 0;
        while !parts.is_empty() {
            let mut broken = Vec::new();
            let mut answered = false;
            for part in std::mem::take(&mut parts) {
                match self.read(part, &self.retry.attempts_for(timeout)).await {
                    Ok(found) if found.may_be_nameless(part) => {
                        answered = true;
                        parts.extend(part.chunks(part.len().div_ceil(2)));
                    }
                    Ok(mut found) => {
                        answered = true;
                        seen.extend(part.iter().map(|id| (*id, found.take(*id))));
                    }
                    Err(error) => broken.push((part, error)),
                }
            }
            timeout = PART_READ_TIMEOUT;
            levels_without_answer = if answered {
                0
            } else {
                levels_without_answer + 1
            };
            for (part, error) in broken {
                let alone = part.len() <= 1;
                if alone
                    || error.kind == ErrorKind::Denied
                    || levels_without_answer > UNANSWERED_HALVINGS_MAX
                {
                    let error = if alone { its_own_fault(error) } else { error };
                    seen.extend(part.iter().map(|id| (*id, failed(*id, error.clone()))));
                } else {
                    parts.extend(part.chunks(part.len().div_ceil(2)));
                }
            }
        }
        seen
    }

    async fn read(&self, ids: &[ImageId], attempts: &Attempts<'_>) -> Result<Found, CallError> {
        let first_sent_at = Cell::new(Instant::now());
        let page = async |token: Option<&str>| {
            if token.is_none() {
                first_sent_at.set(Instant::now());
            }
            self.ec2.images(ids, token).await
        };
        let described = attempts.pages("DescribeImages", page).await?;
        let mut found = Found {
            images: BTreeMap::new(),
            nameless: false,
            read_at: first_sent_at.get(),
        };
        for described in described {
            let id = match &described {
                Described::Image(image) => image.id,
                Described::Unreadable(id, _) => *id,
                Described::Nameless => {
                    let [id] = ids else {
                        found.nameless = true;
                        continue;
                    };
                    *id
                }
            };
            found.images.insert(id, described);
        }
        Ok(found)
    }
}

/// How long EC2's reads may lag behind this promise.
fn visibility_timeout(promised: &Promised) -> Duration {
    match promised {
        Promised::Tags(_) => TAGS_VISIBILITY_TIMEOUT,
        _ => STATE_VISIBILITY_TIMEOUT,
    }
}

struct Waiting<'a> {
    ids: Vec<ImageId>,
    promised: &'a Promised,
    until: Instant,
    backoff: ExponentialBackoff,
    ready: VecDeque<Seen>,
    /// The images that the last look did not show as promised.
    early: BTreeMap<ImageId, Early>,
}

fn is_cut_off(seen: &Seen) -> bool {
    match seen {
        Seen::Image(_) => false,
        Seen::Record(record) => record.error.as_ref().is_some_and(CallError::is_timeout),
    }
}

struct Found {
    images: BTreeMap<ImageId, Described>,
    /// Whether one of several images has no id that can be read.
    nameless: bool,
    /// When the first page was asked for.
    read_at: Instant,
}

impl Found {
    /// Whether one of these images may be there without its id: read in smaller parts, it is known.
    fn may_be_nameless(&self, ids: &[ImageId]) -> bool {
        self.nameless && ids.iter().any(|id| !self.images.contains_key(id))
    }

    fn take(&mut self, id: ImageId) -> Seen {
        match self.images.remove(&id) {
            Some(Described::Image(image)) => Seen::Image(Fresh {
                image,
                read_at: self.read_at,
            }),
            Some(Described::Unreadable(_, problem)) => unreadable(id, &problem),
            Some(Described::Nameless) => unreadable(id, "EC2's answer holds no ImageId"),
            None => Seen::Record(Box::new(ImageRecord::skipped(id, SkipReason::NotFound))),
        }
    }
}

fn unreadable(id: ImageId, problem: &str) -> Seen {
    let error = CallError {
        operation: "DescribeImages",
        code: UNREADABLE_IMAGE_CODE.into(),
        message: format!("EC2 describes the image in a way that cannot be read: {problem}"),
        kind: ErrorKind::Transient,
    };
    failed(id, error)
}

/// An answer about one image alone that cannot be read is about an image that cannot be read.
fn its_own_fault(error: CallError) -> CallError {
    if error.is_unreadable() {
        return CallError {
            code: UNREADABLE_IMAGE_CODE.into(),
            ..error
        };
    }
    error
}

fn failed(id: ImageId, error: CallError) -> Seen {
    Seen::Record(Box::new(ImageRecord::failed(id, error)))
}

/// An image that EC2 does not show as the event said, even after a while. Tags count as they are
/// read; for the rest the image has failed, by EC2's own code, so that its event comes again.
fn too_early(id: ImageId, seen: Seen, early: Early) -> Seen {
    let (code, message) = match early {
        Early::OtherTags => return seen,
        Early::Missing => (
            "InvalidAMIID.NotFound",
            "the event says that the image exists, and EC2 does not show it yet; if that lasts, \
             check that the image is in this account",
        ),
        Early::Pending => (
            "InvalidAMIID.Unavailable",
            "the event says that the image is available, and EC2 still shows it as pending; if \
             that lasts, look at the image",
        ),
    };
    let error = CallError {
        operation: "DescribeImages",
        code: code.into(),
        message: message.into(),
        kind: ErrorKind::NotYet,
    };
    failed(id, error)
}

#[cfg(test)]
mod tests;
