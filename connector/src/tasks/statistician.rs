//! Keeps the statistics of fast-growing tables fresh, so that a first sync of thousands of
//! accounts is not planned as if the tables were still empty.

use std::time::Duration;

use async_trait::async_trait;

use super::Task;
use crate::{
    base::chain::Chain,
    store::{self, Db},
};

/// Has grown tables counted.
pub struct Statistician {
    /// The database.
    pub db: Db,
}

#[async_trait]
impl Task for Statistician {
    fn name(&self) -> &'static str {
        "statistician"
    }

    fn description(&self) -> &'static str {
        "has PostgreSQL count tables that have more than doubled"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn activate(&mut self) -> Result<String, String> {
        let counted = self.renew().await.map_err(|error| Chain(&error).to_string())?;
        Ok(format!("{counted} tables were counted"))
    }
}

impl Statistician {
    async fn renew(&self) -> store::Result<i64> {
        store::statistics::renew(&mut *self.db.conn().await?).await
    }
}
