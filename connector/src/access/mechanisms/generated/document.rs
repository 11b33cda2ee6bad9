//! A session document of ours: Systems Manager ends each shell that is opened with it after a time, though
//! nobody terminates it.
//!
//! An account has one for each length and region, made for the first grant that takes it and removed with the
//! last. What else stands in it is copied from the account's preferences when it is made, so that its logs, its
//! key and its user hold. Versions of a document never change: somebody else can only have another one count.

use async_trait::async_trait;
use aws_sdk_ssm::{
    config::{Builder, retry::RetryConfig},
    types::{DocumentFormat, DocumentStatus, DocumentType, Tag},
};
use aws_types::request_id::RequestId as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{Answer, Call, Kind, Look, Seen, iam::passing, read},
    Mark, not_ours,
};
use crate::{
    access::site::Site,
    aws::{Access, ApiError},
    catalog::PREFERENCES,
    model::{
        failure::{Failure, Lane},
        holding::{self, Holder},
        ids::{AccountId, IntegrationId, Region},
        object::Object,
        policy_document::name_of,
        share::Shares,
        statement::Statement,
        target::{Observed, Verb},
    },
};

pub(super) const CREATE: &str = "ssm:CreateDocument";
pub(super) const DELETE: &str = "ssm:DeleteDocument";
pub(super) const DESCRIBE: &str = "ssm:DescribeDocument";
pub(super) const GET: &str = "ssm:GetDocument";
pub(super) const TAG: &str = "ssm:AddTagsToResource";
pub(super) const UPDATE: &str = "ssm:UpdateDocumentDefaultVersion";

/// How Systems Manager says that a document is not there, and that it is there already.
const GONE: &str = "InvalidDocument";
const THERE: &str = "DocumentAlreadyExists";
/// The version that we make.
const FIRST: &str = "1";
/// What was changed shows by then.
const SHOWS_WITHIN: TimeDelta = TimeDelta::seconds(15);
/// The lengths that there are, in minutes. Source of the shortest and the longest that AWS takes, 1 and 1,440:
/// "Session document schema" in the user guide of AWS Systems Manager.
const LENGTHS: [u16; 4] = [15, 60, 240, 720];

/// A grant until a time is a little shorter when it comes than it was meant.
const ON_ITS_WAY: TimeDelta = TimeDelta::minutes(2);

/// Session documents in accounts and regions.
pub(super) struct Documents;

const NAME: &str = "aws-session-document";

/// The document that a permission takes.
#[derive(Serialize, Deserialize)]
pub(super) struct Planned {
    region: String,
    pub(super) name: String,
    minutes: u16,
}

#[derive(Serialize, Deserialize)]
struct Document {
    account: AccountId,
    region: Region,
    name: String,
    minutes: u16,
    mark: Mark,
}

/// What is there.
#[derive(Default, Serialize, Deserialize)]
struct Body {
    default_version: String,
}

impl Planned {
    /// The longest that fits a grant, for shells in a region.
    pub(super) fn fitting(length: TimeDelta, region: &str, integration: IntegrationId) -> Self {
        let fits = |minutes: &u16| TimeDelta::minutes((*minutes).into()) <= length + ON_ITS_WAY;
        let minutes = LENGTHS.into_iter().rfind(fits).unwrap_or(LENGTHS[0]);
        let name = format!("apono-session-{minutes}-{}", name_of(&[&integration.0.to_string()]));
        Self { region: region.to_owned(), name, minutes }
    }

    /// How long a shell goes on at most.
    pub(super) fn longest(&self) -> TimeDelta {
        TimeDelta::minutes(self.minutes.into())
    }

    /// Stands in these statements for the account's preferences.
    pub(super) fn stand_in(&self, statements: &mut [Statement]) {
        let theirs = format!(":document/{PREFERENCES}");
        for resource in statements.iter_mut().flat_map(|statement| &mut statement.resources) {
            if let Some(place) = resource.strip_suffix(&theirs) {
                *resource = format!("{place}:document/{}", self.name);
            }
        }
    }

    pub(super) fn object(&self, account: &AccountId, mark: &Mark) -> Object {
        let Self { region, name, minutes } = self;
        let key = format!("{account}/{region}/{name}");
        Object {
            mechanism: NAME,
            place: format!("document/{key}"),
            key,
            object: json!({
                "account": account,
                "region": region,
                "name": name,
                "minutes": minutes,
                "mark": mark,
            }),
            stage: 1,
            is_ours_alone: true,
            share: None,
        }
    }
}

#[async_trait]
impl Kind for Documents {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn observe(&self, site: &Site, look: &Look<'_>, lane: Lane) -> Result<Seen, ApiError> {
        let document: Document = read(DESCRIBE, look.object)?;
        let access = reach(site, &document, lane).await?;
        let body = body(&access, &document).await?;
        let is_whole = body.as_ref().is_some_and(|body| body.default_version == FIRST);
        let shows = |_: &str, verb| match verb {
            Verb::Create => is_whole,
            Verb::Delete => body.is_none(),
        };
        let operations = look.accepted(shows, SHOWS_WITHIN);
        let is_present = body.is_some();
        let observed =
            Observed { is_present, is_marked: is_present, operations, ..Observed::default() };
        Ok(Seen { observed, body: json!(body.unwrap_or_default()), facts: None })
    }

    async fn call(&self, site: &Site, call: &Call) -> Result<Answer, ApiError> {
        let document: Document = read(DESCRIBE, &call.object)?;
        let access = reach(site, &document, call.lane).await?;
        let (ssm, name) = (access.ssm(), &document.name);
        match call.verb {
            Verb::Create if call.is_present => {
                let call = ssm.update_document_default_version().name(name).document_version(FIRST);
                let answer = call.customize().config_override(once()).send().await;
                // Whoever has it keeps it, whatever another version says.
                Answer::of(UPDATE, answer)
                    .map_err(|error| ApiError { failure: Failure::Retry { after: None }, ..error })
            }
            Verb::Create => create(&access, &document).await,
            Verb::Delete => {
                let call = ssm.delete_document().name(name);
                let answer = call.customize().config_override(once()).send().await;
                Answer::of_removal(DELETE, GONE, answer)
            }
        }
    }

    fn shares(
        &self,
        body: &Value,
        holders: &[Holder],
        now: DateTime<Utc>,
    ) -> Result<Shares, ApiError> {
        if read::<Body>(DESCRIBE, body)?.default_version == FIRST {
            // It is there or it is not: one that may still be removed is nobody's yet.
            return Ok(Shares::default());
        }
        Ok(holding::all_lack(holders, now))
    }
}

/// The way to where a document is.
async fn reach(site: &Site, document: &Document, lane: Lane) -> Result<Access, ApiError> {
    Ok(site.member(&document.account, lane).await?.in_region(document.region.clone()))
}

/// A second attempt in the SDK would meet what the first one made.
fn once() -> Builder {
    Builder::new().retry_config(RetryConfig::disabled())
}

/// What a document says; none: no shell can be opened with it.
async fn body(access: &Access, document: &Document) -> Result<Option<Body>, ApiError> {
    let answer = access.ssm().describe_document().name(&document.name).send().await;
    let found = match answer.map_err(|error| ApiError::of(DESCRIBE, &error)) {
        Ok(found) => found.document,
        Err(error) if error.code.as_deref() == Some(GONE) => None,
        Err(error) => return Err(error),
    };
    let is_there = |status: Option<&DocumentStatus>| {
        matches!(status, Some(DocumentStatus::Active | DocumentStatus::Updating))
    };
    let Some(found) = found.filter(|found| is_there(found.status())) else { return Ok(None) };
    let tags: Vec<_> = found.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
    if !document.mark.is_on(&tags) {
        return Err(not_ours(DESCRIBE, &format!("a document {}", document.name)));
    }
    Ok(Some(Body { default_version: found.default_version.unwrap_or_default() }))
}

async fn create(access: &Access, document: &Document) -> Result<Answer, ApiError> {
    // Nothing is changed by a look.
    let content = content(access, document.minutes)
        .await
        .map_err(|error| ApiError { leaves_doubt: false, ..error })?;
    let tags = document.mark.tags().map(|(key, value)| {
        Tag::builder().key(key).value(value).build().expect("a tag with key and value is whole")
    });
    let made = access
        .ssm()
        .create_document()
        .name(&document.name)
        .content(content.to_string())
        .document_type(DocumentType::Session)
        .document_format(DocumentFormat::Json)
        .set_tags(Some(tags.to_vec()))
        .customize()
        .config_override(once())
        .send()
        .await
        .map_err(|error| passing(ApiError::of(CREATE, &error), &[THERE]))?;
    Ok(made.request_id().unwrap_or("without an id").to_owned().into())
}

/// The account's preferences, but for the length; those of nobody where it has none.
async fn content(access: &Access, minutes: u16) -> Result<Value, ApiError> {
    let call = access.ssm().get_document().name(PREFERENCES).document_format(DocumentFormat::Json);
    let theirs = match call.send().await.map_err(|error| ApiError::of(GET, &error)) {
        Ok(found) => found.content.unwrap_or_default(),
        Err(error) if error.code.as_deref() == Some(GONE) => String::new(),
        Err(error) => return Err(error),
    };
    if theirs.is_empty() {
        return Ok(within(json!({}), minutes));
    }
    let theirs: Value = serde_json::from_str(&theirs).map_err(|error| {
        let words =
            format!("{PREFERENCES} cannot be read, so its preferences would be lost: {error}");
        ApiError::answered(GET, "", &words, 400)
    })?;
    Ok(within(theirs["inputs"].clone(), minutes))
}

/// A document of these preferences that ends its shells after so many minutes, or after fewer where those say
/// so.
fn within(preferences: Value, minutes: u16) -> Value {
    let mut inputs = if preferences.is_object() { preferences } else { json!({}) };
    let theirs = inputs["maxSessionDuration"].as_str().and_then(|text| text.parse::<u16>().ok());
    let shorter = theirs.filter(|theirs| (1..minutes).contains(theirs)).unwrap_or(minutes);
    inputs["maxSessionDuration"] = json!(shorter.to_string());
    json!({
        "schemaVersion": "1.0",
        "description": "Shells that the Apono connector allows for a time, with this account's preferences",
        "sessionType": "Standard_Stream",
        "inputs": inputs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::statement::allow;

    #[test]
    fn the_longest_is_taken_that_fits_a_grant() {
        let fitting = |minutes| {
            let length = TimeDelta::minutes(minutes);
            Planned::fitting(length, "eu-west-1", IntegrationId(uuid::Uuid::nil()))
        };
        for (length, taken) in
            [(1, 15), (15, 15), (57, 15), (58, 60), (237, 60), (240, 240), (720, 720), (9000, 720)]
        {
            assert_eq!(fitting(length).minutes, taken, "{length}");
        }
        let name = fitting(60).name;
        assert!(name.starts_with("apono-session-60-") && name.len() < 128, "{name}");
        let of_other = Planned::fitting(
            TimeDelta::hours(1),
            "eu-west-1",
            IntegrationId(uuid::Uuid::from_u128(1)),
        );
        assert_ne!(of_other.name, name);
    }

    #[test]
    fn it_stands_for_the_preferences_and_nothing_else() {
        let own = Planned { region: String::new(), name: "apono-session-15".into(), minutes: 15 };
        let place = "arn:aws:ssm:eu-west-1:111122223333:document";
        let other = format!("{place}/SSM-SessionManagerRunShell-2");
        let mut statements =
            [allow(&["a:b"]).on([&format!("{place}/{PREFERENCES}"), &other, &"arn:i".to_owned()])];
        own.stand_in(&mut statements);
        assert_eq!(
            statements[0].resources,
            [format!("{place}/apono-session-15"), other, "arn:i".to_owned()]
        );
    }

    #[test]
    fn preferences_hold_and_a_shorter_length_with_them() {
        let inputs = |theirs: Value| within(theirs, 60)["inputs"].clone();
        let key = json!({ "kmsKeyId": "key/1", "maxSessionDuration": "" });
        let kept = json!({ "kmsKeyId": "key/1", "maxSessionDuration": "60" });
        assert_eq!(inputs(key), kept);
        let longest = |minutes: &str| {
            inputs(json!({ "maxSessionDuration": minutes }))["maxSessionDuration"].clone()
        };
        assert_eq!([longest("30"), longest("61"), longest("0")], ["30", "60", "60"]);
        for none in [json!(null), json!("text"), json!({})] {
            assert_eq!(inputs(none), json!({ "maxSessionDuration": "60" }));
        }
    }
}
