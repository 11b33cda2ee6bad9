//! AWS's own quotas: a token bucket for each API, and each service's way to say no.
//!
//! Rates are the published ones; where AWS publishes none, there is no bucket. EC2 counts
//! by account, region and API (EC2 API reference, "Request throttling"); Organizations by
//! account and API ("Quotas for AWS Organizations"); STS by account and region (IAM
//! quotas); `LookupEvents` by account and region ("Quotas in CloudTrail"); the APIs of IAM
//! Identity Center share one bucket (its quotas page).

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::request::Call;

/// The quotas of every account.
#[derive(Debug)]
pub struct Quotas {
    /// What is left of the published rates: 1.0 is all.
    share: f64,
    buckets: HashMap<[String; 4], Bucket>,
}

/// Calls per second, and how many at once.
#[derive(Clone, Copy, Debug)]
struct Rate {
    per_second: f64,
    burst: f64,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: DateTime<Utc>,
}

impl Quotas {
    /// The published rates, times `share`.
    #[must_use]
    pub fn published(share: f64) -> Self {
        Self { share, buckets: HashMap::new() }
    }

    /// Takes a token for a call; false: there is none.
    pub(crate) fn take(&mut self, account: &str, call: &Call, now: DateTime<Utc>) -> bool {
        let Some((name, rate)) = published(call) else { return true };
        let rate =
            Rate { per_second: rate.per_second * self.share, burst: rate.burst * self.share };
        let key = [account, &call.region, &call.service, name].map(str::to_owned);
        let bucket =
            self.buckets.entry(key).or_insert(Bucket { tokens: rate.burst, filled_at: now });
        let seconds = (now - bucket.filled_at).as_seconds_f64().max(0.0);
        bucket.tokens = (bucket.tokens + seconds * rate.per_second).min(rate.burst);
        bucket.filled_at = now;
        let has_token = bucket.tokens >= 1.0;
        if has_token {
            bucket.tokens -= 1.0;
        }
        has_token
    }
}

/// The bucket that a call counts against.
fn published(call: &Call) -> Option<(&str, Rate)> {
    let rate = |per_second, burst| Rate { per_second, burst };
    let operation = call.operation.as_str();
    Some(match (call.service.as_str(), operation) {
        ("organizations", "ListAccounts") => (operation, rate(8.0, 12.0)),
        ("organizations", "ListTagsForResource") => (operation, rate(10.0, 15.0)),
        ("organizations", "ListRoots" | "DescribeOrganization") => (operation, rate(1.0, 2.0)),
        ("organizations", _) => (operation, rate(5.0, 8.0)),
        // Neither a filter nor a page size: the slower bucket.
        ("ec2", "DescribeInstances")
            if !call.form.contains_key("MaxResults")
                && !call.form.keys().any(|key| key.starts_with("Filter.")) =>
        {
            ("DescribeInstances, whole", rate(10.0, 50.0))
        }
        ("ec2", _) => (operation, rate(20.0, 100.0)),
        ("cloudtrail", "LookupEvents") => (operation, rate(2.0, 2.0)),
        ("sts", _) => ("", rate(600.0, 600.0)),
        ("sso" | "identitystore", _) => ("", rate(20.0, 20.0)),
        _ => return None,
    })
}
