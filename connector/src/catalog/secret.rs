//! Secrets of Secrets Manager: their names, never their values.

use async_trait::async_trait;
use aws_sdk_secretsmanager::types::SecretListEntry;
use serde_json::json;

use super::{
    Collector, Grantable, Ground, Level, Page, ResourceType, Way, attributes, here, name_of,
    statements::{DECRYPT, ENCRYPT, key_use, on_it},
    time,
};
use crate::{
    aws::ApiError,
    model::{proof::PageToken, resource::Resource, scope::Reach, statement::Statement},
    store::resources::Stored,
};

const LIST_SECRETS: &str = "secretsmanager:ListSecrets";

/// The most that a page may hold.
const PAGE_SECRETS: i32 = 100;

/// Reads secrets.
pub(super) struct Secrets;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-secretsmanager-secret",
    display_name: "Secrets Manager secret",
    permissions: PERMISSIONS,
    way_in: WAY_IN,
    attributes: &[
        ("creation_time", "When it was created, RFC 3339, UTC."),
        ("description", "What its owner says about it."),
        ("kms_key", "Key that encrypts it; absent: the account's own."),
        ("last_changed", "When its value or settings changed last, RFC 3339, UTC."),
        ("owning_service", "The AWS service that manages it, such as `rds`."),
        ("primary_region", "Where it is replicated from."),
        ("rotation", "Whether it is rotated by itself."),
    ],
}];

const WAY_IN: Way = Way {
    console: "secretsmanager/secret?name={name}&region={region}",
    command: "aws secretsmanager get-secret-value --region {region} --secret-id {arn}",
};

const PERMISSIONS: &[Grantable] = &[
    Grantable::of("READ_ONLY", Level::Read, "Read its value, settings and versions", |on| {
        Ok(with_key(on, &[READ], DECRYPT))
    }),
    Grantable::of("READ_WRITE", Level::Write, "READ_ONLY; also write its value", |on| {
        Ok(with_key(on, &[READ, WRITE], ENCRYPT))
    }),
    Grantable::of(
        "ADMIN",
        Level::Write,
        "READ_WRITE; also change its settings and key, stop its rotation, delete and restore it",
        |on| Ok(with_key(on, &[READ, WRITE, SET], ENCRYPT)),
    ),
    Grantable::of(
        "OWNER",
        Level::Owner,
        "ADMIN; also its policy, tags, copies in other regions and rotation: can leave lasting access",
        |on| Ok(with_key(on, &[READ, WRITE, SET, OWN], ENCRYPT)),
    ),
];

const READ: &[&str] = &[
    "secretsmanager:DescribeSecret",
    "secretsmanager:GetResourcePolicy",
    "secretsmanager:GetSecretValue",
    "secretsmanager:ListSecretVersionIds",
];
const WRITE: &[&str] =
    &["secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"];
const SET: &[&str] = &[
    "secretsmanager:CancelRotateSecret",
    "secretsmanager:DeleteSecret",
    "secretsmanager:RestoreSecret",
    "secretsmanager:UpdateSecret",
];
/// Rotation hands each new value to a function that whoever starts it may choose; copies have
/// policies of their own.
const OWN: &[&str] = &[
    "secretsmanager:DeleteResourcePolicy",
    "secretsmanager:PutResourcePolicy",
    "secretsmanager:RemoveRegionsFromReplication",
    "secretsmanager:ReplicateSecretToRegions",
    "secretsmanager:RotateSecret",
    "secretsmanager:StopReplicationToReplica",
    "secretsmanager:TagResource",
    "secretsmanager:UntagResource",
    "secretsmanager:ValidateResourcePolicy",
];

fn with_key(on: &Stored, actions: &[&[&str]], key: &[&str]) -> Vec<Statement> {
    let key = key_use(on, "secretsmanager", key);
    [on_it(on, actions)].into_iter().chain(key).collect()
}

#[async_trait]
impl Collector for Secrets {
    fn name(&self) -> &'static str {
        "secret"
    }

    fn reach(&self) -> Reach {
        Reach::Region
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[LIST_SECRETS]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let answer = ground
            .access
            .secrets_manager()
            .list_secrets()
            .max_results(PAGE_SECRETS)
            .set_next_token(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_SECRETS, &error))?;
        let next = PageToken::of(answer.next_token());
        let found = answer.secret_list.unwrap_or_default();
        Page::of(LIST_SECRETS, found.into_iter().map(|one| secret(ground, one)), next)
    }
}

// When it was read last is left out: it would change the row every day.
fn secret(ground: &Ground<'_>, found: SecretListEntry) -> Option<Resource> {
    let attributes = attributes([
        ("creation_time", time(found.created_date)),
        ("description", found.description.map(|text| json!(text))),
        ("kms_key", found.kms_key_id.map(|key| json!(key))),
        ("last_changed", time(found.last_changed_date)),
        ("owning_service", found.owning_service.map(|service| json!(service))),
        ("primary_region", found.primary_region.map(|region| json!(region))),
        ("rotation", found.rotation_enabled.map(|is| json!(is))),
    ]);
    let tags = found.tags.unwrap_or_default().into_iter();
    let tags = tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect();
    let arn = found.arn?;
    let name = name_of(found.name, &arn);
    Some(Resource { tags, attributes, ..here(ground, &TYPES[0], arn, name) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::statements::tests::{a_resource, said};

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-AbCdEf";

    #[test]
    fn a_value_is_read_and_written_with_its_key() {
        let secret = a_resource(ARN, json!({ "kms_key": "1" }));
        let of_key = "on arn:aws:kms:eu-west-1:111122223333:key/1 when \
                      kms:ViaService StringEquals secretsmanager.eu-west-1.amazonaws.com";
        let said = |asked| said("aws-secretsmanager-secret", asked, &secret);
        let read = "DescribeSecret GetResourcePolicy GetSecretValue ListSecretVersionIds";
        assert_eq!(said("READ_ONLY"), [format!("{read} on {ARN}"), format!("Decrypt {of_key}")]);
        assert_eq!(
            said("READ_WRITE"),
            [
                format!("{read} PutSecretValue UpdateSecretVersionStage on {ARN}"),
                format!("Decrypt GenerateDataKey {of_key}"),
            ]
        );
        for lasting in ["PutResourcePolicy", "ReplicateSecretToRegions", "RotateSecret"] {
            let has = |line: &str| line.split(' ').any(|action| action == lasting);
            assert!(!has(&said("ADMIN")[0]) && has(&said("OWNER")[0]), "{lasting}");
        }
    }

    #[test]
    fn the_accounts_own_key_needs_nothing() {
        let secret = a_resource(ARN, json!({}));
        assert_eq!(said("aws-secretsmanager-secret", "READ_ONLY", &secret).len(), 1);
    }
}
