//! Connecting organizations.

use std::path::PathBuf;

use anyhow::Context as _;
use apono_connector_proto::v1::{
    CreateIntegrationRequest, DeleteIntegrationRequest, DisableIntegrationRequest,
    EnableIntegrationRequest, GetIntegrationRequest, Integration, ListIntegrationsRequest,
    ListIntegrationsResponse, PreviewCustomAccessDetailsRequest, UpdateIntegrationRequest,
    ValidateIntegrationRequest, integration_service_client::IntegrationServiceClient,
};
use tonic::Code;

use super::{
    connect::{Client, Way},
    form::Form,
    output::{Format, STEP_HEADINGS, failure, print_table, say, step_row, time, word},
    wizard,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Integrations {
    /// Lists integrations.
    List,
    /// Connects an organization; it is tried in AWS first. Without flags it asks for one
    /// setting after the other.
    Create(Box<Form>),
    /// Tries settings in AWS, step by step, and stores nothing.
    Validate {
        /// File, as `export` writes it.
        #[arg(short, long)]
        file: PathBuf,
    },
    /// Creates or changes an integration to be as a file says.
    Apply {
        /// File, as `export` writes it.
        #[arg(short, long)]
        file: PathBuf,
        /// Only shows what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// Prints an integration as a file for `apply`.
    Export {
        /// Id or name.
        integration: String,
    },
    /// Resumes its syncs.
    #[command(visible_alias = "resume")]
    Enable {
        /// Id or name.
        integration: String,
    },
    /// Pauses its syncs; what was discovered stays readable.
    #[command(visible_alias = "pause")]
    Disable {
        /// Id or name.
        integration: String,
    },
    /// Removes it with all that was discovered through it.
    Delete {
        /// Id or name.
        integration: String,
        /// Ends all access that was granted in it first; it goes when that is gone from AWS.
        #[arg(long)]
        revoke_first: bool,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Shows custom access details as users will see them.
    Preview {
        /// The text.
        text: String,
    },
}

impl Integrations {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let mut api = IntegrationServiceClient::new(client.way.clone());
        let connector_id = client.connector_id.clone();
        match self {
            Self::List => list(&mut api, client).await,
            Self::Create(form) if form.is_empty() => {
                create_by_wizard(&mut api, client, *form).await
            }
            Self::Create(form) => create(&mut api, client, *form).await,
            Self::Validate { file } => validate(&mut api, client, Form::read(&file)?).await,
            Self::Apply { file, dry_run } => {
                apply(&mut api, client, Form::read(&file)?, dry_run).await
            }
            Self::Export { integration } => {
                let found = get(&mut api, client, &integration).await?;
                let form = Form::from(found.settings.unwrap_or_default());
                say!("{}", form.text()?.trim_end());
                Ok(())
            }
            Self::Enable { integration } => {
                let request = EnableIntegrationRequest { connector_id, integration };
                let answer = api.enable_integration(request).await?.into_inner();
                print(client, answer.integration.into_iter().collect())
            }
            Self::Disable { integration } => {
                let request = DisableIntegrationRequest { connector_id, integration };
                let answer = api.disable_integration(request).await?.into_inner();
                print(client, answer.integration.into_iter().collect())
            }
            Self::Delete { integration, revoke_first, yes } => {
                delete(&mut api, client, integration, revoke_first, yes).await
            }
            Self::Preview { text } => {
                let request = PreviewCustomAccessDetailsRequest { custom_access_details: text };
                let answer = api.preview_custom_access_details(request).await?.into_inner();
                say!("{}", answer.text);
                eprintln!("{} of {} characters", answer.characters, answer.characters_max);
                Ok(())
            }
        }
    }
}

type Api = IntegrationServiceClient<Way>;

async fn list(api: &mut Api, client: &Client) -> anyhow::Result<()> {
    let mut request = ListIntegrationsRequest {
        connector_id: client.connector_id.clone(),
        page_size: 500,
        ..Default::default()
    };
    let mut integrations = Vec::new();
    loop {
        let page = api.list_integrations(request.clone()).await?.into_inner();
        integrations.extend(page.integrations);
        if page.next_page_token.is_empty() {
            return print(client, integrations);
        }
        request.page_token = page.next_page_token;
    }
}

fn print(client: &Client, integrations: Vec<Integration>) -> anyhow::Result<()> {
    let answer = ListIntegrationsResponse { integrations, ..Default::default() };
    let rows = answer.integrations.iter().map(|integration| {
        vec![
            integration.settings.as_ref().map(|s| s.name.clone()).unwrap_or_default(),
            word(integration.status().as_str_name(), "INTEGRATION_STATUS_"),
            integration.organization_id.clone(),
            integration.management_account_id.clone(),
            time(integration.last_sync_time.as_ref()),
            time(integration.next_sync_time.as_ref()),
        ]
    });
    let headings =
        ["name", "status", "organization", "management account", "last sync", "next sync"];
    client.print(&answer, &headings, rows)
}

async fn get(api: &mut Api, client: &Client, integration: &str) -> anyhow::Result<Integration> {
    let request = GetIntegrationRequest {
        connector_id: client.connector_id.clone(),
        integration: integration.to_owned(),
    };
    let answer = api.get_integration(request).await?.into_inner();
    answer.integration.context("the daemon sent no integration")
}

async fn create(api: &mut Api, client: &Client, form: Form) -> anyhow::Result<()> {
    let request = CreateIntegrationRequest {
        connector_id: client.connector_id.clone(),
        settings: Some(form.settings()?),
    };
    let answer = api.create_integration(request).await?.into_inner();
    if client.format == Format::Table {
        eprintln!("created; its first sync is {} (`sync watch` follows it)", answer.sync_id);
    }
    print(client, answer.integration.into_iter().collect())
}

/// Asks until the daemon takes the answers, or the person gives up.
async fn create_by_wizard(api: &mut Api, client: &Client, mut form: Form) -> anyhow::Result<()> {
    loop {
        form = wizard::ask(client, form).await?;
        eprintln!("trying it in AWS …");
        let Err(error) = create(api, client, form.clone()).await else { return Ok(()) };
        eprintln!("{}", failure(&error));
        let again = inquire::Confirm::new("Correct it?").with_default(true).prompt()?;
        anyhow::ensure!(again, "nothing was created");
    }
}

async fn validate(api: &mut Api, client: &Client, form: Form) -> anyhow::Result<()> {
    let request = ValidateIntegrationRequest {
        connector_id: client.connector_id.clone(),
        settings: Some(form.settings()?),
    };
    let answer = api.validate_integration(request).await?.into_inner();
    client.print(&answer, &STEP_HEADINGS, answer.steps.iter().map(step_row))?;
    anyhow::ensure!(answer.valid, "an integration with these settings would be refused");
    Ok(())
}

/// Shows the plan, then carries it out.
async fn apply(api: &mut Api, client: &Client, form: Form, dry_run: bool) -> anyhow::Result<()> {
    let there = match get(api, client, &form.name).await {
        Ok(found) => Some(found),
        Err(error) if is_not_found(&error) => None,
        Err(error) => return Err(error),
    };
    let Some(there) = there else {
        say!("{} will be created", form.name);
        return if dry_run { Ok(()) } else { create(api, client, form).await };
    };
    let before = Form::from(there.settings.clone().unwrap_or_default());
    let changes = form.changes(&before)?;
    if changes.is_empty() {
        say!("{} is as the file says", form.name);
        return Ok(());
    }
    say!("{} will be changed:", form.name);
    print_table(&["field", "now", "then"], changes.into_iter().map(|(a, b, c)| vec![a, b, c]));
    if dry_run {
        return Ok(());
    }
    let request = UpdateIntegrationRequest {
        connector_id: client.connector_id.clone(),
        integration: there.id,
        settings: Some(form.settings()?),
        update_mask: None,
        etag: there.etag,
    };
    let answer = api.update_integration(request).await?.into_inner();
    print(client, answer.integration.into_iter().collect())
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<tonic::Status>().is_some_and(|status| status.code() == Code::NotFound)
}

async fn delete(
    api: &mut Api,
    client: &Client,
    integration: String,
    revoke_first: bool,
    yes: bool,
) -> anyhow::Result<()> {
    let found = get(api, client, &integration).await?;
    let access = if revoke_first { ", and end all access that was granted in it" } else { "" };
    let question = format!("Remove {integration} with all that was discovered through it{access}?");
    if !yes && !inquire::Confirm::new(&question).with_default(false).prompt()? {
        anyhow::bail!("nothing was removed");
    }
    let request = DeleteIntegrationRequest {
        connector_id: client.connector_id.clone(),
        integration: found.id,
        etag: found.etag,
        revoke_first,
    };
    if api.delete_integration(request).await?.into_inner().is_deleting {
        eprintln!(
            "{integration} is being removed: it goes when nothing of its access is left in AWS; keep the stack until `integrations get {integration}` finds it no more"
        );
    } else {
        eprintln!("{integration} was removed");
    }
    Ok(())
}
