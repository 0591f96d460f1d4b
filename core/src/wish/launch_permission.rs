//! The grammar of launch permissions.

use super::{
    grantee_list::{BadItem, Item, Names, Resolved, Unresolved, read_items, resolve},
    statement::{BadStatement, Statement},
};
use crate::model::grantee::{AccountId, Grantee, LaunchPermissions};

/// A launch-permission value that was read, with its groups and short forms still to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaunchPermissionValue {
    exactly: bool,
    items: Vec<Item>,
}

/// A launch-permission value that does not parse or is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LaunchPermissionError {
    /// A `-` item in a list that begins with `=`.
    #[error(
        "{0:?} does not go together with \"=\": a list with \"=\" already removes everybody else; \
         take one of them out"
    )]
    RemovesUnderExact(String),
    /// An item does not parse.
    #[error(transparent)]
    Item(#[from] BadItem),
    /// An item cannot be looked up.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
}

/// The parties that are to have access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchPermissionWish {
    /// These and nobody else (`=`).
    Exactly(LaunchPermissions),
    /// These in, those out; everybody else keeps access. No grantee is in both.
    Edit {
        /// Grantees that are to be let in.
        add: LaunchPermissions,
        /// Grantees that are to be kept out.
        remove: LaunchPermissions,
    },
}

impl LaunchPermissionWish {
    /// The grantees that are to be let in, whether or not they have access already.
    #[must_use]
    pub fn wanted(&self) -> &LaunchPermissions {
        match self {
            Self::Exactly(grantees) => grantees,
            Self::Edit { add, .. } => add,
        }
    }

    /// Whether the image is to be public.
    #[must_use]
    pub fn wants_public(&self) -> bool {
        self.wanted().contains(&Grantee::All)
    }
}

impl LaunchPermissionValue {
    /// Reads the statements as one value, joined in their order; `None` if they state nothing.
    ///
    /// # Errors
    /// The first item that does not parse, with its statement.
    pub(crate) fn read(
        statements: &[Statement],
    ) -> Result<Option<Self>, BadStatement<LaunchPermissionError>> {
        let mut value = Self {
            exactly: false,
            items: Vec::new(),
        };
        let mut begun = false;
        for Statement {
            source,
            value: text,
        } in statements
        {
            let mut text = text.trim_start_matches([' ', ',']);
            // "=" counts only at the very beginning of the joined value; anywhere else it is an
            // item, and not one that parses.
            if !begun && let Some(rest) = text.strip_prefix('=') {
                value.exactly = true;
                begun = true;
                text = rest;
            }
            for item in read_items(text, source).map_err(widen)? {
                if item.removes && value.exactly {
                    let error = LaunchPermissionError::RemovesUnderExact(item.text);
                    return Err(BadStatement {
                        source: source.clone(),
                        error,
                    });
                }
                begun = true;
                value.items.push(item);
            }
        }
        Ok(if begun { Some(value) } else { None })
    }

    /// Looks groups and short forms up.
    ///
    /// # Errors
    /// The first item that cannot be looked up or contradicts another.
    pub(crate) fn resolve(
        &self,
        names: &Names<'_>,
        owner: &AccountId,
    ) -> Result<LaunchPermissionWish, BadStatement<LaunchPermissionError>> {
        let Resolved {
            mut add,
            mut remove,
        } = resolve(
            &self.items,
            names,
            |_, _| Ok::<_, LaunchPermissionError>(()),
        )?;
        // The owner always has access and cannot lose it: naming it means nothing.
        let owner = Grantee::Account(owner.clone());
        add.remove(&owner);
        remove.remove(&owner);
        Ok(if self.exactly {
            LaunchPermissionWish::Exactly(add)
        } else {
            LaunchPermissionWish::Edit { add, remove }
        })
    }
}

fn widen(bad: BadStatement<BadItem>) -> BadStatement<LaunchPermissionError> {
    BadStatement {
        source: bad.source,
        error: bad.error.into(),
    }
}
