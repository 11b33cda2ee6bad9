//! Where things are read: the unit of a crawl and of proof.

use std::fmt;

use super::ids::{AccountId, ConnectorId, IntegrationId, Region, ReplicaId, SyncId};

/// Where a collector reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Once, from the management account.
    Organization,
    /// Once for each account.
    Account,
    /// Once for each account and region.
    Region,
}

/// A place to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The organization, from its management account.
    Organization,
    /// What an account has once.
    Account(AccountId),
    /// An account in a region.
    Region(AccountId, Region),
}

impl Place {
    /// What is read there.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self {
            Self::Organization => Reach::Organization,
            Self::Account(_) => Reach::Account,
            Self::Region(..) => Reach::Region,
        }
    }

    /// The account; none for the organization.
    #[must_use]
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Organization => None,
            Self::Account(account) | Self::Region(account, _) => Some(account),
        }
    }

    /// As stored: empty for the organization.
    #[must_use]
    pub fn account_key(&self) -> &str {
        self.account().map_or("", AccountId::as_str)
    }

    /// As stored: empty unless the place is a region.
    #[must_use]
    pub fn region_key(&self) -> &str {
        match self {
            Self::Organization | Self::Account(_) => "",
            Self::Region(_, region) => region.as_str(),
        }
    }

    /// From what is stored.
    ///
    /// # Errors
    ///
    /// When the texts are no account or region.
    pub fn from_keys(account: &str, region: &str) -> Result<Self, super::ids::Malformed> {
        Ok(match (account, region) {
            ("", _) => Self::Organization,
            (account, "") => Self::Account(account.parse()?),
            (account, region) => Self::Region(account.parse()?, region.parse()?),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization => f.write_str("organization"),
            Self::Account(account) => write!(f, "{account}"),
            Self::Region(account, region) => write!(f, "{account} {region}"),
        }
    }
}

/// One leased group of scopes: everything that one sync reads in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The tenant.
    pub connector: ConnectorId,
    /// Its integration.
    pub integration: IntegrationId,
    /// The sync that planned it.
    pub sync: SyncId,
    /// That sync's generation.
    pub generation: i64,
    /// Version of the integration's settings when it was leased.
    pub settings_version: i64,
    /// Where.
    pub place: Place,
    /// Who holds it.
    pub owner: ReplicaId,
    /// The number of this lease; writes under an older one are refused.
    pub fence: i64,
}

/// A collector's part of a group: the unit of proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The group.
    pub group: Group,
    /// The collector's name.
    pub collector: &'static str,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.group.place, self.collector)
    }
}
