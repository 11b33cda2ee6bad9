//! Tries settings in AWS for callers who wait for the answer.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tracing::warn;

use super::Task;
use crate::{
    aws::Aws,
    base::{chain::Chain, chance},
    model::{ids::ConnectorId, validation::Step},
    privileges::preflight,
    store::{
        self, Db,
        validations::{Findings, Leased},
    },
};

/// The longest that a validation may take. The walk of ten thousand accounts at our share
/// of the published rates takes most of it.
const VALIDATION_MAX: Duration = Duration::from_mins(15);
/// After that another replica takes it over.
const LEASE: Duration = Duration::from_mins(16);
/// Validations that run at once, so that a large organization does not hold up others.
const AT_ONCE: usize = 8;

/// Does the validations that are asked for.
pub struct Validator {
    /// The database.
    pub db: Db,
    /// AWS.
    pub aws: Aws,
    /// The connectors that this daemon hosts.
    pub connectors: Arc<[ConnectorId]>,
    /// The validations that run.
    pub running: JoinSet<()>,
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
        while self.running.try_join_next().is_some() {}
        let started = self.start_all().await.map_err(|error| Chain(&error).to_string())?;
        Ok(format!("started {started} validations, {} run", self.running.len()))
    }
}

impl Validator {
    async fn start_all(&mut self) -> store::Result<usize> {
        let mut started = 0;
        while self.running.len() < AT_ONCE {
            let mut conn = self.db.conn().await?;
            let token = chance::uuid();
            let leased =
                store::validations::lease(&mut conn, &self.connectors, token, LEASE).await?;
            drop(conn);
            let Some(leased) = leased else { break };
            self.running.spawn(validate(self.db.clone(), self.aws.clone(), leased));
            started += 1;
        }
        Ok(started)
    }
}

async fn validate(db: Db, aws: Aws, leased: Leased) {
    let findings = match tokio::time::timeout(VALIDATION_MAX, steps(&aws, &leased)).await {
        Ok(findings) => findings,
        Err(elapsed) => {
            let remedy =
                "Try again; if it stays, raise aws.rate_share for the organization's size.";
            let step = Step::failed("IN_TIME", elapsed.to_string(), remedy);
            Findings { steps: vec![step], pins: None }
        }
    };
    let stored = async {
        let mut conn = db.conn().await?;
        store::validations::finish(&mut conn, &leased, &findings).await
    };
    if let Err(error) = stored.await {
        warn!(error = %Chain(&error), "failed to store a validation; it is tried again");
    }
}

async fn steps(aws: &Aws, leased: &Leased) -> Findings {
    let (step, identity) = preflight::own_identity(aws, &leased.settings.region).await;
    let mut steps = vec![step];
    let pins = match identity {
        Some(identity) => {
            let report = &mut |step| steps.push(step);
            preflight::run(aws, &leased.connector, &leased.settings, &identity, report).await
        }
        None => None,
    };
    Findings { steps, pins }
}
