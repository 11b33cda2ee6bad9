//! What is refused to users of IAM, with the remedy, and before anything is changed.

use apono_connector_proto::v1::{GrantRequest, GrantState};
use aws_sim::{Effect, Fault, iam_user::IamUser};
use tonic::Code;

use super::{EVE, READERS, WAYS, before, document, eve, for_user, house, may};
use crate::{
    access::{
        ACCOUNT, a_request, cloud, fast,
        generated::{BUCKET, knowing_buckets, on, with_buckets},
        iam_user::with_iam_users,
        reason, settings, unit,
    },
    harness::{Daemon, Database, short_directory, wait_for},
};

#[tokio::test]
async fn what_does_not_fit_is_refused_before_anything_is_done() {
    let house = house().await;
    let access = || house.api.access();
    let at_once = [
        (for_user("a", EVE, "CONNECT", BUCKET), "PERMISSION_UNKNOWN", "nothing gives"),
        (on("b", 1, "MEMBER", READERS), "RECIPIENT_UNFIT", "is given to users of IAM"),
        (
            for_user("c", EVE, "MEMBER", "arn:aws:iam::222222222222:group/staff"),
            "NOT_GRANTABLE",
            "does not lie in the path /apono-grantable/",
        ),
        (
            for_user("d", EVE, "ATTACH", "arn:aws:iam::222222222222:policy/reads-all"),
            "NOT_GRANTABLE",
            "does not lie in the path /apono-grantable/",
        ),
        (
            for_user("e", EVE, "READ_ONLY", "arn:aws:s3:::elsewhere"),
            "RECIPIENT_UNFIT",
            "is a user of the account 222222222222, and arn:aws:s3:::elsewhere lies in 333333333333",
        ),
        (
            GrantRequest { units: vec![unit(ACCOUNT)], ..for_user("f", EVE, "", "") },
            "RECIPIENT_UNFIT",
            "a permission set is assigned to users and groups of Identity Center",
        ),
    ];
    for (request, expected, says) in at_once {
        let refused = access().grant(request).await.expect_err(expected);
        assert_eq!(reason(&refused), (Code::FailedPrecondition, expected.to_owned()), "{refused}");
        assert!(refused.message().contains(says), "{refused}");
    }
    let malformed = for_user("g", "arn:aws:iam::222222222222:role/eve", "READ_ONLY", BUCKET);
    let refused = access().grant(malformed).await.expect_err("a role");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let after_a_look = [
        ("root-like", "NOT_GRANTABLE", "has not the tag apono:grantable=true"),
        ("nobody", "PRINCIPAL_UNKNOWN", "there is no user"),
        ("apono-own", "RECIPIENT_UNFIT", "a name of the connector's own"),
        ("elsewhere/eve", "PRINCIPAL_UNKNOWN", "there is no user"),
    ];
    for (name, expected, says) in after_a_look {
        let user = format!("arn:aws:iam::222222222222:user/{name}");
        let id = name.replace('/', "-");
        house.api.grant(for_user(&id, &user, "READ_ONLY", BUCKET)).await;
        let failed = house.api.wait_for_grant(&id, GrantState::Failed).await;
        let refusal = failed.units[0].refusal.as_ref().expect("a refusal");
        assert_eq!(refusal.reason, expected);
        assert!(refusal.finding.contains(says), "{}", refusal.finding);
    }
    assert_eq!(house.calls("iam:PutUserPolicy"), 0);
}

#[tokio::test]
async fn a_full_user_is_told() {
    let house = house().await;
    let many = (0..10).map(|number| format!("g{number}"));
    let long = document(&format!("sns:{}", "x".repeat(1500)));
    let full =
        IamUser { groups: many.collect(), policies: [("own".to_owned(), long)].into(), ..before() };
    house.cloud.sim.world().account(ACCOUNT).iam_users.insert("eve".to_owned(), full.clone());
    for (permission, resource) in [("MEMBER", READERS), ("READ_WRITE", BUCKET)] {
        house.api.grant(for_user(permission, EVE, permission, resource)).await;
        let failed = house.api.wait_for_grant(permission, GrantState::Failed).await;
        let refusal = failed.units[0].refusal.as_ref().expect("a refusal");
        assert_eq!(refusal.reason, "QUOTA_EXCEEDED", "{}", refusal.finding);
    }
    assert_eq!(eve(&house.cloud), full);
}

#[tokio::test]
async fn what_finds_no_room_takes_none_from_what_does() {
    let house = house().await;
    let own = document(&format!("sns:{}", "x".repeat(700)));
    let crowded = IamUser { policies: [("own".to_owned(), own)].into(), ..before() };
    house.cloud.sim.world().account(ACCOUNT).iam_users.insert("eve".to_owned(), crowded.clone());
    let busy = Fault::new(Effect::Throttle).on("iam:PutUserPolicy");
    house.cloud.sim.world().faults.push(busy);
    for (permission, bucket) in [("READ_WRITE", "arn:aws:s3:::invoices"), ("READ_ONLY", BUCKET)] {
        house.api.grant(for_user(permission, EVE, permission, bucket)).await;
        wait_for("a look for the user", || async {
            let found = house.api.get_grant(permission).await.principal_id;
            (!found.is_empty()).then_some(())
        })
        .await;
    }
    house.cloud.sim.world().faults.clear();
    let failed = house.api.wait_for_grant("READ_WRITE", GrantState::Failed).await;
    let refusal = failed.units[0].refusal.as_ref().expect("a refusal");
    assert_eq!(refusal.reason, "QUOTA_EXCEEDED", "{}", refusal.finding);
    house.api.wait_for_grant("READ_ONLY", GrantState::Active).await;
    assert!(may(&house.cloud, WAYS[2].2));
    house.api.revoke("READ_ONLY").await;
    house.api.wait_for_grant("READ_ONLY", GrantState::Ended).await;
    assert_eq!(eve(&house.cloud), crowded);
}

#[tokio::test]
async fn rules_know_users_of_iam() {
    let directory = short_directory();
    let file = directory.path().join("rules.cedar");
    let rules = "@id(\"all\")\npermit (principal, action, resource);\n
@id(\"eve\")\nforbid (principal == IamUser::\"eve\", action, resource);\n";
    std::fs::write(&file, rules).expect("a file");
    let database = Database::create().await;
    let cloud = cloud().await;
    with_buckets(&cloud);
    with_iam_users(&cloud);
    let options = fast(&database).set("APONO__ACCESS__GUARDRAILS_FILE", &file.to_string_lossy());
    let daemon = Daemon::start_with(&cloud, options);
    let api = daemon.api().await;
    api.create_and_sync(knowing_buckets(settings(&cloud))).await;
    api.grant(for_user("g1", EVE, "READ_ONLY", BUCKET)).await;
    let failed = api.wait_for_grant("g1", GrantState::Failed).await;
    assert_eq!(failed.units[0].refusal.as_ref().expect("a refusal").reason, "GUARDRAIL");
    api.grant(a_request("g2")).await;
    api.wait_for_grant("g2", GrantState::Active).await;
}
