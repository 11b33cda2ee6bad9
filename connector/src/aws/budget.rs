//! Budgets: how often we may call, so that a crawl never takes from the customer's
//! own workload what it needs.
//!
//! AWS counts calls in token buckets per account, region and API. We keep to a share
//! of the published rate, and to less as soon as AWS asks to slow down: the rate is
//! multiplied by 0.7, then grows back quickly to just below the rate that was too much,
//! and slowly beyond it, since the customer's workload may have taken the rest. More
//! calls than that only buy more throttles.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::model::failure::Lane;

/// What a throttle leaves of the rate.
const BACK_OFF: f64 = 0.7;
/// Calls per second that are always left.
const RATE_MIN: f64 = 0.5;
/// Throttles of calls that were under way together count once.
const THROTTLES_TOGETHER: Duration = Duration::from_millis(500);
/// Up to this share of the rate that was too much, the way back is quick.
const QUICK_SHARE: f64 = 0.85;
/// The share of the ceiling that comes back with each calm second, quickly.
const QUICK_RECOVERY: f64 = 0.05;
/// The same beyond.
const SLOW_RECOVERY: f64 = 0.005;

/// Whose budget: calls of different accounts never wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// Account id; empty: our own identity.
    pub id: String,
    /// Region.
    pub region: String,
    /// Service, as IAM writes it: `ec2`.
    pub service: &'static str,
}

/// A published rate: calls per second, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    per_second: f64,
    burst: f64,
}

/// Published rates. Organizations counts each API by itself and per organization;
/// the numbers are those of its quota page. EC2 lets its describing calls refill at
/// 20/s; STS takes 600/s; the others publish nothing, so 20/s is our own caution.
fn published(service: &str, operation: Option<&str>) -> Rate {
    let (per_second, burst) = match (service, operation) {
        ("organizations", Some("ListAccounts")) => (8.0, 12.0),
        ("organizations", Some("ListTagsForResource")) => (10.0, 15.0),
        ("organizations", Some("ListAccountsForParent" | "ListOrganizationalUnitsForParent")) => {
            (5.0, 8.0)
        }
        ("organizations", _) => (1.0, 2.0),
        ("ec2", _) => (20.0, 100.0),
        ("sts", _) => (600.0, 600.0),
        ("s3", _) => (100.0, 100.0),
        _ => (20.0, 20.0),
    };
    Rate { per_second, burst }
}

/// All budgets of the process.
#[derive(Debug)]
pub struct Budgets {
    share: f64,
    buckets: Mutex<HashMap<BucketKey, Arc<Bucket>>>,
}

/// An account, and the operation where a service counts each by itself.
type BucketKey = (Account, Option<String>);

impl Budgets {
    /// Budgets at a share of the published rates (more than 0, at most 1).
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self { share, buckets: Mutex::default() }
    }

    /// The bucket that a call counts against.
    pub fn bucket(&self, account: &Account, operation: Option<&str>) -> Arc<Bucket> {
        let operation = operation.filter(|_| account.service == "organizations");
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket =
            buckets.entry((account.clone(), operation.map(str::to_owned))).or_insert_with(|| {
                // It shows from the first call on, whether AWS slows it down or not.
                metrics::gauge!("connector_aws_budgets_slowed", "service" => account.service)
                    .increment(0.0);
                Arc::new(Bucket::new(published(account.service, operation), self.share))
            });
        Arc::clone(bucket)
    }

    /// Forgets the budgets of places that nobody calls and that are whole again; one that
    /// AWS has slowed down is remembered until it has recovered.
    pub fn forget_idle(&self) {
        self.forget_idle_at(Instant::now());
    }

    fn forget_idle_at(&self, now: Instant) {
        let mut slowed: BTreeMap<&'static str, f64> = BTreeMap::new();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.retain(|(account, _), bucket| {
            let slow = slowed.entry(account.service).or_default();
            if bucket.is_slowed(now) {
                *slow += 1.0;
            }
            Arc::strong_count(bucket) > 1 || !bucket.is_whole(now)
        });
        drop(buckets);
        for (service, count) in slowed {
            metrics::gauge!("connector_aws_budgets_slowed", "service" => service).set(count);
        }
    }
}

/// One token bucket, whose rate follows what AWS says.
#[derive(Debug)]
pub struct Bucket {
    ceiling: Rate,
    pace: Mutex<Pace>,
    interactive_waiting: AtomicUsize,
    interactive_done: Notify,
}

/// How the bucket is doing.
#[derive(Debug)]
struct Pace {
    per_second: f64,
    /// Below nothing: so many callers wait.
    tokens: f64,
    /// The rate that was too much; none: the ceiling was not.
    too_much: Option<f64>,
    throttled_at: Option<Instant>,
    /// When rate and tokens were brought up to date.
    seen_at: Instant,
}

impl Bucket {
    fn new(published: Rate, share: f64) -> Self {
        let ceiling = Rate {
            per_second: (published.per_second * share).max(RATE_MIN),
            burst: (published.burst * share).max(1.0),
        };
        let now = Instant::now();
        let pace = Pace {
            per_second: ceiling.per_second,
            tokens: ceiling.burst,
            too_much: None,
            throttled_at: None,
            seen_at: now,
        };
        Self {
            ceiling,
            pace: Mutex::new(pace),
            interactive_waiting: AtomicUsize::new(0),
            interactive_done: Notify::new(),
        }
    }

    /// Waits for a token. While a caller of a lane before ours waits, we do too.
    pub async fn acquire(&self, lane: Lane) {
        match lane {
            Lane::Interactive => {
                self.interactive_waiting.fetch_add(1, Ordering::SeqCst);
                let leave = Leave(self);
                tokio::time::sleep_until(self.reserve(Instant::now())).await;
                drop(leave);
            }
            Lane::Crawl => {
                loop {
                    let done = self.interactive_done.notified();
                    if self.interactive_waiting.load(Ordering::SeqCst) == 0 {
                        break;
                    }
                    done.await;
                }
                tokio::time::sleep_until(self.reserve(Instant::now())).await;
            }
        }
    }

    /// Takes the next token, and says when it will be there.
    fn reserve(&self, now: Instant) -> Instant {
        let mut pace = self.pace();
        pace.pass(self.ceiling, now);
        pace.tokens -= 1.0;
        now + Duration::from_secs_f64((-pace.tokens / pace.per_second).max(0.0))
    }

    /// AWS asked to slow down.
    pub fn slow_down(&self) {
        self.slow_down_at(Instant::now());
    }

    fn slow_down_at(&self, now: Instant) {
        let mut pace = self.pace();
        if pace.throttled_at.is_some_and(|at| now - at < THROTTLES_TOGETHER) {
            return;
        }
        pace.pass(self.ceiling, now);
        pace.throttled_at = Some(now);
        pace.too_much = Some(pace.per_second);
        pace.per_second = (pace.per_second * BACK_OFF).max(RATE_MIN);
        // The burst is spent: that is what AWS just said.
        pace.tokens = pace.tokens.min(0.0);
    }

    /// Calls per second at present.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.pace().per_second
    }

    fn is_slowed(&self, now: Instant) -> bool {
        let mut pace = self.pace();
        pace.pass(self.ceiling, now);
        pace.per_second < self.ceiling.per_second
    }

    fn is_whole(&self, now: Instant) -> bool {
        !self.is_slowed(now) && self.pace().tokens >= self.ceiling.burst
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    /// What the time since the last look brings: tokens, and some of the rate.
    fn pass(&mut self, ceiling: Rate, now: Instant) {
        let mut calm = now.saturating_duration_since(self.seen_at).as_secs_f64();
        self.seen_at = self.seen_at.max(now);
        self.tokens = (self.tokens + calm * self.per_second).min(ceiling.burst);
        if self.per_second >= ceiling.per_second {
            return;
        }
        let quick_until = self.too_much.map_or(ceiling.per_second, |rate| rate * QUICK_SHARE);
        if self.per_second < quick_until {
            let per_second = ceiling.per_second * QUICK_RECOVERY;
            let needed = (quick_until - self.per_second) / per_second;
            self.per_second += per_second * calm.min(needed);
            calm -= calm.min(needed);
        }
        self.per_second += ceiling.per_second * SLOW_RECOVERY * calm;
        if self.per_second >= ceiling.per_second {
            self.per_second = ceiling.per_second;
            self.too_much = None;
        }
    }
}

/// Takes an interactive caller off the list, also when it gives up.
struct Leave<'a>(&'a Bucket);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.interactive_waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.interactive_done.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str, service: &'static str) -> Account {
        Account { id: id.into(), region: "eu-west-1".into(), service }
    }

    /// Calls that get through in some seconds, by somebody who asks without a break.
    fn calls_within(bucket: &Bucket, start: Instant, seconds: u64) -> usize {
        let end = start + Duration::from_secs(seconds);
        let next = |now: &Instant| Some(bucket.reserve(*now)).filter(|at| *at < end);
        std::iter::successors(Some(start), next).skip(1).count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let budgets = Budgets::new(0.5);
        let bucket = budgets.bucket(&account("1", "ec2"), None);
        let calls = calls_within(&bucket, Instant::now(), 10);
        assert!((149..=151).contains(&calls), "50 at once, then 10 a second: {calls}");
    }

    #[test]
    fn throttles_slow_one_bucket_down_and_no_other() {
        let budgets = Budgets::new(0.5);
        let slow = budgets.bucket(&account("1", "ec2"), None);
        let now = Instant::now();
        slow.slow_down_at(now);
        slow.slow_down_at(now);
        assert!((slow.per_second() - 7.0).abs() < 0.01, "together they count once");
        let other = budgets.bucket(&account("2", "ec2"), None);
        assert!((other.per_second() - 10.0).abs() < 1e-9);
        assert!(Arc::ptr_eq(
            &slow,
            &budgets.bucket(&account("1", "ec2"), Some("DescribeInstances"))
        ));
        let calls = calls_within(&slow, now, 1);
        assert!((6..=7).contains(&calls), "no burst is left: {calls}");
    }

    #[test]
    fn what_was_slowed_recovers_quickly_then_slowly_and_is_remembered_until_then() {
        let budgets = Budgets::new(0.5);
        let slow = budgets.bucket(&account("1", "ec2"), None);
        let now = Instant::now();
        slow.slow_down_at(now);
        drop(slow);
        budgets.forget_idle_at(now + Duration::from_secs(4));
        let slow = budgets.bucket(&account("1", "ec2"), None);
        assert!(slow.is_slowed(now), "it was forgotten too early");
        let rate = slow.per_second();
        assert!((8.5..8.6).contains(&rate), "quick to 0.85 of what was too much: {rate}");
        drop(slow);
        budgets.forget_idle_at(now + Duration::from_mins(1));
        assert!(budgets.buckets.lock().expect("buckets").is_empty());
    }

    #[test]
    fn organizations_counts_each_operation_by_itself() {
        let budgets = Budgets::new(1.0);
        let account = account("1", "organizations");
        let accounts = budgets.bucket(&account, Some("ListAccounts"));
        let roots = budgets.bucket(&account, Some("ListRoots"));
        assert!(!Arc::ptr_eq(&accounts, &roots));
        assert!(accounts.per_second() > roots.per_second());
    }
}
