//! IAM: a role, and who may assume it.
//!
//! Sources: the API reference of IAM (`GetRole`, `UpdateAssumeRolePolicy`), and its quotas page.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    iam_details,
    iam_policies::{form, partition, told},
    unknown,
};
use crate::{
    answer::{Answer, Refusal},
    grammar,
    identity::Session,
    policy,
    request::Call,
    world::World,
    xml::Xml,
};

/// Characters of a trust policy, white space not counted.
const TRUST_CHARACTERS_MAX: usize = 2048;

/// Whether a call is about one role.
pub(super) fn is_about(call: &Call) -> bool {
    matches!(call.operation.as_str(), "GetRole" | "UpdateAssumeRolePolicy")
}

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "GetRole" => role(world, session, call),
        "UpdateAssumeRolePolicy" => update(world, session, call),
        _ => Err(unknown(call)),
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::new(404, "NoSuchEntity", format!("The role with name {name} cannot be found."))
}

fn role(world: &World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let name = form(call, "RoleName");
    let account = world.accounts.get(&session.account);
    let role = account.and_then(|account| account.roles.get(name)).ok_or_else(|| missing(name))?;
    let arn = format!("arn:{}:iam::{}:role/{name}", partition(world, session), session.account);
    let trust = utf8_percent_encode(&role.trust.to_string(), NON_ALPHANUMERIC).to_string();
    Ok(told(call, |xml| {
        xml.element("Role", |xml| {
            xml.text("Path", "/")
                .text("RoleName", name)
                .text("RoleId", "AROASIM")
                .text("Arn", arn)
                .text("CreateDate", "2026-01-01T00:00:00Z")
                .text("AssumeRolePolicyDocument", trust);
            iam_details::tags(xml, &role.tags);
        });
    }))
}

/// All of the policy is written anew; what was there before is not compared.
fn update(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    let (name, text) = (form(call, "RoleName"), form(call, "PolicyDocument"));
    let account = world.accounts.get_mut(&session.account);
    let role = account.and_then(|account| account.roles.get_mut(name));
    let role = role.ok_or_else(|| missing(name))?;
    let malformed = |message: String| Refusal::new(400, "MalformedPolicyDocument", message);
    let document: Value =
        serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let named = policy::principals(&document).ok_or_else(|| {
        malformed("each of at least one statement must name a principal".to_owned())
    })?;
    if let Some(dead) = named.iter().find(|one| one.starts_with("AROA") || one.starts_with("AIDA"))
    {
        return Err(malformed(format!("Invalid principal in policy: \"AWS\":\"{dead}\"")));
    }
    if grammar::characters(text) > TRUST_CHARACTERS_MAX {
        let message = format!("Cannot exceed quota for ACLSizePerRole: {TRUST_CHARACTERS_MAX}");
        return Err(Refusal::new(409, "LimitExceeded", message));
    }
    role.trust = document;
    let mut xml = Xml::default();
    xml.element("UpdateAssumeRolePolicyResponse", |xml| {
        xml.element("ResponseMetadata", |xml| {
            xml.text("RequestId", "req-sim");
        });
    });
    Ok(Answer::xml(xml))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        services::tests::{MEMBER, ask_iam, texts, world},
        template::Role,
    };

    fn trusting(principal: &str) -> Value {
        let statement = json!({
            "Effect": "Allow",
            "Principal": { "AWS": principal },
            "Action": "sts:AssumeRole",
        });
        json!({ "Version": "2012-10-17", "Statement": [statement] })
    }

    #[test]
    fn a_trust_policy_is_shown_and_written_anew() {
        let mut world = world();
        let trust = trusting("arn:aws:iam::222222222222:root");
        let role = Role { name: "deploy".to_owned(), trust, ..Role::default() };
        world.account(MEMBER).roles.insert("deploy".to_owned(), role);
        let shown = ask_iam(&mut world, MEMBER, "GetRole", &[("RoleName", "deploy")]);
        let shown = shown.expect("a role");
        assert!(texts(&shown, "AssumeRolePolicyDocument")[0].contains("222222222222"));
        let mut write = |document: &str| {
            let parameters = [("RoleName", "deploy"), ("PolicyDocument", document)];
            let answer = ask_iam(&mut world, MEMBER, "UpdateAssumeRolePolicy", &parameters);
            answer.map(drop).map_err(|refusal| refusal.code)
        };
        let another = trusting("arn:aws:iam::111111111111:root");
        assert_eq!(write(&another.to_string()), Ok(()));
        let malformed = Err("MalformedPolicyDocument".to_owned());
        assert_eq!(write("{"), malformed);
        assert_eq!(write(&json!({ "Statement": [] }).to_string()), malformed);
        assert_eq!(write(&trusting("AROAEXAMPLE").to_string()), malformed);
        let long = trusting(&format!("arn:aws:iam::111111111111:role/{}", "x".repeat(2048)));
        assert_eq!(write(&long.to_string()), Err("LimitExceeded".to_owned()));
        assert_eq!(world.accounts[MEMBER].roles["deploy"].trust, another);
        let gone = ask_iam(&mut world, MEMBER, "GetRole", &[("RoleName", "none")]);
        assert_eq!(gone.map_err(|refusal| refusal.code), Err("NoSuchEntity".to_owned()));
    }
}
