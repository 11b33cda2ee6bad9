//! The services, one file each.

use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    world::World,
};

mod cloudtrail;
mod dynamodb;
mod ec2;
mod eks;
mod iam;
mod iam_details;
mod iam_policies;
mod iam_policies_read;
mod iam_roles;
mod iam_users;
mod identitystore;
mod lambda;
mod memberships;
mod objects;
mod organizations;
mod rds;
pub(crate) mod resources;
mod s3;
mod secretsmanager;
mod sns;
mod sqs;
mod ssm;
mod ssm_documents;
mod sso;
mod sso_assignments;
mod sso_provisioning;
mod sso_sets;
pub(crate) mod sts;
mod tagging;
pub(crate) mod tags;
mod things;

/// Answers a call whose caller may make it.
pub(crate) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.service.as_str() {
        "cloudtrail" => cloudtrail::answer(world, session, call),
        "dynamodb" => dynamodb::answer(world, session, call),
        "ec2" => ec2::answer(world, session, call),
        "eks" => eks::answer(world, session, call),
        "iam" => iam::answer(world, session, call),
        "identitystore" => identitystore::answer(world, session, call),
        "lambda" => lambda::answer(world, session, call),
        "organizations" => organizations::answer(world, session, call),
        "rds" => rds::answer(world, session, call),
        "s3" => s3::answer(world, session, call),
        "secretsmanager" => secretsmanager::answer(world, session, call),
        "sns" => sns::answer(world, session, call),
        "sqs" => sqs::answer(world, session, call),
        "ssm" => ssm::answer(world, session, call),
        "sso" => sso::answer(world, session, call),
        "sts" => sts::answer(world, session, call),
        "tagging" => tagging::answer(world, session, call),
        _ => Err(unknown(call)),
    }
}

/// A call that the simulator does not have is an error of the client, not a 5xx that an
/// SDK would try again.
fn unknown(call: &Call) -> Refusal {
    Refusal::new(400, "InvalidAction", format!("the simulator has no {}", call.action()))
}

/// Cuts a list to a page. Tokens are opaque and belong to one list; a token of another
/// one is refused.
fn page<'a, T>(
    account: &str,
    call: &Call,
    items: &'a [T],
    page_items: usize,
    first_is_empty: bool,
) -> Result<(&'a [T], Option<String>), Refusal> {
    let number = call.page_number();
    let start = match call.token() {
        None if first_is_empty => return Ok((&[], Some(token(account, call, 0, number + 1)))),
        None => 0,
        // The place stands in the token; its hash tells whether this list made it.
        Some(given) => given
            .split('.')
            .nth(1)
            .and_then(|at| usize::from_str_radix(at, 16).ok())
            .filter(|at| *at <= items.len() && token(account, call, *at, number) == given)
            .ok_or_else(|| {
                Refusal::new(400, "InvalidInputException", "You provided an invalid token.")
            })?,
    };
    let end = items.len().min(start + page_items.max(1));
    let next = (end < items.len()).then(|| token(account, call, end, number + 1));
    Ok((&items[start..end], next))
}

/// A token that tells nothing to a client: a hash of the list (FNV-1a), then the place in
/// it and the number of its page.
fn token(account: &str, call: &Call, at: usize, number: usize) -> String {
    let list = format!(
        "{account}/{}/{}/{}/{}/{}/{}/{}/{}/{}/{}/{at}",
        call.service,
        call.operation,
        call.region,
        call.text("ParentId"),
        call.text("PermissionSetArn"),
        call.text("GroupId"),
        call.text("AccountId"),
        call.text("PrincipalId"),
        call.json["LookupAttributes"],
        call.form.get("PolicyArn").map(String::as_str).unwrap_or_default(),
    );
    let hash = list.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}.{at:x}.{number:x}")
}

/// What the tests of services share: an instance, and somebody of the management account who asks.
#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::seed;

    pub(crate) const ORGANIZATION: &str = "o-test123456";
    pub(crate) const MANAGEMENT: &str = "111111111111";
    pub(crate) const MEMBER: &str = "222222222222";

    /// Two users, and two groups: the first user is in both, the second in the second.
    pub(crate) const USERS: [&str; 2] = ["9067642ac7-00000000", "9067642ac7-00000001"];
    pub(crate) const GROUPS: [&str; 2] = ["g-00000000", "g-00000001"];

    pub(crate) fn world() -> World {
        let mut world = World::default();
        let root = world.add_organization(ORGANIZATION, "aws", MANAGEMENT);
        world.add_account(ORGANIZATION, &root, MEMBER, "payments");
        seed::enroll(&mut world, ORGANIZATION, "eu-west-1", &[], 2);
        world
    }

    pub(super) fn session(world: &World) -> Session {
        Session {
            arn: format!("arn:aws:sts::{MANAGEMENT}:assumed-role/access/test"),
            role_arn: format!("arn:aws:iam::{MANAGEMENT}:role/access"),
            account: MANAGEMENT.to_owned(),
            expires: world.clock.now(),
            tags: Vec::new(),
            source_identity: String::new(),
            is_hub: false,
        }
    }

    /// A call to the instance or its identity store.
    pub(super) fn call(service: &str, operation: &str, mut json: Value) -> Call {
        json["InstanceArn"] = json!("arn:aws:sso:::instance/ssoins-test123456");
        json["IdentityStoreId"] = json!("d-test123456");
        Call {
            service: service.to_owned(),
            region: "eu-west-1".to_owned(),
            access_key: String::new(),
            operation: operation.to_owned(),
            form: BTreeMap::new(),
            json,
            path: String::new(),
            bucket: String::new(),
        }
    }

    /// Asks, whatever policies say.
    pub(crate) fn ask(
        world: &mut World,
        service: &str,
        operation: &str,
        json: Value,
    ) -> Result<Value, Refusal> {
        let session = session(world);
        let answer = answer(world, &session, &call(service, operation, json))?;
        Ok(serde_json::from_slice(&answer.body).expect("JSON"))
    }

    /// Asks IAM something of an account, and gets the answer's text.
    pub(super) fn ask_iam(
        world: &mut World,
        account: &str,
        operation: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String, Refusal> {
        let session = Session { account: account.to_owned(), ..session(world) };
        let mut call = call("iam", operation, json!({}));
        call.form = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let answer = answer(world, &session, &call)?;
        Ok(String::from_utf8(answer.body).expect("text"))
    }

    /// What stands in an element, wherever it is.
    pub(super) fn texts<'a>(xml: &'a str, element: &str) -> Vec<&'a str> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        xml.split(&open).skip(1).filter_map(|rest| rest.split(&close).next()).collect()
    }
}
