//! TLS of the gRPC port, with a certificate that can be replaced while connections live.
//!
//! Handshakes run beside each other and end in time, so that a caller who connects and
//! says nothing holds up nobody.

use std::{io, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
    server::TlsStream,
};
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;

use crate::base::{chain::Chain, clock, stopper::Stopper};

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes that run at once; further callers wait in the listener's queue.
const HANDSHAKES_MAX: usize = 256;
/// How long to wait when the process can take no more connections.
const BETWEEN_ACCEPTS: Duration = Duration::from_millis(100);

/// Certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the files is no PEM of its kind.
    #[error("failed to read {path}")]
    Pem {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The two do not belong together, or the algorithm is not supported.
    #[error("the certificate and the key cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// The certificate that new connections get.
#[derive(Debug)]
pub struct Certificate {
    current: ArcSwap<CertifiedKey>,
}

impl Certificate {
    /// Reads the first one.
    ///
    /// # Errors
    ///
    /// When it cannot be used.
    pub fn read(certificate: &Path, key: &Path) -> Result<Arc<Self>, Error> {
        let current = ArcSwap::from_pointee(read(certificate, key)?);
        Ok(Arc::new(Self { current }))
    }

    /// Takes another one for new connections.
    pub fn replace(&self, by: CertifiedKey) {
        self.current.store(Arc::new(by));
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Reads a certificate chain and its key.
///
/// # Errors
///
/// When they cannot be used.
pub fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let pem = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::Pem { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(pem(certificate))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(pem(key))?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(Error::Pair)
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// Accepts connections until it is asked to stop; those whose handshake fails are
/// dropped.
///
/// # Errors
///
/// When TLS cannot be set up.
pub fn accept(
    listener: TcpListener,
    certificate: Arc<Certificate>,
    stopper: Stopper,
) -> Result<ReceiverStream<io::Result<TlsStream<TcpStream>>>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (send, accepted) = mpsc::channel(HANDSHAKES_MAX);
    tokio::spawn(async move {
        tokio::select! {
            () = accept_all(listener, acceptor, send) => {}
            () = stopper.stopping() => {}
        }
    });
    Ok(ReceiverStream::new(accepted))
}

async fn accept_all(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    send: mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
) {
    let free = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Ok(permit) = Arc::clone(&free).acquire_owned().await {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(error = %Chain(&error), "failed to accept a connection");
                clock::sleep(BETWEEN_ACCEPTS).await;
                continue;
            }
        };
        let (acceptor, send) = (acceptor.clone(), send.clone());
        tokio::spawn(async move {
            let _permit = permit;
            // Small answers must not wait for more to come.
            let _ = stream.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                // The server may have ended already.
                Ok(Ok(stream)) => drop(send.send(Ok(stream)).await),
                Ok(Err(error)) => debug!(error = %Chain(&error), "{peer} failed its handshake"),
                Err(_) => debug!("{peer} did not end its handshake in time"),
            }
        });
    }
}
