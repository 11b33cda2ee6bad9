//! A lease as calls see it: until when they may be made.
//!
//! AWS knows nothing of leases. So whoever calls under one looks at it before every attempt, also
//! those that the SDK makes by itself, and gives each no more time than is left. What was sent
//! by then may still arrive; whoever takes over allows for that.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The lease has run out, or was given up: nothing was sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the lease under which AWS is called was lost")]
pub struct Lost;

/// Until when calls may be made. Clones share it.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Mutex<Instant>>);

impl Lease {
    /// A lease that was taken by an answer to a question of `asked`, for so long.
    #[must_use]
    pub fn new(asked: Instant, length: Duration) -> Self {
        Self(Arc::new(Mutex::new(asked + length)))
    }

    /// It was extended, by an answer to a question of `asked`.
    pub fn extend(&self, asked: Instant, length: Duration) {
        *self.until() = asked + length;
    }

    /// It is not ours any more.
    pub fn give_up(&self) {
        *self.until() = Instant::now();
    }

    /// What is left of it.
    ///
    /// # Errors
    ///
    /// When nothing is.
    pub fn remaining(&self) -> Result<Duration, Lost> {
        let left = self.until().saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Lost) } else { Ok(left) }
    }

    fn until(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_by_time_or_when_it_is_given_up() {
        let lease = Lease::new(Instant::now(), Duration::from_mins(1));
        assert!(lease.remaining().is_ok_and(|left| left > Duration::from_secs(50)));
        lease.give_up();
        assert!(lease.remaining().is_err());
        lease.extend(Instant::now(), Duration::from_mins(1));
        assert!(lease.remaining().is_ok());
        // The answer came later than the lease lasts.
        let now = Instant::now();
        if let Some(asked) = now.checked_sub(Duration::from_secs(20)) {
            lease.extend(asked, Duration::from_secs(10));
            assert!(lease.remaining().is_err());
        }
    }
}
