//! Customer managed policies of accounts, their versions, and who changes them.
//!
//! What is changed shows [`Account::iam_lag`] later, as the lag is then ([`crate::lag`]). Sources: the API
//! reference of IAM, and its quotas page.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    text::Text,
    world::{Account, World},
};

/// Versions of a policy, by IAM's quotas.
pub const VERSIONS_MAX: usize = 5;
/// Characters of a policy, white space not counted, by IAM's quotas.
pub const CHARACTERS_MAX: usize = 6144;

/// Path and name of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName {
    /// Path: `/`, or `/apono/`.
    pub path: String,
    /// Name.
    pub name: String,
}

/// A customer managed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedPolicy {
    /// `ANPA…`.
    pub id: String,
    /// Path and name.
    pub name: PolicyName,
    /// Description; empty: none.
    pub description: String,
    /// Versions, the oldest first.
    pub versions: Vec<Version>,
    /// Id of the version that counts.
    pub default_version: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// When its versions last changed.
    pub updated: DateTime<Utc>,
    /// Tags.
    pub tags: BTreeMap<Text, Text>,
    /// How many versions were ever made.
    versions_made: usize,
}

/// A version of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `v1`, ….
    pub id: String,
    /// The document, as it was given.
    pub document: String,
    /// When it was made.
    pub created: DateTime<Utc>,
}

/// What a policy says since some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyChange {
    /// When.
    pub at: DateTime<Utc>,
    /// Account.
    pub account: String,
    /// Which policy.
    pub policy: PolicyName,
    /// The document of its default version; none: there is no such policy since.
    pub document: Option<String>,
    /// Whether somebody did it without a call.
    pub is_by_hand: bool,
}

impl PolicyName {
    /// A path and a name.
    #[must_use]
    pub fn new(path: &str, name: &str) -> Self {
        Self { path: path.to_owned(), name: name.to_owned() }
    }

    /// That of an ARN; none: it is no policy's.
    #[must_use]
    pub fn of_arn(arn: &str) -> Option<Self> {
        let rest = arn.split(':').nth(5)?.strip_prefix("policy")?;
        let (path, name) = rest.rsplit_once('/')?;
        Some(Self { path: format!("{path}/"), name: name.to_owned() })
    }

    /// Its ARN in an account.
    #[must_use]
    pub fn arn(&self, partition: &str, account: &str) -> String {
        format!("arn:{partition}:iam::{account}:policy{}{}", self.path, self.name)
    }
}

impl ManagedPolicy {
    /// A policy without versions.
    pub(crate) fn new(id: String, name: PolicyName, at: DateTime<Utc>) -> Self {
        Self {
            id,
            name,
            description: String::new(),
            versions: Vec::new(),
            default_version: String::new(),
            created: at,
            updated: at,
            tags: BTreeMap::new(),
            versions_made: 0,
        }
    }

    /// A version.
    #[must_use]
    pub fn version(&self, id: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// The document that counts.
    #[must_use]
    pub fn document(&self) -> &str {
        self.version(&self.default_version).map_or("", |version| &version.document)
    }

    /// Adds a version, whose id none had before, and tells the id.
    pub(crate) fn add(&mut self, document: &str, is_default: bool, at: DateTime<Utc>) -> String {
        self.versions_made += 1;
        let id = format!("v{}", self.versions_made);
        let document = document.to_owned();
        self.versions.push(Version { id: id.clone(), document, created: at });
        if is_default {
            self.default_version.clone_from(&id);
        }
        self.updated = at;
        id
    }
}

impl Account {
    /// A policy as it shows now.
    #[must_use]
    pub fn visible_policy(&self, name: &PolicyName, now: DateTime<Utc>) -> Option<&ManagedPolicy> {
        self.showing_policies.get(&self.managed_policies, name, now)
    }

    /// The policies that show now.
    pub(crate) fn visible_policies(&self, now: DateTime<Utc>) -> Vec<&ManagedPolicy> {
        let shown = self.showing_policies.all(&self.managed_policies, now);
        shown.into_iter().map(|(_, policy)| policy).collect()
    }

    /// Puts a policy in another's place; none: takes it away.
    fn set_policy(&mut self, name: &PolicyName, policy: Option<ManagedPolicy>, at: DateTime<Utc>) {
        self.showing_policies.set(&mut self.managed_policies, (name, policy), at, self.iam_lag);
    }
}

impl World {
    /// Puts a policy into an account by somebody else's hand: a new one, or a new default version
    /// of the one that is there.
    ///
    /// # Panics
    ///
    /// When there is no such account.
    pub fn put_policy(&mut self, account: &str, path: &str, name: &str, document: &str) {
        let (at, name) = (self.clock.now(), PolicyName::new(path, name));
        let mut policy = self.policy_or_new(account, &name);
        if policy.versions.len() == VERSIONS_MAX {
            let default = &policy.default_version;
            let oldest = policy.versions.iter().position(|version| version.id != *default);
            policy.versions.remove(oldest.unwrap_or_default());
        }
        policy.add(document, true, at);
        self.change_policy(account, &name, Some(policy), true);
    }

    /// Takes a policy out of an account by somebody else's hand, attached or not. If there is
    /// none, nothing changes, and no change is recorded.
    ///
    /// # Panics
    ///
    /// When there is no such account.
    pub fn remove_policy(&mut self, account: &str, path: &str, name: &str) {
        let name = PolicyName::new(path, name);
        if self.account(account).managed_policies.contains_key(&name) {
            self.change_policy(account, &name, None, true);
        }
    }

    /// The policy of a name, or one without versions.
    pub(crate) fn policy_or_new(&mut self, account: &str, name: &PolicyName) -> ManagedPolicy {
        let at = self.clock.now();
        let account = self.account(account);
        if let Some(policy) = account.managed_policies.get(name) {
            return policy.clone();
        }
        account.policies_made += 1;
        ManagedPolicy::new(format!("ANPASIM{:014X}", account.policies_made), name.clone(), at)
    }

    /// Changes a policy, and records it if it says something else since.
    pub(crate) fn change_policy(
        &mut self,
        account_id: &str,
        name: &PolicyName,
        policy: Option<ManagedPolicy>,
        is_by_hand: bool,
    ) {
        let at = self.clock.now();
        let document = policy.as_ref().map(|policy| policy.document().to_owned());
        let account = self.account(account_id);
        let before = account.managed_policies.get(name).map(|policy| policy.document().to_owned());
        account.set_policy(name, policy, at);
        if document != before {
            let (account, policy) = (account_id.to_owned(), name.clone());
            self.policy_changes.push(PolicyChange { at, account, policy, document, is_by_hand });
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const ACCOUNT: &str = "222222222222";

    fn world() -> World {
        let mut world = World::default();
        let root = world.add_organization("o-test123456", "aws", "111111111111");
        world.add_account("o-test123456", &root, ACCOUNT, "payments");
        world
    }

    fn shown(world: &World) -> Option<String> {
        let policy = world.accounts[ACCOUNT]
            .visible_policy(&PolicyName::new("/ours/", "ann"), world.clock.now());
        policy.map(|policy| policy.document().to_owned())
    }

    #[test]
    fn an_arn_and_a_name_are_each_others() {
        for (path, name) in [("/", "a"), ("/ours/", "ann"), ("/a/b/", "c")] {
            let named = PolicyName::new(path, name);
            let arn = named.arn("aws-cn", ACCOUNT);
            assert_eq!(arn, format!("arn:aws-cn:iam::{ACCOUNT}:policy{path}{name}"));
            assert_eq!(PolicyName::of_arn(&arn), Some(named));
        }
        assert_eq!(PolicyName::of_arn("arn:aws:iam::222222222222:role/a"), None);
    }

    #[test]
    fn what_somebody_else_changes_is_recorded_if_it_says_something_else() {
        let mut world = world();
        world.remove_policy(ACCOUNT, "/ours/", "ann");
        for document in ["1", "1", "2"] {
            world.put_policy(ACCOUNT, "/ours/", "ann", document);
        }
        world.remove_policy(ACCOUNT, "/ours/", "ann");
        let told: Vec<_> = world
            .policy_changes
            .iter()
            .map(|one| (one.policy.name.as_str(), one.document.as_deref(), one.is_by_hand))
            .collect();
        assert_eq!(told, [("ann", Some("1"), true), ("ann", Some("2"), true), ("ann", None, true)]);
        for number in 0..7 {
            world.put_policy(ACCOUNT, "/ours/", "ann", &number.to_string());
        }
        let policy = &world.accounts[ACCOUNT].managed_policies[&PolicyName::new("/ours/", "ann")];
        let ids: Vec<&str> = policy.versions.iter().map(|version| version.id.as_str()).collect();
        assert_eq!(ids, ["v3", "v4", "v5", "v6", "v7"]);
        assert_eq!(policy.document(), "6");
    }

    #[test]
    fn a_change_shows_only_after_the_lag() {
        let mut world = world();
        world.account(ACCOUNT).iam_lag = TimeDelta::seconds(5);
        world.put_policy(ACCOUNT, "/ours/", "ann", "1");
        assert_eq!(shown(&world), None);
        world.clock.advance(TimeDelta::seconds(5));
        assert_eq!(shown(&world).as_deref(), Some("1"));
        world.put_policy(ACCOUNT, "/ours/", "ann", "2");
        world.clock.advance(TimeDelta::seconds(3));
        world.remove_policy(ACCOUNT, "/ours/", "ann");
        assert_eq!(shown(&world).as_deref(), Some("1"));
        world.clock.advance(TimeDelta::seconds(2));
        assert_eq!(shown(&world).as_deref(), Some("2"));
        world.clock.advance(TimeDelta::seconds(3));
        assert_eq!(shown(&world), None);
        world.account(ACCOUNT).iam_lag = TimeDelta::zero();
        world.put_policy(ACCOUNT, "/ours/", "ann", "3");
        assert_eq!(shown(&world).as_deref(), Some("3"), "no lag");
    }

    #[test]
    fn what_shows_already_is_not_kept_apart() {
        let mut world = world();
        world.account(ACCOUNT).iam_lag = TimeDelta::seconds(5);
        for name in ["ann", "bob"] {
            world.put_policy(ACCOUNT, "/ours/", name, "1");
            world.clock.advance(TimeDelta::seconds(5));
        }
        world.put_policy(ACCOUNT, "/ours/", "ann", "2");
        let account = world.account(ACCOUNT);
        assert_eq!(
            account.showing_policies.names().iter().map(|one| &one.name).collect::<Vec<_>>(),
            ["ann"]
        );
        assert_eq!(shown(&world).as_deref(), Some("1"));
        assert_eq!(world.accounts[ACCOUNT].visible_policies(world.clock.now()).len(), 2);
    }
}
