//! What is covered: a matrix of regions and collectors, or scope by scope.

use std::collections::BTreeSet;

use apono_connector_proto::v1::{
    CoverageCell, ListCoverageRequest, ListCoverageResponse, SummarizeCoverageRequest,
    SummarizeCoverageResponse, inventory_service_client::InventoryServiceClient,
};

use super::{
    connect::Client,
    output::{Format, print_table, say, time},
};

/// Scopes that are asked for at once.
const PAGE_ITEMS: i32 = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Coverage {
    /// Integration, id or name.
    integration: String,
    /// Lists scope by scope instead of showing the matrix.
    #[arg(long)]
    scopes: bool,
    /// Only scopes that could not be read last time; lists scope by scope.
    #[arg(long)]
    unread: bool,
    /// Only this account; lists scope by scope.
    #[arg(long, default_value = "")]
    account: String,
    /// Only this region; lists scope by scope.
    #[arg(long, default_value = "")]
    region: String,
    /// Only this collector; lists scope by scope.
    #[arg(long, default_value = "")]
    collector: String,
}

impl Coverage {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let has_condition = [&self.account, &self.region, &self.collector]
            .into_iter()
            .any(|condition| !condition.is_empty());
        if self.scopes || self.unread || has_condition {
            self.list(client).await
        } else {
            self.matrix(client).await
        }
    }

    async fn matrix(self, client: &Client) -> anyhow::Result<()> {
        let mut api = InventoryServiceClient::new(client.way.clone());
        let request = SummarizeCoverageRequest {
            connector_id: client.connector_id.clone(),
            integration: self.integration,
        };
        let answer = api.summarize_coverage(request).await?.into_inner();
        match client.format {
            Format::Json => client.print(&answer, &[], []),
            Format::Table => {
                print_matrix(&answer);
                Ok(())
            }
        }
    }

    async fn list(self, client: &Client) -> anyhow::Result<()> {
        let mut api = InventoryServiceClient::new(client.way.clone());
        let mut request = ListCoverageRequest {
            connector_id: client.connector_id.clone(),
            integration: self.integration,
            account_id: self.account,
            region: self.region,
            collector: self.collector,
            only_unread: self.unread,
            page_size: PAGE_ITEMS,
            page_token: String::new(),
        };
        let mut answer = ListCoverageResponse::default();
        loop {
            let page = api.list_coverage(request.clone()).await?.into_inner();
            answer.scopes.extend(page.scopes);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        let rows = answer.scopes.iter().map(|scope| {
            vec![
                named(&scope.account_id, "organization"),
                named(&scope.region, "-"),
                scope.collector.clone(),
                time(scope.complete_time.as_ref()),
                time(scope.try_time.as_ref()),
                named(&scope.reason, "ok"),
            ]
        });
        let headings = ["account", "region", "collector", "last complete", "tried", "reason"];
        client.print(&answer, &headings, rows)
    }
}

fn named(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

/// A row for each region, a column for each collector; below it, what the marks mean.
fn print_matrix(answer: &SummarizeCoverageResponse) {
    let collectors: BTreeSet<&str> =
        answer.cells.iter().map(|cell| cell.collector.as_str()).collect();
    let regions: BTreeSet<&str> = answer.cells.iter().map(|cell| cell.region.as_str()).collect();
    let headings: Vec<&str> =
        ["region"].into_iter().chain(collectors.iter().copied()).chain(["oldest"]).collect();
    let rows = regions.iter().map(|region| {
        let of_region = || answer.cells.iter().filter(|cell| cell.region == *region);
        let cells = collectors.iter().map(|collector| {
            let found = of_region().find(|cell| cell.collector == *collector);
            found.map_or_else(|| "-".to_owned(), shown)
        });
        let was_never = of_region().any(|cell| cell.oldest_complete_time.is_none());
        let oldest = of_region()
            .filter_map(|cell| cell.oldest_complete_time.as_ref())
            .min_by_key(|time| (time.seconds, time.nanos));
        let oldest = if was_never { "never".to_owned() } else { time(oldest) };
        [named(region, "(no region)")].into_iter().chain(cells).chain([oldest]).collect()
    });
    print_table(&headings, rows);
    say!(
        "\nscopes read whole of all, one for each account; what was not read shows older values, or none"
    );
}

/// `388/400`, and why not the others.
fn shown(cell: &CoverageCell) -> String {
    let unread: Vec<String> =
        cell.unread.iter().map(|unread| format!(" {} {}", unread.reason, unread.scopes)).collect();
    format!("{}/{}{}", cell.complete, cell.scopes, unread.concat())
}
