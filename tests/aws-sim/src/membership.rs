//! Memberships in groups: they come and go at once, by calls and by somebody else's hand.
//!
//! AWS gives a membership an id of its own, and another one when it is made again. Here the id is
//! a hash of the group, the user, and how often their membership has ended; so members that are
//! written into a group have ids, too.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use crate::{
    directory::{Directory, MembershipChange},
    world::World,
};

impl World {
    /// Whether a user is in a group now; false, too, where there is no such group.
    #[must_use]
    pub fn is_member(&self, organization: &str, group: &str, user: &str) -> bool {
        let organization = self.organizations.get(organization);
        organization.is_some_and(|found| found.directory.is_member(group, user))
    }

    /// Puts a user into a group by somebody else's hand. If it is in it, nothing changes, and no
    /// change is recorded.
    ///
    /// # Panics
    ///
    /// When there is no such organization, group or user.
    pub fn join(&mut self, organization: &str, group: &str, user: &str) {
        self.change_by_hand(organization, group, user, true);
    }

    /// Takes a user out of a group by somebody else's hand. If it is not in it, nothing changes,
    /// and no change is recorded.
    ///
    /// # Panics
    ///
    /// When there is no such organization or group.
    pub fn leave(&mut self, organization: &str, group: &str, user: &str) {
        self.change_by_hand(organization, group, user, false);
    }

    fn change_by_hand(&mut self, organization: &str, group: &str, user: &str, is_there: bool) {
        let at = self.clock.now();
        let organization = self.organizations.get_mut(organization).expect("an organization");
        let directory = &mut organization.directory;
        let is_group = directory.groups.iter().any(|one| one.id == group);
        assert!(is_group, "there is no group {group}");
        let is_user = directory.users.iter().any(|one| one.id == user);
        assert!(is_user || !is_there, "there is no user {user}");
        let (group, user) = (group.to_owned(), user.to_owned());
        directory.change_membership(MembershipChange {
            at,
            group,
            user,
            is_there,
            is_by_hand: true,
        });
    }
}

impl Directory {
    /// Whether a user is in a group.
    #[must_use]
    pub fn is_member(&self, group: &str, user: &str) -> bool {
        let mut groups = self.groups.iter();
        groups.any(|one| one.id == group && one.members.iter().any(|member| member == user))
    }

    /// The id of a membership; none: there is no such membership.
    #[must_use]
    pub fn membership_id(&self, group: &str, user: &str) -> Option<String> {
        self.is_member(group, user).then(|| self.id_of(group, user))
    }

    /// The group and the user of a membership; none: there is no membership of this id.
    pub(crate) fn membership(&self, id: &str) -> Option<(&str, &str)> {
        let group = self.groups.iter().find(|group| id.starts_with(&beginning(&group.id)))?;
        let user = group.members.iter().find(|user| self.id_of(&group.id, user) == id)?;
        Some((group.id.as_str(), user.as_str()))
    }

    /// The id that the membership of a user in a group has, or would have.
    pub(crate) fn id_of(&self, group: &str, user: &str) -> String {
        let ended = self.memberships_ended.get(&(group.to_owned(), user.to_owned()));
        let rest = hash(&(group, user, ended.copied().unwrap_or_default()));
        format!("{}-{:04x}-{:012x}", beginning(group), rest >> 48, rest & 0xffff_ffff_ffff)
    }

    /// Carries out a change, and records it; false: it was so before, or there is no such group.
    pub(crate) fn change_membership(&mut self, change: MembershipChange) -> bool {
        let mut groups = self.groups.iter_mut();
        let Some(group) = groups.find(|group| group.id == change.group) else { return false };
        if group.members.contains(&change.user) == change.is_there {
            return false;
        }
        if change.is_there {
            group.members.push(change.user.clone());
        } else {
            group.members.retain(|user| *user != change.user);
            let ended = (change.group.clone(), change.user.clone());
            *self.memberships_ended.entry(ended).or_default() += 1;
        }
        self.membership_changes.push(change);
        true
    }
}

/// What the ids of a group's memberships begin with, so that one is found without a look at
/// every member of every group.
fn beginning(group: &str) -> String {
    let hash = hash(&group);
    format!("{:08x}-{:04x}-{:04x}", hash >> 32, (hash >> 16) & 0xffff, hash & 0xffff)
}

/// The same each time, unlike that of a hash map.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::TimeDelta;

    use super::*;
    use crate::{
        assignment::{Assignment, Principal},
        seed,
    };

    const ORGANIZATION: &str = "o-test123456";
    const ACCOUNT: &str = "222222222222";
    /// Ann0 alone is in it, who is disabled.
    const GROUP: &str = "g-00000000";
    /// Ann1.
    const USER: &str = "9067642ac7-00000001";

    fn world() -> World {
        let mut world = World::default();
        let root = world.add_organization(ORGANIZATION, "aws", "111111111111");
        world.add_account(ORGANIZATION, &root, ACCOUNT, "payments");
        seed::enroll(&mut world, ORGANIZATION, "eu-west-1", &[], 2);
        world
    }

    fn id(world: &World) -> Option<String> {
        world.organizations[ORGANIZATION].directory.membership_id(GROUP, USER)
    }

    #[test]
    fn who_joins_a_group_may_use_what_it_is_assigned_until_it_leaves() {
        let mut world = world();
        let assignment = Assignment {
            account: ACCOUNT.to_owned(),
            permission_set: format!("ps-{:016x}", 1),
            principal: Principal::Group(GROUP.to_owned()),
        };
        world.assign(ORGANIZATION, assignment);
        assert_eq!(world.access_of(ORGANIZATION, USER), BTreeSet::new());
        world.join(ORGANIZATION, GROUP, USER);
        let access = BTreeSet::from([(ACCOUNT.to_owned(), "Team1".to_owned())]);
        assert_eq!(world.access_of(ORGANIZATION, USER), access);
        world.leave(ORGANIZATION, GROUP, USER);
        assert_eq!(world.access_of(ORGANIZATION, USER), BTreeSet::new());
    }

    #[test]
    fn what_somebody_else_changes_is_recorded_once() {
        let mut world = world();
        assert!(!world.is_member(ORGANIZATION, GROUP, USER));
        world.leave(ORGANIZATION, GROUP, USER);
        world.join(ORGANIZATION, GROUP, USER);
        world.join(ORGANIZATION, GROUP, USER);
        assert!(world.is_member(ORGANIZATION, GROUP, USER));
        world.clock.advance(TimeDelta::hours(1));
        world.leave(ORGANIZATION, GROUP, USER);
        world.leave(ORGANIZATION, GROUP, USER);
        assert!(!world.is_member(ORGANIZATION, GROUP, USER));
        assert!(!world.is_member(ORGANIZATION, "g-none", USER));
        assert!(!world.is_member("o-none", GROUP, USER));

        let changes = &world.organizations[ORGANIZATION].directory.membership_changes;
        let told: Vec<_> = changes
            .iter()
            .map(|one| (one.group.as_str(), one.user.as_str(), one.is_there, one.is_by_hand))
            .collect();
        assert_eq!(told, [(GROUP, USER, true, true), (GROUP, USER, false, true)]);
        assert!(changes[1].at - changes[0].at >= TimeDelta::hours(1), "{changes:?}");
    }

    #[test]
    fn a_membership_has_another_id_each_time_that_it_is_made() {
        let mut world = world();
        assert_eq!(id(&world), None);
        let mut ids = BTreeSet::new();
        for _ in 0..3 {
            world.join(ORGANIZATION, GROUP, USER);
            let made = id(&world).expect("a membership");
            let directory = &world.organizations[ORGANIZATION].directory;
            assert_eq!(directory.membership(&made), Some((GROUP, USER)));
            assert_eq!(made.len(), 36, "{made}");
            ids.insert(made);
            world.leave(ORGANIZATION, GROUP, USER);
            assert_eq!(id(&world), None);
        }
        assert_eq!(ids.len(), 3, "{ids:?}");
        let directory = &world.organizations[ORGANIZATION].directory;
        for gone in &ids {
            assert_eq!(directory.membership(gone), None);
        }
        assert_eq!(directory.membership(""), None);
    }

    #[test]
    #[should_panic(expected = "there is no user 9067642ac7-0000000f")]
    fn nobody_joins_who_is_not_a_user() {
        world().join(ORGANIZATION, GROUP, "9067642ac7-0000000f");
    }
}
