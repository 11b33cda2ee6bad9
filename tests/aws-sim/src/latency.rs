//! How long answers take: as long as the network and the service would.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// The longest answer, in medians.
const MEDIANS_MAX: f64 = 20.0;

/// A distribution of latencies: log-normal, as services have it, with a long tail.
#[derive(Debug)]
pub struct Latency {
    median: Duration,
    /// Standard deviation of the logarithm; 0: every answer takes the median.
    spread: f64,
    chance: StdRng,
}

impl Latency {
    /// Every answer takes equally long.
    #[must_use]
    pub fn fixed(latency: Duration) -> Self {
        Self::spread(latency, 0.0, 0)
    }

    /// Half of the answers take longer than the median. A spread of 0.5 puts the
    /// slowest hundredth at about three medians. The seed makes a run repeatable.
    #[must_use]
    pub fn spread(median: Duration, spread: f64, seed: u64) -> Self {
        Self { median, spread, chance: StdRng::seed_from_u64(seed) }
    }

    /// How long the next answer takes.
    pub(crate) fn draw(&mut self) -> Duration {
        // Twelve even chances make a normal one, near enough.
        let normal = (0..12).map(|_| self.chance.random::<f64>()).sum::<f64>() - 6.0;
        self.median.mul_f64((self.spread * normal).exp().min(MEDIANS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_answers_take_longer_than_the_median_and_few_much_longer() {
        let median = Duration::from_millis(50);
        let mut latency = Latency::spread(median, 0.5, 1);
        let drawn: Vec<Duration> = (0..10_000).map(|_| latency.draw()).collect();
        let longer = drawn.iter().filter(|drawn| **drawn > median).count();
        assert!((4_800..5_200).contains(&longer), "{longer}");
        let much = drawn.iter().filter(|drawn| **drawn > 3 * median).count();
        assert!((50..250).contains(&much), "{much}");
        assert_eq!(Latency::fixed(median).draw(), median);
    }
}
