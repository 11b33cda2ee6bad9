//! Following changes of resources, and letting held removals happen.

use apono_connector_proto::v1::{
    ReleaseRemovalsRequest, Resource, WatchResourcesRequest, WatchResourcesResponse,
    inventory_service_client::InventoryServiceClient,
};

use super::{
    connect::Client,
    output::{Format, json_line, say, time},
};

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Integration, id or name.
    integration: String,
    /// Goes on behind this cursor instead of beginning with all that is there.
    #[arg(long, default_value = "")]
    cursor: String,
    /// Ends once everything that there is now was shown.
    #[arg(long)]
    once: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Release {
    /// Integration, id or name.
    integration: String,
    /// Only in this account.
    #[arg(long, default_value = "")]
    account: String,
    /// Only of this resource type.
    #[arg(long = "type", default_value = "")]
    kind: String,
}

impl Watch {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = InventoryServiceClient::new(client.way.clone());
        let request = WatchResourcesRequest {
            connector_id: client.connector_id.clone(),
            integration: self.integration,
            cursor: self.cursor,
            end_when_current: self.once,
        };
        let mut messages = api.watch_resources(request).await?.into_inner();
        while let Some(message) = messages.message().await? {
            match client.format {
                Format::Json => say!("{}", json_line(&message)?),
                Format::Table => print(&message),
            }
        }
        Ok(())
    }
}

/// One line for each change, and the cursor whenever nothing more is known.
fn print(message: &WatchResourcesResponse) {
    for resource in &message.resources {
        say!("{}", line(resource));
    }
    if message.current {
        eprintln!("up to date; to go on from here: --cursor {}", message.cursor);
    }
}

fn line(resource: &Resource) -> String {
    let (sign, at) = match &resource.gone_time {
        Some(gone) => ("-", gone),
        None => ("+", resource.change_time.as_ref().unwrap_or(&EPOCH)),
    };
    format!("{sign} {} {} {}  {}", time(Some(at)), resource.r#type, resource.arn, resource.name)
}

const EPOCH: prost_types::Timestamp = prost_types::Timestamp { seconds: 0, nanos: 0 };

impl Release {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = InventoryServiceClient::new(client.way.clone());
        let request = ReleaseRemovalsRequest {
            connector_id: client.connector_id.clone(),
            integration: self.integration,
            account_id: self.account,
            r#type: self.kind,
        };
        let answer = api.release_removals(request).await?.into_inner();
        if client.format == Format::Json {
            return client.print(&answer, &[], []);
        }
        match (answer.resources, answer.sync_id.as_str()) {
            (0, _) => say!("no removal is held there"),
            (count, "") => {
                say!("{count} resources go with the next sync that does not find them");
            }
            (count, sync) => {
                let or_next = if answer.joined {
                    ", or the one after it, where it has read already"
                } else {
                    ""
                };
                say!(
                    "{count} resources go if sync {sync} does not find them{or_next} (`sync watch` follows it)"
                );
            }
        }
        Ok(())
    }
}
