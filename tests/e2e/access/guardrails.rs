//! What the connector does not do, whatever the control plane asks.

use apono_connector_proto::v1::{
    ExtendRequest, GrantRequest, GrantState, Recipient, recipient::Who,
};
use prost_types::Timestamp;
use rustix::process::Signal;
use tonic::Code;

use super::{House, a_request, end_in, fast, reason};
use crate::harness::{Database, short_directory, wait_for};

#[tokio::test]
async fn the_shipped_rules_hold_for_grants_and_for_extensions() {
    let house = House::build().await;
    let group = Some(Recipient { who: Some(Who::GroupName("team-1".to_owned())) });
    let table = [
        (GrantRequest { recipient: group, ..a_request("a") }, "groups"),
        (GrantRequest { reason: " ".to_owned(), ..a_request("b") }, "reason"),
        (GrantRequest { end: Some(end_in(13 * 3600)), ..a_request("c") }, "longest"),
    ];
    for (request, rule) in table {
        let refused = house.api.access().grant(request).await.expect_err(rule);
        assert_eq!(reason(&refused), (Code::FailedPrecondition, "GUARDRAIL".to_owned()));
        assert!(refused.message().contains(&format!("{rule:?}")), "{refused}");
    }
    let granted = house.api.grant(a_request("g1")).await;
    let start = granted.create_time.expect("a start").seconds;
    let extend = |seconds| ExtendRequest {
        grant_id: "g1".to_owned(),
        expire_time: Some(Timestamp { seconds: start + seconds, nanos: 0 }),
        ..Default::default()
    };
    let refused = house.api.access().extend(extend(13 * 3600)).await.expect_err("too long");
    assert_eq!(reason(&refused).1, "GUARDRAIL");
    house.api.access().extend(extend(11 * 3600)).await.expect("a grant");
}

#[tokio::test]
async fn rules_are_read_again_at_a_hangup_all_or_nothing() {
    let directory = short_directory();
    let file = directory.path().join("rules.cedar");
    let rules =
        |extra: &str| format!("@id(\"all\")\npermit (principal, action, resource);\n{extra}");
    std::fs::write(&file, rules("")).expect("a file");
    let database = Database::create().await;
    let options = fast(&database).set("APONO__ACCESS__GUARDRAILS_FILE", &file.to_string_lossy());
    let house = House::with(database, options).await;
    let day = |id: &str| GrantRequest { end: Some(end_in(24 * 3600)), ..a_request(id) };
    house.api.grant(day("g1")).await;

    std::fs::write(&file, rules("forbid (principal, action, resource")).expect("a file");
    house.daemon.signal(Signal::HUP);
    wait_for("a complaint", || async {
        house.daemon.has_said("nothing was reloaded").then_some(())
    })
    .await;
    house.api.grant(day("g2")).await;

    let night = "@id(\"night\")\n@says(\"not now\")\nforbid (principal, action, resource);\n";
    std::fs::write(&file, rules(night)).expect("a file");
    house.daemon.signal(Signal::HUP);
    wait_for("the new rules", || async {
        house.daemon.has_said("reloaded: log filter").then_some(())
    })
    .await;
    let refused = house.api.access().grant(day("g3")).await.expect_err("the new rule");
    assert!(refused.message().contains("\"night\""), "{refused}");
}

#[tokio::test]
async fn a_rule_about_somebody_holds_by_whichever_name_they_are_granted() {
    let directory = short_directory();
    let file = directory.path().join("rules.cedar");
    let rules = "@id(\"all\")\npermit (principal, action, resource);\n
        @id(\"not-ann\")\n@says(\"ann receives nothing\")\n
        forbid (principal == User::\"ann1@example.com\", action, resource);\n";
    std::fs::write(&file, rules).expect("a file");
    let database = Database::create().await;
    let options = fast(&database).set("APONO__ACCESS__GUARDRAILS_FILE", &file.to_string_lossy());
    let house = House::with(database, options).await;
    let refused = house.api.access().grant(a_request("g0")).await.expect_err("the rule");
    assert_eq!(reason(&refused).1, "GUARDRAIL");
    for (id, who) in [("g1", Who::UserName("ann1".to_owned())), ("g2", Who::UserId(super::ann(1)))]
    {
        let recipient = Some(Recipient { who: Some(who) });
        house.api.grant(GrantRequest { recipient, ..a_request(id) }).await;
        let failed = house.api.wait_for_grant(id, GrantState::Failed).await;
        let refusal = failed.units[0].refusal.clone().expect("a refusal");
        assert_eq!(refusal.reason, "GUARDRAIL");
        assert!(refusal.finding.contains("\"not-ann\""), "{}", refusal.finding);
    }
    assert_eq!(house.calls("sso:CreateAccountAssignment"), 0);
}
