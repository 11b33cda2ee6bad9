//! Budgets: how often we may call, so that a crawl never takes from the customer's
//! own workload what it needs.
//!
//! AWS counts calls in token buckets per account, region and API. We keep to a share
//! of the published rate, and to less as soon as AWS asks to slow down: the rate is
//! multiplied by 0.7, then grows back quickly to just below the rate that was too much,
//! and slowly beyond it, since the customer's workload may have taken the rest. More
//! calls than that only buy more throttles.
//!
//! Identity Center is not the customer's workload but ours: its whole rate is for giving and taking
//! access, and the crawl keeps to its share of it beside.
//!
//! Who waits for a bucket stands in a line: by lane, and within a lane in the order of coming. A
//! call that takes access away never waits behind the crawl.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::{base::clock, model::failure::Lane};

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
/// Of a bucket that the crawl has a share of, it leaves this part of the burst alone: access comes in
/// droves, and finds it there.
const LEFT_BY_THE_CRAWL: f64 = 0.5;
/// The part of a token that is not waited for.
const TOKEN_TOLERANCE: f64 = 1e-6;

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
/// 20/s; CloudTrail looks events up twice a second; STS takes 600/s; the others publish nothing, so 20/s is our own caution.
fn published(service: &str, operation: Option<&str>, identity_center: f64) -> Rate {
    let (per_second, burst) = match (service, operation) {
        ("organizations", Some("ListAccounts")) => (8.0, 12.0),
        ("organizations", Some("ListTagsForResource")) => (10.0, 15.0),
        ("organizations", Some("ListAccountsForParent" | "ListOrganizationalUnitsForParent")) => {
            (5.0, 8.0)
        }
        ("organizations", _) => (1.0, 2.0),
        ("ec2", _) => (20.0, 100.0),
        ("cloudtrail", _) => (2.0, 2.0),
        ("sts", _) => (600.0, 600.0),
        ("s3", _) => (100.0, 100.0),
        // One less at once than it allows: on their way, calls come closer together.
        (service, _) if is_identity_center(service) => {
            (identity_center, (identity_center - 1.0).max(1.0))
        }
        _ => (20.0, 20.0),
    };
    Rate { per_second, burst }
}

fn is_identity_center(service: &str) -> bool {
    matches!(service, "sso" | "identitystore")
}

/// All budgets of the process.
#[derive(Debug)]
pub struct Budgets {
    share: f64,
    identity_center: f64,
    buckets: Mutex<HashMap<BucketKey, Arc<Bucket>>>,
}

/// An account, and the operation where a service counts each by itself.
type BucketKey = (Account, Option<String>);

impl Budgets {
    /// Budgets at a share of the published rates (more than 0, at most 1), with the rate of an
    /// Identity Center instance.
    #[must_use]
    pub fn new(share: f64, identity_center: f64) -> Self {
        Self { share, identity_center, buckets: Mutex::default() }
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
                let published = published(account.service, operation, self.identity_center);
                let bucket = if is_identity_center(account.service) {
                    Bucket::with_share_for_the_crawl(published, self.share)
                } else {
                    Bucket::new(published, self.share)
                };
                Arc::new(bucket)
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
    /// What the crawl may take of it; none: as much as anybody.
    crawl: Option<(Rate, Mutex<Pace>)>,
    line: Mutex<Line>,
    line_changed: Notify,
}

/// Who waits, the next first.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeSet<(Lane, u64)>,
    came: u64,
}

/// How the bucket is doing.
#[derive(Debug)]
struct Pace {
    per_second: f64,
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
        Self {
            ceiling,
            pace: Mutex::new(Pace::new(ceiling)),
            crawl: None,
            line: Mutex::default(),
            line_changed: Notify::new(),
        }
    }

    fn with_share_for_the_crawl(published: Rate, share: f64) -> Self {
        let Self { ceiling, pace, .. } = Self::new(published, share);
        Self { crawl: Some((ceiling, pace)), ..Self::new(published, 1.0) }
    }

    /// Waits for a token, in line.
    pub async fn acquire(&self, lane: Lane) {
        let is_first = self.line().waiting.is_empty();
        if is_first && self.take(lane, Instant::now()).is_ok() {
            return;
        }
        let place = self.stand(lane);
        loop {
            let changed = self.line_changed.notified();
            tokio::pin!(changed);
            // From here on no change of the line is missed.
            changed.as_mut().enable();
            if self.line().waiting.first() != Some(&place.at) {
                changed.await;
                continue;
            }
            let Err(token_at) = self.take(lane, Instant::now()) else { return };
            tokio::select! {
                () = &mut changed => {}
                () = clock::sleep_until(token_at) => {}
            }
        }
    }

    /// Joins the line, until the answer is dropped: also when the caller gives up.
    fn stand(&self, lane: Lane) -> Place<'_> {
        let mut line = self.line();
        line.came += 1;
        let at = (lane, line.came);
        line.waiting.insert(at);
        Place { bucket: self, at }
    }

    /// Takes a token for a lane, or says when the next one will be there.
    fn take(&self, lane: Lane, now: Instant) -> Result<(), Instant> {
        let mut pace = self.pace();
        let share = self.crawl.as_ref().filter(|_| lane == Lane::Crawl);
        let burst = self.ceiling.burst;
        let left = share.map_or(0.0, |_| (burst * LEFT_BY_THE_CRAWL).min(burst - 1.0));
        if let Some(at) = pace.token_at(self.ceiling, left, now) {
            return Err(at);
        }
        if let Some((ceiling, share)) = share {
            let mut share = share.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = share.token_at(*ceiling, 0.0, now) {
                return Err(at);
            }
            share.tokens -= 1.0;
        }
        pace.tokens -= 1.0;
        Ok(())
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// AWS asked to slow down.
    pub fn slow_down(&self) {
        self.slow_down_at(Instant::now());
    }

    fn slow_down_at(&self, now: Instant) {
        self.pace().slow_down(self.ceiling, now);
        if let Some((ceiling, share)) = &self.crawl {
            share.lock().unwrap_or_else(PoisonError::into_inner).slow_down(*ceiling, now);
        }
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
    fn new(ceiling: Rate) -> Self {
        Self {
            per_second: ceiling.per_second,
            tokens: ceiling.burst,
            too_much: None,
            throttled_at: None,
            seen_at: Instant::now(),
        }
    }

    /// When a token will be there beside those that are left alone; none: it is.
    fn token_at(&mut self, ceiling: Rate, left: f64, now: Instant) -> Option<Instant> {
        self.pass(ceiling, now);
        // What is short by less than the clock can tell is there.
        let short = left + 1.0 - TOKEN_TOLERANCE - self.tokens;
        let wait = (short + TOKEN_TOLERANCE) / self.per_second;
        (short > 0.0).then(|| now + Duration::from_secs_f64(wait))
    }

    fn slow_down(&mut self, ceiling: Rate, now: Instant) {
        if self.throttled_at.is_some_and(|at| now - at < THROTTLES_TOGETHER) {
            return;
        }
        self.pass(ceiling, now);
        self.throttled_at = Some(now);
        self.too_much = Some(self.per_second);
        self.per_second = (self.per_second * BACK_OFF).max(RATE_MIN);
        // The burst is spent: that is what AWS just said.
        self.tokens = self.tokens.min(0.0);
    }

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

/// A place in the line.
struct Place<'a> {
    bucket: &'a Bucket,
    at: (Lane, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.bucket.line();
        line.waiting.remove(&self.at);
        if !line.waiting.is_empty() {
            self.bucket.line_changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str, service: &'static str) -> Account {
        Account { id: id.into(), region: "eu-west-1".into(), service }
    }

    /// Calls that get through in some seconds, by somebody who asks without a break.
    fn calls_within(bucket: &Bucket, lane: Lane, start: Instant, seconds: u64) -> usize {
        let end = start + Duration::from_secs(seconds);
        let (mut now, mut calls) = (start, 0);
        while now < end {
            match bucket.take(lane, now) {
                Ok(()) => calls += 1,
                Err(at) => now = at,
            }
        }
        calls
    }

    #[tokio::test]
    async fn whoever_takes_access_away_goes_first_and_the_crawl_last() {
        use Lane::{Crawl, Grant, Interactive, Poll, Reconcile, Revoke};
        let bucket = Budgets::new(0.5, 20.0).bucket(&account("1", "ec2"), None);
        while bucket.take(Lane::Grant, Instant::now()).is_ok() {}
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        for lane in [Crawl, Reconcile, Poll, Grant, Interactive, Revoke, Crawl, Revoke] {
            let (bucket, done) = (Arc::clone(&bucket), done.clone());
            tokio::spawn(async move {
                bucket.acquire(lane).await;
                done.send(lane).expect("somebody counts");
            });
        }
        drop(done);
        let mut came = Vec::new();
        while let Some(lane) = order.recv().await {
            came.push(lane);
        }
        assert_eq!(came, [Revoke, Revoke, Grant, Interactive, Poll, Reconcile, Crawl, Crawl]);
    }

    #[tokio::test]
    async fn who_gives_up_holds_up_nobody() {
        let bucket = Budgets::new(0.5, 20.0).bucket(&account("1", "ec2"), None);
        while bucket.take(Lane::Grant, Instant::now()).is_ok() {}
        let first = bucket.acquire(Lane::Revoke);
        let given_up = tokio::time::timeout(Duration::from_millis(10), first).await;
        assert!(given_up.is_err(), "there is no token yet");
        bucket.acquire(Lane::Crawl).await;
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let budgets = Budgets::new(0.5, 20.0);
        let bucket = budgets.bucket(&account("1", "ec2"), None);
        let calls = calls_within(&bucket, Lane::Crawl, Instant::now(), 10);
        assert!((149..=151).contains(&calls), "50 at once, then 10 a second: {calls}");
    }

    #[test]
    fn the_crawl_of_identity_center_keeps_to_its_share_and_access_has_all() {
        let budgets = Budgets::new(0.5, 40.0);
        let (crawl, access) = (account("1", "sso"), account("2", "sso"));
        let (crawl, access) = (budgets.bucket(&crawl, None), budgets.bucket(&access, None));
        let calls = calls_within(&crawl, Lane::Crawl, Instant::now(), 10);
        assert!((218..=220).contains(&calls), "half of 39 at once, then 20 a second: {calls}");
        let calls = calls_within(&access, Lane::Grant, Instant::now(), 10);
        assert!((438..=440).contains(&calls), "39 at once, then 40 a second: {calls}");
        let now = Instant::now() + Duration::from_secs(10);
        let at = access.take(Lane::Crawl, now).expect_err("it leaves access its half");
        assert!((480..=520).contains(&(at - now).as_millis()), "{:?}", at - now);
        assert!(access.take(Lane::Grant, now + Duration::from_millis(30)).is_ok());
        let slowest = Budgets::new(0.5, 1.0).bucket(&account("1", "sso"), None);
        assert!(
            slowest.take(Lane::Crawl, now).is_ok(),
            "where there is one at once, it may have it"
        );
    }

    #[test]
    fn throttles_slow_one_bucket_down_and_no_other() {
        let budgets = Budgets::new(0.5, 20.0);
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
        let calls = calls_within(&slow, Lane::Crawl, now, 1);
        assert!((6..=7).contains(&calls), "no burst is left: {calls}");
    }

    #[test]
    fn what_was_slowed_recovers_quickly_then_slowly_and_is_remembered_until_then() {
        let budgets = Budgets::new(0.5, 20.0);
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
        let budgets = Budgets::new(1.0, 20.0);
        let account = account("1", "organizations");
        let accounts = budgets.bucket(&account, Some("ListAccounts"));
        let roots = budgets.bucket(&account, Some("ListRoots"));
        assert!(!Arc::ptr_eq(&accounts, &roots));
        assert!(accounts.per_second() > roots.per_second());
    }
}
