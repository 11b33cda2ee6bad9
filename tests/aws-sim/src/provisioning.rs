//! What permission sets are in accounts. A set that changes does so there only once it is
//! provisioned anew: by an operation of its own, or with a new assignment.
//!
//! Sources: the API reference of IAM Identity Center (`ProvisionPermissionSet`,
//! `AttachCustomerManagedPolicyReferenceToPermissionSet`), and its quotas page.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    assignment::{Refused, Status},
    directory::{Boundary, Directory, PermissionSet},
    managed_policy::PolicyName,
    thing::Kind,
    world::Account,
};

/// A permission set as an account has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioned {
    /// Since when.
    pub at: DateTime<Utc>,
    /// Name of its role.
    pub role: String,
    /// ARNs of AWS managed policies.
    pub managed: Vec<String>,
    /// Customer managed policies of the account.
    pub customer_managed: Vec<PolicyName>,
    /// Inline policy; empty: none.
    pub inline: String,
    /// Permissions boundary.
    pub boundary: Option<Boundary>,
}

/// An operation that brings a changed permission set to the accounts that have it.
#[derive(Clone, Debug)]
pub struct Provisioning {
    /// Id.
    pub request_id: String,
    /// Id of the permission set.
    pub permission_set: String,
    /// The account that was asked for; none: all that have the set.
    pub account: Option<String>,
    /// The accounts that it goes to.
    pub accounts: Vec<String>,
    /// When it was accepted.
    pub created: DateTime<Utc>,
    /// When it takes effect, or fails.
    pub ends: DateTime<Utc>,
    /// How it stands.
    pub status: Status,
    fails: Option<String>,
}

impl Provisioned {
    /// A set as it is now, without a role.
    pub(crate) fn of(set: &PermissionSet, at: DateTime<Utc>) -> Self {
        Self {
            at,
            role: String::new(),
            managed: set.managed.clone(),
            customer_managed: set.customer_managed.clone(),
            inline: set.inline.clone(),
            boundary: set.boundary.clone(),
        }
    }

    /// Whether its role is bounded by a policy of the account.
    fn is_bounded_by(&self, policy: &PolicyName) -> bool {
        matches!(&self.boundary, Some(Boundary::Customer(bound)) if bound == policy)
    }
}

impl Directory {
    /// What a set is in an account; none: it has no role there.
    #[must_use]
    pub fn provisioned(&self, account: &str, set: &str) -> Option<&Provisioned> {
        self.provisioned.get(&(account.to_owned(), set.to_owned()))
    }

    /// How many roles of an account a policy is attached to, and how many it bounds.
    pub(crate) fn uses(&self, account: &str, policy: &PolicyName) -> (usize, usize) {
        let here = || self.provisioned.iter().filter(|((at, _), _)| at == account);
        let attached = here().filter(|(_, one)| one.customer_managed.contains(policy)).count();
        (attached, here().filter(|(_, one)| one.is_bounded_by(policy)).count())
    }

    /// Whether an account has the newest of a set.
    pub(crate) fn is_latest(&self, account: &str, set: &PermissionSet) -> bool {
        self.provisioned(account, &set.id).is_none_or(|known| {
            let newest = Provisioned::of(set, known.at);
            Provisioned { role: known.role.clone(), ..newest } == *known
        })
    }

    /// Whether a set is on its way to accounts.
    pub(crate) fn is_provisioning(&self, set: &str) -> bool {
        let mut provisionings = self.provisionings.iter();
        provisionings.any(|one| one.status == Status::InProgress && one.permission_set == set)
    }

    /// Accepts an operation.
    ///
    /// # Errors
    ///
    /// When AWS would not.
    pub(crate) fn begin_provisioning(
        &mut self,
        permission_set: String,
        account: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<&Provisioning, Refused> {
        if self.is_provisioning(&permission_set) {
            return Err(Refused::Conflict);
        }
        let running = self.provisionings.iter().filter(|one| one.status == Status::InProgress);
        if running.count() >= self.pace.provisioning_at_once {
            return Err(Refused::TooMany);
        }
        let everywhere = || {
            let set = self.permission_set(&permission_set);
            set.map(|set| set.accounts.clone()).unwrap_or_default()
        };
        let accounts = account.clone().map_or_else(everywhere, |account| vec![account]);
        let starts = self.free(&accounts, now);
        let turn = self.pace.next.pop_front().unwrap_or_default();
        let number = self.provisionings.len() + 1;
        self.provisionings.push(Provisioning {
            request_id: format!("00000000-0000-4000-a000-{number:012x}"),
            permission_set,
            account,
            accounts,
            created: now,
            ends: starts + self.pace.takes + turn.longer,
            status: Status::InProgress,
            fails: turn.fails,
        });
        Ok(&self.provisionings[number - 1])
    }

    pub(crate) fn settle_provisioning(
        &mut self,
        at: usize,
        partition: &str,
        accounts: &mut BTreeMap<String, Account>,
    ) {
        let Provisioning { permission_set, accounts: targets, ends, fails, .. } =
            self.provisionings[at].clone();
        let Some(set) = self.permission_set(&permission_set).cloned() else { return };
        let mut fails = fails;
        for target in targets {
            if fails.is_none()
                && let Some(account) = accounts.get(&target)
            {
                fails = self.lacks(&set, account, (partition, &target), ends);
            }
            if fails.is_none() {
                self.refresh(&target, &set.id, ends);
            }
        }
        self.provisionings[at].status = fails.map_or(Status::Succeeded, Status::Failed);
    }

    /// Brings a set to an account where it is provisioned already.
    pub(crate) fn refresh(&mut self, account: &str, set: &str, at: DateTime<Utc>) {
        let newest = self.permission_set(set).map(|set| Provisioned::of(set, at));
        let known = self.provisioned.get_mut(&(account.to_owned(), set.to_owned()));
        if let (Some(newest), Some(known)) = (newest, known) {
            *known = Provisioned { role: known.role.clone(), ..newest };
        }
    }

    /// Why a set cannot be provisioned in an account: a policy that it refers to does not show
    /// there.
    pub(crate) fn lacks(
        &self,
        set: &PermissionSet,
        account: &Account,
        (partition, id): (&str, &str),
        now: DateTime<Utc>,
    ) -> Option<String> {
        let bound = match &set.boundary {
            Some(Boundary::Customer(policy)) => Some(policy),
            Some(Boundary::Managed(_)) | None => None,
        };
        let missing = set.customer_managed.iter().chain(bound).find(|policy| {
            let is_seeded = account.things.iter().any(|thing| {
                thing.kind == Kind::IamPolicy && thing.name == policy.name && policy.path == "/"
            });
            !is_seeded
                && !self.policies_everywhere.contains(policy)
                && account.visible_policy(policy, now).is_none()
        })?;
        let arn = missing.arn(partition, id);
        Some(format!(
            "Received a 404 status error: Not supported policy {arn}: NoSuchEntity, it could not be found."
        ))
    }
}
