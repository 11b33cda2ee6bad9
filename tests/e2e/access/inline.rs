//! Generated access where no role of the connector may write policies in member accounts: inline policies of
//! permission sets, one for a person and an account. Against `aws-sim`.

use apono_connector_proto::v1::{
    GrantState, IntegrationSettings, StepOutcome, UnitState, ValidateIntegrationRequest,
};
use aws_sim::{Effect, Fault, directory::PermissionSet};

use super::{
    House, ann,
    generated::{self, BUCKET, OTHER_BUCKET, made, may, on},
    sessions::{self, INSTANCE},
    settings,
};
use crate::harness::{Cloud, wait_for};

/// The same settings, but for where what is allowed stands.
fn inline(settings: IntegrationSettings) -> IntegrationSettings {
    let settings = generated::knowing_buckets(settings);
    IntegrationSettings { inline_policies: true, ..settings }
}

async fn house() -> House {
    generated::house_of(&[], inline).await
}

/// Somebody changes the permission set that was made.
fn change(cloud: &Cloud, change: impl FnOnce(&mut PermissionSet)) {
    let mut world = cloud.sim.world();
    let organization = world.organizations.get_mut(&cloud.organization).expect("an organization");
    let mut sets = organization.directory.permission_sets.iter_mut();
    change(sets.find(|set| set.name.starts_with("apono-")).expect("a set"));
}

fn reads(cloud: &Cloud, bucket: &str) -> bool {
    may(cloud, 1, "s3:GetObject", &format!("{bucket}/a"))
}

/// Nothing of IAM was changed.
fn spares_iam(cloud: &Cloud) -> bool {
    let world = cloud.sim.world();
    let reading = ["iam:Get", "iam:List", "iam:Simulate"];
    let of_iam = world.journal.iter().filter(|one| one.action.starts_with("iam:"));
    of_iam.into_iter().all(|one| reading.iter().any(|reading| one.action.starts_with(reading)))
}

#[tokio::test]
async fn it_allows_what_was_asked_for_until_its_second_and_changes_nothing_of_iam() {
    let mut house = house().await;
    assert!(!reads(&house.cloud, BUCKET));
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    let active = house.api.wait_for_grant("g1", GrantState::Active).await;
    let (unit, cloud) = (&active.units[0], &house.cloud);
    assert_eq!(unit.mechanism, "aws-generated-inline-access");
    assert!(unit.is_self_ending);
    assert!(reads(cloud, BUCKET) && !reads(cloud, OTHER_BUCKET));
    assert!(!may(cloud, 1, "s3:PutObject", &format!("{BUCKET}/a")));
    assert!(!may(cloud, 2, "s3:GetObject", &format!("{BUCKET}/a")), "somebody else");
    let set = made(cloud).concat();
    assert_eq!(set.len(), 32, "a set alone: {set}");
    let link = &unit.details.as_ref().expect("details").sign_in_url;
    assert!(link.contains(&format!("role_name={set}&")), "{link}");
    assert!(spares_iam(cloud));
    assert_eq!(house.calls("sso:ProvisionPermissionSet"), 0, "the assignment has done that");

    house.daemon.kill();
    house.pass(3601).await;
    assert!(!reads(&house.cloud, BUCKET), "with nobody to remove it");
    house.start_again().await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(made(&house.cloud), [""; 0]);
    assert_eq!(house.access_of(&ann(1)), [""; 0]);
}

#[tokio::test]
async fn a_further_grant_in_the_account_is_provisioned_and_another_account_has_its_own_set() {
    let house = house().await;
    let cloud = &house.cloud;
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    house.api.grant(on("g2", 1, "READ_ONLY", OTHER_BUCKET)).await;
    house.api.wait_for_grant("g2", GrantState::Active).await;
    assert!(reads(cloud, BUCKET) && reads(cloud, OTHER_BUCKET));
    assert_eq!(made(cloud).len(), 1);
    assert_eq!(house.calls("sso:ProvisionPermissionSet"), 1);
    house.api.grant(on("g3", 1, "READ_ONLY", "arn:aws:s3:::elsewhere")).await;
    house.api.wait_for_grant("g3", GrantState::Active).await;
    assert_eq!(made(cloud).len(), 2, "one for each account");
    let unit = "SELECT count(*) FROM connector.acts WHERE grant_id = 'g1' AND detail = 'PENDING'";
    assert_eq!(house.database.count(unit).await, 0, "whoever had access keeps it");

    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert!(!reads(cloud, BUCKET) && reads(cloud, OTHER_BUCKET));
    for id in ["g2", "g3"] {
        house.api.revoke(id).await;
        house.api.wait_for_grant(id, GrantState::Ended).await;
    }
    assert_eq!(made(cloud), [""; 0]);
    assert!(spares_iam(cloud));
}

#[tokio::test]
async fn lost_answers_leave_nothing_behind() {
    for action in [
        "sso:CreatePermissionSet",
        "sso:DeletePermissionSet",
        "sso:PutInlinePolicyToPermissionSet",
        "sso:PutPermissionsBoundaryToPermissionSet",
        "sso:ProvisionPermissionSet",
    ] {
        let house = house().await;
        house.cloud.sim.world().faults.push(Fault::new(Effect::Cut).on(action).times(1));
        for (id, bucket) in [("g1", BUCKET), ("g2", OTHER_BUCKET)] {
            house.api.grant(on(id, 1, "READ_ONLY", bucket)).await;
            house.api.wait_for_grant(id, GrantState::Active).await;
            assert!(reads(&house.cloud, bucket), "{action}");
        }
        for id in ["g1", "g2"] {
            house.api.revoke(id).await;
            house.api.wait_for_grant(id, GrantState::Ended).await;
        }
        assert_eq!(made(&house.cloud), [""; 0], "{action}");
    }
}

#[tokio::test]
async fn what_somebody_does_to_the_set_is_undone_and_provisioned() {
    let house = house().await;
    let cloud = &house.cloud;
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    change(cloud, |set| {
        all.clone_into(&mut set.inline);
        set.boundary = None;
    });
    // A look that was under way may have seen a part of the change alone, and undone that first.
    wait_for("its undoing", || async {
        let mut is_undone = false;
        change(cloud, |set| {
            is_undone = !set.inline.contains("s3:*") && set.boundary.is_some();
        });
        let is_provisioned = house.calls("sso:ProvisionPermissionSet") > 0;
        let writes = may(cloud, 1, "s3:PutObject", &format!("{BUCKET}/a"));
        (is_undone && is_provisioned && !writes).then_some(())
    })
    .await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    assert!(reads(cloud, BUCKET));
}

#[tokio::test]
async fn a_policy_that_would_be_too_long_refuses_the_grant_before_anything_is_done() {
    let house = house().await;
    // Each with statements of its own, since its end is.
    for number in 0..20 {
        let id = format!("g{number}");
        let request = on(&id, 1, "READ_WRITE", BUCKET);
        let refused = generated::failed_step(&house, &request).await;
        if !refused.is_empty() {
            assert!(refused.contains("POLICY_FULL"), "{refused}");
            house.api.grant(request).await;
            let failed = house.api.wait_for_grant(&id, GrantState::Failed).await;
            assert_eq!(failed.units[0].refusal.clone().expect("one").reason, "POLICY_FULL");
            assert!(number > 5, "there is room for more than in a policy of an account");
            return;
        }
        house.api.grant(request).await;
        house.api.wait_for_grant(&id, GrantState::Active).await;
    }
    panic!("there is room for all");
}

#[tokio::test]
async fn a_stack_with_the_other_way_alone_is_told() {
    let house = house().await;
    let said = async || {
        let settings = Some(inline(settings(&house.cloud)));
        let request = ValidateIntegrationRequest { settings, ..Default::default() };
        let answer = house.api.integrations().validate_integration(request).await.expect("steps");
        let mut steps = answer.into_inner().steps.into_iter();
        steps.find(|step| step.code == "ACCESS_ACTIONS").expect("a step")
    };
    assert_eq!(said().await.outcome(), StepOutcome::Passed);
    let deployment = house.cloud.deployment_with(&[("GeneratedAccess", "Enabled")]);
    house.cloud.sim.world().deploy(&house.cloud.organization, &deployment);
    let step = said().await;
    assert_eq!(step.outcome(), StepOutcome::Warning);
    assert!(step.finding.contains("wants aws-generated-inline-access"), "{}", step.finding);
    assert!(step.remedy.contains("GeneratedInlineAccess"), "{}", step.remedy);
}

#[tokio::test]
async fn a_shell_is_terminated_as_by_policies_of_the_account() {
    let house = house().await;
    let cloud = &house.cloud;
    sessions::with_instance(cloud);
    house.api.sync("prod").await;
    house.api.grant(on("g1", 1, "CONNECT", INSTANCE)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    sessions::shell(cloud, 1).expect("a shell");
    house.api.revoke("g1").await;
    house.api.wait_for_grant("g1", GrantState::Ended).await;
    assert_eq!(sessions::open(cloud), [""; 0]);
    assert_eq!(made(cloud), [""; 0]);
}

#[tokio::test]
async fn a_provisioning_that_fails_is_told_and_tried_again() {
    let house = house().await;
    let cloud = &house.cloud;
    house.api.grant(on("g1", 1, "READ_ONLY", BUCKET)).await;
    house.api.wait_for_grant("g1", GrantState::Active).await;
    {
        let mut world = cloud.sim.world();
        let organization = world.organizations.get_mut(&cloud.organization).expect("one");
        let turn = aws_sim::assignment::Turn {
            fails: Some("Received a 500 status error: InternalFailure".to_owned()),
            ..Default::default()
        };
        organization.directory.pace.next.push_back(turn);
    }
    house.api.grant(on("g2", 1, "READ_ONLY", OTHER_BUCKET)).await;
    house.api.wait_for_grant("g2", GrantState::Active).await;
    assert!(house.calls("sso:ProvisionPermissionSet") >= 2);
    let first = &house.api.get_grant("g1").await.units[0];
    assert_eq!(first.state(), UnitState::Active);
    assert!(reads(cloud, OTHER_BUCKET));
}
