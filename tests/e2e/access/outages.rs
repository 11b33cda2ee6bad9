//! AWS, the database or the daemon away while grants end.

use apono_connector_proto::v1::{AccessUnit, GrantRequest, GrantState, ListGrantsRequest};
use aws_sim::{Effect, Fault, answer::Refusal};
use chrono::TimeDelta;

use super::{ACCOUNT, House, OTHER_ACCOUNT, a_moment, a_request, ann, end_in, unit, user};
use crate::harness::wait_for;

/// Grants that do not get on.
async fn stuck(house: &House) -> usize {
    let request = ListGrantsRequest { only_stuck: true, ..Default::default() };
    let found = house.api.access().list_grants(request).await.expect("grants").into_inner();
    found.grants.len()
}

async fn is_problem(house: &House) -> bool {
    house.api.problems().await.iter().any(|problem| problem.code == "ACCESS_STUCK")
}

#[tokio::test]
async fn ends_are_reached_when_aws_was_failing_for_five_minutes() {
    let house = House::build().await;
    let mut ids = Vec::new();
    for account in [ACCOUNT, OTHER_ACCOUNT] {
        for person in 1..=3 {
            for set in ["Team1", "Team2", "Team3"] {
                let id = format!("{account}-{person}-{set}");
                let unit = AccessUnit { permission_set: set.to_owned(), ..unit(account) };
                let recipient = Some(user(&format!("ann{person}@example.com")));
                let units = vec![unit];
                house.api.grant(GrantRequest { recipient, units, ..a_request(&id) }).await;
                ids.push(id);
            }
        }
    }
    for id in &ids {
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    let failing = Refusal::new(500, "InternalServerException", "try later");
    house.cloud.sim.world().faults.push(Fault::new(Effect::Refuse(failing)).on("sso:*"));
    house.pass(3600).await;
    for minute in 1..=5 {
        house.cloud.sim.world().clock.advance(TimeDelta::minutes(1));
        house.database.move_time(&format!("{} s", 3600 + 60 * minute)).await;
        a_moment().await;
    }
    for person in 1..=3 {
        assert_eq!(house.access_of(&ann(person)).len(), 6, "AWS did not let us");
    }
    // All of them show that they do not get on, and show it no more once they do.
    wait_for("what is stuck", || async { (stuck(&house).await == ids.len()).then_some(()) }).await;
    wait_for("the problem", || async { is_problem(&house).await.then_some(()) }).await;
    house.cloud.sim.world().faults.clear();
    // The next try comes within a quarter of an hour, on the clock of the database.
    house.cloud.sim.world().clock.advance(TimeDelta::minutes(15));
    house.database.move_time("80 min").await;
    for id in &ids {
        house.api.wait_for_grant(id, GrantState::Ended).await;
    }
    for person in 1..=3 {
        assert_eq!(house.access_of(&ann(person)), [""; 0]);
    }
    assert_eq!(stuck(&house).await, 0);
    wait_for("no problem", || async { (!is_problem(&house).await).then_some(()) }).await;
}

#[tokio::test]
async fn ends_are_reached_when_the_database_was_away_for_a_minute() {
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
    for _ in 0..40 {
        a_moment().await;
    }
    assert_eq!(house.access_of(&ann(1)).len(), 1, "its end has passed");
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}
