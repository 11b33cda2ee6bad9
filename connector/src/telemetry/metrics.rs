//! The metrics that this daemon has, each with its meaning. Counters and gauges that an
//! alert rule asks for show from the start, so that the first event is an increase;
//! histograms, and what is counted by AWS service or collector, once there is a value.

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// How a metric is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It stands where it stands.
    Gauge,
    /// It is spread over buckets.
    Histogram,
}

/// A metric.
#[derive(Debug)]
pub struct Metric {
    /// Name, as Prometheus sees it.
    pub name: &'static str,
    /// How it is counted.
    pub kind: Kind,
    /// Its labels; one with labels shows once it has a value.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels, help }
}

/// All of them.
pub const METRICS: &[Metric] = {
    use Kind::{Counter, Gauge, Histogram};
    &[
        metric("connector_aws_attempts_total", Counter, &["service"], "Attempts at AWS calls."),
        metric(
            "connector_aws_throttles_total",
            Counter,
            &["service"],
            "Attempts that AWS throttled.",
        ),
        metric(
            "connector_aws_budget_wait_seconds",
            Histogram,
            &["service", "lane"],
            "How long attempts waited for the connector's own budgets.",
        ),
        metric(
            "connector_aws_budgets_slowed",
            Gauge,
            &["service"],
            "Budgets (account, region, service) that AWS has slowed down and that have not recovered.",
        ),
        metric(
            "connector_syncs_total",
            Counter,
            &["state"],
            "Syncs that have ended here by themselves.",
        ),
        metric(
            "connector_sync_overdue_seconds",
            Gauge,
            &[],
            "By how much the latest integration has missed its interval; 0: none has.",
        ),
        metric(
            "connector_sync_groups",
            Gauge,
            &["state"],
            "Groups (places to read) of all replicas that are ready or leased.",
        ),
        metric(
            "connector_sync_batches",
            Histogram,
            &[],
            "Batches of readers that were written together.",
        ),
        metric(
            "connector_scopes_total",
            Counter,
            &["collector", "outcome"],
            "Scopes whose read has ended here: COMPLETE, or the reason why not.",
        ),
        metric(
            "connector_scope_seconds",
            Histogram,
            &["collector"],
            "How long reads of scopes took.",
        ),
        metric(
            "connector_groups_leased_total",
            Counter,
            &[],
            "Groups that this replica has leased.",
        ),
        metric("connector_groups_held", Gauge, &[], "Groups whose lease this replica holds."),
        metric(
            "connector_leases_lost_total",
            Counter,
            &[],
            "Leases that this replica has lost: taken over, or cancelled.",
        ),
        metric(
            "connector_access_stuck",
            Gauge,
            &[],
            "Access of all connectors whose giving or taking does not get on: it is tried for ever.",
        ),
        metric(
            "connector_access_recovering",
            Gauge,
            &[],
            "Connectors whose database may have forgotten access: none is given or taken away.",
        ),
        metric(
            "connector_access_removed_by_others_total",
            Counter,
            &[],
            "Access that somebody else has removed before its end.",
        ),
        metric(
            "connector_feed_followers",
            Gauge,
            &[],
            "Followers of changes that this replica serves.",
        ),
        metric(
            "connector_feed_lag_seconds",
            Histogram,
            &[],
            "From a change to the message that tells it.",
        ),
        metric(
            "connector_problems",
            Gauge,
            &["severity"],
            "Open problems that are not muted, of all connectors.",
        ),
        metric(
            "connector_database_connections",
            Gauge,
            &["state"],
            "Connections to the database: idle, used, max.",
        ),
        metric(
            "connector_task_failures_total",
            Counter,
            &["task"],
            "Activations of background tasks that failed.",
        ),
    ]
};

const SECONDS: [f64; 13] =
    [0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0];
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Begins to count.
///
/// # Errors
///
/// When somebody counts already.
pub fn start() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("connector_sync_batches".to_owned()), &BATCHES)?
        .install_recorder()?;
    for metric in METRICS {
        let unit = if metric.name.ends_with("_seconds") { Unit::Seconds } else { Unit::Count };
        let is_plain = metric.labels.is_empty();
        match metric.kind {
            Kind::Counter => {
                metrics::describe_counter!(metric.name, unit, metric.help);
                if is_plain {
                    metrics::counter!(metric.name).absolute(0);
                }
            }
            Kind::Gauge => {
                metrics::describe_gauge!(metric.name, unit, metric.help);
                if is_plain {
                    metrics::gauge!(metric.name).set(0.0);
                }
            }
            Kind::Histogram => metrics::describe_histogram!(metric.name, unit, metric.help),
        }
    }
    Ok(handle)
}
