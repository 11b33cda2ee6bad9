//! Removes what nobody will ask for any more.

use std::time::Duration;

use async_trait::async_trait;

use super::Task;
use crate::{
    aws::Aws,
    base::chain::Chain,
    store::{self, Db},
};

/// Tidies up.
pub struct Janitor {
    /// The database.
    pub db: Db,
    /// AWS, for ended sessions and idle budgets.
    pub aws: Aws,
}

#[async_trait]
impl Task for Janitor {
    fn name(&self) -> &'static str {
        "janitor"
    }

    fn description(&self) -> &'static str {
        "removes answered validations, groups of ended syncs, ended role sessions"
    }

    fn period(&self) -> Duration {
        Duration::from_mins(1)
    }

    async fn activate(&mut self) -> Result<String, String> {
        self.aws.forget_idle();
        let purge = async {
            let mut conn = self.db.conn().await?;
            let validations = store::validations::purge(&mut conn).await?;
            Ok((validations, store::groups::purge(&mut conn).await?))
        };
        let (validations, groups) =
            purge.await.map_err(|error: store::Error| Chain(&error).to_string())?;
        Ok(format!("removed {validations} validations and {groups} groups of ended syncs"))
    }
}
