//! What is not granted, each with its message.

use apono_connector_proto::v1::{
    CreateTokenRequest, GrantRequest, GrantState, Recipient, Role, StepOutcome,
    ValidateGrantRequest, ValidateIntegrationRequest, grant_request::End, recipient::Who,
    validate_grant_request,
};
use aws_sim::{Effect, Fault};
use prost_types::Timestamp;
use tonic::{Code, Request};

use super::{ACCOUNT, House, SET, a_request, ann, fast, reason, settings, unit, user};
use crate::harness::Database;

/// What a unit was refused for.
async fn refused_later(house: &House, request: GrantRequest) -> (String, String) {
    let id = request.grant_id.clone();
    house.api.grant(request).await;
    let failed = house.api.wait_for_grant(&id, GrantState::Failed).await;
    let refusal = failed.units[0].refusal.clone().expect("a refusal");
    assert!(!refusal.remedy.is_empty());
    (refusal.reason, refusal.finding)
}

#[tokio::test]
async fn what_the_inventory_does_not_allow_is_refused_at_once_and_nothing_is_stored() {
    let house = House::build().await;
    house.cloud.unit("ou-test-bbbbbbbb", &house.cloud.root, "Sandbox");
    house.cloud.account("444444444444", "ou-test-bbbbbbbb", "sandbox");
    house.cloud.account("555555555555", &house.cloud.root, "closed");
    "SUSPENDED".clone_into(&mut house.cloud.sim.world().account("555555555555").state);
    let found = house.api.get("prod").await;
    let update = apono_connector_proto::v1::UpdateIntegrationRequest {
        integration: "prod".to_owned(),
        settings: Some(apono_connector_proto::v1::IntegrationSettings {
            excluded_ou_ids: vec!["ou-test-bbbbbbbb".to_owned()],
            ..settings(&house.cloud)
        }),
        etag: found.etag,
        ..Default::default()
    };
    house.api.integrations().update_integration(update).await.expect("an update");
    house.api.sync("prod").await;

    let of = |account: &str, set: &str| {
        let mut unit = unit(account);
        set.clone_into(&mut unit.permission_set);
        GrantRequest { units: vec![unit], ..a_request("g1") }
    };
    let table = [
        (of("999999999999", "Team1"), "ACCOUNT_UNKNOWN"),
        (of("444444444444", "Team1"), "ACCOUNT_EXCLUDED"),
        (of("555555555555", "Team1"), "ACCOUNT_NOT_ACTIVE"),
        (of(&house.cloud.management, "Team1"), "MANAGEMENT_ACCOUNT"),
        (of(ACCOUNT, "Nobody"), "PERMISSION_SET_UNKNOWN"),
    ];
    for (request, expected) in table {
        let refused = house.api.access().grant(request).await.expect_err(expected);
        assert_eq!(reason(&refused), (Code::FailedPrecondition, expected.to_owned()), "{refused}");
        assert!(refused.message().ends_with('.'), "it ends with a remedy: {refused}");
    }
    assert_eq!(house.database.count("SELECT count(*) FROM connector.grants").await, 0);
    assert_eq!(house.database.count("SELECT count(*) FROM connector.acts").await, 0);
}

#[tokio::test]
async fn bad_fields_are_named() {
    let house = House::build().await;
    let empty = GrantRequest { integration: "prod".to_owned(), ..Default::default() };
    let refused = house.api.access().grant(empty).await.expect_err("nothing is said");
    assert_eq!(refused.code(), Code::InvalidArgument);
    for field in ["grant_id", "recipient", "units", "end"] {
        assert!(refused.message().contains(&format!("{field} ")), "{field}: {refused}");
    }
    let past = Some(End::ExpireTime(Timestamp { seconds: 1_000_000_000, nanos: 0 }));
    let table = [
        (GrantRequest { end: past, ..a_request("g1") }, "end is not ahead of"),
        (GrantRequest { end: Some(super::end_in(-5)), ..a_request("g1") }, "end is not ahead of"),
        (GrantRequest { units: vec![unit("12")], ..a_request("g1") }, "units[0].account_id"),
        (
            GrantRequest { units: vec![unit(ACCOUNT), unit(ACCOUNT)], ..a_request("g1") },
            "units[1] is there twice",
        ),
        (GrantRequest { reason: "x".repeat(1001), ..a_request("g1") }, "reason has 1001"),
        (GrantRequest { reason: "\u{1b}[31m".to_owned(), ..a_request("g1") }, "reason holds"),
        (GrantRequest { recipient: Some(user(" ")), ..a_request("g1") }, "recipient is"),
        (a_request("with space"), "grant_id is"),
    ];
    for (request, words) in table {
        let refused = house.api.access().grant(request).await.expect_err(words);
        assert_eq!(refused.code(), Code::InvalidArgument, "{words}: {refused}");
        assert!(refused.message().contains(words), "{words}: {refused}");
    }
    let nowhere = GrantRequest { integration: "nowhere".to_owned(), ..a_request("g1") };
    let refused = house.api.access().grant(nowhere).await.expect_err("no integration");
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn recipients_that_are_not_certain_are_refused() {
    let house = House::build().await;
    let of = |id: &str, who: Who| GrantRequest {
        recipient: Some(Recipient { who: Some(who) }),
        ..a_request(id)
    };
    let table = [
        (of("a", Who::UserEmail("eve@example.com".into())), "PRINCIPAL_UNKNOWN"),
        (of("b", Who::UserName("eve".into())), "PRINCIPAL_UNKNOWN"),
        (of("c", Who::UserId("9067642ac7-ffffffff".into())), "PRINCIPAL_UNKNOWN"),
        (of("d", Who::UserEmail("ann0@example.com".into())), "PRINCIPAL_DISABLED"),
    ];
    for (request, expected) in table {
        let (code, finding) = refused_later(&house, request).await;
        assert_eq!(code, expected, "{finding}");
    }
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 0);
}

#[tokio::test]
async fn a_role_that_may_not_grant_says_what_to_do() {
    let house = House::build().await;
    // The stack without its parameter.
    let deployment = aws_sim::template::render(
        crate::harness::TEMPLATE,
        &house.cloud.connector_id,
        &house.cloud.hub_role_arn,
        &house.cloud.root,
        &[],
    );
    let said = async || {
        let settings = Some(settings(&house.cloud));
        let request = ValidateIntegrationRequest { settings, ..Default::default() };
        let answer = house.api.integrations().validate_integration(request).await.expect("steps");
        let steps = answer.into_inner().steps;
        let step = steps.into_iter().find(|step| step.code == "ACCESS_ACTIONS");
        step.expect("a step").finding
    };
    let all = "can give access by aws-account-assignment, aws-identity-center-group-membership, aws-generated-access, aws-generated-inline-access";
    assert!(said().await.ends_with(all));
    let organization = &house.cloud.organization;
    house.cloud.sim.world().deploy(organization, &deployment.expect("a template"));
    assert!(said().await.contains("gives no access by Identity Center"));
    let (code, finding) = refused_later(&house, a_request("g1")).await;
    assert_eq!(code, "NOT_ALLOWED");
    assert!(finding.contains("identitystore:GetUserId"), "{finding}");
}

#[tokio::test]
async fn a_denied_creation_is_refused_and_an_unreadable_list_is_not() {
    let house = House::build().await;
    let flaky = Fault::new(Effect::Throttle).on("sso:ListAccountAssignmentsForPrincipal").times(4);
    house.cloud.sim.world().faults.push(flaky);
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;

    let denied = Fault::new(Effect::DenyByScp).on("sso:CreateAccountAssignment");
    house.cloud.sim.world().faults.push(denied);
    let (code, _) = refused_later(&house, a_request("g2")).await;
    assert_eq!(code, "NOT_ALLOWED");
}

#[tokio::test]
async fn only_a_granter_grants_and_another_tenant_finds_nothing() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    let token = async |role: Role| {
        let request =
            CreateTokenRequest { name: "t".to_owned(), role: role.into(), ..Default::default() };
        house.api.operations().create_token(request).await.expect("a token").into_inner().secret
    };
    let remote = crate::harness::Api::remote(house.daemon.grpc).await;
    let with = |request: GrantRequest, token: &str| {
        let mut request = Request::new(request);
        let bearer = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", bearer);
        request
    };
    let operator = token(Role::Operator).await;
    let refused = remote.access().grant(with(a_request("g2"), &operator)).await;
    assert_eq!(refused.expect_err("an operator").code(), Code::PermissionDenied);
    let granter = token(Role::Granter).await;
    remote.access().grant(with(a_request("g2"), &granter)).await.expect("a grant");
    let other = GrantRequest { connector_id: "other".to_owned(), ..a_request("g3") };
    let refused = remote.access().grant(with(other, &granter)).await;
    assert_eq!(refused.expect_err("another tenant").code(), Code::NotFound);
    let acts = house
        .database
        .texts("SELECT actor FROM connector.acts WHERE verb = 'GRANTED' ORDER BY number")
        .await;
    assert_eq!(acts[0], "local");
    assert!(acts[1].starts_with("token "), "{acts:?}");
}

#[tokio::test]
async fn a_grant_is_tried_without_granting() {
    let house = House::build().await;
    let tried = async |request: GrantRequest| {
        let request = ValidateGrantRequest {
            integration: request.integration,
            recipient: request.recipient,
            units: request.units,
            end: Some(validate_grant_request::End::Duration(prost_types::Duration {
                seconds: 3600,
                nanos: 0,
            })),
            reason: request.reason,
            ..Default::default()
        };
        house.api.access().validate_grant(request).await.expect("steps").into_inner()
    };
    let good = tried(a_request("")).await;
    let codes: Vec<&str> = good.steps.iter().map(|step| step.code.as_str()).collect();
    assert_eq!(codes, ["INTEGRATION", "END", "UNIT", "RECIPIENT", "QUEUE", "ENDING"]);
    assert!(good.is_valid, "{:#?}", good.steps);
    assert_eq!(good.principal_id, super::ann(1));
    assert_eq!(good.session_tail.expect("a tail").seconds, 3600);

    let bad = GrantRequest {
        recipient: Some(user("eve@example.com")),
        units: vec![unit("999999999999"), unit(ACCOUNT)],
        reason: String::new(),
        ..a_request("bad")
    };
    let bad = tried(bad).await;
    let failed: Vec<&str> = bad
        .steps
        .iter()
        .filter(|step| step.outcome() == StepOutcome::Failed)
        .map(|step| step.finding.split(':').next().expect("a code"))
        .collect();
    assert_eq!(failed, ["GUARDRAIL", "ACCOUNT_UNKNOWN", "PRINCIPAL_UNKNOWN"]);
    assert!(!bad.is_valid);
    assert_eq!(house.database.count("SELECT count(*) FROM connector.grants").await, 0);
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 0);
}

#[tokio::test]
async fn the_management_account_takes_the_word_of_the_daemon_and_of_the_stack() {
    let database = Database::create().await;
    let options = fast(&database).set("APONO__ACCESS__MANAGEMENT_ACCOUNT", "allow");
    let house = House::with(database, options).await;
    let management = house.cloud.management.clone();
    let of = |id: &str| GrantRequest { units: vec![unit(&management)], ..a_request(id) };
    let (refused, _) = refused_later(&house, of("g1")).await;
    assert_eq!(refused, "NOT_ALLOWED", "the stack does not allow it");

    let both = [("AccountAssignments", "Enabled"), ("ManagementAccountAccess", "Enabled")];
    let deployment = house.cloud.deployment_with(&both);
    house.cloud.sim.world().deploy(&house.cloud.organization, &deployment);
    house.api.grant(of("g2")).await;
    house.api.wait_for_grant("g2", GrantState::Active).await;
    assert_eq!(house.access_of(&ann(1)), [format!("{management} {SET}")]);
    house.api.revoke("g2").await;
    house.api.wait_for_grant("g2", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}
