//! Puts acts under seals, so that it shows when somebody changes them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::Task;
use crate::{
    base::chain::Chain,
    model::ids::ConnectorId,
    store::{self, Db, seals},
};

/// Acts under one seal.
const ACTS_MAX: u64 = 1_000;

/// Seals acts.
pub struct Sealer {
    /// The database.
    pub db: Db,
    /// The connectors that this daemon hosts.
    pub connectors: Arc<[ConnectorId]>,
}

#[async_trait]
impl Task for Sealer {
    fn name(&self) -> &'static str {
        "sealer"
    }

    fn description(&self) -> &'static str {
        "puts acts under seals, in which a later change shows"
    }

    fn period(&self) -> Duration {
        Duration::from_mins(1)
    }

    async fn activate(&mut self) -> Result<String, String> {
        self.seal().await.map_err(|error| Chain(&error).to_string())
    }
}

impl Sealer {
    async fn seal(&self) -> store::Result<String> {
        let mut all = 0;
        for connector in &*self.connectors {
            loop {
                let mut tx = self.db.begin().await?;
                let limit = i64::try_from(ACTS_MAX).unwrap_or(i64::MAX);
                let sealed = seals::seal_next(&mut tx, connector, limit).await?;
                tx.commit().await?;
                all += sealed;
                if sealed < ACTS_MAX {
                    break;
                }
            }
        }
        Ok(format!("sealed {all} acts"))
    }
}
