//! Who approves access to a resource. Against `aws-sim`.

use apono_connector_proto::v1::{
    IntegrationOwner, IntegrationSettings, ListResourcesRequest, OwnerAttribute, ResourceOwner,
    UpdateIntegrationRequest,
};

use crate::harness::{Api, Cloud, Daemon, Database, bucket, settings_for};

/// Each bucket with its owner, as the API tells it.
async fn owners(api: &Api, without_owner: bool) -> Vec<String> {
    let request = ListResourcesRequest {
        r#type: "aws-s3-bucket".to_owned(),
        without_owner,
        ..Default::default()
    };
    let found = api.inventory().list_resources(request).await.expect("a page").into_inner();
    let lines = found.resources.into_iter().map(|resource| {
        let owner = resource.owner.map_or_else(
            || "nobody".to_owned(),
            |owner| {
                let from = if owner.is_integration_owner { "integration" } else { "tag" };
                format!(
                    "{} {} of {}, by {from}",
                    owner.attribute,
                    owner.values.join("+"),
                    owner.source
                )
            },
        );
        format!("{}: {owner}", resource.name)
    });
    lines.collect()
}

#[tokio::test]
async fn a_tag_names_the_owner_else_the_integration_does() {
    let cloud = Cloud::empty("aws").await;
    cloud.account("222222222222", &cloud.root, "payments");
    {
        let mut world = cloud.sim.world();
        let buckets = &mut world.account("222222222222").buckets;
        buckets.push(bucket("a", "eu-west-1", &[("owner", "ann@example.com")]));
        buckets.push(bucket("b", "eu-west-1", &[("owner", " ")]));
        buckets.push(bucket("c", "eu-west-1", &[("Owner", "bob@example.com")]));
    }
    cloud.deploy();
    let database = Database::create().await;
    let daemon = Daemon::start(&cloud, &database);
    let api = daemon.api().await;
    let settings = IntegrationSettings {
        integration_owner: Some(IntegrationOwner {
            attribute: OwnerAttribute::Group.into(),
            source: "okta".to_owned(),
            values: vec!["platform".to_owned(), "security".to_owned()],
        }),
        resource_owner: Some(ResourceOwner {
            tag_key: "owner".to_owned(),
            attribute: "email".to_owned(),
            source: "okta".to_owned(),
        }),
        ..settings_for(&cloud)
    };
    api.create_and_sync(settings).await;
    let fallback = "group platform+security of okta, by integration";
    let (b, c) = (format!("b: {fallback}"), format!("c: {fallback}"));
    assert_eq!(
        owners(&api, false).await,
        ["a: email ann@example.com of okta, by tag", b.as_str(), c.as_str()]
    );
    assert_eq!(owners(&api, true).await, [b, c]);

    // Other settings take effect at once, without a sync.
    let before = api.get("prod").await;
    let update = UpdateIntegrationRequest {
        integration: "prod".to_owned(),
        etag: before.etag,
        settings: Some(settings_for(&cloud)),
        ..Default::default()
    };
    api.integrations().update_integration(update).await.expect("an update");
    assert_eq!(owners(&api, false).await, ["a: nobody", "b: nobody", "c: nobody"]);
    assert_eq!(owners(&api, true).await.len(), 3);
}
