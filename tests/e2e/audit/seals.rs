//! What was asked and done cannot be changed unseen.

use apono_connector_proto::v1::{
    ErasePrincipalRequest, GrantRequest, GrantState, ListActsRequest, VerifyActsRequest,
    VerifyActsResponse, recipient::Who,
};
use tonic::Code;

use super::{NEXT_READING_S, look, sign_in};
use crate::{
    access::{ACCOUNT, House, SET, a_request, end_in, generated, user},
    harness::{Api, wait_for},
};

impl Api {
    async fn verified(&self, head: &str) -> VerifyActsResponse {
        let request = VerifyActsRequest { head: head.to_owned(), ..Default::default() };
        self.audit().verify_acts(request).await.expect("an answer").into_inner()
    }
}

impl House {
    /// Changes what is stored, as whoever owns the database can.
    async fn forge(&self, change: &str) {
        let unguarded = format!(
            "BEGIN;
             ALTER TABLE connector.acts DISABLE TRIGGER USER;
             ALTER TABLE connector.seals DISABLE TRIGGER USER;
             {change};
             ALTER TABLE connector.acts ENABLE TRIGGER USER;
             ALTER TABLE connector.seals ENABLE TRIGGER USER;
             COMMIT"
        );
        self.database.execute(&unguarded).await;
    }

    /// A daemon seals when it starts.
    async fn seal(&mut self) -> VerifyActsResponse {
        self.restart().await;
        wait_for("seals", || async {
            let told = self.api.verified("").await;
            (told.unsealed_acts == 0 && told.seals > 0).then_some(told)
        })
        .await
    }
}

#[tokio::test]
async fn whatever_is_done_to_acts_is_found_and_named() {
    let mut house = House::build().await;
    house.api.grant(a_request("g1")).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let whole = house.seal().await;
    assert_eq!((whole.broken.as_str(), whole.broken_seal), ("", 0));
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    let longer = house.seal().await;
    assert!(longer.seals > whole.seals && longer.acts > whole.acts);
    assert_ne!(longer.head, whole.head);
    assert_eq!(house.api.verified(&whole.head).await.broken, "", "an old head is in the chain");

    let sealed = "SELECT number FROM connector.acts WHERE seal = 1 ORDER BY number";
    let found = house.database.count(&format!("{sealed} LIMIT 1")).await;
    let other = house.database.count(&format!("{sealed} OFFSET 1 LIMIT 1")).await;
    let one = format!("number = {found}");
    let last = longer.seals;
    let exchange = format!(
        "UPDATE connector.acts a SET (at, grant_id, verb, actor, object, detail, salt)
             = (b.at, b.grant_id, b.verb, b.actor, b.object, b.detail, b.salt)
         FROM connector.acts b
         WHERE a.number IN ({found}, {other}) AND b.number = {found} + {other} - a.number"
    );
    for (forge, undo, says) in [
        (
            format!("UPDATE connector.acts SET detail = detail || 'x' WHERE {one}"),
            format!("UPDATE connector.acts SET detail = left(detail, -1) WHERE {one}"),
            format!("act {found} of seal 1 was changed"),
        ),
        (
            format!(
                "CREATE TABLE kept AS SELECT * FROM connector.acts WHERE {one};
                     DELETE FROM connector.acts WHERE {one}"
            ),
            "INSERT INTO connector.acts OVERRIDING SYSTEM VALUE SELECT * FROM kept".to_owned(),
            format!("act {found} of seal 1 is missing"),
        ),
        (exchange.clone(), exchange, format!("act {found} of seal 1 was changed")),
        (
            format!(
                "CREATE TABLE moved AS SELECT number FROM connector.acts WHERE seal = {last};
                 UPDATE connector.acts SET seal = 1 WHERE seal = {last}"
            ),
            format!(
                "UPDATE connector.acts SET seal = {last}
                 WHERE number IN (SELECT number FROM moved)"
            ),
            "was put under seal 1".to_owned(),
        ),
        (
            format!(
                "CREATE TABLE gone AS SELECT * FROM connector.seals WHERE number = {last};
                 DELETE FROM connector.seals WHERE number = {last}"
            ),
            "INSERT INTO connector.seals SELECT * FROM gone".to_owned(),
            format!("seal {last} is missing"),
        ),
    ] {
        house.forge(&forge).await;
        let told = house.api.verified("").await;
        assert!(told.broken.ends_with(&says), "{told:?}");
        house.forge(&undo).await;
        assert_eq!(house.api.verified("").await.broken, "", "{undo}");
    }

    // Whoever makes the whole chain anew cannot make the head that was kept.
    let anew = "DELETE FROM connector.seals; UPDATE connector.acts SET seal = NULL";
    house.forge(&format!("{anew}; UPDATE connector.acts SET detail = 'x' WHERE {one}")).await;
    let forged = house.seal().await;
    assert_eq!(forged.broken, "");
    let told = house.api.verified(&whole.head).await;
    assert_eq!(told.broken_seal, whole.seals, "{told:?}");
    assert_ne!(house.api.verified(&longer.head).await.broken, "");

    let nonsense = VerifyActsRequest { head: "x".to_owned(), ..Default::default() };
    let refused = house.api.audit().verify_acts(nonsense).await.expect_err("no head");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// Tables in which a person could stand, but for what was discovered in AWS.
const TABLES: [&str; 9] = [
    "acts",
    "audit_events",
    "audit_places",
    "audited_units",
    "grants",
    "holdings",
    "lookups",
    "targets",
    "units",
];

#[tokio::test]
async fn to_erase_a_person_is_not_to_tamper() {
    let house = generated::house_of(&[], |of| super::audited(generated::knowing_buckets(of))).await;
    let mut house = house;
    house.give(a_request("g1")).await;
    house.give(generated::on("g2", 1, "READ_ONLY", generated::BUCKET)).await;
    let (recipient, end) = (Some(user("ann2@example.com")), Some(end_in(12 * 3600)));
    let other = GrantRequest { recipient, end, ..a_request("g3") };
    house.give(other).await;
    let session = sign_in(&house.cloud, 1, ACCOUNT, SET).expect("a session");
    assert!(look(&house.cloud, &session));
    house.pass(NEXT_READING_S).await;
    house.api.wait_for_calls("g1", 1).await;
    let request = ErasePrincipalRequest {
        principal: "ann1@example.com".to_owned(),
        reason: "ticket 12".to_owned(),
        ..Default::default()
    };
    let refused = house.api.audit().erase_principal(request.clone()).await.expect_err("live");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("2 of their grants"), "{refused:?}");
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    house.seal().await;
    house.api.revoke("g2").await;
    house.api.wait_for_grant("g2", GrantState::Ended).await;
    let refused = house.api.audit().erase_principal(request.clone()).await.expect_err("open");
    assert!(refused.message().contains("sessions of them may be open"), "{refused:?}");
    house.pass(3601).await;
    let told = ["ann1", "9067642ac7-00000001"];
    let standing = async |house: &House| {
        let mut found = Vec::new();
        for table in TABLES {
            for word in told {
                let sql = format!(
                    "SELECT count(*) FROM connector.{table} t WHERE t::text LIKE '%{word}%'"
                );
                if house.database.count(&sql).await > 0 {
                    found.push(table);
                }
            }
        }
        found
    };
    let before = standing(&house).await;
    for table in ["acts", "audit_events", "audit_places", "audited_units", "grants", "targets"] {
        assert!(before.contains(&table), "{table}: {before:?}");
    }
    // Somebody else who goes by the same name is not meant, and has to be told apart.
    house
        .database
        .execute("UPDATE connector.grants SET names = names || ARRAY['ann1'] WHERE grant_id = 'g3'")
        .await;
    let both = ErasePrincipalRequest { principal: "ann1".to_owned(), ..request.clone() };
    let refused = house.api.audit().erase_principal(both).await.expect_err("two");
    assert!(refused.message().contains("9067642ac7-00000002"), "{refused:?}");
    house
        .database
        .execute(
            "UPDATE connector.grants SET names = array_remove(names, 'ann1') WHERE grant_id = 'g3'",
        )
        .await;
    // What is still looked after in AWS is not over.
    wait_for("an end of all", || async {
        let only = ErasePrincipalRequest { validate_only: true, ..request.clone() };
        house.api.audit().erase_principal(only).await.ok()
    })
    .await;
    let erased = house.api.audit().erase_principal(request.clone()).await.expect("erased");
    assert_eq!(erased.into_inner().grant_ids, ["g1", "g2"]);
    assert_eq!(standing(&house).await, Vec::<&str>::new());
    let whole = house.api.verified("").await;
    assert_eq!(whole.broken, "");
    assert!(whole.erased_acts > 0);
    let more = house.seal().await;
    assert_eq!(more.broken, "", "also with what was not sealed before");
    assert!(more.erased_acts > whole.erased_acts, "{more:?}");

    let grant = house.api.get_grant("g1").await;
    assert_eq!(grant.recipient.clone().and_then(|r| r.who), Some(Who::UserId("erased".to_owned())));
    assert_eq!((grant.reason.as_str(), grant.state()), ("erased", GrantState::Ended));
    assert_eq!(house.api.audited("g1").await.calls, 0);
    assert_eq!(house.api.get_grant("g3").await.state(), GrantState::Active);
    let acts = house.api.access().list_acts(ListActsRequest::default()).await.expect("acts");
    let acts = acts.into_inner().acts;
    assert!(acts.iter().any(|act| act.verb == "ERASED" && act.detail == "2 grants: ticket 12"));
    let again = house.api.audit().erase_principal(request).await.expect_err("nobody");
    assert_eq!(again.code(), Code::NotFound);
    // Somebody of that name can be granted something again.
    house.give(GrantRequest { grant_id: "g4".to_owned(), ..a_request("g1") }).await;
}
