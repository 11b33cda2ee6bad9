//! What the tests stand on.

mod aws;
mod client;
mod daemon;
mod database;

pub use aws::{Cloud, HUB_ROLE_ARN, TEMPLATE, bucket, instance, tags};
pub use client::{Api, settings_for};
pub use daemon::{Daemon, Options};
pub use database::Database;

use std::{future::Future, time::Duration};

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until there is an answer.
///
/// # Panics
///
/// When none comes.
pub async fn wait_for<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            connector::base::clock::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(found) => found,
        Err(_) => panic!("{what} did not come within {PATIENCE:?}"),
    }
}
