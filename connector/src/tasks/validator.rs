//! Tries settings in AWS for callers who wait for the answer.

use std::time::Duration;

use async_trait::async_trait;

use super::Task;
use crate::{
    aws::Aws,
    base::{chain::Chain, chance},
    privileges::preflight,
    store::{self, Db, validations::Findings},
};

/// The longest that a validation takes; after that another replica takes it over.
const LEASE: Duration = Duration::from_mins(2);

/// Does the validations that are asked for.
pub struct Validator {
    /// The database.
    pub db: Db,
    /// AWS.
    pub aws: Aws,
}

#[async_trait]
impl Task for Validator {
    fn name(&self) -> &'static str {
        "validator"
    }

    fn description(&self) -> &'static str {
        "tries settings of integrations in AWS"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn activate(&mut self) -> Result<String, String> {
        let done = self.validate_all().await.map_err(|error| Chain(&error).to_string())?;
        Ok(format!("did {done} validations"))
    }
}

impl Validator {
    async fn validate_all(&self) -> store::Result<usize> {
        let mut done = 0;
        loop {
            let mut conn = self.db.conn().await?;
            let leased = store::validations::lease(&mut conn, chance::uuid(), LEASE).await?;
            drop(conn);
            let Some(leased) = leased else {
                return Ok(done);
            };
            let tried = preflight::run(&self.aws, &leased.connector, &leased.settings);
            let Ok(found) = tokio::time::timeout(LEASE, tried).await else {
                continue;
            };
            let findings = Findings { steps: found.steps, pins: found.pins };
            let mut conn = self.db.conn().await?;
            store::validations::finish(&mut conn, &leased, &findings).await?;
            done += 1;
        }
    }
}
