//! What the tests stand on.

mod aws;
mod client;
mod daemon;
mod database;

pub(crate) use aws::{Cloud, TEMPLATE, bucket, instance};
pub(crate) use client::{Api, settings_for, settings_with_every_type};
pub(crate) use daemon::{Daemon, Options, short_directory};
pub(crate) use database::Database;

use std::{future::Future, time::Duration};

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_mins(1);

/// Looks again and again until there is an answer.
///
/// # Panics
///
/// When none comes.
pub(crate) async fn wait_for<T, F: Future<Output = Option<T>>>(
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
        Err(elapsed) => panic!("{what} did not come: {elapsed}"),
    }
}
