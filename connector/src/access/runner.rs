//! Takes the leases of Identity Center instances where something is due, and sets workers to them,
//! for as long as the process lives.

use std::collections::HashMap;

use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span, warn};

use super::{Engine, worker};
use crate::{
    base::{activator::Activator, chain::Chain, stopper::Stopper},
    model::ids::{ConnectorId, IntegrationId},
    store::{self, identity_centers, integrations},
};

type Key = (ConnectorId, IntegrationId);

/// Runs until it is asked to stop; then lets the workers end the steps that they have begun, or leaves
/// when asked again.
///
/// # Errors
///
/// Never by itself: what fails is tried again at the next wake-up.
///
/// # Panics
///
/// When a worker panics; the process goes down with it, and its leases run out.
pub async fn run(engine: Engine, stopper: Stopper) -> Result<(), store::Error> {
    let stopping = CancellationToken::new();
    let mut runner = Runner { engine, workers: JoinSet::new(), woken: HashMap::new(), stopping };
    loop {
        while let Some(ended) = runner.workers.try_join_next() {
            let key = ended.expect("a worker does not panic");
            runner.woken.remove(&key);
        }
        if let Err(error) = runner.set_to_work().await {
            warn!(error = %Chain(&error), "failed to look where access is due; trying again");
        }
        tokio::select! {
            () = runner.engine.wishes.wait(runner.engine.config.poll) => {
                runner.woken.values().for_each(Activator::poke);
            }
            () = stopper.stopping() => break,
        }
    }
    runner.stopping.cancel();
    tokio::select! {
        () = async { while runner.workers.join_next().await.is_some() {} } => {}
        () = stopper.leaving() => {}
    }
    Ok(())
}

struct Runner {
    engine: Engine,
    workers: JoinSet<Key>,
    /// What wakes each worker.
    woken: HashMap<Key, Activator>,
    stopping: CancellationToken,
}

impl Runner {
    /// Sets workers to the instances where something is due and nobody works.
    async fn set_to_work(&mut self) -> store::Result<()> {
        let Engine { db, connectors, replica, config, .. } = &self.engine;
        let mut conn = db.conn().await?;
        let due = identity_centers::due(&mut conn, connectors, *replica).await?;
        for key in due {
            if self.woken.contains_key(&key) {
                continue;
            }
            let (connector, integration) = &key;
            let asked = Instant::now();
            let length = config.lease;
            let held = identity_centers::take(&mut conn, connector, *integration, *replica, length)
                .await?;
            let found = integrations::get(&mut conn, connector, *integration).await?;
            let (Some(held), Some(found)) = (held, found) else { continue };
            let woken = Activator::default();
            let span = info_span!("access", integration = found.settings.name);
            let working = worker::work(
                self.engine.clone(),
                held,
                asked,
                found,
                woken.clone(),
                self.stopping.clone(),
            );
            self.woken.insert(key.clone(), woken);
            let working = async move {
                working.await;
                key
            };
            self.workers.spawn(working.instrument(span));
        }
        Ok(())
    }
}
