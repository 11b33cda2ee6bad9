//! Notices when the database is not the one that was written last.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tracing::error;

use super::Task;
use crate::{
    base::chain::Chain,
    store::{
        self, Db,
        memory::{self, Doubt, Memory},
    },
};

/// Looks which database it is.
pub struct DatabaseMemory {
    /// The database.
    pub db: Db,
    /// Whether a server that takes over has forgotten nothing.
    pub trusts_failover: bool,
    /// When the database was seen last.
    pub seen_at: Option<DateTime<Utc>>,
}

#[async_trait]
impl Task for DatabaseMemory {
    fn name(&self) -> &'static str {
        "database_memory"
    }

    fn description(&self) -> &'static str {
        "notices when the database was restored, or another server took over"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn activate(&mut self) -> Result<String, String> {
        let looked = look(&self.db, self.trusts_failover, self.seen_at).await;
        let (memory, seen_at) = looked.map_err(|error| Chain(&error).to_string())?;
        self.seen_at = Some(seen_at);
        Ok(match memory {
            Memory::Kept => "the database is the one that was written last".to_owned(),
            Memory::Lost(connectors) => {
                format!("the database is another one; {connectors} connectors are recovering")
            }
        })
    }
}

/// Looks once, and says it aloud when the database is another one.
///
/// # Errors
///
/// When the database does not answer.
pub async fn look(
    db: &Db,
    trusts_failover: bool,
    seen_at: Option<DateTime<Utc>>,
) -> store::Result<(Memory, DateTime<Utc>)> {
    let mut tx = db.begin().await?;
    let (memory, seen_at) = memory::look(&mut tx, trusts_failover, seen_at).await?;
    tx.commit().await?;
    if let Memory::Lost(connectors) = memory {
        say(connectors);
    }
    Ok((memory, seen_at))
}

/// Doubts what the database remembers since a time, because somebody says so.
///
/// # Errors
///
/// When the database does not answer.
pub async fn doubt(db: &Db, since: DateTime<Utc>) -> store::Result<()> {
    let mut tx = db.begin().await?;
    let cause = "the daemon was started with --recovering";
    let doubt = Doubt { cause, remembered_until: Some(since) };
    let connectors = memory::doubt(&mut tx, doubt).await?;
    tx.commit().await?;
    say(connectors);
    Ok(())
}

fn say(connectors: usize) {
    error!(
        "the database may have forgotten what was granted: no access is given or taken away for {connectors} connectors; see `apono-connector recovery`"
    );
}
