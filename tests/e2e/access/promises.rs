//! What holds however often it is asked, whatever is lost, and whoever is killed.

use apono_connector_proto::v1::{
    ForgetRequest, Grant, GrantRequest, GrantState, ListGrantsRequest, RevokeRequest, UnitState,
};
use aws_sim::{Effect, Fault, Moment, assignment::Turn};
use chrono::TimeDelta;
use connector::{
    model::{
        errand::Errand,
        ids::{ConnectorId, IntegrationId, ReplicaId},
    },
    store::{
        Config, Db, identity_centers,
        targets::{self, Search},
    },
};
use rustix::process::Signal;
use tonic::Code;

use super::{
    ACCOUNT, House, OTHER_ACCOUNT, a_moment, a_request, ann, assignment, end_in, fast, reason,
    running, unit,
};
use crate::harness::{Daemon, Database, wait_for};

#[tokio::test]
async fn the_same_grant_fifty_times_over_two_replicas_is_one() {
    let house = House::build().await;
    let other = Daemon::start_with(&house.cloud, fast(&house.database));
    let apis = [house.api.clone(), other.api().await];
    let asking = (0..50).map(|at| {
        let api = apis[at % 2].clone();
        tokio::spawn(async move { api.access().grant(a_request("g1")).await })
    });
    let asking: Vec<_> = asking.collect();
    let mut fresh = 0;
    for answer in asking {
        let answer = answer.await.expect("a task").expect("a grant").into_inner();
        fresh += usize::from(!answer.existed);
    }
    assert_eq!(fresh, 1);
    house.api.wait_for_grant("g1", GrantState::Active).await;
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 1);
    let all = ListGrantsRequest { include_ended: true, ..Default::default() };
    let all = house.api.access().list_grants(all).await.expect("grants").into_inner();
    assert_eq!(all.grants.len(), 1);

    let different = GrantRequest { reason: "another".to_owned(), ..a_request("g1") };
    let refused = house.api.access().grant(different).await.expect_err("it differs");
    assert_eq!(reason(&refused), (Code::AlreadyExists, "GRANT_DIFFERS".to_owned()));
    assert!(refused.message().contains("reason is ticket 7 there and another here"), "{refused}");
}

#[tokio::test]
async fn a_revoke_that_comes_before_its_grant_refuses_it() {
    let house = House::build().await;
    let request = |allow_missing| RevokeRequest {
        grant_id: "late".to_owned(),
        allow_missing,
        ..Default::default()
    };
    let unknown = house.api.access().revoke(request(false)).await.expect_err("it is unknown");
    assert_eq!(unknown.code(), Code::NotFound);
    let answer = house.api.access().revoke(request(true)).await.expect("an answer").into_inner();
    assert_eq!(answer.grant, None::<Grant>);
    let refused = house.api.access().grant(a_request("late")).await.expect_err("it is too late");
    assert_eq!(reason(&refused).1, "REVOKED_BEFORE");
}

#[tokio::test]
async fn a_lost_answer_to_a_creation_leaves_one_assignment_that_ends() {
    let house = House::build().await;
    let cut = Fault::new(Effect::Cut).on("sso:CreateAccountAssignment").times(1);
    house.cloud.sim.world().faults.push(cut);
    house.operations_take(300);
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 1, "it was found, not made again");
    let revoked = house.api.revoke("g1").await;
    assert!(!revoked.units[0].was_there_before);
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}

#[tokio::test]
async fn a_lost_answer_to_a_deletion_settles_before_it_is_believed() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let cut = Fault::new(Effect::Cut).on("sso:DeleteAccountAssignment").times(1);
    house.cloud.sim.world().faults.push(cut);
    house.api.revoke("g1").await;
    house.api.wait_for_unit("g1", UnitState::Settling).await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}

#[tokio::test]
async fn as_many_lost_answers_as_aws_takes_at_once_do_not_hold_each_other_up() {
    let house = House::build().await;
    let cut = Fault::new(Effect::Cut).on("sso:CreateAccountAssignment").times(3);
    house.cloud.sim.world().faults.push(cut);
    for (id, account) in [("a", ACCOUNT), ("b", OTHER_ACCOUNT)] {
        house.api.grant(GrantRequest { units: vec![unit(account)], ..a_request(id) }).await;
    }
    for id in ["a", "b"] {
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
}

#[tokio::test]
async fn a_revoke_waits_for_our_own_creation_and_takes_it_away() {
    let house = House::build().await;
    house.operations_take(1500);
    house.api.grant(a_request("g1")).await;
    wait_for("a creation under way", || async { (running(&house.cloud) == 1).then_some(()) }).await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    a_moment().await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 1);
    assert_eq!(house.calls("sso:DeleteAccountAssignment"), 1);
}

#[tokio::test]
async fn a_failed_creation_is_told_and_what_may_pass_is_tried_again() {
    let house = House::build().await;
    let fails = |words: &str| Turn { fails: Some(words.to_owned()), longer: TimeDelta::zero() };
    house.next_operation(fails("An unexpected error has occurred"));
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 2);

    house.next_operation(fails("Cannot exceed quota for RolesPerAccount: 1000"));
    let request = GrantRequest { units: vec![unit(OTHER_ACCOUNT)], ..a_request("g2") };
    house.api.grant(request).await;
    let failed = house.api.wait_for_grant("g2", GrantState::Failed).await;
    let refusal = failed.units[0].refusal.as_ref().expect("a refusal");
    assert_eq!(refusal.reason, "QUOTA_EXCEEDED");
    assert!(refusal.finding.contains("RolesPerAccount"));
    assert_eq!(house.access_of(&ann(1)), [format!("{ACCOUNT} Team1")]);
}

#[tokio::test]
async fn a_deletion_that_fails_is_tried_for_ever_shown_as_stuck_and_cleared_by_itself() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let denied = Fault::new(Effect::DenyByScp).on("sso:DeleteAccountAssignment");
    house.cloud.sim.world().faults.push(denied);
    house.api.revoke("g1").await;
    let list = async || {
        let stuck = ListGrantsRequest { only_stuck: true, ..Default::default() };
        house.api.access().list_grants(stuck).await.expect("grants").into_inner().grants
    };
    let stuck = wait_for("a stuck grant", || async { list().await.pop() }).await;
    let unit = &stuck.units[0];
    assert_eq!((stuck.id.as_str(), unit.state()), ("g1", UnitState::Revoking));
    assert!(unit.stuck_since.is_some());
    assert!(unit.stuck_reason.contains("DENIED_BY_SCP"), "{}", unit.stuck_reason);
    // A problem after a minute.
    house.pass(90).await;
    let problem = async || house.api.problem_lines().await.contains(&"ACCESS_STUCK 1".to_owned());
    wait_for("a problem", || async { problem().await.then_some(()) }).await;
    house.cloud.sim.world().faults.clear();
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert!(list().await.is_empty());
    wait_for("no problem", || async { (!problem().await).then_some(()) }).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}

#[tokio::test]
async fn what_a_newer_version_gives_is_left_to_it_and_shown() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let is_of = async |mechanism: &str| {
        let sql = format!(
            "UPDATE connector.targets SET mechanism = '{mechanism}', next_at = connector.now()"
        );
        house.database.execute(&sql).await;
    };
    is_of("aws-of-tomorrow").await;
    let told = wait_for("a stuck unit", || async {
        let unit = house.api.get_grant("g1").await.units.remove(0);
        unit.stuck_since.is_some().then_some(unit)
    })
    .await;
    assert_eq!(told.state(), UnitState::Active, "nothing is known to have changed");
    let words = "the mechanism \"aws-of-tomorrow\" is not known to this version";
    assert!(told.stuck_reason.starts_with(words), "{}", told.stuck_reason);
    is_of("aws-account-assignment").await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
}

#[tokio::test]
async fn only_a_caller_gives_a_removal_up_and_holds_up_nobody_by_it() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let forget = async |reason: &str| {
        let request = ForgetRequest {
            grant_id: "g1".to_owned(),
            reason: reason.to_owned(),
            ..Default::default()
        };
        house.api.access().forget(request).await
    };
    let live = forget("it is live").await.expect_err("it is live");
    assert_eq!(reason(&live).1, "GRANT_LIVE");
    let denied = Fault::new(Effect::DenyByScp).on("sso:DeleteAccountAssignment");
    house.cloud.sim.world().faults.push(denied);
    house.api.revoke("g1").await;
    house.api.wait_for_unit("g1", UnitState::Revoking).await;
    assert_eq!(forget(" ").await.expect_err("no reason").code(), Code::InvalidArgument);
    let forgotten = forget("an administrator keeps it").await.expect("a grant").into_inner();
    let forgotten = forgotten.grant.expect("a grant");
    assert_eq!(forgotten.state(), GrantState::Ended);
    assert!(forgotten.units[0].is_forgotten);
    assert_eq!(reason(&forget("again").await.expect_err("it is done")).1, "GRANT_ENDED");
    assert_eq!(house.access_of(&ann(1)).len(), 1, "it is left");
    // The id is taken for ever, and others go on in the account.
    assert!(house.api.access().grant(a_request("g1")).await.expect("a grant").into_inner().existed);
    house.cloud.sim.world().faults.clear();
    let other =
        GrantRequest { recipient: Some(super::user("ann2@example.com")), ..a_request("g2") };
    house.api.grant(other).await;
    house.api.wait_for_grant("g2", GrantState::Active).await;
}

#[tokio::test]
async fn ends_that_passed_while_the_daemon_was_down_are_made_up_for_at_once() {
    let mut house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.daemon.kill();
    house.pass(4000).await;
    assert_eq!(house.access_of(&ann(1)).len(), 1, "nobody was there to end it");
    house.start_again().await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}

/// Lets a stopped daemon go on, until it knows that another one works in its place.
async fn goes_on_without_its_lease(house: &House) {
    house.daemon.signal(Signal::CONT);
    wait_for("the loss of the lease", || async {
        house.daemon.has_said("was lost; another replica works there").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_was_stopped_amid_a_call_changes_nothing_when_it_goes_on() {
    let house = House::build().await;
    let caught =
        house.cloud.sim.world().set_trap("sso:CreateAccountAssignment", 1, Moment::Arrived);
    house.api.grant(a_request("g1")).await;
    let caught = caught.await.expect("a call");
    house.daemon.signal(Signal::STOP);
    // Another one takes over; the call arrives after all.
    let other = Daemon::start_with(&house.cloud, fast(&house.database));
    let api = other.api().await;
    api.wait_for_grant("g1", GrantState::Active).await;
    caught.let_go();
    goes_on_without_its_lease(&house).await;
    api.revoke("g1").await;
    api.wait_for_grant("g1", GrantState::Ended).await;
    a_moment().await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}

#[tokio::test]
async fn what_a_stopped_replica_saw_before_another_took_over_counts_for_nothing() {
    let database = Database::create().await;
    // It would take the answer however late it is; but its lease has ended by then.
    let patient = fast(&database).set("APONO__AWS__ATTEMPT_TIMEOUT", "10s");
    let house = House::with(database, patient).await;
    let looked = "sso:ListAccountAssignmentsForPrincipal";
    let caught = house.cloud.sim.world().set_trap(looked, 1, Moment::Applied);
    house.api.grant(a_request("g1")).await;
    let caught = caught.await.expect("a call");
    house.daemon.signal(Signal::STOP);
    // It has seen nothing there. Somebody else assigns the same, and another replica finds that.
    let theirs = assignment(&ann(1), ACCOUNT);
    house.cloud.sim.world().assign(&house.cloud.organization, theirs);
    let other = Daemon::start_with(&house.cloud, fast(&house.database));
    let api = other.api().await;
    api.wait_for_grant("g1", GrantState::Active).await;
    caught.let_go();
    goes_on_without_its_lease(&house).await;
    a_moment().await;
    api.revoke("g1").await;
    api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)).len(), 1, "theirs stays");
}

#[tokio::test]
async fn an_end_is_due_before_all_else_however_late_the_looks_are() {
    let mut house = House::build().await;
    for (id, seconds) in [("ends", 3600), ("goes-on", 7 * 3600)] {
        let account = if id == "ends" { ACCOUNT } else { OTHER_ACCOUNT };
        let units = vec![unit(account)];
        let end = Some(end_in(seconds));
        house.api.grant(GrantRequest { units, end, ..a_request(id) }).await;
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    house.daemon.stop().await;
    // Both were to be looked at long before the end of one of them, and nobody did.
    house.database.move_time("2 hours").await;
    let config = Config::new(house.database.url.parse().expect("a URL"), 1);
    let db = Db::connect(&config).await.expect("a database");
    let mut conn = db.conn().await.expect("a connection");
    let connector: ConnectorId = house.cloud.connector_id.parse().expect("an id");
    let integration = house.database.texts("SELECT id::text FROM connector.integrations").await;
    let integration = IntegrationId(integration[0].parse().expect("an id"));
    let replica = ReplicaId(connector::base::chance::uuid());
    let lease = std::time::Duration::from_mins(1);
    let held = identity_centers::take(&mut conn, &connector, integration, replica, lease).await;
    let held = held.expect("an answer").expect("the lease");
    let search = |with_audits| Search {
        but: &[],
        busy: &[],
        calls: 0,
        with_audits,
        limited: &[],
        calls_at_once: 15,
        limit: 10,
    };
    let mut due = async |with_audits| {
        let due = targets::due(&mut conn, &held, search(with_audits)).await.expect("an answer");
        due.into_iter().map(|due| (due.place, due.errand)).collect::<Vec<_>>()
    };
    let goes_on = (OTHER_ACCOUNT.to_owned(), Errand::Audit);
    let mut all = vec![(ACCOUNT.to_owned(), Errand::Revoke)];
    assert_eq!(due(false).await, all);
    all.push(goes_on);
    assert_eq!(due(true).await, all);
}
