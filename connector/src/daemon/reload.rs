//! `SIGHUP`: reads the settings again and takes what can change while the daemon runs:
//! the log filter, the certificate and key, the guardrails. All or nothing: when one of them cannot be
//! used, everything stays as it was. (Tokens are rows, and the database's password is
//! looked up by a task; they need no signal.)

use std::{io, path::PathBuf, sync::Arc};

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use super::tls::{self, Certificate};
use crate::{
    base::{chain::Chain, stopper::Stopper},
    config::{self, Settings, Tls},
    guard::Guard,
    telemetry::LogFilter,
};

/// Where the settings came from, and what changes the log.
pub struct Source {
    /// The file; none: the default one.
    pub file: Option<PathBuf>,
    /// Changes which lines are written.
    pub filter: LogFilter,
}

/// What changes.
pub(super) struct Reload {
    /// Where the settings come from.
    pub(super) source: Source,
    /// The certificate of the gRPC port, where it has one.
    pub(super) certificate: Option<Arc<Certificate>>,
    /// What may be granted.
    pub(super) guard: Guard,
}

/// The settings were not taken.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Settings(#[from] config::Error),
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error("the log's filter cannot be changed")]
    Log(#[from] tracing_subscriber::reload::Error),
    #[error("setting grpc: TLS was {0}; restart the daemon to change that")]
    TlsSwitched(&'static str),
}

/// Reloads at every `SIGHUP` until it is asked to stop.
pub(super) async fn run(reload: Reload, stopper: Stopper) -> io::Result<&'static str> {
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = hangups.recv() => {}
            () = stopper.stopping() => return Ok("the reloader"),
        }
        match config::load(reload.source.file.as_deref())
            .map_err(Error::from)
            .and_then(|settings| reload.take(settings))
        {
            Ok(()) => info!("reloaded: log filter, certificate, guardrails"),
            Err(error) => {
                error!(error = %Chain(&error), "nothing was reloaded: {}", Chain(&error));
            }
        }
    }
}

impl Reload {
    /// First everything that can fail, then everything else.
    fn take(&self, settings: Settings) -> Result<(), Error> {
        let fresh = match (&settings.grpc.tls, &self.certificate) {
            (Tls::Files { certificate, key }, Some(current)) => {
                Some((current, tls::read(certificate, key)?))
            }
            (Tls::None, None) => None,
            (Tls::Files { .. }, None) => return Err(Error::TlsSwitched("off")),
            (Tls::None, Some(_)) => return Err(Error::TlsSwitched("on")),
        };
        self.source.filter.reload(settings.log_filter)?;
        if let Some((current, fresh)) = fresh {
            current.replace(fresh);
        }
        self.guard.replace(settings.guardrails);
        Ok(())
    }
}
