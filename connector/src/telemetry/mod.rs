//! Floor 7: what operators see from outside: log lines, traces, metrics, health.

use std::io;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::net::TcpListener;
use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::{
    base::{chain::Chain, stopper::Stopper},
    config::LogFormat,
    store::{self, Db},
};

pub mod metrics;
mod traces;

/// Changes which log lines are written, while the daemon runs.
pub type LogFilter = reload::Handle<EnvFilter, Registry>;

/// What was started, to be changed and ended.
pub struct Log {
    /// Changes which lines are written.
    pub filter: LogFilter,
    traces: Option<SdkTracerProvider>,
}

impl Log {
    /// Sends the traces that are still here. Waits, so it is not for async code; the
    /// runtime must still be there.
    pub fn end(&self) {
        if let Some(Err(error)) = self.traces.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!(error = %Chain(&error), "the last traces were not sent");
        }
    }
}

/// Begins to write log lines to the standard error, and traces to a collector if the
/// environment names one. Wants a tokio runtime.
///
/// # Errors
///
/// When the collector's endpoint is no address.
pub fn start_log(format: LogFormat, filter: EnvFilter) -> Result<Log, ExporterBuildError> {
    let (filter, handle) = reload::Layer::new(filter);
    let traces = traces::provider()?;
    let sent = traces.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("apono-connector"))
    });
    let registry = tracing_subscriber::registry().with(filter).with(sent);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    // A second start, as in a test that runs two daemons, keeps the first.
    let _ = match format {
        LogFormat::Human => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    Ok(Log { filter: handle, traces })
}

/// Serves `/healthz` (the process lives), `/readyz` (the database answers) and
/// `/metrics`, until it is asked to stop.
///
/// # Errors
///
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    db: Db,
    metrics: PrometheusHandle,
    stopper: Stopper,
) -> io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(db)
        .route("/metrics", get(move || std::future::ready(metrics.render())));
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stopper.stopping().await })
        .await
}

async fn ready(State(db): State<Db>) -> (StatusCode, &'static str) {
    let answered = async {
        let mut conn = db.conn().await?;
        store::now(&mut conn).await
    };
    match answered.await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
