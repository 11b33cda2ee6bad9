//! DynamoDB tables. The list tells names alone, so each is described.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{BillingMode, KeySchemaElement, TableDescription};
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::{
    CALLS_AT_ONCE, Collector, Ground, Page, ResourceType, arn, attributes, described, here, sorted,
    tags, time,
};
use crate::{
    aws::ApiError,
    model::{proof::PageToken, resource::Resource, scope::Reach},
};

const LIST_TABLES: &str = "dynamodb:ListTables";
const DESCRIBE_TABLE: &str = "dynamodb:DescribeTable";

/// The most that a page may hold.
const PAGE_TABLES: i32 = 100;

/// Reads tables.
pub(super) struct Tables;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-dynamodb-table",
    display_name: "DynamoDB table",
    attributes: &[
        ("billing_mode", "`PROVISIONED` or `PAY_PER_REQUEST`."),
        ("creation_time", "When it was created, RFC 3339, UTC."),
        ("deletion_protection", "Whether it is kept from being deleted."),
        ("encryption", "`KMS`, with the customer's key; absent: DynamoDB's own."),
        ("indexes", "Names of its global secondary indexes."),
        ("keys", "Names of its key attributes, the partition key first."),
        ("replicas", "Regions that hold copies of a global table."),
        ("status", "`ACTIVE`, `ARCHIVED`, …"),
    ],
}];

#[async_trait]
impl Collector for Tables {
    fn name(&self) -> &'static str {
        "dynamodb_table"
    }

    fn reach(&self) -> Reach {
        Reach::Region
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[LIST_TABLES, DESCRIBE_TABLE, tags::GET_RESOURCES]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let answer = ground
            .access
            .dynamodb()
            .list_tables()
            .limit(PAGE_TABLES)
            .set_exclusive_start_table_name(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_TABLES, &error))?;
        let next = PageToken::of(answer.last_evaluated_table_name());
        let names = stream::iter(answer.table_names.unwrap_or_default());
        let mut resources: Vec<Resource> = names
            .map(|name| table(ground, name))
            .buffered(CALLS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        tags::fill(ground.access, &mut resources).await;
        Ok(Page { resources, next, ..Page::default() })
    }
}

/// None: the table has gone since it was listed.
async fn table(ground: &Ground<'_>, name: String) -> Option<Resource> {
    let asked = ground.access.dynamodb().describe_table().table_name(&name).send().await;
    let told = asked.map_err(|error| ApiError::of(DESCRIBE_TABLE, &error));
    let resource = here(ground, &TYPES[0], arn(ground, "dynamodb", &format!("table/{name}")), name);
    described(resource, &TYPES[0], told, &["ResourceNotFoundException"], |resource, answer| {
        resource.attributes = answer.table.as_ref().map(read).unwrap_or_default();
    })
}

fn read(found: &TableDescription) -> Map<String, Value> {
    let billing_mode = found
        .billing_mode_summary()
        .and_then(|summary| summary.billing_mode())
        .map_or(BillingMode::Provisioned.as_str(), BillingMode::as_str);
    let indexes = found.global_secondary_indexes().iter().filter_map(|index| index.index_name());
    let replicas = found.replicas().iter().filter_map(|replica| replica.region_name());
    let keys: Vec<&str> = found.key_schema().iter().map(KeySchemaElement::attribute_name).collect();
    let encryption = found.sse_description().and_then(|sse| sse.sse_type());
    attributes([
        ("billing_mode", Some(json!(billing_mode))),
        ("creation_time", time(found.creation_date_time)),
        ("deletion_protection", found.deletion_protection_enabled.map(|is| json!(is))),
        ("encryption", encryption.map(|kind| json!(kind.as_str()))),
        ("indexes", sorted(indexes.map(str::to_owned).collect())),
        ("keys", Some(json!(keys))),
        ("replicas", sorted(replicas.map(str::to_owned).collect())),
        ("status", found.table_status().map(|status| json!(status.as_str()))),
    ])
}
