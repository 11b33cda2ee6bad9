//! Removes what nobody will ask for any more.

use std::time::Duration;

use async_trait::async_trait;

use super::Task;
use crate::{
    aws::Aws,
    base::chain::Chain,
    model::integration::AUDIT_RETENTION_DEFAULT,
    store::{self, Db},
};

/// Rows that one transaction removes: a purge holds up no sync for long.
const ROWS_MAX: i64 = 5_000;

/// How long what has ended is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Resources that have gone, and with them what a follower of changes may have missed.
    pub gone_resources: Duration,
    /// What resources were before they changed or went.
    pub history: Duration,
    /// Syncs that have ended.
    pub syncs: Duration,
    /// Problems that were resolved.
    pub problems: Duration,
}

/// Tidies up.
pub struct Janitor {
    /// The database.
    pub db: Db,
    /// AWS, for ended sessions and idle budgets.
    pub aws: Aws,
    /// How long what has ended is kept.
    pub retention: Retention,
}

#[async_trait]
impl Task for Janitor {
    fn name(&self) -> &'static str {
        "janitor"
    }

    fn description(&self) -> &'static str {
        "removes answered validations, groups of ended syncs, ended role sessions, and what is older than its retention"
    }

    fn period(&self) -> Duration {
        Duration::from_mins(1)
    }

    async fn activate(&mut self) -> Result<String, String> {
        self.aws.forget_idle();
        self.purge().await.map_err(|error| Chain(&error).to_string())
    }
}

impl Janitor {
    async fn purge(&self) -> store::Result<String> {
        let mut conn = self.db.conn().await?;
        store::audit_events::make_room(&mut conn).await?;
        let validations =
            store::validations::purge(&mut conn).await? + store::lookups::purge(&mut conn).await?;
        let groups = store::groups::purge(&mut conn).await?;
        let syncs = store::syncs::purge(&mut conn, self.retention.syncs).await?;
        let problems = store::problems::purge(&mut conn, self.retention.problems).await?;
        let Retention { gone_resources, history, .. } = self.retention;
        let (mut gone, mut versions, mut events) = (0, 0, 0);
        loop {
            let purged = store::feeds::purge(&mut conn, gone_resources, ROWS_MAX).await?;
            let ended = store::history::purge(&mut conn, history, ROWS_MAX).await?;
            let told = AUDIT_RETENTION_DEFAULT;
            let told = store::audit_events::purge(&mut conn, told, ROWS_MAX).await?;
            gone += purged;
            versions += ended;
            events += told;
            if i64::try_from(purged.max(ended).max(told)).unwrap_or_default() < ROWS_MAX {
                break;
            }
        }
        Ok(format!(
            "removed {validations} validations, {groups} groups of ended syncs, {syncs} syncs, {problems} problems, {gone} resources that had gone, {versions} versions of resources and {events} audited calls"
        ))
    }
}
