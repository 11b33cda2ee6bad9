//! The simulator's time: the host's, moved by as much as a test wants.

use chrono::{DateTime, TimeDelta, Utc};

/// A clock that can be moved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    offset: TimeDelta,
}

impl Clock {
    /// Now.
    #[expect(clippy::disallowed_methods, reason = "the simulator's only look at the host's clock")]
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::<Utc>::from(std::time::SystemTime::now()) + self.offset
    }

    /// Moves it forward (or back).
    pub fn advance(&mut self, by: TimeDelta) {
        self.offset += by;
    }
}
