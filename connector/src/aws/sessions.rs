//! Role sessions: cached, renewed early, and held against the account that they were
//! made for.
//!
//! The connector's own identity assumes every role by itself, with the connector's id
//! as external id. That is role chaining wherever the own identity is a role too, so a
//! session lives an hour at most, whatever the role would allow.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_config::SdkConfig;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use aws_sdk_sts::types::Tag;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Aws, budget, error::ApiError, wire};
use crate::{
    base::clock,
    model::{
        arn::RoleArn,
        failure::{Failure, Lane, Reason, ReasonCode},
        ids::{ConnectorId, Region},
    },
};

/// Length asked for: the cap of chained sessions.
const SESSION_LENGTH: Duration = Duration::from_hours(1);
/// A session is renewed this long before its end, or at three quarters of a short one.
const RENEW_BEFORE_END: Duration = Duration::from_mins(5);
/// The IAM action.
pub const ASSUME_ROLE: &str = "sts:AssumeRole";

/// Which role, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The tenant; its id is the external id and the source identity.
    pub connector: ConnectorId,
    /// Name of the integration, for the session's name and tags.
    pub integration: String,
    /// The role.
    pub role: RoleArn,
    /// Home region, for STS.
    pub region: Region,
}

/// What kind of role it is, for the words of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The role in the management account.
    Management,
    /// The role that the StackSet planted.
    Member,
}

/// A session could not be had.
#[derive(Clone, Debug, thiserror::Error)]
#[error("failed to get credentials for {role}: {reason}")]
pub struct Error {
    role: RoleArn,
    reason: Reason,
    failure: Failure,
}

impl Error {
    /// What it means.
    #[must_use]
    pub fn meaning(&self) -> ApiError {
        ApiError {
            reason: self.reason.clone(),
            failure: self.failure,
            code: None,
            leaves_doubt: false,
        }
    }
}

/// All role sessions of the process.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<Key, Arc<Slot>>>);

/// The place of one session; its lock lets only one caller renew it.
#[derive(Debug, Default)]
struct Slot(tokio::sync::Mutex<Option<Held>>);

#[derive(Clone, Debug)]
struct Held {
    credentials: Credentials,
    renew_at: DateTime<Utc>,
}

impl Sessions {
    fn slot(&self, key: &Key) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key.clone()).or_default())
    }

    /// Forgets sessions that nobody uses and that have ended.
    pub fn forget_ended(&self) {
        let now = clock::now();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, slot| {
            let ended = slot
                .0
                .try_lock()
                .is_ok_and(|held| held.as_ref().is_none_or(|held| held.renew_at < now));
            Arc::strong_count(slot) > 1 || !ended
        });
    }
}

/// A session with a role: credentials that renew themselves.
#[derive(Clone)]
pub struct Session {
    aws: Aws,
    key: Key,
    kind: Kind,
    lane: Lane,
    slot: Arc<Slot>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.key.role)
    }
}

impl Session {
    /// The session of a role; nobody is called before [`Session::credentials`].
    #[must_use]
    pub fn new(aws: &Aws, key: Key, kind: Kind, lane: Lane) -> Self {
        let slot = aws.sessions.slot(&key);
        Self { aws: aws.clone(), key, kind, lane, slot }
    }

    /// The same session, whose calls go in another lane.
    #[must_use]
    pub fn in_lane(&self, lane: Lane) -> Self {
        Self { lane, ..self.clone() }
    }

    /// Current credentials.
    ///
    /// # Errors
    ///
    /// When the role cannot be assumed, or leads to another account.
    pub async fn credentials(&self) -> Result<Credentials, Error> {
        let mut held = self.slot.0.lock().await;
        if let Some(held) = held.as_ref().filter(|held| clock::now() < held.renew_at) {
            return Ok(held.credentials.clone());
        }
        match self.assume().await {
            Ok(fresh) => Ok(held.insert(fresh).credentials.clone()),
            Err(error) => {
                *held = None;
                Err(error)
            }
        }
    }

    /// Drops the cached credentials: AWS said that they have ended.
    pub async fn invalidate(&self) {
        *self.slot.0.lock().await = None;
    }

    async fn assume(&self) -> Result<Held, Error> {
        let connector = self.key.connector.as_str();
        let answer = sts_client(&self.aws, &self.key.region, self.lane)
            .assume_role()
            .role_arn(self.key.role.to_string())
            .role_session_name(session_name(&self.key.integration))
            .external_id(connector)
            .source_identity(&connector[..connector.len().min(64)])
            .duration_seconds(i32::try_from(SESSION_LENGTH.as_secs()).unwrap_or(3600))
            .tags(tag("AponoConnectorId", connector))
            .tags(tag("AponoIntegration", &self.key.integration))
            .send()
            .await
            .map_err(|error| self.failed(ApiError::of(ASSUME_ROLE, &error)))?;

        let found =
            answer.assumed_role_user().map(|user| account_of(user.arn())).unwrap_or_default();
        if found != self.key.role.account().as_str() {
            let reason = Reason::new(
                ReasonCode::AccountMismatch,
                format!("{} led to {found}", self.key.role),
                "",
            );
            return Err(Error {
                role: self.key.role.clone(),
                reason,
                failure: Failure::NeedsHuman,
            });
        }
        let Some(answered) = answer.credentials() else {
            return Err(self.failed(ApiError::answered(ASSUME_ROLE, "", "no credentials", 200)));
        };
        let now = clock::now();
        let expiry = DateTime::from_timestamp(answered.expiration().secs(), 0).unwrap_or(now);
        Ok(Held { credentials: credentials(answered, expiry), renew_at: renew_at(now, expiry) })
    }

    /// A refusal means different things for the two kinds of roles.
    fn failed(&self, error: ApiError) -> Error {
        let denied = match self.kind {
            Kind::Management => (ReasonCode::ManagementRoleDenied, self.key.role.to_string()),
            Kind::Member => (ReasonCode::MemberRoleDenied, self.key.role.name().to_owned()),
        };
        let (code, subject) = match error.reason.code {
            ReasonCode::ActionDenied | ReasonCode::DeniedByScp | ReasonCode::RegionNotEnabled => {
                denied
            }
            ReasonCode::CredentialsExpired => (ReasonCode::OwnIdentityUnavailable, String::new()),
            ReasonCode::OwnIdentityUnavailable
            | ReasonCode::ManagementRoleDenied
            | ReasonCode::MemberRoleDenied
            | ReasonCode::MemberRolePending
            | ReasonCode::AccountMismatch
            | ReasonCode::OrganizationMismatch
            | ReasonCode::NotCovered
            | ReasonCode::Throttled
            | ReasonCode::Unreachable
            | ReasonCode::ServiceError
            | ReasonCode::UnreadableAnswer
            | ReasonCode::RemovalHeld
            | ReasonCode::IdentityCenterMissing
            | ReasonCode::ExcludedOuGone
            | ReasonCode::AccountStateUnknown
            | ReasonCode::AccountNoLongerExcluded
            | ReasonCode::AccessStuck
            | ReasonCode::AccessRecovering
            | ReasonCode::AuditUnread
            | ReasonCode::LogFileUnreadable
            | ReasonCode::TrailQueueForeign
            | ReasonCode::Internal => (error.reason.code, error.reason.subject),
        };
        let reason = Reason::new(code, subject, error.reason.detail);
        Error { role: self.key.role.clone(), reason, failure: error.failure }
    }

    pub(super) fn aws(&self) -> &Aws {
        &self.aws
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn lane(&self) -> Lane {
        self.lane
    }
}

impl ProvideCredentials for Session {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            self.credentials().await.map_err(CredentialsError::provider_error)
        })
    }
}

/// Whether our own identity may assume a role with this external id, or with none. A
/// role that says yes to the wrong one would say yes for anybody's connector.
///
/// # Errors
///
/// When STS answers neither yes nor no.
pub async fn is_assumable(
    aws: &Aws,
    role: &RoleArn,
    region: &Region,
    external_id: Option<&str>,
) -> Result<bool, ApiError> {
    let answer = sts_client(aws, region, Lane::Interactive)
        .assume_role()
        .role_arn(role.to_string())
        .role_session_name("apono-probe")
        .set_external_id(external_id.map(str::to_owned))
        .duration_seconds(900)
        .send()
        .await;
    match answer.map_err(|error| ApiError::of(ASSUME_ROLE, &error)) {
        Ok(_) => Ok(true),
        Err(error) if error.reason.code == ReasonCode::ActionDenied => Ok(false),
        Err(error) => Err(error),
    }
}

/// STS with our own identity.
pub(super) fn sts_client(aws: &Aws, region: &Region, lane: Lane) -> aws_sdk_sts::Client {
    let account = budget::Account { id: String::new(), region: region.to_string(), service: "sts" };
    let config: SdkConfig = aws
        .base
        .to_builder()
        .region(aws_types::region::Region::new(region.to_string()))
        .http_client(wire::client(
            &aws.http,
            Arc::clone(&aws.budgets),
            wire::Terms { account, lane, usage: Arc::default(), lease: None },
        ))
        .build();
    aws_sdk_sts::Client::new(&config)
}

fn credentials(answered: &aws_sdk_sts::types::Credentials, expiry: DateTime<Utc>) -> Credentials {
    Credentials::new(
        answered.access_key_id(),
        answered.secret_access_key(),
        Some(answered.session_token().to_owned()),
        Some(expiry.into()),
        "assume-role",
    )
}

fn renew_at(now: DateTime<Utc>, expiry: DateTime<Utc>) -> DateTime<Utc> {
    let early = TimeDelta::from_std(RENEW_BEFORE_END).unwrap_or_default();
    expiry - early.min((expiry - now) / 4)
}

fn session_name(integration: &str) -> String {
    let mut name = format!("apono-{integration}");
    name.truncate(64);
    name
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().expect("a tag with key and value is whole")
}

/// The account of an ARN.
pub(super) fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_renewed_five_minutes_early_and_short_ones_at_three_quarters() {
        let start = DateTime::from_timestamp(0, 0).expect("a time");
        let after = |seconds| start + TimeDelta::seconds(seconds);
        assert_eq!(renew_at(start, after(3600)), after(3300));
        assert_eq!(renew_at(start, after(60)), after(45));
    }

    #[test]
    fn session_names_fit() {
        assert_eq!(session_name("prod"), "apono-prod");
        assert_eq!(session_name(&"x".repeat(64)).len(), 64);
    }
}
