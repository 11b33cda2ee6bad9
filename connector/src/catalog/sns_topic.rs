//! SNS topics. The list tells ARNs alone, so each is asked for its attributes.

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use serde_json::json;

use super::{
    CALLS_AT_ONCE, Collector, Ground, Page, ResourceType, attributes, described, here, tags,
};
use crate::{
    aws::ApiError,
    model::{proof::PageToken, resource::Resource, scope::Reach},
};

const LIST_TOPICS: &str = "sns:ListTopics";
const GET_ATTRIBUTES: &str = "sns:GetTopicAttributes";

/// Reads topics.
pub(super) struct Topics;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-sns-topic",
    display_name: "SNS topic",
    attributes: &[
        ("display_name", "Name that subscribers see."),
        ("fifo", "Whether messages keep their order."),
        ("kms_key", "Key that encrypts its messages; absent: none."),
    ],
}];

#[async_trait]
impl Collector for Topics {
    fn name(&self) -> &'static str {
        "sns_topic"
    }

    fn reach(&self) -> Reach {
        Reach::Region
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[LIST_TOPICS, GET_ATTRIBUTES, tags::GET_RESOURCES]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let answer = ground
            .access
            .sns()
            .list_topics()
            .set_next_token(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_TOPICS, &error))?;
        let next = PageToken::of(answer.next_token());
        let topics = answer.topics.unwrap_or_default().into_iter().filter_map(|one| one.topic_arn);
        let mut resources: Vec<Resource> = stream::iter(topics)
            .map(|arn| topic(ground, arn))
            .buffered(CALLS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        tags::fill(ground.access, &mut resources).await;
        Ok(Page { resources, next, ..Page::default() })
    }
}

/// None: the topic has gone since it was listed.
async fn topic(ground: &Ground<'_>, arn: String) -> Option<Resource> {
    let asked = ground.access.sns().get_topic_attributes().topic_arn(&arn).send().await;
    let told = asked.map_err(|error| ApiError::of(GET_ATTRIBUTES, &error));
    let name = arn.rsplit(':').next().unwrap_or_default().to_owned();
    let resource = here(ground, &TYPES[0], arn, name);
    described(resource, &TYPES[0], told, &["NotFound", "NotFoundException"], |resource, answer| {
        let found = answer.attributes.unwrap_or_default();
        let text = |name: &str| found.get(name).filter(|text| !text.is_empty());
        resource.attributes = attributes([
            ("display_name", text("DisplayName").map(|name| json!(name))),
            ("fifo", Some(json!(text("FifoTopic").is_some_and(|is| is == "true")))),
            ("kms_key", text("KmsMasterKeyId").map(|key| json!(key))),
        ]);
    })
}
