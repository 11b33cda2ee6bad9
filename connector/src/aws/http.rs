//! The one HTTP client of the process: proxy, certificate authorities, connections.

use std::{fs, io, path::PathBuf, time::Duration};

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{
    Connector,
    proxy::ProxyConfig,
    tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};

use super::Config;

/// Idle connections kept to one host.
const IDLE_PER_HOST_MAX: usize = 64;

/// The client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle of certificate authorities.
    #[error("failed to read the certificate authorities in {path}")]
    CaBundle {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS.
    #[error("failed to set up TLS")]
    Tls(#[source] aws_smithy_http_client::HttpClientError),
}

/// The connections of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Http {
    connector: SharedHttpConnector,
    pub(super) attempt_timeout: Duration,
}

impl Http {
    /// Reads the certificate authorities and the proxy settings
    /// (`HTTPS_PROXY`, `NO_PROXY`).
    ///
    /// # Errors
    ///
    /// When a bundle is named that cannot be read.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let mut trust = TrustStore::default();
        if let Some(path) = &config.ca_bundle {
            let pem =
                fs::read(path).map_err(|source| Error::CaBundle { path: path.clone(), source })?;
            trust = trust.with_pem_certificate(pem);
        }
        let tls = TlsContext::builder().with_trust_store(trust).build().map_err(Error::Tls)?;
        let connector = Connector::builder()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls)
            .proxy_config(ProxyConfig::from_env())
            .sleep_impl(TokioSleep::new())
            .connector_settings(
                HttpConnectorSettings::builder().connect_timeout(Duration::from_secs(5)).build(),
            )
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .build();
        Ok(Self {
            connector: SharedHttpConnector::new(connector),
            attempt_timeout: config.attempt_timeout,
        })
    }

    /// Without budgets: for finding out who we are.
    #[must_use]
    pub fn plain(&self) -> SharedHttpClient {
        let connector = self.connector.clone();
        http_client_fn(move |_, _| connector.clone())
    }

    pub(super) fn connector(&self) -> SharedHttpConnector {
        self.connector.clone()
    }
}
