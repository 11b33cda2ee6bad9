//! Wakes a background task without telling it anything.
//!
//! A poke carries no input by design: with input there would be two ways into a
//! task, one that knows a hint and one after a restart that does not, and the
//! second would never be tried. A woken task reads again what is due.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

/// A handle that wakes one task. Clones wake the same task.
#[derive(Clone, Debug, Default)]
pub struct Activator(Arc<Notify>);

impl Activator {
    /// Wakes the task now, or at once when it next waits. Never blocks.
    pub fn poke(&self) {
        self.0.notify_one();
    }

    /// Waits for a poke, at most for `period`.
    pub async fn wait(&self, period: Duration) {
        // Both ends mean the same: look again.
        let _ = tokio::time::timeout(period, self.0.notified()).await;
    }
}
