//! What is asked of a mechanism, and what giving it takes.

use chrono::TimeDelta;
use serde_json::Value;

use crate::{
    model::grant::Recipient,
    store::{integrations::Integration, resources::Stored as Resource},
};

/// A permission on a resource that somebody is to have for a time.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The integration that knows the resource.
    pub of: &'a Integration,
    /// The resource.
    pub on: &'a Resource,
    /// How somebody wrote the permission.
    pub permission: &'a str,
    /// For whom.
    pub recipient: &'a Recipient,
    /// For how long.
    pub length: TimeDelta,
}

/// What a unit takes, but for who receives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In the mechanism's own words.
    pub plan: Value,
    /// How long sessions that were begun with it go on after its end, at most; none: until they are
    /// closed.
    pub session: Option<TimeDelta>,
}

/// As it is stored: nobody knows how long.
pub const UNBOUNDED_S: i32 = i32::MAX;

impl Plan {
    /// The same length in seconds, as it is stored.
    #[must_use]
    pub fn session_seconds(&self) -> i32 {
        let seconds = self.session.map(|session| i32::try_from(session.num_seconds()));
        seconds.and_then(Result::ok).unwrap_or(UNBOUNDED_S)
    }
}
