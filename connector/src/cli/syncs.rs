//! Starting syncs and following them.

use anyhow::Context as _;
use apono_connector_proto::v1::{
    CancelSyncRequest, ExplainSyncRequest, ExplainSyncResponse, GetSyncRequest, ListSyncsRequest,
    ListSyncsResponse, ScopeRun, StartSyncRequest, Sync, SyncState, WatchSyncRequest,
    sync_service_client::SyncServiceClient,
};
use indicatif::{ProgressBar, ProgressStyle};
use tonic::Code;

use super::{
    connect::{Client, Way},
    output::{Format, duration, print_table, say, time, word},
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
        /// Id of the sync, or the integration (id or name) whose newest it is.
        sync: String,
    },
    /// Lists the syncs of an integration, newest first.
    List {
        /// Integration, id or name.
        integration: String,
        /// How many.
        #[arg(long, default_value_t = 20)]
        limit: i32,
    },
    /// Stops a sync; what it has read stays.
    Cancel {
        /// Id of the sync, or the integration (id or name) whose newest it is.
        sync: String,
    },
    /// Tells where the time of a sync went: what was slow, throttled, or not read.
    Explain {
        /// Id of the sync, or the integration (id or name) whose newest it is.
        sync: String,
    },
    /// Shows one sync.
    Get {
        /// Id of the sync, or the integration (id or name) whose newest it is.
        sync: String,
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
            Self::Watch { sync } => {
                let sync_id = meant(&mut api, client, sync).await?;
                follow(&mut api, client, sync_id).await
            }
            Self::List { integration, limit } => {
                let request = ListSyncsRequest {
                    connector_id,
                    integration,
                    page_size: limit,
                    ..Default::default()
                };
                print(client, api.list_syncs(request).await?.into_inner().syncs)
            }
            Self::Cancel { sync } => {
                let sync_id = meant(&mut api, client, sync).await?;
                let request = CancelSyncRequest { connector_id, sync_id };
                let answer = api.cancel_sync(request).await?.into_inner();
                print(client, answer.sync.into_iter().collect())
            }
            Self::Explain { sync } => {
                let sync_id = meant(&mut api, client, sync).await?;
                let request = ExplainSyncRequest { connector_id, sync_id };
                explain(client, &api.explain_sync(request).await?.into_inner())
            }
            Self::Get { sync } => {
                let sync_id = meant(&mut api, client, sync).await?;
                let request = GetSyncRequest { connector_id, sync_id };
                print(client, api.get_sync(request).await?.into_inner().sync.into_iter().collect())
            }
        }
    }
}

/// The sync that is meant: the newest of an integration, else the one of this id.
async fn meant(
    api: &mut SyncServiceClient<Way>,
    client: &Client,
    named: String,
) -> anyhow::Result<String> {
    let request = ListSyncsRequest {
        connector_id: client.connector_id.clone(),
        integration: named.clone(),
        page_size: 1,
        ..Default::default()
    };
    match api.list_syncs(request).await {
        Ok(answer) => {
            let newest = answer.into_inner().syncs.into_iter().next();
            Ok(newest.with_context(|| format!("{named} has not been synced yet"))?.id)
        }
        Err(status) if status.code() == Code::NotFound => Ok(named),
        Err(status) => Err(status.into()),
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

fn explain(client: &Client, answer: &ExplainSyncResponse) -> anyhow::Result<()> {
    if client.format == Format::Json {
        return client.print(answer, &[], []);
    }
    print(client, answer.sync.iter().cloned().collect())?;
    say!("\nby collector (scopes are read beside each other)");
    print_table(
        &[
            "collector",
            "read",
            "calls",
            "throttled",
            "total",
            "waited",
            "median",
            "95 %",
            "longest",
        ],
        answer.collectors.iter().map(|runs| {
            vec![
                runs.collector.clone(),
                format!("{}/{}", runs.complete, runs.scopes),
                runs.calls.to_string(),
                runs.throttles.to_string(),
                duration(runs.total.as_ref()),
                duration(runs.waited.as_ref()),
                duration(runs.median.as_ref()),
                duration(runs.percentile_95.as_ref()),
                duration(runs.longest.as_ref()),
            ]
        }),
    );
    for (title, runs) in
        [("slowest scopes", &answer.slowest), ("most throttled scopes", &answer.most_throttled)]
    {
        if !runs.is_empty() {
            say!("\n{title}");
            print_runs(runs);
        }
    }
    if !answer.unread.is_empty() {
        say!("\nnot read");
        let rows = answer.unread.iter().map(|unread| {
            vec![unread.scopes.to_string(), unread.reason.clone(), unread.subject.clone()]
        });
        print_table(&["scopes", "reason", "subject"], rows);
    }
    Ok(())
}

fn print_runs(runs: &[ScopeRun]) {
    let rows = runs.iter().map(|run| {
        vec![
            run.account_id.clone(),
            run.region.clone(),
            run.collector.clone(),
            duration(run.took.as_ref()),
            duration(run.waited.as_ref()),
            run.calls.to_string(),
            run.throttles.to_string(),
            run.pages.to_string(),
            run.resources.to_string(),
        ]
    });
    let headings = [
        "account",
        "region",
        "collector",
        "took",
        "waited",
        "calls",
        "throttled",
        "pages",
        "resources",
    ];
    print_table(&headings, rows);
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
