//! SNS topics. The list tells ARNs alone, so each is asked for its attributes.

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use serde_json::json;

use super::{
    CALLS_AT_ONCE, Collector, Grantable, Ground, Level, Page, ResourceType, Way, attributes,
    described, here,
    statements::{ENCRYPT, key_use, on_it},
    tags,
};
use crate::{
    aws::ApiError,
    model::{proof::PageToken, resource::Resource, scope::Reach, statement::Statement},
    store::resources::Stored,
};

const LIST_TOPICS: &str = "sns:ListTopics";
const GET_ATTRIBUTES: &str = "sns:GetTopicAttributes";

/// Reads topics.
pub(super) struct Topics;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-sns-topic",
    display_name: "SNS topic",
    permissions: PERMISSIONS,
    way_in: WAY_IN,
    attributes: &[
        ("display_name", "Name that subscribers see."),
        ("fifo", "Whether messages keep their order."),
        ("kms_key", "Key that encrypts its messages; absent: none."),
    ],
}];

const WAY_IN: Way = Way {
    console: "sns/v3/home?region={region}#/topic/{arn}",
    command: "aws sns get-topic-attributes --region {region} --topic-arn {arn}",
};

const PERMISSIONS: &[Grantable] = &[
    Grantable::of("READ_ONLY", Level::Read, "See its settings and who has subscribed", |on| {
        Ok(vec![on_it(on, &[LOOK])])
    }),
    Grantable::of("READ_WRITE", Level::Write, "READ_ONLY; also publish", |on| {
        Ok(with_key(on, &[LOOK, PUBLISH]))
    }),
    Grantable::of("ADMIN", Level::Write, "READ_WRITE; also delete it", |on| {
        Ok(with_key(on, &[LOOK, PUBLISH, DELETE]))
    }),
    Grantable::of(
        "OWNER",
        Level::Owner,
        "ADMIN; also subscribe, and its settings with its policy, and tags: can leave lasting access",
        |on| Ok(with_key(on, &[LOOK, PUBLISH, DELETE, OWN])),
    ),
];

const LOOK: &[&str] = &[
    "sns:GetDataProtectionPolicy",
    "sns:GetTopicAttributes",
    "sns:ListSubscriptionsByTopic",
    "sns:ListTagsForResource",
];
const PUBLISH: &[&str] = &["sns:Publish"];
const DELETE: &[&str] = &["sns:DeleteTopic"];
/// Who has subscribed receives for as long as nobody ends it, and ending it cannot be narrowed
/// to a topic; `SetTopicAttributes` sets the policy as well; a data protection policy sends
/// findings elsewhere.
const OWN: &[&str] = &[
    "sns:AddPermission",
    "sns:ConfirmSubscription",
    "sns:PutDataProtectionPolicy",
    "sns:RemovePermission",
    "sns:SetTopicAttributes",
    "sns:Subscribe",
    "sns:TagResource",
    "sns:UntagResource",
];

fn with_key(on: &Stored, actions: &[&[&str]]) -> Vec<Statement> {
    [on_it(on, actions)].into_iter().chain(key_use(on, "sns", ENCRYPT)).collect()
}

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

#[cfg(test)]
mod tests {
    use super::super::statements::tests::{a_resource, said};
    use super::*;

    #[test]
    fn publishing_needs_the_key_and_subscriptions_are_the_owners() {
        let arn = "arn:aws:sns:eu-west-1:111122223333:news";
        let topic = a_resource(arn, json!({ "kms_key": "1" }));
        let said = |asked| said("aws-sns-topic", asked, &topic);
        let look = "GetDataProtectionPolicy GetTopicAttributes ListSubscriptionsByTopic \
                    ListTagsForResource";
        assert_eq!(said("READ_ONLY"), [format!("{look} on {arn}")]);
        assert_eq!(
            said("READ_WRITE"),
            [
                format!("{look} Publish on {arn}"),
                "Decrypt GenerateDataKey on arn:aws:kms:eu-west-1:111122223333:key/1 when \
                 kms:ViaService StringEquals sns.eu-west-1.amazonaws.com"
                    .to_owned(),
            ]
        );
        for lasting in [" Subscribe", "SetTopicAttributes", "AddPermission"] {
            assert!(!said("ADMIN")[0].contains(lasting) && said("OWNER")[0].contains(lasting));
        }
    }
}
