//! What lies in IAM against moto: generated access, roles that are assumed, and users of IAM; granted, seen
//! by a boto3 client, revoked, and all is as it was.

use apono_connector_proto::v1::{AccessUnit, GrantState, recipient::Who};
use aws_sdk_iam::types::Tag;
use aws_sim::{iam_user::IamGroup, text::Text};

use super::{
    Moto,
    access::{Scene, Served, grant},
};

/// Tells everything of IAM in an account, of Identity Center, and of its groups, one thing a line.
const TELL: &str = "
import boto3, json, sys
url, account, instance, store = sys.argv[1:]
def client(service, keys, region='eu-west-1'):
    return boto3.client(service, endpoint_url=url, region_name=region, **keys)
own = dict(aws_access_key_id='AKIASEED', aws_secret_access_key='secret')
role = client('sts', own).assume_role(RoleArn=f'arn:aws:iam::{account}:role/tell', RoleSessionName='tell')
there = role['Credentials']
keys = dict(aws_access_key_id=there['AccessKeyId'], aws_secret_access_key=there['SecretAccessKey'],
            aws_session_token=there['SessionToken'])
iam = client('iam', keys, 'us-east-1')
for page in iam.get_paginator('get_account_authorization_details').paginate():
    for kind in ('UserDetailList', 'GroupDetailList', 'RoleDetailList', 'Policies'):
        for one in page[kind]:
            if ':policy/' not in one['Arn'] or account in one['Arn']:
                one.pop('RoleLastUsed', None), one.pop('UpdateDate', None)
                print(one['Arn'], json.dumps(one, default=str, sort_keys=True))
sso = client('sso-admin', own)
for arn in sso.list_permission_sets(InstanceArn=instance)['PermissionSets']:
    set = sso.describe_permission_set(InstanceArn=instance, PermissionSetArn=arn)['PermissionSet']
    refers = sso.list_customer_managed_policy_references_in_permission_set(InstanceArn=instance, PermissionSetArn=arn)
    held = sso.list_account_assignments(InstanceArn=instance, AccountId=account, PermissionSetArn=arn)
    print(set['Name'], refers['CustomerManagedPolicyReferences'], held['AccountAssignments'])
identities = client('identitystore', own)
for group in identities.list_groups(IdentityStoreId=store)['Groups']:
    members = identities.list_group_memberships(IdentityStoreId=store, GroupId=group['GroupId'])
    print(group['GroupId'], members['GroupMemberships'])
";

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const READS: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sqs:GetQueueUrl","Resource":"*"}]}"#;

fn tag() -> Tag {
    Tag::builder().key("apono:grantable").value("true").build().expect("a tag")
}

/// A user, a group, a policy, a role and a bucket, of which all may be granted.
async fn furnish(moto: &Moto, account: &str) {
    let iam = aws_sdk_iam::Client::new(&moto.config(account, "us-east-1").await);
    iam.create_user().user_name("eve").tags(tag()).send().await.expect("a user");
    let put = iam.put_user_policy().user_name("eve").policy_name("own").policy_document(READS);
    put.send().await.expect("a policy");
    for (path, group) in [("/apono-grantable/", "readers"), ("/", "staff")] {
        iam.create_group().path(path).group_name(group).send().await.expect("a group");
    }
    iam.add_user_to_group().user_name("eve").group_name("staff").send().await.expect("a member");
    let policy = iam.create_policy().path("/apono-grantable/").policy_name("reads");
    policy.policy_document(READS).send().await.expect("a policy");
    let role = iam.create_role().role_name("deploy").assume_role_policy_document(TRUST);
    role.tags(tag()).send().await.expect("a role");
    let s3 = aws_sdk_s3::Client::new(&moto.config(account, "us-east-1").await);
    s3.create_bucket().bucket("logs").send().await.expect("a bucket");
}

#[tokio::test]
async fn all_of_iam_is_granted_seen_and_revoked_and_the_rest_stays() {
    let (scene, organization, root) = Box::pin(Scene::seed()).await;
    let account = scene.account.clone();
    furnish(&scene.moto, &account).await;
    let eve = format!("arn:aws:iam::{account}:user/eve");
    let role = format!("arn:aws:iam::{account}:role/deploy");
    let types = ["aws-iam-group", "aws-iam-policy", "aws-iam-role", "aws-s3-bucket"];
    let served = Served::start_with(&scene, &organization, root, &types, |world| {
        let tags = || [(Text::from("apono:grantable"), Text::from("true"))].into();
        world.tags_elsewhere.insert(eve.clone(), tags());
        world.tags_elsewhere.insert(role.clone(), tags());
        let readers = IamGroup { path: "/apono-grantable/".to_owned(), ..IamGroup::default() };
        world.account(&account).iam_groups.insert("readers".to_owned(), readers);
    })
    .await;
    let api = &served.api;
    let tell = || scene.python(TELL, &[&account, &scene.instance, &scene.identity_store]);
    let before = tell();
    let on = |permission: &str, resource: String| AccessUnit {
        resource,
        permission: permission.to_owned(),
        ..Default::default()
    };
    let iam = |rest: &str| format!("arn:aws:iam::{account}:{rest}");
    let ann = || Who::UserName("ann".to_owned());
    let user = || Who::IamUserArn(eve.clone());
    let logs = || "arn:aws:s3:::logs".to_owned();
    let grants = [
        ("bucket", on("READ_ONLY", logs()), ann(), "s3:GetObject"),
        ("more", on("READ_WRITE", logs()), ann(), "s3:PutObject"),
        ("role", on("ASSUME", role.clone()), ann(), "AWSReservedSSO_apono-"),
        ("member", on("MEMBER", iam("group/apono-grantable/readers")), user(), "\"readers\""),
        ("attach", on("ATTACH", iam("policy/apono-grantable/reads")), user(), "grantable/reads\""),
        ("user", on("READ_ONLY", logs()), user(), "s3:GetObject"),
    ];
    let mut seen = before.clone();
    for (id, unit, who, shows) in grants.clone() {
        grant(api, id, unit, who).await;
        let now = tell();
        let is_new = |line: &&String| !seen.contains(line) && line.contains(shows);
        assert!(now.iter().any(|line| is_new(&line)), "{id}: {now:#?}");
        seen = now;
    }
    for (id, ..) in grants {
        api.revoke(id).await;
        api.wait_for_grant(id, GrantState::Ended).await;
    }
    assert_eq!(tell(), before);
}
