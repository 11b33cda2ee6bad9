//! SQS queues. The list tells addresses alone, so each is asked for its attributes.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_sqs::types::QueueAttributeName as Name;
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::{
    CALLS_AT_ONCE, Collector, Grantable, Ground, Level, Page, ResourceType, Way, arn, attributes,
    described, here,
    statements::{ENCRYPT, key_use, on_it},
    tags, time,
};
use crate::{
    aws::ApiError,
    model::{proof::PageToken, resource::Resource, scope::Reach, statement::Statement},
    store::resources::Stored,
};

const LIST_QUEUES: &str = "sqs:ListQueues";
const GET_ATTRIBUTES: &str = "sqs:GetQueueAttributes";

/// The most that a page may hold.
const PAGE_QUEUES: i32 = 1000;
const GONE: &[&str] = &["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"];

/// Reads queues.
pub(super) struct Queues;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-sqs-queue",
    display_name: "SQS queue",
    permissions: PERMISSIONS,
    way_in: WAY_IN,
    attributes: &[
        ("creation_time", "When it was created, RFC 3339, UTC."),
        ("dead_letter_queue", "ARN of the queue that takes what could not be worked off."),
        ("fifo", "Whether messages keep their order."),
        ("kms_key", "Key that encrypts its messages; absent: SQS's own, or none."),
        ("retention_s", "How long a message is kept, in seconds."),
        ("url", "Address of the queue."),
    ],
}];

const WAY_IN: Way = Way {
    console: "sqs/v3/home?region={region}#/queues",
    command: "aws sqs get-queue-url --region {region} --queue-name {name}",
};

const PERMISSIONS: &[Grantable] = &[
    Grantable::of(
        "READ_ONLY",
        Level::Read,
        "See its settings and how much waits, no message",
        |on| Ok(vec![on_it(on, &[LOOK])]),
    ),
    Grantable::of(
        "READ_WRITE",
        Level::Write,
        "READ_ONLY; also send, receive and delete messages",
        |on| Ok(with_key(on, &[LOOK, USE])),
    ),
    Grantable::of(
        "ADMIN",
        Level::Write,
        "READ_WRITE; also purge it, move what is in a dead-letter queue, delete it; all settings are the owner's, since they cannot be told from its policy",
        |on| Ok(with_key(on, &[LOOK, USE, CLEAR])),
    ),
    Grantable::of(
        "OWNER",
        Level::Owner,
        "ADMIN; also its settings with its policy, and tags: can leave lasting access",
        |on| Ok(with_key(on, &[LOOK, USE, CLEAR, OWN])),
    ),
];

const LOOK: &[&str] = &[
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ListDeadLetterSourceQueues",
    "sqs:ListQueueTags",
];
const USE: &[&str] =
    &["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage", "sqs:SendMessage"];
const CLEAR: &[&str] = &[
    "sqs:CancelMessageMoveTask",
    "sqs:DeleteQueue",
    "sqs:ListMessageMoveTasks",
    "sqs:PurgeQueue",
    "sqs:StartMessageMoveTask",
];
/// `SetQueueAttributes` sets the policy as well.
const OWN: &[&str] = &[
    "sqs:AddPermission",
    "sqs:RemovePermission",
    "sqs:SetQueueAttributes",
    "sqs:TagQueue",
    "sqs:UntagQueue",
];

fn with_key(on: &Stored, actions: &[&[&str]]) -> Vec<Statement> {
    [on_it(on, actions)].into_iter().chain(key_use(on, "sqs", ENCRYPT)).collect()
}

#[async_trait]
impl Collector for Queues {
    fn name(&self) -> &'static str {
        "sqs_queue"
    }

    fn reach(&self) -> Reach {
        Reach::Region
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[LIST_QUEUES, GET_ATTRIBUTES, tags::GET_RESOURCES]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let answer = ground
            .access
            .sqs()
            .list_queues()
            .max_results(PAGE_QUEUES)
            .set_next_token(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_QUEUES, &error))?;
        let next = PageToken::of(answer.next_token());
        let urls = stream::iter(answer.queue_urls.unwrap_or_default());
        let mut resources: Vec<Resource> = urls
            .map(|url| queue(ground, url))
            .buffered(CALLS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        tags::fill(ground.access, &mut resources).await;
        Ok(Page { resources, next, ..Page::default() })
    }
}

/// Not all of them: how many messages wait would change the row all the time.
const ATTRIBUTES: [Name; 5] = [
    Name::CreatedTimestamp,
    Name::FifoQueue,
    Name::KmsMasterKeyId,
    Name::MessageRetentionPeriod,
    Name::RedrivePolicy,
];

/// None: the queue has gone since it was listed; lists show it for a minute longer.
async fn queue(ground: &Ground<'_>, url: String) -> Option<Resource> {
    let name = url.rsplit('/').next().unwrap_or_default().to_owned();
    let asked = ground
        .access
        .sqs()
        .get_queue_attributes()
        .queue_url(&url)
        .set_attribute_names(Some(ATTRIBUTES.to_vec()))
        .send()
        .await;
    let told = asked.map_err(|error| ApiError::of(GET_ATTRIBUTES, &error));
    let resource = here(ground, &TYPES[0], arn(ground, "sqs", &name), name);
    described(resource, &TYPES[0], told, GONE, |resource, answer| {
        resource.attributes = read(&answer.attributes.unwrap_or_default(), &url);
    })
}

fn read(found: &HashMap<Name, String>, url: &str) -> Map<String, Value> {
    let number = |name: &Name| found.get(name)?.parse::<i64>().ok();
    let dead_letter_queue = found
        .get(&Name::RedrivePolicy)
        .and_then(|policy| serde_json::from_str::<Value>(policy).ok())
        .and_then(|policy| policy.get("deadLetterTargetArn").cloned());
    let created = number(&Name::CreatedTimestamp).map(aws_smithy_types::DateTime::from_secs);
    attributes([
        ("creation_time", time(created)),
        ("dead_letter_queue", dead_letter_queue),
        ("fifo", Some(json!(found.get(&Name::FifoQueue).is_some_and(|is| is == "true")))),
        ("kms_key", found.get(&Name::KmsMasterKeyId).map(|key| json!(key))),
        ("retention_s", number(&Name::MessageRetentionPeriod).map(|seconds| json!(seconds))),
        ("url", Some(json!(url))),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::statements::tests::{a_resource, said};
    use super::*;

    #[test]
    fn messages_need_the_key_and_settings_are_the_owners() {
        let arn = "arn:aws:sqs:eu-west-1:111122223333:jobs";
        let queue = a_resource(arn, json!({ "kms_key": "alias/jobs" }));
        let said = |asked| said("aws-sqs-queue", asked, &queue);
        let look = "GetQueueAttributes GetQueueUrl ListDeadLetterSourceQueues ListQueueTags";
        assert_eq!(said("READ_ONLY"), [format!("{look} on {arn}")]);
        assert_eq!(
            said("READ_WRITE"),
            [
                format!(
                    "ChangeMessageVisibility DeleteMessage {look} ReceiveMessage SendMessage on {arn}"
                ),
                "Decrypt GenerateDataKey on arn:aws:kms:eu-west-1:111122223333:key/* when \
                 kms:ResourceAliases ForAnyValue:StringEquals alias/jobs when \
                 kms:ViaService StringEquals sqs.eu-west-1.amazonaws.com"
                    .to_owned(),
            ]
        );
        assert!(said("ADMIN")[0].contains("PurgeQueue"));
        for lasting in ["AddPermission", "SetQueueAttributes"] {
            assert!(!said("ADMIN")[0].contains(lasting) && said("OWNER")[0].contains(lasting));
        }
    }
}
