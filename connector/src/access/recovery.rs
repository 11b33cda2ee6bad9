//! Asks AWS what was made and removed in the time that the database has forgotten.
//!
//! Nothing comes of it by itself: AWS does not tell who asked for a change, so what is ours among
//! them is for people to say.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    mechanisms::MECHANISMS,
    step::{Ground, renew_if_ended},
};
use crate::{
    aws::ApiError,
    model::{failure::Lane, recovery::Change},
    store::{self, recovery},
};

/// What the database was seen last before may be so much older: time-outs, and clocks that differ.
const MARGIN: TimeDelta = TimeDelta::minutes(15);

/// Stores what AWS tells of an instance, or why it does not.
pub(super) async fn report(ground: &Ground, since: DateTime<Utc>) -> store::Result<()> {
    let Ground { engine, held, .. } = ground;
    match changes(ground, since - MARGIN).await {
        Ok(changes) => {
            let mut tx = engine.db.begin().await?;
            recovery::report(&mut tx, held, &changes).await?;
            tx.commit().await
        }
        Err(error) => {
            renew_if_ended(ground, &error).await;
            let mut conn = engine.db.conn().await?;
            recovery::failed(&mut conn, held, &error.to_string()).await
        }
    }
}

async fn changes(ground: &Ground, since: DateTime<Utc>) -> Result<Vec<Change>, ApiError> {
    let mut changes = Vec::new();
    for mechanism in MECHANISMS {
        changes.extend(mechanism.changes(&ground.site, since, Lane::Reconcile).await?);
    }
    Ok(changes)
}
