//! What PostgreSQL knows of the sizes of our tables, by which it plans its queries.

use sqlx::PgConnection;

use super::Result;

/// Has the tables counted that have more than doubled since they were counted last.
/// Returns how many.
///
/// # Errors
///
/// When the database does not answer.
pub async fn renew(conn: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar!(r#"SELECT connector.analyze_grown() AS "counted!""#)
        .fetch_one(conn)
        .await?)
}
