//! What a target is looked at for: in this order targets get their turn, and in this lane AWS is
//! called.

use chrono::{DateTime, Utc};

use super::{
    failure::Lane,
    holding::{self, Holder},
    target::{Target, Verb},
    unit::UnitState,
};

/// What is to be done about a target, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    /// Nobody wants it any more.
    Revoke,
    /// AWS is at work on it.
    Poll,
    /// Somebody waits for it.
    Grant,
    /// Is it as it should be?
    Audit,
}

impl Errand {
    /// As it is stored: the most urgent first.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Revoke => 0,
            Self::Poll => 1,
            Self::Grant => 2,
            Self::Audit => 3,
        }
    }

    /// All, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Revoke, Self::Poll, Self::Grant, Self::Audit];

    /// What it will be at a time, as things stand.
    #[must_use]
    pub fn at(time: DateTime<Utc>, target: &Target, holders: &[Holder]) -> Self {
        let under_way = target.intent.as_ref().map(|intent| intent.verb);
        let waits = |holder: &Holder| {
            !holder.state.is_final()
                && (holder.state == UnitState::Pending || !holder.is_live(time))
        };
        if !holding::is_wanted(holders, time) && under_way != Some(Verb::Delete) {
            Self::Revoke
        } else if under_way.is_some() {
            Self::Poll
        } else if holders.iter().any(waits) {
            Self::Grant
        } else {
            Self::Audit
        }
    }

    /// The lane of its calls.
    #[must_use]
    pub fn lane(self) -> Lane {
        match self {
            Self::Revoke => Lane::Revoke,
            Self::Poll => Lane::Poll,
            Self::Grant => Lane::Grant,
            Self::Audit => Lane::Reconcile,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        holding::tests::{at, holder},
        target::Intent,
    };

    fn under_way(verb: Verb) -> Target {
        let intent =
            Intent { verb, since: at(0), request: None, settled_before: None, origin_before: None };
        Target { intent: Some(intent), ..Target::default() }
    }

    #[test]
    fn ends_come_first_and_mere_looks_last() {
        use UnitState::{Active, Ended, Pending, Revoking};
        let idle = Target::default();
        let table = [
            (&idle, vec![holder(Active, 10)], 5, Errand::Audit),
            (&idle, vec![holder(Active, 10)], 10, Errand::Revoke),
            (&idle, vec![holder(Pending, 10)], 5, Errand::Grant),
            (&idle, vec![holder(Active, 10), holder(Active, 20)], 10, Errand::Grant),
            (&idle, vec![holder(Revoking, 1)], 5, Errand::Revoke),
            (&idle, vec![holder(Ended, 1)], 5, Errand::Revoke),
            (&idle, vec![], 5, Errand::Revoke),
            (&under_way(Verb::Create), vec![holder(Pending, 10)], 5, Errand::Poll),
            (&under_way(Verb::Create), vec![holder(Pending, 10)], 10, Errand::Revoke),
            (&under_way(Verb::Delete), vec![holder(Revoking, 1)], 5, Errand::Poll),
        ];
        for (target, holders, seconds, errand) in table {
            assert_eq!(Errand::at(at(seconds), target, &holders), errand, "{holders:?} {seconds}");
        }
    }
}
