//! The change feed: whoever follows, however often it goes away, has the inventory in the
//! end. Against PostgreSQL, with writers of the test's own beside the daemon that serves
//! the feed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use apono_connector_proto::v1::{
    DisableIntegrationRequest, IntegrationSettings, WatchResourcesRequest, WatchResourcesResponse,
};
use connector::{
    model::{
        ids::{ConnectorId, IntegrationId, ReplicaId, SyncId},
        proof::{Complete, KeyDigest, Next, PageLoop},
        resource::Resource,
        scope::{Group, Place, Scope},
    },
    store::{
        Config, Db, feeds,
        inventory::{self, Missing, Reading},
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tonic::{Code, Status, Streaming};

use crate::harness::{Api, Cloud, Daemon, Database, bucket, settings_for};

/// ARN → name, of what is there.
type Picture = BTreeMap<String, String>;

/// One that follows, with the picture that it has made of what it was sent.
#[derive(Default)]
struct Follower {
    picture: Picture,
    cursor: String,
    restarts: u32,
}

impl Follower {
    async fn open(
        &self,
        api: &Api,
        once: bool,
    ) -> Result<Streaming<WatchResourcesResponse>, Status> {
        let request = WatchResourcesRequest {
            integration: "prod".to_owned(),
            cursor: self.cursor.clone(),
            end_when_current: once,
            ..Default::default()
        };
        Ok(api.inventory().watch_resources(request).await?.into_inner())
    }

    fn take(&mut self, message: WatchResourcesResponse) {
        for resource in message.resources {
            if resource.gone_time.is_some() {
                self.picture.remove(&resource.arn);
            } else {
                self.picture.insert(resource.arn, resource.name);
            }
        }
        self.cursor = message.cursor;
    }

    /// Takes in so many messages, or all that there are, and goes away.
    async fn follow(&mut self, api: &Api, messages: Option<usize>) {
        let ended = async {
            let mut stream = self.open(api, messages.is_none()).await?;
            for _ in 0..messages.unwrap_or(usize::MAX) {
                let Some(message) = stream.message().await? else { break };
                self.take(message);
            }
            Ok::<(), Status>(())
        };
        if let Err(status) = ended.await {
            assert_eq!(status.code(), Code::OutOfRange, "{status}");
            *self = Self { restarts: self.restarts + 1, ..Self::default() };
        }
    }
}

/// Writes to one integration as syncs do.
#[derive(Clone)]
struct Writer {
    db: Db,
    connector: ConnectorId,
    integration: IntegrationId,
}

const COLLECTORS: [&str; 2] = ["ec2_instance", "s3_bucket"];
const ARNS: usize = 400;

impl Writer {
    fn scope(&self, account: u32, collector: &'static str) -> Scope {
        let id = uuid::Uuid::nil();
        let account = format!("{account:012}").parse().expect("an account");
        let group = Group {
            connector: self.connector.clone(),
            integration: self.integration,
            sync: SyncId(id),
            generation: 1,
            settings_version: 1,
            place: Place::Account(account),
            owner: ReplicaId(id),
            fence: 1,
        };
        Scope { group, collector }
    }

    /// One batch: what a scope shows of new things, or what it no longer shows.
    async fn batch(&self, chance: &mut StdRng) {
        let collector = COLLECTORS.choose(chance).expect("a collector");
        let account = chance.random_range(1..=3);
        let arns: Vec<String> = (0..ARNS)
            .filter(|_| chance.random_bool(0.2))
            .map(|at| format!("arn:aws:test:{account}:{collector}:{at}"))
            .collect();
        let hold = f64::from(chance.random_range(0..15)) / 1000.0;
        let version: u32 = chance.random();
        let mut tx = self.db.begin().await.expect("a transaction");
        let revision = feeds::advance(&mut tx, &self.connector, self.integration).await;
        let revision = revision.expect("a revision");
        if chance.random_bool(0.6) {
            let readings: Vec<Reading> = arns
                .iter()
                .map(|arn| reading(self.scope(account, collector), arn, version))
                .collect();
            inventory::write(&mut tx, &self.connector, self.integration, revision, &readings)
                .await
                .expect("a write");
        } else {
            let proof = complete(self.scope(account, collector), &arns);
            let missing = Missing::of_scope(&mut tx, &proof, &["aws-s3-bucket".to_owned()])
                .await
                .expect("a list");
            missing.remove(&mut tx, revision, inventory::Which::All).await.expect("a removal");
        }
        // Others come in between.
        sqlx::query("SELECT pg_sleep($1)").bind(hold).execute(&mut *tx).await.expect("a rest");
        if chance.random_bool(0.9) {
            tx.commit().await.expect("a commit");
        }
    }
}

fn complete(scope: Scope, keys: &[String]) -> Complete {
    let keys = keys.iter().map(|key| KeyDigest::of(key));
    match PageLoop::start(scope).page(keys, None) {
        Ok(Next::End(proof)) => proof,
        other => panic!("a page without a token is the last: {other:?}"),
    }
}

fn reading(scope: Scope, arn: &str, version: u32) -> Reading {
    let resource = Resource {
        arn: arn.to_owned(),
        kind: "aws-s3-bucket",
        account: scope.group.place.account().expect("an account").clone(),
        region: None,
        name: format!("version {version}"),
        tags: BTreeMap::new(),
        attributes: serde_json::Map::new(),
        unread: BTreeMap::new(),
    };
    let content_hash = resource.content_hash();
    Reading { place: scope.group.place, collector: scope.collector, resource, content_hash }
}

struct Scene {
    api: Api,
    writer: Writer,
    _daemon: Daemon,
    _database: Database,
    _cloud: Cloud,
}

/// A daemon that serves the feed of an integration that is paused.
async fn scene() -> Scene {
    let cloud = Cloud::empty("aws").await;
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let created = api.create(settings_for(&cloud)).await.expect("an integration");
    api.watch(&created.sync_id).await;
    let pause = DisableIntegrationRequest { integration: "prod".to_owned(), ..Default::default() };
    api.integrations().disable_integration(pause).await.expect("a pause");
    let id = created.integration.expect("an integration").id;
    let writer = Writer {
        db: Db::connect(&Config::new(database.url.parse().expect("a URL"), 12)).await.expect("one"),
        connector: cloud.connector_id.parse().expect("an id"),
        integration: IntegrationId(id.parse().expect("a UUID")),
    };
    Scene { api, writer, _daemon: daemon, _database: database, _cloud: cloud }
}

impl Scene {
    async fn inventory(&self) -> Picture {
        self.api.resources().await.into_iter().map(|r| (r.arn, r.name)).collect()
    }
}

/// Any interleaving of batches, purges, and followers that go away.
async fn every_picture_is_the_inventory(seed: u64) {
    println!("seed {seed}");
    let scene = scene().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut chance = StdRng::seed_from_u64(seed);

    let mut writers = Vec::new();
    for _ in 0..4 {
        let (writer, mut chance) = (scene.writer.clone(), StdRng::seed_from_u64(chance.random()));
        writers.push(tokio::spawn(async move {
            for _ in 0..60 {
                writer.batch(&mut chance).await;
            }
        }));
    }
    let purger = {
        let (db, stop) = (scene.writer.db.clone(), Arc::clone(&stop));
        let mut chance = StdRng::seed_from_u64(chance.random());
        tokio::spawn(async move {
            let mut purged = 0;
            while !stop.load(Ordering::SeqCst) {
                let mut conn = db.conn().await.expect("a connection");
                let age = Duration::from_millis(chance.random_range(0..200));
                purged += feeds::purge(&mut conn, age, 50).await.expect("a purge");
                let rest = f64::from(chance.random_range(0..100)) / 1000.0;
                sqlx::query("SELECT pg_sleep($1)")
                    .bind(rest)
                    .execute(&mut *conn)
                    .await
                    .expect("a rest");
            }
            purged
        })
    };
    let mut followers = Vec::new();
    for _ in 0..5 {
        let (api, stop) = (scene.api.clone(), Arc::clone(&stop));
        let mut chance = StdRng::seed_from_u64(chance.random());
        followers.push(tokio::spawn(async move {
            let mut follower = Follower::default();
            while !stop.load(Ordering::SeqCst) {
                let messages = chance.random_range(0..4);
                let patience = Duration::from_millis(chance.random_range(50..800));
                // It goes away amid a stream, or tires of waiting for more.
                let _ = tokio::time::timeout(patience, follower.follow(&api, Some(messages))).await;
            }
            follower
        }));
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    stop.store(true, Ordering::SeqCst);
    let purged = purger.await.expect("a purger");
    let inventory = scene.inventory().await;
    let mut restarts = 0;
    for follower in followers {
        let mut follower = follower.await.expect("a follower");
        // One that is too late begins again, once: nothing is purged any more.
        follower.follow(&scene.api, None).await;
        follower.follow(&scene.api, None).await;
        assert_eq!(follower.picture, inventory, "seed {seed}");
        restarts += follower.restarts;
    }
    println!("seed {seed}: {} resources, {purged} purged, {restarts} restarts", inventory.len());
    assert!(!inventory.is_empty() && purged > 0, "seed {seed}: nothing was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_written_purged_and_interrupted_every_picture_is_the_inventory() {
    for _ in 0..2 {
        every_picture_is_the_inventory(rand::rng().random()).await;
    }
}

#[tokio::test]
async fn a_follower_gets_a_snapshot_then_changes_and_goes_on_where_it_was() {
    let cloud = Cloud::empty("aws").await;
    let root = cloud.root.clone();
    cloud.account("222222222222", &root, "payments");
    let buckets: Vec<_> =
        (0..30).map(|at| bucket(&format!("bucket-{at}"), "eu-west-1", &[])).collect();
    cloud.sim.world().account("222222222222").buckets = buckets;
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    api.create_and_sync(IntegrationSettings { ..settings_for(&cloud) }).await;

    let mut follower = Follower::default();
    let mut stream = follower.open(&api, false).await.expect("a stream");
    let first = stream.message().await.expect("a message").expect("a snapshot");
    assert!(first.current && !first.snapshot, "one message holds it all");
    follower.take(first);
    assert_eq!(follower.picture.len(), api.resources().await.len());

    // One bucket goes, one comes; the stream tells both, and nothing else.
    {
        let mut world = cloud.sim.world();
        let account = world.account("222222222222");
        account.buckets.remove(0);
        account.buckets.push(bucket("bucket-new", "eu-west-1", &[]));
    }
    api.sync("prod").await;
    let mut news = Vec::new();
    while news.len() < 2 {
        let message = stream.message().await.expect("a message").expect("changes");
        news.extend(message.resources.iter().map(|r| (r.name.clone(), r.gone_time.is_some())));
        follower.take(message);
    }
    news.sort();
    assert_eq!(news, [("bucket-0".to_owned(), true), ("bucket-new".to_owned(), false)]);
    drop(stream);

    // A sync that changes nothing is no news.
    api.sync("prod").await;
    let mut stream = follower.open(&api, true).await.expect("a stream");
    while let Some(message) = stream.message().await.expect("a message") {
        assert!(message.resources.is_empty(), "{message:?}");
    }

    // Once what has gone is purged, a cursor from before it is too old.
    let old = follower.cursor.clone();
    cloud.sim.world().account("222222222222").buckets.remove(0);
    api.sync("prod").await;
    let db = Db::connect(&Config::new(database.url.parse().expect("a URL"), 2)).await.expect("one");
    let mut conn = db.conn().await.expect("a connection");
    assert_eq!(feeds::purge(&mut conn, Duration::ZERO, 100).await.expect("a purge"), 2);
    follower.cursor = old;
    let status = follower.open(&api, true).await.expect_err("a refusal");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    let mut late = Follower::default();
    late.follow(&api, None).await;
    assert_eq!(late.picture.len(), api.resources().await.len());
    for wrong in ["zz", "00", "f"] {
        follower.cursor = wrong.to_owned();
        let status = follower.open(&api, true).await.expect_err("a refusal");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
}
