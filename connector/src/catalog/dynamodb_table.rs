//! DynamoDB tables. The list tells names alone, so each is described.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{BillingMode, KeySchemaElement, TableDescription};
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::{
    CALLS_AT_ONCE, Collector, Grantable, Ground, Level, Page, ResourceType, Way, arn, attributes,
    described, here, sorted,
    statements::{DECRYPT, key_use, on_it},
    tags, time,
};
use crate::{
    aws::ApiError,
    model::{
        proof::PageToken,
        resource::Resource,
        scope::Reach,
        statement::{Statement, allow},
    },
    store::resources::Stored,
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
    permissions: PERMISSIONS,
    way_in: WAY_IN,
    attributes: &[
        ("billing_mode", "`PROVISIONED` or `PAY_PER_REQUEST`."),
        ("creation_time", "When it was created, RFC 3339, UTC."),
        ("deletion_protection", "Whether it is kept from being deleted."),
        ("encryption", "`KMS`, with the customer's key; absent: DynamoDB's own."),
        ("indexes", "Names of its global secondary indexes."),
        ("keys", "Names of its key attributes, the partition key first."),
        ("kms_key", "ARN of the key that encrypts it; absent: DynamoDB's own."),
        ("replicas", "Regions that hold copies of a global table."),
        ("status", "`ACTIVE`, `ARCHIVED`, …"),
    ],
}];

const WAY_IN: Way = Way {
    console: "dynamodbv2/home?region={region}#table?name={name}",
    command: "aws dynamodb scan --region {region} --table-name {name} --max-items 10",
};

const PERMISSIONS: &[Grantable] = &[
    Grantable::of(
        "READ_ONLY",
        Level::Read,
        "Read items, indexes and the stream, by the table's name: other tables are not listed",
        |on| Ok(within(on, &[READ])),
    ),
    Grantable::of("READ_WRITE", Level::Write, "READ_ONLY; also write and delete items", |on| {
        Ok(within(on, &[READ, WRITE]))
    }),
    Grantable::of(
        "ADMIN",
        Level::Write,
        "READ_WRITE; also change indexes, capacity, stream and protection, back it up, delete it",
        |on| Ok(within(on, &[READ, WRITE, SET])),
    ),
    Grantable::of(
        "OWNER",
        Level::Owner,
        "ADMIN; also its policy, tags, exports, deliveries to Kinesis, expiry of items: can leave lasting access",
        |on| {
            let mut statements = within(on, &[READ, WRITE, SET, OWN]);
            statements.push(allow(OWN_STREAM).on([format!("{}/stream/*", on.arn)]));
            Ok(statements)
        },
    ),
];

const READ: &[&str] = &[
    "dynamodb:BatchGetItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DescribeContinuousBackups",
    "dynamodb:DescribeTable",
    "dynamodb:DescribeTimeToLive",
    "dynamodb:GetItem",
    "dynamodb:ListTagsOfResource",
    "dynamodb:PartiQLSelect",
    "dynamodb:Query",
    "dynamodb:Scan",
];
const READ_INDEX: &[&str] = &["dynamodb:PartiQLSelect", "dynamodb:Query", "dynamodb:Scan"];
const READ_STREAM: &[&str] =
    &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"];
const WRITE: &[&str] = &[
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:PartiQLDelete",
    "dynamodb:PartiQLInsert",
    "dynamodb:PartiQLUpdate",
    "dynamodb:PutItem",
    "dynamodb:UpdateItem",
];
/// Copies in other regions need actions of their own, so an update of a table makes none.
const SET: &[&str] = &[
    "dynamodb:CreateBackup",
    "dynamodb:DeleteTable",
    "dynamodb:DescribeContributorInsights",
    "dynamodb:DescribeKinesisStreamingDestination",
    "dynamodb:DisableKinesisStreamingDestination",
    "dynamodb:GetResourcePolicy",
    "dynamodb:UpdateContinuousBackups",
    "dynamodb:UpdateContributorInsights",
    "dynamodb:UpdateTable",
];
/// What changes who has access, and what goes on when a grant has ended: deliveries, copies,
/// deletion.
const OWN: &[&str] = &[
    "dynamodb:DeleteResourcePolicy",
    "dynamodb:EnableKinesisStreamingDestination",
    "dynamodb:ExportTableToPointInTime",
    "dynamodb:PutResourcePolicy",
    "dynamodb:TagResource",
    "dynamodb:UntagResource",
    "dynamodb:UpdateKinesisStreamingDestination",
    "dynamodb:UpdateTimeToLive",
];
const OWN_STREAM: &[&str] =
    &["dynamodb:DeleteResourcePolicy", "dynamodb:GetResourcePolicy", "dynamodb:PutResourcePolicy"];

fn within(on: &Stored, actions: &[&[&str]]) -> Vec<Statement> {
    let table = on_it(on, actions);
    let index = allow(READ_INDEX).on([format!("{}/index/*", on.arn)]);
    let stream = allow(READ_STREAM).on([format!("{}/stream/*", on.arn)]);
    // The key of the table itself is decrypted for reads and writes alike.
    let key = key_use(on, "dynamodb", DECRYPT);
    [table, index, stream].into_iter().chain(key).collect()
}

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
        (
            "kms_key",
            found.sse_description().and_then(|sse| sse.kms_master_key_arn()).map(|arn| json!(arn)),
        ),
        ("replicas", sorted(replicas.map(str::to_owned).collect())),
        ("status", found.table_status().map(|status| json!(status.as_str()))),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::statements::tests::{a_resource, said};
    use super::*;

    #[test]
    fn a_table_comes_with_its_indexes_its_stream_and_its_key() {
        let arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders";
        let key = "arn:aws:kms:eu-west-1:111122223333:key/1";
        let table = a_resource(arn, json!({ "kms_key": key }));
        let said = |asked| said("aws-dynamodb-table", asked, &table);
        assert_eq!(
            said("READ_ONLY"),
            [
                format!(
                    "BatchGetItem ConditionCheckItem DescribeContinuousBackups DescribeTable \
                     DescribeTimeToLive GetItem ListTagsOfResource PartiQLSelect Query Scan on {arn}"
                ),
                format!("PartiQLSelect Query Scan on {arn}/index/*"),
                format!("DescribeStream GetRecords GetShardIterator on {arn}/stream/*"),
                format!(
                    "Decrypt on {key} when kms:ViaService StringEquals \
                     dynamodb.eu-west-1.amazonaws.com"
                ),
            ]
        );
        assert!(said("READ_WRITE")[0].contains(" PutItem "));
        for lasting in ["PutResourcePolicy", "EnableKinesis", "UpdateTimeToLive", "Export"] {
            assert!(!said("ADMIN")[0].contains(lasting) && said("OWNER")[0].contains(lasting));
        }
    }
}
