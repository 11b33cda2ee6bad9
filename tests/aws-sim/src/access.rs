//! Who may use which permission set, and assignments that change by somebody else's hand: at
//! once and without an operation, as if an administrator had made them long ago.

use std::collections::BTreeSet;

use crate::{
    assignment::{Assignment, Principal},
    directory::{Change, Directory},
    world::{Account, World},
};

impl World {
    /// Which permission sets a user may use now, by account and name: through assignments of
    /// its own and of its groups.
    pub fn access_of(&mut self, organization: &str, user: &str) -> BTreeSet<(String, String)> {
        self.settle(organization);
        let Some(organization) = self.organizations.get(organization) else {
            return BTreeSet::new();
        };
        let directory = &organization.directory;
        let is_enabled = directory.users.iter().any(|one| one.id == user && !one.is_disabled);
        let held = directory.assignments.iter().filter(|assignment| {
            is_enabled
                && match &assignment.principal {
                    Principal::User(id) => id == user,
                    Principal::Group(id) => directory.is_member(id, user),
                }
        });
        held.filter_map(|assignment| {
            let account = self.accounts.get(&assignment.account)?;
            let set = directory.permission_set(&assignment.permission_set)?;
            (account.state == "ACTIVE").then(|| (assignment.account.clone(), set.name.clone()))
        })
        .collect()
    }

    /// The same by user name or e-mail address, in the first organization that has such a user;
    /// none: no organization has.
    pub fn access_by_name(&mut self, user: &str) -> Option<BTreeSet<(String, String)>> {
        let (organization, id) = self.user_by_name(user)?;
        Some(self.access_of(&organization, &id))
    }

    /// The first organization that has a user of a name or an e-mail address, and the user's id.
    pub(crate) fn user_by_name(&self, user: &str) -> Option<(String, String)> {
        self.organizations.values().find_map(|organization| {
            let mut users = organization.directory.users.iter();
            let found = users.find(|one| one.name == user || one.email == user)?;
            Some((organization.id.clone(), found.id.clone()))
        })
    }

    /// Puts an assignment in by somebody else's hand, with the role that it needs.
    ///
    /// # Panics
    ///
    /// When there is no such organization or account.
    pub fn assign(&mut self, organization: &str, assignment: Assignment) {
        self.change(organization, assignment, true);
    }

    /// Takes an assignment away by somebody else's hand, and the role that nobody needs then.
    ///
    /// # Panics
    ///
    /// When there is no such organization or account.
    pub fn unassign(&mut self, organization: &str, assignment: &Assignment) {
        self.change(organization, assignment.clone(), false);
    }

    fn change(&mut self, organization: &str, assignment: Assignment, is_there: bool) {
        let at = self.clock.now();
        let (directory, account) = self.settled(organization, &assignment);
        if is_there {
            directory.assignments.insert(assignment.clone());
            directory.refresh(&assignment.account, &assignment.permission_set, at);
        } else {
            directory.assignments.remove(&assignment);
        }
        directory.provision(account, &assignment, at);
        directory.changes.push(Change { at, assignment, is_there, is_by_hand: true });
    }

    /// What an assignment changes, after the operations whose time came before it.
    fn settled(
        &mut self,
        organization: &str,
        assignment: &Assignment,
    ) -> (&mut Directory, &mut Account) {
        self.settle(organization);
        let organization = self.organizations.get_mut(organization).expect("an organization");
        let account = self.accounts.get_mut(&assignment.account).expect("an account");
        (&mut organization.directory, account)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        assignment::{Status, Verb},
        seed,
    };

    const ORGANIZATION: &str = "o-test123456";
    const ACCOUNT: &str = "222222222222";

    fn world() -> World {
        let mut world = World::default();
        let root = world.add_organization(ORGANIZATION, "aws", "111111111111");
        world.add_account(ORGANIZATION, &root, ACCOUNT, "payments");
        seed::enroll(&mut world, ORGANIZATION, "eu-west-1", &[], 2);
        world
    }

    /// Ann1's own: the first user is disabled.
    fn assignment() -> Assignment {
        Assignment {
            account: ACCOUNT.to_owned(),
            permission_set: format!("ps-{:016x}", 1),
            principal: Principal::User(format!("9067642ac7-{:08x}", 1)),
        }
    }

    #[test]
    fn what_somebody_else_assigns_is_there_at_once_and_so_gone() {
        let mut world = world();
        world.assign(ORGANIZATION, assignment());
        let access = BTreeSet::from([(ACCOUNT.to_owned(), "Team1".to_owned())]);
        assert_eq!(world.access_by_name("ann1@example.com"), Some(access.clone()));
        assert_eq!(world.access_by_name("ann1"), Some(access));
        assert_eq!(world.access_by_name("ann0"), Some(BTreeSet::new()));
        assert_eq!(world.access_by_name("nobody"), None);
        let roles: Vec<&String> = world.accounts[ACCOUNT].roles.keys().collect();
        assert!(roles[0].starts_with("AWSReservedSSO_Team1_"), "{roles:?}");

        world.unassign(ORGANIZATION, &assignment());
        assert_eq!(world.access_by_name("ann1"), Some(BTreeSet::new()));
        assert!(world.accounts[ACCOUNT].roles.is_empty());
    }

    #[test]
    fn what_somebody_else_takes_away_cannot_be_deleted_again() {
        let mut world = world();
        world.assign(ORGANIZATION, assignment());
        let now = world.clock.now();
        let organization = world.organizations.get_mut(ORGANIZATION).expect("an organization");
        let directory = &mut organization.directory;
        directory.pace.takes = TimeDelta::seconds(2);
        directory.begin(Verb::Delete, assignment(), None, now).expect("a request");
        assert_eq!(directory.running(), 1);
        world.unassign(ORGANIZATION, &assignment());
        world.clock.advance(TimeDelta::seconds(2));
        world.settle(ORGANIZATION);
        let directory = &world.organizations[ORGANIZATION].directory;
        assert_eq!(directory.running(), 0);
        let status = &directory.operations[0].status;
        assert!(matches!(status, Status::Failed(reason) if reason.contains("404")), "{status:?}");
    }
}
