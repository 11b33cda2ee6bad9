//! Floor 4: the crawl.
//!
//! A sync is a tree of *groups*: first the organization, whose walk plans a group for
//! each account, which plans one for each of its regions. A group is everything that
//! one sync reads in one place; its row in the database is queue entry, lease and
//! fence at once ([`store::groups`]). The [`runner`] leases groups; readers read their
//! scopes page by page ([`scope`]) and compare them with what is stored; one recorder
//! writes what is new, and the outcomes, for many groups at once ([`recorder`]); and
//! whoever writes the end of the last group ends the sync ([`finish`]).
//!
//! Invariant: a resource is marked as gone only under a `Complete`, the proof that its
//! scope was read to the end (`model::proof`), in a transaction that holds the lease.
//!
//! Crash safety: whatever is killed, its groups' leases run out and another replica
//! reads them; scopes whose outcome was stored are not read again, the others start
//! from their first page. Pages are written as they come; writing one twice changes
//! nothing.

use std::{sync::Arc, time::Duration};

use crate::{
    aws::{Access, ApiError, Aws},
    base::{activator::Activator, chain::Chain},
    catalog::reach,
    model::{
        failure::{Failure, Lane, Reason, ReasonCode},
        ids::{ConnectorId, ReplicaId},
        scope::{Group, Place},
    },
    store::{self, Db, integrations::Integration},
};

pub mod runner;

mod attempt;
mod finish;
mod group;
mod known;
mod organization;
mod recorder;
mod scope;

/// The collector name under which the walk of the organization is recorded.
pub const WALK: &str = "organization";
/// The collector name under which the opening of an account is recorded.
pub const OPEN_ACCOUNT: &str = "open_account";

/// How to crawl.
#[derive(Clone, Debug)]
pub struct Config {
    /// Groups that this process reads at once.
    pub groups_at_once: usize,
    /// Of them, those of one connector.
    pub groups_at_once_per_connector: usize,
    /// Connections to the database that the readers of one connector use at once.
    pub connections_per_connector: usize,
    /// How long a lease lasts without a heartbeat.
    pub lease: Duration,
    /// From one heartbeat to the next.
    pub heartbeat: Duration,
    /// Without a poke, how often to look for groups.
    pub poll: Duration,
}

/// What a crawl needs. Clones share everything.
#[derive(Clone, Debug)]
pub struct Crawler {
    /// The database.
    pub db: Db,
    /// AWS.
    pub aws: Aws,
    /// The connectors that this daemon hosts.
    pub connectors: Arc<[ConnectorId]>,
    /// This process.
    pub replica: ReplicaId,
    /// Settings.
    pub config: Config,
    /// Wakes the runner when groups were planned.
    pub groups: Activator,
}

/// What went wrong in the crawl itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// AWS.
    #[error(transparent)]
    Aws(#[from] ApiError),
    /// The role session.
    #[error(transparent)]
    Session(#[from] crate::aws::sessions::Error),
    /// The list has no end.
    #[error("the list does not come to an end")]
    Endless(#[from] crate::model::proof::Endless),
    /// The database.
    #[error("failed to store what was read")]
    Store(#[from] store::Error),
}

impl Error {
    /// Why a scope could not be read; none: the lease was lost, or the database is
    /// away, and there is nothing to say about the scope.
    fn reason(&self, collector: &str) -> Option<Reason> {
        match self {
            Self::Aws(error) => Some(error.reason.clone()),
            Self::Session(error) => Some(error.meaning().reason),
            Self::Endless(error) => {
                Some(Reason::new(ReasonCode::UnreadableAnswer, collector, error.to_string()))
            }
            Self::Store(store::Error::Inconsistent { .. }) => {
                Some(Reason::new(ReasonCode::Internal, collector, Chain(self).to_string()))
            }
            Self::Store(_) => None,
        }
    }

    fn failure(&self) -> Failure {
        match self {
            Self::Aws(error) => error.failure,
            Self::Session(error) => error.meaning().failure,
            Self::Endless(_) | Self::Store(_) => Failure::Permanent,
        }
    }
}

/// The reach of an integration's roles.
#[must_use]
pub fn access(aws: &Aws, integration: &Integration, place: &Place) -> Access {
    let region = match place {
        Place::Organization | Place::Account(_) => None,
        Place::Region(_, region) => Some(region),
    };
    reach::access(aws, integration, place.account(), region, Lane::Crawl)
}

/// A group with the integration that it belongs to.
#[derive(Debug)]
struct Job {
    group: Group,
    integration: Arc<Integration>,
    access: Access,
}
