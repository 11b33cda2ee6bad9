//! Lists: of grants, and of what was asked and done.

use apono_connector_proto::v1::{
    Grant, ListActsRequest, ListActsResponse, ListGrantsRequest, ListGrantsResponse,
};

use super::{Api, show};
use crate::cli::{connect::Client, output::time};

/// Items that are asked for at once. A grant may have a hundred units.
const PAGE_ITEMS_MAX: usize = 100;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Only of this integration, id or name; none: of all.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    integration: String,
    /// Also those of which nothing is left.
    #[arg(long)]
    all: bool,
    /// Only those with a unit that does not get on.
    #[arg(long)]
    stuck: bool,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Acts {
    /// Only of this grant; none: of all.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    grant: String,
    /// At most so many.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

impl List {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = Api::new(client.way.clone());
        let request = ListGrantsRequest {
            connector_id: client.connector_id.clone(),
            integration: self.integration,
            include_ended: self.all,
            only_stuck: self.stuck,
            ..Default::default()
        };
        let (grants, is_cut) = grants(&mut api, request, self.limit).await?;
        let answer = ListGrantsResponse { grants, ..Default::default() };
        let rows = answer.grants.iter().map(|grant| {
            vec![
                grant.id.clone(),
                show::recipient(grant.recipient.as_ref()),
                show::what(grant),
                show::state(grant),
                show::end(grant),
                grant.reason.clone(),
            ]
        });
        client.print(&answer, &["id", "recipient", "what", "state", "ends", "reason"], rows)?;
        if is_cut {
            eprintln!("there are more; raise --limit or narrow the conditions");
        }
        Ok(())
    }
}

/// Grants through all pages up to a limit, and whether there are more.
pub(super) async fn grants(
    api: &mut Api,
    mut request: ListGrantsRequest,
    limit: usize,
) -> anyhow::Result<(Vec<Grant>, bool)> {
    request.page_size = page_size(limit);
    let mut grants = Vec::new();
    let is_cut = loop {
        let page = api.list_grants(request.clone()).await?.into_inner();
        grants.extend(page.grants);
        if page.next_page_token.is_empty() || grants.len() >= limit {
            break !page.next_page_token.is_empty() || grants.len() > limit;
        }
        request.page_token = page.next_page_token;
    };
    grants.truncate(limit);
    Ok((grants, is_cut))
}

impl Acts {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = Api::new(client.way.clone());
        let mut request = ListActsRequest {
            connector_id: client.connector_id.clone(),
            grant_id: self.grant,
            page_size: page_size(self.limit),
            page_token: String::new(),
        };
        let mut answer = ListActsResponse::default();
        let is_cut = loop {
            let page = api.list_acts(request.clone()).await?.into_inner();
            answer.acts.extend(page.acts);
            if page.next_page_token.is_empty() || answer.acts.len() >= self.limit {
                break !page.next_page_token.is_empty() || answer.acts.len() > self.limit;
            }
            request.page_token = page.next_page_token;
        };
        answer.acts.truncate(self.limit);
        let rows = answer.acts.iter().map(|act| {
            vec![
                act.number.to_string(),
                time(act.time.as_ref()),
                act.grant_id.clone(),
                act.verb.clone(),
                act.actor.clone(),
                act.object.clone(),
                act.detail.clone(),
            ]
        });
        let headings = ["number", "time", "grant", "verb", "actor", "object", "detail"];
        client.print(&answer, &headings, rows)?;
        if is_cut {
            eprintln!("there are more; raise --limit or name a grant");
        }
        Ok(())
    }
}

/// As many as a page may hold, and no more than are wanted.
fn page_size(limit: usize) -> i32 {
    i32::try_from(limit.clamp(1, PAGE_ITEMS_MAX)).unwrap_or_default()
}
