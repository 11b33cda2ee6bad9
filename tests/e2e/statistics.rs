//! What PostgreSQL knows of tables that grow faster than autovacuum looks.

use connector::store::{Config, Db, statistics};

use crate::harness::{Database, wait_for};

#[tokio::test]
async fn tables_that_have_more_than_doubled_are_counted_once() {
    let database = Database::create().await;
    // PostgreSQL's own would count it first once in a while.
    database.execute("ALTER TABLE connector.connectors SET (autovacuum_enabled = false)").await;
    let options = database.url.parse().expect("a URL");
    let db = Db::connect(&Config::new(options, 2)).await.expect("a database");
    let grow = |from: u32, to: u32| {
        let database = &database;
        async move {
            database
                .execute(&format!(
                    "INSERT INTO connector.connectors
                     SELECT 'c' || number FROM generate_series({from}, {to}) AS number"
                ))
                .await;
        }
    };
    let counted = "SELECT greatest(reltuples, 0)::bigint FROM pg_class
        WHERE oid = 'connector.connectors'::regclass";
    // A session tells the others what it has changed within seconds, not at once.
    let renewed = || async {
        let mut conn = db.conn().await.expect("a connection");
        let tables = statistics::renew(&mut conn).await.expect("an answer");
        (tables > 0).then_some(tables)
    };

    grow(1, 2000).await;
    assert_eq!(wait_for("a table to count", renewed).await, 1);
    assert_eq!(database.count(counted).await, 2000);
    assert_eq!(renewed().await, None);

    grow(2001, 5000).await;
    assert_eq!(wait_for("a table to count", renewed).await, 1);
    assert_eq!(database.count(counted).await, 5000);
}
