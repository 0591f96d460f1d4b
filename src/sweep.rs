//! Every image: what a sweep lists, and in which order it takes it.

use futures_util::future::try_join;

use crate::{
    image::ImageId,
    patience::Patience,
    ports::{CallError, Ec2, Listing},
};

/// The ids of all images that a sweep has to look at, sorted: those that can have directives, and those that are public.
///
/// Sorted ids make a chain of invocations cover every image once: each goes on after the last id of the one before, whatever was
/// created or deregistered meanwhile.
///
/// # Errors
/// What lasts of EC2's errors.
pub async fn list<E: Ec2>(ec2: &E, patience: &Patience, tag_prefix: &str, has_rules: bool) -> Result<Vec<ImageId>, CallError> {
    if has_rules {
        return pages(ec2, patience, &Listing::All).await.map(sorted);
    }
    // Without rules only tags give directives. Public images are looked at besides, to tell of those that nobody asked to be public.
    let (tagged, public) = (Listing::TaggedWithPrefix(tag_prefix.to_owned()), Listing::Public);
    let (mut ids, public) = try_join(pages(ec2, patience, &tagged), pages(ec2, patience, &public)).await?;
    ids.extend(public);
    Ok(sorted(ids))
}

async fn pages<E: Ec2>(ec2: &E, patience: &Patience, listing: &Listing) -> Result<Vec<ImageId>, CallError> {
    let mut ids = Vec::new();
    let mut token = None;
    loop {
        let page = patience.call("DescribeImages", async || ec2.image_ids(listing, token.clone()).await).await?;
        ids.extend(page.ids);
        token = page.next;
        if token.is_none() {
            return Ok(ids);
        }
    }
}

fn sorted(mut ids: Vec<ImageId>) -> Vec<ImageId> {
    ids.sort_unstable();
    ids.dedup();
    ids
}
