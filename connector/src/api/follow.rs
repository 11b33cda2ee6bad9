//! Sends something as it is, then each change of it, until it is over or nobody listens.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Api, auth::Caller};
use crate::base::clock;

/// From one look to the next.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// Changes that wait for a slow follower.
const CHANGES_WAITING_MAX: usize = 4;

/// Something that can be followed.
#[tonic::async_trait]
pub(super) trait Followed: Clone + PartialEq + Send + Sync + Sized + 'static {
    /// What is sent of it.
    type Message: Send + 'static;

    /// As it is now.
    async fn again(&self, api: &Api) -> Result<Self, Status>;

    /// Whether nothing will change any more.
    fn is_over(&self) -> bool;

    /// The message that tells it.
    fn message(&self) -> Self::Message;
}

impl Api {
    /// Follows from a first look on, in the background.
    pub(super) fn follow<T: Followed>(
        &self,
        caller: Caller,
        first: T,
    ) -> ReceiverStream<Result<T::Message, Status>> {
        let (changes, stream) = mpsc::channel(CHANGES_WAITING_MAX);
        let api = self.clone();
        tokio::spawn(async move { api.send_changes(&caller, first, &changes).await });
        ReceiverStream::new(stream)
    }

    async fn send_changes<T: Followed>(
        &self,
        caller: &Caller,
        first: T,
        changes: &mpsc::Sender<Result<T::Message, Status>>,
    ) {
        let mut now = first;
        loop {
            if changes.send(Ok(now.message())).await.is_err() || now.is_over() {
                return;
            }
            tokio::select! {
                next = self.changed(caller, &now) => match next {
                    Ok(next) => now = next,
                    Err(error) => {
                        // Nobody may be listening any more; either way it is the end.
                        let _ = changes.send(Err(error)).await;
                        return;
                    }
                },
                () = self.stopper.stopping() => {
                    let _ = changes.send(Err(Status::unavailable("the daemon stops; watch again"))).await;
                    return;
                }
                () = changes.closed() => return,
            }
        }
    }

    /// Looks again and again until it has changed.
    async fn changed<T: Followed>(&self, caller: &Caller, now: &T) -> Result<T, Status> {
        loop {
            clock::sleep(BETWEEN_LOOKS).await;
            caller.go_on(&mut *self.conn().await?).await?;
            match now.again(self).await {
                Ok(next) if next == *now => {}
                other => return other,
            }
        }
    }
}
