//! Other people's hands on what is granted.

use apono_connector_proto::v1::{GrantState, UnitState};
use aws_sim::{Effect, Fault};

use super::{ACCOUNT, House, a_moment, a_request, ann, assignment, fast};
use crate::harness::{Database, wait_for};

#[tokio::test]
async fn what_others_remove_is_restored_and_is_ours_from_then_on() {
    let house = House::build().await;
    house.assign(&ann(1), ACCOUNT);
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let organization = house.cloud.organization.clone();
    house.cloud.sim.world().unassign(&organization, &assignment(&ann(1), ACCOUNT));
    wait_for("a repair", || async { (house.access_of(&ann(1)).len() == 1).then_some(()) }).await;
    let repaired = house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(!repaired.units[0].was_there_before);
    assert!(house.daemon.metric("connector_access_removed_by_others_total") >= 1.0);
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0], "the owner had removed theirs");
}

#[tokio::test]
async fn what_others_remove_is_reported_where_that_is_asked() {
    let database = Database::create().await;
    let options = fast(&database).set("APONO__ACCESS__ON_REMOVAL", "report");
    let house = House::with(database, options).await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let organization = house.cloud.organization.clone();
    house.cloud.sim.world().unassign(&organization, &assignment(&ann(1), ACCOUNT));
    let failed = house.api.wait_for_grant("g1", GrantState::Failed).await;
    assert_eq!(failed.units[0].refusal.as_ref().expect("a refusal").reason, "REMOVED_BY_OTHERS");
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_no_drift() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let denied = Fault::new(Effect::DenyByScp).on("sso:ListAccountAssignmentsForPrincipal");
    house.cloud.sim.world().faults.push(denied);
    let stuck = wait_for("trouble", || async {
        let found = house.api.get_grant("g1").await;
        found.units[0].stuck_since.is_some().then_some(found)
    })
    .await;
    assert_eq!(stuck.units[0].state(), UnitState::Active);
    a_moment().await;
    house.cloud.sim.world().faults.clear();
    wait_for("calm", || async {
        house.api.get_grant("g1").await.units[0].stuck_since.is_none().then_some(())
    })
    .await;
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 1);
    assert_eq!(house.calls("sso:DeleteAccountAssignment"), 0);
}
