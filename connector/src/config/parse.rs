//! From what is written to what each room can use.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tracing_subscriber::EnvFilter;

use super::{Error, Raw, RawAccess, RawDatabase, RawGrpc, RawSync};
use crate::{
    access, aws, base::chain::Chain, guard::Rules, model::ids::ConnectorId, store, sync,
    tasks::janitor::Retention,
};

const STATE_DIRECTORY_DEFAULT: &str = "/var/lib/apono-connector";
const CONNECTIONS_MAX_DEFAULT: u32 = 20;
const CONNECTIONS_MIN: u32 = 4;
/// Share of the published rates: most of them is left to the customer's own workload.
const RATE_SHARE_DEFAULT: f64 = 0.3;
const ATTEMPT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(20);
const GROUPS_AT_ONCE_DEFAULT: u32 = 16;
const LEASE_DEFAULT: Duration = Duration::from_secs(15);
const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(5);
/// How often an idle replica looks for groups that another one has planned.
const POLL: Duration = Duration::from_secs(1);
/// Ten minutes: the time-out of an attempt, five for which AWS takes a signature, and a margin.
const SETTLING_DEFAULT: Duration = Duration::from_mins(10);
/// IAM shows what was changed within seconds; nobody promises when.
const PROPAGATION_DEFAULT: Duration = Duration::from_secs(30);
/// Quota of AWS, by instance.
const ASSIGNMENTS_AT_ONCE_DEFAULT: u32 = 15;
/// The same. Sources: the quotas pages of IAM Identity Center and of IAM.
const QUOTAS_DEFAULT: access::Quotas =
    access::Quotas { sets: 3500, sets_in_account: 500, roles_in_account: 1000 };
/// The same: calls a second.
const IDENTITY_CENTER_RATE_DEFAULT: f64 = 20.0;
const AUDIT_DEFAULT: Duration = Duration::from_mins(15);
const GONE_RESOURCES_DEFAULT: Duration = Duration::from_hours(30 * 24);
const HISTORY_DEFAULT: Duration = Duration::from_hours(90 * 24);
const SYNCS_DEFAULT: Duration = Duration::from_hours(30 * 24);
const PROBLEMS_DEFAULT: Duration = Duration::from_hours(90 * 24);
const RETENTION_MIN: Duration = Duration::from_hours(1);
const RETENTION_MAX: Duration = Duration::from_hours(10 * 366 * 24);
const GRPC_PORT: u16 = 8443;
const HTTP_PORT: u16 = 8080;

/// Checked settings.
#[derive(Debug)]
pub struct Settings {
    /// The connectors that this daemon hosts; none: one is made up and kept in the
    /// database.
    pub connectors: Vec<ConnectorId>,
    /// Where the daemon keeps what must outlive it.
    pub state_directory: PathBuf,
    /// The database.
    pub database: Database,
    /// Where callers are served.
    pub grpc: Grpc,
    /// Where health and metrics are served.
    pub http: SocketAddr,
    /// AWS.
    pub aws: aws::Config,
    /// The crawl.
    pub sync: sync::Config,
    /// Time-bound access.
    pub access: access::Config,
    /// What may be granted.
    pub guardrails: Rules,
    /// Since when the database may have forgotten something: said on the command line.
    pub recovering: Option<DateTime<Utc>>,
    /// Whether access is granted where the database is lost with the container.
    pub on_unkept_state: OnUnkeptState,
    /// How long what has ended is kept.
    pub retention: Retention,
    /// Shape of log lines.
    pub log_format: LogFormat,
    /// Which log lines.
    pub log_filter: EnvFilter,
}

/// What to do about grants where the database, with all ends of access in it, is lost when the container
/// ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnkeptState {
    /// Grant nothing.
    Refuse,
    /// Grant all the same: nobody needs what is granted to end.
    Grant,
}

/// Which database.
#[derive(Debug)]
pub enum Database {
    /// One that somebody runs.
    Url(Box<store::Config>),
    /// A private cluster in the state directory.
    Embedded {
        /// Where the PostgreSQL binaries are; none: looked for.
        binaries: Option<PathBuf>,
        /// Connections at most.
        connections_max: u32,
    },
}

impl Database {
    fn connections_max(&self) -> u32 {
        match self {
            Self::Url(config) => config.connections_max,
            Self::Embedded { connections_max, .. } => *connections_max,
        }
    }
}

/// Where callers are served.
#[derive(Debug)]
pub struct Grpc {
    /// Address.
    pub listen: SocketAddr,
    /// Unix socket for the local client.
    pub socket: PathBuf,
    /// Encryption.
    pub tls: Tls,
}

/// Encryption of the gRPC port.
#[derive(Debug)]
pub enum Tls {
    /// With this certificate and key (PEM).
    Files {
        /// Certificate chain.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
    /// None; only loopback, or something in front that terminates it.
    None,
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

pub(super) fn settings(raw: Raw) -> Result<Settings, Error> {
    let state_directory = raw.state_directory.unwrap_or_else(|| STATE_DIRECTORY_DEFAULT.into());
    if !state_directory.is_absolute() {
        return wrong("state_directory", "is not an absolute path; begin it with /");
    }
    let grpc = grpc(raw.grpc, &state_directory)?;
    let rate_share = raw.aws.rate_share.unwrap_or(RATE_SHARE_DEFAULT);
    if !(rate_share > 0.0 && rate_share <= 1.0) {
        return wrong(
            "aws.rate_share",
            format!("is {rate_share}; choose more than 0 and at most 1"),
        );
    }
    let identity_center_rate = raw.aws.identity_center_rate.unwrap_or(IDENTITY_CENTER_RATE_DEFAULT);
    if !(1.0..=10_000.0).contains(&identity_center_rate) {
        let problem = format!("is {identity_center_rate}; choose 1 to 10000 calls a second");
        return wrong("aws.identity_center_rate", problem);
    }
    let database = database(raw.database)?;
    let connectors = connectors(raw.connector_id, raw.connector.into_iter().map(|c| c.id))?;
    let sync = sync(&raw.sync, connectors.len() > 1, database.connections_max())?;
    let access = access(&raw.access, &sync)?;
    let guardrails = Rules::read(raw.access.guardrails_file.as_deref());
    let guardrails =
        guardrails.or_else(|error| wrong("access.guardrails_file", Chain(&error).to_string()))?;
    let on_unkept_state = match raw.access.on_unkept_state.as_deref() {
        None | Some("refuse") => OnUnkeptState::Refuse,
        Some("grant") => OnUnkeptState::Grant,
        Some(other) => {
            let problem = format!("is {other:?}; choose refuse, or grant for a trial");
            return wrong("access.on_unkept_state", problem);
        }
    };
    let kept = |key, text: Option<String>, default| retention(key, text.as_deref(), default);
    Ok(Settings {
        connectors,
        database,
        http: address("http.listen", raw.http.listen.as_deref())?
            .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, HTTP_PORT))),
        aws: aws::Config {
            rate_share,
            identity_center_rate,
            attempt_timeout: duration(
                "aws.attempt_timeout",
                raw.aws.attempt_timeout.as_deref(),
                ATTEMPT_TIMEOUT_DEFAULT,
            )?,
            ca_bundle: std::env::var_os("AWS_CA_BUNDLE").map(PathBuf::from),
        },
        sync,
        access,
        guardrails,
        recovering: None,
        on_unkept_state,
        retention: Retention {
            gone_resources: kept(
                "retention.gone_resources",
                raw.retention.gone_resources,
                GONE_RESOURCES_DEFAULT,
            )?,
            history: kept("retention.history", raw.retention.history, HISTORY_DEFAULT)?,
            syncs: kept("retention.syncs", raw.retention.syncs, SYNCS_DEFAULT)?,
            problems: kept("retention.problems", raw.retention.problems, PROBLEMS_DEFAULT)?,
        },
        log_format: match raw.log.format.as_deref() {
            None | Some("human") => LogFormat::Human,
            Some("json") => LogFormat::Json,
            Some(other) => {
                return wrong("log.format", format!("is {other:?}; choose human or json"));
            }
        },
        log_filter: log_filter(raw.log.filter.as_deref())?,
        state_directory,
        grpc,
    })
}

fn sync(raw: &RawSync, has_several: bool, connections_max: u32) -> Result<sync::Config, Error> {
    let groups_at_once = raw.groups_at_once.unwrap_or(GROUPS_AT_ONCE_DEFAULT);
    if !(1..=512).contains(&groups_at_once) {
        return wrong("sync.groups_at_once", format!("is {groups_at_once}; choose 1 to 512"));
    }
    // One of several connectors leaves a quarter to the others.
    let share = |all: u32| if has_several { (all - all / 4).max(1) } else { all };
    let per_connector = raw.groups_at_once_per_connector.unwrap_or(share(groups_at_once));
    if !(1..=groups_at_once).contains(&per_connector) {
        return wrong(
            "sync.groups_at_once_per_connector",
            format!("is {per_connector}; choose 1 to sync.groups_at_once, {groups_at_once}"),
        );
    }
    let lease = duration("sync.lease", raw.lease.as_deref(), LEASE_DEFAULT)?;
    let heartbeat = duration("sync.heartbeat", raw.heartbeat.as_deref(), HEARTBEAT_DEFAULT)?;
    if heartbeat * 2 > lease {
        return wrong(
            "sync.heartbeat",
            "is more than half of sync.lease, so one late heartbeat would lose the lease; shorten it",
        );
    }
    Ok(sync::Config {
        groups_at_once: groups_at_once as usize,
        groups_at_once_per_connector: per_connector as usize,
        connections_per_connector: share(connections_max - CONNECTIONS_MIN / 2) as usize,
        lease,
        heartbeat,
        poll: POLL.min(heartbeat),
    })
}

/// Leases and looks go at the pace of the crawl's.
fn access(raw: &RawAccess, sync: &sync::Config) -> Result<access::Config, Error> {
    let on_removal = match raw.on_removal.as_deref() {
        None | Some("restore") => access::OnRemoval::Restore,
        Some("report") => access::OnRemoval::Report,
        Some(other) => {
            return wrong("access.on_removal", format!("is {other:?}; choose restore or report"));
        }
    };
    let on_failover = match raw.on_failover.as_deref() {
        None | Some("recover") => access::OnFailover::Recover,
        Some("trust") => access::OnFailover::Trust,
        Some(other) => {
            return wrong("access.on_failover", format!("is {other:?}; choose recover or trust"));
        }
    };
    let allows = |key, choice: Option<&str>| match choice {
        None | Some("refuse") => Ok(false),
        Some("allow") => Ok(true),
        Some(other) => wrong(key, format!("is {other:?}; choose refuse or allow")),
    };
    let management_account =
        allows("access.management_account", raw.management_account.as_deref())?;
    let untagged = allows("access.untagged", raw.untagged.as_deref())?;
    let assignments_at_once = raw.assignments_at_once.unwrap_or(ASSIGNMENTS_AT_ONCE_DEFAULT);
    if !(1..=1000).contains(&assignments_at_once) {
        let problem = format!("is {assignments_at_once}; choose 1 to 1000");
        return wrong("access.assignments_at_once", problem);
    }
    let most = |key, most: Option<u32>, default| match most.unwrap_or(default) {
        0 => wrong(key, "is 0; choose 1 or more".to_owned()),
        most => Ok(most),
    };
    let access::Quotas { sets, sets_in_account, roles_in_account } = QUOTAS_DEFAULT;
    let quotas = access::Quotas {
        sets: most("access.permission_sets_max", raw.permission_sets_max, sets)?,
        sets_in_account: most(
            "access.permission_sets_in_account_max",
            raw.permission_sets_in_account_max,
            sets_in_account,
        )?,
        roles_in_account: most(
            "access.roles_in_account_max",
            raw.roles_in_account_max,
            roles_in_account,
        )?,
    };
    Ok(access::Config {
        lease: sync.lease,
        heartbeat: sync.heartbeat,
        settling: duration("access.settling", raw.settling.as_deref(), SETTLING_DEFAULT)?,
        propagation: duration(
            "access.propagation",
            raw.propagation.as_deref(),
            PROPAGATION_DEFAULT,
        )?,
        audit: duration("access.audit_interval", raw.audit_interval.as_deref(), AUDIT_DEFAULT)?,
        on_removal,
        on_failover,
        assignments_at_once,
        quotas,
        management_account,
        untagged,
        poll: sync.poll,
    })
}

fn wrong<T>(key: &'static str, problem: impl Into<String>) -> Result<T, Error> {
    Err(Error::Value { key, problem: problem.into() })
}

fn connectors(
    single: Option<String>,
    listed: impl Iterator<Item = String>,
) -> Result<Vec<ConnectorId>, Error> {
    let listed: Vec<String> = listed.collect();
    if single.is_some() && !listed.is_empty() {
        return wrong("connector_id", "cannot be set together with [[connector]]; list it there");
    }
    let mut connectors: Vec<ConnectorId> = Vec::new();
    for id in single.into_iter().chain(listed) {
        match id.parse() {
            Ok(id) if connectors.contains(&id) => {
                return wrong("connector.id", format!("{id} is there twice; remove one"));
            }
            Ok(id) => connectors.push(id),
            Err(error) => return wrong("connector.id", format!("is wrong: {error}")),
        }
    }
    Ok(connectors)
}

fn database(raw: RawDatabase) -> Result<Database, Error> {
    let connections_max = raw.connections_max.unwrap_or(CONNECTIONS_MAX_DEFAULT);
    if !(CONNECTIONS_MIN..=500).contains(&connections_max) {
        return wrong(
            "database.connections_max",
            format!("is {connections_max}; choose {CONNECTIONS_MIN} to 500"),
        );
    }
    let Some(url) = raw.url else {
        return Ok(Database::Embedded { binaries: raw.embedded_binaries, connections_max });
    };
    // The URL may hold a password, so it is not repeated in the message.
    let is_postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let parsed = PgConnectOptions::from_str(&url).ok().filter(|_| is_postgres);
    let Some(mut options) = parsed else {
        return wrong(
            "database.url",
            "is not a PostgreSQL URL; use postgres://user@host:5432/database?sslmode=verify-full",
        );
    };
    if let Some(path) = raw.ca_file {
        read("database.ca_file", &path)?;
        options = options.ssl_root_cert(path).ssl_mode(PgSslMode::VerifyFull);
    }
    let mut config = store::Config::new(options, connections_max);
    config.password_file = raw.password_file;
    config.read_password().or_else(|error| {
        wrong("database.password_file", format!("names a file that cannot be read: {error}"))
    })?;
    Ok(Database::Url(Box::new(config)))
}

fn grpc(raw: RawGrpc, state_directory: &Path) -> Result<Grpc, Error> {
    let elsewhere = match raw.tls.as_deref() {
        None => false,
        Some("terminated_elsewhere") => true,
        Some(other) => {
            return wrong(
                "grpc.tls",
                format!("is {other:?}; it can only be terminated_elsewhere, or left out"),
            );
        }
    };
    let tls = match (raw.certificate_file, raw.key_file) {
        (Some(certificate), Some(key)) => {
            read("grpc.certificate_file", &certificate)?;
            read("grpc.key_file", &key)?;
            Tls::Files { certificate, key }
        }
        (None, None) => Tls::None,
        (Some(_), None) => return wrong("grpc.key_file", "is required with grpc.certificate_file"),
        (None, Some(_)) => return wrong("grpc.certificate_file", "is required with grpc.key_file"),
    };
    let open = elsewhere || matches!(tls, Tls::Files { .. });
    let ip = IpAddr::V4(if open { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST });
    let listen = address("grpc.listen", raw.listen.as_deref())?
        .unwrap_or_else(|| SocketAddr::new(ip, GRPC_PORT));
    if !open && !listen.ip().is_loopback() {
        return wrong(
            "grpc.listen",
            "is not a loopback address, and there is no certificate; set grpc.certificate_file and grpc.key_file, or grpc.tls = \"terminated_elsewhere\" if something in front encrypts",
        );
    }
    let socket = raw.socket.unwrap_or_else(|| state_directory.join("connector.sock"));
    Ok(Grpc { listen, socket, tls })
}

fn address(key: &'static str, text: Option<&str>) -> Result<Option<SocketAddr>, Error> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(_) => {
            wrong(key, format!("is {text:?}; use an address and a port, such as 127.0.0.1:8443"))
        }
    }
}

fn duration(key: &'static str, text: Option<&str>, default: Duration) -> Result<Duration, Error> {
    let Some(text) = text else { return Ok(default) };
    match humantime::parse_duration(text) {
        Ok(duration)
            if duration >= Duration::from_millis(100) && duration <= Duration::from_hours(1) =>
        {
            Ok(duration)
        }
        Ok(_) => wrong(key, format!("is {text:?}; choose 100ms to 1h")),
        Err(_) => wrong(key, format!("is {text:?}; write it as 15s, 500ms or 2min")),
    }
}

fn retention(key: &'static str, text: Option<&str>, default: Duration) -> Result<Duration, Error> {
    let Some(text) = text else { return Ok(default) };
    match humantime::parse_duration(text) {
        Ok(kept) if (RETENTION_MIN..=RETENTION_MAX).contains(&kept) => Ok(kept),
        Ok(_) => wrong(key, format!("is {text:?}; choose 1h to 10years")),
        Err(_) => wrong(key, format!("is {text:?}; write it as 30days, 12h")),
    }
}

fn log_filter(text: Option<&str>) -> Result<EnvFilter, Error> {
    let text = text.unwrap_or("info");
    EnvFilter::try_new(text).or_else(|error| wrong("log.filter", format!("is {text:?}: {error}")))
}

fn read(key: &'static str, path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).or_else(|error| {
        wrong(key, format!("names {}, which cannot be read: {error}", path.display()))
    })
}
