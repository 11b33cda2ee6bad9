//! Floor 8: puts the rooms together and keeps them running.
//!
//! Invariant: a dead task is a dead process. Everything that runs for ever is in one
//! set; the first that ends, for whatever reason, ends the daemon. Being crash-safe,
//! it is simply started again.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Server, server::TcpIncoming};
use tracing::{info, warn};

use crate::{
    access::OnFailover,
    api::{self, Api, Limits},
    aws::{self, Aws},
    base::{activator::Activator, chance, clock, stopper::Stopper},
    config::{Database, OnUnkeptState, Settings, Tls},
    guard::Guard,
    model::ids::{ConnectorId, ReplicaId},
    store::{self, Db},
    tasks::{
        self, Board, Task, database_password::DatabasePassword, gauges::Gauges,
        identity::OwnIdentity, janitor::Janitor, memory::DatabaseMemory, remover::Remover,
        scheduler::Scheduler, sealer::Sealer, statistician::Statistician, stuck::StuckAccess,
        validator::Validator,
    },
    telemetry,
};

pub mod check;
pub mod embedded;
pub mod reload;
pub mod tls;

mod runners;

use self::{
    reload::{Reload, Source},
    runners::Base,
    tls::Certificate,
};

/// How often the scheduler looks without a poke.
const SCHEDULE_PERIOD: Duration = Duration::from_secs(1);
/// How long a stop may take: orchestrators kill after 30 seconds.
const DRAIN_MAX: Duration = Duration::from_secs(25);
/// How often a quiet gRPC connection is asked whether it lives.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The daemon could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The embedded PostgreSQL.
    #[error("the embedded PostgreSQL cannot be used")]
    Embedded(#[from] embedded::Error),
    /// The database.
    #[error("the database cannot be used")]
    Store(#[from] store::Error),
    /// AWS.
    #[error("AWS cannot be set up")]
    Aws(#[from] aws::http::Error),
    /// Metrics.
    #[error("metrics cannot be set up")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// A port, a socket, a file.
    #[error("failed to use {what}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// gRPC.
    #[error("failed to serve gRPC")]
    Grpc(#[from] tonic::transport::Error),
    /// Certificate or key.
    #[error("the gRPC port cannot be encrypted")]
    Certificate(#[from] tls::Error),
    /// TLS.
    #[error("TLS cannot be set up")]
    Tls(#[source] tokio_rustls::rustls::Error),
    /// A part that should run for ever has ended.
    #[error("{0} has ended by itself")]
    Ended(&'static str),
    /// A part has panicked.
    #[error("a part of the daemon has panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

impl Error {
    /// The process itself could not be set up.
    #[must_use]
    pub fn runtime(source: io::Error) -> Self {
        Self::Io { what: "threads and signals".to_owned(), source }
    }
}

/// Brings the database to this version's schema.
///
/// # Errors
///
/// When there is no database, or a migration fails.
pub async fn migrate(settings: Settings) -> Result<(), Error> {
    let (db, cluster) = open_database(&settings).await?;
    let migrated = async {
        let mut conn = db.conn().await?;
        store::schema::migrate(&mut conn).await
    };
    let migrated = migrated.await;
    db.close().await;
    if let Some(cluster) = cluster {
        cluster.stop().await?;
    }
    migrated?;
    info!("the database has schema version {}", store::schema::known_version());
    Ok(())
}

/// Runs until it is asked to stop.
///
/// # Errors
///
/// When it cannot start, or a part of it ends.
pub async fn run(settings: Settings, source: Source, stopper: Stopper) -> Result<(), Error> {
    let (db, cluster) = open_database(&settings).await?;
    let ended = Box::pin(run_on(settings, source, &db, cluster.as_ref(), stopper)).await;
    db.close().await;
    let stopped = match cluster {
        Some(cluster) => cluster.stop().await.map_err(Error::from),
        None => Ok(()),
    };
    ended.and(stopped)
}

/// Runs on an open database.
async fn run_on(
    settings: Settings,
    source: Source,
    db: &Db,
    cluster: Option<&embedded::Cluster>,
    stopper: Stopper,
) -> Result<(), Error> {
    let metrics = telemetry::metrics::start()?;
    let connectors: Arc<[ConnectorId]> = prepare(&settings, db, cluster.is_some()).await?.into();
    let aws = Aws::load(&settings.aws).await?;
    let replica = ReplicaId(chance::uuid());
    let [groups, schedule, validations, wishes, audits, removals] = <[Activator; 6]>::default();
    let limits = limits(&settings);
    let guard = Guard::new(settings.guardrails);
    let board = Board::default();
    let identity = Arc::new(ArcSwapOption::empty());

    let api = Api {
        db: db.clone(),
        groups: groups.clone(),
        validations: validations.clone(),
        schedule: schedule.clone(),
        wishes: wishes.clone(),
        audits: audits.clone(),
        removals: removals.clone(),
        guard: guard.clone(),
        limits,
        board: board.clone(),
        connectors: Arc::clone(&connectors),
        replica,
        identity: Arc::clone(&identity),
        stopper: stopper.clone(),
        verifications: Arc::new(Semaphore::new(1)),
        followers: Arc::new(Semaphore::new(api::FOLLOWERS_MAX)),
    };
    let http = bind(settings.http).await?;
    let certificate = match &settings.grpc.tls {
        Tls::Files { certificate, key } => Some(Certificate::read(certificate, key)?),
        Tls::None => None,
    };
    let grpc = bind(settings.grpc.listen).await?;
    let socket = bind_socket(&settings.grpc.socket)?;
    info!(
        grpc.address = local(&grpc),
        http.address = local(&http),
        "serving gRPC on {} and {}, health and metrics on {}",
        local(&grpc),
        settings.grpc.socket.display(),
        local(&http)
    );

    let mut parts: JoinSet<Result<&'static str, Error>> = JoinSet::new();
    start_servers(&mut parts, api, (grpc, socket, http), certificate.clone(), metrics, &stopper);
    if let Some(cluster) = cluster {
        let watching = cluster.watch(stopper.clone());
        parts.spawn(async move {
            watching.await;
            Ok("the embedded PostgreSQL")
        });
    }
    let reloading =
        reload::run(Reload { source, certificate, guard: guard.clone() }, stopper.clone());
    parts.spawn(async move { reloading.await.map_err(Error::runtime) });
    let base =
        Base { db: db.clone(), aws: aws.clone(), connectors: Arc::clone(&connectors), replica };
    base.start_crawling(&mut parts, settings.sync, groups.clone(), &stopper);
    let access = settings.access.clone();
    base.start_giving(&mut parts, access, guard.clone(), wishes.clone(), &stopper);
    base.start_auditing(&mut parts, audits, &stopper);
    let scheduler = Scheduler {
        db: db.clone(),
        connectors: Arc::clone(&connectors),
        groups,
        period: SCHEDULE_PERIOD,
    };
    let remover = Remover { db: db.clone(), connectors: Arc::clone(&connectors), wishes };
    let validator = Validator {
        db: db.clone(),
        aws: aws.clone(),
        connectors: Arc::clone(&connectors),
        running: JoinSet::new(),
    };
    let janitor = Janitor { db: db.clone(), aws: aws.clone(), retention: settings.retention };
    let database_password = database_password(&settings.database, db);
    let own_identity = OwnIdentity { aws, identity };
    let mut start = Start { parts: &mut parts, board: &board, stopper: &stopper };
    start.task(scheduler, schedule);
    start.task(validator, validations);
    start.task(remover, removals);
    start.task(janitor, Activator::default());
    start.watchers(db, &connectors, settings.access.on_failover);
    start.task(own_identity, Activator::default());
    if let Some(task) = database_password {
        start.task(task, Activator::default());
    }

    attend(&mut parts, &stopper).await
}

/// Starts what answers: gRPC by the port and the local socket, health and metrics.
fn start_servers(
    parts: &mut JoinSet<Result<&'static str, Error>>,
    api: Api,
    (grpc, socket, http): (TcpListener, UnixListener, TcpListener),
    certificate: Option<Arc<Certificate>>,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    stopper: &Stopper,
) {
    let serving = telemetry::serve(http, api.db.clone(), metrics, stopper.clone());
    parts.spawn(serve_tcp(api.clone(), grpc, certificate, stopper.clone()));
    parts.spawn(serve_socket(api, socket, stopper.clone()));
    parts.spawn(async move {
        serving.await.map_err(|source| Error::Io { what: "the HTTP port".into(), source })?;
        Ok("the HTTP server")
    });
}

/// Starts background tasks among the parts.
struct Start<'a> {
    parts: &'a mut JoinSet<Result<&'static str, Error>>,
    board: &'a Board,
    stopper: &'a Stopper,
}

impl Start<'_> {
    fn task(&mut self, task: impl Task + 'static, activator: Activator) {
        let name = task.name();
        let running = tasks::run(task, activator, self.board.clone(), self.stopper.clone());
        self.parts.spawn(async move {
            running.await;
            Ok(name)
        });
    }

    /// What looks at the database alone.
    fn watchers(&mut self, db: &Db, connectors: &Arc<[ConnectorId]>, on_failover: OnFailover) {
        let trusts_failover = on_failover == OnFailover::Trust;
        let memory = DatabaseMemory { db: db.clone(), trusts_failover, seen_at: None };
        self.task(memory, Activator::default());
        let (db, connectors) = (db.clone(), Arc::clone(connectors));
        self.task(Statistician { db: db.clone() }, Activator::default());
        let stuck = StuckAccess { db: db.clone(), connectors: Arc::clone(&connectors) };
        self.task(stuck, Activator::default());
        let sealer = Sealer { db: db.clone(), connectors: Arc::clone(&connectors) };
        self.task(sealer, Activator::default());
        self.task(Gauges { db, connectors }, Activator::default());
    }
}

/// Waits for the first part that ends by itself, or for all of them once asked to stop.
async fn attend(
    parts: &mut JoinSet<Result<&'static str, Error>>,
    stopper: &Stopper,
) -> Result<(), Error> {
    let too_long = async {
        stopper.stopping().await;
        clock::sleep(DRAIN_MAX).await;
    };
    tokio::pin!(too_long);
    loop {
        let ended = tokio::select! {
            ended = parts.join_next() => ended,
            () = stopper.leaving() => None,
            () = &mut too_long => None,
        };
        let Some(ended) = ended else { break };
        let part = ended??;
        if !stopper.is_stopping() {
            return Err(Error::Ended(part));
        }
    }
    if !parts.is_empty() {
        warn!("leaving at once; what was being read is read again by the next daemon");
        parts.abort_all();
    }
    Ok(())
}

async fn open_database(settings: &Settings) -> Result<(Db, Option<embedded::Cluster>), Error> {
    match &settings.database {
        Database::Url(config) => Ok((Db::connect(config).await?, None)),
        Database::Embedded { binaries, connections_max } => {
            if embedded::goes_with_the_container(&settings.state_directory) {
                warn!(
                    "{} is no volume: everything in it, the database too, is lost with this container; mount one, or set DATABASE_URL",
                    settings.state_directory.display()
                );
            }
            let cluster =
                embedded::Cluster::start(&settings.state_directory, binaries.as_deref()).await?;
            let db = Db::connect(&cluster.config(*connections_max)).await?;
            Ok((db, Some(cluster)))
        }
    }
}

/// Migrates, makes sure of the connectors, looks whether the database is the one that was written last,
/// and takes back leases of a daemon that died.
async fn prepare(settings: &Settings, db: &Db, is_alone: bool) -> Result<Vec<ConnectorId>, Error> {
    let mut conn = db.conn().await?;
    store::schema::migrate(&mut conn).await?;
    let mut connectors = settings.connectors.clone();
    for connector in &connectors {
        store::connectors::ensure(&mut conn, connector).await?;
    }
    if connectors.is_empty() {
        let made = ConnectorId::from(chance::uuid());
        let mut tx = db.begin().await?;
        connectors = store::connectors::list_or_make(&mut tx, &made).await?;
        tx.commit().await?;
        if connectors.contains(&made) {
            info!("no connector id is set; this connector is {made} from now on");
        }
    }
    if let Some(since) = settings.recovering {
        tasks::memory::doubt(db, since).await?;
    }
    let trusts_failover = settings.access.on_failover == OnFailover::Trust;
    tasks::memory::look(db, trusts_failover, None).await?;
    if is_alone {
        let released = store::groups::release_all(&mut conn).await?;
        if released > 0 {
            info!("took back {released} leases of a daemon that ended");
        }
    }
    Ok(connectors)
}

/// Where the password stands in a file, it is looked up again.
fn database_password(database: &Database, db: &Db) -> Option<DatabasePassword> {
    match database {
        Database::Url(config) if config.password_file.is_some() => {
            Some(DatabasePassword { db: db.clone(), config: (**config).clone() })
        }
        Database::Url(_) | Database::Embedded { .. } => None,
    }
}

/// What no grant may pass.
fn limits(settings: &Settings) -> Limits {
    let is_lost = matches!(settings.database, Database::Embedded { .. })
        && embedded::goes_with_the_container(&settings.state_directory);
    Limits {
        state_is_kept: !is_lost || settings.on_unkept_state == OnUnkeptState::Grant,
        management_account: settings.access.management_account,
        untagged: settings.access.untagged,
        assignments_at_once: settings.access.assignments_at_once,
    }
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Error::Io { what: address.to_string(), source })
}

fn local(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string())
}

/// The local socket. One that a dead daemon left is replaced.
fn bind_socket(path: &PathBuf) -> Result<UnixListener, Error> {
    let failed = |source| Error::Io { what: path.display().to_string(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(failed(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another daemon serves it; stop it, or set grpc.socket",
        )));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    UnixListener::bind(path).map_err(failed)
}

/// A peer that has gone without a word is noticed, and a quiet stream is not taken for a
/// dead one by what stands between.
fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

async fn serve_tcp(
    api: Api,
    listener: TcpListener,
    certificate: Option<Arc<Certificate>>,
    stopper: Stopper,
) -> Result<&'static str, Error> {
    let router = server().add_routes(api.routes());
    let stopping = stopper.clone();
    let stopping = async move { stopping.stopping().await };
    if let Some(certificate) = certificate {
        let incoming = tls::accept(listener, certificate, stopper).map_err(Error::Tls)?;
        router.serve_with_incoming_shutdown(incoming, stopping).await?;
    } else {
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        router.serve_with_incoming_shutdown(incoming, stopping).await?;
    }
    Ok("the gRPC server")
}

async fn serve_socket(
    api: Api,
    listener: UnixListener,
    stopper: Stopper,
) -> Result<&'static str, Error> {
    server()
        .add_routes(api.routes())
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move {
            stopper.stopping().await;
        })
        .await?;
    Ok("the local socket")
}
