//! What a resource was.

use apono_connector_proto::v1::{
    ListResourceVersionsRequest, ListResourceVersionsResponse, ResourceVersion,
    inventory_service_client::InventoryServiceClient,
};

use super::{connect::Client, output::time, resources::text};

#[derive(Debug, clap::Args)]
pub(super) struct History {
    /// Integration, id or name.
    integration: String,
    /// ARN.
    arn: String,
    /// At most so many versions.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

impl History {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = InventoryServiceClient::new(client.way.clone());
        let mut request = ListResourceVersionsRequest {
            connector_id: client.connector_id.clone(),
            integration: self.integration,
            arn: self.arn,
            page_size: 500,
            page_token: String::new(),
        };
        let mut answer = ListResourceVersionsResponse::default();
        let is_cut = loop {
            let page = api.list_resource_versions(request.clone()).await?.into_inner();
            answer.versions.extend(page.versions);
            if page.next_page_token.is_empty() || answer.versions.len() >= self.limit {
                break !page.next_page_token.is_empty() || answer.versions.len() > self.limit;
            }
            request.page_token = page.next_page_token;
        };
        answer.versions.truncate(self.limit);
        let rows = answer.versions.iter().flat_map(rows);
        client.print(&answer, &["when", "what", "field", "before", "after"], rows)?;
        if is_cut {
            eprintln!("there are more; raise --limit");
        }
        Ok(())
    }
}

/// What happened when a version began and when it ended, the newest first.
fn rows(version: &ResourceVersion) -> Vec<Vec<String>> {
    let plain = |when: String, what: &str| {
        vec![when, what.to_owned(), String::new(), String::new(), String::new()]
    };
    let mut rows = Vec::new();
    if version.gone {
        rows.push(plain(time(version.end_time.as_ref()), "gone"));
    }
    let start = time(version.start_time.as_ref());
    let changes = version.changes.iter().map(|change| {
        let value = |value: &Option<_>| value.clone().map_or_else(|| "-".to_owned(), text);
        let (before, after) = (value(&change.before), value(&change.after));
        vec![start.clone(), "changed".to_owned(), change.field.clone(), before, after]
    });
    rows.extend(changes);
    if version.returned {
        rows.push(plain(start, "returned"));
    } else if version.changes.is_empty() {
        rows.push(plain(start, "first known"));
    }
    rows
}
