//! Account assignments of IAM Identity Center, as AWS makes and removes them: later than asked
//! for, one after the other in each account, and not always.
//!
//! An operation is accepted with a request id and takes effect when its time has come, on the
//! simulator's clock ([`World::settle`]). Until then lists do not show it. Sources:
//! the API reference of IAM Identity Center (`CreateAccountAssignment` and what describes its
//! status) and its quotas page: 15 creations at a time, one role update at a time in an account.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    directory::{Change, Directory},
    template::Role,
    world::{Account, World},
};

/// Operations that may be under way in one instance, unless AWS has raised the quota.
const RUNNING_MAX: usize = 15;

/// Who has access by an assignment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// The id of a user.
    User(String),
    /// The id of a group.
    Group(String),
}

/// A permission set for somebody in an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assignment {
    /// Account.
    pub account: String,
    /// Id of the permission set: `ps-…`.
    pub permission_set: String,
    /// Who.
    pub principal: Principal,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Makes an assignment.
    Create,
    /// Removes one.
    Delete,
}

/// How an operation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not yet.
    InProgress,
    /// Done.
    Succeeded,
    /// Not done, and why.
    Failed(String),
}

/// An operation that was accepted.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Id.
    pub request_id: String,
    /// What it does.
    pub verb: Verb,
    /// To what.
    pub assignment: Assignment,
    /// When it was accepted.
    pub created: DateTime<Utc>,
    /// When it takes effect, or fails.
    pub ends: DateTime<Utc>,
    /// How it stands.
    pub status: Status,
    fails: Option<String>,
}

/// How operations go.
#[derive(Clone, Debug)]
pub struct Pace {
    /// How long each takes.
    pub takes: TimeDelta,
    /// How many may be under way.
    pub at_once: usize,
    /// For how long after an operation AWS refuses another on the same assignment, as being in
    /// conflict with it.
    pub conflicts_for: TimeDelta,
    /// What is to become of the next operations; then all go well.
    pub next: VecDeque<Turn>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            takes: TimeDelta::zero(),
            at_once: RUNNING_MAX,
            conflicts_for: TimeDelta::zero(),
            next: VecDeque::new(),
        }
    }
}

/// What is to become of one operation.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// How long it takes beyond the usual.
    pub longer: TimeDelta,
    /// Why it fails in the end.
    pub fails: Option<String>,
}

/// Why an operation is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another one on the same assignment is under way, or has just ended.
    Conflict,
    /// Too many are under way.
    TooMany,
}

impl Directory {
    /// Accepts an operation.
    ///
    /// # Errors
    ///
    /// When AWS would not.
    pub fn begin(
        &mut self,
        verb: Verb,
        assignment: Assignment,
        fails: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<&Operation, Refused> {
        let running = |operation: &&Operation| operation.status == Status::InProgress;
        let clashes = self.operations.iter().any(|operation| {
            operation.assignment == assignment
                && (running(&operation) || now < operation.ends + self.pace.conflicts_for)
        });
        if clashes {
            return Err(Refused::Conflict);
        }
        if self.running() >= self.pace.at_once {
            return Err(Refused::TooMany);
        }
        // One after the other in each account.
        let same_account =
            |operation: &&Operation| operation.assignment.account == assignment.account;
        let before = self.operations.iter().filter(running).filter(same_account);
        let starts = before.map(|operation| operation.ends).max().unwrap_or(now).max(now);
        let turn = self.pace.next.pop_front().unwrap_or_default();
        let number = self.operations.len() + 1;
        self.operations.push(Operation {
            request_id: format!("00000000-0000-4000-8000-{number:012x}"),
            verb,
            assignment,
            created: now,
            ends: starts + self.pace.takes + turn.longer,
            status: Status::InProgress,
            fails: turn.fails.or(fails),
        });
        Ok(&self.operations[number - 1])
    }

    /// How many operations are under way, as of the last [`World::settle`].
    #[must_use]
    pub fn running(&self) -> usize {
        self.operations.iter().filter(|one| one.status == Status::InProgress).count()
    }

    /// The operations whose time has come, in its order.
    fn due(&mut self, now: DateTime<Utc>) -> Vec<usize> {
        let mut due: Vec<usize> = (0..self.operations.len())
            .filter(|at| {
                let operation = &self.operations[*at];
                operation.status == Status::InProgress && operation.ends <= now
            })
            .collect();
        due.sort_by_key(|at| self.operations[*at].ends);
        due
    }
}

impl World {
    /// Lets the operations of an organization's instance take effect whose time has come.
    pub fn settle(&mut self, organization: &str) {
        let now = self.clock.now();
        let Some(organization) = self.organizations.get_mut(organization) else { return };
        let directory = &mut organization.directory;
        for at in directory.due(now) {
            let operation = &mut directory.operations[at];
            let assignment = operation.assignment.clone();
            let is_there = directory.assignments.contains(&assignment);
            let fails = match operation.verb {
                // In these words the reason is told.
                Verb::Delete if !is_there => Some(format!(
                    "Received a 404 status error: Not supported: assignment of {} does not exist.",
                    assignment.permission_set
                )),
                Verb::Create | Verb::Delete => operation.fails.clone(),
            };
            operation.status = if let Some(reason) = fails {
                Status::Failed(reason)
            } else {
                let (at, is_there) = (operation.ends, operation.verb == Verb::Create);
                let is_change = match operation.verb {
                    Verb::Create => directory.assignments.insert(assignment.clone()),
                    Verb::Delete => directory.assignments.remove(&assignment),
                };
                if is_change {
                    let assignment = assignment.clone();
                    let change = Change { at, assignment, is_there, is_by_hand: false };
                    directory.changes.push(change);
                }
                Status::Succeeded
            };
            if let Some(account) = self.accounts.get_mut(&assignment.account) {
                directory.provision(account, &assignment);
            }
        }
    }
}

impl Directory {
    /// Makes or removes the role of a permission set in an account, as it has assignments there:
    /// under a new name each time.
    pub(crate) fn provision(&mut self, account: &mut Account, assignment: &Assignment) {
        let is_used = self.assignments.iter().any(|one| {
            one.account == assignment.account && one.permission_set == assignment.permission_set
        });
        let mut sets = self.permission_sets.iter_mut();
        let Some(set) = sets.find(|set| set.id == assignment.permission_set) else { return };
        set.accounts.retain(|id| *id != assignment.account);
        let prefix = format!("AWSReservedSSO_{}_", set.name);
        let is_role = |name: &str| name.strip_prefix(&prefix).is_some_and(|rest| rest.len() == 16);
        if !is_used {
            account.roles.retain(|name, _| !is_role(name));
            return;
        }
        set.accounts.push(assignment.account.clone());
        if !account.roles.keys().any(|name| is_role(name)) {
            self.roles_made += 1;
            let name = format!("{prefix}{:016x}", self.roles_made);
            let role =
                Role { name: name.clone(), trust: serde_json::Value::Null, policies: vec![] };
            account.roles.insert(name, role);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed;

    const ORGANIZATION: &str = "o-test123456";

    fn world() -> World {
        let mut world = World::default();
        let root = world.add_organization(ORGANIZATION, "aws", "111111111111");
        world.add_account(ORGANIZATION, &root, "222222222222", "payments");
        seed::enroll(&mut world, ORGANIZATION, "eu-west-1", &[], 2);
        let directory = &mut world.organizations.get_mut(ORGANIZATION).expect("one").directory;
        directory.pace.takes = TimeDelta::seconds(2);
        world
    }

    fn of(principal: Principal) -> Assignment {
        Assignment {
            account: "222222222222".to_owned(),
            permission_set: format!("ps-{:016x}", 1),
            principal,
        }
    }

    /// Ann1: the first user is disabled.
    fn ann() -> Principal {
        Principal::User(format!("9067642ac7-{:08x}", 1))
    }

    fn begin(world: &mut World, verb: Verb, principal: Principal) -> Result<String, Refused> {
        let now = world.clock.now();
        let directory = &mut world.organizations.get_mut(ORGANIZATION).expect("one").directory;
        let begun = directory.begin(verb, of(principal), None, now)?;
        Ok(begun.request_id.clone())
    }

    fn pass(world: &mut World, seconds: i64) {
        world.clock.advance(TimeDelta::seconds(seconds));
        world.settle(ORGANIZATION);
    }

    fn status(world: &World, id: &str) -> Status {
        let operations = &world.organizations[ORGANIZATION].directory.operations;
        operations.iter().find(|one| one.request_id == id).expect("one").status.clone()
    }

    fn has_access(world: &mut World) -> bool {
        let Principal::User(id) = ann() else { unreachable!("ann is a user") };
        !world.access_of(ORGANIZATION, &id).is_empty()
    }

    fn roles(world: &World) -> Vec<String> {
        world.accounts["222222222222"].roles.keys().cloned().collect()
    }

    #[test]
    fn an_assignment_comes_and_goes_when_its_time_has_come() {
        let mut world = world();
        let created = begin(&mut world, Verb::Create, ann()).expect("a request");
        pass(&mut world, 1);
        assert_eq!(status(&world, &created), Status::InProgress);
        assert!(!has_access(&mut world));
        pass(&mut world, 1);
        assert_eq!(status(&world, &created), Status::Succeeded);
        assert!(has_access(&mut world));
        let first = roles(&world);
        assert!(first[0].starts_with("AWSReservedSSO_Team1_"), "{first:?}");

        begin(&mut world, Verb::Delete, ann()).expect("a request");
        assert!(has_access(&mut world));
        pass(&mut world, 2);
        assert!(!has_access(&mut world));
        assert_eq!(roles(&world), [""; 0]);
        let absent = begin(&mut world, Verb::Delete, ann()).expect("a request");
        pass(&mut world, 2);
        assert!(
            matches!(status(&world, &absent), Status::Failed(reason) if reason.contains("404"))
        );

        begin(&mut world, Verb::Create, ann()).expect("a request");
        pass(&mut world, 2);
        assert_ne!(roles(&world), first, "a new suffix");
    }

    #[test]
    fn an_account_takes_one_operation_at_a_time_and_an_assignment_none_too_soon() {
        let mut world = world();
        let directory = &mut world.organizations.get_mut(ORGANIZATION).expect("one").directory;
        directory.pace.conflicts_for = TimeDelta::seconds(3);
        let group = Principal::Group("g-00000001".to_owned());
        begin(&mut world, Verb::Create, ann()).expect("a request");
        let second = begin(&mut world, Verb::Create, group).expect("a request");
        assert_eq!(begin(&mut world, Verb::Delete, ann()), Err(Refused::Conflict));
        pass(&mut world, 2);
        assert_eq!(status(&world, &second), Status::InProgress);
        assert_eq!(begin(&mut world, Verb::Delete, ann()), Err(Refused::Conflict), "too soon");
        pass(&mut world, 2);
        assert_eq!(status(&world, &second), Status::Succeeded);
        pass(&mut world, 1);
        begin(&mut world, Verb::Delete, ann()).expect("a request");
        pass(&mut world, 2);
        assert!(has_access(&mut world), "by the group");
    }

    #[test]
    fn operations_fail_and_tarry_as_they_are_told() {
        let mut world = world();
        let directory = &mut world.organizations.get_mut(ORGANIZATION).expect("one").directory;
        let longer = TimeDelta::seconds(60);
        directory.pace.next.push_back(Turn { longer, fails: None });
        directory
            .pace
            .next
            .push_back(Turn { fails: Some("no roles left".into()), ..Turn::default() });
        let late = begin(&mut world, Verb::Create, ann()).expect("a request");
        pass(&mut world, 61);
        assert_eq!(status(&world, &late), Status::InProgress);
        pass(&mut world, 1);
        assert_eq!(status(&world, &late), Status::Succeeded);
        let failed = begin(&mut world, Verb::Delete, ann()).expect("a request");
        pass(&mut world, 2);
        assert_eq!(status(&world, &failed), Status::Failed("no roles left".to_owned()));
        assert!(has_access(&mut world));

        for at in 0..RUNNING_MAX {
            begin(&mut world, Verb::Create, Principal::Group(format!("g-{at}")))
                .expect("a request");
        }
        let more = Principal::Group("g-more".to_owned());
        assert_eq!(begin(&mut world, Verb::Create, more), Err(Refused::TooMany));
    }
}
