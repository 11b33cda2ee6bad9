//! Looks at the database for what only it knows, and shows it as metrics.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::Task;
use crate::{
    base::chain::Chain,
    model::{
        ids::ConnectorId,
        problem::{self, Severity},
    },
    store::{self, Db},
};

/// Sets gauges.
pub struct Gauges {
    /// The database.
    pub db: Db,
    /// The connectors of the settings.
    pub connectors: Arc<[ConnectorId]>,
}

#[async_trait]
impl Task for Gauges {
    fn name(&self) -> &'static str {
        "gauges"
    }

    fn description(&self) -> &'static str {
        "shows what stands in the database as metrics"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(15)
    }

    async fn activate(&mut self) -> Result<String, String> {
        let looked = self.look().await.map_err(|error| Chain(&error).to_string())?;
        Ok(looked)
    }
}

impl Gauges {
    async fn look(&self) -> store::Result<String> {
        let connections = self.db.connections();
        for (state, count) in
            [("idle", connections.idle), ("used", connections.used), ("max", connections.max)]
        {
            metrics::gauge!("connector_database_connections", "state" => state)
                .set(f64::from(count));
        }
        let mut conn = self.db.conn().await?;
        let groups = store::groups::count(&mut conn).await?;
        metrics::gauge!("connector_sync_groups", "state" => "ready").set(count(groups.ready));
        metrics::gauge!("connector_sync_groups", "state" => "leased").set(count(groups.leased));
        let overdue = store::integrations::overdue_seconds(&mut conn, &self.connectors).await?;
        metrics::gauge!("connector_sync_overdue_seconds").set(overdue);
        let stuck = store::backlog::stuck(&mut conn, &self.connectors).await?;
        metrics::gauge!("connector_access_stuck").set(count(stuck));
        let recovering = store::memory::count_recovering(&mut conn, &self.connectors).await?;
        metrics::gauge!("connector_access_recovering").set(count(recovering));
        let mut problems =
            BTreeMap::from([(Severity::Notice, 0), (Severity::Warning, 0), (Severity::Error, 0)]);
        for (code, open) in store::problems::count(&mut conn, &self.connectors).await? {
            *problems.entry(problem::severity(&code)).or_default() += open;
        }
        for (severity, open) in &problems {
            metrics::gauge!("connector_problems", "severity" => severity.as_str())
                .set(count(*open));
        }
        Ok("set all gauges".to_owned())
    }
}

#[expect(clippy::cast_precision_loss, reason = "rows are far fewer")]
fn count(number: i64) -> f64 {
    number as f64
}
