//! What is found out about the time that a restored database has forgotten.

use chrono::{DateTime, Utc};

use super::{ids::AccountId, target::Verb};

/// A change in AWS, by whomever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// AWS's id of the request.
    pub request: String,
    /// What was done.
    pub verb: Verb,
    /// When.
    pub at: DateTime<Utc>,
    /// How access is given so.
    pub mechanism: String,
    /// What tells the object from others of its mechanism.
    pub key: String,
    /// As its mechanism names it.
    pub object: serde_json::Value,
    /// Account.
    pub account: AccountId,
}
