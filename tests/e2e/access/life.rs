//! A grant from its request to its end.

use apono_connector_proto::v1::{
    ExtendRequest, GrantState, ListActsRequest, ListGrantsRequest, Recipient, RevokeAllRequest,
    UnitState, WatchGrantRequest, recipient::Who,
};
use prost_types::Timestamp;

use super::{ACCOUNT, House, OTHER_ACCOUNT, a_request, ann, end_in, unit, user};
use crate::harness::wait_for;

#[tokio::test]
async fn access_comes_with_a_grant_and_goes_at_its_end() {
    let house = House::build().await;
    house.operations_take(300);
    let granted = house.api.grant(a_request("g1")).await;
    assert_eq!(granted.state(), GrantState::Pending);
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    assert_eq!(house.access_of(&ann(1)), [format!("{ACCOUNT} Team1")]);
    let unit = &active.units[0];
    assert_eq!(active.principal_id, ann(1));
    assert_eq!(unit.mechanism, "aws-account-assignment");
    assert_eq!(unit.effective_until_time, active.expire_time);
    assert!(!unit.was_there_before);
    let details = unit.details.as_ref().expect("details");
    assert_eq!(
        details.sign_in_url,
        "https://d-test.awsapps.com/start/#/console?account_id=222222222222&role_name=Team1"
    );
    assert_eq!(details.custom_access_details, "Ask #platform first.");
    // The set's sessions last an hour.
    let (end, tail) = (active.expire_time.expect("an end"), unit.session_tail_until_time);
    assert_eq!(tail.expect("a tail").seconds, end.seconds + 3600);

    house.pass(3600).await;
    let ended = house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
    assert!(ended.units[0].details.is_none());
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 1);
    assert_eq!(house.calls("sso:DeleteAccountAssignment"), 1);
}

#[tokio::test]
async fn a_revoke_ends_a_grant_early_and_twice_is_as_good_as_once() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let revoked = house.api.revoke("g1").await;
    assert!(revoked.revoke_time.is_some());
    let version = revoked.desired_version;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
    assert_eq!(house.api.revoke("g1").await.desired_version, version);
}

#[tokio::test]
async fn the_first_end_leaves_the_second_untouched() {
    let house = House::build().await;
    house.api.grant(a_request("short")).await;
    let long = apono_connector_proto::v1::GrantRequest {
        end: Some(end_in(7200)),
        recipient: Some(Recipient { who: Some(Who::UserName("ann1".to_owned())) }),
        ..a_request("long")
    };
    house.api.grant(long).await;
    house.api.wait_for_grant("short", GrantState::Active).await;
    let second = house.api.wait_for_grant("long", GrantState::Active).await;
    let first = house.api.get_grant("short").await;
    assert_eq!(first.units[0].effective_until_time, second.expire_time, "the later end counts");

    house.pass(3600).await;
    house.api.wait_for_grant("short", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [format!("{ACCOUNT} Team1")]);
    assert_eq!(house.calls("sso:DeleteAccountAssignment"), 0, "not for a moment");
    house.pass(7200).await;
    house.api.wait_for_grant("long", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 1);
}

#[tokio::test]
async fn what_was_there_before_stays_whatever_a_grant_does() {
    let mut house = House::build().await;
    house.assign(&ann(1), ACCOUNT);
    house.api.grant(a_request("g1")).await;
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(active.units[0].was_there_before);
    assert!(active.units[0].session_tail_until_time.is_none());
    house.restart().await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [format!("{ACCOUNT} Team1")]);
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 0);
    assert_eq!(house.calls("sso:DeleteAccountAssignment"), 0);
}

#[tokio::test]
async fn an_extension_moves_the_end_and_a_shorter_one_brings_it_near() {
    let house = House::build().await;
    let granted = house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let end = granted.expire_time.expect("an end");
    let extend = async |seconds: i64| {
        let request = ExtendRequest {
            grant_id: "g1".to_owned(),
            expire_time: Some(Timestamp { seconds: end.seconds + seconds, nanos: 0 }),
            ..Default::default()
        };
        house.api.access().extend(request).await
    };
    let extended = extend(3600).await.expect("a grant").into_inner().grant.expect("a grant");
    assert_eq!(extended.desired_version, granted.desired_version + 1);
    house.pass(3700).await;
    // Beyond the first end it is there, and was looked at since.
    let looks = house.calls("sso:ListAccountAssignmentsForPrincipal");
    wait_for("looks at it", || async {
        (house.calls("sso:ListAccountAssignmentsForPrincipal") > looks + 2).then_some(())
    })
    .await;
    assert_eq!(house.access_of(&ann(1)), [format!("{ACCOUNT} Team1")]);
    extend(110).await.expect("a grant");
    house.pass(3800).await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
    let late = extend(7200).await.expect_err("it has ended");
    assert_eq!(super::reason(&late).1, "GRANT_ENDED");
}

#[tokio::test]
async fn groups_and_several_accounts_are_granted_together() {
    let house = House::build().await;
    let request = apono_connector_proto::v1::GrantRequest {
        units: vec![unit(ACCOUNT), unit(OTHER_ACCOUNT)],
        recipient: Some(user("ann2@example.com")),
        ..a_request("both")
    };
    house.api.grant(request).await;
    house.api.wait_for_grant("both", GrantState::Active).await;
    assert_eq!(
        house.access_of(&ann(2)),
        [format!("{ACCOUNT} Team1"), format!("{OTHER_ACCOUNT} Team1")]
    );
    let request =
        RevokeAllRequest { recipient: Some(user("ann2@example.com")), ..Default::default() };
    let ended = house.api.access().revoke_all(request).await.expect("grants").into_inner();
    assert_eq!(ended.grant_ids, ["both"]);
    house.api.wait_for_grant("both", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(2)), [""; 0]);
}

#[tokio::test]
async fn everything_can_be_ended_by_account_by_id_and_altogether() {
    let house = House::build().await;
    for (id, person, account) in
        [("a", 1, ACCOUNT), ("b", 1, OTHER_ACCOUNT), ("c", 2, ACCOUNT), ("d", 3, OTHER_ACCOUNT)]
    {
        let request = apono_connector_proto::v1::GrantRequest {
            recipient: Some(user(&format!("ann{person}@example.com"))),
            units: vec![unit(account)],
            ..a_request(id)
        };
        house.api.grant(request).await;
    }
    for id in ["a", "b", "c", "d"] {
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    let end = async |request: RevokeAllRequest| {
        let ended = house.api.access().revoke_all(request).await.expect("grants");
        ended.into_inner().grant_ids
    };
    let nothing = house.api.access().revoke_all(RevokeAllRequest::default()).await;
    assert_eq!(nothing.expect_err("nothing is named").code(), tonic::Code::InvalidArgument);
    // By the id that was found for the e-mail address.
    let by_id = Some(Recipient { who: Some(Who::UserId(ann(1))) });
    let account_id = OTHER_ACCOUNT.to_owned();
    let request = RevokeAllRequest { recipient: by_id, account_id, ..Default::default() };
    assert_eq!(end(request).await, ["b"]);
    let account_id = ACCOUNT.to_owned();
    assert_eq!(end(RevokeAllRequest { account_id, ..Default::default() }).await, ["a", "c"]);
    assert_eq!(end(RevokeAllRequest { everything: true, ..Default::default() }).await, ["d"]);
    for id in ["a", "b", "c", "d"] {
        house.api.wait_for_grant(id, GrantState::Ended).await;
    }
    for person in 1..=3 {
        assert_eq!(house.access_of(&ann(person)), [""; 0]);
    }
}

#[tokio::test]
async fn a_watcher_sees_each_state_and_the_end() {
    let house = House::build().await;
    house.operations_take(700);
    house.api.grant(a_request("g1")).await;
    let watch = WatchGrantRequest { grant_id: "g1".to_owned(), ..Default::default() };
    let mut stream = house.api.access().watch_grant(watch).await.expect("a stream").into_inner();
    let mut states = Vec::new();
    while let Some(change) = stream.message().await.expect("a change") {
        let grant = change.grant.expect("a grant");
        let state = grant.units[0].state();
        if states.last() != Some(&state) {
            states.push(state);
            if state == UnitState::Active {
                house.api.revoke("g1").await;
            }
        }
    }
    let expected = [UnitState::Pending, UnitState::Active, UnitState::Revoking, UnitState::Ended];
    assert_eq!(states, expected);
}

#[tokio::test]
async fn acts_tell_who_asked_and_what_was_done_and_never_change() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    let request = ListActsRequest { grant_id: "g1".to_owned(), ..Default::default() };
    let acts = house.api.access().list_acts(request).await.expect("acts").into_inner().acts;
    let told: Vec<String> =
        acts.iter().rev().map(|act| format!("{} {}", act.verb, act.actor)).collect();
    let expected = [
        "GRANTED local",
        "RECIPIENT connector",
        "CALL connector",
        "ACCEPTED connector",
        "STATE connector",
        "REVOKED local",
        "CALL connector",
        "STATE connector",
        "ACCEPTED connector",
        "STATE connector",
    ];
    assert_eq!(told, expected, "{acts:#?}");
    assert!(acts.iter().any(|act| act.detail.starts_with("create 00000000-0000-4000-8000-")));
    for change in ["UPDATE connector.acts SET actor = 'nobody'", "DELETE FROM connector.acts"] {
        let mut conn = house.database.conn().await;
        let refused = sqlx::raw_sql(change).execute(&mut conn).await;
        assert!(refused.is_err(), "{change}");
    }
}

#[tokio::test]
async fn lists_go_by_page_and_leave_out_what_has_ended() {
    let house = House::build().await;
    for number in 0..5 {
        house.api.grant(a_request(&format!("g{number}"))).await;
    }
    house.api.revoke("g4").await;
    house.api.wait_for_grant("g4", GrantState::Ended).await;
    let list = async |request: ListGrantsRequest| {
        house.api.access().list_grants(request).await.expect("a page").into_inner()
    };
    let first = list(ListGrantsRequest { page_size: 3, ..Default::default() }).await;
    let ids = |grants: &[apono_connector_proto::v1::Grant]| -> Vec<String> {
        grants.iter().map(|grant| grant.id.clone()).collect()
    };
    assert_eq!(ids(&first.grants), ["g3", "g2", "g1"]);
    let page_token = first.next_page_token;
    let rest = list(ListGrantsRequest { page_size: 3, page_token, ..Default::default() }).await;
    assert_eq!((ids(&rest.grants), rest.next_page_token), (vec!["g0".to_owned()], String::new()));
    let all = list(ListGrantsRequest { include_ended: true, ..Default::default() }).await;
    assert_eq!(all.grants.len(), 5);
}
