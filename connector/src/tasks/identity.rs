//! Finds out who we are to AWS, and notices when that changes.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;

use super::Task;
use crate::{
    aws::{
        Aws,
        identity::{self, Identity},
    },
    base::chain::Chain,
};

/// Asks STS for our identity.
pub struct OwnIdentity {
    /// AWS.
    pub aws: Aws,
    /// Where callers read it.
    pub identity: Arc<ArcSwapOption<Identity>>,
}

#[async_trait]
impl Task for OwnIdentity {
    fn name(&self) -> &'static str {
        "own_identity"
    }

    fn description(&self) -> &'static str {
        "asks STS which AWS identity this daemon has"
    }

    fn period(&self) -> Duration {
        Duration::from_mins(5)
    }

    async fn activate(&mut self) -> Result<String, String> {
        let Some(region) = self.aws.own_region() else {
            return Err("no region is known; set AWS_REGION".to_owned());
        };
        let found =
            identity::own(&self.aws, &region).await.map_err(|error| Chain(&error).to_string())?;
        let words = format!("we are {}", found.arn);
        self.identity.store(Some(Arc::new(found)));
        Ok(words)
    }
}
