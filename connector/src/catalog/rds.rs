//! RDS: instances, and the clusters of Aurora and Multi-AZ. Both lists tell tags.

use async_trait::async_trait;
use aws_sdk_rds::types::{DbCluster, DbInstance, Tag};
use serde_json::json;

use super::{Collector, Ground, Page, ResourceType, attributes, here, name_of, time};
use crate::{
    aws::ApiError,
    model::{
        proof::PageToken,
        resource::{Resource, Tags},
        scope::Reach,
    },
};

const DESCRIBE_INSTANCES: &str = "rds:DescribeDBInstances";
const DESCRIBE_CLUSTERS: &str = "rds:DescribeDBClusters";

/// The most that a page may hold.
const PAGE_ITEMS: i32 = 100;

/// Reads instances.
pub(super) struct Instances;
/// Reads clusters.
pub(super) struct Clusters;

const INSTANCE: ResourceType = ResourceType {
    id: "aws-rds-instance",
    display_name: "RDS instance",
    attributes: &[
        ("class", "Instance class, such as `db.r7g.large`."),
        ("cluster", "Identifier of the cluster that it belongs to."),
        ("creation_time", "When it was created, RFC 3339, UTC."),
        ("encrypted", "Whether its storage is encrypted."),
        ("endpoint", "Host name and port."),
        ("engine", "Engine: `postgres`, `aurora-mysql`, …"),
        ("engine_version", "Version of the engine."),
        ("iam_authentication", "Whether database users may log in through IAM."),
        ("multi_az", "Whether a standby stands in another zone."),
        ("public", "Whether it has a public address."),
        ("status", "`available`, `stopped`, …"),
        ("vpc_id", "VPC: `vpc-…`."),
    ],
};

const CLUSTER: ResourceType = ResourceType {
    id: "aws-rds-cluster",
    display_name: "RDS cluster",
    attributes: &[
        ("creation_time", "When it was created, RFC 3339, UTC."),
        ("encrypted", "Whether its storage is encrypted."),
        ("endpoint", "Host name of the writer, and port."),
        ("engine", "Engine: `aurora-postgresql`, `docdb`, `neptune`, …"),
        ("engine_version", "Version of the engine."),
        ("iam_authentication", "Whether database users may log in through IAM."),
        ("members", "Identifiers of its instances."),
        ("multi_az", "Whether its instances stand in several zones."),
        ("reader_endpoint", "Host name of the readers."),
        ("status", "`available`, `stopped`, …"),
    ],
};

#[async_trait]
impl Collector for Instances {
    fn name(&self) -> &'static str {
        "rds_instance"
    }

    fn reach(&self) -> Reach {
        Reach::Region
    }

    fn types(&self) -> &'static [ResourceType] {
        &[INSTANCE]
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[DESCRIBE_INSTANCES]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let answer = ground
            .access
            .rds()
            .describe_db_instances()
            .max_records(PAGE_ITEMS)
            .set_marker(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(DESCRIBE_INSTANCES, &error))?;
        let next = PageToken::of(answer.marker());
        let found = answer.db_instances.unwrap_or_default();
        let found = found.into_iter().map(|one| instance(ground, one));
        Page::of(DESCRIBE_INSTANCES, found, next)
    }
}

fn instance(ground: &Ground<'_>, found: DbInstance) -> Option<Resource> {
    let attributes = attributes([
        ("class", found.db_instance_class.map(|class| json!(class))),
        ("cluster", found.db_cluster_identifier.map(|cluster| json!(cluster))),
        ("creation_time", time(found.instance_create_time)),
        ("encrypted", found.storage_encrypted.map(|is| json!(is))),
        (
            "endpoint",
            found.endpoint.and_then(|at| Some(json!(format!("{}:{}", at.address?, at.port?)))),
        ),
        ("engine", found.engine.map(|engine| json!(engine))),
        ("engine_version", found.engine_version.map(|version| json!(version))),
        ("iam_authentication", found.iam_database_authentication_enabled.map(|is| json!(is))),
        ("multi_az", found.multi_az.map(|is| json!(is))),
        ("public", found.publicly_accessible.map(|is| json!(is))),
        ("status", found.db_instance_status.map(|status| json!(status))),
        ("vpc_id", found.db_subnet_group.and_then(|group| group.vpc_id).map(|vpc| json!(vpc))),
    ]);
    let tags = tags(found.tag_list);
    let arn = found.db_instance_arn?;
    let name = name_of(found.db_instance_identifier, &arn);
    Some(Resource { tags, attributes, ..here(ground, &INSTANCE, arn, name) })
}

#[async_trait]
impl Collector for Clusters {
    fn name(&self) -> &'static str {
        "rds_cluster"
    }

    fn reach(&self) -> Reach {
        Reach::Region
    }

    fn types(&self) -> &'static [ResourceType] {
        &[CLUSTER]
    }

    fn iam_actions(&self) -> &'static [&'static str] {
        &[DESCRIBE_CLUSTERS]
    }

    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError> {
        let answer = ground
            .access
            .rds()
            .describe_db_clusters()
            .max_records(PAGE_ITEMS)
            .set_marker(token.map(|token| token.0.clone()))
            .send()
            .await
            .map_err(|error| ApiError::of(DESCRIBE_CLUSTERS, &error))?;
        let next = PageToken::of(answer.marker());
        let found = answer.db_clusters.unwrap_or_default();
        let found = found.into_iter().map(|one| cluster(ground, one));
        Page::of(DESCRIBE_CLUSTERS, found, next)
    }
}

fn cluster(ground: &Ground<'_>, found: DbCluster) -> Option<Resource> {
    let mut members: Vec<String> = found
        .db_cluster_members
        .unwrap_or_default()
        .into_iter()
        .filter_map(|member| member.db_instance_identifier)
        .collect();
    members.sort_unstable();
    let endpoint = found.endpoint.map(|host| match found.port {
        Some(port) => json!(format!("{host}:{port}")),
        None => json!(host),
    });
    let attributes = attributes([
        ("creation_time", time(found.cluster_create_time)),
        ("encrypted", found.storage_encrypted.map(|is| json!(is))),
        ("endpoint", endpoint),
        ("engine", found.engine.map(|engine| json!(engine))),
        ("engine_version", found.engine_version.map(|version| json!(version))),
        ("iam_authentication", found.iam_database_authentication_enabled.map(|is| json!(is))),
        ("members", Some(json!(members))),
        ("multi_az", found.multi_az.map(|is| json!(is))),
        ("reader_endpoint", found.reader_endpoint.map(|host| json!(host))),
        ("status", found.status.map(|status| json!(status))),
    ]);
    let tags = tags(found.tag_list);
    let arn = found.db_cluster_arn?;
    let name = name_of(found.db_cluster_identifier, &arn);
    Some(Resource { tags, attributes, ..here(ground, &CLUSTER, arn, name) })
}

fn tags(list: Option<Vec<Tag>>) -> Tags {
    let tags = list.unwrap_or_default().into_iter();
    tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect()
}
