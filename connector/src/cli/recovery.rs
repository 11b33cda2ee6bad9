//! A database that was restored, or that another server took over: what it has forgotten of access.

use apono_connector_proto::v1::{
    EndRecoveryRequest, ForgottenChange, GetRecoveryRequest, Recovery as Found,
    access_service_client::AccessServiceClient,
};

use super::{
    connect::{Client, Way},
    output::{Format, print_table, say, time},
};

#[derive(Debug, clap::Args)]
pub(super) struct Recovery {
    #[command(subcommand)]
    end: Option<Change>,
}

#[derive(Debug, clap::Subcommand)]
enum Change {
    /// Ends it: access is given and taken away again, and what is overdue ends at once.
    End(End),
}

#[derive(Debug, clap::Args)]
struct End {
    /// Why, and what was seen in AWS.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// A request that was the connector's own: what it made is removed with its last grant, at
    /// once where it has none. What is not named stays, as somebody else's.
    #[arg(long = "own", value_name = "REQUEST", conflicts_with = "own_all")]
    own: Vec<String>,
    /// All that was made was the connector's own.
    #[arg(long)]
    own_all: bool,
    /// Ends it although AWS has not told of all integrations.
    #[arg(long)]
    unread: bool,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
}

type Api = AccessServiceClient<Way>;

impl Recovery {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self.end {
            None => show(client).await,
            Some(Change::End(end)) => end.run(client).await,
        }
    }
}

async fn found(client: &Client) -> anyhow::Result<Option<Found>> {
    let request = GetRecoveryRequest { connector_id: client.connector_id.clone() };
    let answer = Api::new(client.way.clone()).get_recovery(request).await?.into_inner();
    Ok(answer.recovery)
}

async fn show(client: &Client) -> anyhow::Result<()> {
    let found = found(client).await?;
    match (client.format, found) {
        (Format::Json, found) => client.print(&found.unwrap_or_default(), &[], []),
        (Format::Table, None) => {
            say!("the connector is not recovering: its database remembers all");
            Ok(())
        }
        (Format::Table, Some(found)) => {
            print(&found);
            Ok(())
        }
    }
}

fn print(found: &Found) {
    say!("RECOVERING since {}: {}", time(found.start_time.as_ref()), found.cause);
    say!("the database remembers all until {}", time(found.remembered_until_time.as_ref()));
    say!("no access is given and none is taken away; {} grants are live", found.live_grants);
    for unread in &found.unread {
        let why = if unread.trouble.is_empty() { "it is being read" } else { &unread.trouble };
        say!("AWS has not told of {}: {why}", unread.integration);
    }
    for mechanism in &found.untold_mechanisms {
        say!("AWS keeps no record of {mechanism}: grants of it will end; CloudTrail has the rest");
    }
    table("made in AWS since then, and not known here:", &found.made);
    table("removed in AWS since then, though live here (their grants will end):", &found.removed);
    say!("\n`recovery end --reason TEXT` goes on; --own REQUEST and --own-all say what was ours");
}

fn table(heading: &str, changes: &[ForgottenChange]) {
    if changes.is_empty() {
        return;
    }
    say!("\n{heading}");
    let rows = changes.iter().map(|change| {
        vec![
            change.request_id.clone(),
            time(change.time.as_ref()),
            change.object.clone(),
            change.grant_ids.join(", "),
        ]
    });
    print_table(&["request", "time", "object", "grants"], rows);
}

impl End {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        if !self.yes {
            let found = found(client).await?;
            let made = found.map_or(0, |found| found.made.len());
            let own = if self.own_all { made } else { self.own.len() };
            let question = format!(
                "Go on? Of {made} that were made in AWS and are not known here, {own} are the connector's own; the others stay for ever"
            );
            if !inquire::Confirm::new(&question).with_default(false).prompt()? {
                anyhow::bail!("the recovery goes on");
            }
        }
        let request = EndRecoveryRequest {
            connector_id: client.connector_id.clone(),
            reason: self.reason,
            own_request_ids: self.own,
            own_all: self.own_all,
            accept_unread: self.unread,
        };
        let ended = Api::new(client.way.clone()).end_recovery(request).await?.into_inner();
        match client.format {
            Format::Json => client.print(&ended, &[], []),
            Format::Table => {
                say!("the recovery has ended; {} are the connector's own", ended.owned);
                for grant in &ended.revoked_grant_ids {
                    say!("{grant} was revoked: its access was removed");
                }
                Ok(())
            }
        }
    }
}
