//! Follows the resources of an integration for whoever keeps a picture of them.
//!
//! A follower is served from the database alone: its cursor is all that is known of it, so
//! it may go away and come back to any replica. See `model::feed` for what a cursor is, and
//! `store::feeds` for why none of the changes before it can be missed.

use std::{sync::Arc, time::Duration};

use apono_connector_proto::v1::{Resource, WatchResourcesRequest, WatchResourcesResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Api, FOLLOWERS_MAX, auth::Caller, integrations::find, page, status, words};
use crate::{
    base::clock,
    model::{
        feed::Cursor,
        ids::{ConnectorId, IntegrationId},
    },
    store::{self, resources::Stored},
};

/// Resources in one message.
const RESOURCES_MAX: i64 = 500;
/// Messages that wait for a slow follower.
const MESSAGES_WAITING_MAX: usize = 2;
/// From one look for changes to the next.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

pub(super) type Changes = ReceiverStream<Result<WatchResourcesResponse, Status>>;

/// One that follows.
struct Follower {
    api: Api,
    connector: ConnectorId,
    integration: IntegrationId,
    cursor: Cursor,
    ends_when_current: bool,
    caller: Caller,
}

/// What a look at the feed has found.
struct Page {
    resources: Vec<Resource>,
    cursor: Cursor,
    is_current: bool,
}

impl Api {
    /// Begins to follow.
    pub(super) async fn changes(
        &self,
        caller: &Caller,
        request: WatchResourcesRequest,
    ) -> Result<Changes, Status> {
        let connector = caller.connector(&request.connector_id)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?.id;
        let now = store::feeds::position(&mut conn, &connector, integration)
            .await
            .map_err(|error| status::store(&error))?;
        drop(conn);
        let cursor = match request.cursor.as_str() {
            "" => Cursor::start(now.revision, now.horizon),
            text => decode(integration, text)?,
        };
        // One from ahead comes from before the database was restored.
        if cursor.revision > now.revision || !cursor.is_good(now.horizon) {
            return Err(status::cursor_too_old());
        }
        let place = Arc::clone(&self.followers)
            .try_acquire_owned()
            .map_err(|_| status::too_many_followers(FOLLOWERS_MAX))?;
        let (messages, stream) = mpsc::channel(MESSAGES_WAITING_MAX);
        let follower = Follower {
            api: self.clone(),
            connector,
            integration,
            cursor,
            ends_when_current: request.end_when_current,
            caller: caller.clone(),
        };
        let stopper = self.stopper.clone();
        tokio::spawn(async move {
            let _place = place;
            metrics::gauge!("connector_feed_followers").increment(1.0);
            let following = async {
                if let Err(error) = follower.run(&messages).await {
                    // The follower may be gone already.
                    let _ = messages.send(Err(error)).await;
                }
            };
            tokio::select! {
                () = following => {}
                () = stopper.stopping() => {
                    let ends = "the daemon stops; watch again with the last cursor";
                    // One that takes nothing in does not hold up the stop.
                    let _ = messages.try_send(Err(Status::unavailable(ends)));
                }
            }
            metrics::gauge!("connector_feed_followers").decrement(1.0);
        });
        Ok(ReceiverStream::new(stream))
    }
}

impl Follower {
    /// Sends what is new, until nobody listens.
    async fn run(
        mut self,
        messages: &mpsc::Sender<Result<WatchResourcesResponse, Status>>,
    ) -> Result<(), Status> {
        // The first message that brings a follower up to date is sent even when empty.
        let mut is_told = false;
        loop {
            let page = self.look(is_told).await?;
            let is_news = !page.resources.is_empty() || page.cursor != self.cursor || !is_told;
            if is_news {
                let message = WatchResourcesResponse {
                    resources: page.resources,
                    cursor: encode(self.integration, &page.cursor),
                    snapshot: page.cursor.snapshot.is_some(),
                    current: page.is_current,
                };
                if messages.send(Ok(message)).await.is_err() {
                    return Ok(());
                }
            }
            self.cursor = page.cursor;
            is_told |= page.is_current;
            if !page.is_current {
                continue;
            }
            if self.ends_when_current {
                return Ok(());
            }
            tokio::select! {
                () = clock::sleep(BETWEEN_LOOKS) => {}
                () = messages.closed() => return Ok(()),
            }
        }
    }

    /// Reads the next page. What is visible now, and what was purged, is asked for before
    /// and behind it, so that a page says neither too much nor too little.
    async fn look(&self, is_told: bool) -> Result<Page, Status> {
        let mut conn = self.api.conn().await?;
        self.caller.go_on(&mut conn).await?;
        let read = async {
            let (connector, id) = (&self.connector, self.integration);
            let before = store::feeds::position(&mut conn, connector, id).await?;
            let resources =
                store::resources::changes(&mut conn, connector, id, &self.cursor, RESOURCES_MAX)
                    .await?;
            let after = store::feeds::position(&mut conn, connector, id).await?;
            let is_there = store::integrations::get(&mut conn, connector, id).await?.is_some();
            let now = store::now(&mut conn).await?;
            Ok::<_, store::Error>((before, resources, after, is_there, now))
        };
        let (before, mut resources, after, is_there, now) =
            read.await.map_err(|error| status::store(&error))?;
        if !is_there {
            return Err(status::not_found("integration", &self.integration.to_string()));
        }
        if !self.cursor.is_good(after.horizon) {
            return Err(status::cursor_too_old());
        }
        let is_whole = resources.len() < usize::try_from(RESOURCES_MAX).unwrap_or_default();
        let fits = page::fitting(&resources, Stored::size);
        let is_current = is_whole && fits >= resources.len();
        resources.truncate(fits);
        let cursor = match resources.last() {
            Some(last) if !is_current => self.cursor.amid(last.revision, &last.arn, after.horizon),
            // Revisions become visible whole and in their order.
            last => {
                let seen = last.map_or(before.revision, |last| last.revision.max(before.revision));
                Cursor::behind(seen.max(self.cursor.revision), after.horizon)
            }
        };
        // What a follower missed while it was away does not count.
        if let (Some(last), true) = (resources.last(), is_told) {
            let lag = (now - last.changed_at).to_std().unwrap_or_default();
            metrics::histogram!("connector_feed_lag_seconds").record(lag);
        }
        let resources = resources.into_iter().map(change).collect();
        Ok(Page { resources, cursor, is_current })
    }
}

/// Without what changes by itself: how fresh a resource is stands on its scope, and who owns
/// it in the settings, too; no message would come when that changes.
fn change(stored: Stored) -> Resource {
    Resource {
        fresh_time: None,
        stale_reason: String::new(),
        missing_reads: 0,
        ..words::resource(stored)
    }
}

fn encode(integration: IntegrationId, cursor: &Cursor) -> String {
    hex::encode(format!("{integration} {cursor}"))
}

fn decode(integration: IntegrationId, text: &str) -> Result<Cursor, Status> {
    let text = hex::decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.as_deref()
        .filter(|text| !text.contains('\0'))
        .and_then(|text| text.strip_prefix(&integration.to_string())?.strip_prefix(' '))
        .and_then(|cursor| cursor.parse().ok())
        .ok_or_else(not_a_cursor)
}

fn not_a_cursor() -> Status {
    status::bad_request(
        "cursor",
        "is not a cursor of this integration; use the one of the last message, or none",
    )
}
