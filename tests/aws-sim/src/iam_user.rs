//! Users of IAM and their groups: what they are in, what is attached to them, and what they may do by it.
//!
//! Sources: the API reference of IAM, and its quotas page.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use crate::{
    condition::Context,
    evaluator::managed,
    managed_policy::PolicyName,
    policy,
    text::Text,
    world::{Account, World},
};

/// Groups of a user, by IAM's quotas.
pub const GROUPS_MAX: usize = 10;
/// Managed policies of a user, by IAM's quotas.
pub const ATTACHED_MAX: usize = 10;
/// Characters of all policies in a user, white space not counted, by IAM's quotas.
pub const INLINE_CHARACTERS_MAX: usize = 2048;

/// A user of IAM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IamUser {
    /// Id: `AIDA…`; another one when a user of the same name is made anew.
    pub id: String,
    /// Path; empty: `/`.
    pub path: String,
    /// Tags.
    pub tags: BTreeMap<Text, Text>,
    /// Names of the groups.
    pub groups: BTreeSet<String>,
    /// ARNs of managed policies.
    pub attached: BTreeSet<String>,
    /// Documents of the policies in the user, by name.
    pub policies: BTreeMap<String, String>,
}

/// A group of users of IAM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IamGroup {
    /// Path; empty: `/`.
    pub path: String,
    /// ARNs of managed policies.
    pub attached: BTreeSet<String>,
}

/// What a user is since some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChange {
    /// When.
    pub at: DateTime<Utc>,
    /// Name of the user.
    pub user: String,
    /// The user before.
    pub before: IamUser,
    /// The user since.
    pub after: IamUser,
    /// Whether somebody did it without a call.
    pub is_by_hand: bool,
}

impl Account {
    /// A user as it shows now.
    #[must_use]
    pub fn visible_user(&self, name: &str, now: DateTime<Utc>) -> Option<&IamUser> {
        self.showing_users.get(&self.iam_users, &name.to_owned(), now)
    }

    /// Changes a user, to show after IAM's lag. If there is none, nothing changes.
    pub fn change_user(
        &mut self,
        name: &str,
        (at, is_by_hand): (DateTime<Utc>, bool),
        change: impl FnOnce(&mut IamUser),
    ) {
        if let Some(before) = self.iam_users.get(name).cloned() {
            let (name, mut after) = (name.to_owned(), before.clone());
            change(&mut after);
            let (user, since) = (name.clone(), after.clone());
            self.user_changes.push(UserChange { at, user, before, after: since, is_by_hand });
            let changed = (&name, Some(after));
            self.showing_users.set(&mut self.iam_users, changed, at, self.iam_lag);
        }
    }
}

impl World {
    /// Whether a user of IAM may do something now, by the policies in the user, by those that are
    /// attached, and by those of the user's groups.
    #[must_use]
    pub fn user_may(&self, account: &str, user: &str, action: &str, resource: &str) -> bool {
        let now = self.clock.now();
        let Some(found) = self.accounts.get(account) else { return false };
        let Some(user_now) = found.visible_user(user, now) else { return false };
        let groups = user_now.groups.iter().filter_map(|group| found.iam_groups.get(group));
        let attached = groups.flat_map(|group| &group.attached).chain(&user_now.attached);
        let of_arn = |arn: &String| {
            managed(arn).or_else(|| {
                let policy = found.visible_policy(&PolicyName::of_arn(arn)?, now)?;
                serde_json::from_str(policy.document()).ok()
            })
        };
        let inline = user_now.policies.values().filter_map(|text| serde_json::from_str(text).ok());
        let documents: Vec<Value> = attached.filter_map(of_arn).chain(inline).collect();
        let partition = self.organization_of(account).map_or("aws", |o| o.partition.as_str());
        let context = Context::default()
            .with("aws:CurrentTime", now.to_rfc3339_opts(SecondsFormat::Secs, true))
            .with("aws:PrincipalAccount", account)
            .with("aws:PrincipalArn", user_arn(partition, account, &user_now.path, user))
            .with("aws:SecureTransport", "true")
            .with("aws:username", user);
        let context = match self.owner(resource) {
            Some(owner) => context.with("aws:ResourceAccount", owner),
            None => context,
        };
        policy::allows(&documents, action, Some(resource), &context)
            && !self.organization_denies(account, action, Some(resource), &context)
    }
}

/// A path as IAM shows it.
pub(crate) fn path(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// The ARN of a user.
pub(crate) fn user_arn(partition: &str, account: &str, user_path: &str, name: &str) -> String {
    format!("arn:{partition}:iam::{account}:user{}{name}", path(user_path))
}

/// The ARN of a group.
pub(crate) fn group_arn(partition: &str, account: &str, group_path: &str, name: &str) -> String {
    format!("arn:{partition}:iam::{account}:group{}{name}", path(group_path))
}
