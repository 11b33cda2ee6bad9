//! Floor 2: the database, and nothing but SQL.
//!
//! Queries are bare functions on a connection, one noun a file. Each takes the
//! connector first, so that no query can forget whose rows it touches. What is not
//! found is `Ok(None)`; a guarded write proves itself with [`expect_one`].
//!
//! Time is the database's: SQL asks `connector.now()` and nothing else.

use std::{
    fs, io,
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
pub use sqlx::PgConnection;
use sqlx::{
    PgPool, Postgres, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub mod acts;
pub mod audit_events;
pub mod audit_places;
pub mod audited_units;
pub mod backlog;
pub mod connectors;
pub mod coverage;
pub mod doubts;
pub mod erasure;
pub mod facets;
pub mod feeds;
pub mod filter;
pub mod grants;
pub mod groups;
pub mod history;
pub mod holdings;
pub mod identity_centers;
pub mod integrations;
pub mod inventory;
pub mod lookups;
pub mod memory;
pub mod organization;
pub mod permission_sets;
pub mod problems;
pub mod quotas;
pub mod recovery;
pub mod resources;
pub mod runs;
pub mod schema;
pub mod scopes;
pub mod seals;
pub mod server;
pub mod statistics;
pub mod syncs;
pub mod targets;
pub mod tokens;
pub mod trail_queues;
pub mod units;
pub mod validations;
pub mod wishes;

/// Begins a transaction whose queries all see the same rows.
const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// How long a caller waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A statement that takes longer is ended; the longest of ours takes seconds.
const STATEMENT_TIMEOUT_S: u32 = 60;
/// A lock that is not had within this time is given up. It is longer than a replica that hangs can keep
/// one ([`IDLE_IN_TRANSACTION_TIMEOUT_S`]): nobody fails, or does not start, because of that.
const LOCK_TIMEOUT_S: u32 = 20;
/// A transaction that waits longer for its client is ended with its locks.
const IDLE_IN_TRANSACTION_TIMEOUT_S: u32 = 15;

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where, who, and with which TLS.
    pub options: PgConnectOptions,
    /// Where the password stands, if in a file.
    pub password_file: Option<PathBuf>,
    /// The password as it was last read there.
    password: Option<String>,
    /// Connections that this process opens at most.
    pub connections_max: u32,
    /// How long a caller waits for a free connection.
    pub acquire_timeout: Duration,
}

impl Config {
    /// A way to connect, with the password that `options` bear.
    #[must_use]
    pub fn new(options: PgConnectOptions, connections_max: u32) -> Self {
        let acquire_timeout = ACQUIRE_TIMEOUT;
        Self { options, password_file: None, password: None, connections_max, acquire_timeout }
    }

    /// Takes the password from its file; whether it is another one than before.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn read_password(&mut self) -> io::Result<bool> {
        let Some(path) = &self.password_file else { return Ok(false) };
        let found = fs::read_to_string(path)?;
        let found = found.trim_end_matches('\n');
        if self.password.as_deref() == Some(found) {
            return Ok(false);
        }
        self.options = self.options.clone().password(found);
        self.password = Some(found.to_owned());
        Ok(true)
    }
}

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("failed to connect to PostgreSQL")]
    Connect(#[source] sqlx::Error),
    /// A query failed.
    #[error("a query failed")]
    Query(#[from] sqlx::Error),
    /// A guarded write did not meet its row.
    #[error("expected to write {expected} rows, wrote {actual}")]
    RowsAffected {
        /// Rows that the caller counted on.
        expected: u64,
        /// Rows that were written.
        actual: u64,
    },
    /// The lease under which this was written is no longer ours.
    #[error("the lease was lost: another replica took over, or the sync was cancelled")]
    Fenced,
    /// A row says something that its type cannot mean.
    #[error("{table}.{column} holds something impossible: {detail}")]
    Inconsistent {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The migrations could not be applied.
    #[error("failed to apply the migrations")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The database is newer than this binary.
    #[error(
        "the database has schema version {found}, this binary understands {known}; run a newer connector"
    )]
    SchemaTooNew {
        /// Version in the database.
        found: i64,
        /// Newest version that is compiled in.
        known: i64,
    },
    /// The database is older than this binary.
    #[error(
        "the database has schema version {found}, this binary needs {known}; run `apono-connector migrate`"
    )]
    SchemaTooOld {
        /// Version in the database.
        found: i64,
        /// Newest version that is compiled in.
        known: i64,
    },
}

impl Error {
    /// Whether a row with this key is there already.
    #[must_use]
    pub fn is_duplicate_of(&self, constraint: &str) -> bool {
        matches!(self, Self::Query(sqlx::Error::Database(error))
            if error.is_unique_violation() && error.constraint() == Some(constraint))
    }
}

/// The outcome of a query.
pub type Result<T> = std::result::Result<T, Error>;

/// The connections to one database. Clones share them.
#[derive(Clone, Debug)]
pub struct Db {
    pool: PgPool,
    share: Option<Arc<Semaphore>>,
}

impl Db {
    /// Connects, and checks that somebody answers.
    ///
    /// # Errors
    ///
    /// When there is no connection.
    pub async fn connect(config: &Config) -> Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(config.connections_max)
            .acquire_timeout(config.acquire_timeout)
            .connect_with(options(config))
            .await
            .map_err(Error::Connect)?;
        Ok(Self { pool, share: None })
    }

    /// The same database for somebody who may use at most so many connections at once,
    /// so that others find some free.
    #[must_use]
    pub fn share(&self, connections: usize) -> Self {
        Self { pool: self.pool.clone(), share: Some(Arc::new(Semaphore::new(connections))) }
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let (all, idle) = (self.pool.size(), self.pool.num_idle());
        let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(all);
        Connections { idle, used: all - idle, max: self.pool.options().get_max_connections() }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let share = Arc::clone(self.share.as_ref()?);
        Some(share.acquire_owned().await.expect("a share is never closed"))
    }

    /// Connects by other options from now on: the password has changed. Connections that
    /// are open stay.
    pub fn connect_from_now_on(&self, config: &Config) {
        self.pool.set_connect_options(options(config));
    }

    /// A connection for reading, or for a single write.
    ///
    /// # Errors
    ///
    /// When none is free in time.
    pub async fn conn(&self) -> Result<Conn> {
        let permit = self.permit().await;
        let conn = self.pool.acquire().await.map_err(Error::Connect)?;
        Ok(Conn { conn, _permit: permit })
    }

    /// Begins a transaction; dropped without [`Tx::commit`], it is undone.
    ///
    /// # Errors
    ///
    /// When no connection is free in time.
    pub async fn begin(&self) -> Result<Tx> {
        let permit = self.permit().await;
        let tx = self.pool.begin().await.map_err(Error::Connect)?;
        Ok(Tx { tx, _permit: permit })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn options(config: &Config) -> PgConnectOptions {
    config.options.clone().application_name("apono-connector").options([
        // Never `"$user"`: our schema may have the name of whoever connects.
        ("search_path", "public".to_owned()),
        ("statement_timeout", format!("{STATEMENT_TIMEOUT_S}s")),
        ("lock_timeout", format!("{LOCK_TIMEOUT_S}s")),
        ("idle_in_transaction_session_timeout", format!("{IDLE_IN_TRANSACTION_TIMEOUT_S}s")),
    ])
}

/// The connections of this process.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// Open and idle.
    pub idle: u32,
    /// In use.
    pub used: u32,
    /// Open at most.
    pub max: u32,
}

/// A connection.
#[derive(Debug)]
pub struct Conn {
    conn: PoolConnection<Postgres>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Deref for Conn {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}

/// A transaction.
#[derive(Debug)]
pub struct Tx {
    tx: Transaction<'static, Postgres>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Tx {
    /// Makes it last.
    ///
    /// # Errors
    ///
    /// When the database does not say that it did.
    pub async fn commit(self) -> Result<()> {
        Ok(self.tx.commit().await?)
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.tx
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

/// The database's time.
///
/// # Errors
///
/// When the database does not answer.
pub async fn now(conn: &mut PgConnection) -> Result<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"SELECT connector.now() AS "now!""#).fetch_one(conn).await?)
}

/// A row as its type, where there is one.
fn found<Row, T: TryFrom<Row, Error = Error>>(row: Option<Row>) -> Result<Option<T>> {
    row.map(T::try_from).transpose()
}

/// Rows as their type.
fn all<Row, T: TryFrom<Row, Error = Error>>(rows: Vec<Row>) -> Result<Vec<T>> {
    rows.into_iter().map(T::try_from).collect()
}

/// Proves that a guarded write met its row.
fn expect_one(done: &PgQueryResult) -> Result<()> {
    expect(1, done)
}

/// Proves that a guarded write met all of its rows.
fn expect(rows: usize, done: &PgQueryResult) -> Result<()> {
    let expected = u64::try_from(rows).unwrap_or(u64::MAX);
    match done.rows_affected() {
        actual if actual == expected => Ok(()),
        actual => Err(Error::RowsAffected { expected, actual }),
    }
}

/// Ids as SQL takes them.
fn texts(ids: &[impl ToString]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// Reads a stored text as the type that it must be.
fn stored<T, E: ToString>(
    table: &'static str,
    column: &'static str,
    parsed: std::result::Result<T, E>,
) -> Result<T> {
    parsed.map_err(|error| Error::Inconsistent { table, column, detail: error.to_string() })
}

/// A value as it is stored as JSON.
///
/// # Errors
///
/// When it holds what JSON cannot.
pub fn json(
    table: &'static str,
    column: &'static str,
    value: &impl serde::Serialize,
) -> Result<serde_json::Value> {
    stored(table, column, serde_json::to_value(value))
}
