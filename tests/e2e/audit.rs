//! What was done with access that was given: told by CloudTrail, of the grant whose it was, once. Against
//! `aws-sim`, which records what people do.

mod day;
mod seals;
mod trail;

use apono_connector_proto::v1::{
    AuditAmbiguity, AuditCoverage, AuditEvent, GetAuditSummaryRequest, GetAuditSummaryResponse,
    GrantRequest, GrantState, IntegrationSettings, ListAuditEventsRequest, ListTasksRequest,
    UpdateIntegrationRequest, audit_service_client::AuditServiceClient,
};
use aws_sim::{Deed, Door, Effect, Fault, SignedIn, answer::Refusal};
use chrono::TimeDelta;
use tonic::{Code, transport::Channel};

use crate::{
    access::{
        ACCOUNT, House, OTHER_ACCOUNT, SET, a_request, ann, cloud, end_in, fast, generated,
        settings,
    },
    harness::{Api, Cloud, Daemon, Database, wait_for},
};

/// A little more than from one reading of a place to the next.
const NEXT_READING_S: i64 = 301;

impl Api {
    fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone())
    }

    async fn audited(&self, grant: &str) -> GetAuditSummaryResponse {
        let request = GetAuditSummaryRequest { grant_id: grant.to_owned(), ..Default::default() };
        self.audit().get_audit_summary(request).await.expect("a summary").into_inner()
    }

    /// Waits until so many calls of a grant are known.
    async fn wait_for_calls(&self, grant: &str, calls: i64) -> GetAuditSummaryResponse {
        wait_for(&format!("{calls} calls of {grant}"), || async {
            let told = self.audited(grant).await;
            assert!(told.calls <= calls, "{told:?}");
            (told.calls == calls).then_some(told)
        })
        .await
    }

    async fn events(&self, request: ListAuditEventsRequest) -> Vec<AuditEvent> {
        let mut request = request;
        let mut events = Vec::new();
        loop {
            let page = self.audit().list_audit_events(request.clone()).await.expect("events");
            let page = page.into_inner();
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                return events;
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn events_of(&self, grant: &str) -> Vec<AuditEvent> {
        let grant_id = grant.to_owned();
        self.events(ListAuditEventsRequest { grant_id, page_size: 7, ..Default::default() }).await
    }
}

fn audited(settings: IntegrationSettings) -> IntegrationSettings {
    IntegrationSettings { audit_enabled: true, ..settings }
}

/// A house whose sessions are audited.
async fn house() -> House {
    let database = Database::create().await;
    let cloud = cloud().await;
    let daemon = Daemon::start_with(&cloud, fast(&database));
    let api = daemon.api().await;
    api.create_and_sync(audited(settings(&cloud))).await;
    House { cloud, database, daemon, api }
}

impl House {
    /// Gives a grant that is active, and audited.
    async fn give(&self, request: GrantRequest) {
        let id = request.grant_id.clone();
        self.api.grant(request).await;
        self.api.wait_for_grant(&id, GrantState::Active).await;
        wait_for("a first reading", || async {
            let told = self.api.audited(&id).await;
            let is_read =
                |one: &AuditCoverage| one.read_until_time.is_some() && one.trouble.is_empty();
            (!told.coverage.is_empty() && told.coverage.iter().all(is_read)).then_some(())
        })
        .await;
    }
}

fn sign_in(cloud: &Cloud, number: usize, account: &str, set: &str) -> Option<SignedIn> {
    let user = ann(number);
    let organization = &cloud.organization;
    cloud.sim.world().sign_in(Door { organization, user: &user, account, set })
}

/// Looks at an instance.
fn look(cloud: &Cloud, session: &SignedIn) -> bool {
    let deed = Deed { action: "ec2:DescribeInstances", ..Deed::default() };
    cloud.sim.world().act(session, deed)
}

#[tokio::test]
async fn what_somebody_does_with_a_grant_is_told() {
    let house = house().await;
    assert!(sign_in(&house.cloud, 1, ACCOUNT, SET).is_none());
    house.give(a_request("g1")).await;
    let none = house.api.audited("g1").await;
    assert_eq!((none.calls, none.first_time), (0, None));
    assert_eq!(none.coverage.len(), 3, "the regions of the account");
    assert!(none.blind_spots[0].contains("management events alone"), "{none:?}");

    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    assert!(look(&house.cloud, &session));
    assert!(look(&house.cloud, &session));
    let instance = format!("arn:aws:ec2:us-east-1:{ACCOUNT}:instance/i-1");
    let stop = Deed {
        action: "ec2:StopInstances",
        resource: &instance,
        region: "us-east-1",
        address: "203.0.113.9",
        agent: "console.amazonaws.com",
    };
    assert!(!house.cloud.sim.world().act(&session, stop));
    house.pass(NEXT_READING_S).await;
    let told = house.api.wait_for_calls("g1", 3).await;
    assert_eq!(told.failed_calls, 1);
    let calls = told.by_call.iter().map(|one| (one.name.as_str(), one.count, one.read_only));
    let calls: Vec<_> = calls.collect();
    assert_eq!(calls, [("StopInstances", 1, false), ("DescribeInstances", 2, true)]);
    assert_eq!(told.by_call[0].error_code, "AccessDenied");
    assert_eq!(told.resources[0].arn, instance);
    let [used] = told.sessions.as_slice() else { panic!("{told:?}") };
    assert_eq!((used.name.as_str(), used.calls), ("ann1", 3));
    assert_eq!(used.source_addresses, ["198.51.100.7", "203.0.113.9"]);
    assert!(told.doubts.is_empty(), "{told:?}");

    let events = house.api.events_of("g1").await;
    assert_eq!(events.len(), 3);
    assert_eq!(events[0].name, "StopInstances", "the newest first");
    let record: serde_json::Value = serde_json::from_str(&events[0].record).expect("JSON");
    assert_eq!(record["eventID"], events[0].id.as_str());
    let failed = ListAuditEventsRequest {
        grant_id: "g1".to_owned(),
        failed_only: true,
        ..Default::default()
    };
    assert_eq!(house.api.events(failed.clone()).await.len(), 1);
    let elsewhere = ListAuditEventsRequest { account_id: OTHER_ACCOUNT.to_owned(), ..failed };
    assert_eq!(house.api.events(elsewhere).await.len(), 0);
    let unknown = GetAuditSummaryRequest { grant_id: "g2".to_owned(), ..Default::default() };
    let refused = house.api.audit().get_audit_summary(unknown).await.expect_err("none");
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn whoever_asks_for_it_is_told_what_was_done_just_now() {
    let house = house().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    assert!(look(&house.cloud, &session));
    let request =
        GetAuditSummaryRequest { grant_id: "g1".to_owned(), refresh: true, ..Default::default() };
    let told = house.api.audit().get_audit_summary(request.clone()).await.expect("a summary");
    assert_eq!(told.into_inner().calls, 1, "also when its role was not found yet");
    assert!(look(&house.cloud, &session));
    // What was read a moment ago is not read again at once.
    house.pass(11).await;
    let told = house.api.audit().get_audit_summary(request).await.expect("a summary");
    assert_eq!(told.into_inner().calls, 2);
}

#[tokio::test]
async fn it_is_read_until_nobody_can_do_anything_any_more_and_what_comes_late_is_found() {
    let house = house().await;
    house.give(a_request("g1")).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    let late = house.assign(&ann(2), ACCOUNT);
    house.cloud.sim.world().trail.lag = TimeDelta::minutes(14);
    assert!(look(&house.cloud, &session));
    house.pass(NEXT_READING_S).await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert!(look(&house.cloud, &session), "a session outlives its assignment");
    assert_eq!(house.api.audited("g1").await.calls, 0, "nothing was delivered yet");
    house.pass(15 * 60).await;
    let told = house.api.wait_for_calls("g1", 2).await;
    assert!(told.doubts.is_empty() && !told.coverage[0].complete, "{told:?}");

    // The longest session that could be open.
    house.cloud.sim.world().trail.lag = TimeDelta::hours(20);
    assert!(look(&house.cloud, &session));
    house.pass(3600).await;
    house.cloud.sim.world().trail.lag = TimeDelta::zero();
    house.pass(86_400).await;
    let complete = wait_for("the last reading", || async {
        let told = house.api.audited("g1").await;
        told.coverage.iter().all(|one| one.complete).then_some(told)
    })
    .await;
    assert_eq!(complete.calls, 3, "what came most of a day late");
    let calls = house.calls("cloudtrail:LookupEvents");
    house.cloud.sim.world().unassign(&house.cloud.organization, &late);
    house.pass(NEXT_READING_S).await;
    assert_eq!(house.calls("cloudtrail:LookupEvents"), calls, "nobody reads there any more");
    assert_eq!(house.api.audited("g1").await.calls, 3);
}

#[tokio::test]
async fn what_comes_hours_late_is_found_while_the_grant_is_live() {
    let house = house().await;
    let half_a_day = Some(end_in(12 * 3600));
    house.give(GrantRequest { end: half_a_day, ..a_request("g1") }).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    house.cloud.sim.world().trail.lag = TimeDelta::hours(3);
    assert!(look(&house.cloud, &session));
    house.cloud.sim.world().trail.lag = TimeDelta::zero();
    house.pass(2 * 3600).await;
    assert!(look(&house.cloud, &session));
    house.pass(NEXT_READING_S).await;
    house.api.wait_for_calls("g1", 1).await;
    house.pass(9 * 3600).await;
    house.give(GrantRequest { end: half_a_day, ..a_request("g2") }).await;
    house.pass(9 * 3600).await;
    assert_eq!(house.api.audited("g1").await.calls, 1, "readings look back for minutes alone");
    house.pass(5 * 3600).await;
    house.api.wait_for_calls("g1", 2).await;
    assert_eq!(house.api.audited("g2").await.calls, 0);
}

#[tokio::test]
async fn audit_that_is_switched_off_for_a_while_goes_on_where_it_was() {
    let house = house().await;
    house.give(a_request("g1")).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    let switch = async |is_on: bool| {
        let settings = IntegrationSettings { audit_enabled: is_on, ..settings(&house.cloud) };
        let mask = prost_types::FieldMask { paths: vec!["audit_enabled".to_owned()] };
        let request = UpdateIntegrationRequest {
            integration: "prod".to_owned(),
            settings: Some(settings),
            update_mask: Some(mask),
            etag: house.api.get("prod").await.etag,
            ..Default::default()
        };
        house.api.integrations().update_integration(request).await.expect("a change");
    };
    switch(false).await;
    assert!(look(&house.cloud, &session));
    let calls = house.calls("cloudtrail:LookupEvents");
    house.pass(NEXT_READING_S).await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    let told = house.api.audited("g1").await;
    assert!(told.coverage.iter().all(|one| !one.complete), "{told:?}");
    assert_eq!(house.calls("cloudtrail:LookupEvents"), calls);
    switch(true).await;
    house.pass(NEXT_READING_S).await;
    house.api.wait_for_calls("g1", 1).await;
}

#[tokio::test]
async fn grants_of_one_person_are_told_apart_and_where_they_cannot_be_it_is_said() {
    let house = house().await;
    house.give(a_request("g1")).await;
    let first = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    house.pass(60).await;
    house.give(a_request("g2")).await;
    house.pass(60).await;
    let both = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    house.pass(60).await;
    let second = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    for session in [&first, &both, &second] {
        assert!(look(&house.cloud, session));
    }
    house.pass(NEXT_READING_S).await;
    house.api.wait_for_calls("g1", 2).await;
    house.api.wait_for_calls("g2", 2).await;
    let of = |events: Vec<AuditEvent>, key: &str| {
        let mut events = events.into_iter().filter(|one| one.access_key_id == key);
        events.next().map(|one| (one.grant_ids.join("+"), one.ambiguity()))
    };
    let certain = AuditAmbiguity::Unspecified;
    let one = house.api.events_of("g1").await;
    let other = house.api.events_of("g2").await;
    assert_eq!(of(one.clone(), &first.access_key), Some(("g1".to_owned(), certain)));
    assert_eq!(of(other.clone(), &second.access_key), Some(("g2".to_owned(), certain)));
    let several = Some(("g1+g2".to_owned(), AuditAmbiguity::SeveralGrants));
    assert_eq!(of(one, &both.access_key), several);
    assert_eq!(of(other, &both.access_key), several);
    let doubts = house.api.audited("g1").await.doubts;
    assert_eq!(doubts[0].reason, "several grants allowed it at once");
}

#[tokio::test]
async fn of_grants_on_single_resources_it_is_the_one_that_allows_it() {
    let house = generated::house_of(&[], |of| audited(generated::knowing_buckets(of))).await;
    house.give(generated::on("g1", 1, "READ_ONLY", generated::BUCKET)).await;
    house.give(generated::on("g2", 1, "READ_ONLY", generated::OTHER_BUCKET)).await;
    let set = generated::made(&house.cloud).remove(0);
    let session = sign_in(&house.cloud, 1, ACCOUNT, &set).expect("a session");
    let act = |action, resource| {
        house.cloud.sim.world().act(&session, Deed { action, resource, ..Deed::default() })
    };
    assert!(act("s3:GetBucketLocation", generated::OTHER_BUCKET));
    assert!(act("s3:GetBucketTagging", generated::BUCKET));
    assert!(!act("s3:DeleteBucket", generated::BUCKET), "neither allows it");
    house.pass(60).await;
    house.give(generated::on("g3", 1, "ADMIN", generated::OTHER_BUCKET)).await;
    house.pass(2).await;
    assert!(act("s3:PutBucketVersioning", generated::OTHER_BUCKET), "by a session from before");
    house.pass(NEXT_READING_S).await;
    let told = house.api.wait_for_calls("g1", 2).await;
    assert_eq!(told.by_call[0].name, "DeleteBucket");
    assert_eq!(told.by_call[1].name, "GetBucketTagging");
    assert_eq!(told.doubts[0].calls, 1);
    let told = house.api.wait_for_calls("g2", 2).await;
    assert_eq!(told.by_call[1].name, "GetBucketLocation");
    let told = house.api.wait_for_calls("g3", 1).await;
    assert_eq!((told.by_call[0].name.as_str(), told.doubts.len()), ("PutBucketVersioning", 0));
}

#[tokio::test]
async fn access_that_was_there_before_is_not_certain_and_strangers_are_passed_over() {
    let house = house().await;
    house.assign(&ann(1), ACCOUNT);
    let before = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    house.pass(60).await;
    house.give(a_request("g1")).await;
    house.assign(&ann(2), ACCOUNT);
    let stranger = sign_in(&house.cloud, 2, ACCOUNT, SET).expect("a session");
    house.pass(60).await;
    let during = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    for session in [&before, &stranger, &during] {
        assert!(look(&house.cloud, session));
    }
    house.pass(NEXT_READING_S).await;
    house.api.wait_for_calls("g1", 1).await;
    let events = house.api.events_of("g1").await;
    assert_eq!(events[0].access_key_id, during.access_key);
    assert_eq!(events[0].ambiguity(), AuditAmbiguity::AccessWasThere);
}

#[tokio::test]
async fn a_right_that_is_lacking_is_a_problem_and_reading_resumes_where_it_was() {
    let house = house().await;
    house.give(a_request("g1")).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    let denied = Fault::new(Effect::Refuse(Refusal::denied(
        "cloudtrail",
        "not authorized to perform: cloudtrail:LookupEvents",
    )))
    .on("cloudtrail:LookupEvents");
    house.cloud.sim.world().faults.push(denied);
    assert!(look(&house.cloud, &session));
    house.pass(NEXT_READING_S).await;
    let problem = wait_for("a problem", || async {
        let all = house.api.problems().await;
        all.into_iter().find(|one| one.code == "AUDIT_UNREAD")
    })
    .await;
    assert!(problem.subject.contains("cloudtrail:LookupEvents"), "{problem:?}");
    assert!(problem.remedy.contains("SessionAudit"), "{problem:?}");
    assert!(problem.examples[0].starts_with(ACCOUNT), "{problem:?}");
    let told = house.api.audited("g1").await;
    assert!(told.coverage.iter().any(|one| one.trouble.contains("LookupEvents")), "{told:?}");
    house.cloud.sim.world().faults.clear();
    house.pass(16 * 60).await;
    house.api.wait_for_calls("g1", 1).await;
    wait_for("its end", || async {
        let all = house.api.problems().await;
        all.iter().all(|one| one.code != "AUDIT_UNREAD").then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_or_told_twice_by_daemons_that_are_killed() {
    let mut house = house().await;
    house.give(a_request("g1")).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    {
        let mut world = house.cloud.sim.world();
        world.trail.repeats = true;
        world.begins_with_empty_pages = true;
    }
    for _ in 0..120 {
        assert!(look(&house.cloud, &session));
    }
    house.pass(NEXT_READING_S).await;
    wait_for("some calls", || async { (house.api.audited("g1").await.calls > 0).then_some(()) })
        .await;
    house.restart().await;
    let second = Daemon::start_with(&house.cloud, fast(&house.database));
    // What the one that was killed had leased is free after a while.
    house.pass(NEXT_READING_S).await;
    house.api.wait_for_calls("g1", 120).await;
    let mut ids: Vec<String> = house.api.events_of("g1").await.into_iter().map(|e| e.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 120);
    drop(second);
}

#[tokio::test]
async fn of_an_integration_without_audit_nothing_is_read() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let told = house.api.audited("g1").await;
    assert!(told.coverage.is_empty() && told.blind_spots[0].contains("audit_enabled"), "{told:?}");
    house.pass(NEXT_READING_S).await;
    assert_eq!(house.calls("iam:ListRoles") + house.calls("cloudtrail:LookupEvents"), 0);
}

#[tokio::test]
async fn a_role_that_is_gone_before_it_was_found_is_told_by_its_name() {
    let house = house().await;
    let silent = Fault::new(Effect::Throttle).on("iam:ListRoles");
    house.cloud.sim.world().faults.push(silent);
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    assert!(look(&house.cloud, &session));
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    house.cloud.sim.world().faults.clear();
    house.pass(16 * 60).await;
    let told = house.api.wait_for_calls("g1", 1).await;
    assert_eq!(told.doubts[0].ambiguity(), AuditAmbiguity::RoleUnknown);
}

#[tokio::test]
async fn what_was_done_is_kept_as_long_as_the_integration_says() {
    let mut house = house().await;
    house.give(a_request("g1")).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    assert!(look(&house.cloud, &session));
    house.pass(NEXT_READING_S).await;
    house.api.wait_for_calls("g1", 1).await;
    // At its start a daemon tidies up.
    house.database.pass(399 * 86_400).await;
    house.restart().await;
    let tidied = || async {
        let tasks = house.api.operations().list_tasks(ListTasksRequest {}).await.expect("tasks");
        let mut tasks = tasks.into_inner().tasks.into_iter();
        tasks.find(|one| one.name == "janitor" && one.activations > 0).map(|one| one.status)
    };
    let words = wait_for("a janitor", tidied).await;
    assert!(words.contains("0 audited calls"), "{words}");
    assert_eq!(house.api.audited("g1").await.calls, 1);
    house.database.pass(2 * 86_400).await;
    house.restart().await;
    wait_for("its end", || async { (house.api.audited("g1").await.calls == 0).then_some(()) })
        .await;
}
