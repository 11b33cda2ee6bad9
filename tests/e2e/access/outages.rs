//! AWS, the database or the daemon away while grants end.

use apono_connector_proto::v1::{GrantRequest, GrantState};
use aws_sim::{Effect, Fault, answer::Refusal};

use super::{ACCOUNT, House, OTHER_ACCOUNT, a_moment, a_request, ann, end_in, unit, user};

#[tokio::test]
async fn ends_are_reached_when_aws_was_failing() {
    let house = House::build().await;
    for (at, account) in [ACCOUNT, OTHER_ACCOUNT].into_iter().enumerate() {
        for person in 1..=3 {
            let request = GrantRequest {
                recipient: Some(user(&format!("ann{person}@example.com"))),
                units: vec![unit(account)],
                ..a_request(&format!("g{at}{person}"))
            };
            house.api.grant(request).await;
        }
    }
    let ids: Vec<String> =
        (0..2).flat_map(|at| (1..=3).map(move |person| format!("g{at}{person}"))).collect();
    for id in &ids {
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    let failing = Refusal::new(500, "InternalServerException", "try later");
    house.cloud.sim.world().faults.push(Fault::new(Effect::Refuse(failing)).on("sso:*"));
    house.pass(3600).await;
    a_moment().await;
    assert_eq!(house.access_of(&ann(1)).len(), 2, "AWS did not let us");
    house.cloud.sim.world().faults.clear();
    for id in &ids {
        house.api.wait_for_grant(id, GrantState::Ended).await;
    }
    for person in 1..=3 {
        assert_eq!(house.access_of(&ann(person)), [""; 0]);
    }
}

#[tokio::test]
async fn ends_are_reached_when_the_database_was_away() {
    let house = House::build().await;
    house.api.grant(GrantRequest { end: Some(end_in(4)), ..a_request("g1") }).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let name = house.database.name();
    let mut admin = house.database.admin().await;
    let mut run = async |sql: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.expect("a statement");
    };
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    run(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        .await;
    for _ in 0..4 {
        a_moment().await;
    }
    assert_eq!(house.access_of(&ann(1)).len(), 1, "its end has passed");
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}
