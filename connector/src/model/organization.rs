//! The organization as one walk saw it, and which of its accounts are crawled.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    str::FromStr,
};

use super::{
    ids::{AccountId, OuId},
    integration::Settings,
    proof::{Complete, KeyDigest},
};

/// State of an account in AWS Organizations (`State`; `Status` is retired).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// Being set up.
    PendingActivation,
    /// In use.
    Active,
    /// Suspended by AWS.
    Suspended,
    /// Being closed.
    PendingClosure,
    /// Closed.
    Closed,
    /// Something that this version does not know: neither crawled nor taken as gone.
    Unknown(String),
}

impl AccountState {
    /// As AWS writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::PendingActivation => "PENDING_ACTIVATION",
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::PendingClosure => "PENDING_CLOSURE",
            Self::Closed => "CLOSED",
            Self::Unknown(text) => text,
        }
    }
}

impl From<&str> for AccountState {
    fn from(text: &str) -> Self {
        match text {
            "PENDING_ACTIVATION" => Self::PendingActivation,
            "ACTIVE" => Self::Active,
            "SUSPENDED" => Self::Suspended,
            "PENDING_CLOSURE" => Self::PendingClosure,
            "CLOSED" => Self::Closed,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: AccountId,
    /// ARN in AWS Organizations.
    pub arn: String,
    /// Name.
    pub name: String,
    /// E-mail of its root user.
    pub email: String,
    /// State.
    pub state: AccountState,
    /// Every path from the root down to it, without itself. More than one where AWS
    /// says so; never none in a [`Walk`].
    pub paths: Vec<Vec<OuId>>,
}

/// The root or an organizational unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// `r-…` or `ou-…`.
    pub id: OuId,
    /// Name.
    pub name: String,
    /// Parent; none for the root.
    pub parent: Option<OuId>,
}

/// A walk that met every account and every unit.
#[derive(Debug)]
pub struct Walk {
    units: Vec<Unit>,
    accounts: Vec<Account>,
}

/// What a walk's proof speaks for.
#[derive(Clone, Copy, Debug)]
pub struct WholeOrganization;

impl Walk {
    /// A walk, by the proof that its lists were read to their ends.
    ///
    /// # Panics
    ///
    /// When the accounts or units are not those that the proof saw.
    #[must_use]
    pub fn new(
        proof: &Complete<WholeOrganization>,
        units: Vec<Unit>,
        accounts: Vec<Account>,
    ) -> Self {
        let ids: HashSet<KeyDigest> = units
            .iter()
            .map(|unit| KeyDigest::of(unit.id.as_str()))
            .chain(accounts.iter().map(|account| KeyDigest::of(account.id.as_str())))
            .collect();
        let holds_all = ids.len() == proof.seen() && ids.iter().all(|id| proof.saw(*id));
        assert!(holds_all, "a walk holds what its proof saw");
        Self { units, accounts }
    }

    /// Root and organizational units, parents before children.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Accounts.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The excluded units that this walk did not meet.
    #[must_use]
    pub fn absent<'a>(&self, excluded: &'a BTreeSet<OuId>) -> Vec<&'a OuId> {
        excluded.iter().filter(|id| !self.units.iter().any(|unit| unit.id == **id)).collect()
    }
}

/// Whether an account is crawled, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// It is.
    Crawled,
    /// It moved out of an excluded organizational unit, and is crawled from the next sync
    /// on: whoever excluded it may not know.
    Announced,
    /// It lies in an excluded organizational unit.
    Excluded,
    /// It does not lie below the connected root or unit.
    Outside,
    /// It is not active.
    Inactive,
    /// Its state is not known.
    UnknownState,
    /// It is gone from the organization.
    Gone,
}

impl Coverage {
    /// Every value.
    pub const ALL: [Self; 7] = [
        Self::Crawled,
        Self::Announced,
        Self::Excluded,
        Self::Outside,
        Self::Inactive,
        Self::UnknownState,
        Self::Gone,
    ];

    /// Judges an account by where it is now; that it was excluded before, only the
    /// database knows. Exclusion wins: an account that has several paths is
    /// excluded as soon as one of them leads through an excluded unit. Paths are
    /// matched by whole segments.
    #[must_use]
    pub fn of(account: &Account, settings: &Settings) -> Self {
        let passes = |ou: &OuId| account.paths.iter().any(|path| path.contains(ou));
        if settings.excluded_ou_ids.iter().any(passes) {
            return Self::Excluded;
        }
        if !passes(&settings.root_or_ou_id) {
            return Self::Outside;
        }
        match account.state {
            AccountState::Active => Self::Crawled,
            AccountState::PendingActivation
            | AccountState::Suspended
            | AccountState::PendingClosure
            | AccountState::Closed => Self::Inactive,
            AccountState::Unknown(_) => Self::UnknownState,
        }
    }

    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crawled => "crawled",
            Self::Announced => "announced",
            Self::Excluded => "excluded",
            Self::Outside => "outside",
            Self::Inactive => "inactive",
            Self::UnknownState => "unknown_state",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Coverage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|coverage| coverage.as_str() == text)
            .ok_or_else(|| format!("unknown coverage {text:?}"))
    }
}

/// The path in one of the texts of `Account.Paths`: the segments that are a root or
/// a unit, in order. The organization before and the account behind are dropped.
#[must_use]
pub fn parse_path(text: &str) -> Vec<OuId> {
    text.split('/').filter_map(|segment| segment.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::form::tests::some_settings;

    fn account(state: AccountState, paths: &[&str]) -> Account {
        Account {
            id: "123456789012".parse().expect("an id"),
            arn: String::new(),
            name: "a".into(),
            email: "a@example.com".into(),
            state,
            paths: paths.iter().map(|path| parse_path(path)).collect(),
        }
    }

    #[test]
    fn exclusion_takes_whole_subtrees_by_whole_segments() {
        let mut settings = some_settings();
        settings.root_or_ou_id = "r-a1b2".parse().expect("an id");
        settings.excluded_ou_ids = ["ou-a1b2-11111111".parse().expect("an id")].into();
        let table: [(AccountState, &[&str], Coverage); 8] = [
            (AccountState::Active, &["o-aaaaaaaaaa/r-a1b2/123456789012/"], Coverage::Crawled),
            (AccountState::Active, &["o-aaaaaaaaaa/r-a1b2/ou-a1b2-11111111/"], Coverage::Excluded),
            (
                AccountState::Active,
                &["o-aaaaaaaaaa/r-a1b2/ou-a1b2-11111111/ou-a1b2-22222222/"],
                Coverage::Excluded,
            ),
            (AccountState::Active, &["r-a1b2/ou-a1b2-111111112/"], Coverage::Crawled),
            (AccountState::Active, &["r-a1b2/", "r-a1b2/ou-a1b2-11111111/"], Coverage::Excluded),
            (AccountState::Active, &["r-b1b2/"], Coverage::Outside),
            (AccountState::Suspended, &["r-a1b2/"], Coverage::Inactive),
            (AccountState::Unknown("NEW".into()), &["r-a1b2/"], Coverage::UnknownState),
        ];
        for (state, paths, expected) in table {
            assert_eq!(Coverage::of(&account(state, paths), &settings), expected, "{paths:?}");
        }
    }
}
