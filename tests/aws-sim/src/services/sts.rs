//! STS: who are you, and who may you become.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::unknown;
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    policy,
    request::Call,
    world::World,
    xml::Xml,
};

/// Sessions of a role that was assumed by a role live an hour at most (`AssumeRole`,
/// "role chaining").
const CHAINED_SECONDS_MAX: i64 = 3600;

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "AssumeRole" => assume(world, session, call),
        "GetCallerIdentity" => Ok(who(session)),
        _ => Err(unknown(call)),
    }
}

fn who(session: &Session) -> Answer {
    let mut xml = Xml::default();
    xml.element("GetCallerIdentityResponse", |xml| {
        xml.element("GetCallerIdentityResult", |xml| {
            xml.text("Arn", &session.arn)
                .text("UserId", "AROASIM")
                .text("Account", &session.account);
        });
    });
    Answer::xml(xml)
}

/// Whether the trust policy lets the caller in. A role that is not there refuses with
/// the same words as one that does not trust.
pub(crate) fn judge(world: &World, caller: &Session, call: &Call) -> Result<(), Refusal> {
    let form = |name: &str| call.form.get(name).map(String::as_str);
    let role_arn = form("RoleArn").unwrap_or_default();
    let seconds: i64 = form("DurationSeconds").and_then(|s| s.parse().ok()).unwrap_or(3600);
    if caller.arn.contains(":assumed-role/") && seconds > CHAINED_SECONDS_MAX {
        return Err(Refusal::new(
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    let account = role_arn.split(':').nth(4).unwrap_or_default();
    let name = role_arn.rsplit('/').next().unwrap_or_default();
    let role = world.accounts.get(account).and_then(|account| account.roles.get(name));
    let partition = world.organization_of(account).map(|o| o.partition.as_str());
    let request = policy::Request { principal: &caller.role_arn, external_id: form("ExternalId") };
    let mut needed = vec!["sts:AssumeRole"];
    if call.form.keys().any(|key| key.starts_with("Tags.member.")) {
        needed.push("sts:TagSession");
    }
    if form("SourceIdentity").is_some() {
        needed.push("sts:SetSourceIdentity");
    }
    let is_there = role_arn.split(':').nth(1) == partition;
    for action in needed {
        let trusted = role.is_some_and(|role| policy::trusts(&role.trust, action, &request));
        if !trusted || !is_there {
            return Err(Refusal::denied(
                "sts",
                format!(
                    "User: {} is not authorized to perform: {action} on resource: {role_arn}",
                    caller.arn
                ),
            ));
        }
    }
    Ok(())
}

/// The session that a call of `AssumeRole` makes.
pub(crate) fn session(caller: &Session, call: &Call, expires: DateTime<Utc>) -> Session {
    let form = |name: &str| call.form.get(name).cloned().unwrap_or_default();
    let role_arn = form("RoleArn");
    let mut parts = role_arn.split(':');
    let partition = parts.nth(1).unwrap_or_default();
    let account = parts.nth(2).unwrap_or_default().to_owned();
    let name = role_arn.rsplit('/').next().unwrap_or_default();
    let tags = (1..)
        .map_while(|at| {
            let key = call.form.get(&format!("Tags.member.{at}.Key"))?;
            Some((key.clone(), form(&format!("Tags.member.{at}.Value"))))
        })
        .collect();
    Session {
        arn: format!(
            "arn:{partition}:sts::{account}:assumed-role/{name}/{}",
            form("RoleSessionName")
        ),
        role_arn: role_arn.clone(),
        account,
        expires,
        tags,
        source_identity: call
            .form
            .get("SourceIdentity")
            .cloned()
            .unwrap_or_else(|| caller.source_identity.clone()),
        is_hub: false,
    }
}

fn assume(world: &mut World, caller: &Session, call: &Call) -> Result<Answer, Refusal> {
    judge(world, caller, call)?;
    let seconds = call.form.get("DurationSeconds").and_then(|s| s.parse().ok()).unwrap_or(3600);
    let asked = TimeDelta::seconds(seconds);
    let length = world.session_length_max.map_or(asked, |max| asked.min(max));
    let expires = world.clock.now() + length;
    let session = session(caller, call, expires);
    let arn = session.arn.clone();
    let made = world.open_session(session);
    let mut xml = Xml::default();
    xml.element("AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"", |xml| {
        xml.element("AssumeRoleResult", |xml| {
            xml.element("AssumedRoleUser", |xml| {
                xml.text("Arn", &arn).text("AssumedRoleId", "AROASIM:session");
            });
            xml.element("Credentials", |xml| {
                xml.text("AccessKeyId", &made.access_key)
                    .text("SecretAccessKey", &made.secret)
                    .text("SessionToken", &made.token)
                    .text("Expiration", expires.to_rfc3339_opts(SecondsFormat::Secs, true));
            });
        });
    });
    Ok(Answer::xml(xml))
}
