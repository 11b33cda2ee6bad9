//! The wish to stop: a first one to finish what is begun, a second one to leave.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tells every part of the daemon when to stop. Clones share the wish.
#[derive(Clone, Debug, Default)]
pub struct Stopper {
    drain: CancellationToken,
    leave: CancellationToken,
}

impl Stopper {
    /// Stops by signals: the first `SIGTERM` or `SIGINT` drains, the second leaves.
    ///
    /// # Errors
    ///
    /// When the process cannot listen to signals.
    pub fn on_signals() -> io::Result<Self> {
        let stopper = Self::default();
        let (mut term, mut int) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let on_signal = stopper.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
                on_signal.stop();
            }
        });
        Ok(stopper)
    }

    /// Asks to stop; asked twice, to leave at once.
    pub fn stop(&self) {
        if self.drain.is_cancelled() {
            self.leave.cancel();
        }
        self.drain.cancel();
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Ends when somebody asked to stop.
    pub async fn stopping(&self) {
        self.drain.cancelled().await;
    }

    /// Ends when somebody asked a second time.
    pub async fn leaving(&self) {
        self.leave.cancelled().await;
    }
}
