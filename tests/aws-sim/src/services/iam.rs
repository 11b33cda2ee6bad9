//! IAM: instance profiles and their roles, and what a role's policies allow.

use super::{iam_details, iam_policies, iam_roles, iam_users, unknown};
use crate::{
    answer::{Answer, Refusal},
    condition::Context,
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

/// `SimulatePrincipalPolicy`: the decision for each action, as the role's policies have it, on the
/// resources and with the context that the caller names.
fn simulate(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let arn = call.form.get("PolicySourceArn").map(String::as_str).unwrap_or_default();
    let name = arn.rsplit('/').next().unwrap_or_default();
    let role = world
        .accounts
        .get(&session.account)
        .and_then(|account| account.roles.get(name))
        .filter(|_| arn.contains(&format!("::{}:role/", session.account)))
        .ok_or_else(|| missing(arn))?;
    let context = context(call);
    let mut resources: Vec<Option<&str>> =
        call.members("ResourceArns.member").into_iter().map(Some).collect();
    if resources.is_empty() {
        resources.push(None);
    }
    let mut xml = Xml::default();
    xml.element("SimulatePrincipalPolicyResponse", |xml| {
        xml.element("SimulatePrincipalPolicyResult", |xml| {
            xml.element("EvaluationResults", |xml| {
                for action in call.members("ActionNames.member") {
                    for resource in &resources {
                        let allowed = policy::allows(&role.policies, action, *resource, &context);
                        let decision = if allowed { "allowed" } else { "implicitDeny" };
                        xml.element("member", |xml| {
                            xml.text("EvalActionName", action)
                                .text("EvalResourceName", resource.unwrap_or("*"))
                                .text("EvalDecision", decision);
                        });
                    }
                }
            });
            xml.text("IsTruncated", "false");
        });
    });
    Ok(Answer::xml(xml))
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
