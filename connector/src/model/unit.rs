//! One permission on one resource, as a grant has it: its states.
//!
//! The engine alone moves a unit on, by what it sees of the target that the unit holds; only
//! a removal that a caller gives up ends it otherwise. A unit that has ended or failed never
//! comes back: what comes later is another grant's.

use std::{fmt, str::FromStr};

/// State of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitState {
    /// Not there yet.
    Pending,
    /// Seen in AWS, and held.
    Active,
    /// Over, and being removed.
    Revoking,
    /// Over and not seen any more, but a call whose end nobody knows may still bring it back.
    Settling,
    /// Over, and nothing of it is left.
    Ended,
    /// It cannot be granted.
    Failed,
}

/// What happens to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitEvent {
    /// It is wanted, and there.
    Held,
    /// It is wanted, and not there.
    Missing,
    /// It is over, and there.
    Leaving,
    /// It is over and not there, for all that can be told.
    Doubtful,
    /// It is over, and nothing of it is left.
    Gone,
    /// It cannot be granted.
    Refused,
}

/// Every step that there is.
const STEPS: &[(UnitState, UnitEvent, UnitState)] = {
    use UnitEvent::{Doubtful, Gone, Held, Leaving, Missing, Refused};
    use UnitState::{Active, Ended, Failed, Pending, Revoking, Settling};
    &[
        (Pending, Held, Active),
        (Pending, Missing, Pending),
        (Pending, Leaving, Revoking),
        (Pending, Doubtful, Settling),
        (Pending, Gone, Ended),
        (Pending, Refused, Failed),
        (Active, Held, Active),
        (Active, Missing, Pending),
        (Active, Leaving, Revoking),
        (Active, Doubtful, Settling),
        (Active, Gone, Ended),
        (Active, Refused, Failed),
        (Revoking, Leaving, Revoking),
        (Revoking, Doubtful, Settling),
        (Revoking, Gone, Ended),
        (Settling, Leaving, Revoking),
        (Settling, Doubtful, Settling),
        (Settling, Gone, Ended),
    ]
};

impl UnitState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Active, Self::Revoking, Self::Settling, Self::Ended, Self::Failed];

    /// The state after an event; none: it cannot happen in this state.
    #[must_use]
    pub fn after(self, event: UnitEvent) -> Option<Self> {
        let step = STEPS.iter().find(|(from, on, _)| *from == self && *on == event);
        step.map(|(_, _, to)| *to)
    }

    /// Whether nothing happens to it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Failed)
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Active => "ACTIVE",
            Self::Revoking => "REVOKING",
            Self::Settling => "SETTLING",
            Self::Ended => "ENDED",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for UnitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UnitState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|state| state.as_str() == text).ok_or_else(|| format!("unknown state {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_are_as_drawn() {
        let mut drawn = String::new();
        for state in UnitState::ALL {
            let mut ways: Vec<String> = Vec::new();
            for (_, event, to) in
                STEPS.iter().filter(|(from, _, to)| *from == state && *to != state)
            {
                ways.push(format!("{event:?} -> {to}"));
            }
            let ways = if ways.is_empty() { "final".to_owned() } else { ways.join(", ") };
            drawn.extend([state.as_str(), ": ", &ways, "\n"]);
        }
        insta::assert_snapshot!(drawn, @r"
        PENDING: Held -> ACTIVE, Leaving -> REVOKING, Doubtful -> SETTLING, Gone -> ENDED, Refused -> FAILED
        ACTIVE: Missing -> PENDING, Leaving -> REVOKING, Doubtful -> SETTLING, Gone -> ENDED, Refused -> FAILED
        REVOKING: Doubtful -> SETTLING, Gone -> ENDED
        SETTLING: Leaving -> REVOKING, Gone -> ENDED
        ENDED: final
        FAILED: final
        ");
    }

    #[test]
    fn every_state_is_stored_and_read_back() {
        for state in UnitState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            let moves = STEPS.iter().any(|(from, _, _)| *from == state);
            assert_eq!(state.is_final(), !moves);
        }
    }
}
