//! How fast access is given and taken away: tables for BENCHMARKS.md.
//!
//! The real daemon as a process, a real PostgreSQL (`tests/bin/postgres`), and the simulated AWS in this
//! process. All share the machine's cores. `BENCH_ONLY=quotas,generated,admission,ends,live` chooses
//! tables.

use std::{env, fmt::Write as _, time::Duration};

use apono_connector_proto::v1::{
    AccessUnit, GrantRequest, IntegrationSettings, Recipient,
    access_service_client::AccessServiceClient, grant_request::End, recipient::Who,
};
use aws_sim::{
    Latency, Quotas,
    assignment::{Assignment, Principal},
    directory::Directory,
    seed::{self, Plan},
};
use connector::base::clock;
use tonic::transport::Channel;

mod admission;
mod ends;
mod generated;
#[path = "../../e2e/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the end-to-end tests use the rest")]
mod harness;
mod live;
#[path = "../sync/measure.rs"]
#[expect(dead_code, reason = "the benchmark of the crawl uses the rest")]
mod measure;
mod quotas;

use harness::{Api, Cloud, Daemon, Database, Options, settings_for};

/// How long AWS takes to answer.
const LATENCY: Duration = Duration::from_millis(50);
/// The permission set that is assigned.
const SET: &str = "Team1";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let only = env::var("BENCH_ONLY").unwrap_or_default();
        let is_wanted = |name: &str| only.is_empty() || only.split(',').any(|one| one == name);
        println!("{}\n", measure::machine());
        if is_wanted("quotas") {
            quotas::run().await;
        }
        if is_wanted("generated") {
            generated::run().await;
        }
        if is_wanted("admission") {
            admission::run().await;
        }
        if is_wanted("ends") {
            ends::run().await;
        }
        if is_wanted("live") {
            live::run().await;
        }
    });
}

/// An organization with people and permission sets, synced by a daemon.
struct Scene {
    cloud: Cloud,
    database: Database,
    daemon: Daemon,
    api: Api,
}

impl Scene {
    /// With so many accounts and people, and settings of the daemon beside the default ones.
    async fn build(accounts: usize, people: usize, settings: &[(&str, &str)]) -> Self {
        let plan = Plan {
            organization: "o-test123456",
            first_account: FIRST_ACCOUNT,
            accounts,
            units: 4,
            regions: &["eu-west-1"],
            instances: 1,
            buckets: 1,
            seed: 1,
        };
        let cloud = Cloud::planned(&plan).await;
        // The first one is disabled.
        seed::enroll(&mut cloud.sim.world(), &cloud.organization, "eu-west-1", &[], people + 1);
        {
            let mut world = cloud.sim.world();
            world.pages_as_asked = true;
            world.only_counts = true;
        }
        let database = Database::create().await;
        let mut options = Options::default()
            .set("DATABASE_URL", &database.url)
            .set("APONO__LOG__FILTER", "error,connector::daemon=info")
            .set("APONO__SYNC__LEASE", "15s")
            .set("APONO__SYNC__HEARTBEAT", "5s")
            .set("APONO__AWS__RATE_SHARE", "0.5")
            .set("APONO__AWS__ATTEMPT_TIMEOUT", "20s");
        for (name, value) in settings {
            options = options.set(name, value);
        }
        let daemon = Daemon::start_with(&cloud, options);
        let api = daemon.api().await;
        Self { cloud, database, daemon, api }
    }

    /// Connects the organization and reads what grants name, then makes AWS as slow as it is.
    async fn connect(&self) {
        self.connect_with(&["aws-identity-center-permission-set"]).await;
    }

    /// The same with other types of resources.
    async fn connect_with(&self, types: &[&str]) {
        let resource_types = types.iter().map(ToString::to_string).collect();
        let settings = IntegrationSettings { resource_types, ..self.settings() };
        self.api.create_and_sync(settings).await;
        let mut world = self.cloud.sim.world();
        world.latency = Some(Latency::spread(LATENCY, 0.25, 1));
        world.quotas = Some(Quotas::published(1.0));
    }

    fn settings(&self) -> IntegrationSettings {
        IntegrationSettings {
            sso_region: "eu-west-1".to_owned(),
            sso_portal_url: "https://d-test.awsapps.com/start".to_owned(),
            resource_types: vec!["aws-identity-center-permission-set".to_owned()],
            ..settings_for(&self.cloud)
        }
    }

    fn access(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.api.channel.clone())
    }

    /// What Identity Center holds.
    fn directory<T>(&self, look: impl FnOnce(&mut Directory) -> T) -> T {
        let mut world = self.cloud.sim.world();
        let organization = world.organizations.get_mut(&self.cloud.organization);
        look(&mut organization.expect("an organization").directory)
    }

    /// Calls of AWS whose name begins so, and how many of them were throttled.
    fn calls(&self, prefix: &str) -> (usize, usize) {
        let world = self.cloud.sim.world();
        let meant = world.tally.iter().filter(|(action, _)| action.starts_with(prefix));
        meant.fold((0, 0), |(calls, throttled), (_, tally)| {
            (calls + tally.calls, throttled + tally.throttled)
        })
    }

    /// Live grants of an hour and more, as if they had been given long ago: one for each pair of
    /// a person and an account. `expires_at` is SQL, of the grant's number `n`.
    async fn seed(&self, pairs: &[(usize, usize)], expires_at: &str, next_at: &str, errand: i16) {
        let model = GrantRequest { units: vec![unit(0)], ..request("model", 1, 3600) };
        self.access().grant(model).await.expect("a grant");
        let state = "SELECT state FROM connector.units WHERE grant_id = 'model'";
        while self.database.texts(state).await != ["ACTIVE"] {
            clock::sleep(Duration::from_millis(50)).await;
        }
        self.directory(|directory| {
            directory.assignments.extend(pairs.iter().map(|(person, at)| Assignment {
                account: account(*at),
                permission_set: format!("ps-{:016x}", 1),
                principal: Principal::User(id(*person)),
            }));
        });
        let mut values = String::new();
        for (n, (person, at)) in pairs.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(values, "{comma}({n},'{}','{}')", id(*person), account(*at)).expect("a text");
        }
        let (model_id, model_account) = (id(1), account(0));
        let renamed = |column: &str| {
            format!("replace(replace({column}, '{model_id}', person), '{model_account}', account)")
        };
        let (principal, key) = (renamed("g.principal::text"), renamed("t.object_key"));
        let object = renamed("t.object::text");
        self.database
            .execute(&format!(
                "CREATE TABLE pairs AS
                     SELECT * FROM (VALUES {values}) AS pair (n, person, account);
                 INSERT INTO connector.grants (connector_id, grant_id, integration_id, request,
                     principal, names, expires_at)
                 SELECT g.connector_id, 'seeded-' || n, g.integration_id, g.request,
                     {principal}::jsonb, g.names, {expires_at}
                 FROM pairs, connector.grants g WHERE g.grant_id = 'model';
                 INSERT INTO connector.targets (connector_id, id, integration_id, mechanism,
                     object_key, object, place, origin, observed_at, next_at, errand)
                 SELECT t.connector_id, md5(n::text)::uuid, t.integration_id, t.mechanism,
                     {key}, {object}::jsonb, account, 'made', connector.now(), {next_at}, {errand}
                 FROM pairs, connector.targets t
                 JOIN connector.holdings h ON h.target_id = t.id WHERE h.grant_id = 'model';
                 INSERT INTO connector.units (connector_id, grant_id, number, account_id,
                     resource, resource_type, resource_name, permission, mechanism, plan,
                     session_seconds, state)
                 SELECT u.connector_id, 'seeded-' || n, 0, account, '', u.resource_type,
                     u.resource_name, u.permission, u.mechanism,
                     jsonb_set(u.plan, '{{account}}', to_jsonb(account)), u.session_seconds,
                     'ACTIVE'
                 FROM pairs, connector.units u WHERE u.grant_id = 'model';
                 INSERT INTO connector.holdings (connector_id, grant_id, number, target_id, stage,
                     state)
                 SELECT u.connector_id, 'seeded-' || n, 0, md5(n::text)::uuid, 0, 'ACTIVE'
                 FROM pairs, connector.units u WHERE u.grant_id = 'model';
                 ANALYZE connector.grants; ANALYZE connector.targets; ANALYZE connector.units;
                 ANALYZE connector.holdings;"
            ))
            .await;
    }
}

/// So many pairs of a person and an account, each once; the first person is the model's.
fn pairs(count: usize, people: usize, accounts: usize) -> Vec<(usize, usize)> {
    let others = people - 1;
    assert!(count <= others * accounts, "there are not so many pairs");
    (0..count).map(|n| (2 + n % others, (n % others + n / others) % accounts)).collect()
}

const FIRST_ACCOUNT: u64 = 500_000_000_000;

/// The id of an account of the plan, whose first one manages.
fn account(at: usize) -> String {
    (FIRST_ACCOUNT + 1 + u64::try_from(at).expect("a number")).to_string()
}

/// The id of a person.
fn id(person: usize) -> String {
    format!("9067642ac7-{person:08x}")
}

/// [`SET`] in an account.
fn unit(at: usize) -> AccessUnit {
    AccessUnit { account_id: account(at), permission_set: SET.to_owned(), ..Default::default() }
}

/// A request for a person, for so many seconds, without units.
fn request(grant_id: &str, person: usize, seconds: i64) -> GrantRequest {
    GrantRequest {
        integration: "prod".to_owned(),
        grant_id: grant_id.to_owned(),
        recipient: Some(Recipient {
            who: Some(Who::UserEmail(format!("ann{person}@example.com"))),
        }),
        end: Some(End::Duration(prost_types::Duration { seconds, nanos: 0 })),
        reason: "ticket 7".to_owned(),
        requester: "ann".to_owned(),
        ..Default::default()
    }
}

/// The value below which a share of the sorted ones lie, in milliseconds.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let at = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(at).map_or(0.0, |length| length.as_secs_f64() * 1000.0)
}
