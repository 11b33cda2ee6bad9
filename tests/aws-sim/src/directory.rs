//! IAM Identity Center of an organization: permission sets, users, groups.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    assignment::{Assignment, Operation, Pace},
    managed_policy::PolicyName,
    provisioning::{Provisioned, Provisioning},
    text::Text,
};

/// What an instance holds.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Permission sets.
    pub permission_sets: Vec<PermissionSet>,
    /// Users.
    pub users: Vec<User>,
    /// Groups.
    pub groups: Vec<Group>,
    /// Assignments that are in effect.
    pub assignments: BTreeSet<Assignment>,
    /// Operations on assignments that were ever accepted.
    pub operations: Vec<Operation>,
    /// When assignments came and went.
    pub changes: Vec<Change>,
    /// When memberships in groups came and went, but for those that are written into a group.
    pub membership_changes: Vec<MembershipChange>,
    /// What permission sets are in accounts, by account and id: they may have changed since. Those
    /// that were written into a set have no entry.
    pub provisioned: BTreeMap<(String, String), Provisioned>,
    /// Operations that brought changed sets to accounts, whatever became of them.
    pub provisionings: Vec<Provisioning>,
    /// Customer managed policies that every account has from elsewhere, for sets to refer to: no
    /// call shows them, and they allow nothing.
    pub policies_everywhere: BTreeSet<PolicyName>,
    /// How operations go.
    pub pace: Pace,
    /// How many permission sets there may be.
    pub limits: Limits,
    /// How many permission sets calls ever made.
    pub(crate) sets_made: u64,
    /// How many roles of permission sets were ever made.
    pub(crate) roles_made: u64,
    /// How often each membership has ended, by the ids of its group and its user.
    pub(crate) memberships_ended: BTreeMap<(String, String), u64>,
}

impl Directory {
    /// A permission set.
    #[must_use]
    pub fn permission_set(&self, id: &str) -> Option<&PermissionSet> {
        self.permission_sets.iter().find(|set| set.id == id)
    }
}

/// How many permission sets there may be. Source: "IAM Identity Center quotas".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In the instance.
    pub sets: usize,
    /// Provisioned in an account.
    pub provisioned: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sets: 3500, provisioned: 500 }
    }
}

/// An assignment that came or went.
#[derive(Clone, Debug)]
pub struct Change {
    /// When.
    pub at: DateTime<Utc>,
    /// Which.
    pub assignment: Assignment,
    /// Whether it is there since.
    pub is_there: bool,
    /// Whether somebody did it without an operation.
    pub is_by_hand: bool,
}

/// A membership in a group that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipChange {
    /// When.
    pub at: DateTime<Utc>,
    /// Id of the group.
    pub group: String,
    /// Id of the user.
    pub user: String,
    /// Whether it is there since.
    pub is_there: bool,
    /// Whether somebody did it without a call.
    pub is_by_hand: bool,
}

/// A permission set.
#[derive(Clone, Debug, Default)]
pub struct PermissionSet {
    /// What its ARN ends with: `ps-…`.
    pub id: String,
    /// Name.
    pub name: String,
    /// Description; empty: none.
    pub description: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// How long sessions are: `PT8H`; empty: an hour.
    pub session_duration: String,
    /// ARNs of AWS managed policies.
    pub managed: Vec<String>,
    /// Customer managed policies, each account's own.
    pub customer_managed: Vec<PolicyName>,
    /// Inline policy; empty: none.
    pub inline: String,
    /// Permissions boundary.
    pub boundary: Option<Boundary>,
    /// Accounts that it is provisioned in.
    pub accounts: Vec<String>,
    /// Tags.
    pub tags: BTreeMap<Text, Text>,
}

/// What bounds the permissions of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The ARN of an AWS managed policy.
    Managed(String),
    /// A customer managed policy, each account's own.
    Customer(PolicyName),
}

/// A user.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// Id.
    pub id: String,
    /// User name.
    pub name: String,
    /// Primary e-mail address.
    pub email: String,
    /// Id at the identity provider; empty: none.
    pub external_id: String,
    /// Whether somebody has disabled it.
    pub is_disabled: bool,
}

/// A group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Id at the identity provider that owns it; empty: none does.
    pub external_id: String,
    /// Ids of its users.
    pub members: Vec<String>,
}
