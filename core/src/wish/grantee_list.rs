//! A list of grantees to add and, with `-`, to remove: the common part of launch and copy
//! permissions.

use super::{
    grantee_name::{BadName, Completed, GranteeName, Incomplete, grantee_items},
    groups::{GroupError, Groups},
    statement::{BadStatement, Source},
};
use crate::model::grantee::{Grantee, LaunchPermissions, OrganizationArn};

/// An item of a list, with its group or short form still to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Whether it begins with `-`, and so removes.
    pub removes: bool,
    name: GranteeName,
    /// As it was written, for error messages.
    pub text: String,
    /// The tag, rule or request that it comes from.
    pub source: Source,
}

/// An item that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadItem {
    /// `=` in another place than the beginning.
    #[error("{0:?} is not possible here: \"=\" stands only at the very beginning")]
    MisplacedEquals(String),
    /// A `-` without a grantee behind it.
    #[error("{0:?} names nobody: write the grantee right behind the \"-\"")]
    NamesNobody(String),
    /// An item that begins with several `-`.
    #[error("{0:?} begins with more than one \"-\": a single one removes a grantee")]
    SecondMinus(String),
    /// Not the name of a grantee.
    #[error(transparent)]
    Name(#[from] BadName),
}

/// Reads the items of one statement.
///
/// # Errors
/// The first item that does not parse.
pub(crate) fn read_items(text: &str, source: &Source) -> Result<Vec<Item>, BadStatement<BadItem>> {
    let mut list = Vec::new();
    for item in grantee_items(text) {
        let name = read_item(item).map_err(|error| BadStatement {
            source: source.clone(),
            error,
        })?;
        list.push(Item {
            removes: item.starts_with('-'),
            name,
            text: item.to_owned(),
            source: source.clone(),
        });
    }
    Ok(list)
}

fn read_item(item: &str) -> Result<GranteeName, BadItem> {
    if item.starts_with('=') {
        return Err(BadItem::MisplacedEquals(item.to_owned()));
    }
    let written = item.strip_prefix('-').unwrap_or(item);
    if written.is_empty() {
        return Err(BadItem::NamesNobody(item.to_owned()));
    }
    if written.starts_with('-') {
        return Err(BadItem::SecondMinus(item.to_owned()));
    }
    // The message quotes the item as it was written, its "-" included.
    let name = written.parse();
    name.map_err(|bad: BadName| BadItem::Name(bad.with_text(item)))
}

/// The surroundings that give names their meaning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The groups of the policy.
    pub groups: &'a Groups,
    /// Your organization, which completes short forms.
    pub organization: Option<&'a OrganizationArn>,
    /// The partition of the image: `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: &'a str,
}

/// An item that cannot be looked up, or contradicts another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unresolved {
    /// A short form that nothing completes.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// A group that is unknown or broken.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Sharing does not cross partitions.
    #[error(
        "{}is in the partition {theirs} and the image in {own}; sharing does not cross partitions, \
         so name a grantee of {own}",
        subject(.item, .grantee)
    )]
    OtherPartition {
        /// The item as it was written.
        item: String,
        /// The grantee that it stands for.
        grantee: Grantee,
        /// The partition in the grantee's ARN.
        theirs: String,
        /// The partition of the image's Region.
        own: String,
    },
    /// The same grantee is added and removed.
    #[error("{item:?}: {grantee} is both added and removed; delete one of the two")]
    Both {
        /// The later item of the two.
        item: String,
        /// The grantee that it stands for.
        grantee: Grantee,
    },
}

/// The item, and the grantee where it is another: one of a group, or a completed short form.
fn subject(item: &str, grantee: &Grantee) -> String {
    if item.trim_start_matches('-') == grantee.as_str() {
        format!("{item:?} ")
    } else {
        format!("{item:?}: {grantee} ")
    }
}

/// Grantees to add and to remove; none is in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Those to add, whether or not they have access.
    pub add: LaunchPermissions,
    /// Those to remove, whether or not they have access.
    pub remove: LaunchPermissions,
}

/// Looks groups and short forms up, and lets `check` object to a grantee.
///
/// # Errors
/// The first item that cannot be looked up, contradicts another, or is objected to.
pub(crate) fn resolve<E: From<Unresolved>>(
    list: &[Item],
    names: &Names<'_>,
    check: impl Fn(&Item, &Grantee) -> Result<(), E>,
) -> Result<Resolved, BadStatement<E>> {
    let mut resolved = Resolved::default();
    for item in list {
        let bad = |error: E| BadStatement {
            source: item.source.clone(),
            error,
        };
        let named = names
            .grantees(&item.name)
            .map_err(|error| bad(error.into()))?;
        for grantee in named {
            check(item, &grantee).map_err(bad)?;
            names
                .check_partition(item, &grantee)
                .map_err(|error| bad(error.into()))?;
            let (own_side, opposite) = if item.removes {
                (&mut resolved.remove, &resolved.add)
            } else {
                (&mut resolved.add, &resolved.remove)
            };
            if opposite.contains(&grantee) {
                let item = item.text.clone();
                return Err(bad(Unresolved::Both { item, grantee }.into()));
            }
            own_side.insert(grantee);
        }
    }
    Ok(resolved)
}

impl Names<'_> {
    fn grantees(&self, name: &GranteeName) -> Result<LaunchPermissions, Unresolved> {
        match name.clone().complete(self.organization)? {
            Completed::Grantee(grantee) => Ok(LaunchPermissions::from([grantee])),
            Completed::Group(name) => Ok(self.groups.expand(&name)?),
        }
    }

    fn check_partition(&self, item: &Item, grantee: &Grantee) -> Result<(), Unresolved> {
        match grantee.partition() {
            Some(partition) if partition != self.partition => Err(Unresolved::OtherPartition {
                item: item.text.clone(),
                grantee: grantee.clone(),
                theirs: partition.to_owned(),
                own: self.partition.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}
