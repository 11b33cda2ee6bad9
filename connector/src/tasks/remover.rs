//! Removes integrations whose access is gone.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tracing::info;

use super::Task;
use crate::{
    base::{activator::Activator, chain::Chain},
    model::ids::ConnectorId,
    store::{
        self, Db,
        acts::{self, New},
        integrations::Integration,
        wishes::{self, Whose},
    },
};

/// Ends the removal of integrations.
pub struct Remover {
    /// The database.
    pub db: Db,
    /// The connectors that this daemon hosts.
    pub connectors: Arc<[ConnectorId]>,
    /// Wakes the engine of access.
    pub wishes: Activator,
}

#[async_trait]
impl Task for Remover {
    fn name(&self) -> &'static str {
        "remover"
    }

    fn description(&self) -> &'static str {
        "removes integrations that are being deleted, once nothing of ours is left in AWS"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn activate(&mut self) -> Result<String, String> {
        self.remove_all().await.map_err(|error| Chain(&error).to_string())
    }
}

impl Remover {
    async fn remove_all(&self) -> store::Result<String> {
        let mut conn = self.db.conn().await?;
        let deleting = store::integrations::deleting(&mut conn, &self.connectors).await?;
        drop(conn);
        let all = deleting.len();
        let mut removed = 0;
        for integration in deleting {
            self.revoke_all(&integration).await?;
            removed += usize::from(self.remove(&integration).await?);
        }
        Ok(format!("removed {removed} integrations of {all} that are being deleted"))
    }

    /// Ends all grants that are still live in one.
    async fn revoke_all(&self, found: &Integration) -> store::Result<()> {
        let Integration { connector, id, .. } = found;
        let whose = Whose { integration: Some(*id), ..Whose::default() };
        let mut conn = self.db.conn().await?;
        let live = wishes::live(&mut conn, connector, &whose).await?;
        drop(conn);
        for grant in live {
            let mut tx = self.db.begin().await?;
            wishes::lock_id(&mut tx, connector, &grant).await?;
            let Some(locked) = store::grants::lock(&mut tx, connector, &grant).await? else {
                continue;
            };
            if !wishes::revoke(&mut tx, connector, &locked).await? {
                continue;
            }
            let (verb, actor) = ("REVOKED", acts::CONNECTOR);
            let detail = "its integration is being deleted";
            let act = New { grant: &grant, verb, actor, object: "", detail };
            acts::note(&mut tx, connector, act).await?;
            tx.commit().await?;
            self.wishes.poke();
        }
        Ok(())
    }

    /// Removes one if nothing of it is left in AWS. Whether it is gone.
    async fn remove(&self, found: &Integration) -> store::Result<bool> {
        let Integration { connector, id, settings, .. } = found;
        let mut tx = self.db.begin().await?;
        store::syncs::cancel_open(&mut tx, connector, *id, None, "deleted").await?;
        store::integrations::lock(&mut tx, connector, *id).await?;
        let left = store::backlog::open(&mut tx, connector, *id).await?
            + store::backlog::restless(&mut tx, connector, *id).await?;
        // What the database may have forgotten is not gone.
        if left > 0 || store::memory::is_recovering(&mut tx, connector).await? {
            return Ok(false);
        }
        let gone = store::integrations::delete(&mut tx, connector, *id, None).await?;
        let (verb, actor) = ("INTEGRATION_DELETED", acts::CONNECTOR);
        let act = New { verb, actor, object: &settings.name, ..New::default() };
        acts::note(&mut tx, connector, act).await?;
        tx.commit().await?;
        info!(integration.id = %id, "integration {} was deleted; its access is gone", settings.name);
        Ok(gone)
    }
}
