//! How long to wait before trying again.

use std::time::Duration;

use super::chance;

/// Exponential back-off between two bounds, with full jitter.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest first wait.
    pub first: Duration,
    /// The longest wait ever.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (1: the first): between half
    /// of the exponential value and all of it.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.max);
        ceiling.mul_f64(0.5 + chance::fraction() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_maximum_and_never_beyond() {
        let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_mins(1) };
        for failures in 1..100 {
            let wait = backoff.after(failures);
            let ceiling =
                Duration::from_mins(1).min(Duration::from_secs(1 << failures.min(7) >> 1));
            assert!(wait <= ceiling, "{failures} failures: {wait:?}");
            assert!(wait * 2 >= ceiling, "{failures} failures: {wait:?}");
        }
    }
}
