//! Floor 4: session audit, what was done with the access that was given.
//!
//! What opens access notes, for integrations with `audit_enabled`, which sessions it lets somebody open
//! ([`crate::store::audited_units::expect`]): the account, the permission set, and the name that Identity Center gives
//! to the sessions of the recipient. Once it is active, IAM is asked for the id of the set's role
//! ([`roles`]): no other role ever has that id, so what is done with it is never taken for somebody else's.
//!
//! From then on the [`sources`] are read, in each region of the account ([`places`]): CloudTrail's event history
//! for whoever has that session name, and the organization's trail in S3, where there is one; until the last
//! session that can be open has ended and all that CloudTrail delivers late has come. What somebody did is
//! attributed to the grant whose session it was ([`judge`], [`crate::model::attribution`]), and stored once,
//! whichever source tells it. Where it is not certain whose it was, that is said.
//!
//! Crash safety: places are rows that are leased; what is read is stored with how far it was read, and what is
//! read twice is stored once. A source that fails is a problem, and resumes where it was.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::{
    aws::{Access, ApiError, Aws, sessions},
    base::{activator::Activator, stopper::Stopper},
    catalog::reserved_roles::LIST_ROLES,
    model::{
        failure::{Reason, ReasonCode},
        ids::{ConnectorId, IntegrationId},
        integration::{Settings, Trail},
    },
    store::{
        self, Db, PgConnection, audit_places,
        problems::{self, Finder},
        trail_queues,
    },
};

mod judge;
mod places;
mod queue;
mod roles;
pub mod runner;
mod sources;
pub mod trial;

pub use queue::RECEIVE_MESSAGE;
pub use sources::{GET_OBJECT, LIST_BUCKET, TRAIL};

/// Every IAM action that is called for it with the role of an account, beside those of discovery.
pub const IAM_ACTIONS: &[&str] = &[sources::LOOKUP_EVENTS, LIST_ROLES];
/// Those that are called for a trail: on its bucket, on its files, and on its queue.
pub const BUCKET_IAM_ACTIONS: &[&str] = &[LIST_BUCKET, trial::GET_NOTIFICATION];
/// On the files in it.
pub const FILE_IAM_ACTIONS: &[&str] = &[GET_OBJECT];
/// On the key that encrypts them.
pub const KEY_IAM_ACTIONS: &[&str] = &["kms:Decrypt"];
/// On the queue that is told of them.
pub const QUEUE_IAM_ACTIONS: &[&str] = &[RECEIVE_MESSAGE, queue::DELETE_MESSAGE];

/// For how long CloudTrail tells of events.
const REMEMBERED: TimeDelta = TimeDelta::days(90);
/// Access that was over before is not looked for in a trail that is named for the first time.
const RECENT: TimeDelta = TimeDelta::days(2);

/// What reading session audit needs. Clones share everything.
#[derive(Clone, Debug)]
pub struct Auditor {
    /// The database.
    pub db: Db,
    /// AWS.
    pub aws: Aws,
    /// The connectors that this daemon hosts.
    pub connectors: Arc<[ConnectorId]>,
    /// Wakes the runner when somebody asks.
    pub wishes: Activator,
    /// When to leave off.
    pub stopper: Stopper,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// AWS.
    #[error(transparent)]
    Aws(Box<ApiError>),
    /// The role session.
    #[error(transparent)]
    Session(Box<sessions::Error>),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It was left off, since the daemon stops or others have a turn, and goes on at once.
    #[error("the reading was left off")]
    LeftOff,
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Aws(Box::new(error))
    }
}

impl From<sessions::Error> for Error {
    fn from(error: sessions::Error) -> Self {
        Self::Session(Box::new(error))
    }
}

impl Error {
    /// Why it cannot be read, as it is stored: the code and what it is about. None: the lease was lost, or
    /// the database is away.
    fn trouble(&self) -> Option<String> {
        let reason = match self {
            Self::Aws(error) => error.reason.clone(),
            Self::Session(error) => error.meaning().reason,
            Self::Store(_) | Self::LeftOff => return None,
        };
        Some(trouble(&reason))
    }
}

/// Asks AWS, and forgets credentials of which it says that they have ended: the next try gets new ones.
async fn ask<T>(
    access: &Access,
    asking: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    access.open().await?;
    let told = asking.await;
    if let Err(Error::Aws(error)) = &told
        && error.reason.code == ReasonCode::CredentialsExpired
    {
        access.renew().await;
    }
    told
}

fn trouble(reason: &Reason) -> String {
    format!("{} {}", reason.code, reason.subject).trim_end().to_owned()
}

/// Has the problems of an integration say what cannot be read now.
async fn note_problems(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
) -> store::Result<()> {
    let found = audit_places::problems(conn, connector, integration).await?;
    problems::replace(conn, connector, integration, (Finder::Audit, true), &found).await
}

/// Has the trail that an integration's new settings name read: from the grants on where it is another one, else
/// from where it was; or no trail any more.
///
/// # Errors
///
/// When the database does not answer.
pub async fn follow(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    integration: IntegrationId,
    (before, after): (&Settings, &Settings),
) -> store::Result<()> {
    let trail = |settings: &Settings| settings.trail.clone().filter(|_| settings.audit_enabled);
    let (before, after) = (trail(before), trail(after));
    if before == after {
        return Ok(());
    }
    let place = |trail: &Trail| (trail.bucket.clone(), trail.prefix.clone(), trail.region.clone());
    let (old, new) = (before.as_ref().map(place), after.as_ref().map(place));
    trail_queues::forget(conn, connector, integration).await?;
    if old != new {
        audit_places::forget(conn, (connector, integration), TRAIL).await?;
    }
    if new.is_some() {
        // Where another place was named before, nothing was read for those grants.
        let over = if old.is_none() { RECENT } else { REMEMBERED };
        audit_places::look_now(conn, (connector, integration), TRAIL, over).await?;
    }
    note_problems(conn, connector, integration).await
}
