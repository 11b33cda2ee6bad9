//! A database that has forgotten what was granted.

use std::time::Duration;

use apono_connector_proto::v1::{
    EndRecoveryRequest, EndRecoveryResponse, ExtendRequest, GetRecoveryRequest, GrantRequest,
    GrantState, Recovery, RevokeRequest, WatchResourcesRequest, WatchResourcesResponse,
};
use aws_sim::{Effect, Fault, answer::Refusal};
use tonic::{Code, Status};

use super::{
    ACCOUNT, House, OTHER_ACCOUNT, SET, a_moment, a_request, ann, end_in, fast, reason, unit, user,
};
use crate::harness::{Api, Daemon, Database, wait_for};

impl Api {
    async fn recovery(&self) -> Option<Recovery> {
        let answer = self.access().get_recovery(GetRecoveryRequest::default()).await;
        answer.expect("an answer").into_inner().recovery
    }

    /// What is reported once AWS has told all.
    async fn whole_recovery(&self) -> Recovery {
        wait_for("a whole report", || async {
            self.recovery().await.filter(|found| found.unread.is_empty())
        })
        .await
    }

    async fn end_recovery(
        &self,
        change: impl FnOnce(&mut EndRecoveryRequest),
    ) -> Result<EndRecoveryResponse, Status> {
        let mut request = EndRecoveryRequest { reason: "looked".to_owned(), ..Default::default() };
        change(&mut request);
        Ok(self.access().end_recovery(request).await?.into_inner())
    }
}

impl House {
    async fn follow(&self, cursor: &str) -> Result<Option<WatchResourcesResponse>, Status> {
        let request = WatchResourcesRequest {
            integration: "prod".to_owned(),
            cursor: cursor.to_owned(),
            end_when_current: true,
            ..Default::default()
        };
        let mut changes = self.api.inventory().watch_resources(request).await?.into_inner();
        let mut last = None;
        while let Some(message) = changes.message().await? {
            last = Some(message);
        }
        Ok(last)
    }

    /// Where a follower stands that has heard of all.
    async fn cursor(&self) -> String {
        self.follow("").await.expect("changes").expect("a message").cursor
    }
}

/// Whether the problem is open.
async fn is_problem(house: &House) -> bool {
    house.api.problems().await.iter().any(|problem| problem.code == "ACCESS_RECOVERING")
}

/// Calls that have changed AWS.
fn changes(house: &House) -> usize {
    house.calls("sso:CreateAccountAssignment") + house.calls("sso:DeleteAccountAssignment")
}

/// A request for a user, by number.
fn request_for(id: &str, person: usize) -> GrantRequest {
    GrantRequest {
        recipient: Some(user(&format!("ann{person}@example.com"))),
        end: Some(end_in(2 * 3600)),
        ..a_request(id)
    }
}

fn has(house: &House, person: usize) -> bool {
    house.access_of(&ann(person)).contains(&format!("{ACCOUNT} {SET}"))
}

/// Whether the access is there that the dump does not know.
fn has_forgotten(house: &House, person: usize) -> bool {
    house.access_of(&ann(person)).contains(&format!("{OTHER_ACCOUNT} {SET}"))
}

#[tokio::test]
async fn a_restored_database_does_nothing_and_reports_what_it_has_forgotten() {
    let mut house = House::build().await;
    for (id, person) in [("kept", 1), ("revoked-later", 2)] {
        house.api.grant(request_for(id, person)).await;
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    house.api.grant(GrantRequest { end: Some(end_in(3600)), ..request_for("over", 3) }).await;
    house.api.wait_for_grant("over", GrantState::Active).await;
    house.daemon.stop().await;
    let dump = house.database.dump().await;
    house.start_again().await;
    assert!(house.api.recovery().await.is_none(), "a stop is no loss");

    let cursor = house.cursor().await;

    // What the dump does not know.
    let elsewhere = |id: &str, person: usize| {
        let units = vec![unit(OTHER_ACCOUNT)];
        GrantRequest { units, ..request_for(id, person) }
    };
    for (id, person) in [("forgotten", 1), ("left-behind", 3)] {
        house.api.grant(elsewhere(id, person)).await;
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    house.api.revoke("revoked-later").await;
    house.api.wait_for_grant("revoked-later", GrantState::Ended).await;
    house.daemon.kill();
    house.database.restore(&dump).await;
    house.start_again().await;
    assert!(house.daemon.has_said("may have forgotten what was granted"));
    let before = changes(&house);

    let refused = house.api.access().grant(request_for("new", 1)).await.expect_err("a refusal");
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "RECOVERING".to_owned()));
    let extend = ExtendRequest {
        grant_id: "kept".to_owned(),
        expire_time: house.api.get_grant("kept").await.expire_time,
        ..Default::default()
    };
    let refused = house.api.access().extend(extend).await.expect_err("a refusal");
    assert_eq!(reason(&refused).1, "RECOVERING");
    // Whoever follows changes may have heard of some that are forgotten now.
    let again = house.follow(&cursor).await.expect_err("a refusal");
    assert_eq!(again.code(), Code::OutOfRange);
    // The grant that is over is not ended, one that is there is not restored.
    house.pass(3600).await;
    let found = house.api.whole_recovery().await;
    a_moment().await;
    assert!(has(&house, 1) && !has(&house, 2) && has(&house, 3));
    assert!(has_forgotten(&house, 1) && has_forgotten(&house, 3));
    assert_eq!(changes(&house), before, "nothing is done in AWS");
    let origins = "SELECT count(*) FROM connector.targets WHERE origin = 'found'";
    assert_eq!(house.database.count(origins).await, 0);

    assert_eq!(found.made.len(), 2, "{:?}", found.made);
    for made in &found.made {
        assert_eq!(
            (made.account_id.as_str(), made.grant_ids.len()),
            (OTHER_ACCOUNT, 0),
            "{made:?}"
        );
    }
    let made = found.made.iter().find(|made| made.object.ends_with(&ann(1))).expect("ours");
    let [removed] = found.removed.as_slice() else { panic!("{:?}", found.removed) };
    assert!(removed.object.ends_with(&ann(2)), "{removed:?}");
    assert_eq!(removed.grant_ids, ["revoked-later"]);
    assert_eq!(found.live_grants, 3);
    wait_for("the problem", || async { is_problem(&house).await.then_some(()) }).await;

    let refused = house.api.end_recovery(|request| request.reason.clear()).await;
    assert_eq!(refused.expect_err("a refusal").code(), Code::InvalidArgument);
    let refused =
        house.api.end_recovery(|request| request.own_request_ids = vec!["x".to_owned()]).await;
    assert_eq!(refused.expect_err("a refusal").code(), Code::InvalidArgument);
    let own = made.request_id.clone();
    let ended = house.api.end_recovery(|request| request.own_request_ids = vec![own]).await;
    let ended = ended.expect("an end");
    assert_eq!((ended.owned, ended.revoked_grant_ids), (1, vec!["revoked-later".to_owned()]));
    for id in ["over", "revoked-later"] {
        house.api.wait_for_grant(id, GrantState::Ended).await;
    }
    wait_for("the end of what was forgotten", || async {
        (!has_forgotten(&house, 1)).then_some(())
    })
    .await;
    assert!(has(&house, 1) && !has(&house, 2) && !has(&house, 3));
    assert!(house.api.recovery().await.is_none());
    wait_for("no problem", || async { (!is_problem(&house).await).then_some(()) }).await;
    let refused = house.api.end_recovery(|_| {}).await.expect_err("a refusal");
    assert_eq!(reason(&refused).1, "NOT_RECOVERING");
    // What nobody has named is somebody else's from now on.
    house.api.grant(elsewhere("found", 3)).await;
    let found = house.api.wait_for_grant("found", GrantState::Active).await;
    assert!(found.units[0].was_there_before, "{found:?}");
    house.api.revoke("found").await;
    house.api.wait_for_grant("found", GrantState::Ended).await;
    assert!(has_forgotten(&house, 3));
    // It grants and ends again.
    house.api.grant(request_for("new", 2)).await;
    house.api.wait_for_grant("new", GrantState::Active).await;
    house.api.revoke("new").await;
    house.api.wait_for_grant("new", GrantState::Ended).await;
    assert!(!has(&house, 2) && has(&house, 1));
}

#[tokio::test]
async fn a_database_that_is_restored_below_a_running_daemon_is_noticed_before_anything_is_done() {
    let mut house = House::build().await;
    house.api.grant(request_for("kept", 1)).await;
    house.api.wait_for_grant("kept", GrantState::Active).await;
    house.daemon.stop().await;
    let dump = house.database.dump().await;
    house.start_again().await;
    house.api.revoke("kept").await;
    house.api.wait_for_grant("kept", GrantState::Ended).await;
    assert!(!has(&house, 1));
    // From here on the grant is live again, and its access is missing: it is not given once more.
    house.database.restore(&dump).await;
    let found = wait_for("the recovery", || async {
        let answer = house.api.access().get_recovery(GetRecoveryRequest::default()).await;
        answer.ok()?.into_inner().recovery.filter(|found| found.unread.is_empty())
    })
    .await;
    assert_eq!(found.removed.len(), 1, "{found:?}");
    assert!(!has(&house, 1));
    // A wish to revoke is kept, and there is nothing left to do for it.
    let request = RevokeRequest { grant_id: "kept".to_owned(), ..Default::default() };
    house.api.access().revoke(request).await.expect("a revoke");
    house.api.end_recovery(|_| {}).await.expect("an end");
    house.api.wait_for_grant("kept", GrantState::Ended).await;
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 1);
}

#[tokio::test]
async fn a_server_that_took_over_may_have_forgotten_something_unless_it_is_trusted() {
    let takes_over = "UPDATE connector.memory SET timeline = '000000FF'";
    let database = Database::create().await;
    let options = fast(&database).set("APONO__ACCESS__ON_FAILOVER", "trust");
    let house = House::with(database, options).await;
    house.database.execute(takes_over).await;
    wait_for("a grant", || async { house.api.access().grant(request_for("g1", 1)).await.ok() })
        .await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(house.api.recovery().await.is_none());

    let house = House::build().await;
    house.database.execute("INSERT INTO connector.connectors VALUES ('other')").await;
    house.database.execute(takes_over).await;
    let found = wait_for("the recovery", || house.api.recovery()).await;
    assert!(found.cause.contains("took over"), "{found:?}");
    let recovering = "SELECT count(*) FROM connector.connectors WHERE recovering_since IS NOT NULL";
    assert_eq!(house.database.count(recovering).await, 2);
    house.api.whole_recovery().await;
    house.api.end_recovery(|_| {}).await.expect("an end");
    assert_eq!(house.database.count(recovering).await, 1, "each connector ends its own");
}

#[tokio::test]
async fn a_daemon_that_is_told_so_starts_in_doubt_and_stays_there() {
    let mut house = House::build().await;
    house.api.grant(request_for("over", 1)).await;
    house.api.wait_for_grant("over", GrantState::Active).await;
    house.daemon.stop().await;
    let mut options = fast(&house.database);
    let snapshot = connector::base::clock::now().to_rfc3339();
    options.arguments.extend(["--recovering".to_owned(), snapshot]);
    house.daemon = Daemon::start_with(&house.cloud, options);
    house.restart().await;
    house.pass(2 * 3600).await;
    house.api.whole_recovery().await;
    a_moment().await;
    assert!(has(&house, 1), "nothing is taken away");
    house.api.end_recovery(|_| {}).await.expect("an end");
    house.api.wait_for_grant("over", GrantState::Ended).await;
    assert!(!has(&house, 1));
}

#[tokio::test]
async fn a_recovery_ends_without_the_word_of_aws_only_when_that_is_said() {
    let house = House::build().await;
    let failing = Refusal::new(500, "InternalServerException", "try later");
    house.cloud.sim.world().faults.push(Fault::new(Effect::Refuse(failing)).on("sso:*"));
    house.database.execute("UPDATE connector.memory SET timeline = '000000FF'").await;
    let trouble = wait_for("why it is not read", || async {
        let unread = house.api.recovery().await?.unread.pop()?;
        (!unread.trouble.is_empty()).then_some(unread)
    })
    .await;
    assert_eq!(trouble.integration, "prod");
    let refused = house.api.end_recovery(|_| {}).await.expect_err("a refusal");
    assert_eq!(reason(&refused).1, "RECOVERY_UNREAD");
    assert!(refused.message().contains("prod"), "{refused:?}");
    let ended = house.api.end_recovery(|request| request.accept_unread = true).await;
    ended.expect("an end");
    assert!(house.api.recovery().await.is_none());
}

#[tokio::test]
async fn a_report_that_was_asked_for_while_calls_may_still_arrive_is_not_the_last() {
    const ASKED: &str = "sso:ListAccountAssignmentCreationStatus";
    let house = House::build().await;
    let late = Fault::new(Effect::Delay(Duration::from_secs(1))).on(ASKED).times(1);
    house.cloud.sim.world().faults.push(late);
    let before = house.calls(ASKED);
    house.database.execute("UPDATE connector.memory SET timeline = '000000FF'").await;
    wait_for("the question", || async { (house.calls(ASKED) > before).then_some(()) }).await;
    // The answer comes when nothing may arrive any more, and tells what was there before.
    house.pass(60).await;
    house.api.whole_recovery().await;
    assert!(house.calls(ASKED) > before + 1, "AWS is asked again");
}
