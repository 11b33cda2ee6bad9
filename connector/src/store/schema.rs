//! The schema: applying the migrations, and refusing a database that this binary
//! does not understand.

use sqlx::{AssertSqlSafe, PgConnection, migrate::Migrator};

use super::{Error, Result};

static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// The newest migration that is compiled in.
#[must_use]
pub fn known_version() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// The newest migration of the database; 0: none.
///
/// # Errors
///
/// When the database does not answer.
pub async fn version(conn: &mut PgConnection) -> Result<i64> {
    let has_table = sqlx::query_scalar!(
        r#"SELECT to_regclass('public._sqlx_migrations') IS NOT NULL AS "there!""#
    )
    .fetch_one(&mut *conn)
    .await?;
    if !has_table {
        return Ok(0);
    }
    Ok(sqlx::query_scalar!(
        r#"SELECT coalesce(max(version), 0) AS "version!" FROM _sqlx_migrations WHERE success"#
    )
    .fetch_one(conn)
    .await?)
}

/// Applies what is missing. Several replicas may do so at once: one does it, the
/// others wait.
///
/// # Errors
///
/// When the database is newer than this binary, or a migration fails.
pub async fn migrate(conn: &mut PgConnection) -> Result<()> {
    let (found, known) = (version(conn).await?, known_version());
    if found > known {
        return Err(Error::SchemaTooNew { found, known });
    }
    // A large table takes its time, and another replica waits for it.
    let patience = ["statement_timeout", "lock_timeout"];
    for name in patience {
        sqlx::raw_sql(AssertSqlSafe(format!("SET {name} = 0"))).execute(&mut *conn).await?;
    }
    MIGRATOR.run_direct(None, &mut *conn, false).await.map_err(Error::Migrate)?;
    for name in patience {
        sqlx::raw_sql(AssertSqlSafe(format!("RESET {name}"))).execute(&mut *conn).await?;
    }
    Ok(())
}

/// PostgreSQL's own version text.
///
/// # Errors
///
/// When the database does not answer.
pub async fn server_version(conn: &mut PgConnection) -> Result<String> {
    Ok(sqlx::query_scalar!(r#"SELECT current_setting('server_version') AS "version!""#)
        .fetch_one(conn)
        .await?)
}
