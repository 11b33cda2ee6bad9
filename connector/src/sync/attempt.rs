//! Tries a read of AWS again where that can help: after a failure that may pass, and
//! with fresh credentials when AWS says that they have ended.

use std::time::Duration;

use tracing::debug;

use super::Error;
use crate::{
    aws::Access,
    base::{backoff::Backoff, chain::Chain, clock},
    model::failure::{Failure, ReasonCode},
};

/// Tries of one read, above those that the SDK makes of each call.
const TRIES_MAX: u32 = 3;
const BETWEEN_TRIES: Backoff =
    Backoff { first: Duration::from_millis(500), max: Duration::from_secs(10) };

/// Gets credentials and reads; gives up after [`TRIES_MAX`] tries, or at once when the
/// same read would fail again.
pub(super) async fn attempt<T, Read: Future<Output = Result<T, Error>>>(
    access: &Access,
    read: impl Fn() -> Read,
) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        let opened = access.open().await.map_err(Error::from);
        let result = match opened {
            Ok(()) => read().await,
            Err(error) => Err(error),
        };
        let error = match result {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let Failure::Retry { after } = error.failure() else { return Err(error) };
        if tries == TRIES_MAX {
            return Err(error);
        }
        if error.reason("").is_some_and(|reason| reason.code == ReasonCode::CredentialsExpired) {
            access.renew().await;
        }
        debug!(error = %Chain(&error), "trying a read again");
        clock::sleep(after.unwrap_or_default().max(BETWEEN_TRIES.after(tries))).await;
        tries += 1;
    }
}
