//! The order in which groups are leased. Against PostgreSQL alone.

use std::{collections::BTreeMap, time::Duration};

use connector::{
    model::{
        ids::{ConnectorId, ReplicaId},
        scope::{Group, Place},
    },
    store::{
        Config, Db,
        groups::{self, Wish},
    },
};

use crate::harness::Database;

const OWNER: ReplicaId = ReplicaId(uuid::Uuid::nil());

/// A database with syncs, and no daemon.
struct Scene {
    database: Database,
    db: Db,
    held: BTreeMap<String, i64>,
    groups: Vec<Group>,
}

impl Scene {
    async fn new(connectors: &[&str]) -> Self {
        let database = Database::create().await;
        for connector in connectors {
            database
                .execute(&format!("INSERT INTO connector.connectors VALUES ('{connector}')"))
                .await;
        }
        let options = database.url.parse().expect("a URL");
        let db = Db::connect(&Config::new(options, 2)).await.expect("a database");
        let held = connectors.iter().map(|connector| ((*connector).to_owned(), 0)).collect();
        Self { database, db, held, groups: Vec::new() }
    }

    /// A sync of an integration of its own, with groups: account, region, turn, expected
    /// milliseconds.
    async fn sync(&self, connector: &str, number: u32, groups: &[(&str, &str, i32, i32)]) {
        let id = format!("00000000-0000-4000-8000-{number:012}");
        self.database
            .execute(&format!(
                "INSERT INTO connector.integrations (connector_id, id, settings,
                     management_account_id, organization_id, enabled)
                 VALUES ('{connector}', '{id}', '{{\"name\": \"{number}\"}}', '111111111111',
                     'o-{number:010}', false);
                 INSERT INTO connector.syncs (connector_id, id, integration_id, generation,
                     state, trigger, groups_open)
                 VALUES ('{connector}', '{id}', '{id}', 1, 'running', 'request', {})",
                groups.len()
            ))
            .await;
        for (account, region, turn, expected) in groups {
            self.database
                .execute(&format!(
                    "INSERT INTO connector.sync_groups
                         (connector_id, sync_id, account_id, region, turn, expected_ms)
                     VALUES ('{connector}', '{id}', '{account}', '{region}', {turn}, {expected})"
                ))
                .await;
        }
    }

    /// Leases once, and keeps what it got.
    async fn lease(&mut self, limit: i64, limit_per_connector: i64) -> Vec<String> {
        let held: Vec<(ConnectorId, i64)> = self
            .held
            .iter()
            .map(|(connector, held)| (connector.parse().expect("an id"), *held))
            .collect();
        let length = Duration::from_mins(1);
        let wish = Wish { owner: OWNER, held: &held, limit, limit_per_connector, length };
        let mut conn = self.db.conn().await.expect("a connection");
        let leased = groups::lease(&mut conn, wish).await.expect("a lease");
        self.groups.extend(leased.iter().cloned());
        leased
            .into_iter()
            .map(|group| {
                *self.held.get_mut(group.connector.as_str()).expect("a connector") += 1;
                format!("{} {}", group.connector, group.place)
            })
            .collect()
    }
}

const A: &str = "111111111111";
const B: &str = "222222222222";
const C: &str = "333333333333";

#[tokio::test]
async fn accounts_take_turns_and_the_longest_expected_goes_first() {
    let mut scene = Scene::new(&["acme"]).await;
    let groups = [
        (A, "eu-west-1", 1, 500),
        (A, "us-east-1", 2, 400),
        (A, "us-west-2", 3, 0),
        (B, "eu-west-1", 1, 9000),
        (B, "us-east-1", 2, 10),
        (C, "", 0, 0),
    ];
    scene.sync("acme", 1, &groups).await;
    let order = [
        // An account that is not opened yet comes first.
        format!("acme {C}"),
        format!("acme {B} eu-west-1"),
        format!("acme {A} eu-west-1"),
        format!("acme {A} us-east-1"),
        format!("acme {B} us-east-1"),
        format!("acme {A} us-west-2"),
    ];
    assert_eq!(scene.lease(2, 100).await, order[..2]);
    assert_eq!(scene.lease(100, 100).await, order[2..]);
    assert_eq!(scene.lease(100, 100).await, [""; 0], "what is leased is not leased again");
}

#[tokio::test]
async fn connectors_get_equal_numbers_of_places_whatever_waits_for_each() {
    let mut scene = Scene::new(&["large", "small"]).await;
    let many: Vec<String> = (0..50).map(|at| format!("4444444444{at:02}")).collect();
    let many: Vec<_> = many.iter().map(|id| (id.as_str(), "", 0, 1000)).collect();
    scene.sync("large", 1, &many).await;
    // The large one has all places when the small one comes.
    let first = scene.lease(4, 4).await;
    assert!(first.len() == 4 && first.iter().all(|group| group.starts_with("large ")));
    scene.sync("small", 2, &[(A, "", 0, 0), (B, "", 0, 0), (C, "", 0, 0)]).await;
    let next = scene.lease(4, 100).await;
    assert_eq!(next[..3], [A, B, C].map(|id| format!("small {id}")), "until they are even");
    assert!(next[3].starts_with("large "), "and nothing is left idle: {next:?}");
    // A connector that has its share gets no more, though places are free.
    assert_eq!(scene.lease(4, 5).await, [""; 0]);
    assert_eq!(scene.lease(4, 7).await.len(), 2);
}

#[tokio::test]
async fn the_syncs_of_one_connector_take_turns_too() {
    let mut scene = Scene::new(&["acme"]).await;
    let many: Vec<String> = (0..20).map(|at| format!("4444444444{at:02}")).collect();
    let many: Vec<_> = many.iter().map(|id| (id.as_str(), "", 0, 1000)).collect();
    scene.sync("acme", 1, &many).await;
    scene.sync("acme", 2, &[(A, "eu-west-1", 1, 0), (A, "us-east-1", 2, 0)]).await;
    let leased = scene.lease(4, 100).await;
    assert_eq!(leased.iter().filter(|group| group.contains(A)).count(), 2, "{leased:?}");
}

#[tokio::test]
async fn an_organization_is_read_by_whoever_holds_its_identity_center() {
    let mut scene = Scene::new(&["acme"]).await;
    scene.sync("acme", 1, &[("", "", 0, 0), (A, "", 0, 0)]).await;
    let held_by_another = "INSERT INTO connector.identity_centers
        (connector_id, integration_id, lease_owner, leased_until)
        SELECT connector_id, integration_id, '00000000-0000-4000-8000-00000000000b'::uuid,
            connector.now() + interval '1 min' FROM connector.syncs";
    scene.database.execute(held_by_another).await;
    assert_eq!(scene.lease(10, 10).await, [format!("acme {A}")]);
    scene.database.move_time("2 min").await;
    assert!(scene.lease(10, 10).await.contains(&"acme organization".to_owned()));

    // Whose lease of the instance has gone over to another has lost the group, too.
    let length = Duration::from_mins(1);
    let mut conn = scene.db.conn().await.expect("a connection");
    let organization = scene.groups.iter().find(|group| group.place == Place::Organization);
    let organization = [organization.expect("a group").clone()];
    let lost = groups::heartbeat(&mut conn, &organization, length).await;
    assert_eq!(lost.expect("an answer"), [0; 0]);
    scene.database.execute("DELETE FROM connector.identity_centers").await;
    scene.database.execute(held_by_another).await;
    let lost = groups::heartbeat(&mut conn, &organization, length).await;
    assert_eq!(lost.expect("an answer"), [0]);
    let count =
        "SELECT count(*) FROM connector.identity_centers WHERE leased_until > connector.now()";
    groups::release(&mut conn, &organization).await.expect("a release");
    assert_eq!(scene.database.count(count).await, 1, "another's lease is not ours to give up");

    // The end of the group is the end of the lease.
    scene.database.move_time("5 min").await;
    assert!(scene.lease(10, 10).await.contains(&"acme organization".to_owned()));
    let last = [scene.groups.iter().rfind(|group| group.place == Place::Organization)];
    groups::finish(&mut conn, &last.map(|group| group.expect("a group"))).await.expect("an end");
    assert_eq!(scene.database.count(count).await, 0);
}
