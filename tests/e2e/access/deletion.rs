//! Integrations with live access: paused, changed and removed.

use apono_connector_proto::v1::{
    DeleteIntegrationRequest, DisableIntegrationRequest, GetIntegrationRequest, GrantState,
    IntegrationSettings, IntegrationStatus, UpdateIntegrationRequest,
};
use tonic::Code;

use super::{House, a_request, ann, reason, settings};
use crate::harness::wait_for;

#[tokio::test]
async fn an_integration_with_access_goes_only_when_its_access_is_gone() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.operations_take(1000);
    let delete = async |revoke_first| {
        let integration = "prod".to_owned();
        let request = DeleteIntegrationRequest { integration, revoke_first, ..Default::default() };
        house.api.integrations().delete_integration(request).await
    };
    let refused = delete(false).await.expect_err("access is live");
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "ACCESS_LIVE".to_owned()));
    assert!(delete(true).await.expect("an answer").into_inner().is_deleting);
    assert_eq!(house.api.status("prod").await, IntegrationStatus::Deleting);
    let late = house.api.access().grant(a_request("g2")).await.expect_err("it is being removed");
    assert_eq!(reason(&late).1, "INTEGRATION_DELETING");
    wait_for("the integration's end", || async {
        let integration = "prod".to_owned();
        let request = GetIntegrationRequest { integration, ..Default::default() };
        let gone = house.api.integrations().get_integration(request).await.is_err();
        gone.then_some(())
    })
    .await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
    let ended = house.api.get_grant("g1").await;
    assert_eq!(ended.state(), GrantState::Ended, "the grant is still known");
}

#[tokio::test]
async fn a_disabled_integration_grants_nothing_and_ends_what_it_has() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let request =
        DisableIntegrationRequest { integration: "prod".to_owned(), ..Default::default() };
    house.api.integrations().disable_integration(request).await.expect("an integration");
    let refused = house.api.access().grant(a_request("g2")).await.expect_err("it is disabled");
    assert_eq!(reason(&refused).1, "INTEGRATION_DISABLED");
    house.pass(3600).await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}

#[tokio::test]
async fn the_way_to_live_access_is_not_changed() {
    let house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let update = async |settings: IntegrationSettings| {
        let request = UpdateIntegrationRequest {
            integration: "prod".to_owned(),
            etag: house.api.get("prod").await.etag,
            settings: Some(settings),
            ..Default::default()
        };
        house.api.integrations().update_integration(request).await
    };
    let elsewhere = IntegrationSettings {
        sso_region: String::new(),
        sso_portal_url: String::new(),
        resource_types: vec!["aws-account".to_owned()],
        ..settings(&house.cloud)
    };
    let refused = update(elsewhere.clone()).await.expect_err("access is live");
    assert_eq!(reason(&refused).1, "ACCESS_LIVE");
    let harmless =
        IntegrationSettings { custom_access_details: "New.".to_owned(), ..settings(&house.cloud) };
    update(harmless).await.expect("an update");
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    wait_for("rest", || async { update(elsewhere.clone()).await.ok() }).await;
}
