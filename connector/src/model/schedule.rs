//! When the next sync is due.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The share of the interval over which starts are spread, so that integrations
/// that were created together do not crawl together for ever.
const JITTER_SHARE: f64 = 0.1;

/// The due time after a sync that was planned at `planned`: an interval later, up to
/// a tenth of it earlier, by `chance` (0 up to 1).
///
/// Missed periods do not add up: the next due time counts from the sync that was
/// really planned, so a daemon that was down for three periods runs one sync.
#[must_use]
pub fn next_due(planned: DateTime<Utc>, interval: Duration, chance: f64) -> DateTime<Utc> {
    planned + interval.mul_f64(1.0 - JITTER_SHARE * chance)
}

/// The due time after the interval was changed at `now`: what the new interval makes
/// of the last plan, so that a shorter one applies at once and is never in the past.
#[must_use]
pub fn due_after_change(
    last_planned: Option<DateTime<Utc>>,
    interval: Duration,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    last_planned.map_or(now, |planned| (planned + interval).max(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(hours * 3600, 0).expect("a time")
    }

    #[test]
    fn due_times_spread_over_the_last_tenth_of_the_interval() {
        assert_eq!(next_due(at(0), HOUR, 0.0), at(1));
        let earliest = next_due(at(0), HOUR, 0.999_999);
        assert!(earliest > at(1) - Duration::from_secs(361) && earliest < at(1));
    }

    #[test]
    fn a_shorter_interval_applies_at_once() {
        assert_eq!(due_after_change(Some(at(0)), HOUR, at(3)), at(3));
        assert_eq!(due_after_change(Some(at(2)), 2 * HOUR, at(3)), at(4));
        assert_eq!(due_after_change(None, HOUR, at(3)), at(3));
    }
}
