//! RDS: instances, and the clusters of Aurora and Multi-AZ. Both lists tell tags.

use async_trait::async_trait;
use aws_sdk_rds::types::{DbCluster, DbInstance, Tag};
use serde_json::json;

use super::{
    Collector, Ending, Grantable, Ground, Level, Page, ResourceType, Way, attributes, here,
    name_of, statements::beside, time,
};
use crate::{
    aws::ApiError,
    model::{
        proof::PageToken,
        refusal::{Refusal, RefusalCode},
        resource::{Resource, Tags},
        scope::Reach,
        statement::{Statement, allow},
    },
    store::resources::Stored,
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
    permissions: PERMISSIONS,
    way_in: WAY_IN,
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
        ("resource_id", "Id that never changes, by which logins through IAM name it: `db-…`."),
        ("status", "`available`, `stopped`, …"),
        ("vpc_id", "VPC: `vpc-…`."),
    ],
};

const CLUSTER: ResourceType = ResourceType {
    id: "aws-rds-cluster",
    display_name: "RDS cluster",
    permissions: PERMISSIONS,
    way_in: WAY_IN,
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
        ("resource_id", "Id that never changes, by which logins through IAM name it: `cluster-…`."),
        ("status", "`available`, `stopped`, …"),
    ],
};

const WAY_IN: Way = Way {
    console: "",
    command: "aws rds generate-db-auth-token --region {region} --hostname <endpoint> --port <port> --username {named}",
};

const PERMISSIONS: &[Grantable] = &[Grantable::of_named(
    "CONNECT",
    "database user",
    Level::Write,
    "Log in as the database user that is named, with a token of IAM for a password; what is open when it ends stays open",
    connect,
)
.ending(Ending::Open, WAY_IN)];

/// Engines into which database users can log in through IAM, by how their names begin.
const WITH_IAM: [&str; 4] = ["aurora", "mariadb", "mysql", "postgres"];
/// The longest name of a user that one of them knows.
const USER_BYTES_MAX: usize = 63;

fn connect(on: &Stored, user: &str) -> Result<Vec<Statement>, Refusal> {
    let text = |name: &str| on.attributes[name].as_str();
    let unfit = |code, why: String| Err(Refusal::new(code, format!("{}: {why}", on.name)));
    if user.is_empty() {
        return unfit(RefusalCode::DatabaseUserUnfit, "no database user is named".to_owned());
    }
    // What stands for more than itself in a policy is not among these.
    let is_name = user.len() <= USER_BYTES_MAX
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.@".contains(&b));
    if !is_name {
        let why = format!("{user:?} cannot be granted as a database user");
        return unfit(RefusalCode::DatabaseUserUnfit, why);
    }
    if let Some(cluster) = text("cluster") {
        let why = format!("users log in through the cluster that it belongs to, {cluster}");
        return unfit(RefusalCode::ResourceUnfit, why);
    }
    let engine = text("engine").unwrap_or_default();
    if !WITH_IAM.iter().any(|with_iam| engine.starts_with(with_iam)) {
        let why = format!("users of the engine {engine:?} do not log in through IAM of RDS");
        return unfit(RefusalCode::ResourceUnfit, why);
    }
    if on.attributes["iam_authentication"] != true {
        let why = "database users cannot log in through IAM".to_owned();
        return unfit(RefusalCode::IamAuthenticationOff, why);
    }
    let Some(id) = text("resource_id") else {
        return unfit(RefusalCode::ResourceUnfit, "its resource id was not read yet".to_owned());
    };
    let user = beside(on, "rds-db", &format!("dbuser:{id}/{user}"));
    Ok(vec![allow(&["rds-db:connect"]).on([user])])
}

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
        ("resource_id", found.dbi_resource_id.map(|id| json!(id))),
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
        ("resource_id", found.db_cluster_resource_id.map(|id| json!(id))),
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{
        super::{
            permission,
            statements::tests::{a_resource, said},
        },
        *,
    };

    fn a_database(changed: &[(&str, Value)]) -> Stored {
        let mut attributes = json!({
            "engine": "postgres", "iam_authentication": true, "resource_id": "db-ABC",
        });
        for (name, value) in changed {
            attributes[*name] = value.clone();
        }
        a_resource("arn:aws:rds:eu-west-1:111122223333:db:orders", attributes)
    }

    fn refused(asked: &str, changed: &[(&str, Value)]) -> RefusalCode {
        let permission = permission("aws-rds-instance", asked).expect("a permission");
        permission.statements(&a_database(changed), asked).expect_err("a refusal").code
    }

    #[test]
    fn one_database_user_of_one_database_is_connected() {
        assert_eq!(
            said("aws-rds-instance", "CONNECT/app_ro", &a_database(&[])),
            ["connect on arn:aws:rds-db:eu-west-1:111122223333:dbuser:db-ABC/app_ro"]
        );
        let cluster =
            a_database(&[("engine", json!("aurora-mysql")), ("resource_id", json!("cluster-ABC"))]);
        assert_eq!(
            said("aws-rds-cluster", "CONNECT/ann.b@example", &cluster),
            ["connect on arn:aws:rds-db:eu-west-1:111122223333:dbuser:cluster-ABC/ann.b@example"]
        );
    }

    #[test]
    fn a_database_user_is_named_and_stands_for_itself() {
        let too_long = format!("CONNECT/{}", "a".repeat(64));
        let wild = ["CONNECT/*", "CONNECT/app?", "CONNECT/${aws:username}", "CONNECT/a/b"];
        for asked in ["CONNECT", "CONNECT/", too_long.as_str()].into_iter().chain(wild) {
            assert_eq!(refused(asked, &[]), RefusalCode::DatabaseUserUnfit, "{asked}");
        }
    }

    #[test]
    fn a_database_into_which_nobody_logs_in_through_iam_is_refused_with_the_cause() {
        for (changed, code) in [
            (("iam_authentication", json!(false)), RefusalCode::IamAuthenticationOff),
            (("iam_authentication", json!(null)), RefusalCode::IamAuthenticationOff),
            (("cluster", json!("orders")), RefusalCode::ResourceUnfit),
            (("engine", json!("neptune")), RefusalCode::ResourceUnfit),
            (("resource_id", json!(null)), RefusalCode::ResourceUnfit),
        ] {
            let refused = refused("CONNECT/app_ro", std::slice::from_ref(&changed));
            assert_eq!(refused, code, "{changed:?}");
        }
    }
}
