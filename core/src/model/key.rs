//! A KMS key, as far as it decides whether a recipient can use an encrypted image.

use std::collections::BTreeSet;

use super::grantee::{AccountId, Grantee};

/// The knowledge about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFacts {
    /// This function could not look at the key; the text says why.
    Unknown(String),
    /// KMS described it.
    Known(Key),
}

/// A key as `DescribeKey` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// AWS manages it (`aws/ebs`), and EC2 shares no image encrypted with it.
    pub aws_managed: bool,
    /// KMS's name for its state: `Enabled`, `Disabled`, `PendingDeletion`, …
    pub state: String,
    /// The principals that could use it; `None` if a policy or a grant could not be read.
    pub reach: Option<KeyReach>,
}

impl Key {
    /// Whether nobody can use the key in its state:
    /// <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        matches!(
            self.state.as_str(),
            "Disabled"
                | "PendingDeletion"
                | "PendingImport"
                | "PendingReplicaDeletion"
                | "Unavailable"
        )
    }
}

/// The principals that the policies and grants of a key could reach.
///
/// One-sided: it holds more than can really use the key, never less. Conditions, actions and `Deny`
/// are left aside, so a grantee outside of it certainly cannot use the key, and one inside may or
/// may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyReach {
    /// A wildcard, a service, or anything that could stand for any account.
    pub anybody: bool,
    /// The accounts that are named.
    pub accounts: BTreeSet<AccountId>,
}

impl KeyReach {
    /// Whether somebody of the grantee could use the key of this owner.
    ///
    /// A key policy cannot name an organization but by a wildcard with a condition, so an
    /// organization or unit is out of reach only if no account but the owner's is named: its
    /// accounts are unknown.
    #[must_use]
    pub fn could_reach(&self, grantee: &Grantee, owner: &AccountId) -> bool {
        if self.anybody {
            return true;
        }
        match grantee {
            Grantee::Account(account) => self.accounts.contains(account),
            Grantee::Organization(_) | Grantee::OrganizationalUnit(_) | Grantee::All => {
                self.accounts.iter().any(|account| account != owner)
            }
        }
    }
}
