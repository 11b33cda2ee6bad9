//! Takes a changed database password from its file, for the connections to come.

use std::time::Duration;

use async_trait::async_trait;

use super::Task;
use crate::{
    base::chain::Chain,
    store::{Config, Db},
};

/// Watches `database.password_file`.
pub struct DatabasePassword {
    /// The database.
    pub db: Db,
    /// How it was connected, with the file's path.
    pub config: Config,
}

#[async_trait]
impl Task for DatabasePassword {
    fn name(&self) -> &'static str {
        "database_password"
    }

    fn description(&self) -> &'static str {
        "takes a changed database password from its file"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn activate(&mut self) -> Result<String, String> {
        let unreadable = |error| format!("database.password_file: {}", Chain(&error));
        if self.config.read_password().map_err(unreadable)? {
            self.db.connect_from_now_on(&self.config);
            return Ok("took a new password".to_owned());
        }
        Ok("nothing has changed".to_owned())
    }
}
