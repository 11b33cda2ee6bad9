//! Who calls: access keys and the sessions behind them.

use chrono::{DateTime, Utc};

/// What an access key stands for.
#[derive(Clone, Debug)]
pub struct Session {
    /// ARN of the session or user: `arn:aws:sts::…:assumed-role/x/y`.
    pub arn: String,
    /// ARN of the role behind it, as policies name it.
    pub role_arn: String,
    /// Account.
    pub account: String,
    /// When it ends.
    pub expires: DateTime<Utc>,
    /// Session tags.
    pub tags: Vec<(String, String)>,
    /// Source identity.
    pub source_identity: String,
    /// Whether it may do anything: the hosts' own identity, which only assumes roles.
    pub is_hub: bool,
}

/// Credentials as a client uses them.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// `ASIA…`.
    pub access_key: String,
    /// Secret.
    pub secret: String,
    /// Session token.
    pub token: String,
}
