//! Notes access that does not get on as a problem of its integration, until it does; and that nothing
//! is done, while the database is in doubt.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::Task;
use crate::{
    base::chain::Chain,
    model::{
        failure::ReasonCode,
        ids::ConnectorId,
        problem::{EXAMPLES_MAX, Folded},
    },
    store::{
        self, Db,
        backlog::{self, Stuck},
        problems::{self, Finder},
    },
};

/// What gets on within this time is no problem: AWS throttles, and conflicts pass.
const LONGER_THAN: Duration = Duration::from_mins(1);

/// Looks how access gets on.
pub struct StuckAccess {
    /// The database.
    pub db: Db,
    /// The connectors that this daemon hosts.
    pub connectors: Arc<[ConnectorId]>,
}

#[async_trait]
impl Task for StuckAccess {
    fn name(&self) -> &'static str {
        "stuck_access"
    }

    fn description(&self) -> &'static str {
        "notes access that is not given, or not taken away, as a problem"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn activate(&mut self) -> Result<String, String> {
        self.note().await.map_err(|error| Chain(&error).to_string())
    }
}

impl StuckAccess {
    async fn note(&self) -> store::Result<String> {
        let mut conn = self.db.conn().await?;
        let connectors = &self.connectors;
        let found =
            backlog::stuck_by_integration(&mut conn, connectors, LONGER_THAN, EXAMPLES_MAX).await?;
        let stuck = found.iter().filter(|stuck| stuck.count > 0).count();
        for Stuck { connector, integration, count, examples, is_recovering } in found {
            let subject = String::new();
            let code = ReasonCode::AccessStuck;
            let stuck = Folded { code, subject: subject.clone(), count, examples };
            let code = ReasonCode::AccessRecovering;
            let recovering = Folded { code, subject, count: 1, examples: Vec::new() };
            let both = [(stuck, count > 0), (recovering, is_recovering)];
            let problems = both.into_iter().filter_map(|(problem, is_so)| is_so.then_some(problem));
            let problems: Vec<Folded> = problems.collect();
            let whole = (Finder::Access, true);
            problems::replace(&mut conn, &connector, integration, whole, &problems).await?;
        }
        Ok(format!("access of {stuck} integrations does not get on"))
    }
}
