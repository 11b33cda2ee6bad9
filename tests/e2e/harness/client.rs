//! Clients of the API, as a control plane would make them.

use std::{net::SocketAddr, path::Path};

use apono_connector_proto::v1::{
    CreateIntegrationRequest, CreateIntegrationResponse, GetIntegrationRequest, Integration,
    IntegrationSettings, IntegrationStatus, ListProblemsRequest, ListResourcesRequest, Problem,
    Resource, StartSyncRequest, Sync, SyncState, WatchSyncRequest,
    integration_service_client::IntegrationServiceClient,
    inventory_service_client::InventoryServiceClient,
    operations_service_client::OperationsServiceClient, sync_service_client::SyncServiceClient,
};
use hyper_util::rt::TokioIo;
use tonic::{
    Status,
    transport::{Channel, Endpoint, Uri},
};

use super::Cloud;

/// The services of a daemon.
#[derive(Clone)]
pub(crate) struct Api {
    /// The way there.
    pub channel: Channel,
    /// The connector that it speaks of; empty: the caller's only one.
    pub connector_id: String,
}

impl Api {
    /// Through the local socket.
    pub(crate) async fn local(socket: &Path) -> Self {
        let socket = socket.to_owned();
        let connect = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move {
                Ok::<_, std::io::Error>(TokioIo::new(
                    tokio::net::UnixStream::connect(socket).await?,
                ))
            }
        });
        let channel = Endpoint::from_static("http://local").connect_with_connector(connect).await;
        Self { channel: channel.expect("a socket"), connector_id: String::new() }
    }

    /// Through the port, without a token.
    pub(crate) async fn remote(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let channel = endpoint.connect().await.expect("a port");
        Self { channel, connector_id: String::new() }
    }

    pub(crate) fn integrations(&self) -> IntegrationServiceClient<Channel> {
        IntegrationServiceClient::new(self.channel.clone())
    }

    pub(crate) fn syncs(&self) -> SyncServiceClient<Channel> {
        SyncServiceClient::new(self.channel.clone())
    }

    pub(crate) fn inventory(&self) -> InventoryServiceClient<Channel> {
        InventoryServiceClient::new(self.channel.clone())
    }

    pub(crate) fn operations(&self) -> OperationsServiceClient<Channel> {
        OperationsServiceClient::new(self.channel.clone())
    }

    /// Connects an organization.
    pub(crate) async fn create(
        &self,
        settings: IntegrationSettings,
    ) -> Result<CreateIntegrationResponse, Status> {
        let (connector_id, settings) = (self.connector_id.clone(), Some(settings));
        let request = CreateIntegrationRequest { connector_id, settings };
        self.integrations().create_integration(request).await.map(tonic::Response::into_inner)
    }

    /// Connects the cloud's organization, and waits for the first sync.
    pub(crate) async fn create_and_sync(&self, settings: IntegrationSettings) -> Sync {
        let created = self.create(settings).await.expect("an integration");
        self.watch(&created.sync_id).await
    }

    /// Starts a sync and waits for its end.
    pub(crate) async fn sync(&self, integration: &str) -> Sync {
        let (connector_id, integration) = (self.connector_id.clone(), integration.to_owned());
        let request = StartSyncRequest { connector_id, integration };
        let started = self.syncs().start_sync(request).await.expect("a sync").into_inner();
        self.watch(&started.sync.expect("a sync").id).await
    }

    /// Follows a sync to its end.
    pub(crate) async fn watch(&self, sync_id: &str) -> Sync {
        let (connector_id, sync_id) = (self.connector_id.clone(), sync_id.to_owned());
        let request = WatchSyncRequest { connector_id, sync_id };
        let mut stream = self.syncs().watch_sync(request).await.expect("a stream").into_inner();
        let mut last = None;
        while let Some(change) = stream.message().await.expect("a change") {
            last = change.sync;
        }
        let last = last.expect("a sync");
        let ended = [
            SyncState::Succeeded,
            SyncState::SucceededWithProblems,
            SyncState::Failed,
            SyncState::Cancelled,
        ];
        assert!(ended.contains(&last.state()), "the stream ends with the sync: {last:?}");
        last
    }

    /// One integration.
    pub(crate) async fn get(&self, integration: &str) -> Integration {
        let request =
            GetIntegrationRequest { integration: integration.to_owned(), ..Default::default() };
        let found = self.integrations().get_integration(request).await.expect("an integration");
        found.into_inner().integration.expect("an integration")
    }

    /// State of one integration.
    pub(crate) async fn status(&self, integration: &str) -> IntegrationStatus {
        self.get(integration).await.status()
    }

    /// Every resource, page by page.
    pub(crate) async fn resources(&self) -> Vec<Resource> {
        let mut resources = Vec::new();
        let mut request = ListResourcesRequest { page_size: 7, ..Default::default() };
        loop {
            let page = self.inventory().list_resources(request.clone()).await.expect("a page");
            let page = page.into_inner();
            resources.extend(page.resources);
            if page.next_page_token.is_empty() {
                return resources;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Every resource, as `arn name tags`, sorted.
    pub(crate) async fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .resources()
            .await
            .into_iter()
            .map(|resource| {
                let tags: std::collections::BTreeMap<_, _> = resource.tags.into_iter().collect();
                format!("{} {} {tags:?}", resource.arn, resource.name)
            })
            .collect();
        lines.sort();
        lines
    }

    /// Open problems.
    pub(crate) async fn problems(&self) -> Vec<Problem> {
        let found = self.operations().list_problems(ListProblemsRequest::default()).await;
        found.expect("problems").into_inner().problems
    }

    /// Open problems, as `CODE count`.
    pub(crate) async fn problem_lines(&self) -> Vec<String> {
        let problems = self.problems().await;
        let mut lines: Vec<String> =
            problems.iter().map(|problem| format!("{} {}", problem.code, problem.count)).collect();
        lines.sort();
        lines
    }
}

/// Good settings for a cloud's organization, with every type.
pub(crate) fn settings_for(cloud: &Cloud) -> IntegrationSettings {
    IntegrationSettings {
        name: "prod".to_owned(),
        region: cloud.region().to_owned(),
        management_role_arn: cloud.management_role_arn(),
        root_or_ou_id: cloud.root.clone(),
        // One for each reach; what the engine does shows on them.
        resource_types: ["aws-account", "aws-ec2-instance", "aws-s3-bucket"]
            .map(str::to_owned)
            .to_vec(),
        ..Default::default()
    }
}

/// The same, with every type.
pub(crate) fn settings_with_every_type(cloud: &Cloud) -> IntegrationSettings {
    let resource_types = connector::catalog::type_ids().into_iter().map(str::to_owned).collect();
    let sso_region = cloud.region().to_owned();
    IntegrationSettings { resource_types, sso_region, ..settings_for(cloud) }
}
