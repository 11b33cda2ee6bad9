//! What was asked and done cannot be changed unseen.

use apono_connector_proto::v1::{GrantState, VerifyActsRequest, VerifyActsResponse};
use tonic::Code;

use crate::{
    access::{House, a_request},
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
