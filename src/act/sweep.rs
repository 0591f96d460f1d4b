//! Listing every image that a sweep looks at, in the order of the ids.
//!
//! Sorted ids make a chain of invocations cover every image once: each link goes on after the last
//! id of the link before, whatever was created or deregistered meanwhile. EC2 lists in no order, so
//! a listing must be whole before its first image is begun. A large estate is therefore listed in
//! parts by the beginning of the id, the next part while the images of the last are worked on, and
//! a link does not list the parts that are done.

use std::{
    cell::Cell,
    collections::{BTreeSet, VecDeque},
};

use ami_warden_core::ImageId;
use futures_util::stream::{self, Stream};

use super::{
    call_error::CallError,
    ports::{Ec2, Listing, PAGE_SIZE_MAX, Which},
    retry::Retry,
};

/// The smallest page that is asked for, after larger ones took too long or could not be read.
const PAGE_SIZE_MIN: i32 = 10;

/// The most pages of an estate that is listed at once. More are listed in parts.
const WHOLE_PAGES_MAX: usize = 8;

/// The ids of one part of the estate.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listed {
    /// Sorted, each once.
    ids: Vec<ImageId>,
    /// Images that EC2 listed without an id that can be read.
    unreadable: usize,
}

/// How far the listing of a sweep has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Images that EC2 listed without an id that can be read.
    pub unreadable: usize,
    /// The end; `None` while parts are left.
    pub end: Option<Result<(), CallError>>,
}

/// Lists the images of a sweep, part by part.
#[derive(Debug)]
pub struct Lister<'a, E> {
    ec2: &'a E,
    retry: &'a Retry,
    kinds: Vec<Which>,
    after: Option<ImageId>,
    /// The patterns of the parts that are left; `None` before the first listing.
    parts: Option<VecDeque<Vec<String>>>,
}

/// The images that can have directives: all of them, as where there are rules, else those with a
/// key under the prefix or with the status tag. A sweep also looks at public images, to tell of
/// those without a directive.
#[must_use]
pub fn kinds_of_images(all: bool, tag_prefix: &str, status_tag: Option<&str>) -> Vec<Which> {
    if all {
        return vec![Which::All];
    }
    let mut keys = BTreeSet::from([format!("{tag_prefix}*")]);
    keys.extend(status_tag.map(ToOwned::to_owned));
    vec![Which::Tagged(keys), Which::Public]
}

/// The note about images that EC2 listed without an id that can be read.
#[must_use]
pub fn unreadable_note(count: usize) -> String {
    let (images, they) = if count == 1 {
        ("image", "it was")
    } else {
        ("images", "they were")
    };
    format!("EC2 listed {count} {images} without an id that can be read; {they} not looked at.")
}

impl<'a, E: Ec2> Lister<'a, E> {
    /// A lister of these kinds of images, of those behind `after`.
    #[must_use]
    pub fn new(ec2: &'a E, retry: &'a Retry, kinds: Vec<Which>, after: Option<ImageId>) -> Self {
        Self {
            ec2,
            retry,
            kinds,
            after,
            parts: None,
        }
    }

    /// The ids of all parts. An error of EC2 ends them, and `progress` has it.
    pub fn parts(self, progress: &mut Progress) -> impl Stream<Item = Vec<ImageId>> {
        stream::unfold((self, progress), |(mut lister, progress)| async move {
            let end = match lister.next().await {
                Ok(Some(listed)) => {
                    progress.unreadable += listed.unreadable;
                    return Some((listed.ids, (lister, progress)));
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            progress.end = Some(end);
            None
        })
    }

    /// The next part; `None` at the end.
    async fn next(&mut self) -> Result<Option<Listed>, CallError> {
        if self.parts.is_none() {
            // A link of a chain belongs to a large estate; only a small one fits into a page.
            let pages_max = if self.after.is_some() {
                1
            } else {
                WHOLE_PAGES_MAX
            };
            if let Some(listed) = self.list(&[], pages_max).await? {
                self.parts = Some(VecDeque::new());
                return Ok(Some(listed));
            }
            self.parts = Some(parts(self.after));
        }
        let Some(patterns) = self.parts.as_mut().and_then(VecDeque::pop_front) else {
            return Ok(None);
        };
        self.list(&patterns, usize::MAX).await
    }

    /// All kinds of images with these ids; `None` if one of them has more pages.
    async fn list(
        &self,
        id_patterns: &[String],
        pages_max: usize,
    ) -> Result<Option<Listed>, CallError> {
        let mut all = Listed::default();
        // One after the other: a page takes megabytes until its ids are taken out.
        for which in &self.kinds {
            let listing = Listing {
                which: which.clone(),
                id_patterns: id_patterns.to_vec(),
            };
            let Some(listed) = self.pages(listing, pages_max).await? else {
                return Ok(None);
            };
            all.ids.extend(listed.ids);
            // The kinds overlap: the same image may be unreadable in both.
            all.unreadable = all.unreadable.max(listed.unreadable);
        }
        all.ids.retain(|id| Some(*id) > self.after);
        all.ids.sort_unstable();
        all.ids.dedup();
        Ok(Some(all))
    }

    async fn pages(&self, listing: Listing, pages_max: usize) -> Result<Option<Listed>, CallError> {
        let size = Cell::new(PAGE_SIZE_MAX);
        let page = async |token: Option<&str>| {
            let page = self.ec2.image_ids(&listing, size.get(), token).await;
            if let Err(error) = &page
                && (error.is_timeout() || error.is_unreadable())
            {
                size.set((size.get() / 2).max(PAGE_SIZE_MIN));
            }
            page
        };
        let attempts = self.retry.attempts();
        let pages = attempts.pages_up_to(pages_max, "DescribeImages", page);
        let Some(ids) = pages.await? else {
            return Ok(None);
        };
        let all = ids.len();
        let ids: Vec<ImageId> = ids.into_iter().flatten().collect();
        Ok(Some(Listed {
            unreadable: all - ids.len(),
            ids,
        }))
    }
}

/// The parts of an estate in the order of their ids, without those that lie before `after`.
///
/// EC2's ids have begun with `ami-0` since 2018, so the digit behind tells them apart; older ones,
/// with 8 digits, are few and stand together.
fn parts(after: Option<ImageId>) -> VecDeque<Vec<String>> {
    const DIGITS: &str = "0123456789abcdef";
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let mut parts = VecDeque::new();
    for digit in DIGITS.chars() {
        let prefix = format!("ami-0{digit}");
        let lies_before = after
            .get(..prefix.len())
            .is_some_and(|after| after > prefix.as_str());
        if !lies_before {
            parts.push_back(vec![format!("{prefix}*")]);
        }
    }
    let older = DIGITS.chars().skip(1);
    parts.push_back(older.map(|digit| format!("ami-{digit}*")).collect());
    parts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{super::script::Script, *};

    fn id(begin: &str) -> ImageId {
        format!("ami-{begin:0<17}").parse().unwrap()
    }

    /// An EC2 that lists these images, so many on a page.
    fn listing<'a>(page: usize, listed: &[Option<&str>]) -> Script<'a> {
        let ec2 = Script::new(|_, _| Ok(Duration::ZERO));
        ec2.state.borrow_mut().listed = listed.iter().map(|begin| begin.map(id)).collect();
        ec2.state.borrow_mut().page = page;
        ec2
    }

    /// The parts that a sweep finds behind an image.
    async fn swept(
        ec2: &Script<'_>,
        kinds: Vec<Which>,
        after: Option<&str>,
    ) -> Result<Vec<Listed>, CallError> {
        let retry = Retry::until(Instant::now() + Duration::from_secs(600));
        let mut lister = Lister::new(ec2, &retry, kinds, after.map(id));
        let mut parts = Vec::new();
        while let Some(listed) = lister.next().await? {
            parts.push(listed);
            assert!(parts.len() <= 17, "the parts have no end");
        }
        Ok(parts)
    }

    fn readable(begins: &[&str]) -> Listed {
        Listed {
            ids: begins.iter().map(|begin| id(begin)).collect(),
            unreadable: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_estate_is_listed_at_once_and_an_image_of_two_kinds_counts_once() {
        let ec2 = listing(500, &[Some("0c"), Some("0a"), None, None, Some("0b")]);
        let kinds = kinds_of_images(false, "ami-warden:", None);
        let parts = swept(&ec2, kinds, None).await.unwrap();
        let whole = Listed {
            unreadable: 2,
            ..readable(&["0a", "0b", "0c"])
        };
        assert_eq!(parts, [whole]);
        assert_eq!(ec2.calls(), ["list tagged  500", "list public  500"]);
    }

    #[tokio::test(start_paused = true)]
    async fn eight_pages_are_listed_at_once_and_nine_in_parts() {
        let begins = ["0a1", "05", "0a0", "1", "02", "0f", "04", "03", "01"];
        let all = begins.map(Some);
        let ec2 = listing(1, &all[1..]);
        let parts = swept(&ec2, vec![Which::All], None).await.unwrap();
        let sorted = ["01", "02", "03", "04", "05", "0a0", "0f", "1"];
        assert_eq!(parts, [readable(&sorted)]);
        assert_eq!(ec2.calls(), ["list all  500"; 8]);

        let ec2 = listing(1, &all);
        let parts = swept(&ec2, vec![Which::All], None).await.unwrap();
        assert_eq!(parts.len(), 17);
        assert_eq!(parts[0], readable(&[]));
        assert_eq!(parts[1], readable(&["01"]));
        assert_eq!(parts[10], readable(&["0a0", "0a1"]));
        assert_eq!(parts[16], readable(&["1"]));
        let calls = ec2.calls();
        assert_eq!(calls[..8], ["list all  500"; 8]);
        assert_eq!(
            calls[8..10],
            ["list all ami-00* 500", "list all ami-01* 500"]
        );
        assert_eq!(calls.len(), 8 + 17 + 1); // one part has two pages
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_lists_what_fits_into_a_page_or_parts_and_only_what_lies_behind_the_last_one() {
        let begins = ["0e", "0d", "0c"].map(Some);
        let ec2 = listing(3, &begins);
        let parts = swept(&ec2, vec![Which::All], Some("0d")).await.unwrap();
        assert_eq!(parts, [readable(&["0e"])]);
        assert_eq!(ec2.calls(), ["list all  500"]);

        let ec2 = listing(2, &begins);
        let parts = swept(&ec2, vec![Which::All], Some("0d")).await.unwrap();
        let expected = [&[][..], &["0e"], &[], &[]].map(readable);
        assert_eq!(parts, expected);
        assert_eq!(ec2.calls()[..2], ["list all  500", "list all ami-0d* 500"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_takes_too_long_or_cannot_be_read_is_halved_down_to_ten_images() {
        for code in ["Timeout", "UnreadableAnswer"] {
            let mut left = 7;
            let ec2 = Script::new(move |_, _| {
                left -= 1;
                let error = CallError::answered("DescribeImages", code, 500, "");
                if left >= 0 {
                    Err(error)
                } else {
                    Ok(Duration::ZERO)
                }
            });
            ec2.state.borrow_mut().page = 1;
            ec2.state.borrow_mut().listed = ["0a", "0b"].map(|begin| Some(id(begin))).to_vec();
            swept(&ec2, vec![Which::All], None).await.unwrap();
            let sizes = [500, 250, 125, 62, 31, 15, 10, 10, 10];
            assert_eq!(ec2.calls(), sizes.map(|size| format!("list all  {size}")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_another_fault_a_page_is_as_large_as_before() {
        let mut faults = 1;
        let ec2 = Script::new(move |_, _| {
            faults -= 1;
            let error = CallError::answered("DescribeImages", "InternalError", 500, "");
            if faults >= 0 {
                Err(error)
            } else {
                Ok(Duration::ZERO)
            }
        });
        swept(&ec2, vec![Which::All], None).await.unwrap();
        assert_eq!(ec2.calls(), ["list all  500"; 2]);
    }

    #[test]
    fn the_note_about_unreadable_images_tells_how_many_they_are() {
        assert_eq!(
            unreadable_note(1),
            "EC2 listed 1 image without an id that can be read; it was not looked at."
        );
        assert_eq!(
            unreadable_note(2),
            "EC2 listed 2 images without an id that can be read; they were not looked at."
        );
    }

    #[test]
    fn parts_follow_each_other_in_the_order_of_the_ids_and_cover_all_of_them() {
        let all = parts(None);
        assert_eq!(all.len(), 17);
        assert_eq!(all[0], ["ami-00*"]);
        assert_eq!(all[15], ["ami-0f*"]);
        assert_eq!(all[16].first().map(String::as_str), Some("ami-1*"));
        assert_eq!(all[16].len(), 15);
    }

    #[test]
    fn a_link_does_not_list_the_parts_before_its_beginning() {
        let from = |after: &str| parts(Some(after.parse().unwrap()));
        assert_eq!(from("ami-00000000000000000").len(), 17);
        assert_eq!(from("ami-0a000000000000000")[0], ["ami-0a*"]);
        assert_eq!(from("ami-0fffffffffffffffe").len(), 2);
        assert_eq!(from("ami-1abcdef0").len(), 1);
    }

    #[test]
    fn rules_make_a_sweep_list_every_image_and_else_only_those_that_can_have_directives() {
        assert_eq!(
            kinds_of_images(true, "ami-warden:", Some("status")),
            [Which::All]
        );
        let tagged = |keys: &[&str]| Which::Tagged(keys.iter().map(ToString::to_string).collect());
        assert_eq!(
            kinds_of_images(false, "ami-warden:", None),
            [tagged(&["ami-warden:*"]), Which::Public]
        );
        assert_eq!(
            kinds_of_images(false, "ami-warden:", Some("status")),
            [tagged(&["ami-warden:*", "status"]), Which::Public]
        );
    }
}
