//! What was discovered, and what can be.

use apono_connector_proto::v1::{
    GetResourceRequest, ListResourceTypesRequest, ListResourcesRequest, ListResourcesResponse,
    Resource, SummarizeResourcesRequest, catalog_service_client::CatalogServiceClient,
    inventory_service_client::InventoryServiceClient,
};

use super::{
    changes::{Release, Watch},
    connect::Client,
    history::History,
    output::{print_table, say, time, word},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Resources {
    /// Lists resources; all conditions that are given must hold.
    #[command(after_help = FILTERS)]
    List(Conditions),
    /// Shows one resource with its tags and attributes.
    Get {
        /// Integration, id or name.
        integration: String,
        /// ARN.
        arn: String,
    },
    /// Shows what a resource was, the newest version first.
    History(History),
    /// Counts resources by type, account, region, organizational unit and tag key.
    Facets {
        /// Integration, id or name.
        integration: String,
        /// Which of them, as `list` has it.
        #[arg(default_value = "", allow_hyphen_values = true)]
        filter: String,
    },
    /// Follows what changes: first all that is there, then each change.
    Watch(Watch),
    /// Lets removals happen that are held because they are so many.
    Release(Release),
}

const FILTERS: &str = "\
Filters (AIP-160; = is exact, : finds parts, * at an end of a value stands for anything, OR binds
closer than AND, words alone are looked for in names and ARNs):
  type = aws-s3-bucket AND tag.env = prod
  ou.name = Production AND (state = stale OR state = held)
  tag:\"aws:cloudformation:stack-name\" AND NOT region = eu-west-1
  owner = ann@example.com AND name = \"web-*\"
Fields: type, account, account.name, ou, ou.name, region, tag.KEY, owner, owner.by, name, arn,
text, state (fresh, stale, held, incomplete).";

#[derive(Debug, clap::Args)]
pub(super) struct Conditions {
    /// Which resources: `type = aws-s3-bucket AND tag.env = prod`; see below.
    #[arg(default_value = "", allow_hyphen_values = true)]
    filter: String,
    /// Integration, id or name; none: all.
    #[arg(long, default_value = "")]
    integration: String,
    /// Resource type, as `types` lists them.
    #[arg(long = "type", default_value = "")]
    kind: String,
    /// Account id.
    #[arg(long, default_value = "")]
    account: String,
    /// Region.
    #[arg(long, default_value = "")]
    region: String,
    /// Part of the name or ARN, in any case.
    #[arg(long, default_value = "")]
    text: String,
    /// Only those that are missing, and kept because so many are.
    #[arg(long)]
    held: bool,
    /// Only those that no tag names an owner of.
    #[arg(long)]
    without_owner: bool,
    /// At most so many.
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

impl Resources {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::List(conditions) => list(client, conditions).await,
            Self::Get { integration, arn } => get(client, integration, arn).await,
            Self::History(history) => history.run(client).await,
            Self::Facets { integration, filter } => facets(client, integration, filter).await,
            Self::Watch(watch) => watch.run(client).await,
            Self::Release(release) => release.run(client).await,
        }
    }
}

async fn list(client: &Client, conditions: Conditions) -> anyhow::Result<()> {
    let mut api = InventoryServiceClient::new(client.way.clone());
    let mut request = ListResourcesRequest {
        connector_id: client.connector_id.clone(),
        integration: conditions.integration,
        r#type: conditions.kind,
        account_id: conditions.account,
        region: conditions.region,
        text: conditions.text,
        held: conditions.held,
        without_owner: conditions.without_owner,
        filter: conditions.filter,
        page_size: 500,
        page_token: String::new(),
    };
    let mut answer = ListResourcesResponse::default();
    let is_cut = loop {
        let page = api.list_resources(request.clone()).await?.into_inner();
        answer.resources.extend(page.resources);
        if page.next_page_token.is_empty() || answer.resources.len() >= conditions.limit {
            break !page.next_page_token.is_empty() || answer.resources.len() > conditions.limit;
        }
        request.page_token = page.next_page_token;
    };
    answer.resources.truncate(conditions.limit);
    let rows = answer.resources.iter().map(|resource| {
        vec![
            resource.r#type.clone(),
            resource.name.clone(),
            resource.account_id.clone(),
            resource.region.clone(),
            owner(resource),
            state(resource),
            resource.arn.clone(),
        ]
    });
    client.print(&answer, &["type", "name", "account", "region", "owner", "state", "arn"], rows)?;
    if is_cut {
        eprintln!("there are more; raise --limit or narrow the conditions");
    }
    Ok(())
}

/// Who approves; the integration's owner in brackets.
fn owner(resource: &Resource) -> String {
    let Some(owner) = &resource.owner else { return "-".to_owned() };
    let values = owner.values.join(", ");
    if owner.is_integration_owner { format!("({values})") } else { values }
}

/// Whether what is shown is known to be true now.
fn state(resource: &Resource) -> String {
    match (resource.missing_reads, resource.stale_reason.as_str()) {
        (0, "") => "fresh".to_owned(),
        (0, reason) => reason.to_owned(),
        (reads, _) => format!("missing in {reads} reads, held"),
    }
}

async fn get(client: &Client, integration: String, arn: String) -> anyhow::Result<()> {
    let mut api = InventoryServiceClient::new(client.way.clone());
    let request =
        GetResourceRequest { connector_id: client.connector_id.clone(), integration, arn };
    let answer = api.get_resource(request).await?.into_inner();
    let resource = answer.resource.clone().unwrap_or_default();
    let owner = owner(&resource);
    let mut rows = vec![
        vec!["arn".to_owned(), resource.arn],
        vec!["type".to_owned(), resource.r#type],
        vec!["name".to_owned(), resource.name],
        vec!["account".to_owned(), resource.account_id],
        vec!["region".to_owned(), resource.region],
        vec!["owner".to_owned(), owner],
        vec!["first seen".to_owned(), time(resource.first_seen_time.as_ref())],
        vec!["changed".to_owned(), time(resource.change_time.as_ref())],
        vec!["fresh".to_owned(), time(resource.fresh_time.as_ref())],
        vec!["not read".to_owned(), resource.stale_reason],
    ];
    let attributes = resource.attributes.unwrap_or_default().fields;
    rows.extend(attributes.into_iter().map(|(name, value)| vec![name, text(value)]));
    let mut tags: Vec<_> = resource.tags.into_iter().collect();
    tags.sort();
    rows.extend(tags.into_iter().map(|(key, value)| vec![format!("tag {key}"), value]));
    client.print(&answer, &["field", "value"], rows)
}

async fn facets(client: &Client, integration: String, filter: String) -> anyhow::Result<()> {
    let mut api = InventoryServiceClient::new(client.way.clone());
    let connector_id = client.connector_id.clone();
    let request = SummarizeResourcesRequest { connector_id, integration, filter };
    let answer = api.summarize_resources(request).await?.into_inner();
    let properties = [
        ("type", &answer.types),
        ("account", &answer.accounts),
        ("region", &answer.regions),
        ("unit", &answer.organizational_units),
        ("tag key", &answer.tag_keys),
    ];
    let rows = properties.into_iter().flat_map(|(property, facets)| {
        facets.iter().map(move |facet| {
            let value = if facet.value.is_empty() { "none" } else { &facet.value };
            vec![
                property.to_owned(),
                value.to_owned(),
                facet.display_name.clone(),
                facet.resources.to_string(),
            ]
        })
    });
    client.print(&answer, &["by", "value", "name", "resources"], rows)
}

pub(super) fn text(value: prost_types::Value) -> String {
    use prost_types::value::Kind;
    match value.kind {
        Some(Kind::StringValue(text)) => text,
        Some(Kind::BoolValue(flag)) => flag.to_string(),
        Some(Kind::NumberValue(number)) => number.to_string(),
        Some(Kind::ListValue(list)) => {
            list.values.into_iter().map(text).collect::<Vec<_>>().join(", ")
        }
        Some(Kind::StructValue(fields)) => {
            let fields =
                fields.fields.into_iter().map(|(name, value)| format!("{name}={}", text(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        Some(Kind::NullValue(_)) | None => String::new(),
    }
}

/// What can be discovered.
pub(super) async fn types(client: &Client) -> anyhow::Result<()> {
    let mut api = CatalogServiceClient::new(client.way.clone());
    let answer = api.list_resource_types(ListResourceTypesRequest {}).await?.into_inner();
    let rows = answer.resource_types.iter().map(|kind| {
        vec![
            kind.id.clone(),
            kind.display_name.clone(),
            word(kind.reach().as_str_name(), "REACH_"),
            kind.iam_actions.join(", "),
        ]
    });
    client.print(&answer, &["id", "name", "read once per", "IAM actions"], rows)?;
    if client.format == super::output::Format::Table {
        say!("");
        let attributes = answer.resource_types.iter().flat_map(|kind| {
            kind.attributes.iter().map(|attribute| {
                vec![kind.id.clone(), attribute.name.clone(), attribute.description.clone()]
            })
        });
        print_table(&["type", "attribute", "what it says"], attributes);
        say!("");
        let permissions = answer.resource_types.iter().flat_map(|kind| {
            kind.permissions.iter().map(|one| {
                vec![
                    kind.id.clone(),
                    one.id.clone(),
                    one.description.clone(),
                    one.mechanism.clone(),
                ]
            })
        });
        print_table(&["type", "permission", "what it allows", "mechanism"], permissions);
    }
    Ok(())
}
