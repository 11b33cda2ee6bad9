//! Tries everything that the daemon needs, before anybody relies on it: the database,
//! the clocks, our AWS identity, and each integration's settings.
//!
//! It changes nothing: no migration is applied, no cluster is made. A step that fails
//! keeps those that build on it from being tried, so that one mistake is one line.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::postgres::PgSslMode;

use super::embedded::{self, Cluster};
use crate::{
    aws::Aws,
    base::{chain::Chain, clock},
    config::{Database, Settings},
    model::{
        ids::ConnectorId,
        integration,
        validation::{Outcome, Step},
    },
    privileges::preflight,
    store::{
        self, Db,
        server::{Refusal, Server},
    },
};

/// Clocks may be this far apart: signatures, leases and the ends of grants depend on them.
const SKEW_MAX: TimeDelta = TimeDelta::seconds(5);
/// Connections that a check opens at most.
const CONNECTIONS_MAX: u32 = 4;
/// Integrations that are tried of one connector.
const INTEGRATIONS_MAX: i64 = 1000;

/// What to try beside the daemon itself.
#[derive(Debug, Default)]
pub struct Asked {
    /// Whose integrations; none: those of all connectors.
    pub connector: Option<ConnectorId>,
    /// Only these settings, which need not be stored; none: all that are stored.
    pub form: Option<integration::Settings>,
}

/// A step, and what it was tried for.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Name of the integration; none: the daemon itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integration: Option<String>,
    /// The step.
    #[serde(flatten)]
    pub step: Step,
}

impl From<Step> for Line {
    fn from(step: Step) -> Self {
        Self { integration: None, step }
    }
}

/// Takes each line as soon as it is known.
pub type Report<'a> = &'a mut (dyn FnMut(Line) + Send);

/// Tries everything, in order.
pub async fn run(settings: &Settings, asked: Asked, report: Report<'_>) {
    let Some(found) = database(settings, report).await else { return };
    try_aws(settings, asked, found.db.as_ref(), report).await;
    if let Some(db) = found.db {
        db.close().await;
    }
    if let Some(cluster) = found.started {
        // One that does not stop is taken over by the next daemon.
        let _ = cluster.stop().await;
    }
}

/// The database, where it has what this binary reads.
#[derive(Default)]
struct Found {
    db: Option<Db>,
    /// An embedded server that was not running before.
    started: Option<Cluster>,
}

async fn database(settings: &Settings, report: Report<'_>) -> Option<Found> {
    const CODE: &str = "DATABASE";
    let (config, started) = match &settings.database {
        Database::Url(config) => ((**config).clone(), None),
        Database::Embedded { binaries, .. } => {
            let state = &settings.state_directory;
            match embedded::look(state, binaries.as_deref(), CONNECTIONS_MAX) {
                Ok(embedded::Seen::None { binaries }) => {
                    let finding = format!(
                        "none is set; the first run makes a private one in {}, with {}",
                        state.display(),
                        binaries.display()
                    );
                    report(Step::passed(CODE, finding).into());
                    return Some(Found::default());
                }
                Ok(embedded::Seen::Running(config)) => (*config, None),
                Ok(embedded::Seen::Stopped) => {
                    match Cluster::start(state, binaries.as_deref()).await {
                        Ok(cluster) => (cluster.config(CONNECTIONS_MAX), Some(cluster)),
                        Err(error) => return failed(CODE, &error, report),
                    }
                }
                Err(error) => return failed(CODE, &error, report),
            }
        }
    };
    let db = match store::server::inspect(&config).await {
        Ok(server) => {
            let step = server_step(&config, &server);
            let good = step.outcome != Outcome::Failed;
            report(step.into());
            if good { Some(schema(&config, &server, report).await) } else { None }
        }
        Err(error) => {
            report(unreachable(CODE, &error).into());
            None
        }
    };
    match (db, started) {
        (Some(Some(db)), started) => Some(Found { db, started }),
        (_, started) => {
            if let Some(cluster) = started {
                // One that does not stop is taken over by the next daemon.
                let _ = cluster.stop().await;
            }
            None
        }
    }
}

fn failed(code: &str, error: &embedded::Error, report: Report<'_>) -> Option<Found> {
    let finding = Chain(error).to_string();
    let remedy = "Make the state directory usable as the message says, or set database.url.";
    report(Step::failed(code, finding, remedy).into());
    None
}

fn unreachable(code: &str, error: &store::Error) -> Step {
    let remedy = match error.refusal() {
        Refusal::Credentials => {
            "Correct the user in database.url, or the password in database.password_file."
        }
        Refusal::NoDatabase => "Create the database, or correct its name in database.url.",
        Refusal::Full => {
            "Raise max_connections of the server, or lower database.connections_max of all replicas."
        }
        Refusal::Tls => {
            "Switch on TLS at the server, or correct sslmode in database.url and database.ca_file."
        }
        Refusal::Other => {
            "Check host and port in database.url, and the way there: DNS, firewall, security group."
        }
    };
    Step::failed(code, Chain(error).to_string(), remedy)
}

fn server_step(config: &store::Config, server: &Server) -> Step {
    const CODE: &str = "DATABASE";
    let host = config.options.get_host();
    let is_here = config.options.get_socket().is_some()
        || host == "localhost"
        || host.starts_with('/')
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let encrypted = match &server.tls {
        Some(version) => format!("encrypted ({version})"),
        None => "not encrypted".to_owned(),
    };
    let finding = format!("PostgreSQL {}, {encrypted}", server.version);
    if server.version_number < store::server::VERSION_MIN {
        let remedy = "Use PostgreSQL 14 or later.";
        return Step::failed(CODE, finding, remedy);
    }
    let verified = matches!(config.options.get_ssl_mode(), PgSslMode::VerifyFull);
    if is_here || verified {
        return Step::passed(CODE, finding);
    }
    Step::warning(
        CODE,
        format!("{finding}; nothing proves that {host} is the server that is meant"),
        "Set database.ca_file, or sslmode=verify-full in database.url.",
    )
}

/// Some: the way goes on, with the database where it has our schema.
async fn schema(config: &store::Config, server: &Server, report: Report<'_>) -> Option<Option<Db>> {
    const CODE: &str = "SCHEMA";
    let (found, known) = (server.schema, store::schema::known_version());
    if !server.may_use {
        report(Step::failed(
            CODE,
            format!("the user {} may not use or make the schema \"connector\"", config.options.get_username()),
            "Make it the owner of the database, or grant it CREATE on the database and on the schema public.",
        ).into());
        return None;
    }
    if found > known {
        let error = store::Error::SchemaTooNew { found, known };
        let remedy = "Run a connector of at least the version that migrated this database.";
        report(Step::failed(CODE, error.to_string(), remedy).into());
        return None;
    }
    if found < known {
        let finding = format!("version {found}; the first run brings it to {known}");
        report(Step::passed(CODE, finding).into());
        return Some(None);
    }
    let config = store::Config::new(config.options.clone(), CONNECTIONS_MAX);
    match Db::connect(&config).await {
        Ok(db) => {
            report(Step::passed(CODE, format!("version {known}, current")).into());
            Some(Some(db))
        }
        Err(error) => {
            report(unreachable(CODE, &error).into());
            None
        }
    }
}

/// An integration to try.
struct Target {
    connector: ConnectorId,
    settings: integration::Settings,
}

async fn try_aws(settings: &Settings, asked: Asked, db: Option<&Db>, report: Report<'_>) {
    let aws = match Aws::load(&settings.aws).await {
        Ok(aws) => aws,
        Err(error) => {
            let remedy = "Correct AWS_CA_BUNDLE: a PEM file that the daemon's user can read.";
            report(Step::failed("AWS_CLIENT", Chain(&error).to_string(), remedy).into());
            return;
        }
    };
    let targets = match targets(settings, asked, db).await {
        Ok(targets) => targets,
        Err(step) => {
            report(step.into());
            return;
        }
    };
    let region = targets.first().map(|target| target.settings.region.clone());
    let Some(region) = region.or_else(|| aws.own_region()) else {
        let remedy = "Set AWS_REGION, or name an integration's file with --file.";
        report(Step::failed("OWN_IDENTITY", "no region is known", remedy).into());
        return;
    };
    let (step, identity) = preflight::own_identity(&aws, &region).await;
    report(step.into());
    let answered_at = identity.as_ref().and_then(|identity| identity.answered_at);
    report(clocks(answered_at, db).await.into());
    let Some(identity) = identity else { return };
    if targets.is_empty() {
        let finding = "none is connected; --file FILE tries one that is not stored yet";
        report(Step::skipped("INTEGRATIONS", finding).into());
    }
    for Target { connector, settings } in &targets {
        let name = Some(settings.name.clone());
        let lines = &mut |step| report(Line { integration: name.clone(), step });
        preflight::run(&aws, connector, settings, &identity, lines).await;
    }
}

/// What was asked for, or all that is stored.
async fn targets(settings: &Settings, asked: Asked, db: Option<&Db>) -> Result<Vec<Target>, Step> {
    const CODE: &str = "CONNECTOR";
    let unreadable = |error: store::Error| {
        let remedy =
            "Look into the server's log; the database holds what this version cannot read.";
        Step::failed(CODE, Chain(&error).to_string(), remedy)
    };
    let mut connectors = settings.connectors.clone();
    if let (true, Some(db)) = (connectors.is_empty(), db) {
        let mut conn = db.conn().await.map_err(unreadable)?;
        connectors = store::connectors::list(&mut conn).await.map_err(unreadable)?;
    }
    if let Some(named) = asked.connector {
        if !connectors.is_empty() && !connectors.contains(&named) {
            let remedy = "List it as [[connector]] in the settings, or name another one.";
            return Err(Step::failed(CODE, format!("{named} is not hosted here"), remedy));
        }
        connectors = vec![named];
    }
    if let Some(settings) = asked.form {
        return match <[ConnectorId; 1]>::try_from(connectors) {
            Ok([connector]) => Ok(vec![Target { connector, settings }]),
            Err(none) if none.is_empty() => Err(Step::failed(
                CODE,
                "no connector id is set, and none was made yet",
                "Set connector_id to a random UUID, or start the daemon once: it makes one.",
            )),
            Err(_) => Err(Step::failed(
                CODE,
                "several connectors are hosted here",
                "Say with --connector whose integration it is.",
            )),
        };
    }
    let mut targets = Vec::new();
    let Some(db) = db else { return Ok(targets) };
    let mut conn = db.conn().await.map_err(unreadable)?;
    for connector in connectors {
        let stored = store::integrations::list(&mut conn, &connector, "", INTEGRATIONS_MAX)
            .await
            .map_err(unreadable)?;
        targets.extend(
            stored
                .into_iter()
                .map(|stored| Target { connector: connector.clone(), settings: stored.settings }),
        );
    }
    Ok(targets)
}

/// Host, database and AWS must agree on the time.
async fn clocks(aws: Option<DateTime<Utc>>, db: Option<&Db>) -> Step {
    const CODE: &str = "CLOCKS";
    let database = match db {
        Some(db) => database_time(db).await.ok(),
        None => None,
    };
    let host = clock::now();
    let others = [("the database", database), ("AWS", aws)];
    let mut compared = Vec::new();
    for (whose, time) in others {
        let Some(time) = time else { continue };
        let apart = host - time;
        if apart.abs() > SKEW_MAX {
            let (how, seconds) =
                if apart > TimeDelta::zero() { ("ahead of", apart) } else { ("behind", -apart) };
            return Step::failed(
                CODE,
                format!("this host is {} s {how} {whose}", seconds.num_seconds()),
                "Synchronize the clocks of this host and of the database server (chrony, Amazon Time Sync).",
            );
        }
        compared.push(whose);
    }
    match compared.as_slice() {
        [] => Step::skipped(CODE, "there is nothing to compare this host with"),
        whose => {
            Step::passed(CODE, format!("this host agrees with {} within 5 s", whose.join(" and ")))
        }
    }
}

async fn database_time(db: &Db) -> store::Result<DateTime<Utc>> {
    store::now(&mut *db.conn().await?).await
}
