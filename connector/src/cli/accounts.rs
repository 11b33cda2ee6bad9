//! The organization's accounts, as a list and as a tree.

use std::fmt::Write as _;

use apono_connector_proto::v1::{
    Account, AccountCoverage, GetTreeRequest, GetTreeResponse, ListAccountsRequest,
    ListAccountsResponse, inventory_service_client::InventoryServiceClient,
};

use super::{
    connect::Client,
    output::{Format, print, shown, word},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Accounts {
    /// Lists accounts.
    List {
        /// Integration, id or name.
        integration: String,
    },
    /// Shows units and accounts as a tree, with counts and what is not read.
    Tree {
        /// Integration, id or name.
        integration: String,
    },
}

impl Accounts {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::List { integration } => list(client, integration).await,
            Self::Tree { integration } => tree(client, integration).await,
        }
    }
}

async fn list(client: &Client, integration: String) -> anyhow::Result<()> {
    let mut api = InventoryServiceClient::new(client.way.clone());
    let mut request = ListAccountsRequest {
        connector_id: client.connector_id.clone(),
        integration,
        page_size: 500,
        ..Default::default()
    };
    let mut answer = ListAccountsResponse::default();
    loop {
        let page = api.list_accounts(request.clone()).await?.into_inner();
        answer.accounts.extend(page.accounts);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let rows = answer.accounts.iter().map(|account| {
        vec![
            account.id.clone(),
            account.name.clone(),
            word(account.state().as_str_name(), "ACCOUNT_STATE_"),
            word(account.coverage().as_str_name(), "ACCOUNT_COVERAGE_"),
            account.resources.to_string(),
            unread(account),
        ]
    });
    let headings = ["id", "name", "state", "coverage", "resources", "not read"];
    client.print(&answer, &headings, rows)
}

async fn tree(client: &Client, integration: String) -> anyhow::Result<()> {
    let mut api = InventoryServiceClient::new(client.way.clone());
    let request = GetTreeRequest { connector_id: client.connector_id.clone(), integration };
    let answer = api.get_tree(request).await?.into_inner();
    match client.format {
        Format::Json => client.print(&answer, &[], []),
        Format::Table => {
            let mut text = String::new();
            write_units(&mut text, &answer, "", 0);
            print(shown(&text).trim_end());
            Ok(())
        }
    }
}

/// Units below a parent, each with its accounts, then its own units.
fn write_units(text: &mut String, tree: &GetTreeResponse, parent: &str, depth: usize) {
    let indent = "  ".repeat(depth);
    for unit in tree.organizational_units.iter().filter(|unit| unit.parent_id == parent) {
        let excluded = if unit.excluded { "  (excluded)" } else { "" };
        let _ = writeln!(text, "{indent}{} {}{excluded}", unit.name, unit.id);
        let inside = |account: &&Account| account.path.last() == Some(&unit.id);
        for account in tree.accounts.iter().filter(inside) {
            let _ =
                writeln!(text, "{indent}  {} {:<24} {}", account.id, account.name, state(account));
        }
        write_units(text, tree, &unit.id, depth + 1);
    }
}

fn state(account: &Account) -> String {
    match account.coverage() {
        AccountCoverage::Crawled if account.unread.is_empty() => {
            format!("{} resources", account.resources)
        }
        AccountCoverage::Crawled => {
            format!("{} resources, not read: {}", account.resources, unread(account))
        }
        AccountCoverage::Inactive => {
            format!("not read: {}", word(account.state().as_str_name(), "ACCOUNT_STATE_"))
        }
        AccountCoverage::Announced => {
            "not read yet: it was excluded; the next sync reads it".to_owned()
        }
        coverage @ (AccountCoverage::Unspecified
        | AccountCoverage::Excluded
        | AccountCoverage::Outside
        | AccountCoverage::UnknownState
        | AccountCoverage::Gone) => {
            format!("not read: {}", word(coverage.as_str_name(), "ACCOUNT_COVERAGE_"))
        }
    }
}

fn unread(account: &Account) -> String {
    let reasons: Vec<String> = account
        .unread
        .iter()
        .map(|unread| format!("{} ({} places)", unread.reason, unread.scopes))
        .collect();
    reasons.join(", ")
}
