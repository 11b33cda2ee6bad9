//! Connecting organizations.

use std::time::Duration;

use apono_connector_proto::v1::{
    self, CreateIntegrationRequest, CreateIntegrationResponse, DeleteIntegrationRequest,
    DeleteIntegrationResponse, DisableIntegrationRequest, DisableIntegrationResponse,
    EnableIntegrationRequest, EnableIntegrationResponse, GetIntegrationRequest,
    GetIntegrationResponse, ListIntegrationsRequest, ListIntegrationsResponse,
    PreviewCustomAccessDetailsRequest, PreviewCustomAccessDetailsResponse,
    UpdateIntegrationRequest, UpdateIntegrationResponse, ValidateIntegrationRequest,
    ValidateIntegrationResponse, integration_service_server::IntegrationService,
};
use tonic::{Request, Response, Status};
use tracing::info;
use uuid::Uuid;

use super::{
    Api,
    auth::caller,
    page::Page,
    removal,
    settings::{asks_aws, merge, parse},
    status, words,
};
use crate::{
    audit,
    base::{backoff::Backoff, chance, clock},
    model::{
        form,
        ids::{ConnectorId, IntegrationId, SyncId, ValidationId},
        integration::{self, Settings},
        problem::{self, Severity},
        schedule,
        status::Facts,
        sync::{SyncState, Trigger},
        validation::{Outcome, Step},
    },
    store::{
        self, PgConnection,
        integrations::{Integration, NAME_KEY, ORGANIZATION_KEY},
        validations::Findings,
    },
};

/// The longest that a caller waits for a validation, whatever its deadline.
const VALIDATION_WAIT_MAX: Duration = Duration::from_mins(15);
const BETWEEN_LOOKS: Backoff =
    Backoff { first: Duration::from_millis(50), max: Duration::from_secs(1) };

#[tonic::async_trait]
impl IntegrationService for Api {
    async fn create_integration(
        &self,
        request: Request<CreateIntegrationRequest>,
    ) -> Result<Response<CreateIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let settings = parse(request.settings)?;
        self.refuse_taken_name(&connector, &settings.name, None).await?;
        let findings = self.validate(&connector, &settings).await?;
        refuse_failed(&findings.steps)?;
        let (account, organization) =
            findings.pins.ok_or_else(|| status::not_in_time("validation"))?;

        let (id, sync) = (IntegrationId(chance::uuid()), SyncId(chance::uuid()));
        let stored = async {
            let mut tx = self.db.begin().await?;
            let integration = store::integrations::insert(
                &mut tx,
                &connector,
                id,
                &settings,
                &account,
                &organization,
            )
            .await?;
            let (sync, _) =
                store::syncs::plan(&mut tx, &connector, id, sync, Trigger::Created).await?;
            let next =
                schedule::next_due(sync.created_at, settings.sync_interval, chance::fraction());
            store::integrations::set_next_sync(&mut tx, &connector, id, next).await?;
            tx.commit().await?;
            Ok::<_, store::Error>((integration, sync))
        };
        let (integration, sync) = stored.await.map_err(|error| taken(&error, &settings.name))?;
        self.groups.poke();
        info!(integration.id = %id, "integration {} was created for {organization}", settings.name);
        let mut conn = self.conn().await?;
        Ok(Response::new(CreateIntegrationResponse {
            integration: Some(shown(&mut conn, integration).await?),
            sync_id: sync.id.to_string(),
        }))
    }

    async fn get_integration(
        &self,
        request: Request<GetIntegrationRequest>,
    ) -> Result<Response<GetIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let mut conn = self.conn().await?;
        let found = find(&mut conn, &connector, &request.integration).await?;
        let integration = Some(shown(&mut conn, found).await?);
        Ok(Response::new(GetIntegrationResponse { integration }))
    }

    async fn list_integrations(
        &self,
        request: Request<ListIntegrationsRequest>,
    ) -> Result<Response<ListIntegrationsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let page = Page::parse("integrations", request.page_size, &request.page_token)?;
        let mut conn = self.conn().await?;
        let after = page.after.as_deref().unwrap_or_default();
        let mut found = store::integrations::list(&mut conn, &connector, after, page.limit())
            .await
            .map_err(|error| status::store(&error))?;
        let next_page_token = page.cut(&mut found, |found| found.settings.name.clone());
        let mut integrations = Vec::with_capacity(found.len());
        for found in found {
            integrations.push(shown(&mut conn, found).await?);
        }
        Ok(Response::new(ListIntegrationsResponse { integrations, next_page_token }))
    }

    async fn update_integration(
        &self,
        request: Request<UpdateIntegrationRequest>,
    ) -> Result<Response<UpdateIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let version = version_of(&request.etag)?.ok_or_else(|| {
            status::bad_request("etag", "is required; read the integration first")
        })?;
        let mut conn = self.conn().await?;
        let before = find(&mut conn, &connector, &request.integration).await?;
        drop(conn);
        if before.version != version {
            return Err(status::etag_is_old());
        }
        removal::refuse_deleting(&before)?;
        let mask = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
        let merged = merge(
            words::settings(before.settings.clone()),
            request.settings.unwrap_or_default(),
            &mask,
        )?;
        let settings = parse(Some(merged))?;
        self.refuse_taken_name(&connector, &settings.name, Some(before.id)).await?;
        if asks_aws(&before.settings, &settings) {
            let findings = self.validate(&connector, &settings).await?;
            refuse_failed(&findings.steps)?;
            let pinned = (before.management_account.clone(), before.organization.clone());
            if findings.pins.as_ref() != Some(&pinned) {
                return Err(status::precondition(
                    "ORGANIZATION_MISMATCH",
                    format!(
                        "management_role_arn leads to another organization than {}, which this integration is for; connect it as a new integration",
                        before.organization
                    ),
                ));
            }
        }
        let updated = self.write_update(&before, version, &settings).await?;
        self.schedule.poke();
        let mut conn = self.conn().await?;
        let integration = Some(shown(&mut conn, updated).await?);
        Ok(Response::new(UpdateIntegrationResponse { integration }))
    }

    async fn enable_integration(
        &self,
        request: Request<EnableIntegrationRequest>,
    ) -> Result<Response<EnableIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let integration = Some(self.switch(&connector, &request.integration, true).await?);
        Ok(Response::new(EnableIntegrationResponse { integration }))
    }

    async fn disable_integration(
        &self,
        request: Request<DisableIntegrationRequest>,
    ) -> Result<Response<DisableIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let integration = Some(self.switch(&connector, &request.integration, false).await?);
        Ok(Response::new(DisableIntegrationResponse { integration }))
    }

    async fn delete_integration(
        &self,
        request: Request<DeleteIntegrationRequest>,
    ) -> Result<Response<DeleteIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let version = version_of(&request.etag)?;
        let mut conn = self.conn().await?;
        let found = find(&mut conn, &connector, &request.integration).await?;
        drop(conn);
        let is_deleting = self.remove(&caller, &found, version, request.revoke_first).await?;
        Ok(Response::new(DeleteIntegrationResponse { is_deleting }))
    }

    async fn validate_integration(
        &self,
        request: Request<ValidateIntegrationRequest>,
    ) -> Result<Response<ValidateIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let connector = caller.connector(&request.connector_id)?;
        let settings = parse(request.settings)?;
        let findings = self.validate(&connector, &settings).await?;
        Ok(Response::new(ValidateIntegrationResponse {
            valid: findings.steps.iter().all(|step| step.outcome != Outcome::Failed),
            steps: findings.steps.into_iter().map(words::step).collect(),
        }))
    }

    async fn preview_custom_access_details(
        &self,
        request: Request<PreviewCustomAccessDetailsRequest>,
    ) -> Result<Response<PreviewCustomAccessDetailsResponse>, Status> {
        let text = request.into_inner().custom_access_details;
        let characters = form::check_custom_access_details(&text)
            .map_err(|violation| status::bad_fields(vec![violation]))?;
        let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Ok(Response::new(PreviewCustomAccessDetailsResponse {
            text,
            characters: number(characters),
            characters_max: number(integration::CUSTOM_ACCESS_DETAILS_CHARACTERS_MAX),
        }))
    }
}

impl Api {
    /// A connection, or the error that callers see.
    pub(super) async fn conn(
        &self,
    ) -> Result<impl std::ops::DerefMut<Target = PgConnection> + use<>, Status> {
        self.db.conn().await.map_err(|error| status::store(&error))
    }

    /// Before anybody waits for AWS.
    async fn refuse_taken_name(
        &self,
        connector: &ConnectorId,
        name: &str,
        own: Option<IntegrationId>,
    ) -> Result<(), Status> {
        let mut conn = self.conn().await?;
        let there = store::integrations::get_by_name(&mut conn, connector, name)
            .await
            .map_err(|error| status::store(&error))?;
        match there {
            Some(there) if Some(there.id) != own => Err(name_taken(name)),
            _ => Ok(()),
        }
    }

    /// Writes the intent, wakes the validator, and waits for the row.
    async fn validate(
        &self,
        connector: &ConnectorId,
        settings: &Settings,
    ) -> Result<Findings, Status> {
        let id = ValidationId(chance::uuid());
        let mut conn = self.conn().await?;
        store::validations::insert(&mut conn, connector, id, settings)
            .await
            .map_err(|error| status::store(&error))?;
        drop(conn);
        self.validations.poke();
        let answer = async {
            for looks in 1.. {
                let mut conn = self.conn().await?;
                let found = store::validations::findings(&mut conn, connector, id)
                    .await
                    .map_err(|error| status::store(&error))?;
                if let Some(found) = found {
                    return Ok(found);
                }
                drop(conn);
                clock::sleep(BETWEEN_LOOKS.after(looks)).await;
            }
            Err(status::not_in_time("validation"))
        };
        tokio::time::timeout(VALIDATION_WAIT_MAX, answer)
            .await
            .unwrap_or_else(|_| Err(status::not_in_time("validation")))
    }

    async fn write_update(
        &self,
        before: &Integration,
        version: i64,
        settings: &Settings,
    ) -> Result<Integration, Status> {
        let strands_access = removal::strands_access(&before.settings, settings);
        let written = async {
            let mut tx = self.db.begin().await?;
            if strands_access {
                store::integrations::lock(&mut tx, &before.connector, before.id).await?;
                let what = "changing management_role_arn or sso_region";
                match removal::live(&mut tx, before).await? {
                    Ok((0, 0)) => {}
                    Ok(live) => return Ok(Err(removal::is_live(what, live))),
                    Err(status) => return Ok(Err(status)),
                }
            }
            let now = store::now(&mut tx).await?;
            let planned = store::syncs::last_planned(&mut tx, &before.connector, before.id).await?;
            let next = before.enabled.then(|| {
                if settings.sync_interval == before.settings.sync_interval {
                    before.next_sync_at.unwrap_or(now)
                } else {
                    schedule::due_after_change(planned, settings.sync_interval, now)
                }
            });
            let updated = store::integrations::update(
                &mut tx,
                &before.connector,
                before.id,
                version,
                settings,
                next,
            )
            .await?;
            if updated.is_some() {
                let changed = (&before.settings, settings);
                audit::follow(&mut tx, &before.connector, before.id, changed).await?;
            }
            tx.commit().await?;
            self.audits.poke();
            Ok::<_, store::Error>(Ok(updated))
        };
        written
            .await
            .map_err(|error| taken(&error, &settings.name))??
            .ok_or_else(status::etag_is_old)
    }

    async fn switch(
        &self,
        connector: &ConnectorId,
        name: &str,
        enabled: bool,
    ) -> Result<v1::Integration, Status> {
        let mut conn = self.conn().await?;
        let found = find(&mut conn, connector, name).await?;
        drop(conn);
        removal::refuse_deleting(&found)?;
        let switched = async {
            let mut tx = self.db.begin().await?;
            if !enabled {
                store::syncs::cancel_open(&mut tx, connector, found.id, None, "disabled").await?;
            }
            let switched =
                store::integrations::set_enabled(&mut tx, connector, found.id, enabled).await?;
            tx.commit().await?;
            if !enabled {
                // One that was planned in between; from now on none can be.
                let mut tx = self.db.begin().await?;
                store::syncs::cancel_open(&mut tx, connector, found.id, None, "disabled").await?;
                tx.commit().await?;
            }
            Ok::<_, store::Error>(switched)
        };
        let switched = switched
            .await
            .map_err(|error| status::store(&error))?
            .ok_or_else(|| status::not_found("integration", name))?;
        self.schedule.poke();
        let mut conn = self.conn().await?;
        shown(&mut conn, switched).await
    }
}

/// An integration by its id or name.
pub(super) async fn find(
    conn: &mut PgConnection,
    connector: &ConnectorId,
    name: &str,
) -> Result<Integration, Status> {
    if name.is_empty() {
        return Err(status::bad_request("integration", "is required; use its id or name"));
    }
    status::refuse_nul("integration", name)?;
    let found = match Uuid::try_parse(name) {
        Ok(id) => store::integrations::get(conn, connector, IntegrationId(id)).await,
        Err(_) => store::integrations::get_by_name(conn, connector, name).await,
    };
    found
        .map_err(|error| status::store(&error))?
        .ok_or_else(|| status::not_found("integration", name))
}

/// With its computed state.
async fn shown(conn: &mut PgConnection, found: Integration) -> Result<v1::Integration, Status> {
    let facts = async {
        let open = store::syncs::open(conn, &found.connector, found.id).await?;
        let problems = store::problems::list(conn, &found.connector, Some(found.id), false).await?;
        let failed = store::syncs::last_ended(conn, &found.connector, found.id).await?
            == Some(SyncState::Failed);
        let unmuted = problems.iter().filter(|found| found.muted_until.is_none());
        let worst = unmuted.map(|found| problem::severity(&found.code)).max();
        Ok::<_, store::Error>(Facts {
            deleting: found.deleting_at.is_some(),
            enabled: found.enabled,
            initialized: found.initialized_at.is_some(),
            syncing: open.is_some(),
            // Without the organization nothing can be read, whatever the reason.
            worst: if failed { Some(Severity::Error) } else { worst },
        })
    };
    let facts = facts.await.map_err(|error| status::store(&error))?;
    Ok(words::integration(found, crate::model::status::Status::of(facts)))
}

fn refuse_failed(steps: &[Step]) -> Result<(), Status> {
    let failed: Vec<&Step> = steps.iter().filter(|step| step.outcome == Outcome::Failed).collect();
    if failed.is_empty() { Ok(()) } else { Err(status::validation_failed(&failed)) }
}

fn taken(error: &store::Error, name: &str) -> Status {
    if error.is_duplicate_of(NAME_KEY) {
        name_taken(name)
    } else if error.is_duplicate_of(ORGANIZATION_KEY) {
        status::already_exists(
            "ORGANIZATION_CONNECTED",
            "this organization is connected already; an organization is connected once per daemon",
        )
    } else {
        status::store(error)
    }
}

fn name_taken(name: &str) -> Status {
    status::already_exists(
        "NAME_TAKEN",
        format!("settings.name {name:?} is taken by another integration; choose another name"),
    )
}

/// The version that an etag names; none: no etag.
fn version_of(etag: &str) -> Result<Option<i64>, Status> {
    if etag.is_empty() {
        return Ok(None);
    }
    etag.parse().map(Some).map_err(|_| {
        status::bad_request("etag", format!("{etag:?} is not an etag; use the one that was read"))
    })
}
