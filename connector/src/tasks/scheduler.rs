//! Plans the syncs that are due.
//!
//! The due time stands in the integration's row and is compared with the database's
//! clock, so replicas need not agree on anything else. Missed periods are one sync:
//! the next due time counts from the plan that was really made.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::Task;
use crate::{
    base::{activator::Activator, chain::Chain, chance},
    model::{
        ids::{ConnectorId, SyncId},
        schedule,
        sync::Trigger,
    },
    store::{self, Db},
};

const DUE_MAX: i64 = 100;

/// Plans due syncs.
pub struct Scheduler {
    /// The database.
    pub db: Db,
    /// The connectors that this daemon hosts.
    pub connectors: Arc<[ConnectorId]>,
    /// Wakes the runner.
    pub groups: Activator,
    /// Without a poke, how often to look.
    pub period: Duration,
}

#[async_trait]
impl Task for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    fn description(&self) -> &'static str {
        "plans the syncs that are due"
    }

    fn period(&self) -> Duration {
        self.period
    }

    async fn activate(&mut self) -> Result<String, String> {
        let planned = self.plan_due().await.map_err(|error| Chain(&error).to_string())?;
        if planned > 0 {
            self.groups.poke();
        }
        Ok(format!("planned {planned} syncs"))
    }
}

impl Scheduler {
    async fn plan_due(&self) -> store::Result<usize> {
        let mut tx = self.db.begin().await?;
        let due = store::integrations::lock_due(&mut tx, &self.connectors, DUE_MAX).await?;
        let mut planned = 0;
        for integration in &due {
            let (connector, id) = (&integration.connector, integration.id);
            let trigger = match integration.initialized_at {
                Some(_) => Trigger::Schedule,
                None => Trigger::Created,
            };
            let sync = SyncId(chance::uuid());
            let (_, joined) = store::syncs::plan(&mut tx, connector, id, sync, trigger).await?;
            planned += usize::from(!joined);
            let now = store::now(&mut tx).await?;
            let next =
                schedule::next_due(now, integration.settings.sync_interval, chance::fraction());
            store::integrations::set_next_sync(&mut tx, connector, id, next).await?;
        }
        tx.commit().await?;
        Ok(planned)
    }
}
