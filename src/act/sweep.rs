//! Listing every image that a sweep looks at, in the order of the ids.
//!
//! Sorted ids make a chain of invocations cover every image once: each link goes on after the last id
//! of the link before, whatever was created or deregistered meanwhile. EC2 lists in no order, so a
//! listing must be whole before its first image is begun. A large estate is therefore listed in parts
//! by the beginning of the id, the next part while the images of the last are worked on, and a link
//! does not list the parts that are done.

use std::{
    cell::Cell,
    collections::{BTreeSet, VecDeque},
};

use ami_warden_core::model::image::ImageId;

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
pub struct Listed {
    /// Sorted, each once.
    pub ids: Vec<ImageId>,
    /// Images that EC2 listed without an id that can be read.
    pub unreadable: usize,
}

/// Lists the images of a sweep, part by part.
#[derive(Debug)]
pub struct Lister<'a, E> {
    ec2: &'a E,
    retry: &'a Retry,
    kinds: Vec<Which>,
    after: Option<ImageId>,
    state: State,
}

#[derive(Debug)]
enum State {
    Begin,
    Parts(VecDeque<Vec<String>>),
    Done,
}

/// The images that can have directives: all of them, as where there are rules, else those with a key
/// under the prefix or with the status tag. A sweep also looks at public images, to tell of those
/// without a directive.
#[must_use]
pub fn kinds(all: bool, tag_prefix: &str, status_tag: Option<&str>) -> Vec<Which> {
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
            state: State::Begin,
        }
    }

    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// A lasting error of EC2.
    pub async fn next(&mut self) -> Result<Option<Listed>, CallError> {
        if matches!(self.state, State::Begin) {
            // A link of a chain belongs to a large estate; only a small one fits into a page.
            let pages_max = if self.after.is_some() {
                1
            } else {
                WHOLE_PAGES_MAX
            };
            if let Some(listed) = self.list(&[], pages_max).await? {
                self.state = State::Done;
                return Ok(Some(listed));
            }
            self.state = State::Parts(parts(self.after));
        }
        let State::Parts(parts) = &mut self.state else {
            return Ok(None);
        };
        let Some(patterns) = parts.pop_front() else {
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
        let mut listed = Listed::default();
        let mut token: Option<String> = None;
        let size = Cell::new(PAGE_SIZE_MAX);
        for _ in 0..pages_max {
            let call = async || {
                let page = self
                    .ec2
                    .image_ids(&listing, size.get(), token.as_deref())
                    .await;
                if let Err(error) = &page
                    && matches!(error.code.as_ref(), "Timeout" | "UnreadableAnswer")
                {
                    size.set((size.get() / 2).max(PAGE_SIZE_MIN));
                }
                page
            };
            // Each page is tried again by itself.
            let page = self.retry.attempts().call("DescribeImages", call).await?;
            for id in page.items {
                match id {
                    Some(id) => listed.ids.push(id),
                    None => listed.unreadable += 1,
                }
            }
            token = page.next;
            if token.is_none() {
                return Ok(Some(listed));
            }
        }
        Ok(None)
    }
}

/// The parts of an estate in the order of their ids, without those that lie before `after`.
///
/// EC2's ids have begun with `ami-0` since 2018, so the digit behind tells them apart; older ones, with
/// 8 digits, are few and stand together.
fn parts(after: Option<ImageId>) -> VecDeque<Vec<String>> {
    const DIGITS: &str = "0123456789abcdef";
    let begins = |digit: char| format!("ami-0{digit}");
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let mut parts: VecDeque<Vec<String>> = DIGITS
        .chars()
        .map(begins)
        .filter(|prefix| {
            after
                .get(..prefix.len())
                .is_none_or(|after| after <= prefix.as_str())
        })
        .map(|prefix| vec![format!("{prefix}*")])
        .collect();
    parts.push_back(
        DIGITS
            .chars()
            .skip(1)
            .map(|digit| format!("ami-{digit}*"))
            .collect(),
    );
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(kinds(true, "ami-warden:", Some("status")), [Which::All]);
        let tagged = |keys: &[&str]| Which::Tagged(keys.iter().map(ToString::to_string).collect());
        assert_eq!(
            kinds(false, "ami-warden:", None),
            [tagged(&["ami-warden:*"]), Which::Public]
        );
        assert_eq!(
            kinds(false, "ami-warden:", Some("status")),
            [tagged(&["ami-warden:*", "status"]), Which::Public]
        );
    }
}
