//! Rows a second into and out of PostgreSQL, beside a raw `COPY` of the same rows: what the
//! sync engine can be asked to store, without AWS.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use connector::{
    model::{
        ids::{ConnectorId, IntegrationId, ReplicaId, SyncId},
        proof::KeyDigest,
        resource::Resource,
        scope::{Group, Place},
    },
    store::{
        Config, Db, feeds,
        inventory::{self, Reading},
    },
};
use futures::TryStreamExt as _;
use sqlx::postgres::PgPoolCopyExt as _;

use crate::{
    harness::Database,
    measure::{ratio, wal_bytes},
};

const ROWS: usize = 200_000;
const COLLECTOR: &str = "ec2_instance";

/// A store with an integration, and the group under which is written.
struct Scene {
    database: Database,
    db: Db,
    group: Group,
}

impl Scene {
    async fn new() -> Self {
        let database = Database::create().await;
        let id = uuid::Uuid::from_u128(1);
        database
            .execute(&format!(
                "INSERT INTO connector.connectors VALUES ('bench');
                 INSERT INTO connector.integrations (connector_id, id, settings,
                     management_account_id, organization_id, enabled)
                 VALUES ('bench', '{id}', '{{\"name\": \"bench\"}}', '111111111111',
                     'o-bench12345', false)"
            ))
            .await;
        let config = Config::new(database.url.parse().expect("a URL"), 4);
        let group = Group {
            connector: "bench".parse::<ConnectorId>().expect("an id"),
            integration: IntegrationId(id),
            sync: SyncId(id),
            generation: 1,
            settings_version: 1,
            place: Place::Region(
                "222222222222".parse().expect("an id"),
                "eu-west-1".parse().expect("a region"),
            ),
            owner: ReplicaId(id),
            fence: 1,
        };
        Self { database, db: Db::connect(&config).await.expect("a database"), group }
    }

    /// Writes readings as the recorder does, a revision and a transaction for each batch.
    async fn write(&self, readings: &[Reading], batch: usize) {
        let (connector, integration) = (&self.group.connector, self.group.integration);
        for batch in readings.chunks(batch) {
            let mut tx = self.db.begin().await.expect("a transaction");
            let revision = feeds::advance(&mut tx, connector, integration).await;
            let revision = revision.expect("a revision");
            inventory::write(&mut tx, connector, integration, revision, batch)
                .await
                .expect("a write");
            tx.commit().await.expect("a commit");
        }
    }
}

/// An instance as the collector makes it, some 700 bytes.
fn resources() -> Vec<Resource> {
    let account = "222222222222".parse().expect("an id");
    (0..ROWS)
        .map(|at| {
            let text = |name: &str, value: &str| (name.to_owned(), serde_json::json!(value));
            Resource {
                arn: format!("arn:aws:ec2:eu-west-1:222222222222:instance/i-{at:017x}"),
                kind: "aws-ec2-instance",
                account: std::clone::Clone::clone(&account),
                region: Some("eu-west-1".parse().expect("a region")),
                name: format!("web-{at}"),
                tags: BTreeMap::from([
                    ("Name".to_owned(), format!("web-{at}")),
                    ("team".to_owned(), "red".to_owned()),
                    ("environment".to_owned(), "production".to_owned()),
                ]),
                attributes: [
                    text("image_id", "ami-0123456789abcdef0"),
                    text("instance_profile", "arn:aws:iam::222222222222:instance-profile/ssm"),
                    text("instance_type", "m7g.large"),
                    text("launch_time", "2026-01-02T03:04:05Z"),
                    text("platform", "Linux/UNIX"),
                    text("private_ip", "10.0.0.1"),
                    text("ssm_state", "managed"),
                    text("state", "running"),
                    text("subnet_id", "subnet-0123456789abcdef0"),
                    text("vpc_id", "vpc-0123456789abcdef0"),
                ]
                .into_iter()
                .collect(),
                unread: BTreeMap::new(),
            }
        })
        .collect()
}

fn readings(group: &Group, resources: &[Resource]) -> Vec<Reading> {
    resources
        .iter()
        .map(|resource| Reading {
            place: group.place.clone(),
            collector: COLLECTOR,
            content_hash: resource.content_hash(),
            resource: resource.clone(),
        })
        .collect()
}

fn per_second(took: Duration) -> f64 {
    ratio(ROWS, 1) / took.as_secs_f64()
}

pub(crate) async fn run() {
    let resources = resources();
    println!("## Rows\n\n{ROWS} instances of about 700 bytes in one scope.\n");
    println!("| what | seconds | rows/s | of COPY | WAL MiB |\n|---|---|---|---|---|");
    let loaded = Scene::new().await;
    loaded.write(&readings(&loaded.group, &resources), 2000).await;
    let source = Copied::out_of(&loaded.database).await;
    let target = "(LIKE connector.resources INCLUDING ALL)";
    loaded.database.execute(&format!("CREATE TABLE copied {target}")).await;
    let began = Instant::now();
    source.copy_into("copied").await;
    let copied = began.elapsed();
    let line = |what: &str, took: Duration, wal: i64| {
        println!(
            "| {what} | {:.2} | {:.0} | {:.2} | {} |",
            took.as_secs_f64(),
            per_second(took),
            copied.as_secs_f64() / took.as_secs_f64(),
            wal / (1024 * 1024)
        );
    };
    line("raw COPY into a table with the same indexes", copied, 0);
    loaded
        .database
        .execute(&format!(
            "CREATE TABLE merged {target}; CREATE UNLOGGED TABLE staged (LIKE connector.resources);
             ALTER TABLE staged DROP COLUMN tag_terms"
        ))
        .await;
    let began = Instant::now();
    source.copy_into("staged").await;
    let columns = "SELECT string_agg(column_name, ', ') FROM information_schema.columns
        WHERE (table_schema, table_name, is_generated) = ('connector', 'resources', 'NEVER')";
    let columns = loaded.database.texts(columns).await.remove(0);
    loaded
        .database
        .execute(&format!(
            "INSERT INTO merged ({columns}) SELECT {columns} FROM staged ON CONFLICT DO NOTHING"
        ))
        .await;
    line("the same through a staging table, in one batch", began.elapsed(), 0);
    for batch in [100, 500, 2000, 10_000] {
        let scene = Scene::new().await;
        let readings = readings(&scene.group, &resources);
        let before = wal_bytes(&scene.database).await;
        let began = Instant::now();
        scene.write(&readings, batch).await;
        let took = began.elapsed();
        let wal = wal_bytes(&scene.database).await - before;
        line(&format!("first load, UNNEST, {batch} in a batch"), took, wal);
    }
    let before = wal_bytes(&loaded.database).await;
    let began = Instant::now();
    let mut conn = loaded.db.conn().await.expect("a connection");
    let types = [resources[0].kind.to_owned()];
    let live = inventory::live(&mut conn, &loaded.group, &types).await.expect("digests");
    let differing = resources.iter().filter(|resource| {
        let (key, content_hash) = (KeyDigest::of(&resource.arn), resource.content_hash());
        live.differs(COLLECTOR, key, content_hash)
    });
    assert_eq!(differing.count(), 0, "nothing has changed");
    let took = began.elapsed();
    let wal = wal_bytes(&loaded.database).await - before;
    line("re-sync, nothing changed: read digests, hash, compare", took, wal);
    println!();
}

/// Rows as PostgreSQL copies them, and where to.
struct Copied {
    pool: sqlx::PgPool,
    rows: Vec<bytes::Bytes>,
}

impl Copied {
    async fn out_of(database: &Database) -> Self {
        let pool = sqlx::PgPool::connect(&database.url).await.expect("a pool");
        let rows = pool.copy_out_raw("COPY connector.resources TO STDOUT (FORMAT binary)").await;
        Self { rows: rows.expect("rows").try_collect().await.expect("rows"), pool }
    }

    /// Copies them into a table, as fast as PostgreSQL takes them.
    async fn copy_into(&self, table: &str) {
        let statement = format!("COPY {table} FROM STDIN (FORMAT binary)");
        let mut copy = self.pool.copy_in_raw(&statement).await.expect("a copy");
        // A message takes a megabyte better than a row.
        let mut gathered: Vec<u8> = Vec::with_capacity(1 << 20);
        for row in &self.rows {
            gathered.extend_from_slice(row);
            if gathered.len() >= 1 << 20 {
                copy.send(gathered.as_slice()).await.expect("room");
                gathered.clear();
            }
        }
        copy.send(gathered.as_slice()).await.expect("room");
        let copied = copy.finish().await.expect("an end");
        assert_eq!(usize::try_from(copied).unwrap_or_default(), ROWS);
    }
}
