//! What filters find, and how PostgreSQL finds it. Against no AWS: rows are written as the
//! engine writes them.

use std::{collections::BTreeMap, rc::Rc};

use connector::{
    model::{
        failure::ReasonCode,
        filter,
        form::{self, Draft, DraftIntegrationOwner},
        ids::{ConnectorId, IntegrationId},
        integration::{OwnerAttribute, ResourceOwner},
        resource::Resource,
        scope::Place,
    },
    store::{
        Config, Db, PgConnection, connectors, facets, feeds,
        filter::Meant,
        integrations::{self, Integration},
        inventory::{self, Reading},
        resources,
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use uuid::Uuid;

use crate::harness::Database;

const TYPES: &[&str] =
    &["aws-ec2-instance", "aws-rds-cluster", "aws-rds-instance", "aws-s3-bucket"];
/// A type that the first integration does not choose any more.
const DESELECTED: &str = "aws-rds-cluster";
/// Account, its name, and the units above it.
const ACCOUNTS: &[(&str, &str, &[&str])] = &[
    ("111111111111", "management", &["r-ab12"]),
    ("222222222222", "payments", &["r-ab12", "ou-ab12-11111111", "ou-ab12-22222222"]),
    ("333333333333", "payroll", &["r-ab12", "ou-ab12-11111111"]),
    ("444444444444", "lab", &["r-ab12", "ou-ab12-33333333"]),
];
const UNITS: &[(&str, &str)] = &[
    ("r-ab12", "Root"),
    ("ou-ab12-11111111", "Production"),
    ("ou-ab12-22222222", "Payments"),
    ("ou-ab12-33333333", "Sandbox"),
];

/// A connector with integrations and what was discovered of them.
struct Scene {
    connector: ConnectorId,
    integrations: Vec<Integration>,
    rows: Vec<Row>,
}

/// A resource, and what is known of it.
struct Row {
    integration: usize,
    resource: Resource,
    is_held: bool,
    is_stale: bool,
}

impl Scene {
    /// `size` resources in each of two integrations, of which the first has owner tags.
    async fn make(conn: &mut PgConnection, size: usize, chance: &mut StdRng) -> Self {
        let connector: ConnectorId = "filtered".parse().expect("an id");
        connectors::ensure(conn, &connector).await.expect("a connector");
        let mut scene = Self { connector, integrations: Vec::new(), rows: Vec::new() };
        for at in 0..2 {
            let made = scene.integration(conn, at).await;
            scene.integrations.push(made);
            let rows: Vec<Row> = (0..size).map(|number| row(at, number, chance)).collect();
            scene.write(conn, &rows).await;
            scene.rows.extend(rows);
        }
        scene
    }

    async fn integration(&self, conn: &mut PgConnection, at: usize) -> Integration {
        let owner_tag = ResourceOwner {
            tag_key: "owner".to_owned(),
            attribute: "email".to_owned(),
            source: "okta".to_owned(),
        };
        let owners = [["platform", "security"], ["lab@example.com", "ann@example.com"]][at];
        let types = TYPES.iter().filter(|id| at > 0 || **id != DESELECTED);
        let draft = Draft {
            name: ["prod", "lab"][at].to_owned(),
            region: "eu-west-1".to_owned(),
            management_role_arn: "arn:aws:iam::111111111111:role/apono-connector".to_owned(),
            root_or_ou_id: "r-ab12".to_owned(),
            resource_types: types.map(|id| (*id).to_owned()).collect(),
            integration_owner: Some(DraftIntegrationOwner {
                attribute: Some(OwnerAttribute::Group),
                source: "okta".to_owned(),
                values: owners.map(str::to_owned).to_vec(),
            }),
            resource_owner: (at == 0).then_some(owner_tag),
            ..Default::default()
        };
        let settings = form::parse(draft, TYPES).expect("settings");
        let id = IntegrationId(Uuid::from_u128(at as u128 + 1));
        let organization = format!("o-filtered{at}0").parse().expect("an id");
        let management = "111111111111".parse().expect("an id");
        let made =
            integrations::insert(conn, &self.connector, id, &settings, &management, &organization);
        let made = made.await.expect("an integration");
        for (account, name, path) in ACCOUNTS {
            sqlx::query(
                "INSERT INTO connector.accounts (connector_id, integration_id, account_id, arn,
                     name, email, state, path, coverage)
                 VALUES ($1, $2, $3, '', $4, '', 'ACTIVE', $5, 'crawled')",
            )
            .bind(self.connector.as_str())
            .bind(id.0)
            .bind(account)
            .bind(name)
            .bind(paths(at, path))
            .execute(&mut *conn)
            .await
            .expect("an account");
        }
        for (unit, name) in UNITS {
            sqlx::query("INSERT INTO connector.organizational_units VALUES ($1, $2, $3, $4, '')")
                .bind(self.connector.as_str())
                .bind(id.0)
                .bind(unit)
                .bind(name)
                .execute(&mut *conn)
                .await
                .expect("a unit");
        }
        // The place that could not be read last time.
        sqlx::query(
            "INSERT INTO connector.scopes (connector_id, integration_id, account_id, region,
                 collector, tried_generation, tried_at, reason)
             VALUES ($1, $2, '333333333333', 'eu-west-1', 'reader', 1, connector.now(), 'THROTTLED')",
        )
        .bind(self.connector.as_str())
        .bind(id.0)
        .execute(&mut *conn)
        .await
        .expect("a scope");
        made
    }

    async fn write(&self, conn: &mut PgConnection, rows: &[Row]) {
        let Some(first) = rows.first() else { return };
        let integration = self.integrations[first.integration].id;
        let readings: Vec<Reading> = rows
            .iter()
            .map(|row| Reading {
                place: match &row.resource.region {
                    Some(region) => Place::Region(row.resource.account.clone(), region.clone()),
                    None => Place::Account(row.resource.account.clone()),
                },
                collector: "reader",
                content_hash: row.resource.content_hash(),
                resource: row.resource.clone(),
            })
            .collect();
        let revision = feeds::advance(conn, &self.connector, integration).await;
        let revision = revision.expect("a revision");
        for batch in readings.chunks(2000) {
            inventory::write(conn, &self.connector, integration, revision, batch)
                .await
                .expect("a write");
        }
        let held = rows.iter().filter(|row| row.is_held).map(|row| row.resource.arn.clone());
        sqlx::query("UPDATE connector.resources SET missing_reads = 1 WHERE arn = ANY ($1)")
            .bind(held.collect::<Vec<_>>())
            .execute(conn)
            .await
            .expect("an update");
    }

    /// Nine times as many rows of another connector.
    async fn among_others(&self, conn: &mut PgConnection) {
        let other = "others".parse().expect("an id");
        connectors::ensure(conn, &other).await.expect("a connector");
        for statement in [
            "INSERT INTO connector.integrations (connector_id, id, settings,
                 management_account_id, organization_id, enabled)
             VALUES ('others', '00000000-0000-0000-0000-000000000009', '{\"name\": \"others\"}', '999999999999',
                 'o-others1234', false)",
            "INSERT INTO connector.resources (connector_id, integration_id, revision, arn, type,
                 account_id, region, scope_account_id, scope_region, collector, name, tags,
                 attributes, content_hash)
             SELECT 'others', '00000000-0000-0000-0000-000000000009', 1, arn || copy, type,
                 account_id, region, scope_account_id, scope_region, collector, name, tags,
                 attributes, content_hash
             FROM connector.resources, generate_series(1, 9) AS copy",
            "VACUUM ANALYZE connector.resources",
        ] {
            sqlx::query(statement).execute(&mut *conn).await.expect("a statement");
        }
    }

    fn meant<'a>(&'a self, only: Option<usize>, condition: &'a filter::Condition) -> Meant<'a> {
        Meant {
            connector: &self.connector,
            only: only.map(|at| self.integrations[at].id),
            integrations: match only {
                Some(at) => std::slice::from_ref(&self.integrations[at]),
                None => &self.integrations,
            },
            condition,
        }
    }

    /// What a filter finds, page by page.
    async fn found(&self, conn: &mut PgConnection, only: Option<usize>, text: &str) -> Vec<String> {
        let condition = filter::parse(text, TYPES);
        let condition = condition.unwrap_or_else(|error| panic!("{text}: the filter {error}"));
        let meant = self.meant(only, &condition);
        let mut found: Vec<(Uuid, String)> = Vec::new();
        loop {
            let last = found.last().cloned().unwrap_or_default();
            let page = resources::list(conn, &meant, (last.0, &last.1), 40).await;
            let page = page.unwrap_or_else(|error| panic!("{text}: {error:?}"));
            let is_last = page.len() < 40;
            found.extend(page.into_iter().map(|row| (row.integration_id, row.arn)));
            if is_last {
                return found.into_iter().map(|(_, arn)| arn).collect();
            }
        }
    }
}

/// A resource with something of everything that filters ask for.
fn row(integration: usize, number: usize, chance: &mut StdRng) -> Row {
    let kind = TYPES.choose(chance).copied().unwrap_or_default();
    let (account, ..) = ACCOUNTS.choose(chance).copied().unwrap_or_default();
    let region = ["eu-west-1", "us-east-1", ""].choose(chance).copied().unwrap_or_default();
    let name = ["web", "Web", "db_", "db-", "logs%", "50%"].choose(chance).copied();
    let name = format!("{}{}", name.unwrap_or_default(), number % 40);
    let mut tags = BTreeMap::new();
    for (key, values) in [
        ("env", &["prod", "Prod", "dev", " prod "][..]),
        ("owner", &["ann@example.com", " ann@example.com\t", "  ", "bob@example.com"][..]),
        ("a.b", &["x", ""][..]),
        ("prod", &["env"][..]),
    ] {
        if chance.random_bool(0.6) {
            let value = values.choose(chance).copied().unwrap_or_default();
            tags.insert(key.to_owned(), value.to_owned());
        }
    }
    let mut unread = BTreeMap::new();
    if chance.random_bool(0.1) {
        unread.insert("state".to_owned(), ReasonCode::Throttled);
    }
    let is_deselected = integration == 0 && kind == DESELECTED;
    Row {
        integration,
        is_held: chance.random_bool(0.1),
        is_stale: is_deselected || (account == "333333333333" && region == "eu-west-1"),
        resource: Resource {
            arn: format!("arn:aws:{kind}:{region}:{account}:thing/{name}/{integration}{number:06}"),
            kind,
            account: account.parse().expect("an id"),
            region: (!region.is_empty()).then(|| region.parse().expect("a region")),
            name,
            tags,
            attributes: serde_json::Map::new(),
            unread,
        },
    }
}

/// A filter, and what it means.
#[derive(Clone)]
struct Meaning {
    text: String,
    holds: Rc<dyn Fn(&Row) -> bool>,
}

fn meaning(text: impl Into<String>, holds: impl Fn(&Row) -> bool + 'static) -> Meaning {
    Meaning { text: text.into(), holds: Rc::new(holds) }
}

/// The second integration has all accounts below its root.
fn paths(integration: usize, path: &'static [&'static str]) -> &'static [&'static str] {
    if integration == 0 { path } else { &path[..1] }
}

fn path(row: &Row) -> &'static [&'static str] {
    let account = ACCOUNTS.iter().find(|(id, ..)| *id == row.resource.account.as_str());
    account.map_or(&[], |(_, _, path)| paths(row.integration, path))
}

/// Whom the owner tag names.
fn owner_by_tag(row: &Row) -> Option<&str> {
    let owner = row.resource.tags.get("owner").filter(|_| row.integration == 0)?.trim();
    (!owner.is_empty()).then_some(owner)
}

/// Conditions of one field each.
fn leaves() -> Vec<Meaning> {
    let tag = |row: &Row, key: &str| row.resource.tags.get(key).cloned();
    let region = |row: &Row| row.resource.region.as_ref().map(ToString::to_string);
    let holds = |text: &str, part: &str| text.to_lowercase().contains(part);
    vec![
        meaning("type = aws-s3-bucket", |row| row.resource.kind == "aws-s3-bucket"),
        meaning("type = aws-ec2-instance", |row| row.resource.kind == "aws-ec2-instance"),
        meaning("type:rds", |row| row.resource.kind.contains("rds")),
        meaning("account = 222222222222", |row| row.resource.account.as_str() == "222222222222"),
        meaning("account.name = PAY*", |row| {
            ["222222222222", "333333333333"].contains(&row.resource.account.as_str())
        }),
        meaning("ou = ou-ab12-11111111", |row| path(row).contains(&"ou-ab12-11111111")),
        meaning("ou = r-ab12", |_| true),
        meaning("ou.name = Production", |row| path(row).contains(&"ou-ab12-11111111")),
        meaning("ou.name:sand", |row| path(row).contains(&"ou-ab12-33333333")),
        meaning("region = eu-west-1", move |row| region(row).as_deref() == Some("eu-west-1")),
        meaning("region = global", move |row| region(row).is_none()),
        meaning("region = us-*", move |row| region(row).is_some_and(|id| id.starts_with("us-"))),
        meaning("tag.env = prod", move |row| tag(row, "env").as_deref() == Some("prod")),
        meaning("tag.env = ' prod '", move |row| tag(row, "env").as_deref() == Some(" prod ")),
        meaning("tag.env != dev", move |row| tag(row, "env").as_deref() != Some("dev")),
        meaning("tag.env:PRO", move |row| tag(row, "env").is_some_and(|v| holds(&v, "pro"))),
        meaning("tag:*", |row| !row.resource.tags.is_empty()),
        meaning("region:*", move |row| region(row).is_some()),
        meaning("tag:env", move |row| tag(row, "env").is_some()),
        meaning("tag.\"a.b\" = ''", move |row| tag(row, "a.b").as_deref() == Some("")),
        meaning("tag.a.b:*", move |row| tag(row, "a.b").is_some()),
        meaning("tag.prod = env", move |row| tag(row, "prod").is_some()),
        meaning("owner = ann@example.com", |row| match owner_by_tag(row) {
            Some(owner) => owner == "ann@example.com",
            None => row.integration == 1,
        }),
        meaning("owner = platform", |row| row.integration == 0 && owner_by_tag(row).is_none()),
        meaning("owner:example", |row| owner_by_tag(row).is_some() || row.integration == 1),
        meaning("owner:*", |_| true),
        meaning("owner.by = tag", |row| owner_by_tag(row).is_some()),
        meaning("owner.by = integration", |row| owner_by_tag(row).is_none()),
        meaning("name = web7", |row| row.resource.name == "web7"),
        meaning("name:web", move |row| holds(&row.resource.name, "web")),
        meaning("name = db_*", |row| row.resource.name.starts_with("db_")),
        meaning("name:'0%'", |row| row.resource.name.contains("0%")),
        meaning("arn:'thing/web'", move |row| holds(&row.resource.arn, "thing/web")),
        meaning("'2:thing/db-'", move |row| holds(&row.resource.arn, "2:thing/db-")),
        meaning("state = held", |row| row.is_held),
        meaning("state = stale", |row| row.is_stale),
        meaning("state = fresh", |row| !row.is_held && !row.is_stale),
        meaning("state = incomplete", |row| !row.resource.unread.is_empty()),
    ]
}

/// Conditions within conditions.
fn tree(leaves: &[Meaning], depth: u32, chance: &mut StdRng) -> Meaning {
    let leaf = leaves.choose(chance).expect("a leaf").clone();
    if depth == 0 {
        return leaf;
    }
    let [a, b] = [0; 2].map(|_| tree(leaves, depth - 1, chance));
    match chance.random_range(0..4) {
        0 => leaf,
        1 => meaning(format!("NOT ({})", a.text), move |row| !(a.holds)(row)),
        2 => meaning(format!("({}) AND ({})", a.text, b.text), move |row| {
            (a.holds)(row) && (b.holds)(row)
        }),
        _ => meaning(format!("({}) OR ({})", a.text, b.text), move |row| {
            (a.holds)(row) || (b.holds)(row)
        }),
    }
}

async fn database() -> (Database, Db) {
    let database = Database::create().await;
    let config = Config::new(database.url.parse().expect("a URL"), 2);
    let db = Db::connect(&config).await.expect("a database");
    (database, db)
}

#[tokio::test]
async fn filters_find_what_they_say_and_nothing_else() {
    let seed = connector::base::chance::uuid().as_u64_pair().0;
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let (_database, db) = database().await;
    let mut conn = db.conn().await.expect("a connection");
    let scene = Scene::make(&mut conn, 150, &mut chance).await;
    let leaves = leaves();
    let trees: Vec<Meaning> = (0..150).map(|_| tree(&leaves, 3, &mut chance)).collect();
    for meaning in leaves.iter().chain(&trees) {
        for only in [Some(0), Some(1), None] {
            let rows = scene
                .rows
                .iter()
                .filter(|row| only.is_none_or(|at| row.integration == at) && (meaning.holds)(row));
            let mut expected: Vec<(usize, &str)> =
                rows.map(|row| (row.integration, row.resource.arn.as_str())).collect();
            expected.sort_unstable();
            let expected: Vec<&str> = expected.into_iter().map(|(_, arn)| arn).collect();
            let found = scene.found(&mut conn, only, &meaning.text).await;
            assert_eq!(found, expected, "seed {seed}, integration {only:?}: {}", meaning.text);
        }
    }
}

#[tokio::test]
async fn facets_count_what_a_filter_means() {
    let (_database, db) = database().await;
    let mut conn = db.conn().await.expect("a connection");
    let scene = Scene::make(&mut conn, 200, &mut StdRng::seed_from_u64(1)).await;
    let condition = filter::parse("tag.env = prod AND NOT region = us-east-1", TYPES);
    let condition = condition.expect("a filter");
    let counted = facets::count(&mut conn, &scene.integrations[0], &condition, 3).await;
    let counted = counted.expect("facets");
    let rows: Vec<&Row> = scene
        .rows
        .iter()
        .filter(|row| row.integration == 0)
        .filter(|row| row.resource.tags.get("env").is_some_and(|value| value == "prod"))
        .filter(|row| row.resource.region.as_ref().is_none_or(|id| id.as_str() != "us-east-1"))
        .collect();
    let expected = |values: &dyn Fn(&Row) -> Vec<String>| {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for value in rows.iter().flat_map(|row| values(row)) {
            *counts.entry(value).or_default() += 1;
        }
        let mut counts: Vec<(String, i64)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| -count);
        counts.truncate(3);
        counts
    };
    let shown = |facets: Vec<facets::Facet>| -> Vec<(String, i64)> {
        facets.into_iter().map(|facet| (facet.value, facet.resources)).collect()
    };
    assert_eq!(counted.resources, i64::try_from(rows.len()).expect("a number"));
    assert_eq!(shown(counted.types), expected(&|row| vec![row.resource.kind.to_owned()]));
    assert_eq!(shown(counted.accounts), expected(&|row| vec![row.resource.account.to_string()]));
    let region =
        |row: &Row| vec![row.resource.region.as_ref().map_or("", |id| id.as_str()).to_owned()];
    assert_eq!(shown(counted.regions), expected(&region));
    let units = |row: &Row| path(row).iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(shown(counted.units), expected(&units));
    let keys = |row: &Row| row.resource.tags.keys().cloned().collect();
    assert_eq!(shown(counted.tag_keys), expected(&keys));
}

/// Sequential scans of resources, by all sessions.
async fn scans(conn: &mut PgConnection) -> i64 {
    sqlx::query("SELECT pg_stat_force_next_flush()").execute(&mut *conn).await.expect("a flush");
    let scans = "SELECT seq_scan FROM pg_stat_user_tables
        WHERE relid = 'connector.resources'::regclass";
    sqlx::query_scalar(scans).fetch_one(conn).await.expect("a number")
}

#[tokio::test]
async fn no_filter_reads_the_whole_table() {
    let (_database, db) = database().await;
    let mut conn = db.conn().await.expect("a connection");
    let scene = Scene::make(&mut conn, 5_000, &mut StdRng::seed_from_u64(1)).await;
    scene.among_others(&mut conn).await;

    // The gauge works.
    let before = scans(&mut conn).await;
    sqlx::query("SELECT max(length(name)) FROM connector.resources")
        .execute(&mut *conn)
        .await
        .expect("an answer");
    assert_eq!(scans(&mut conn).await, before + 1);

    for text in [
        "",
        "type = aws-s3-bucket AND tag.env = prod",
        "type = aws-s3-bucket AND tag.env = nowhere",
        "type:rds AND tag.env:prod",
        "tag.env = prod",
        "tag:nothing",
        "text:web7",
        "text:nothing",
        "owner = bob@example.com",
        "owner = nobody@example.com",
        "owner = platform",
        "owner:bob",
        "account = 222222222222 AND type = aws-s3-bucket",
        "ou.name = Production AND region = eu-west-1",
        "name = web7",
        "name = Web1*",
        "state = held",
        "state = stale",
        "NOT tag.env = prod OR NOT type = aws-s3-bucket",
    ] {
        let condition = filter::parse(text, TYPES).expect("a filter");
        let before = scans(&mut conn).await;
        for only in [Some(0), None] {
            let meant = scene.meant(only, &condition);
            let page = resources::list(&mut conn, &meant, (Uuid::nil(), ""), 501).await;
            page.expect("a page");
        }
        let counted = facets::count(&mut conn, &scene.integrations[0], &condition, 500).await;
        counted.expect("facets");
        assert_eq!(scans(&mut conn).await, before, "{text:?} reads all resources");
    }
}
