//! What was called: so that tests can count calls, and hold declared actions against
//! those that were made.

use chrono::{DateTime, Utc};

/// One call.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: DateTime<Utc>,
    /// ARN of the caller; empty: nobody that is known.
    pub principal: String,
    /// The caller's account.
    pub account: String,
    /// Region.
    pub region: String,
    /// IAM action.
    pub action: String,
    /// What it changes: `account/permission-set-id/principal-id`, of a call that makes or
    /// removes an account assignment; `group-id/user-id`, of one that makes a membership;
    /// `membership-id`, of one that removes it; else empty.
    pub object: String,
    /// Whether a page token came with it.
    pub has_token: bool,
    /// Error code; empty: it succeeded.
    pub code: String,
}

/// How often an action was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls, however they ended.
    pub calls: usize,
    /// Of them, those over a quota.
    pub throttled: usize,
}
