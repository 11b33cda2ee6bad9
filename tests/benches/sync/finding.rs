//! Finding resources among a million: pages by filter, and counts, through the API.

use std::time::{Duration, Instant};

use apono_connector_proto::v1::{
    IntegrationOwner, IntegrationSettings, ListResourcesRequest, OwnerAttribute, ResourceOwner,
    SummarizeResourcesRequest,
};

use aws_sim::seed::DEFAULT_REGIONS;

use crate::{
    crawl::daemon,
    harness::{Api, Cloud, Database, settings_with_every_type},
};

const RESOURCES: usize = 1_000_000;
/// Requests of each kind.
const REQUESTS: usize = 200;
const COUNTS: usize = 10;

/// Resources as an organization of a thousand accounts has them: eighteen types of unequal
/// shares, seventeen regions, and tags of which some are everywhere and others rare. An account's
/// rows lie together, as a sync writes them.
const FILL: &str = "
    INSERT INTO connector.resources (connector_id, integration_id, revision, arn, type, account_id,
        region, scope_account_id, scope_region, collector, name, tags, attributes, content_hash)
    SELECT i.connector_id, i.id, 1,
        format('arn:aws:%s:%s:%s:thing/%s-%s', kind, region, account, name, at),
        kind, account, region, account, region, 'bench', name || '-' || at,
        jsonb_build_object('Name', name || '-' || at, 'team', 'team-' || chance % 50,
            'env', (ARRAY['prod', 'prod', 'prod', 'stage', 'dev', 'dev', 'dev', 'test', 'test',
                'sandbox'])[1 + chance / 7 % 10],
            'app', 'app-' || chance / 3 % 3000)
        || CASE chance % 5 WHEN 0 THEN '{}' ELSE
            jsonb_build_object('owner', format('person%s@example.com', chance / 11 % 2000)) END,
        '{\"image_id\": \"ami-0123456789abcdef0\", \"launch_time\": \"2026-01-02T03:04:05Z\",
          \"state\": \"running\", \"subnet_id\": \"subnet-0123456789abcdef0\",
          \"vpc_id\": \"vpc-0123456789abcdef0\", \"platform\": \"Linux/UNIX\"}',
        sha256(at::text::bytea)
    FROM (
        SELECT at, abs(hashint4(at)) AS chance, (100000000000 + at / 1000)::text AS account,
            $3[1 + at / 60 % 17] AS region,
            $1[1 + least(abs(hashint4(at + 1)) % 24, 17)] AS kind,
            (ARRAY['web', 'payments-api', 'checkout', 'ledger', 'search-index', 'batch', 'stream',
                'frontend', 'auth', 'gateway'])[1 + abs(hashint4(at + 7)) % 10] AS name
        FROM generate_series(0, $2 - 1) AS at) made,
        (SELECT connector_id, id FROM connector.integrations) i
    ORDER BY hashtext(account), at";

/// Makes the filter of the n-th request.
type Filter = fn(usize) -> String;

/// What is asked for, and the filter of the n-th request.
const FILTERS: [(&str, Filter); 9] = [
    ("type + common tag", |at| format!("type = {} AND tag.env = {}", kind(at), ENVS[at % 5])),
    ("type + tag of a fiftieth", |at| {
        format!("type = {} AND tag.team = team-{}", kind(at), at % 50)
    }),
    ("type + rare tag", |at| format!("type = {} AND tag.app = app-{at}", kind(at))),
    ("text, common and rare", |at| match at % 2 {
        0 => TEXTS[at / 2 % TEXTS.len()].to_owned(),
        _ => format!("text:'-{:03}'", at * 7919 % 1000),
    }),
    ("owner", |at| format!("owner = person{at}@example.com")),
    ("owner.by = integration", |_| "owner.by = integration".to_owned()),
    ("tag of a fiftieth alone", |at| format!("tag.team = team-{}", at % 50)),
    ("account + region", |at| {
        format!("account = {} AND region = {}", 100_000_000_000 + at, DEFAULT_REGIONS[at % 17])
    }),
    ("all", |_| String::new()),
];
const ENVS: [&str; 5] = ["prod", "stage", "dev", "test", "sandbox"];
const TEXTS: [&str; 7] =
    ["ledger", "payments-api-77", "i-7", "gateway-12345", "777777", "nowhere", "auth-9"];

fn kind(at: usize) -> &'static str {
    let types = connector::catalog::type_ids();
    types[at % types.len()]
}

async fn scene() -> (Cloud, Database, crate::harness::Daemon, Api) {
    let cloud = Cloud::empty("aws").await;
    cloud.deploy();
    let database = Database::create().await;
    let daemon = daemon(&cloud, &database, &[], Vec::new());
    let api = daemon.api().await;
    let settings = IntegrationSettings {
        resource_owner: Some(ResourceOwner {
            tag_key: "owner".to_owned(),
            attribute: "email".to_owned(),
            source: "okta".to_owned(),
        }),
        integration_owner: Some(IntegrationOwner {
            attribute: OwnerAttribute::Group.into(),
            source: "okta".to_owned(),
            values: vec!["platform".to_owned()],
        }),
        ..settings_with_every_type(&cloud)
    };
    api.create_and_sync(settings).await;
    let mut conn = database.conn().await;
    let types = connector::catalog::type_ids();
    sqlx::query(FILL)
        .bind(types)
        .bind(i32::try_from(RESOURCES).expect("a number"))
        .bind(DEFAULT_REGIONS)
        .execute(&mut conn)
        .await
        .expect("rows");
    database.execute("VACUUM ANALYZE connector.resources").await;
    (cloud, database, daemon, api)
}

pub(crate) async fn run() {
    println!(
        "## Finding\n\n{RESOURCES} resources of one integration; pages of 500 through the API, {REQUESTS} requests of each kind with different values, one after the other.\n"
    );
    println!("| what | resources on a page | p50 ms | p99 ms |\n|---|---|---|---|");
    let (_cloud, database, _daemon, api) = scene().await;
    for (what, filter) in FILTERS {
        page(&api, what, filter).await;
    }
    for (what, filter) in [
        ("facets of all", ""),
        ("facets of a type", "type = aws-s3-bucket"),
        ("facets of a tag", "tag.team = team-7"),
    ] {
        count(&api, what, filter).await;
    }
    let sizes = "SELECT relname || ' ' || pg_size_pretty(pg_relation_size(oid)) FROM pg_class
        WHERE relname LIKE 'resources%' AND relkind IN ('r', 'i') ORDER BY relname";
    println!("\nOn disk: {}.\n", database.texts(sizes).await.join(", "));
}

async fn page(api: &Api, what: &str, filter: Filter) {
    let mut took = Vec::new();
    let mut found = 0;
    // The first ones make the cache warm.
    let warm = REQUESTS / 10;
    for at in 0..REQUESTS + warm {
        let request = ListResourcesRequest {
            integration: "prod".to_owned(),
            filter: filter(at),
            page_size: 500,
            ..Default::default()
        };
        let began = Instant::now();
        let page = api.inventory().list_resources(request).await.expect("a page").into_inner();
        if at >= warm {
            took.push(began.elapsed());
            found += page.resources.len();
        }
    }
    line(what, &(found / REQUESTS).to_string(), took);
}

async fn count(api: &Api, what: &str, filter: &str) {
    let mut took = Vec::new();
    let mut counted = 0;
    for _ in 0..COUNTS {
        let request = SummarizeResourcesRequest {
            integration: "prod".to_owned(),
            filter: filter.to_owned(),
            ..Default::default()
        };
        let began = Instant::now();
        let counts = api.inventory().summarize_resources(request).await.expect("counts");
        took.push(began.elapsed());
        counted = counts.into_inner().resources;
    }
    line(what, &format!("(of {counted})"), took);
}

fn line(what: &str, found: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at =
        |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
    println!("| {what} | {found} | {:.1} | {:.1} |", at(50), at(99));
}
