//! IAM: instance profiles and their roles, and what a role's policies allow.

use serde_json::Value;

use super::{
    iam_details,
    iam_policies::{self, told},
    iam_roles, iam_users, unknown,
};
use crate::{
    answer::{Answer, Refusal},
    condition::Context,
    evaluator::{role_arn, role_id},
    identity::Session,
    policy,
    request::Call,
    world::World,
    xml::Xml,
};

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    if iam_policies::is_about(call) {
        return iam_policies::answer(world, session, call);
    }
    if iam_roles::is_about(call) {
        return iam_roles::answer(world, session, call);
    }
    if iam_users::is_about(call) {
        return iam_users::answer(world, session, call);
    }
    match call.operation.as_str() {
        "GetAccountAuthorizationDetails" => iam_details::answer(world, session, call),
        "GetInstanceProfile" => profile(world, session, call),
        "ListAttachedRolePolicies" => policies(world, session, call),
        "ListRoles" => Ok(roles(world, session, call)),
        "SimulatePrincipalPolicy" => simulate(world, session, call),
        _ => Err(unknown(call)),
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::new(404, "NoSuchEntity", format!("{name} cannot be found."))
}

/// A profile's role has the profile's name.
fn profile(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let name = call.form.get("InstanceProfileName").map(String::as_str).unwrap_or_default();
    let account = world.accounts.get(&session.account);
    if account.is_none_or(|account| !account.profiles.contains_key(name)) {
        return Err(missing(name));
    }
    let (partition, id) = (
        world.organization_of(&session.account).map_or("aws", |o| o.partition.as_str()),
        &session.account,
    );
    let mut xml = Xml::default();
    xml.element("GetInstanceProfileResponse", |xml| {
        xml.element("GetInstanceProfileResult", |xml| {
            xml.element("InstanceProfile", |xml| {
                xml.text("Path", "/")
                    .text("InstanceProfileName", name)
                    .text("InstanceProfileId", "AIPASIM")
                    .text("Arn", format!("arn:{partition}:iam::{id}:instance-profile/{name}"))
                    .text("CreateDate", "2026-01-01T00:00:00Z");
                xml.element("Roles", |xml| {
                    xml.element("member", |xml| {
                        xml.text("Path", "/")
                            .text("RoleName", name)
                            .text("RoleId", "AROASIM")
                            .text("Arn", format!("arn:{partition}:iam::{id}:role/{name}"))
                            .text("CreateDate", "2026-01-01T00:00:00Z");
                    });
                });
            });
        });
    });
    Ok(Answer::xml(xml))
}

fn policies(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let name = call.form.get("RoleName").map(String::as_str).unwrap_or_default();
    let policies = world
        .accounts
        .get(&session.account)
        .and_then(|account| account.profiles.get(name))
        .ok_or_else(|| missing(name))?;
    let mut xml = Xml::default();
    xml.element("ListAttachedRolePoliciesResponse", |xml| {
        xml.element("ListAttachedRolePoliciesResult", |xml| {
            xml.element("AttachedPolicies", |xml| {
                for policy in policies {
                    xml.element("member", |xml| {
                        xml.text("PolicyName", policy)
                            .text("PolicyArn", format!("arn:aws:iam::aws:policy/{policy}"));
                    });
                }
            });
            xml.text("IsTruncated", "false");
        });
    });
    Ok(Answer::xml(xml))
}

/// `SimulatePrincipalPolicy`: the decision for each action, as the policies of a role or a user have it, on
/// the resources and with the context that the caller names, and what the organization says.
fn simulate(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let arn = call.form.get("PolicySourceArn").map(String::as_str).unwrap_or_default();
    let policies = policies_of(world, session, arn).ok_or_else(|| missing(arn))?;
    let context = context(call);
    let mut resources: Vec<Option<&str>> =
        call.members("ResourceArns.member").into_iter().map(Some).collect();
    if resources.is_empty() {
        resources.push(None);
    }
    Ok(told(call, |xml| {
        xml.element("EvaluationResults", |xml| {
            for action in call.members("ActionNames.member") {
                for resource in &resources {
                    let is_denied =
                        world.organization_denies(&session.account, action, *resource, &context);
                    let allowed = policy::allows(&policies, action, *resource, &context);
                    let decision = match (is_denied, allowed) {
                        (true, _) => "explicitDeny",
                        (false, true) => "allowed",
                        (false, false) => "implicitDeny",
                    };
                    xml.element("member", |xml| {
                        xml.text("EvalActionName", action)
                            .text("EvalResourceName", resource.unwrap_or("*"))
                            .text("EvalDecision", decision);
                        xml.element("OrganizationsDecisionDetail", |xml| {
                            xml.text("AllowedByOrganizations", (!is_denied).to_string());
                        });
                    });
                }
            }
        });
        xml.text("IsTruncated", "false");
    }))
}

/// The policies of a role or a user of the caller's account, by the ARN; of a role that Identity Center
/// has made, and of a user, only that it is there is told. None: it is not.
fn policies_of(world: &World, session: &Session, arn: &str) -> Option<Vec<Value>> {
    let account = world.accounts.get(&session.account)?;
    let rest = arn.split_once(&format!("::{}:", session.account))?.1;
    let (path, name) = rest.rsplit_once('/')?;
    if path.starts_with("user") {
        return account.iam_users.contains_key(name).then(Vec::new);
    }
    if path.starts_with("role/aws-reserved") {
        return reserved(world, session).contains(&arn.to_owned()).then(Vec::new);
    }
    account.roles.get(name).map(|role| role.policies.clone())
}

/// The ARNs of the roles that Identity Center has made in the caller's account.
fn reserved(world: &World, session: &Session) -> Vec<String> {
    let organization = world.organization_of(&session.account).into_iter();
    let roles = organization.flat_map(|found| {
        let sets = found.directory.permission_sets.iter();
        let here = sets.filter_map(|set| found.directory.provisioned(&session.account, &set.id));
        here.map(|set| role_arn(found, &session.account, &set.role))
    });
    roles.collect()
}

/// `ListRoles`: those that Identity Center has made, and nobody has asked for others.
fn roles(world: &World, session: &Session, call: &Call) -> Answer {
    told(call, |xml| {
        xml.element("Roles", |xml| {
            for arn in reserved(world, session) {
                let (path, name) = arn.rsplit_once('/').unwrap_or_default();
                let path = path.split_once(":role").map_or("", |(_, path)| path);
                xml.element("member", |xml| {
                    xml.text("Path", format!("{path}/"))
                        .text("RoleName", name)
                        .text("RoleId", role_id(name))
                        .text("Arn", &arn)
                        .text("CreateDate", "2026-01-01T00:00:00Z");
                });
            }
        });
        xml.text("IsTruncated", "false");
    })
}

/// The condition keys that a simulation is told of.
fn context(call: &Call) -> Context {
    let entries = (1..).map_while(|at| {
        let entry = format!("ContextEntries.member.{at}");
        let key = call.form.get(&format!("{entry}.ContextKeyName"))?;
        Some((key, call.members(&format!("{entry}.ContextKeyValues.member"))))
    });
    entries.fold(Context::default(), |context, (key, values)| context.with_all(key, values))
}
