//! What is granted in a history, and to whom: a permission set in an account, or a membership in a
//! group.

use apono_connector_proto::v1::AccessUnit;
use aws_sim::{assignment::Assignment, directory::Directory, world::World};
use chrono::{DateTime, Utc};

use super::round::accounts;
use crate::access::{SET, ann, assignment};

/// A group of the simulator, in which none of those is who receive something.
const GROUP: &str = "g-00000000";

/// What, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The number of a user.
    pub(super) person: usize,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// [`SET`] in one of the accounts.
    InAccount(usize),
    /// A membership in [`GROUP`].
    InGroup,
}

impl Place {
    pub(super) const ALL: [Self; 6] = [
        Self { person: 1, what: What::InAccount(0) },
        Self { person: 1, what: What::InAccount(1) },
        Self { person: 1, what: What::InGroup },
        Self { person: 2, what: What::InAccount(0) },
        Self { person: 2, what: What::InAccount(1) },
        Self { person: 2, what: What::InGroup },
    ];

    /// As it is asked for, in the organization of a number.
    pub(super) fn unit(self, at: usize) -> AccessUnit {
        match self.what {
            What::InAccount(account) => AccessUnit {
                account_id: accounts(at)[account].clone(),
                permission_set: SET.to_owned(),
                ..Default::default()
            },
            What::InGroup => AccessUnit {
                resource: format!("arn:aws:identitystore:::group/{GROUP}"),
                permission: "MEMBER".to_owned(),
                ..Default::default()
            },
        }
    }

    /// What the connector changes one thing at a time of.
    pub(super) fn of(self, at: usize) -> String {
        match self.what {
            What::InAccount(account) => accounts(at)[account].clone(),
            What::InGroup => format!("group/{GROUP}"),
        }
    }

    /// Somebody else makes the same, or removes it.
    pub(super) fn by_hand(self, world: &mut World, (organization, at): (&str, usize), makes: bool) {
        match (self.assignment(at), makes) {
            (Some(held), true) => world.assign(organization, held),
            (Some(held), false) => world.unassign(organization, &held),
            (None, true) => world.join(organization, GROUP, &ann(self.person)),
            (None, false) => world.leave(organization, GROUP, &ann(self.person)),
        }
    }

    /// Whether it is there.
    pub(super) fn is_there(self, directory: &Directory, at: usize) -> bool {
        match self.assignment(at) {
            Some(held) => directory.assignments.contains(&held),
            None => directory.is_member(GROUP, &ann(self.person)),
        }
    }

    /// When we removed it.
    pub(super) fn removals(self, directory: &Directory, at: usize) -> Vec<DateTime<Utc>> {
        if let Some(held) = self.assignment(at) {
            let changes = directory.changes.iter().filter(|one| one.assignment == held);
            return changes
                .filter(|one| !one.is_there && !one.is_by_hand)
                .map(|one| one.at)
                .collect();
        }
        let changes = directory.membership_changes.iter();
        let of = changes.filter(|one| one.group == GROUP && one.user == ann(self.person));
        of.filter(|one| !one.is_there && !one.is_by_hand).map(|one| one.at).collect()
    }

    fn assignment(self, at: usize) -> Option<Assignment> {
        match self.what {
            What::InAccount(account) => Some(assignment(&ann(self.person), &accounts(at)[account])),
            What::InGroup => None,
        }
    }
}
