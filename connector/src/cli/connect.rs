//! The way to a daemon: its local socket, or an address with a token; by flags, by the
//! environment, or by a named context.
//!
//! Contexts stand in `~/.config/apono-connector/contexts.toml`:
//!
//! ```toml
//! current = "prod"
//!
//! [contexts.prod]
//! address = "https://connector.example.com:8443"
//! token_file = "/home/ann/.apono-token"
//! ```

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri},
};

use super::output::Format;

/// The socket of a daemon with default settings.
const SOCKET_DEFAULT: &str = "/var/lib/apono-connector/connector.sock";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach a daemon.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Reaching the daemon")]
pub(super) struct Reach {
    /// Address of the gRPC port, such as <https://connector.example.com:8443>.
    #[arg(long, global = true, env = "APONO_ADDRESS", value_name = "URL")]
    address: Option<String>,
    /// Local socket of the daemon; used when there is no address, and needs no token.
    #[arg(long, global = true, env = "APONO_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// File with the token; the environment variable `APONO_TOKEN` may hold it instead.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the certificate authority of the daemon.
    #[arg(long, global = true, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A context of ~/.config/apono-connector/contexts.toml.
    #[arg(long, global = true, env = "APONO_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Connector, where the daemon hosts several.
    #[arg(long, global = true, env = "APONO_CONNECTOR_ID", value_name = "ID")]
    pub(super) connector: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contexts {
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, ContextEntry>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextEntry {
    address: Option<String>,
    socket: Option<PathBuf>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    connector: Option<String>,
}

/// Adds the token to every call.
#[derive(Clone, Debug)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// The way of calls.
pub(super) type Way = InterceptedService<Channel, Bearer>;

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    /// The way of calls.
    pub(super) way: Way,
    /// The connector that is meant; empty: the caller's.
    pub(super) connector_id: String,
    /// How answers are printed.
    pub(super) format: Format,
}

impl Reach {
    /// Connects.
    pub(super) async fn connect(self, format: Format) -> anyhow::Result<Client> {
        let entry = self.entry()?;
        let address = self.address.or(entry.address);
        let connector_id = self.connector.or(entry.connector).unwrap_or_default();
        let Some(address) = address else {
            let socket = self.socket.or(entry.socket).unwrap_or_else(|| SOCKET_DEFAULT.into());
            let way = InterceptedService::new(local(&socket).await?, Bearer(None));
            return Ok(Client { way, connector_id, format });
        };
        let token = token(self.token_file.or(entry.token_file).as_deref())?;
        let channel = remote(&address, self.ca_file.or(entry.ca_file).as_deref()).await?;
        let way = InterceptedService::new(channel, Bearer(Some(token)));
        Ok(Client { way, connector_id, format })
    }

    fn entry(&self) -> anyhow::Result<ContextEntry> {
        let home = std::env::var_os("HOME").unwrap_or_default();
        let path = Path::new(&home).join(".config/apono-connector/contexts.toml");
        let contexts: Contexts = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .with_context(|| format!("{} cannot be used", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Contexts::default(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let Some(name) = self.context.as_ref().or(contexts.current.as_ref()) else {
            return Ok(ContextEntry::default());
        };
        contexts.contexts.get(name).cloned().with_context(|| {
            format!("there is no context {name:?} in {}; add [contexts.{name}]", path.display())
        })
    }
}

async fn local(socket: &Path) -> anyhow::Result<Channel> {
    if let Err(error) = UnixStream::connect(socket).await {
        bail!(
            "no daemon answers on {} ({error}); start it, name its socket with --socket, or its address with --address",
            socket.display()
        );
    }
    let socket = socket.to_owned();
    let connect = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    // The name is for the `host` header alone.
    let endpoint = Endpoint::from_static("http://connector.local");
    Ok(endpoint.connect_with_connector(connect).await?)
}

async fn remote(address: &str, ca_file: Option<&Path>) -> anyhow::Result<Channel> {
    let wrong = || format!("{address:?} is no address; use one such as https://host:8443");
    let mut endpoint = Endpoint::from_shared(address.to_owned())
        .with_context(wrong)?
        .connect_timeout(CONNECT_TIMEOUT);
    let host = endpoint.uri().host().unwrap_or_default();
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if endpoint.uri().scheme_str() == Some("http") && !is_here {
        bail!("{address} would send the token unencrypted; use https");
    }
    if endpoint.uri().scheme_str() == Some("https") {
        let mut tls = ClientTlsConfig::new().with_native_roots();
        if let Some(path) = ca_file {
            let pem =
                fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        endpoint = endpoint.tls_config(tls)?;
    }
    endpoint.connect().await.with_context(|| format!("no daemon answers at {address}"))
}

fn token(file: Option<&Path>) -> anyhow::Result<MetadataValue<Ascii>> {
    let text = match (file, std::env::var("APONO_TOKEN")) {
        (Some(path), _) => fs::read_to_string(path)
            .with_context(|| format!("failed to read {}", path.display()))?,
        (None, Ok(token)) => token,
        (None, Err(_)) => bail!(
            "an address needs a token; set APONO_TOKEN or --token-file (an admin makes one with `tokens create`)"
        ),
    };
    format!("Bearer {}", text.trim())
        .parse()
        .context("the token holds characters that no token has")
}
