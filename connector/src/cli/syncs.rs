//! Starting syncs and following them.

use anyhow::Context as _;
use apono_connector_proto::v1::{
    GetSyncRequest, ListSyncsRequest, ListSyncsResponse, StartSyncRequest, Sync, SyncState,
    WatchSyncRequest, sync_service_client::SyncServiceClient,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    connect::{Client, Way},
    output::{Format, time, word},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Syncs {
    /// Starts a sync, or joins the one that runs.
    Start {
        /// Integration, id or name.
        integration: String,
        /// Follows it to its end.
        #[arg(long)]
        watch: bool,
    },
    /// Follows a sync to its end.
    Watch {
        /// Id of the sync.
        sync_id: String,
    },
    /// Lists the syncs of an integration, newest first.
    List {
        /// Integration, id or name.
        integration: String,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: i32,
    },
    /// Shows one sync.
    Get {
        /// Id of the sync.
        sync_id: String,
    },
}

impl Syncs {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = SyncServiceClient::new(client.way.clone());
        let connector_id = client.connector_id.clone();
        match self {
            Self::Start { integration, watch } => {
                let request = StartSyncRequest { connector_id, integration };
                let answer = api.start_sync(request).await?.into_inner();
                let sync = answer.sync.context("the daemon sent no sync")?;
                if watch {
                    follow(&mut api, client, sync.id).await
                } else {
                    print(client, vec![sync])
                }
            }
            Self::Watch { sync_id } => follow(&mut api, client, sync_id).await,
            Self::List { integration, limit } => {
                let request = ListSyncsRequest {
                    connector_id,
                    integration,
                    page_size: limit,
                    ..Default::default()
                };
                print(client, api.list_syncs(request).await?.into_inner().syncs)
            }
            Self::Get { sync_id } => {
                let request = GetSyncRequest { connector_id, sync_id };
                print(client, api.get_sync(request).await?.into_inner().sync.into_iter().collect())
            }
        }
    }
}

/// Shows a bar that moves with the scopes, then the sync as it ended.
async fn follow(
    api: &mut SyncServiceClient<Way>,
    client: &Client,
    sync_id: String,
) -> anyhow::Result<()> {
    let request = WatchSyncRequest { connector_id: client.connector_id.clone(), sync_id };
    let mut changes = api.watch_sync(request).await?.into_inner();
    let bar = match client.format {
        Format::Table => ProgressBar::new(0),
        Format::Json => ProgressBar::hidden(),
    };
    bar.set_style(ProgressStyle::with_template(
        "{elapsed_precise} [{bar:30}] {pos}/{len} places  {msg}",
    )?);
    let mut last = None;
    while let Some(change) = changes.message().await? {
        let Some(sync) = change.sync else { continue };
        let done = sync.scopes_complete + sync.scopes_incomplete;
        bar.set_length(u64::try_from(sync.scopes_planned).unwrap_or_default());
        bar.set_position(u64::try_from(done).unwrap_or_default());
        bar.set_message(format!(
            "{} seen, {} written",
            sync.resources_seen, sync.resources_written
        ));
        last = Some(sync);
    }
    bar.finish_and_clear();
    let last = last.context("the daemon ended the stream without a sync")?;
    let has_failed = [SyncState::Failed, SyncState::Cancelled].contains(&last.state());
    let detail = last.detail.clone();
    print(client, vec![last])?;
    anyhow::ensure!(!has_failed, "the sync did not succeed: {detail}; see `problems`");
    Ok(())
}

fn print(client: &Client, syncs: Vec<Sync>) -> anyhow::Result<()> {
    let answer = ListSyncsResponse { syncs, ..Default::default() };
    let rows = answer.syncs.iter().map(|sync| {
        vec![
            sync.id.clone(),
            word(sync.state().as_str_name(), "SYNC_STATE_"),
            word(sync.trigger().as_str_name(), "SYNC_TRIGGER_"),
            format!("{}/{}", sync.scopes_complete, sync.scopes_planned),
            sync.scopes_incomplete.to_string(),
            sync.resources_seen.to_string(),
            sync.resources_written.to_string(),
            sync.resources_gone.to_string(),
            time(sync.create_time.as_ref()),
            time(sync.end_time.as_ref()),
        ]
    });
    let headings = [
        "id", "state", "trigger", "read", "not read", "seen", "written", "gone", "planned", "ended",
    ];
    client.print(&answer, &headings, rows)
}
