//! The state of an integration, computed whenever it is asked for.

use super::problem::Severity;

/// What the state is computed from.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Being removed.
    pub deleting: bool,
    /// Switched on.
    pub enabled: bool,
    /// The walk was complete and every scope was tried once.
    pub initialized: bool,
    /// A sync is planned or running.
    pub syncing: bool,
    /// The worst open problem.
    pub worst: Option<Severity>,
}

/// State of an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not every scope was tried once yet.
    Initializing,
    /// All is read.
    Active,
    /// A sync is running.
    Refreshing,
    /// Something could not be read.
    Warning,
    /// Nothing can be read.
    Error,
    /// Switched off.
    Disabled,
    /// Being removed.
    Deleting,
}

impl Status {
    /// The state that follows from the facts.
    #[must_use]
    pub fn of(facts: Facts) -> Self {
        if facts.deleting {
            Self::Deleting
        } else if !facts.enabled {
            Self::Disabled
        } else if facts.initialized && facts.syncing {
            Self::Refreshing
        } else if facts.worst == Some(Severity::Error) {
            Self::Error
        } else if !facts.initialized {
            Self::Initializing
        } else if facts.worst == Some(Severity::Warning) {
            Self::Warning
        } else {
            Self::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_follows_from_the_facts() {
        let calm = Facts {
            deleting: false,
            enabled: true,
            initialized: true,
            syncing: false,
            worst: None,
        };
        let new = Facts { initialized: false, ..calm };
        let table = [
            (calm, Status::Active),
            (Facts { enabled: false, worst: Some(Severity::Error), ..calm }, Status::Disabled),
            (Facts { deleting: true, enabled: false, ..calm }, Status::Deleting),
            (Facts { syncing: true, worst: Some(Severity::Warning), ..calm }, Status::Refreshing),
            (Facts { worst: Some(Severity::Notice), ..calm }, Status::Active),
            (Facts { worst: Some(Severity::Warning), ..calm }, Status::Warning),
            (Facts { worst: Some(Severity::Error), ..calm }, Status::Error),
            (new, Status::Initializing),
            (Facts { syncing: true, ..new }, Status::Initializing),
            (Facts { worst: Some(Severity::Error), ..new }, Status::Error),
        ];
        for (facts, status) in table {
            assert_eq!(Status::of(facts), status, "{facts:?}");
        }
    }
}
