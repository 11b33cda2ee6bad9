//! CloudTrail's event history, by `LookupEvents`: management events of an account and region of the last 90
//! days, by one attribute. What it does not have: data events, such as reads of S3 objects.
//!
//! It tells events some minutes after they happened, in no order; so each reading begins some minutes before
//! the end of the one before. Source: the API reference of CloudTrail (`LookupEvents`), which also says that it
//! takes two calls a second in an account and region.

use async_trait::async_trait;
use aws_sdk_cloudtrail::types::{LookupAttribute, LookupAttributeKey};
use aws_smithy_types::DateTime as SdkTime;
use chrono::{DateTime, TimeDelta, Utc};
use tracing::warn;

use super::{Error, Reading, Source};
use crate::{
    aws::{Access, ApiError, Aws},
    catalog::reach,
    model::{
        failure::{Lane, Reason, ReasonCode},
        integration::Settings,
    },
    store::{audit_places::Leased, integrations::Integration},
};

pub(in crate::audit) const LOOKUP_EVENTS: &str = "cloudtrail:LookupEvents";
/// How it is told of.
const NAME: &str = "cloudtrail-event-history";

/// What is read before it is noted how far.
const WINDOW: TimeDelta = TimeDelta::hours(6);
/// The most that a page holds.
const PAGE_ITEMS: i32 = 50;

pub(super) struct EventHistory;

#[async_trait]
impl Source for EventHistory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_by_name(&self) -> bool {
        true
    }

    fn is_of(&self, settings: &Settings) -> bool {
        settings.audit_enabled
    }

    fn access(&self, aws: &Aws, integration: &Integration, place: &Leased) -> Access {
        let (account, region) = (Some(&place.account), Some(&place.region));
        reach::access(aws, integration, account, region, Lane::Audit)
    }

    async fn read(&self, reading: &Reading<'_>) -> Result<(), Error> {
        let mut from = reading.from;
        while from < reading.place.now {
            let until = (from + WINDOW).min(reading.place.now);
            window(reading, from, until).await?;
            from = until;
        }
        Ok(())
    }
}

/// Stores what was done between two times.
async fn window(
    reading: &Reading<'_>,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(), Error> {
    let by_name = LookupAttribute::builder()
        .attribute_key(LookupAttributeKey::Username)
        .attribute_value(&reading.place.session_name)
        .build()
        .map_err(|error| ApiError::answered(LOOKUP_EVENTS, "", &error.to_string(), 400))?;
    let mut pages = reading
        .access
        .cloudtrail()
        .lookup_events()
        .lookup_attributes(by_name)
        .start_time(SdkTime::from_secs(from.timestamp()))
        .end_time(SdkTime::from_secs(until.timestamp() + 1))
        .max_results(PAGE_ITEMS)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| ApiError::of(LOOKUP_EVENTS, &error))?;
        let mut new = Vec::new();
        for event in page.events() {
            match reading.judge.judge(event.cloud_trail_event().unwrap_or_default()) {
                Ok(event) => new.extend(event),
                Err(words) => {
                    warn!(error = words, "a record of CloudTrail is passed over");
                    let reason = Reason::new(ReasonCode::UnreadableAnswer, LOOKUP_EVENTS, words);
                    let _ = reading.fault.set(reason);
                }
            }
        }
        reading.store(&new).await?;
    }
    reading.come_to(until).await
}
