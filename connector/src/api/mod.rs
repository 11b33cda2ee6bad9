//! Floor 6: the gRPC services.
//!
//! A handler checks its input, reads or writes rows in one transaction, pokes a task
//! and answers from the database. Architecture invariant: nothing here calls AWS; what
//! only AWS knows is asked for by an intent row that a task answers.
//!
//! [`auth`] stands before every service and decides who may call what.

use std::sync::Arc;

use apono_connector_proto::v1::{
    FILE_DESCRIPTOR_SET, access_service_server::AccessServiceServer,
    audit_service_server::AuditServiceServer, catalog_service_server::CatalogServiceServer,
    integration_service_server::IntegrationServiceServer,
    inventory_service_server::InventoryServiceServer,
    operations_service_server::OperationsServiceServer, sync_service_server::SyncServiceServer,
};
use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;
use tonic::service::Routes;

use crate::{
    aws::identity::Identity,
    base::{activator::Activator, stopper::Stopper},
    guard::Guard,
    model::ids::{ConnectorId, ReplicaId},
    store::Db,
    tasks::Board,
};

mod access;
mod audit;
pub mod auth;
mod catalog;
mod changes;
mod coverage;
mod facets;
mod filter;
mod follow;
mod grants;
mod history;
mod integrations;
mod inventory;
mod operations;
mod page;
mod removal;
pub mod settings;
mod status;
mod syncs;
mod words;

/// Followers of changes that a daemon serves at once: each looks into the database twice a
/// second.
pub const FOLLOWERS_MAX: usize = 200;

/// What no grant may pass, whatever the guardrails say.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Ends of access outlive the daemon; if not, nothing is granted.
    pub state_is_kept: bool,
    /// Access is given to management accounts.
    pub management_account: bool,
    /// Access is given to what asks for a tag and lacks it.
    pub untagged: bool,
    /// Assignments that AWS works on at once in an instance.
    pub assignments_at_once: u32,
}

/// What the services need. Clones share everything.
#[derive(Clone, Debug)]
pub struct Api {
    /// The database.
    pub db: Db,
    /// Wakes the runner of syncs.
    pub groups: Activator,
    /// Wakes the validator.
    pub validations: Activator,
    /// Wakes the scheduler.
    pub schedule: Activator,
    /// Wakes the engine of access.
    pub wishes: Activator,
    /// Wakes the runner of session audit.
    pub audits: Activator,
    /// Wakes the remover of integrations.
    pub removals: Activator,
    /// What may be granted.
    pub guard: Guard,
    /// What no grant may pass.
    pub limits: Limits,
    /// How the tasks are doing.
    pub board: Board,
    /// The connectors of the settings.
    pub connectors: Arc<[ConnectorId]>,
    /// This process.
    pub replica: ReplicaId,
    /// Our AWS identity, once it was found.
    pub identity: Arc<ArcSwapOption<Identity>>,
    /// When to end streams.
    pub stopper: Stopper,
    /// The place for who verifies acts: it takes long.
    pub verifications: Arc<Semaphore>,
    /// Places for followers of changes.
    pub followers: Arc<Semaphore>,
}

impl Api {
    /// All services behind authentication.
    ///
    /// # Panics
    ///
    /// When the compiled descriptors cannot be read, which a test would show.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let (_, health) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("the compiled descriptors are readable");
        let router = Routes::new(CatalogServiceServer::new(self.clone()))
            .add_service(AccessServiceServer::new(self.clone()))
            .add_service(AuditServiceServer::new(self.clone()))
            .add_service(IntegrationServiceServer::new(self.clone()))
            .add_service(SyncServiceServer::new(self.clone()))
            .add_service(InventoryServiceServer::new(self.clone()))
            .add_service(OperationsServiceServer::new(self.clone()))
            .add_service(health)
            .add_service(reflection)
            .into_axum_router()
            .layer(axum::middleware::from_fn_with_state(self.clone(), auth::authenticate));
        Routes::from(router)
    }
}
