//! The host's time, and waiting.
//!
//! Deadlines that must survive a restart are asked of the database
//! (`connector.now()`); this clock serves what lives and dies with the process:
//! credentials, log lines, waits.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// The host's wall clock, in UTC.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
#[must_use]
pub fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until a moment of the runtime's clock.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub async fn sleep_until(moment: Instant) {
    tokio::time::sleep_until(moment).await;
}
