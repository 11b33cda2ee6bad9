//! Secrets of Secrets Manager: their names, never their values.

use async_trait::async_trait;
use aws_sdk_secretsmanager::types::SecretListEntry;
use serde_json::json;

use super::{Collector, Ground, Page, ResourceType, attributes, here, name_of, time};
use crate::{
    aws::ApiError,
    model::{proof::PageToken, resource::Resource, scope::Reach},
};

const LIST_SECRETS: &str = "secretsmanager:ListSecrets";

/// The most that a page may hold.
const PAGE_SECRETS: i32 = 100;

/// Reads secrets.
pub(super) struct Secrets;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-secretsmanager-secret",
    display_name: "Secrets Manager secret",
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
