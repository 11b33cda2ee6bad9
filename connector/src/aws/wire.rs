//! What every attempt at every call passes: the budget, the time-out, and the
//! rewriting of text that could not be stored.
//!
//! It sits below the SDK's retries, so that a retry waits for its share like any
//! other attempt, and so that waiting does not eat up the time of the attempt.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};

use super::{
    budget::{Account, Budgets},
    error::is_throttle,
    http::Http,
    lease::{Lease, Lost},
};
use crate::model::{
    failure::Lane,
    text::{storable_json, storable_xml},
};

/// The largest answer that is taken; the largest page of any API is far below.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a file begins with that is packed by gzip; no text of AWS does.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What the attempts of one role session in one region have come to.
#[derive(Debug, Default)]
pub struct Usage {
    calls: AtomicU32,
    throttles: AtomicU32,
    waited_us: AtomicU64,
}

impl Usage {
    /// Attempts, those among them that AWS throttled, and the time that they waited for
    /// their budgets.
    #[must_use]
    pub fn so_far(&self) -> (u32, u32, Duration) {
        (
            self.calls.load(Ordering::Relaxed),
            self.throttles.load(Ordering::Relaxed),
            Duration::from_micros(self.waited_us.load(Ordering::Relaxed)),
        )
    }
}

/// On whose behalf attempts are made.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The account, region and service whose budgets they count against.
    pub account: Account,
    /// Who goes first.
    pub lane: Lane,
    /// What they have come to.
    pub usage: Arc<Usage>,
    /// The lease under which they are made; none: they need none.
    pub lease: Option<Lease>,
}

/// An HTTP client whose attempts are made on these terms.
pub fn client(http: &Http, budgets: Arc<Budgets>, terms: Terms) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Wire {
        inner: http.connector(),
        budgets,
        terms,
        timeout: http.attempt_timeout,
    });
    http_client_fn(move |_, _| connector.clone())
}

#[derive(Clone, Debug)]
struct Wire {
    inner: SharedHttpConnector,
    budgets: Arc<Budgets>,
    terms: Terms,
    timeout: Duration,
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wire = self.clone();
        HttpConnectorFuture::new(async move { wire.attempt(request).await })
    }
}

impl Wire {
    async fn attempt(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let operation = request
            .headers()
            .get("x-amz-target")
            .and_then(|target| target.rsplit('.').next())
            .map(str::to_owned);
        let operation = operation.as_deref();
        let Terms { account, lane, usage, lease } = &self.terms;
        let service = account.service;
        let bucket = self.budgets.bucket(account, operation);
        let asked = Instant::now();
        bucket.acquire(*lane).await;
        let timeout = match lease {
            Some(lease) => self.timeout.min(lease.remaining().map_err(lost)?),
            None => self.timeout,
        };
        let waited = asked.elapsed();
        usage.calls.fetch_add(1, Ordering::Relaxed);
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        usage.waited_us.fetch_add(waited_us, Ordering::Relaxed);
        metrics::counter!("connector_aws_attempts_total", "service" => service).increment(1);
        metrics::histogram!("connector_aws_budget_wait_seconds", "service" => service, "lane" => lane.as_str())
            .record(waited);
        let span =
            info_span!("aws", service, account.id = account.id, region = account.region, operation);
        let answered = tokio::time::timeout(timeout, self.answer(request).instrument(span)).await;
        let response =
            answered.unwrap_or_else(|elapsed| Err(ConnectorError::timeout(elapsed.into())))?;
        if response.status().as_u16() >= 400 && asks_to_slow_down(&response) {
            usage.throttles.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("connector_aws_throttles_total", "service" => service).increment(1);
            bucket.slow_down();
        }
        Ok(response)
    }

    /// The whole answer, with its text made storable.
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let mut response = self.inner.call(request).await?;
        let body = Limited::new(response.take_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(ConnectorError::io)?
            .to_bytes();
        let is_json = response
            .headers()
            .get("content-type")
            .is_some_and(|content_type| content_type.contains("json"));
        let storable = match is_json {
            // A file, not a text.
            _ if body.starts_with(&GZIP) => Cow::Borrowed(&body[..]),
            true => storable_json(&body),
            false => storable_xml(&body),
        };
        let storable = match storable {
            Cow::Borrowed(_) => SdkBody::from(body),
            Cow::Owned(rewritten) => {
                response.headers_mut().remove("content-length");
                SdkBody::from(rewritten)
            }
        };
        *response.body_mut() = storable;
        Ok(response)
    }
}

fn lost(lost: Lost) -> ConnectorError {
    ConnectorError::user(lost.into())
}

/// Whether an error answer is one of the ways in which AWS throttles: the code stands
/// in a header, in `__type`, or in `<Code>`.
fn asks_to_slow_down(response: &HttpResponse) -> bool {
    if response.status().as_u16() == 429 {
        return true;
    }
    if let Some(code) = response.headers().get("x-amzn-errortype") {
        return is_throttle(code.split(':').next().unwrap_or(code));
    }
    let body = response.body().bytes().unwrap_or_default();
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(is_throttle)
}
