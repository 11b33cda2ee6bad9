//! Account assignments of IAM Identity Center, as AWS makes and removes them: later than asked
//! for, one after the other in each account, and not always.
//!
//! An operation is accepted with a request id and takes effect when its time has come, on the
//! simulator's clock ([`World::settle`]). Until then lists do not show it. Sources:
//! the API reference of IAM Identity Center (`CreateAccountAssignment` and what describes its
//! status) and its quotas page: 15 creations at a time, one role update at a time in an account.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    directory::{Change, Directory},
    provisioning::Provisioned,
    template::Role,
    world::{Account, World},
};

/// Operations that may be under way in one instance, unless AWS has raised the quota.
const RUNNING_MAX: usize = 15;
/// The same of those that bring a changed permission set to its accounts.
const PROVISIONING_MAX: usize = 3;

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
    /// How many of `ProvisionPermissionSet` may be.
    pub provisioning_at_once: usize,
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
            provisioning_at_once: PROVISIONING_MAX,
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
        let starts = self.free(std::slice::from_ref(&assignment.account), now);
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

    /// When AWS gets to a new operation in some accounts: it has one at a time in each.
    pub(crate) fn free(&self, accounts: &[String], now: DateTime<Utc>) -> DateTime<Utc> {
        let assignments = self.operations.iter().filter(|one| {
            one.status == Status::InProgress && accounts.contains(&one.assignment.account)
        });
        let provisionings = self.provisionings.iter().filter(|one| {
            one.status == Status::InProgress
                && one.accounts.iter().any(|account| accounts.contains(account))
        });
        let ends = assignments.map(|one| one.ends).chain(provisionings.map(|one| one.ends));
        ends.max().unwrap_or(now).max(now)
    }

    /// Whether an operation on a permission set is under way.
    #[must_use]
    pub fn is_busy(&self, set: &str) -> bool {
        self.is_provisioning(set)
            || self
                .operations
                .iter()
                .any(|one| one.status == Status::InProgress && one.assignment.permission_set == set)
    }

    /// The operations whose time has come, in its order.
    fn due(&self, now: DateTime<Utc>) -> Vec<Due> {
        let is_due =
            |status: &Status, ends: DateTime<Utc>| *status == Status::InProgress && ends <= now;
        let operations = self.operations.iter().enumerate();
        let operations = operations.filter(|(_, one)| is_due(&one.status, one.ends));
        let provisionings = self.provisionings.iter().enumerate();
        let provisionings = provisionings.filter(|(_, one)| is_due(&one.status, one.ends));
        let mut due: Vec<(DateTime<Utc>, Due)> = operations
            .map(|(at, one)| (one.ends, Due::Assignment(at)))
            .chain(provisionings.map(|(at, one)| (one.ends, Due::Provisioning(at))))
            .collect();
        due.sort_by_key(|(ends, _)| *ends);
        due.into_iter().map(|(_, due)| due).collect()
    }
}

/// An operation whose time has come, by its place.
#[derive(Clone, Copy)]
enum Due {
    Assignment(usize),
    Provisioning(usize),
}

impl World {
    /// Lets the operations of an organization's instance take effect whose time has come.
    pub fn settle(&mut self, organization: &str) {
        let now = self.clock.now();
        let Some(organization) = self.organizations.get_mut(organization) else { return };
        let (partition, accounts) = (&organization.partition, &mut self.accounts);
        let directory = &mut organization.directory;
        for due in directory.due(now) {
            match due {
                Due::Assignment(at) => directory.settle_assignment(at, partition, accounts),
                Due::Provisioning(at) => directory.settle_provisioning(at, partition, accounts),
            }
        }
    }
}

impl Directory {
    fn settle_assignment(
        &mut self,
        at: usize,
        partition: &str,
        accounts: &mut BTreeMap<String, Account>,
    ) {
        let operation = &self.operations[at];
        let (verb, ends) = (operation.verb, operation.ends);
        let (assignment, fails) = (operation.assignment.clone(), operation.fails.clone());
        let Some(account) = accounts.get_mut(&assignment.account) else {
            let reason = "Received a 404 status error: there is no such account.";
            self.operations[at].status = Status::Failed(reason.to_owned());
            return;
        };
        let is_there = self.assignments.contains(&assignment);
        let set = self.permission_set(&assignment.permission_set);
        let fails = match verb {
            // In these words the reason is told.
            Verb::Delete if !is_there => Some(format!(
                "Received a 404 status error: Not supported: assignment of {} does not exist.",
                assignment.permission_set
            )),
            Verb::Delete => fails,
            Verb::Create => fails.or_else(|| {
                let place = (partition, assignment.account.as_str());
                set.and_then(|set| self.lacks(set, account, place, ends))
            }),
        };
        self.operations[at].status = if let Some(reason) = fails {
            Status::Failed(reason)
        } else {
            let (is_there, is_change) = match verb {
                Verb::Create => (true, self.assignments.insert(assignment.clone())),
                Verb::Delete => (false, self.assignments.remove(&assignment)),
            };
            if is_change {
                let (at, assignment) = (ends, assignment.clone());
                self.changes.push(Change { at, assignment, is_there, is_by_hand: false });
            }
            if is_there {
                self.refresh(&assignment.account, &assignment.permission_set, ends);
            }
            Status::Succeeded
        };
        self.provision(account, &assignment, ends);
    }

    /// Makes or removes the role of a permission set in an account, as it has assignments there:
    /// under a new name each time.
    pub(crate) fn provision(
        &mut self,
        account: &mut Account,
        assignment: &Assignment,
        at: DateTime<Utc>,
    ) {
        let is_used = self.assignments.iter().any(|one| {
            one.account == assignment.account && one.permission_set == assignment.permission_set
        });
        let mut sets = self.permission_sets.iter_mut();
        let Some(set) = sets.find(|set| set.id == assignment.permission_set) else { return };
        set.accounts.retain(|id| *id != assignment.account);
        let prefix = format!("AWSReservedSSO_{}_", set.name);
        let is_role = |name: &str| name.strip_prefix(&prefix).is_some_and(|rest| rest.len() == 16);
        let place = (assignment.account.clone(), set.id.clone());
        if !is_used {
            account.roles.retain(|name, _| !is_role(name));
            self.provisioned.remove(&place);
            return;
        }
        set.accounts.push(assignment.account.clone());
        let found = account.roles.keys().find(|name| is_role(name)).cloned();
        let role = found.unwrap_or_else(|| {
            self.roles_made += 1;
            let name = format!("{prefix}{:016x}", self.roles_made);
            let role = Role { name: name.clone(), ..Role::default() };
            account.roles.insert(name.clone(), role);
            name
        });
        let now = || Provisioned::of(set, at);
        self.provisioned.entry(place).or_insert_with(now).role = role;
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
