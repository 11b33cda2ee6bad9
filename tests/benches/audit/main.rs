//! How fast log files of an organization trail are read: tables for BENCHMARKS.md.
//!
//! The real daemon as a process, a real PostgreSQL (`tests/bin/postgres`), and the simulated AWS, which hands the
//! files out, in this process. What counts is processor time, of the daemon and of plain unpacking and parsing of the
//! same files in this process, so that nobody's waiting for anybody counts. `BENCH_ONLY=speed,day` chooses tables.

use std::{env, fs, io::Read as _, time::Duration};

use apono_connector_proto::v1::{
    AccessUnit, GetGrantRequest, GrantRequest, GrantState, IntegrationSettings, OrganizationTrail,
    Recipient, access_service_client::AccessServiceClient, grant_request::End, recipient::Who,
};
use aws_sim::{
    Deed, Door,
    delivery::{Delivery, Object, packed},
    seed,
};
use chrono::{DateTime, TimeDelta, Utc};
use connector::base::clock;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

#[path = "../../e2e/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the end-to-end tests use the rest")]
mod harness;
#[path = "../sync/measure.rs"]
#[expect(dead_code, reason = "the benchmark of the crawl uses the rest")]
mod measure;

use harness::{Api, Cloud, Daemon, Database, Options, settings_for, wait_for};

const ACCOUNT: &str = "222222222222";
const REGION: &str = "eu-west-1";
const BUCKET: &str = "trail";
/// Records in a file.
const RECORDS: usize = 20_000;
/// Files of a row.
const FILES: usize = 20;
/// What the files of a day have in them, unpacked.
const DAY_BYTES: usize = 10_000_000_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let only = env::var("BENCH_ONLY").unwrap_or_default();
        let is_wanted = |name: &str| only.is_empty() || only.split(',').any(|one| one == name);
        println!("{}\n", measure::machine());
        if is_wanted("speed") {
            speed().await;
        }
        if is_wanted("day") {
            day().await;
        }
    });
}

/// An organization with a trail, in which somebody has a grant.
struct Scene {
    cloud: Cloud,
    database: Database,
    daemon: Daemon,
    /// A record of what they do with it.
    granted: Value,
    files: usize,
}

impl Scene {
    async fn build() -> Self {
        let cloud = Cloud::empty("aws").await;
        cloud.account(ACCOUNT, &cloud.root, "payments");
        cloud.sim.world().account(ACCOUNT).regions = [REGION.to_owned()].into();
        seed::enroll(&mut cloud.sim.world(), &cloud.organization, REGION, &[], 2);
        let deployment = cloud.deployment_with(&[
            ("AccountAssignments", "Enabled"),
            ("SessionAudit", "Enabled"),
            ("TrailBucketArn", "arn:aws:s3:::trail"),
        ]);
        let (organization, account) = (cloud.organization.clone(), cloud.management.clone());
        {
            let mut world = cloud.sim.world();
            world.deploy(&organization, &deployment);
            world.pages_as_asked = true;
            world.deliver(Delivery {
                organization,
                account,
                bucket: BUCKET.to_owned(),
                region: REGION.to_owned(),
                prefix: String::new(),
                is_of_organization: true,
                has_data_events: false,
                kms_key: String::new(),
                stalled: TimeDelta::days(1000),
            });
        }
        let database = Database::create().await;
        let options = Options::default()
            .set("DATABASE_URL", &database.url)
            .set("APONO__LOG__FILTER", "error,connector::daemon=info")
            .set("APONO__ACCESS__AUDIT_INTERVAL", "1h");
        let daemon = Daemon::start_with(&cloud, options);
        let api = daemon.api().await;
        let trail = OrganizationTrail {
            bucket: BUCKET.to_owned(),
            region: REGION.to_owned(),
            ..OrganizationTrail::default()
        };
        api.create_and_sync(IntegrationSettings {
            sso_region: REGION.to_owned(),
            resource_types: vec!["aws-identity-center-permission-set".to_owned()],
            audit_enabled: true,
            trail: Some(trail),
            ..settings_for(&cloud)
        })
        .await;
        grant(&api).await;
        let user = "9067642ac7-00000001";
        let door = Door { organization: &cloud.organization, user, account: ACCOUNT, set: "Team1" };
        let session = cloud.sim.world().sign_in(door).expect("a session");
        let arn = format!("arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0123456789abcdef0");
        let deed = Deed { action: "ec2:DescribeInstances", resource: &arn, ..Deed::default() };
        cloud.sim.world().act(&session, deed);
        let mut granted = cloud.sim.world().trail.records.pop().expect("a record").event;
        // Most records are about as long.
        granted["responseElements"] = json!({ "reservationSet": { "items": "x".repeat(400) } });
        let mut scene = Self { cloud, database, daemon, granted, files: 0 };
        scene.settle().await;
        scene
    }

    fn now(&self) -> DateTime<Utc> {
        self.cloud.sim.world().clock.now()
    }

    /// A file in which so many records of each thousand are of the grant, ten times as many of other people.
    fn file(&self, number: usize, granted: usize) -> String {
        let at = self.now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let mut records = Vec::with_capacity(RECORDS);
        for record in 0..RECORDS {
            let mut event = self.granted.clone();
            event["eventID"] = json!(format!("{number:08}-0000-4000-8000-{record:012}"));
            event["eventTime"] = json!(at);
            let identity = &mut event["userIdentity"];
            match record % 1000 {
                of if of < granted => {}
                of if of < granted * 11 => identity["principalId"] = json!("AROAOTHER:somebody"),
                _ => {
                    let role = format!("arn:aws:sts::{ACCOUNT}:assumed-role/deploy/session");
                    identity["arn"] = json!(role);
                    let issuer = &mut identity["sessionContext"]["sessionIssuer"];
                    issuer["arn"] = json!(format!("arn:aws:iam::{ACCOUNT}:role/deploy"));
                    issuer["userName"] = json!("deploy");
                }
            }
            records.push(event);
        }
        json!({ "Records": records }).to_string()
    }

    /// Delivers a file.
    fn put(&mut self, body: Vec<u8>) {
        let now = self.now();
        let (organization, number) = (&self.cloud.organization, self.files);
        let (day, time) = (now.format("%Y/%m/%d"), now.format("%Y%m%dT%H%MZ"));
        let key = format!(
            "AWSLogs/{organization}/{ACCOUNT}/CloudTrail/{REGION}/{day}/{ACCOUNT}_CloudTrail_{REGION}_{time}_{number:016}.json.gz"
        );
        self.files += 1;
        let object = Object { body, modified: now, kms_key: String::new() };
        self.cloud.sim.world().put_object(&key, object);
    }

    async fn pass(&self, seconds: i64) {
        self.cloud.sim.world().clock.advance(TimeDelta::seconds(seconds));
        self.database.pass(seconds).await;
    }

    /// Waits until all that is there is read.
    async fn settle(&mut self) {
        const DUE: &str = "SELECT count(*) FROM connector.audit_places
            WHERE next_at <= connector.now() OR read_at IS NULL OR failures > 0";
        while self.database.count(DUE).await > 0
            || self.database.count("SELECT count(*) FROM connector.audit_places").await == 0
        {
            clock::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn grant(api: &Api) {
    let mut access = AccessServiceClient::new(api.channel.clone());
    let request = GrantRequest {
        integration: "prod".to_owned(),
        grant_id: "g1".to_owned(),
        recipient: Some(Recipient { who: Some(Who::UserEmail("ann1@example.com".to_owned())) }),
        units: vec![AccessUnit {
            account_id: ACCOUNT.to_owned(),
            permission_set: "Team1".to_owned(),
            ..AccessUnit::default()
        }],
        end: Some(End::Duration(prost_types::Duration { seconds: 12 * 3600, nanos: 0 })),
        reason: "a benchmark".to_owned(),
        requester: "ann".to_owned(),
        ..GrantRequest::default()
    };
    access.grant(request).await.expect("a grant");
    let request = GetGrantRequest { grant_id: "g1".to_owned(), ..GetGrantRequest::default() };
    wait_for("a live grant", || async {
        let found = access.clone().get_grant(request.clone()).await.expect("a grant");
        let state = found.into_inner().grant.map(|grant| grant.state());
        (state == Some(GrantState::Active)).then_some(())
    })
    .await;
}

/// Unpacks and parses, as anybody would.
fn plainly(packed: &[u8]) -> usize {
    let mut text = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut text).expect("a file");
    let file: Value = serde_json::from_slice(&text).expect("JSON");
    file["Records"].as_array().map_or(0, Vec::len)
}

async fn speed() {
    let mut scene = Scene::build().await;
    println!("{FILES} files of {RECORDS} records\n");
    println!(
        "| of the grant | events | MiB | plain s | daemon's CPU s | events a CPU second | of plain | stored |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for granted in [0, 1, 10, 50] {
        let bodies = (0..FILES).map(|number| {
            let text = scene.file(granted * 1000 + number, granted);
            (text.len(), packed(&text))
        });
        let bodies: Vec<_> = bodies.collect();
        let mib: usize = bodies.iter().map(|(length, _)| length / (1024 * 1024)).sum();
        let began = measure::cpu(std::process::id());
        let events: usize = bodies.iter().map(|(_, body)| plainly(body)).sum();
        let plain = measure::cpu(std::process::id()).saturating_sub(began);
        scene.pass(20 * 60).await;
        scene.settle().await;
        let stored = scene.database.count("SELECT count(*) FROM connector.audit_events").await;
        for (_, body) in bodies {
            scene.put(body);
        }
        let before = measure::cpu(scene.daemon.child.id());
        scene.pass(5 * 60 + 1).await;
        scene.settle().await;
        let cpu = measure::cpu(scene.daemon.child.id()).saturating_sub(before);
        let stored =
            scene.database.count("SELECT count(*) FROM connector.audit_events").await - stored;
        #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
        let a_second = events as f64 / cpu.as_secs_f64();
        println!(
            "| {:.1} % | {events} | {mib} | {:.2} | {:.2} | {a_second:.0} | {:.2} × | {stored} |",
            f64::from(u32::try_from(granted).unwrap_or_default()) / 10.0,
            plain.as_secs_f64(),
            cpu.as_secs_f64(),
            plain.as_secs_f64() / cpu.as_secs_f64(),
        );
    }
    println!();
}

/// Memory that a process has now, in MiB.
fn resident_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

async fn day() {
    let mut scene = Scene::build().await;
    let text = scene.file(0, 1);
    let (length, body) = (text.len(), packed(&text));
    drop(text);
    println!("A day of {} GB, unpacked\n", DAY_BYTES / 1_000_000_000);
    println!("| read GB | resident MiB | peak MiB |\n|---|---|---|");
    let pid = scene.daemon.child.id();
    println!("| 0.0 | {} | {} |", resident_mib(pid), measure::peak_mib(pid));
    let tenth = DAY_BYTES / length / 10;
    for part in 1..=10_usize {
        for _ in 0..tenth {
            scene.put(body.clone());
        }
        scene.pass(5 * 60 + 1).await;
        scene.settle().await;
        #[expect(clippy::cast_precision_loss, reason = "sizes of a benchmark")]
        let read = (part * tenth * length) as f64 / 1e9;
        println!("| {read:.1} | {} | {} |", resident_mib(pid), measure::peak_mib(pid));
    }
    println!();
}
