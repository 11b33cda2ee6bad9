//! Floor 2: AWS, and nothing but the SDK.
//!
//! One HTTP client and one base configuration for the whole process; role sessions
//! that are cached and renewed early; service clients that are made when they are
//! needed; budgets that every attempt passes ([`wire`]); and one table from AWS
//! errors to their meaning ([`error`]).
//!
//! Architecture invariant: nothing here knows the database, and nobody above this
//! room looks at an AWS error code.

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::app_name::AppName;

pub mod access;
pub mod budget;
pub mod error;
pub mod http;
pub mod identity;
pub mod lease;
pub mod sessions;
pub mod simulation;
pub mod wire;

pub use access::Access;
pub use error::ApiError;

use self::{budget::Budgets, http::Http, sessions::Sessions};
use crate::model::ids::Region;

/// Attempts of one call, the first included. More than three only help against
/// throttling, and against that the budget helps.
const ATTEMPTS_MAX: u32 = 3;

/// How to talk to AWS.
#[derive(Clone, Debug)]
pub struct Config {
    /// The share of each published rate that we use; the rest is the customer's.
    pub rate_share: f64,
    /// Calls a second that AWS allows an Identity Center instance.
    pub identity_center_rate: f64,
    /// How long one attempt may take, once it has passed the budget.
    pub attempt_timeout: Duration,
    /// A PEM file with further certificate authorities (`AWS_CA_BUNDLE`).
    pub ca_bundle: Option<std::path::PathBuf>,
}

/// AWS as this process reaches it. Clones share everything.
#[derive(Clone, Debug)]
pub struct Aws {
    base: SdkConfig,
    http: Http,
    budgets: Arc<Budgets>,
    sessions: Arc<Sessions>,
}

impl Aws {
    /// Finds out who we are, from the SDK's default chain. Nobody is called before
    /// credentials are needed.
    ///
    /// # Errors
    ///
    /// When the certificate authorities cannot be read.
    pub async fn load(config: &Config) -> Result<Self, http::Error> {
        let http = Http::new(config)?;
        let budgets = Arc::new(Budgets::new(config.rate_share, config.identity_center_rate));
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.plain())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            // The time-out of an attempt is held by `wire`, behind the budget.
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(Duration::from_secs(5)).build(),
            );
        let loader = match AppName::new("apono-connector") {
            Ok(name) => loader.app_name(name),
            Err(_) => loader,
        };
        Ok(Self { base: loader.load().await, http, budgets, sessions: Arc::default() })
    }

    /// The region of the host's own AWS settings.
    #[must_use]
    pub fn own_region(&self) -> Option<Region> {
        self.base.region().and_then(|region| region.as_ref().parse().ok())
    }

    /// Forgets sessions that have ended and budgets of places that nobody calls.
    pub fn forget_idle(&self) {
        self.sessions.forget_ended();
        self.budgets.forget_idle();
    }
}
