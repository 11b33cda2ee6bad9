//! What was discovered.

use std::collections::HashMap;

use apono_connector_proto::v1::{
    self, GetResourceRequest, GetResourceResponse, GetTreeRequest, GetTreeResponse,
    ListAccountsRequest, ListAccountsResponse, ListCoverageRequest, ListCoverageResponse,
    ListResourceVersionsRequest, ListResourceVersionsResponse, ListResourcesRequest,
    ListResourcesResponse, ReleaseRemovalsRequest, ReleaseRemovalsResponse,
    SummarizeCoverageRequest, SummarizeCoverageResponse, SummarizeResourcesRequest,
    SummarizeResourcesResponse, WatchResourcesRequest, inventory_service_server::InventoryService,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Api,
    auth::caller,
    changes::Changes,
    filter::{self, Filter},
    integrations::find,
    page::{self, Page},
    status, words,
};
use crate::{
    catalog,
    model::ids::{AccountId, Region},
    store::{
        self, PgConnection, integrations::Integration, organization::Account, resources::Stored,
    },
};

/// Accounts that a tree shows; a larger organization is listed page by page.
const TREE_ACCOUNTS_MAX: i64 = 20_000;

#[tonic::async_trait]
impl InventoryService for Api {
    async fn get_tree(
        &self,
        request: Request<GetTreeRequest>,
    ) -> Result<Response<GetTreeResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        let units = store::organization::units(&mut conn, &connector, integration.id)
            .await
            .map_err(|error| status::store(&error))?;
        let excluded = &integration.settings.excluded_ou_ids;
        let organizational_units = units
            .into_iter()
            .map(|unit| v1::OrganizationalUnit {
                excluded: excluded.iter().any(|ou| ou.as_str() == unit.id),
                id: unit.id,
                name: unit.name,
                parent_id: unit.parent_id,
            })
            .collect();
        let accounts = accounts(&mut conn, &integration, "", TREE_ACCOUNTS_MAX).await?;
        Ok(Response::new(GetTreeResponse { organizational_units, accounts }))
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let page = Page::parse("accounts", request.page_size, &request.page_token)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        let after = page.after.as_deref().unwrap_or_default();
        let mut accounts = accounts(&mut conn, &integration, after, page.limit()).await?;
        let next_page_token = page.cut(&mut accounts, |account| account.id.clone());
        Ok(Response::new(ListAccountsResponse { accounts, next_page_token }))
    }

    async fn list_resources(
        &self,
        request: Request<ListResourcesRequest>,
    ) -> Result<Response<ListResourcesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let page = Page::parse("resources", request.page_size, &request.page_token)?;
        let condition = filter::conditions(&request)?;
        let (after_integration, after_arn) = match page.after.as_deref() {
            None => (Uuid::nil(), ""),
            Some(key) => key
                .split_once(' ')
                .and_then(|(id, arn)| Some((Uuid::try_parse(id).ok()?, arn)))
                .ok_or_else(page::damaged)?,
        };
        let mut conn = self.conn().await?;
        let filter = Filter::of(&mut conn, connector, &request.integration, condition).await?;
        let after = (after_integration, after_arn);
        let mut found = store::resources::list(&mut conn, &filter.meant(), after, page.limit())
            .await
            .map_err(|error| status::store(&error))?;
        let fits = page::fitting(&found, Stored::size);
        let next_page_token = page
            .cut_at(fits, &mut found, |found| format!("{} {}", found.integration_id, found.arn));
        let resources = found
            .into_iter()
            .map(|found| {
                let settings = filter.settings(found.integration_id);
                words::owned_resource(found, settings)
            })
            .collect();
        Ok(Response::new(ListResourcesResponse { resources, next_page_token }))
    }

    async fn get_resource(
        &self,
        request: Request<GetResourceRequest>,
    ) -> Result<Response<GetResourceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        status::refuse_nul("arn", &request.arn)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        let found = store::resources::get(&mut conn, &connector, integration.id, &request.arn)
            .await
            .map_err(|error| status::store(&error))?
            .ok_or_else(|| status::not_found("resource", &request.arn))?;
        let resource = words::owned_resource(found, Some(&integration.settings));
        Ok(Response::new(GetResourceResponse { resource: Some(resource) }))
    }

    async fn list_resource_versions(
        &self,
        request: Request<ListResourceVersionsRequest>,
    ) -> Result<Response<ListResourceVersionsResponse>, Status> {
        let caller = caller(&request)?;
        self.versions(&caller, request.into_inner()).await.map(Response::new)
    }

    type WatchResourcesStream = Changes;

    async fn watch_resources(
        &self,
        request: Request<WatchResourcesRequest>,
    ) -> Result<Response<Changes>, Status> {
        let caller = caller(&request)?;
        self.changes(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn summarize_resources(
        &self,
        request: Request<SummarizeResourcesRequest>,
    ) -> Result<Response<SummarizeResourcesResponse>, Status> {
        let caller = caller(&request)?;
        self.facets(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn summarize_coverage(
        &self,
        request: Request<SummarizeCoverageRequest>,
    ) -> Result<Response<SummarizeCoverageResponse>, Status> {
        let caller = caller(&request)?;
        self.summarize(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_coverage(
        &self,
        request: Request<ListCoverageRequest>,
    ) -> Result<Response<ListCoverageResponse>, Status> {
        let caller = caller(&request)?;
        self.scopes(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn release_removals(
        &self,
        request: Request<ReleaseRemovalsRequest>,
    ) -> Result<Response<ReleaseRemovalsResponse>, Status> {
        let caller = caller(&request)?;
        self.release(&caller, request.into_inner()).await.map(Response::new)
    }
}

/// Accounts with the reasons why scopes of them could not be read.
async fn accounts(
    conn: &mut PgConnection,
    integration: &Integration,
    after: &str,
    limit: i64,
) -> Result<Vec<v1::Account>, Status> {
    let read = async {
        let (connector, id) = (&integration.connector, integration.id);
        let accounts = store::organization::accounts(conn, connector, id, after, limit).await?;
        let unread = store::scopes::unread_by_account(conn, connector, id).await?;
        Ok::<_, store::Error>((accounts, unread))
    };
    let (accounts, unread) = read.await.map_err(|error| status::store(&error))?;
    let mut by_account: HashMap<String, Vec<v1::Unread>> = HashMap::new();
    for fold in unread {
        by_account.entry(fold.account_id).or_default().push(v1::Unread {
            reason: fold.reason,
            scopes: fold.scopes,
            example: fold.example,
        });
    }
    Ok(accounts
        .into_iter()
        .map(|account| {
            let unread = by_account.remove(account.id.as_str()).unwrap_or_default();
            shown(account, unread)
        })
        .collect())
}

fn shown(account: Account, unread: Vec<v1::Unread>) -> v1::Account {
    v1::Account {
        id: account.id.into(),
        name: account.name,
        email: account.email,
        state: words::account_state(&account.state).into(),
        path: account.path,
        coverage: words::coverage(account.coverage).into(),
        resources: account.resources,
        unread,
        first_seen_time: Some(words::timestamp(account.first_seen_at)),
    }
}

/// Refuses a type that is none.
pub(super) fn check_type(kind: &str) -> Result<(), Status> {
    if kind.is_empty() || catalog::type_ids().contains(&kind) {
        return Ok(());
    }
    let types = catalog::type_ids().join(", ");
    Err(status::bad_request(
        "type",
        format!("{kind:?} is not a resource type; choose from {types}"),
    ))
}

/// Refuses an account or a region that is none.
pub(super) fn check_place(account_id: &str, region: &str) -> Result<(), Status> {
    if !account_id.is_empty() {
        account_id
            .parse::<AccountId>()
            .map_err(|error| status::bad_request("account_id", error.to_string()))?;
    }
    if !region.is_empty() {
        region
            .parse::<Region>()
            .map_err(|error| status::bad_request("region", error.to_string()))?;
    }
    Ok(())
}
