//! The organization trail, read from its bucket, with and without a queue.

use apono_connector_proto::v1::{
    ErasePrincipalRequest, GrantRequest, GrantState, IntegrationSettings, OrganizationTrail,
    Problem, UpdateIntegrationRequest,
};
use aws_sim::{
    Deed, Effect, Fault,
    answer::Refusal,
    delivery::{Delivery, Object, packed},
};
use chrono::TimeDelta;
use serde_json::json;

use super::{NEXT_READING_S, audited, look, sign_in};
use crate::{
    access::{ACCOUNT, House, OTHER_ACCOUNT, SET, a_request, cloud, end_in, fast, settings},
    harness::{Cloud, Daemon, Database, wait_for},
};

const BUCKET: &str = "trail-of-test";
const KEY: &str = "arn:aws:kms:eu-west-1:333333333333:key/0000-trail";
pub(super) const QUEUE: &str = "arn:aws:sqs:eu-west-1:333333333333:trail";
pub(super) const QUEUE_URL: &str = "https://sqs.eu-west-1.amazonaws.com/333333333333/trail";

/// A trail into a bucket of the other account, whose role may read it, and the queue.
pub(super) fn start(cloud: &Cloud) {
    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let named = [
        ("AccountAssignments", "Enabled"),
        ("GeneratedAccess", "Enabled"),
        ("SessionAudit", "Enabled"),
        ("TrailAccountId", OTHER_ACCOUNT),
        ("TrailBucketArn", bucket.as_str()),
        ("TrailKmsKeyArn", KEY),
        ("TrailQueueArn", QUEUE),
    ];
    let deployment = cloud.deployment_with(&named);
    let mut world = cloud.sim.world();
    world.deploy(&cloud.organization, &deployment);
    world.deliver(Delivery {
        organization: cloud.organization.clone(),
        account: OTHER_ACCOUNT.to_owned(),
        bucket: BUCKET.to_owned(),
        region: "eu-west-1".to_owned(),
        prefix: "org".to_owned(),
        is_of_organization: true,
        has_data_events: true,
        kms_key: KEY.to_owned(),
        stalled: TimeDelta::zero(),
    });
    world.queues.insert(QUEUE.to_owned(), Vec::new());
}

/// Has the bucket tell the queue.
pub(super) fn notify(cloud: &Cloud) {
    let mut world = cloud.sim.world();
    let mut buckets = world.account(OTHER_ACCOUNT).buckets.iter_mut();
    let bucket = buckets.find(|one| one.name == BUCKET).expect("a bucket");
    bucket.notifies.push(QUEUE.to_owned());
}

pub(super) fn trail() -> OrganizationTrail {
    OrganizationTrail {
        bucket: BUCKET.to_owned(),
        prefix: "org".to_owned(),
        region: "eu-west-1".to_owned(),
        kms_key_arn: KEY.to_owned(),
        queue_url: String::new(),
        role_arn: format!("arn:aws:iam::{OTHER_ACCOUNT}:role/apono-connector-member"),
    }
}

pub(super) fn with_trail(
    settings: IntegrationSettings,
    trail: OrganizationTrail,
) -> IntegrationSettings {
    IntegrationSettings { trail: Some(trail), ..audited(settings) }
}

async fn house(trail: OrganizationTrail) -> House {
    let database = Database::create().await;
    let cloud = cloud().await;
    start(&cloud);
    let daemon = Daemon::start_with(&cloud, fast(&database));
    let api = daemon.api().await;
    api.create_and_sync(with_trail(settings(&cloud), trail)).await;
    House { cloud, database, daemon, api }
}

/// Reads a file of a bucket, which is a data event.
fn read_file(cloud: &Cloud, session: &aws_sim::SignedIn) -> bool {
    let resource = "arn:aws:s3:::payments-data/card";
    cloud.sim.world().act(session, Deed { action: "s3:GetObject", resource, ..Deed::default() })
}

impl House {
    /// Changes the settings of the integration.
    async fn change(&self, settings: IntegrationSettings) {
        let request = UpdateIntegrationRequest {
            integration: "prod".to_owned(),
            settings: Some(settings),
            etag: self.api.get("prod").await.etag,
            ..Default::default()
        };
        self.api.integrations().update_integration(request).await.expect("a change");
    }

    /// Waits for a problem of session audit that is about something.
    async fn unread(&self, what: &str) -> Problem {
        wait_for(what, || async {
            let mut all = self.api.problems().await.into_iter();
            all.find(|one| one.code == "AUDIT_UNREAD" && one.subject.contains(what))
        })
        .await
    }

    /// Waits until everything that is due was read.
    async fn read_all(&self) {
        wait_for("readings", || async {
            const DUE: &str = "SELECT count(*) FROM connector.audit_places
                WHERE next_at <= connector.now() OR failures > 0";
            (self.database.count(DUE).await == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_the_trail_has_is_told_once_with_data_events() {
    let house = house(trail()).await;
    house.give(a_request("g1")).await;
    let told = house.api.audited("g1").await;
    let sources = told.coverage.iter().map(|one| (one.source.as_str(), one.region.as_str()));
    let sources: Vec<_> = sources.collect();
    let regions = ["eu-central-1", "eu-west-1", "us-east-1"];
    let of = |source| regions.map(|region| (source, region));
    assert_eq!(sources, [of("cloudtrail-event-history"), of("cloudtrail-trail")].concat());
    assert!(told.blind_spots[0].contains("as far as it logs data events"), "{told:?}");

    house.cloud.sim.world().trail.repeats = true;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    house.assign(&super::ann(2), ACCOUNT);
    assert!(look(&house.cloud, &session));
    read_file(&house.cloud, &session);
    let other = sign_in(&house.cloud, 2, ACCOUNT, SET).expect("a session");
    assert!(look(&house.cloud, &other));
    house.pass(NEXT_READING_S).await;
    let told = house.api.wait_for_calls("g1", 2).await;
    assert!(told.doubts.is_empty(), "{told:?}");
    let events = house.api.events_of("g1").await;
    let data = events.iter().find(|one| one.name == "GetObject").expect("a data event");
    assert_eq!((data.source.as_str(), data.session_name.as_str()), ("cloudtrail-trail", "ann1"));
    assert!(data.record.contains("payments-data/card"), "{data:?}");

    // Until nobody can do anything any more.
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    house.pass(3600 + 16 * 60).await;
    wait_for("readings behind the end", || async {
        const LAST: &str = "SELECT count(*) FROM connector.audit_places
            WHERE next_at > connector.now() + interval '2 hours'";
        (house.database.count(LAST).await == 6).then_some(())
    })
    .await;
    house.pass(25 * 3600).await;
    wait_for("its end", || async {
        let told = house.api.audited("g1").await;
        told.coverage.iter().all(|one| one.complete).then_some(())
    })
    .await;
    assert_eq!(house.api.audited("g1").await.calls, 2);
}

#[tokio::test]
async fn a_queue_has_new_files_read_at_once_and_its_messages_go() {
    let house = house(OrganizationTrail { queue_url: QUEUE_URL.to_owned(), ..trail() }).await;
    notify(&house.cloud);
    let test = json!({ "Event": "s3:TestEvent", "Bucket": BUCKET }).to_string();
    house.cloud.sim.world().send(QUEUE, test);
    house.give(a_request("g1")).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    read_file(&house.cloud, &session);
    // It is not looked for but once an hour.
    house.pass(30).await;
    let told = house.api.wait_for_calls("g1", 1).await;
    assert_eq!(told.by_call[0].name, "GetObject");
    wait_for("an empty queue", || async {
        house.cloud.sim.world().queues[QUEUE].is_empty().then_some(())
    })
    .await;

    // What is not of the trail stays, and is a problem.
    let s3 = json!({ "bucket": { "name": "other" }, "object": { "key": "a" } });
    house.cloud.sim.world().send(QUEUE, json!({ "Records": [{ "s3": s3 }] }).to_string());
    house.pass(30).await;
    let problem = house.unread("TRAIL_QUEUE_FOREIGN other").await;
    assert!(problem.remedy.contains("trail.queue_url"), "{problem:?}");
    assert_eq!(house.cloud.sim.world().queues[QUEUE].len(), 1);
}

#[tokio::test]
async fn a_trail_that_is_named_later_is_read_from_the_grant_on() {
    let house = super::house().await;
    start(&house.cloud);
    let end = Some(end_in(12 * 3600));
    house.give(GrantRequest { end, ..a_request("g1") }).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    read_file(&house.cloud, &session);
    house.pass(10 * 3600).await;
    house.change(with_trail(settings(&house.cloud), trail())).await;
    let told = house.api.wait_for_calls("g1", 1).await;
    assert_eq!(told.coverage.len(), 6, "{told:?}");
    let stale = UpdateIntegrationRequest {
        integration: "prod".to_owned(),
        settings: Some(settings(&house.cloud)),
        etag: "1".to_owned(),
        ..Default::default()
    };
    house.api.integrations().update_integration(stale).await.expect_err("an old etag");
    assert_eq!(house.api.audited("g1").await.coverage.len(), 6, "nothing was changed");
    house.change(audited(settings(&house.cloud))).await;
    let told = house.api.audited("g1").await;
    assert_eq!((told.coverage.len(), told.calls), (3, 1), "{told:?}");
}

#[tokio::test]
async fn what_is_no_log_file_is_a_problem_and_files_that_come_late_are_found() {
    let house = house(trail()).await;
    let end = Some(end_in(12 * 3600));
    house.give(GrantRequest { end, ..a_request("g1") }).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    let organization = &house.cloud.organization;
    let now = house.cloud.sim.world().clock.now();
    let name = |unique: &str| {
        let (day, time) = (now.format("%Y/%m/%d"), now.format("%Y%m%dT%H%MZ"));
        format!(
            "org/AWSLogs/{organization}/{ACCOUNT}/CloudTrail/eu-west-1/{day}/{ACCOUNT}_CloudTrail_eu-west-1_{time}_{unique}.json.gz"
        )
    };
    let kms_key = KEY.to_owned();
    let put = |unique: &str, body: Vec<u8>| {
        let object = Object { body, modified: now, kms_key: kms_key.clone() };
        house.cloud.sim.world().put_object(&name(unique), object);
    };
    put("0000", packed("{\"Records\":[{\"eventID\":"));
    put("0001", b"AWSReservedSSO_".to_vec());
    read_file(&house.cloud, &session);
    house.pass(NEXT_READING_S).await;
    house.api.wait_for_calls("g1", 1).await;
    let problem = house.unread("LOG_FILE_UNREADABLE").await;
    assert!(problem.subject.contains("_0000.json.gz"), "{problem:?}");

    let stall = |by| {
        let mut world = house.cloud.sim.world();
        world.trail.delivery.as_mut().expect("a trail").stalled = by;
    };
    stall(TimeDelta::hours(5));
    read_file(&house.cloud, &session);
    for hours in [1, 6] {
        house.pass(hours * 3600).await;
        house.read_all().await;
    }
    assert_eq!(house.api.audited("g1").await.calls, 1, "only looked for once a day");
    stall(TimeDelta::zero());
    house.pass(20 * 3600).await;
    house.api.wait_for_calls("g1", 2).await;
}

#[tokio::test]
async fn a_right_on_the_bucket_that_is_lacking_is_a_problem_of_the_trail_alone() {
    let house = house(trail()).await;
    house.give(a_request("g1")).await;
    let role = "apono-connector-member";
    let whole = house.cloud.sim.world().account(OTHER_ACCOUNT).roles[role].clone();
    let mut poor = whole.clone();
    poor.policies.retain(|policy| !policy.to_string().contains("s3:ListBucket\""));
    house.cloud.sim.world().account(OTHER_ACCOUNT).roles.insert(role.to_owned(), poor);
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    assert!(look(&house.cloud, &session));
    read_file(&house.cloud, &session);
    house.pass(NEXT_READING_S).await;
    house.api.wait_for_calls("g1", 1).await;
    let problem = house.unread("s3:ListBucket").await;
    assert!(problem.remedy.contains("TrailBucketArn"), "{problem:?}");
    house.cloud.sim.world().account(OTHER_ACCOUNT).roles.insert(role.to_owned(), whole);
    house.pass(16 * 60).await;
    house.api.wait_for_calls("g1", 2).await;
}

#[tokio::test]
async fn a_trail_that_is_mended_goes_on_where_it_was_and_its_problem_ends() {
    let wrong = OrganizationTrail { role_arn: String::new(), ..trail() };
    let house = house(wrong.clone()).await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    read_file(&house.cloud, &session);
    let has_problem = async || {
        let all = house.api.problems().await;
        all.iter().any(|one| one.code == "AUDIT_UNREAD" && one.subject.contains("s3:ListBucket"))
    };
    wait_for("a problem", || async { has_problem().await.then_some(()) }).await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    // Longer than any session, and than the event history is read.
    house.pass(26 * 3600).await;
    house.change(with_trail(settings(&house.cloud), trail())).await;
    house.api.wait_for_calls("g1", 1).await;
    wait_for("its end", || async { (!has_problem().await).then_some(()) }).await;
    house.api.grant(a_request("g2")).await;
    house.api.wait_for_grant("g2", GrantState::Active).await;
    house.change(with_trail(settings(&house.cloud), wrong)).await;
    wait_for("a problem", || async { has_problem().await.then_some(()) }).await;
    house.change(audited(settings(&house.cloud))).await;
    assert!(!has_problem().await, "nobody wants to know");
}

#[tokio::test]
async fn files_that_are_not_handed_out_are_passed_over_if_others_are() {
    let house = house(trail()).await;
    house.give(a_request("g1")).await;
    let denied = || Effect::Refuse(Refusal::new(403, "AccessDenied", "by the key's policy"));
    let gone = Fault::new(denied()).on("s3:GetObject");
    house.cloud.sim.world().faults.push(gone);
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    read_file(&house.cloud, &session);
    house.pass(NEXT_READING_S).await;
    // As long as none is, it is not about this one.
    house.unread("s3:GetObject").await;
    house.cloud.sim.world().faults.clear();
    house.pass(16 * 60).await;
    house.api.wait_for_calls("g1", 1).await;

    house.cloud.sim.world().faults.push(Fault::new(denied()).on("s3:GetObject").times(1));
    read_file(&house.cloud, &session);
    house.cloud.sim.world().log(ACCOUNT, "eu-west-1");
    house.pass(60).await;
    read_file(&house.cloud, &session);
    house.cloud.sim.world().log(ACCOUNT, "eu-west-1");
    house.pass(NEXT_READING_S).await;
    let problem = house.unread("LOG_FILE_UNREADABLE").await;
    assert!(problem.subject.contains(ACCOUNT), "{problem:?}");
    house.api.wait_for_calls("g1", 2).await;
}

#[tokio::test]
async fn who_is_erased_is_not_told_of_again_by_a_trail() {
    let house = house(trail()).await;
    house.give(a_request("g1")).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    read_file(&house.cloud, &session);
    house.pass(NEXT_READING_S).await;
    house.api.wait_for_calls("g1", 1).await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    house.pass(3700).await;
    house.read_all().await;
    let erase = ErasePrincipalRequest {
        principal: "ann1@example.com".to_owned(),
        reason: "ticket 12".to_owned(),
        ..Default::default()
    };
    wait_for("an end of all", || async {
        house.api.audit().erase_principal(erase.clone()).await.ok()
    })
    .await;
    house.pass(26 * 3600).await;
    // The places of the account are read a last time, for nobody.
    wait_for("rest", || async {
        const AWAKE: &str = "SELECT count(*) FROM connector.audit_places WHERE next_at IS NOT NULL";
        (house.database.count(AWAKE).await == 0).then_some(())
    })
    .await;
    assert_eq!(house.database.count("SELECT count(*) FROM connector.audit_events").await, 0);
}
