//! Starts what crawls, what gives access, and what reads how it is used.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Error;
use crate::{
    access::{self, Engine},
    audit::{self, Auditor},
    aws::Aws,
    base::{activator::Activator, stopper::Stopper},
    guard::Guard,
    model::ids::{ConnectorId, ReplicaId},
    store::Db,
    sync::{self, Crawler},
};

/// What the rooms that call AWS are made from.
pub(super) struct Base {
    pub(super) db: Db,
    pub(super) aws: Aws,
    pub(super) connectors: Arc<[ConnectorId]>,
    pub(super) replica: ReplicaId,
}

impl Base {
    pub(super) fn start_crawling(
        &self,
        parts: &mut JoinSet<Result<&'static str, Error>>,
        config: sync::Config,
        groups: Activator,
        stopper: &Stopper,
    ) {
        let Self { db, aws, connectors, replica } = self;
        let (db, aws, connectors) = (db.clone(), aws.clone(), Arc::clone(connectors));
        let crawler = Crawler { db, aws, connectors, replica: *replica, config, groups };
        let crawling = sync::runner::run(crawler, stopper.clone());
        parts.spawn(async move {
            crawling.await?;
            Ok("the sync runner")
        });
    }

    pub(super) fn start_giving(
        &self,
        parts: &mut JoinSet<Result<&'static str, Error>>,
        config: access::Config,
        guard: Guard,
        wishes: Activator,
        stopper: &Stopper,
    ) {
        let Self { db, aws, connectors, replica } = self;
        let (db, aws, connectors) = (db.clone(), aws.clone(), Arc::clone(connectors));
        let engine = Engine { db, aws, connectors, replica: *replica, config, guard, wishes };
        let giving = access::runner::run(engine, stopper.clone());
        parts.spawn(async move {
            giving.await?;
            Ok("the runner of access")
        });
    }

    pub(super) fn start_auditing(
        &self,
        parts: &mut JoinSet<Result<&'static str, Error>>,
        wishes: Activator,
        stopper: &Stopper,
    ) {
        let Self { db, aws, connectors, .. } = self;
        let (db, aws, connectors) = (db.clone(), aws.clone(), Arc::clone(connectors));
        let stopper = stopper.clone();
        let auditing = audit::runner::run(Auditor { db, aws, connectors, wishes, stopper });
        parts.spawn(async move {
            auditing.await;
            Ok("the runner of session audit")
        });
    }
}
