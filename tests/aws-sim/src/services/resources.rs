//! What a call is about: the ARNs by which policies judge it, beside its action, and the condition
//! keys.
//!
//! Told of calls that change access, and of those that go before them; the others are judged by
//! action and the keys that every call has. Sources: "Actions, resources, and condition keys" for AWS
//! Identity Store, for AWS IAM Identity Center and for AWS IAM in the service authorization reference:
//! each of the resources there is required, but for a call that tags.

use std::collections::BTreeMap;

use chrono::SecondsFormat;

use super::{
    iam_policies, iam_roles, iam_users, memberships, sqs, ssm_documents, sso, sso_sets, tags,
};
use crate::{
    condition::Context,
    iam_user::{group_arn, user_arn},
    identity::Session,
    managed_policy::PolicyName,
    policy,
    request::Call,
    text::Text,
    world::World,
};

/// One thing that a call is about.
pub(crate) struct Subject {
    /// Its ARN.
    pub(crate) arn: String,
    /// The condition keys that it has by itself.
    pub(crate) keys: Context,
}

impl Subject {
    fn new(arn: String) -> Self {
        Self { arn, keys: Context::default() }
    }

    fn tagged(mut self, tags: &BTreeMap<Text, Text>) -> Self {
        for (key, value) in tags {
            let key = format!("aws:ResourceTag/{}", key.lossy());
            self.keys = self.keys.with(&key, value.lossy());
        }
        self
    }
}

/// The action that the policies of a session do not allow, of those that a call needs; none: they
/// allow it.
pub(crate) fn refused(world: &World, session: &Session, call: &Call) -> Option<String> {
    let documents = world.policies(session);
    let subjects = judged(world, session, call);
    let context = asked(world, session, call);
    let allows = |action: &str| {
        let mut subjects = subjects.iter();
        if subjects.len() == 0 {
            return policy::allows(documents, action, None, &context);
        }
        subjects.all(|subject| {
            let context = context.clone().and(&subject.keys).and(&elsewhere(world, subject));
            policy::allows(documents, action, Some(&subject.arn), &context)
        })
    };
    actions(call).into_iter().find(|action| !allows(action))
}

/// Whether the policies of a session allow an action on something.
pub(super) fn may(world: &World, session: &Session, action: &str, arn: &str) -> bool {
    policy::allows(world.policies(session), action, Some(arn), &Context::default())
}

/// The tags of what another emulator has.
fn elsewhere(world: &World, subject: &Subject) -> Context {
    let tags = world.tags_elsewhere.get(&subject.arn);
    tags.map(|tags| Subject::new(String::new()).tagged(tags).keys).unwrap_or_default()
}

/// The actions that a call needs. A policy or a document that is made with tags is tagged, too ("Tagging
/// customer managed policies" in the IAM user guide; `CreateDocument` in the service authorization reference
/// of Systems Manager depends on `ssm:AddTagsToResource`).
fn actions(call: &Call) -> Vec<String> {
    let mut actions = vec![call.action()];
    let tagging = match actions[0].as_str() {
        "iam:CreatePolicy" => "iam:TagPolicy",
        "ssm:CreateDocument" => "ssm:AddTagsToResource",
        _ => return actions,
    };
    if !tags::given(call).is_empty() {
        actions.push(tagging.to_owned());
    }
    actions
}

/// The condition keys of a call, whatever it is about.
fn asked(world: &World, session: &Session, call: &Call) -> Context {
    let name = session.arn.rsplit('/').next().unwrap_or_default();
    let now = world.clock.now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut context = Context::default()
        .with("aws:CurrentTime", now)
        .with("aws:PrincipalAccount", &session.account)
        .with("aws:PrincipalArn", &session.role_arn)
        .with("aws:RequestedRegion", &call.region)
        .with("aws:SecureTransport", "true")
        .with("aws:userid", format!("AROASIM:{name}"));
    if let Some(organization) = world.organization_of(&session.account) {
        context = context.with("aws:PrincipalOrgID", &organization.id);
    }
    if !session.source_identity.is_empty() {
        context = context.with("aws:SourceIdentity", &session.source_identity);
    }
    for (key, value) in &session.tags {
        context = context.with(&format!("aws:PrincipalTag/{key}"), value);
    }
    let given = tags::given(call);
    let mut keys = tags::keys(call);
    for (key, value) in given {
        context = context.with(&format!("aws:RequestTag/{key}"), value);
        keys.push(key);
    }
    if keys.is_empty() { context } else { context.with_all("aws:TagKeys", keys) }
}

/// What a call is about; nothing: it is judged by action alone.
pub(crate) fn judged(world: &World, session: &Session, call: &Call) -> Vec<Subject> {
    match call.service.as_str() {
        "sso" => of_instance(world, session, call),
        "iam" if iam_policies::is_about(call) => vec![of_policy(world, session, call)],
        "iam" if iam_roles::is_about(call) => vec![of_role(world, session, call)],
        "iam" if iam_users::is_about(call) => vec![of_user(world, session, call)],
        "ssm" if call.operation == "TerminateSession" => vec![of_session(session, call)],
        "ssm" if ssm_documents::is_about(call) => vec![of_document(world, session, call)],
        "identitystore" if memberships::is_about(call) => {
            membership(world, session, call).into_iter().map(Subject::new).collect()
        }
        "s3" if !call.bucket.is_empty() => of_bucket(session, call),
        "sqs" if call.operation.contains("Message") => {
            vec![Subject::new(sqs::arn_of(partition(session), call))]
        }
        _ => Vec::new(),
    }
}

/// A bucket, or a file in it.
fn of_bucket(session: &Session, call: &Call) -> Vec<Subject> {
    let bucket = format!("arn:{}:s3:::{}", partition(session), call.bucket);
    let key = call.key();
    vec![Subject::new(if key.is_empty() { bucket } else { format!("{bucket}/{key}") })]
}

/// A policy of the caller's account, with the tags that it has by now, though they may not show yet.
fn of_policy(world: &World, session: &Session, call: &Call) -> Subject {
    let form = |name: &str| call.form.get(name).map(String::as_str);
    let account = &session.account;
    let arn = match form("PolicyArn") {
        Some(arn) => arn.to_owned(),
        None => PolicyName::new(
            form("Path").filter(|path| !path.is_empty()).unwrap_or("/"),
            form("PolicyName").unwrap_or_default(),
        )
        .arn(partition(session), account),
    };
    let subject = Subject::new(arn);
    let subject = Subject { keys: subject.keys.with("aws:ResourceAccount", account), ..subject };
    let name = PolicyName::of_arn(&subject.arn).filter(|_| call.operation != "CreatePolicy");
    let found = name.and_then(|name| world.accounts.get(account)?.managed_policies.get(&name));
    match found {
        Some(policy) => subject.tagged(&policy.tags),
        None => subject,
    }
}

/// A role of the caller's account, with its tags.
fn of_role(world: &World, session: &Session, call: &Call) -> Subject {
    let name = iam_policies::form(call, "RoleName");
    let arn = format!("arn:{}:iam::{}:role/{name}", partition(session), session.account);
    let found = world.accounts.get(&session.account).and_then(|account| account.roles.get(name));
    let tags = found.map(|role| role.tags.clone()).unwrap_or_default();
    Subject::new(arn).tagged(&tags)
}

/// A user of the caller's account, with its tags; who joins a group, or leaves it, is about the group.
fn of_user(world: &World, session: &Session, call: &Call) -> Subject {
    let (partition, account) = (partition(session), &session.account);
    let found = world.accounts.get(account);
    if matches!(call.operation.as_str(), "AddUserToGroup" | "RemoveUserFromGroup") {
        let name = iam_policies::form(call, "GroupName");
        let group = found.and_then(|found| found.iam_groups.get(name));
        let path = group.map(|group| group.path.as_str()).unwrap_or_default();
        return Subject::new(group_arn(partition, account, path, name));
    }
    let name = iam_policies::form(call, "UserName");
    let user = found.and_then(|found| found.iam_users.get(name)).cloned().unwrap_or_default();
    let subject = Subject::new(user_arn(partition, account, &user.path, name)).tagged(&user.tags);
    match iam_policies::form(call, "PolicyArn") {
        "" => subject,
        policy => Subject { keys: subject.keys.with("iam:PolicyARN", policy), ..subject },
    }
}

/// A session of Session Manager.
fn of_session(session: &Session, call: &Call) -> Subject {
    let (partition, account, id) = (partition(session), &session.account, call.text("SessionId"));
    Subject::new(format!("arn:{partition}:ssm:{}:{account}:session/{id}", call.region))
}

/// A document of the caller's account, with its tags.
fn of_document(world: &World, session: &Session, call: &Call) -> Subject {
    let (partition, account, name) = (partition(session), &session.account, call.text("Name"));
    let key = (call.region.clone(), name.to_owned());
    let found = world.accounts.get(account).and_then(|account| account.session_documents.get(&key));
    let tags = found.map(|document| document.tags.clone()).unwrap_or_default();
    Subject::new(format!("arn:{partition}:ssm:{}:{account}:document/{name}", call.region))
        .tagged(&tags)
}

/// The instance, a permission set and an account, as far as a call names them. A call that tags is
/// about the permission set alone.
fn of_instance(world: &World, session: &Session, call: &Call) -> Vec<Subject> {
    let organization = sso::organization(world, session, call);
    let is_named = |arn: &&str| !arn.is_empty();
    let tagged = Some(call.text("ResourceArn")).filter(is_named);
    let instance = Some(call.text("InstanceArn")).filter(is_named).filter(|_| tagged.is_none());
    let set = tagged.or(Some(call.text("PermissionSetArn")).filter(is_named));
    let account = [call.text("TargetId"), call.text("AccountId")].into_iter().find(is_named);
    let made = organization.filter(|_| call.operation == "CreatePermissionSet");
    let made = made.map(|found| Subject::new(sso::arn(found, &sso_sets::next_id(found))));
    let set = set.map(|arn| {
        let found = organization.and_then(|found| sso::permission_set(found, arn).ok());
        let subject = Subject::new(arn.to_owned());
        found.map_or_else(|| Subject::new(arn.to_owned()), |set| subject.tagged(&set.tags))
    });
    let account =
        account.map(|id| Subject::new(format!("arn:{}:sso:::account/{id}", partition(session))));
    let instance = instance.map(|arn| Subject::new(arn.to_owned()));
    let region = organization.map(|found| found.sso_region.as_str()).unwrap_or_default();
    let mut subjects: Vec<Subject> = [instance, set, made, account].into_iter().flatten().collect();
    for subject in &mut subjects {
        let keys = std::mem::take(&mut subject.keys);
        subject.keys = keys.with("sso:PrimaryRegion", region);
    }
    subjects
}

/// The store, and what there is of group, user and membership: who removes one names its id
/// alone.
fn membership(world: &World, session: &Session, call: &Call) -> Vec<String> {
    let organization = world.organization_of(&session.account);
    let owner = organization.map_or(&session.account, |found| &found.management);
    let directory = organization.map(|found| &found.directory);
    let (group, user, membership) = match call.operation.as_str() {
        "DeleteGroupMembership" => {
            let id = call.text("MembershipId");
            let found = directory.and_then(|directory| directory.membership(id));
            let (group, user) = found.unwrap_or_default();
            (group, user, Some(id.to_owned()))
        }
        "GetGroupMembershipId" => {
            let (group, user) = (call.text("GroupId"), call.member());
            let id = directory.and_then(|directory| directory.membership_id(group, user));
            (group, user, id)
        }
        _ => (call.text("GroupId"), call.member(), None),
    };
    let partition = partition(session);
    let store = call.text("IdentityStoreId");
    let named = |kind: &str, id: &str| {
        (!id.is_empty()).then(|| format!("arn:{partition}:identitystore:::{kind}/{id}"))
    };
    [
        Some(format!("arn:{partition}:identitystore::{owner}:identitystore/{store}")),
        named("group", group),
        named("user", user),
        named("membership", membership.as_deref().unwrap_or_default()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn partition(session: &Session) -> &str {
    session.role_arn.split(':').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        services::tests::{GROUPS, MANAGEMENT, MEMBER, ORGANIZATION, USERS, call, session, world},
        template::Role,
    };

    const STORE: &str = "arn:aws:identitystore::111111111111:identitystore/d-test123456";
    const GROUP: &str = "arn:aws:identitystore:::group/g-00000000";
    const USER: &str = "arn:aws:identitystore:::user/9067642ac7-00000000";
    const INSTANCE: &str = "arn:aws:sso:::instance/ssoins-test123456";
    const SET: &str = "arn:aws:sso:::permissionSet/ssoins-test123456/ps-0000000000000001";

    fn of(world: &World, service: &str, operation: &str, json: Value) -> Vec<String> {
        let about = judged(world, &session(world), &call(service, operation, json));
        about.into_iter().map(|subject| subject.arn).collect()
    }

    fn about(world: &World, operation: &str, json: Value) -> Vec<String> {
        of(world, "identitystore", operation, json)
    }

    /// A call of IAM.
    fn query(operation: &str, parameters: &[(&str, &str)]) -> Call {
        let mut call = call("iam", operation, json!({}));
        call.form = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        call
    }

    /// What the role of the management account may not, once it has these statements.
    fn refuses(world: &mut World, statements: &Value, call: &Call) -> Option<String> {
        let document = json!({ "Version": "2012-10-17", "Statement": statements });
        let (name, trust, policies) = ("access".to_owned(), json!({}), vec![document]);
        let role = Role { name: name.clone(), trust, policies, ..Role::default() };
        world.account(MANAGEMENT).roles.insert(name, role);
        let session = session(world);
        refused(world, &session, call)
    }

    #[test]
    fn a_membership_is_judged_by_its_store_its_group_its_user_and_itself() {
        let world = world();
        let directory = &world.organizations[ORGANIZATION].directory;
        let id = directory.membership_id(GROUPS[0], USERS[0]).expect("a membership");
        let membership = format!("arn:aws:identitystore:::membership/{id}");
        let named = json!({ "GroupId": GROUPS[0], "MemberId": { "UserId": USERS[0] } });
        let whole = [STORE, GROUP, USER, membership.as_str()];
        assert_eq!(about(&world, "CreateGroupMembership", named.clone()), whole[..3]);
        assert_eq!(about(&world, "GetGroupMembershipId", named), whole);
        assert_eq!(about(&world, "DeleteGroupMembership", json!({ "MembershipId": id })), whole);

        let absent = json!({ "GroupId": GROUPS[0], "MemberId": { "UserId": USERS[1] } });
        let found = about(&world, "GetGroupMembershipId", absent);
        let other = format!("arn:aws:identitystore:::user/{}", USERS[1]);
        assert_eq!(found, [STORE, GROUP, other.as_str()]);
        let unknown = about(&world, "DeleteGroupMembership", json!({ "MembershipId": "none" }));
        assert_eq!(unknown, [STORE, "arn:aws:identitystore:::membership/none"]);
        assert_eq!(about(&world, "ListGroups", json!({})), [""; 0]);
    }

    #[test]
    fn who_may_not_touch_the_group_may_not_remove_its_memberships() {
        let mut world = world();
        let directory = &world.organizations[ORGANIZATION].directory;
        let id = directory.membership_id(GROUPS[0], USERS[0]).expect("a membership");
        let deletion =
            call("identitystore", "DeleteGroupMembership", json!({ "MembershipId": id }));
        let mut may = |left_out: usize| {
            let patterns = [
                "arn:aws:identitystore::111111111111:identitystore/*",
                "arn:aws:identitystore:::group/*",
                "arn:aws:identitystore:::user/*",
                "arn:aws:identitystore:::membership/*",
            ];
            let patterns: Vec<&str> =
                (0..patterns.len()).filter(|at| *at != left_out).map(|at| patterns[at]).collect();
            let allow = json!({ "Effect": "Allow", "Action": "*", "Resource": patterns });
            refuses(&mut world, &allow, &deletion).is_none()
        };
        assert!(may(4), "all are allowed");
        for left_out in 0..4 {
            assert!(!may(left_out), "{left_out}");
        }
    }

    #[test]
    fn an_assignment_is_judged_by_its_instance_its_set_and_its_account() {
        let world = world();
        let named = json!({ "TargetId": MEMBER, "PermissionSetArn": SET });
        for operation in ["CreateAccountAssignment", "DeleteAccountAssignment"] {
            let about = of(&world, "sso", operation, named.clone());
            assert_eq!(about, [INSTANCE, SET, "arn:aws:sso:::account/222222222222"]);
        }
        let made = of(&world, "sso", "CreatePermissionSet", json!({}));
        assert_eq!(made[0], INSTANCE);
        assert!(made[1].starts_with("arn:aws:sso:::permissionSet/ssoins-test123456/ps-a"));
        let tagging = of(&world, "sso", "TagResource", json!({ "ResourceArn": SET }));
        assert_eq!(tagging, [SET]);
    }

    #[test]
    fn a_permission_set_is_changed_only_with_the_tag_that_is_asked_for() {
        let mut world = world();
        // The second seeded set is blue.
        let allow = |key: &str, value: &str| {
            json!([
                { "Effect": "Allow", "Action": "sso:*", "Resource": [INSTANCE, "arn:aws:sso:::account/*"] },
                {
                    "Effect": "Allow",
                    "Action": "sso:*",
                    "Resource": "arn:aws:sso:::permissionSet/*",
                    "Condition": { "StringEquals": { key: value } },
                },
            ])
        };
        let put = call("sso", "PutInlinePolicyToPermissionSet", json!({ "PermissionSetArn": SET }));
        let blue = allow("aws:ResourceTag/team", "blue");
        assert_eq!(refuses(&mut world, &blue, &put), None);
        let red = allow("aws:ResourceTag/team", "red");
        let refused = refuses(&mut world, &red, &put);
        assert_eq!(refused.as_deref(), Some("sso:PutInlinePolicyToPermissionSet"));

        let tags = json!({ "Tags": [{ "Key": "by", "Value": "us" }] });
        let create = call("sso", "CreatePermissionSet", tags);
        let ours = allow("aws:RequestTag/by", "us");
        assert_eq!(refuses(&mut world, &ours, &create), None);
        assert!(refuses(&mut world, &blue, &create).is_some());
        let untagged = call("sso", "CreatePermissionSet", json!({}));
        assert!(refuses(&mut world, &ours, &untagged).is_some());
        let keys = json!({ "ResourceArn": SET, "TagKeys": ["by"] });
        let untag = call("sso", "UntagResource", keys);
        let deny = json!([
            { "Effect": "Allow", "Action": "*", "Resource": "*" },
            {
                "Effect": "Deny",
                "Action": "sso:UntagResource",
                "Resource": "*",
                "Condition": { "ForAnyValue:StringEquals": { "aws:TagKeys": "by" } },
            },
        ]);
        assert_eq!(refuses(&mut world, &deny, &untag).as_deref(), Some("sso:UntagResource"));
    }

    #[test]
    fn a_policy_is_judged_by_its_arn_and_its_tags_and_whoever_makes_it_with_tags_tags_it() {
        let mut world = world();
        let create = query(
            "CreatePolicy",
            &[
                ("Path", "/ours/"),
                ("PolicyName", "ann"),
                ("Tags.member.1.Key", "by"),
                ("Tags.member.1.Value", "us"),
            ],
        );
        let on = |actions: Value, key: &str| {
            json!({
                "Effect": "Allow",
                "Action": actions,
                "Resource": format!("arn:aws:iam::{MANAGEMENT}:policy/ours/*"),
                "Condition": { "StringEquals": { key: "us" } },
            })
        };
        let both = json!(["iam:CreatePolicy", "iam:TagPolicy"]);
        assert_eq!(refuses(&mut world, &on(both, "aws:RequestTag/by"), &create), None);
        let one = on(json!(["iam:CreatePolicy"]), "aws:RequestTag/by");
        assert_eq!(refuses(&mut world, &one, &create).as_deref(), Some("iam:TagPolicy"));

        world.put_policy(MANAGEMENT, "/ours/", "ann", "{}");
        let arn = format!("arn:aws:iam::{MANAGEMENT}:policy/ours/ann");
        let delete = query("DeletePolicy", &[("PolicyArn", &arn)]);
        let ours = on(json!("iam:DeletePolicy"), "aws:ResourceTag/by");
        assert_eq!(refuses(&mut world, &ours, &delete).as_deref(), Some("iam:DeletePolicy"));
        let name = PolicyName::new("/ours/", "ann");
        let policy = world.account(MANAGEMENT).managed_policies.get_mut(&name);
        policy.expect("a policy").tags.insert("by".into(), "us".into());
        assert_eq!(refuses(&mut world, &ours, &delete), None);
        let elsewhere = query("DeletePolicy", &[("PolicyArn", &arn.replace("ours/", ""))]);
        assert!(refuses(&mut world, &ours, &elsewhere).is_some());
    }
}
