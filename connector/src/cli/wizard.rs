//! `integrations create` without flags: asks for one setting after the other, in the
//! order of the control plane's own form, and asks again for what was refused.

use std::io::IsTerminal as _;

use anyhow::ensure;
use apono_connector_proto::v1::{
    ListResourceTypesRequest, catalog_service_client::CatalogServiceClient,
};
use inquire::{Confirm, MultiSelect, Select, Text};

use super::{
    connect::Client,
    form::{Form, OwnerForm, ResourceOwnerForm, TrailForm},
};

/// Asks for all settings; those of `form` stand there to be corrected.
pub(super) async fn ask(client: &Client, form: Form) -> anyhow::Result<Form> {
    ensure!(
        std::io::stdin().is_terminal(),
        "there is no terminal to ask on; give the settings as flags (`integrations create --help`), or use `integrations apply --file`"
    );
    let mut api = CatalogServiceClient::new(client.way.clone());
    let types = api.list_resource_types(ListResourceTypesRequest {}).await?.into_inner();
    let types: Vec<String> = types.resource_types.into_iter().map(|kind| kind.id).collect();
    questions(form, &types)
}

fn questions(form: Form, types: &[String]) -> anyhow::Result<Form> {
    let mut form = form;
    let named = |id: &String| form.resource_types.contains(id);
    let chosen: Vec<usize> = (0..types.len())
        .filter(|at| form.resource_types.is_empty() || named(&types[*at]))
        .collect();
    form.name = text("Integration name", &form.name, "letters, digits, - and _")?;
    form.region =
        text("Region", &form.region, "in which the organization runs, such as eu-west-1")?;
    form.sso_region =
        text("AWS SSO region", &form.sso_region, "of IAM Identity Center; empty: there is none")?;
    form.sso_portal_url = text(
        "SSO portal",
        &form.sso_portal_url,
        "access portal URL, for sign-in links; empty: none are made",
    )?;
    form.management_role_arn = text(
        "Management account role ARN",
        &form.management_role_arn,
        "the stack's output ManagementAccountRoleArnOutput",
    )?;
    form.root_or_ou_id = text(
        "Root or organizational unit",
        &form.root_or_ou_id,
        "r-… or ou-…, with everything below it",
    )?;
    form.excluded_ou_ids =
        list("Exclude organization unit IDs", &form.excluded_ou_ids, "ou-…, ou-…; empty: none")?;
    form.regions = list("Only these regions", &form.regions, "empty: all that are enabled")?;
    form.resource_types =
        MultiSelect::new("Resource types", types.to_vec()).with_default(&chosen).prompt()?;
    form.audit_enabled = Confirm::new("Enable audit").with_default(form.audit_enabled).prompt()?;
    if form.audit_enabled {
        form.audit_retention = text(
            "Keep what was done with access for",
            &form.audit_retention,
            "such as 90d or 400d",
        )?;
        form.trail = trail(form.trail)?;
    }
    form.account_session_document =
        Confirm::new("Open shells on instances with the account's own session document")
            .with_default(form.account_session_document)
            .with_help_message("no: with documents of the connector, which end them")
            .prompt()?;
    form.inline_policies = Confirm::new("Generated access without policies in member accounts")
        .with_default(form.inline_policies)
        .with_help_message("by inline policies of permission sets, each change provisioned anew")
        .prompt()?;
    form.custom_access_details = text(
        "Custom access details",
        &form.custom_access_details,
        "instructions shown with access, at most 400 characters; empty: none",
    )?;
    form.sync_interval = text("Sync interval", &form.sync_interval, "such as 1h or 30min")?;
    form.integration_owner = integration_owner(form.integration_owner)?;
    form.resource_owner = match form.integration_owner {
        Some(_) => resource_owner(form.resource_owner)?,
        // A resource owner needs an integration owner to fall back on.
        None => None,
    };
    Ok(form)
}

fn trail(trail: Option<TrailForm>) -> anyhow::Result<Option<TrailForm>> {
    let wanted = Confirm::new("Read an organization trail, too?")
        .with_default(trail.is_some())
        .with_help_message("no: CloudTrail's event history alone, which has no data events")
        .prompt()?;
    if !wanted {
        return Ok(None);
    }
    let trail = trail.unwrap_or_default();
    Ok(Some(TrailForm {
        bucket: text("  Bucket", &trail.bucket, "its name")?,
        prefix: text("  Prefix", &trail.prefix, "what stands before /AWSLogs; empty: nothing")?,
        region: text("  Region of the bucket", &trail.region, "such as eu-west-1")?,
        kms_key_arn: text("  KMS key", &trail.kms_key_arn, "ARN; empty: none")?,
        queue_url: text(
            "  SQS queue",
            &trail.queue_url,
            "URL of the queue that is told of new files; empty: none",
        )?,
        role_arn: text(
            "  Role",
            &trail.role_arn,
            "ARN of the role that reads them; empty: that of the management account",
        )?,
    }))
}

fn integration_owner(owner: Option<OwnerForm>) -> anyhow::Result<Option<OwnerForm>> {
    let wanted = Confirm::new("Integration owner (fallback approver)?")
        .with_default(owner.is_some())
        .prompt()?;
    if !wanted {
        return Ok(None);
    }
    let owner = owner.unwrap_or_default();
    Ok(Some(OwnerForm {
        attribute: Select::new("  Attribute", vec!["user", "group"]).prompt()?.to_owned(),
        source: text("  Identity provider", &owner.source, "the one that knows them")?,
        values: list("  Values", &owner.values, "users or groups, separated by commas")?,
    }))
}

fn resource_owner(owner: Option<ResourceOwnerForm>) -> anyhow::Result<Option<ResourceOwnerForm>> {
    let wanted =
        Confirm::new("Resource owner, named by a tag?").with_default(owner.is_some()).prompt()?;
    if !wanted {
        return Ok(None);
    }
    let owner = owner.unwrap_or_default();
    Ok(Some(ResourceOwnerForm {
        tag_key: text("  Key name", &owner.tag_key, "the tag whose value names the owner")?,
        attribute: text(
            "  Attribute",
            &owner.attribute,
            "what the value is: group, manager_email",
        )?,
        source: text("  Identity provider", &owner.source, "the one that knows it")?,
    }))
}

fn text(question: &str, before: &str, help: &str) -> anyhow::Result<String> {
    let answer = Text::new(question).with_initial_value(before).with_help_message(help).prompt()?;
    Ok(answer.trim().to_owned())
}

/// A list, separated by commas.
fn list(question: &str, before: &[String], help: &str) -> anyhow::Result<Vec<String>> {
    let answer = text(question, &before.join(", "), help)?;
    let items = answer.split(',').map(str::trim).filter(|item| !item.is_empty());
    Ok(items.map(str::to_owned).collect())
}
