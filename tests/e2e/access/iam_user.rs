//! Access for users of IAM: a group, a managed policy, statements of their own. Against `aws-sim`, whose
//! evaluator asks all three.

mod refused;

use std::collections::BTreeMap;

use apono_connector_proto::v1::{
    ExtendRequest, GrantRequest, GrantState, IntegrationSettings, Recipient, RevokeAllRequest,
    recipient::Who,
};
use aws_sim::{
    Effect, Fault,
    iam_user::{IamGroup, IamUser},
    text::Text,
    world::Account,
};
use chrono::TimeDelta;
use prost_types::Timestamp;
use serde_json::json;

use super::{
    ACCOUNT, House, a_moment, cloud, fast,
    generated::{BUCKET, knowing_buckets, on, with_buckets},
    reason, settings,
};
use crate::harness::{Cloud, Daemon, Database, wait_for};

const PATH: &str = "/apono-grantable/";
/// A user of [`ACCOUNT`] who may receive access.
const EVE: &str = "arn:aws:iam::222222222222:user/eve";
/// A group that may read queues.
const READERS: &str = "arn:aws:iam::222222222222:group/apono-grantable/readers";
/// The policy of that group.
const READS: &str = "arn:aws:iam::222222222222:policy/apono-grantable/reads";
const QUEUE: &str = "arn:aws:sqs:eu-west-1:222222222222:q";
const OBJECT: &str = "arn:aws:s3:::logs/2026/a.log";

/// What the connector gives, with what it allows.
const WAYS: [(&str, &str, (&str, &str)); 3] = [
    ("MEMBER", READERS, ("sqs:ReceiveMessage", QUEUE)),
    ("ATTACH", READS, ("sqs:ReceiveMessage", QUEUE)),
    ("READ_ONLY", BUCKET, ("s3:GetObject", OBJECT)),
];

fn tags() -> BTreeMap<Text, Text> {
    [(Text::from("apono:grantable"), Text::from("true"))].into()
}

fn document(action: &str) -> String {
    let statement = json!({ "Effect": "Allow", "Action": action, "Resource": "*" });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

/// A user as they are before anything is granted.
pub(crate) fn before() -> IamUser {
    IamUser {
        id: "AIDASIMEVE".to_owned(),
        tags: tags(),
        groups: ["staff".to_owned()].into(),
        attached: ["arn:aws:iam::aws:policy/SecurityAudit".to_owned()].into(),
        policies: [("own".to_owned(), document("sns:Publish"))].into(),
        ..IamUser::default()
    }
}

pub(crate) fn with_iam_users(cloud: &Cloud) {
    let mut world = cloud.sim.world();
    world.put_policy(ACCOUNT, PATH, "reads", &document("sqs:ReceiveMessage"));
    world.put_policy(ACCOUNT, "/", "reads-all", &document("sqs:ReceiveMessage"));
    let account = world.account(ACCOUNT);
    enroll(account);
    account.iam_users.insert("root-like".to_owned(), IamUser::default());
    let own = IamUser { id: "AIDASIMOWN".to_owned(), ..before() };
    account.iam_users.insert("apono-own".to_owned(), own);
}

/// Puts Eve into an account, and the groups that she is in or may be in.
pub(crate) fn enroll(account: &mut Account) {
    account.iam_users.insert("eve".to_owned(), before());
    let readers = IamGroup { path: PATH.to_owned(), attached: [READS.to_owned()].into() };
    account.iam_groups.insert("readers".to_owned(), readers);
    account.iam_groups.insert("staff".to_owned(), IamGroup::default());
}

/// The same settings, with groups and policies of IAM.
pub(crate) fn knowing_iam(mut settings: IntegrationSettings) -> IntegrationSettings {
    settings.resource_types.extend(["aws-iam-group", "aws-iam-policy"].map(str::to_owned));
    settings
}

async fn house() -> House {
    house_with(|settings| settings).await
}

async fn house_with(change: fn(IntegrationSettings) -> IntegrationSettings) -> House {
    let database = Database::create().await;
    let cloud = cloud().await;
    with_buckets(&cloud);
    with_iam_users(&cloud);
    let daemon = Daemon::start_with(&cloud, fast(&database));
    let api = daemon.api().await;
    api.create_and_sync(change(knowing_iam(knowing_buckets(settings(&cloud))))).await;
    House { cloud, database, daemon, api }
}

/// A request for an hour of a permission on a resource, for a user of IAM.
fn for_user(id: &str, user: &str, permission: &str, resource: &str) -> GrantRequest {
    GrantRequest { recipient: Some(iam_user(user)), ..on(id, 1, permission, resource) }
}

fn iam_user(arn: &str) -> Recipient {
    Recipient { who: Some(Who::IamUserArn(arn.to_owned())) }
}

/// A request for all of [`WAYS`].
pub(crate) fn all_ways(id: &str) -> GrantRequest {
    let all = WAYS.map(|(permission, resource, _)| for_user(id, EVE, permission, resource));
    let units = all.iter().flat_map(|one| one.units.clone()).collect();
    GrantRequest { units, ..for_user(id, EVE, "", "") }
}

/// Whether Eve has the group, the policy, or both.
pub(crate) fn has(cloud: &Cloud) -> bool {
    let eve = eve(cloud);
    eve.groups.contains("readers") || eve.attached.contains(READS)
}

/// Whether Eve has all of [`WAYS`].
pub(crate) fn has_all(cloud: &Cloud) -> bool {
    let found = eve(cloud);
    let has_both = found.groups.contains("readers") && found.attached.contains(READS);
    has_both && may(cloud, WAYS[2].2)
}

/// What Eve has of it, where that is not all; and what is in her beside.
pub(crate) fn left(cloud: &Cloud) -> Vec<String> {
    let mut eve = eve(cloud);
    let half = eve.groups.remove("readers") != eve.attached.remove(READS);
    (half || eve != before()).then(|| format!("{eve:?}")).into_iter().collect()
}

/// Somebody else gives her the group and the policy.
pub(crate) fn gives(account: &mut Account) {
    let eve = account.iam_users.get_mut("eve").expect("Eve");
    eve.groups.insert("readers".to_owned());
    eve.attached.insert(READS.to_owned());
}

/// Eve as she is.
fn eve(cloud: &Cloud) -> IamUser {
    cloud.sim.world().accounts[ACCOUNT].iam_users["eve"].clone()
}

/// Whether Eve may do something.
fn may(cloud: &Cloud, (action, resource): (&str, &str)) -> bool {
    cloud.sim.world().user_may(ACCOUNT, "eve", action, resource)
}

#[tokio::test]
async fn each_way_gives_what_it_says_and_leaves_the_user_as_they_were() {
    let house = house().await;
    let cloud = &house.cloud;
    for (permission, resource, what) in WAYS {
        assert!(!may(cloud, what), "{permission}");
        house.api.grant(for_user(permission, EVE, permission, resource)).await;
        let active = house.api.wait_for_grant(permission, GrantState::Active).await;
        assert!(may(cloud, what), "{permission}");
        assert_eq!(active.principal_id, EVE);
        let unit = &active.units[0];
        assert!(!unit.was_there_before);
        assert_eq!(unit.is_self_ending, permission == "READ_ONLY");
        let details = unit.details.as_ref().expect("details");
        let sign_in = "https://222222222222.signin.aws.amazon.com/console";
        assert_eq!(details.sign_in_url, sign_in);
        house.api.revoke(permission).await;
        house.api.wait_for_grant(permission, GrantState::Ended).await;
        assert!(!may(cloud, what), "{permission}");
        assert_eq!(eve(cloud), before(), "{permission}");
    }
}

#[tokio::test]
async fn all_ways_at_once_while_iam_shows_changes_late() {
    let house = house().await;
    let cloud = &house.cloud;
    cloud.sim.world().account(ACCOUNT).iam_lag = TimeDelta::seconds(3);
    for (permission, resource, _) in WAYS {
        house.api.grant(for_user(permission, EVE, permission, resource)).await;
    }
    for (permission, _, what) in WAYS {
        house.api.wait_for_grant(permission, GrantState::Active).await;
        assert!(may(cloud, what), "{permission}");
        house.api.revoke(permission).await;
    }
    for (permission, ..) in WAYS {
        house.api.wait_for_grant(permission, GrantState::Ended).await;
    }
    wait_for("what was there before", || async { (eve(cloud) == before()).then_some(()) }).await;
}

#[tokio::test]
async fn statements_end_at_their_second_and_are_shared_by_grants() {
    let house = house().await;
    let cloud = &house.cloud;
    let invoices = "arn:aws:s3:::invoices";
    house.api.grant(for_user("g1", EVE, "READ_ONLY", BUCKET)).await;
    house.api.grant(for_user("g2", EVE, "READ_WRITE", invoices)).await;
    for id in ["g1", "g2"] {
        house.api.wait_for_grant(id, GrantState::Active).await;
    }
    assert_eq!(eve(cloud).policies.len(), 2, "one beside her own");
    let written = house.calls("iam:PutUserPolicy");
    let end = house.api.get_grant("g2").await.expire_time.expect("an end");
    let expire_time = Some(Timestamp { seconds: end.seconds + 3600, nanos: 0 });
    let request = ExtendRequest { grant_id: "g2".to_owned(), expire_time, ..Default::default() };
    house.api.access().extend(request).await.expect("a longer grant");
    house.api.wait_for_grant("g2", GrantState::Active).await;
    let write = ("s3:PutObject", "arn:aws:s3:::invoices/a");
    wait_for("a later end", || async {
        (house.calls("iam:PutUserPolicy") > written).then_some(())
    })
    .await;
    cloud.sim.world().clock.advance(TimeDelta::seconds(3601));
    assert!(!may(cloud, ("s3:GetObject", OBJECT)), "before anybody has removed it");
    assert!(may(cloud, write));
    house.database.move_time("3601 s").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert!(may(cloud, write));
    house.api.revoke("g2").await;
    house.api.wait_for_grant("g2", GrantState::Ended).await;
    assert_eq!(eve(cloud), before());
}

#[tokio::test]
async fn what_somebody_had_before_stays() {
    let house = house().await;
    let cloud = &house.cloud;
    let had = IamUser {
        groups: ["readers".to_owned(), "staff".to_owned()].into(),
        attached: [READS.to_owned()].into(),
        ..before()
    };
    cloud.sim.world().account(ACCOUNT).iam_users.insert("eve".to_owned(), had.clone());
    for (permission, resource, _) in &WAYS[..2] {
        house.api.grant(for_user(permission, EVE, permission, resource)).await;
        let active = house.api.wait_for_grant(permission, GrantState::Active).await;
        assert!(active.units[0].was_there_before);
        house.api.revoke(permission).await;
        house.api.wait_for_grant(permission, GrantState::Ended).await;
    }
    assert_eq!(eve(cloud), had);
    for action in ["AddUserToGroup", "RemoveUserFromGroup", "AttachUserPolicy", "DetachUserPolicy"]
    {
        assert_eq!(house.calls(&format!("iam:{action}")), 0);
    }
}

#[tokio::test]
async fn what_somebody_takes_away_is_given_again() {
    let house = house().await;
    let cloud = &house.cloud;
    for (permission, resource, _) in WAYS {
        house.api.grant(for_user(permission, EVE, permission, resource)).await;
    }
    for (permission, ..) in WAYS {
        house.api.wait_for_grant(permission, GrantState::Active).await;
    }
    cloud.sim.world().account(ACCOUNT).iam_users.insert("eve".to_owned(), before());
    for (permission, _, what) in WAYS {
        wait_for(permission, || async { may(cloud, what).then_some(()) }).await;
    }
}

/// Eve is given all of it.
async fn granted() -> House {
    let house = house().await;
    for (permission, resource, _) in WAYS {
        house.api.grant(for_user(permission, EVE, permission, resource)).await;
    }
    for (permission, ..) in WAYS {
        house.api.wait_for_grant(permission, GrantState::Active).await;
    }
    house
}

fn another() -> IamUser {
    IamUser { id: "AIDASIMANOTHER".to_owned(), ..before() }
}

#[tokio::test]
async fn access_goes_with_the_user_and_not_with_the_name() {
    let house = granted().await;
    let cloud = &house.cloud;
    {
        let mut world = cloud.sim.world();
        let users = &mut world.account(ACCOUNT).iam_users;
        let renamed = users.insert("eve".to_owned(), another()).expect("Eve");
        users.insert("eve-lee".to_owned(), renamed);
    }
    a_moment().await;
    for (permission, ..) in WAYS {
        house.api.wait_for_grant(permission, GrantState::Active).await;
        house.api.revoke(permission).await;
    }
    for (permission, ..) in WAYS {
        house.api.wait_for_grant(permission, GrantState::Ended).await;
    }
    assert_eq!(eve(cloud), another());
    assert_eq!(cloud.sim.world().accounts[ACCOUNT].iam_users["eve-lee"], before());
}

#[tokio::test]
async fn who_is_made_anew_receives_nothing() {
    let house = granted().await;
    house.cloud.sim.world().account(ACCOUNT).iam_users.insert("eve".to_owned(), another());
    for (permission, ..) in WAYS {
        let failed = house.api.wait_for_grant(permission, GrantState::Failed).await;
        let refusal = failed.units[0].refusal.as_ref().expect("a refusal");
        assert_eq!(refusal.reason, "NOT_THERE");
        assert!(refusal.finding.contains("user/eve is gone"), "{}", refusal.finding);
    }
    assert_eq!(eve(&house.cloud), another());
}

#[tokio::test]
async fn whose_tag_is_taken_away_keeps_nothing_and_receives_nothing() {
    let house = granted().await;
    let cloud = &house.cloud;
    cloud.sim.world().account(ACCOUNT).iam_users.get_mut("eve").expect("Eve").tags.clear();
    for (permission, ..) in &WAYS[..2] {
        house.api.revoke(permission).await;
        house.api.wait_for_grant(permission, GrantState::Ended).await;
    }
    assert!(!has(cloud));
    // Her statements cannot be taken out without the tag, and are over at their end.
    let (permission, _, what) = WAYS[2];
    house.api.revoke(permission).await;
    wait_for("what is in the way", || async {
        let unit = house.api.get_grant(permission).await.units.remove(0);
        unit.stuck_reason.contains("iam:DeleteUserPolicy").then_some(())
    })
    .await;
    house.pass(3601).await;
    assert!(!may(cloud, what));
    house.api.wait_for_grant(permission, GrantState::Ended).await;
    house.api.grant(for_user("again", EVE, "MEMBER", READERS)).await;
    let failed = house.api.wait_for_grant("again", GrantState::Failed).await;
    assert_eq!(failed.units[0].refusal.as_ref().expect("a refusal").reason, "NOT_GRANTABLE");
    assert!(!has(cloud));
}

#[tokio::test]
async fn all_grants_of_a_user_are_ended_by_the_arn() {
    let house = granted().await;
    let request = RevokeAllRequest {
        integration: "prod".to_owned(),
        recipient: Some(iam_user(EVE)),
        ..Default::default()
    };
    let ended = house.api.access().revoke_all(request).await.expect("an answer").into_inner();
    assert_eq!(ended.grant_ids.len(), WAYS.len());
    for (permission, ..) in WAYS {
        house.api.wait_for_grant(permission, GrantState::Ended).await;
    }
    assert_eq!(eve(&house.cloud), before());
}

#[tokio::test]
async fn lost_answers_leave_nothing_behind() {
    let house = house().await;
    let cloud = &house.cloud;
    let lose = |actions: [&str; 3]| {
        let faults = actions.map(|action| Fault::new(Effect::Cut).on(action).times(1));
        cloud.sim.world().faults.extend(faults);
    };
    lose(["iam:AddUserToGroup", "iam:AttachUserPolicy", "iam:PutUserPolicy"]);
    for (permission, resource, _) in WAYS {
        house.api.grant(for_user(permission, EVE, permission, resource)).await;
    }
    for (permission, _, what) in WAYS {
        house.api.wait_for_grant(permission, GrantState::Active).await;
        assert!(may(cloud, what), "{permission}");
    }
    lose(["iam:RemoveUserFromGroup", "iam:DetachUserPolicy", "iam:DeleteUserPolicy"]);
    for (permission, ..) in WAYS {
        house.api.revoke(permission).await;
    }
    for (permission, ..) in WAYS {
        house.api.wait_for_grant(permission, GrantState::Ended).await;
    }
    assert_eq!(eve(cloud), before());
}

#[tokio::test]
async fn an_organization_without_identity_center_has_users_of_iam() {
    let house = house_with(|settings| IntegrationSettings {
        sso_region: String::new(),
        sso_portal_url: String::new(),
        resource_types: ["aws-iam-group", "aws-s3-bucket"].map(str::to_owned).to_vec(),
        ..settings
    })
    .await;
    house.api.grant(for_user("g1", EVE, "READ_ONLY", BUCKET)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(may(&house.cloud, ("s3:GetObject", OBJECT)));
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(eve(&house.cloud), before());
    let refused = house.api.access().grant(on("g2", 1, "READ_ONLY", BUCKET)).await;
    let refused = reason(&refused.expect_err("no Identity Center"));
    assert_eq!(refused.1, "IDENTITY_CENTER_MISSING");
}
