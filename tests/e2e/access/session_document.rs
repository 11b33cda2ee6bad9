//! Shells end by the document that they were opened with, though nobody terminates them. Against `aws-sim`,
//! which ends them.

use apono_connector_proto::v1::{GrantState, UpdateIntegrationRequest};
use aws_sim::{
    Effect, Fault,
    shell::{PREFERENCES, SessionDocument},
};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    ACCOUNT, House,
    generated::{made, on},
    sessions::{INSTANCE, house, open, shell},
};
use crate::harness::{Cloud, wait_for};

/// The documents of the account where the instance is, but for its preferences.
fn documents(cloud: &Cloud) -> Vec<(String, SessionDocument)> {
    let world = cloud.sim.world();
    let all = world.accounts[ACCOUNT].session_documents.iter();
    let ours = all.filter(|((region, name), _)| region == "eu-west-1" && name != PREFERENCES);
    ours.map(|((_, name), document)| (name.clone(), document.clone())).collect()
}

fn says(document: &SessionDocument) -> Value {
    serde_json::from_str(document.content()).expect("a document")
}

/// The account has a document of this name.
fn has(cloud: &Cloud, name: &str, content: &Value) {
    let key = ("eu-west-1".to_owned(), name.to_owned());
    let document = SessionDocument::saying(content);
    cloud.sim.world().account(ACCOUNT).session_documents.insert(key, document);
}

/// The integration uses the account's own document.
pub(super) async fn with_the_accounts_own(house: &House) {
    let mut of = house.api.get("prod").await;
    let settings = of.settings.as_mut().expect("settings");
    settings.account_session_document = true;
    let update = UpdateIntegrationRequest {
        integration: "prod".to_owned(),
        settings: of.settings,
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["account_session_document".to_owned()],
        }),
        etag: of.etag,
        ..Default::default()
    };
    house.api.integrations().update_integration(update).await.expect("an update");
}

async fn connected(house: &House, id: &str, number: usize) {
    house.api.grant(on(id, number, "CONNECT", INSTANCE)).await;
    house.api.wait_for_grant(id, GrantState::Active).await;
}

#[tokio::test]
async fn one_document_serves_everybody_has_the_accounts_preferences_and_goes_with_the_last() {
    let house = house().await;
    let cloud = &house.cloud;
    let preferences = json!({ "kmsKeyId": "key/1", "s3BucketName": "logs", "runAsEnabled": true });
    let content = json!({ "schemaVersion": "1.0", "inputs": preferences });
    has(cloud, PREFERENCES, &content);
    connected(&house, "g1", 1).await;
    connected(&house, "g2", 2).await;
    let [(name, document)] = documents(cloud).try_into().expect("one document");
    assert!(name.starts_with("apono-session-60-"), "{name}");
    let mut expected = preferences;
    expected["maxSessionDuration"] = json!("60");
    assert_eq!(says(&document)["inputs"], expected);
    assert_eq!(document.tags.len(), 2, "whose it is");
    assert_eq!(house.calls("ssm:CreateDocument"), 1);
    let unit = &house.api.get_grant("g1").await.units[0];
    let details = unit.details.as_ref().expect("details");
    let command = &details.cli_command;
    assert!(command.contains(&format!("--document-name {name}")), "{command}");
    let link = &details.sign_in_url;
    assert!(!link.contains("session-manager"), "the console has no other document: {link}");

    shell(cloud, 1).expect("a shell");
    cloud.sim.world().clock.advance(TimeDelta::seconds(3599));
    assert_eq!(open(cloud).len(), 1);
    cloud.sim.world().clock.advance(TimeDelta::seconds(1));
    assert_eq!(open(cloud), [""; 0], "its document has ended it");
    for id in ["g1", "g2"] {
        assert_eq!(documents(cloud).len(), 1);
        house.api.revoke(id).await;
        house.api.wait_for_grant(id, GrantState::Ended).await;
    }
    assert_eq!(made(cloud), [""; 0]);
    let own = SessionDocument::saying(&content);
    let kept = ("eu-west-1".to_owned(), PREFERENCES.to_owned());
    assert_eq!(cloud.sim.world().account(ACCOUNT).session_documents.get(&kept), Some(&own));
}

#[tokio::test]
async fn where_the_integration_says_so_the_accounts_own_document_is_used() {
    let house = house().await;
    with_the_accounts_own(&house).await;
    connected(&house, "g1", 1).await;
    assert_eq!(documents(&house.cloud), []);
    let unit = house.api.get_grant("g1").await.units.remove(0);
    assert_eq!(unit.session_tail_until_time, None, "nothing but the connector ends it");
    let command = unit.details.expect("details").cli_command;
    assert!(command.contains(&format!("--document-name {PREFERENCES}")), "{command}");
    shell(&house.cloud, 1).expect("a shell");
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(open(&house.cloud), [""; 0]);
}

#[tokio::test]
async fn what_somebody_does_to_the_document_is_undone() {
    let house = house().await;
    let cloud = &house.cloud;
    connected(&house, "g1", 1).await;
    let (name, ours) = documents(cloud).remove(0);
    let key = ("eu-west-1".to_owned(), name);
    let mut changed = ours.clone();
    changed.versions.push(json!({ "inputs": { "maxSessionDuration": "1440" } }).to_string());
    changed.default_version = 2;
    cloud.sim.world().account(ACCOUNT).session_documents.insert(key.clone(), changed);
    wait_for("the first version", || async {
        (documents(cloud)[0].1.content() == ours.content()).then_some(())
    })
    .await;
    let calls = "SELECT count(*) FROM connector.targets WHERE intent_verb IS NOT NULL";
    wait_for("a look", || async { (house.database.count(calls).await == 0).then_some(()) }).await;
    cloud.sim.world().account(ACCOUNT).session_documents.remove(&key);
    wait_for("another document", || async { (!documents(cloud).is_empty()).then_some(()) }).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    shell(cloud, 1).expect("a shell");
}

#[tokio::test]
async fn preferences_that_cannot_be_read_and_a_document_of_somebody_else_refuse_the_grant() {
    let house = house().await;
    let cloud = &house.cloud;
    let denied = Fault::new(Effect::DenyByScp).on("ssm:GetDocument");
    cloud.sim.world().faults.push(denied);
    house.api.grant(on("g1", 1, "CONNECT", INSTANCE)).await;
    let failed = house.api.wait_for_grant("g1", GrantState::Failed).await;
    let why = failed.units[0].refusal.clone().unwrap_or_default();
    assert_eq!(why.reason, "NOT_ALLOWED", "{why:?}");
    assert!(why.finding.contains("ssm:GetDocument"), "{why:?}");
    wait_for("nothing", || async { made(cloud).is_empty().then_some(()) }).await;
    cloud.sim.world().faults.clear();

    connected(&house, "g2", 1).await;
    let (name, _) = documents(cloud).remove(0);
    house.api.revoke("g2").await;
    house.api.wait_for_grant("g2", GrantState::Ended).await;
    has(cloud, &name, &json!({ "inputs": {} }));
    house.api.grant(on("g3", 1, "CONNECT", INSTANCE)).await;
    let failed = house.api.wait_for_grant("g3", GrantState::Failed).await;
    let why = failed.units[0].refusal.clone().unwrap_or_default();
    assert!(why.finding.contains("without our tags"), "{why:?}");
    assert_eq!(documents(cloud), [(name, SessionDocument::saying(&json!({ "inputs": {} })))]);
}
