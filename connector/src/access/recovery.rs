//! Asks AWS what was made and removed in the time that the database has forgotten.
//!
//! Nothing comes of it by itself: AWS does not tell who asked for a change, so what is ours among
//! them is for people to say.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    mechanisms,
    step::{Ground, renew_if_ended},
};
use crate::{
    aws::ApiError,
    model::{failure::Lane, recovery::Change},
    store::{
        self,
        recovery::{self, Told, Wanted},
    },
};

/// What the database was seen last before may be so much older: time-outs, and clocks that differ.
const MARGIN: TimeDelta = TimeDelta::minutes(15);

/// Stores what AWS tells of an instance, or why it does not.
pub(super) async fn report(ground: &Ground, wanted: &Wanted) -> store::Result<()> {
    let Ground { engine, held, .. } = ground;
    let settling = TimeDelta::from_std(engine.config.settling).unwrap_or_default();
    let settled = wanted.since + settling;
    let told = match changes(ground, wanted.remembered_until - MARGIN, settled).await {
        Ok(changes) => Told::Whole(changes),
        Err(error) => {
            renew_if_ended(ground, &error).await;
            Told::Not(error.to_string())
        }
    };
    let mut tx = engine.db.begin().await?;
    recovery::report(&mut tx, held, wanted, &told, settled).await?;
    tx.commit().await
}

/// What was changed in a time: of each object the last change alone.
async fn changes(
    ground: &Ground,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<Change>, ApiError> {
    let mut last: BTreeMap<String, Change> = BTreeMap::new();
    for kind in mechanisms::kinds() {
        for change in kind.changes(&ground.site, since, Lane::Reconcile).await? {
            let key = format!("{} {}", change.mechanism, change.key);
            // What came later is not ours: we do nothing.
            let is_last = last.get(&key).is_none_or(|known| known.at <= change.at);
            if is_last && change.at <= until {
                last.insert(key, change);
            }
        }
    }
    Ok(last.into_values().collect())
}
