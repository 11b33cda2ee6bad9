//! A database for each test, copied from a migrated template.

use connector::store::PgConnection;
use sqlx::{Connection as _, Row as _, postgres::PgRow};
use tokio::sync::Mutex;

/// A database of its own.
pub(crate) struct Database {
    /// Where it is.
    pub url: String,
    /// The connection of the last statement.
    kept: Mutex<Option<PgConnection>>,
}

impl Database {
    /// Copies the template.
    pub(crate) async fn create() -> Self {
        Self::copy_of("connector_template").await
    }

    /// A copy of this one, to which nobody may be connected: as if it had always been that one.
    pub(crate) async fn copy(&self) -> Self {
        let copy = self.dump().await;
        copy.execute("DELETE FROM connector.memory").await;
        copy
    }

    /// A dump of this one, to which nobody may be connected.
    pub(crate) async fn dump(&self) -> Self {
        self.let_go().await;
        Self::copy_of(self.name()).await
    }

    /// Puts a dump in the place of this one, as `pg_restore` does.
    pub(crate) async fn restore(&self, dump: &Self) {
        self.let_go().await;
        dump.let_go().await;
        let name = self.name();
        let mut admin = self.admin().await;
        for sql in [
            format!("DROP DATABASE {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name} TEMPLATE {}", dump.name()),
        ] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.expect("a statement");
        }
    }

    /// Its name on the server.
    pub(crate) fn name(&self) -> &str {
        self.url.rsplit('/').next().expect("a name")
    }

    async fn copy_of(template: &str) -> Self {
        let server = std::env::var("TEST_DATABASE_URL")
            .expect("TEST_DATABASE_URL names the test server; run the tests by `make test`");
        let name = format!("test_{}", connector::base::chance::uuid().simple());
        let mut admin =
            PgConnection::connect(&format!("{server}/postgres")).await.expect("a server");
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut admin).await.expect("a database");
        Self { url: format!("{server}/{name}"), kept: Mutex::default() }
    }

    /// A connection.
    pub(crate) async fn conn(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("a connection")
    }

    /// A connection to the server beside it.
    pub(crate) async fn admin(&self) -> PgConnection {
        let (server, _) = self.url.rsplit_once('/').expect("a server");
        PgConnection::connect(&format!("{server}/postgres")).await.expect("a connection")
    }

    /// Runs a statement.
    pub(crate) async fn execute(&self, sql: &str) {
        self.run(sql).await;
    }

    /// Closes the connection that was kept.
    async fn let_go(&self) {
        if let Some(kept) = self.kept.lock().await.take() {
            let _ = kept.close().await;
        }
    }

    /// Runs a statement by the connection of the one before, as long as that is there: a connection costs more
    /// than most statements.
    async fn run(&self, sql: &str) -> Vec<PgRow> {
        let mut kept = self.kept.lock().await.take();
        if let Some(conn) = &mut kept
            && conn.ping().await.is_err()
        {
            kept = None;
        }
        let mut conn = match kept {
            Some(conn) => conn,
            None => self.conn().await,
        };
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        let rows = sqlx::raw_sql(sql).fetch_all(&mut conn).await.expect("a statement");
        *self.kept.lock().await = Some(conn);
        rows
    }

    /// The first column of every row, as text.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        self.run(sql).await.iter().map(|row| row.get::<String, _>(0)).collect()
    }

    /// A number.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let texts = self.texts(&format!("SELECT ({sql})::text")).await;
        texts[0].parse().expect("a number")
    }

    /// Lets some more seconds pass for the database.
    pub(crate) async fn pass(&self, seconds: i64) {
        let ahead =
            "SELECT round(extract(epoch FROM connector.now() - statement_timestamp()))::bigint";
        let ahead = self.count(ahead).await;
        self.move_time(&format!("{} s", ahead + seconds)).await;
    }

    /// Puts the database's time, which is all that the daemon asks, so far ahead.
    pub(crate) async fn move_time(&self, interval: &str) {
        self.execute(&format!(
            "CREATE OR REPLACE FUNCTION connector.now() RETURNS timestamptz LANGUAGE sql STABLE
             AS $$ SELECT statement_timestamp() + interval '{interval}' $$"
        ))
        .await;
    }

    /// How many rows stand in the tables that a refused request must leave alone.
    pub(crate) async fn row_counts(&self) -> String {
        let sql = "SELECT concat_ws(' ',
            (SELECT count(*) FROM connector.integrations),
            (SELECT count(*) FROM connector.syncs),
            (SELECT count(*) FROM connector.tokens),
            (SELECT count(*) FROM connector.grants),
            (SELECT count(*) FROM connector.acts),
            (SELECT count(*) FROM connector.resources))";
        self.texts(sql).await.remove(0)
    }
}
