//! IAM Identity Center: its instance.

use serde_json::json;

use super::unknown;
use crate::{
    answer::{Answer, Refusal},
    identity::Session,
    request::Call,
    world::World,
};

pub(super) fn answer(world: &mut World, session: &Session, call: &Call) -> Result<Answer, Refusal> {
    match call.operation.as_str() {
        "ListInstances" => Ok(instances(world, session, call)),
        _ => Err(unknown(call)),
    }
}

/// An instance shows only in its own region.
fn instances(world: &World, session: &Session, call: &Call) -> Answer {
    let organization = world
        .organization_of(&session.account)
        .filter(|organization| organization.sso_region == call.region);
    let instances: Vec<_> = organization
        .into_iter()
        .map(|organization| {
            json!({
                "InstanceArn": format!("arn:{}:sso:::instance/ssoins-{}", organization.partition, &organization.id[2..]),
                "IdentityStoreId": format!("d-{}", &organization.id[2..]),
                "OwnerAccountId": organization.management,
                "Status": "ACTIVE",
            })
        })
        .collect();
    Answer::json(&json!({ "Instances": instances }))
}
