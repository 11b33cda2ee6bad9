//! May somebody do something now? The answer of the policies of those permission sets that they
//! may use, as they are in the account.
//!
//! It is what the identity's side says. Policies of resources, service control policies and
//! sessions that were opened before are not asked. Of AWS managed policies two are known, and those
//! not by the letter ([`managed`]): whoever has another one may do nothing by it.

use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::{
    assignment::Principal,
    condition::Context,
    directory::{Boundary, Directory},
    managed_policy::PolicyName,
    policy,
    provisioning::Provisioned,
    trail::Door,
    world::{Account, Organization, World},
};

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question<'a> {
    /// Organization.
    pub organization: &'a str,
    /// Id of the user.
    pub user: &'a str,
    /// Account whose roles they use.
    pub account: &'a str,
    /// Action: `s3:GetObject`.
    pub action: &'a str,
    /// ARN of what they do it to.
    pub resource: &'a str,
    /// Condition keys of the request, beside those that follow from who asks, and when. What is
    /// told here counts.
    pub context: Context,
}

impl World {
    /// Whether somebody may do something now, through any permission set that they may use in the
    /// account.
    pub fn may(&mut self, question: &Question<'_>) -> bool {
        self.allowing(question).is_some()
    }

    /// The permission set, as it is in the account, by which somebody may do something now.
    pub(crate) fn allowing(&mut self, question: &Question<'_>) -> Option<Provisioned> {
        self.settle(question.organization);
        let organization = self.organizations.get(question.organization)?;
        let account = self.accounts.get(question.account)?;
        let directory = &organization.directory;
        let is_enabled =
            directory.users.iter().any(|one| one.id == question.user && !one.is_disabled);
        if !is_enabled || account.state != "ACTIVE" {
            return None;
        }
        held(directory, question).into_iter().find(|set| {
            let context = self.context(organization, set, question);
            let (action, resource) = (question.action, Some(question.resource));
            !self.organization_denies(question.account, action, resource, &context)
                && self.allows(account, set, question, &context)
        })
    }

    /// The role of a permission set of this name that somebody may use in an account; none: they may not.
    pub(crate) fn role_for(&self, door: &Door<'_>) -> Option<String> {
        let Door { organization, user, account, set } = *door;
        let directory = &self.organizations.get(organization)?.directory;
        let is_enabled = directory.users.iter().any(|one| one.id == user && !one.is_disabled);
        let question = Question { organization, user, account, ..Question::default() };
        let prefix = format!("AWSReservedSSO_{set}_");
        let is_meant =
            |role: &String| role.strip_prefix(&prefix).is_some_and(|rest| rest.len() == 16);
        let mut roles = held(directory, &question).into_iter().map(|held| held.role);
        roles.find(is_meant).filter(|_| is_enabled)
    }

    /// Whether a session of a role that Identity Center has made may do something now, whoever may use
    /// the role by now.
    pub(crate) fn role_may(&mut self, role: &str, question: &Question<'_>) -> bool {
        self.settle(question.organization);
        let Some(organization) = self.organizations.get(question.organization) else {
            return false;
        };
        let Some(account) = self.accounts.get(question.account) else { return false };
        let mut provisioned = organization.directory.provisioned.iter();
        let found = provisioned.find(|((at, _), one)| at == question.account && one.role == role);
        let Some((_, set)) = found else { return false };
        let context = self.context(organization, set, question);
        let (action, resource) = (question.action, Some(question.resource));
        !self.organization_denies(question.account, action, resource, &context)
            && self.allows(account, set, question, &context)
    }

    /// The same by user name or e-mail address, in the first organization that has such a user;
    /// none: no organization has.
    pub fn may_by_name(
        &mut self,
        user: &str,
        account: &str,
        action: &str,
        resource: &str,
    ) -> Option<bool> {
        let (organization, id) = self.user_by_name(user)?;
        Some(self.may(&Question {
            organization: &organization,
            user: &id,
            account,
            action,
            resource,
            context: Context::default(),
        }))
    }

    /// Whether somebody may assume a role of the account now, under a name for the session: by their
    /// permission sets and by the role's trust policy.
    pub fn may_assume(&mut self, question: &Question<'_>, role: &str, session: &str) -> bool {
        let Some(organization) = self.organizations.get(question.organization) else {
            return false;
        };
        let arn = format!("arn:{}:iam::{}:role/{role}", organization.partition, question.account);
        let question = Question {
            action: "sts:AssumeRole",
            resource: &arn,
            context: question.context.clone().with("sts:RoleSessionName", session),
            ..question.clone()
        };
        let Some(set) = self.allowing(&question) else { return false };
        let organization = &self.organizations[question.organization];
        let context = self.context(organization, &set, &question);
        let account = &self.accounts[question.account];
        let own = role_arn(organization, question.account, &set.role);
        account
            .roles
            .get(role)
            .is_some_and(|role| policy::admits(&role.trust, question.action, &own, &context))
    }

    /// Whether service control policies deny something in an account.
    pub(crate) fn organization_denies(
        &self,
        account: &str,
        action: &str,
        resource: Option<&str>,
        context: &Context,
    ) -> bool {
        let scps = self.organization_of(account).map(|found| found.scps.clone());
        let all = json!({ "Statement": { "Effect": "Allow", "Action": "*", "Resource": "*" } });
        let documents: Vec<Value> = scps.into_iter().flatten().chain([all]).collect();
        documents.len() > 1 && !policy::allows(&documents, action, resource, context)
    }

    /// Whether the policies of a set allow it, and its boundary does not cap that.
    fn allows(
        &self,
        account: &Account,
        set: &Provisioned,
        question: &Question<'_>,
        context: &Context,
    ) -> bool {
        let of_account = |name: &PolicyName| -> Option<Value> {
            let policy = account.visible_policy(name, self.clock.now())?;
            serde_json::from_str(policy.document()).ok()
        };
        let allows = |documents: &[Value]| {
            policy::allows(documents, question.action, Some(question.resource), context)
        };
        let inline = serde_json::from_str(&set.inline).ok();
        let of_aws = set.managed.iter().filter_map(|arn| managed(arn));
        let ours = set.customer_managed.iter().filter_map(of_account);
        let documents: Vec<Value> = inline.into_iter().chain(of_aws).chain(ours).collect();
        let bound = match &set.boundary {
            None => return allows(&documents),
            Some(Boundary::Managed(arn)) => managed(arn),
            Some(Boundary::Customer(name)) => of_account(name),
        };
        // A boundary that is not there, or not known, leaves nothing.
        allows(&documents) && bound.is_some_and(|bound| allows(&[bound]))
    }

    /// The condition keys of a request with the role of a set.
    fn context(
        &self,
        organization: &Organization,
        set: &Provisioned,
        question: &Question<'_>,
    ) -> Context {
        let mut users = organization.directory.users.iter();
        let user = users.find(|one| one.id == question.user);
        let name = user.map(|user| user.name.as_str()).unwrap_or_default();
        let now = self.clock.now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let context = Context::default()
            .with("aws:CurrentTime", now)
            .with("aws:PrincipalAccount", question.account)
            .with("aws:PrincipalArn", role_arn(organization, question.account, &set.role))
            .with("aws:PrincipalOrgID", &organization.id)
            .with("aws:SecureTransport", "true")
            .with("aws:userid", format!("{}:{name}", role_id(&set.role)))
            .with("identitystore:UserId", question.user);
        let owner = self.owner(question.resource);
        let context = match owner {
            Some(owner) => context.with("aws:ResourceAccount", owner),
            None => context,
        };
        context.and(&question.context)
    }

    /// The account of a resource: that of its ARN, or of the bucket that it is or lies in.
    pub(crate) fn owner<'a>(&'a self, resource: &'a str) -> Option<&'a str> {
        let mut parts = resource.splitn(6, ':').skip(2);
        let (service, _region, account) = (parts.next()?, parts.next()?, parts.next()?);
        if !account.is_empty() {
            return Some(account);
        }
        let bucket = parts.next()?.split('/').next().filter(|_| service == "s3")?;
        let mut accounts = self.accounts.iter();
        let (id, _) =
            accounts.find(|(_, account)| account.buckets.iter().any(|one| one.name == bucket))?;
        Some(id)
    }
}

/// The sets that the user of a question may use in its account.
fn held(directory: &Directory, question: &Question<'_>) -> Vec<Provisioned> {
    let held = directory.assignments.iter().filter(|assignment| {
        assignment.account == question.account
            && match &assignment.principal {
                Principal::User(id) => id == question.user,
                Principal::Group(id) => directory.is_member(id, question.user),
            }
    });
    held.filter_map(|assignment| {
        let set = directory.permission_set(&assignment.permission_set)?;
        let provisioned = directory.provisioned(question.account, &set.id).cloned();
        // Who writes an assignment into the directory provisions nothing.
        Some(provisioned.unwrap_or_else(|| Provisioned::of(set, set.created)))
    })
    .collect()
}

/// The ARN of a role that Identity Center has made.
#[must_use]
pub fn role_arn(organization: &Organization, account: &str, role: &str) -> String {
    let Organization { partition, sso_region, .. } = organization;
    // Where the service began, roles lie in no path of a region.
    let region = if sso_region == "us-east-1" { String::new() } else { format!("{sso_region}/") };
    format!("arn:{partition}:iam::{account}:role/aws-reserved/sso.amazonaws.com/{region}{role}")
}

/// The ARN of a session that somebody has opened with such a role.
#[must_use]
pub fn session_arn(partition: &str, account: &str, role: &str, name: &str) -> String {
    format!("arn:{partition}:sts::{account}:assumed-role/{role}/{name}")
}

/// The id of a role that Identity Center has made: another one each time that it is made.
#[must_use]
pub fn role_id(role: &str) -> String {
    let suffix = role.rsplit('_').next().unwrap_or_default();
    format!("AROASIM{}", suffix.to_ascii_uppercase())
}

/// An AWS managed policy, as far as it is known; none: it is not.
pub(crate) fn managed(arn: &str) -> Option<Value> {
    let actions = match arn.rsplit_once(":aws:policy/")?.1 {
        "AdministratorAccess" => json!("*"),
        "ReadOnlyAccess" => json!(["*:Describe*", "*:Get*", "*:List*"]),
        _ => return None,
    };
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": "*" });
    Some(json!({ "Version": "2012-10-17", "Statement": statement }))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{assignment::Assignment, directory::PermissionSet, seed, world::Bucket};

    const ORGANIZATION: &str = "o-test123456";
    const ACCOUNT: &str = "222222222222";
    const OTHER: &str = "333333333333";
    /// The first user is disabled.
    const USER: &str = "9067642ac7-00000001";
    const SET: &str = "ps-ours";
    const OBJECT: &str = "arn:aws:s3:::payments-data/a/b";

    /// Two accounts, each with a bucket, and a set without policies for the user in the first.
    fn world() -> World {
        let mut world = World::default();
        let root = world.add_organization(ORGANIZATION, "aws", "111111111111");
        for (id, name) in [(ACCOUNT, "payments"), (OTHER, "search")] {
            world.add_account(ORGANIZATION, &root, id, name).buckets.push(Bucket {
                name: format!("{name}-data"),
                region: "eu-west-1".to_owned(),
                ..Bucket::default()
            });
        }
        seed::enroll(&mut world, ORGANIZATION, "eu-west-1", &[], 2);
        let name = "Ours".to_owned();
        let set = PermissionSet { id: SET.to_owned(), name, ..PermissionSet::default() };
        directory(&mut world).permission_sets.push(set);
        world.assign(ORGANIZATION, assignment());
        world
    }

    fn directory(world: &mut World) -> &mut Directory {
        &mut world.organizations.get_mut(ORGANIZATION).expect("an organization").directory
    }

    fn assignment() -> Assignment {
        Assignment {
            account: ACCOUNT.to_owned(),
            permission_set: SET.to_owned(),
            principal: Principal::User(USER.to_owned()),
        }
    }

    /// Changes the set, and provisions it anew.
    fn change(world: &mut World, change: impl FnOnce(&mut PermissionSet)) {
        let mut sets = directory(world).permission_sets.iter_mut();
        change(sets.find(|set| set.id == SET).expect("a set"));
        world.assign(ORGANIZATION, assignment());
    }

    fn reads(condition: &Value) -> String {
        let statement = json!({
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::payments-data/*",
            "Condition": condition,
        });
        json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
    }

    /// The set refers to a policy of the account, which lets objects be read under a condition.
    fn reader(condition: &Value) -> World {
        let mut world = world();
        world.put_policy(ACCOUNT, "/ours/", "ann", &reads(condition));
        change(&mut world, |set| set.customer_managed.push(PolicyName::new("/ours/", "ann")));
        world
    }

    fn ask(world: &mut World, action: &str, resource: &str) -> bool {
        let context = Context::default();
        world.may(&Question {
            organization: ORGANIZATION,
            user: USER,
            account: ACCOUNT,
            action,
            resource,
            context,
        })
    }

    #[test]
    fn a_policy_of_the_account_allows_what_it_says_and_to_whom() {
        let mut world = reader(&json!({}));
        assert!(ask(&mut world, "s3:GetObject", OBJECT));
        assert!(!ask(&mut world, "s3:PutObject", OBJECT));
        assert!(!ask(&mut world, "s3:GetObject", "arn:aws:s3:::search-data/a"));
        let may = world.may_by_name("ann1@example.com", ACCOUNT, "s3:GetObject", OBJECT);
        assert_eq!(may, Some(true));
        let may = world.may_by_name("ann1", OTHER, "s3:GetObject", OBJECT);
        assert_eq!(may, Some(false));
        assert_eq!(world.may_by_name("nobody", ACCOUNT, "s3:GetObject", OBJECT), None);

        "SUSPENDED".clone_into(&mut world.account(ACCOUNT).state);
        assert!(!ask(&mut world, "s3:GetObject", OBJECT));
        "ACTIVE".clone_into(&mut world.account(ACCOUNT).state);
        directory(&mut world).users[1].is_disabled = true;
        assert!(!ask(&mut world, "s3:GetObject", OBJECT));
        directory(&mut world).users[1].is_disabled = false;
        world.unassign(ORGANIZATION, &assignment());
        assert!(!ask(&mut world, "s3:GetObject", OBJECT));
    }

    #[test]
    fn whoever_is_in_a_group_may_what_the_group_may() {
        let mut world = reader(&json!({}));
        world.unassign(ORGANIZATION, &assignment());
        let group = Principal::Group("g-00000000".to_owned());
        world.assign(ORGANIZATION, Assignment { principal: group, ..assignment() });
        assert!(!ask(&mut world, "s3:GetObject", OBJECT));
        world.join(ORGANIZATION, "g-00000000", USER);
        assert!(ask(&mut world, "s3:GetObject", OBJECT));
    }

    #[test]
    fn a_policy_ends_at_its_second() {
        let world = world();
        let end = world.clock.now() + TimeDelta::hours(2);
        let end = end.to_rfc3339_opts(SecondsFormat::Secs, true);
        let condition = json!({ "DateLessThan": { "aws:CurrentTime": end } });
        let mut world = reader(&condition);
        world.clock.advance(TimeDelta::minutes(119));
        assert!(ask(&mut world, "s3:GetObject", OBJECT));
        world.clock.advance(TimeDelta::minutes(1));
        assert!(!ask(&mut world, "s3:GetObject", OBJECT));
    }

    #[test]
    fn a_bucket_of_another_account_is_another_one() {
        let condition = json!({ "StringEquals": { "aws:ResourceAccount": ACCOUNT } });
        let mut world = reader(&condition);
        assert!(ask(&mut world, "s3:GetObject", OBJECT), "it is found by its name");
        let mut question = Question {
            organization: ORGANIZATION,
            user: USER,
            account: ACCOUNT,
            action: "s3:GetObject",
            resource: OBJECT,
            context: Context::default().with("aws:ResourceAccount", OTHER),
        };
        assert!(!world.may(&question), "who asks says otherwise");
        let bucket = world.account(ACCOUNT).buckets.remove(0);
        question.context = Context::default();
        assert!(!world.may(&question), "nobody has it");
        world.account(OTHER).buckets.push(bucket);
        assert!(!world.may(&question), "it has been registered again");

        let any = "{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\",\
                   \"Condition\":{\"StringEquals\":{\"aws:ResourceAccount\":\"222222222222\"}}}}";
        change(&mut world, |set| any.clone_into(&mut set.inline));
        assert!(ask(&mut world, "sqs:SendMessage", "arn:aws:sqs:eu-west-1:222222222222:q"));
        assert!(!ask(&mut world, "sqs:SendMessage", "arn:aws:sqs:eu-west-1:333333333333:q"));
    }

    #[test]
    fn a_boundary_caps_what_the_policies_allow() {
        let mut world = reader(&json!({}));
        let read_only = "arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned();
        let administrator = "arn:aws:iam::aws:policy/AdministratorAccess".to_owned();
        let unknown = "arn:aws:iam::aws:policy/PowerUserAccess".to_owned();
        change(&mut world, |set| set.managed.push(administrator.clone()));
        assert!(ask(&mut world, "s3:PutObject", OBJECT));
        let cap = PolicyName::new("/ours/", "cap");
        for (boundary, reads, writes) in [
            (Boundary::Managed(administrator), true, true),
            (Boundary::Managed(read_only), true, false),
            (Boundary::Managed(unknown), false, false),
            (Boundary::Customer(cap.clone()), false, false),
        ] {
            change(&mut world, |set| set.boundary = Some(boundary.clone()));
            assert_eq!(ask(&mut world, "s3:GetObject", OBJECT), reads, "{boundary:?}");
            assert_eq!(ask(&mut world, "s3:PutObject", OBJECT), writes, "{boundary:?}");
        }
        world.put_policy(ACCOUNT, &cap.path, &cap.name, &reads(&json!({})));
        assert!(ask(&mut world, "s3:GetObject", OBJECT));
        assert!(!ask(&mut world, "s3:PutObject", OBJECT));
    }

    #[test]
    fn what_changes_counts_after_the_lag_and_once_it_is_provisioned() {
        let mut world = reader(&json!({}));
        world.clock.advance(TimeDelta::minutes(1));
        world.account(ACCOUNT).iam_lag = TimeDelta::seconds(5);
        let nothing = reads(&json!({ "Bool": { "aws:SecureTransport": "false" } }));
        world.put_policy(ACCOUNT, "/ours/", "ann", &nothing);
        assert!(ask(&mut world, "s3:GetObject", OBJECT));
        world.clock.advance(TimeDelta::seconds(5));
        assert!(!ask(&mut world, "s3:GetObject", OBJECT));

        let inline = reads(&json!({}));
        let mut sets = directory(&mut world).permission_sets.iter_mut();
        sets.find(|set| set.id == SET).expect("a set").inline = inline;
        assert!(!ask(&mut world, "s3:GetObject", OBJECT), "it is not provisioned");
        world.assign(ORGANIZATION, assignment());
        assert!(ask(&mut world, "s3:GetObject", OBJECT));
    }

    #[test]
    fn who_asks_shows_in_the_conditions() {
        let arn = "arn:aws:iam::222222222222:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Ours_*";
        for (key, value) in [
            ("aws:PrincipalArn", arn),
            ("aws:PrincipalAccount", ACCOUNT),
            ("aws:userid", "AROASIM0000000000000001:ann1"),
            ("identitystore:UserId", USER),
        ] {
            let mut world = reader(&json!({ "StringLike": { key: value } }));
            assert!(ask(&mut world, "s3:GetObject", OBJECT), "{key}");
            let mut world = reader(&json!({ "StringNotLike": { key: value } }));
            assert!(!ask(&mut world, "s3:GetObject", OBJECT), "{key}");
        }
    }
}
