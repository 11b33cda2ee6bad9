//! Budgets: how often we may call, so that a crawl never takes from the customer's
//! own workload what it needs.
//!
//! AWS counts calls in token buckets per account, region and API. We keep to a share
//! of the published rate, and to less as soon as AWS asks to slow down: the rate is
//! multiplied by 0.7 at each throttle and grows back by a twentieth of its ceiling
//! with each second without one. More calls than that only buy more throttles.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::{sync::Notify, time::Instant};

use crate::model::failure::Lane;

/// What a throttle leaves of the rate.
const BACK_OFF: f64 = 0.7;
/// Calls per second that are always left.
const RATE_MIN: f64 = 0.5;
/// The share of the ceiling that comes back with each calm second.
const RECOVERY_SHARE: f64 = 0.05;

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
                Arc::new(Bucket::new(published(account.service, operation), self.share))
            });
        Arc::clone(bucket)
    }

    /// Forgets the budgets of places that nobody calls.
    pub fn forget_idle(&self) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1);
    }
}

/// One token bucket, whose rate follows what AWS says.
#[derive(Debug)]
pub struct Bucket {
    ceiling: Rate,
    limiter: ArcSwap<DefaultDirectRateLimiter>,
    pace: Mutex<Pace>,
    interactive_waiting: AtomicUsize,
    interactive_done: Notify,
}

#[derive(Debug)]
struct Pace {
    per_second: f64,
    changed: Instant,
}

impl Bucket {
    fn new(published: Rate, share: f64) -> Self {
        let ceiling = Rate {
            per_second: (published.per_second * share).max(RATE_MIN),
            burst: (published.burst * share).max(1.0),
        };
        Self {
            ceiling,
            limiter: ArcSwap::from_pointee(limiter(ceiling)),
            pace: Mutex::new(Pace { per_second: ceiling.per_second, changed: Instant::now() }),
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
                self.limiter.load_full().until_ready().await;
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
                self.limiter.load_full().until_ready().await;
            }
        }
    }

    /// AWS asked to slow down.
    pub fn slow_down(&self) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.per_second = (pace.per_second * BACK_OFF).max(RATE_MIN);
        pace.changed = Instant::now();
        // The burst is spent: that is what AWS just said.
        self.limiter.store(Arc::new(limiter(Rate { per_second: pace.per_second, burst: 1.0 })));
    }

    /// A call went well.
    pub fn speed_up(&self) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let calm = pace.changed.elapsed();
        if pace.per_second >= self.ceiling.per_second || calm < Duration::from_secs(1) {
            return;
        }
        let gained = self.ceiling.per_second * RECOVERY_SHARE * calm.as_secs_f64();
        pace.per_second = (pace.per_second + gained).min(self.ceiling.per_second);
        pace.changed = Instant::now();
        let burst = self.ceiling.burst * (pace.per_second / self.ceiling.per_second);
        self.limiter.store(Arc::new(limiter(Rate { per_second: pace.per_second, burst })));
    }

    /// Calls per second at present.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).per_second
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

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a burst is at least 1 and at most a few hundred"
)]
fn limiter(rate: Rate) -> DefaultDirectRateLimiter {
    let burst = NonZeroU32::new(rate.burst.max(1.0) as u32).unwrap_or(NonZeroU32::MIN);
    let period = Duration::from_secs_f64(1.0 / rate.per_second.max(RATE_MIN));
    let quota = Quota::with_period(period)
        .map_or_else(|| Quota::per_second(NonZeroU32::MIN), |quota| quota.allow_burst(burst));
    RateLimiter::direct(quota)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttles_slow_one_bucket_down_and_no_other() {
        let budgets = Budgets::new(0.5);
        let account =
            |id: &str| Account { id: id.into(), region: "eu-west-1".into(), service: "ec2" };
        let slow = budgets.bucket(&account("1"), None);
        for _ in 0..50 {
            slow.slow_down();
        }
        assert!((slow.per_second() - RATE_MIN).abs() < f64::EPSILON);
        assert!((budgets.bucket(&account("2"), None).per_second() - 10.0).abs() < f64::EPSILON);
        assert!(Arc::ptr_eq(&slow, &budgets.bucket(&account("1"), Some("DescribeInstances"))));
    }

    #[test]
    fn organizations_counts_each_operation_by_itself() {
        let budgets = Budgets::new(1.0);
        let account =
            Account { id: "1".into(), region: "us-east-1".into(), service: "organizations" };
        let accounts = budgets.bucket(&account, Some("ListAccounts"));
        let roots = budgets.bucket(&account, Some("ListRoots"));
        assert!(!Arc::ptr_eq(&accounts, &roots));
        assert!(accounts.per_second() > roots.per_second());
    }
}
