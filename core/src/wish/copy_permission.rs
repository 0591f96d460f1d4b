//! The grammar of copy permissions: accounts to add and, with `-`, to remove.
//!
//! There is no `=`: one snapshot may stand behind several images, and this image's list says
//! nothing about the accounts that another image lets in.

use super::{
    grantee_list::{BadItem, Item, Names, Resolved, Unresolved, read_items, resolve},
    statement::{BadStatement, Statement},
};
use crate::model::grantee::{AccountId, CopyPermissions, Grantee, LaunchPermissions};

/// A copy-permission value that was read, with its groups still to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyPermissionValue {
    items: Vec<Item>,
}

/// A copy-permission value that does not parse or is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CopyPermissionError {
    /// `=` at the beginning, which would remove everybody else.
    #[error(
        "\"=\" is not possible in a copy permission, since another image may share the snapshot; \
         name the accounts to remove with \"-\""
    )]
    Exactly,
    /// `all`, an organization or a unit.
    #[error(
        "{item:?} {}, and EC2 gives the copy permission to accounts only; name their 12-digit ids, \
         or a group of accounts",
        not_an_account(.item, .grantee)
    )]
    NotAnAccount {
        /// The item as it was written.
        item: String,
        /// The grantee that it stands for.
        grantee: Grantee,
    },
    /// An item does not parse.
    #[error(transparent)]
    Item(#[from] BadItem),
    /// An item cannot be looked up.
    #[error(transparent)]
    Unresolved(#[from] Unresolved),
}

fn not_an_account(item: &str, grantee: &Grantee) -> String {
    if item.trim_start_matches('-') == grantee.as_str() {
        "is not an account".to_owned()
    } else {
        format!("holds {grantee}, which is not an account")
    }
}

/// The accounts that are to be able to copy the image, and those that are not; no account is in
/// both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyPermissionWish {
    /// To be given the permission.
    pub add: CopyPermissions,
    /// To lose the permission, if they have it.
    pub remove: CopyPermissions,
}

impl CopyPermissionValue {
    /// Reads the statements as one value, joined in their order; `None` if they state nothing.
    ///
    /// # Errors
    /// The first item that does not parse, with its statement.
    pub(crate) fn read(
        statements: &[Statement],
    ) -> Result<Option<Self>, BadStatement<CopyPermissionError>> {
        let mut items = Vec::new();
        for Statement { source, value } in statements {
            let text = value.trim_start_matches([' ', ',']);
            if items.is_empty() && text.starts_with('=') {
                let error = CopyPermissionError::Exactly;
                return Err(BadStatement {
                    source: source.clone(),
                    error,
                });
            }
            let read = read_items(text, source);
            items.extend(read.map_err(|bad| BadStatement {
                source: bad.source,
                error: CopyPermissionError::from(bad.error),
            })?);
        }
        Ok(if items.is_empty() {
            None
        } else {
            Some(Self { items })
        })
    }

    /// Looks groups up.
    ///
    /// # Errors
    /// The first item that is not an account or a group of accounts, cannot be looked up, or
    /// contradicts another.
    pub(crate) fn resolve(
        &self,
        names: &Names<'_>,
        owner: &AccountId,
    ) -> Result<CopyPermissionWish, BadStatement<CopyPermissionError>> {
        let accounts_only = |item: &Item, grantee: &Grantee| match grantee {
            Grantee::Account(_) => Ok(()),
            other => Err(CopyPermissionError::NotAnAccount {
                item: item.text.clone(),
                grantee: other.clone(),
            }),
        };
        let Resolved { add, remove } = resolve(&self.items, names, accounts_only)?;
        Ok(CopyPermissionWish {
            add: accounts(add, owner),
            remove: accounts(remove, owner),
        })
    }
}

/// The accounts but the owner, who can copy the image without a permission.
fn accounts(grantees: LaunchPermissions, owner: &AccountId) -> CopyPermissions {
    let mut accounts = CopyPermissions::new();
    for grantee in grantees {
        if let Grantee::Account(account) = grantee
            && account != *owner
        {
            accounts.insert(account);
        }
    }
    accounts
}
