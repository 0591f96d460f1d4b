//! The work that is left at the end of an invocation, and the ending that follows from it.

use std::collections::BTreeSet;

use ami_warden_core::{IMAGE_IDS_MAX, ImageId};

use crate::tell::{
    answer::{Continue, SweepFrom},
    report::Report,
};

/// The most failed images whose ids travel in `Continue`.
const FAILED_CARRIED_MAX: usize = 1000;

/// The most images that a sweep hands on by their ids, beside those that failed: the next link
/// takes no more than [`IMAGE_IDS_MAX`]. More are left to a sweep from the beginning.
const CARRIED_MAX: usize = IMAGE_IDS_MAX - FAILED_CARRIED_MAX;

/// The work that is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Where a sweep goes on; `None` if none does.
    pub(super) sweep: Option<SweepFrom>,
    pub(super) images: Vec<ImageId>,
}

/// The end of an invocation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Finished,
    /// The next link of the chain does the rest.
    Continues(Continue),
    /// Images failed. A rest is left where the chain does not get on.
    Failed(Option<Continue>),
}

impl Left {
    /// These images and no sweep.
    pub(super) fn of_images(images: Vec<ImageId>) -> Self {
        Self {
            sweep: None,
            images,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.sweep.is_none()
    }

    /// The same, with a sweep from the beginning for more images than an answer can name.
    pub(super) fn bounded(self) -> Self {
        if self.images.len() <= CARRIED_MAX {
            return self;
        }
        Self {
            sweep: Some(SweepFrom::Beginning),
            images: Vec::new(),
        }
    }

    /// Failed images travel with the rest while the chain gets on. A link that finishes no image
    /// ends it, and so does one that would carry too many; the last link fails if images still do.
    pub(super) fn ending(self, report: &Report, dry_run: bool) -> Ending {
        let failed = report.failed_count();
        if self.is_empty() {
            return if failed == 0 {
                Ending::Finished
            } else {
                Ending::Failed(None)
            };
        }
        let mut images = self.images;
        let known: BTreeSet<ImageId> = images.iter().copied().collect();
        let carried = report.failed().iter().take(FAILED_CARRIED_MAX);
        images.extend(carried.filter(|id| !known.contains(id)));
        let rest = Continue {
            sweep: self.sweep,
            images,
            dry_run,
        };
        if report.finished() == 0 || failed > FAILED_CARRIED_MAX {
            Ending::Failed(Some(rest))
        } else {
            Ending::Continues(rest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::record::{ImageRecord, Outcome};

    fn id(number: usize) -> ImageId {
        format!("ami-{number:017x}").parse().unwrap()
    }

    fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<ImageId> {
        numbers.into_iter().map(id).collect()
    }

    /// A report of these images.
    fn report(finished: usize, failed: impl IntoIterator<Item = usize>) -> Report {
        let mut report = Report::of_sweep();
        for number in 0..finished {
            report.add(&ImageRecord::new(id(90_000 + number), Outcome::Unchanged));
        }
        for number in failed {
            report.add(&ImageRecord::new(id(number), Outcome::Failed));
        }
        report
    }

    fn images(numbers: impl IntoIterator<Item = usize>) -> Left {
        Left::of_images(ids(numbers))
    }

    #[test]
    fn where_nothing_is_left_the_failed_images_decide() {
        let finished = Left::default().ending(&report(0, []), false);
        assert_eq!(finished, Ending::Finished);
        let failed = Left::default().ending(&report(5, [1]), false);
        assert_eq!(failed, Ending::Failed(None));
    }

    #[test]
    fn failed_images_travel_behind_the_rest_each_once() {
        for sweep in [
            None,
            Some(SweepFrom::Beginning),
            Some(SweepFrom::After(id(7))),
        ] {
            let left = Left {
                sweep,
                images: ids([3, 1]),
            };
            let rest = Continue {
                sweep,
                images: ids([3, 1, 2, 4]),
                dry_run: true,
            };
            let ending = left.ending(&report(1, [2, 1, 4]), true);
            assert_eq!(ending, Ending::Continues(rest));
        }
    }

    #[test]
    fn a_sweep_goes_on_although_no_image_is_left_by_its_id() {
        let left = Left {
            sweep: Some(SweepFrom::After(id(7))),
            images: Vec::new(),
        };
        let rest = Continue {
            sweep: left.sweep,
            ..Continue::default()
        };
        let ending = left.ending(&report(1, []), false);
        assert_eq!(ending, Ending::Continues(rest));
    }

    #[test]
    fn a_link_that_finishes_no_image_ends_the_chain() {
        let rest = Continue {
            images: ids([1, 2]),
            ..Continue::default()
        };
        let ending = images([1]).ending(&report(0, [2]), false);
        assert_eq!(ending, Ending::Failed(Some(rest)));
    }

    #[test]
    fn a_thousand_failed_images_travel_and_one_more_ends_the_chain() {
        let ending = images([0]).ending(&report(1, 1..1001), false);
        let rest = Continue {
            images: ids(0..1001),
            ..Continue::default()
        };
        assert_eq!(ending, Ending::Continues(rest.clone()));
        let ending = images([0]).ending(&report(1, 1..1002), false);
        assert_eq!(ending, Ending::Failed(Some(rest)));
    }

    #[test]
    fn more_images_than_an_answer_can_name_are_left_to_a_sweep_from_the_beginning() {
        let most = images(0..CARRIED_MAX);
        assert_eq!(most.clone().bounded(), most);
        let anew = Left {
            sweep: Some(SweepFrom::Beginning),
            images: Vec::new(),
        };
        let too_many = Left {
            sweep: Some(SweepFrom::After(id(7))),
            ..images(0..=CARRIED_MAX)
        };
        assert_eq!(too_many.bounded(), anew);
    }
}
