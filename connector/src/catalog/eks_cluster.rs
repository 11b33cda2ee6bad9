//! EKS clusters. The list tells names alone, so each is described.

use async_trait::async_trait;
use aws_sdk_eks::types::Cluster;
use futures::{StreamExt as _, stream};
use serde_json::{Map, Value, json};

use super::{
    CALLS_AT_ONCE, Collector, Ground, Page, ResourceType, Way, arn, attributes, described, here,
    time,
};
use crate::{
    aws::ApiError,
    model::{
        proof::PageToken,
        resource::{Resource, TAGS},
        scope::Reach,
    },
};

const LIST_CLUSTERS: &str = "eks:ListClusters";
const DESCRIBE_CLUSTER: &str = "eks:DescribeCluster";

/// The most that a page may hold.
const PAGE_CLUSTERS: i32 = 100;

/// Reads clusters.
pub(super) struct Clusters;

const TYPES: &[ResourceType] = &[ResourceType {
    id: "aws-eks-cluster",
    display_name: "EKS cluster",
    permissions: &[],
    way_in: Way::NONE,
    attributes: &[
        (
            "authentication_mode",
            "Who may enter: `API`, `API_AND_CONFIG_MAP`, or `CONFIG_MAP`, under which access entries do nothing.",
        ),
        ("creation_time", "When it was created, RFC 3339, UTC."),
        ("endpoint", "Address of its API server."),
        ("public_endpoint", "Whether that address can be reached from the internet."),
        ("role", "ARN of the role that its control plane runs as."),
        ("status", "`ACTIVE`, `UPDATING`, …"),
        ("version", "Version of Kubernetes."),
        ("vpc_id", "VPC: `vpc-…`."),
    ],
}];

#[async_trait]
impl Collector for Clusters {
    fn name(&self) -> &'static str {
        "eks_cluster"
    }

    fn reach(&self) -> Reach {
        Reach::Region
    }

    fn types(&self) -> &'static [ResourceType] {
        TYPES
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[LIST_CLUSTERS, DESCRIBE_CLUSTER]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let answer = ground
            .access
            .eks()
            .list_clusters()
            .max_results(PAGE_CLUSTERS)
            .set_next_token(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(LIST_CLUSTERS, &error))?;
        let next = PageToken::of(answer.next_token());
        let resources = stream::iter(answer.clusters.unwrap_or_default())
            .map(|name| cluster(ground, name))
            .buffered(CALLS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        Ok(Page { resources, next, ..Page::default() })
    }
}

/// None: the cluster has gone since it was listed.
async fn cluster(ground: &Ground<'_>, name: String) -> Option<Resource> {
    let asked = ground.access.eks().describe_cluster().name(&name).send().await;
    let told = asked.map_err(|error| ApiError::of(DESCRIBE_CLUSTER, &error));
    let unread = told.as_ref().err().map(|error| (TAGS.to_owned(), error.reason.code));
    let mut resource =
        here(ground, &TYPES[0], arn(ground, "eks", &format!("cluster/{name}")), name);
    resource.unread.extend(unread);
    described(resource, &TYPES[0], told, &["ResourceNotFoundException"], |resource, answer| {
        let Some(found) = answer.cluster else { return };
        resource.attributes = read(&found);
        resource.tags = found.tags.unwrap_or_default().into_iter().collect();
    })
}

fn read(found: &Cluster) -> Map<String, Value> {
    let vpc = found.resources_vpc_config();
    let mode = found.access_config().and_then(|access| access.authentication_mode());
    attributes([
        ("authentication_mode", mode.map(|mode| json!(mode.as_str()))),
        ("creation_time", time(found.created_at)),
        ("endpoint", found.endpoint().map(|address| json!(address))),
        ("public_endpoint", vpc.map(|vpc| json!(vpc.endpoint_public_access()))),
        ("role", found.role_arn().map(|role| json!(role))),
        ("status", found.status().map(|status| json!(status.as_str()))),
        ("version", found.version().map(|version| json!(version))),
        ("vpc_id", vpc.and_then(|vpc| vpc.vpc_id()).map(|id| json!(id))),
    ])
}
