//! The ways in which access is given, one file each.
//!
//! A mechanism knows one kind of object in AWS: how to look at it, and how to make and remove it. It
//! decides nothing and remembers nothing; what comes next is [`crate::model::target::decide`]'s.
//! A new one is a file here and a word in [`MECHANISMS`].

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Config, site::Site};
use crate::{
    aws::ApiError,
    model::{
        failure::Lane,
        recovery::Change,
        refusal::Refusal,
        target::{Observed, Target, Verb},
    },
};

mod assignment;

pub use assignment::{ASSIGNMENTS, Requests};

/// The IAM actions that recipients are looked up with, whatever the mechanism.
pub const LOOKUP_IAM_ACTIONS: &[&str] = &[
    super::principals::DESCRIBE_GROUP,
    super::principals::DESCRIBE_USER,
    super::principals::GET_GROUP_ID,
    super::principals::GET_USER_ID,
];

/// A way of giving access.
#[async_trait]
pub trait Mechanism: Send + Sync {
    /// Stable name, in rows and in the API.
    fn name(&self) -> &'static str;

    /// Its name in the template: of the parameter that switches it on, and of its policy.
    fn title(&self) -> &'static str;

    /// What it does, in a sentence for whoever deploys the template.
    fn description(&self) -> &'static str;

    /// The IAM actions that looking at objects takes.
    fn looking(&self) -> &'static [&'static str];

    /// The IAM actions that make and remove objects.
    fn changing(&self) -> &'static [&'static str];

    /// The IAM actions that the same takes beside, on roles and providers of Identity Center, in the
    /// management account: there AWS uses the rights of whoever asks.
    fn changing_in_management_account(&self) -> &'static [&'static str];

    /// Calls that AWS works on at once in one instance.
    fn calls_at_once(&self, config: &Config) -> i64;

    /// Of them, those in one account.
    fn calls_at_once_in_account(&self) -> i64;

    /// Looks at an object. Operations are read before the object itself.
    async fn observe(
        &self,
        site: &Site,
        object: &Value,
        target: &Target,
        lane: Lane,
    ) -> Result<Observed, ApiError>;

    /// Makes or removes an object, with one attempt; the id of AWS's request.
    async fn call(
        &self,
        site: &Site,
        object: &Value,
        verb: Verb,
        lane: Lane,
    ) -> Result<String, ApiError>;

    /// What was changed since, by whomever: objects that were made and are there, and objects that
    /// were removed and are not.
    async fn changes(
        &self,
        site: &Site,
        since: DateTime<Utc>,
        lane: Lane,
    ) -> Result<Vec<Change>, ApiError>;

    /// Why an object whose making has failed cannot be made; none: it may be the next time.
    fn refusal(&self, words: &str) -> Option<Refusal>;
}

/// All of them.
pub static MECHANISMS: &[&dyn Mechanism] = &[ASSIGNMENTS];

/// The mechanism of a name.
#[must_use]
pub fn of(name: &str) -> Option<&'static dyn Mechanism> {
    MECHANISMS.iter().copied().find(|mechanism| mechanism.name() == name)
}

impl fmt::Debug for dyn Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
