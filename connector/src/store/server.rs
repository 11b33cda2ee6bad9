//! What the database server is, asked before anybody relies on it.

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::{Config, Error, Result, schema};

/// The oldest PostgreSQL that is supported, as `server_version_num` has it.
pub const VERSION_MIN: i32 = 140_000;

/// A server, and what we may do on it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Version for people: `15.18`.
    pub version: String,
    /// Version to compare: 150018.
    pub version_number: i32,
    /// TLS version of our connection; none: it is not encrypted.
    pub tls: Option<String>,
    /// Newest migration; 0: none.
    pub schema: i64,
    /// Whether our user may bring the schema there, and use it.
    pub may_use: bool,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// User or password.
    Credentials,
    /// There is no such database.
    NoDatabase,
    /// No connection is free.
    Full,
    /// Encryption, or the certificate.
    Tls,
    /// Nobody answers, or something else.
    Other,
}

/// Connects once, and looks.
///
/// # Errors
///
/// When there is no connection in time.
pub async fn inspect(config: &Config) -> Result<Server> {
    let connecting = config.options.connect();
    let mut conn = tokio::time::timeout(config.acquire_timeout, connecting)
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(Error::Connect)?;
    let server = look(&mut conn).await?;
    conn.close().await?;
    Ok(server)
}

async fn look(conn: &mut PgConnection) -> Result<Server> {
    let row = sqlx::query!(
        r#"SELECT current_setting('server_version') AS "version!",
             current_setting('server_version_num')::int AS "version_number!",
             (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls,
             CASE WHEN to_regnamespace('connector') IS NULL
                 THEN has_database_privilege(current_database(), 'CREATE')
                     AND has_schema_privilege('public', 'CREATE')
                 ELSE has_schema_privilege('connector', 'USAGE')
             END AS "may_use!""#
    )
    .fetch_one(&mut *conn)
    .await?;
    let schema = if row.may_use { schema::version(conn).await? } else { 0 };
    Ok(Server {
        version: row.version,
        version_number: row.version_number,
        tls: row.tls,
        schema,
        may_use: row.may_use,
    })
}

impl Error {
    /// Why there is no connection.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let (Self::Connect(cause) | Self::Query(cause)) = self else { return Refusal::Other };
        if matches!(cause, sqlx::Error::Tls(_)) {
            return Refusal::Tls;
        }
        let code = cause.as_database_error().and_then(sqlx::error::DatabaseError::code);
        // PostgreSQL documentation, appendix A: error codes.
        match code.as_deref() {
            Some("28000" | "28P01") => Refusal::Credentials,
            Some("3D000") => Refusal::NoDatabase,
            Some("53300") => Refusal::Full,
            _ => Refusal::Other,
        }
    }
}
