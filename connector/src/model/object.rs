//! What a target is in AWS, as its mechanism names it.

/// An object in AWS.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What kind of object it is; a mechanism that knows one kind alone has its name.
    pub mechanism: &'static str,
    /// What tells it from all others of its mechanism and organization.
    pub key: String,
    /// What one change at a time is made of: an account for assignments, a group for memberships.
    pub place: String,
    /// In the mechanism's own words.
    pub object: serde_json::Value,
    /// When it is made: after those of earlier stages, and removed before them.
    pub stage: i16,
    /// Whether a further holder takes it as it was seen last: only we make and remove it, and it is the same
    /// for all of them.
    pub is_ours_alone: bool,
    /// What its holder puts in; none: it needs no more than that it is there.
    pub share: Option<serde_json::Value>,
}
