//! Which resources a request means.

use apono_connector_proto::v1::ListResourcesRequest;
use tonic::Status;
use uuid::Uuid;

use super::{
    integrations::find,
    inventory::{check_place, check_type},
    status,
};
use crate::{
    catalog,
    model::{
        filter::{self, Condition, Namer, Pattern, State},
        ids::{ConnectorId, IntegrationId},
        integration::Settings,
    },
    store::{self, PgConnection, filter::Meant, integrations::Integration},
};

/// Integrations of a connector that are read.
const INTEGRATIONS_MAX: i64 = 2001;
/// Conditions, each for every integration, that are looked at together.
const CONDITIONS_MAX: usize = 2000;

/// What a request means.
#[derive(Debug)]
pub(super) struct Filter {
    connector: ConnectorId,
    only: Option<IntegrationId>,
    integrations: Vec<Integration>,
    condition: Condition,
}

impl Filter {
    /// Of one integration, or of all that a connector has.
    pub(super) async fn of(
        conn: &mut PgConnection,
        connector: ConnectorId,
        integration: &str,
        condition: Condition,
    ) -> Result<Self, Status> {
        let (only, integrations) = if integration.is_empty() {
            let all = store::integrations::list(conn, &connector, "", INTEGRATIONS_MAX).await;
            let all = all.map_err(|error| status::store(&error))?;
            if all.len() * condition.count().max(1) > CONDITIONS_MAX {
                let reason = "is needed: there are too many for such a filter";
                return Err(status::bad_request("integration", reason));
            }
            (None, all)
        } else {
            let only = find(conn, &connector, integration).await?;
            (Some(only.id), vec![only])
        };
        Ok(Self { connector, only, integrations, condition })
    }

    /// The settings of an integration that is looked at.
    pub(super) fn settings(&self, integration: Uuid) -> Option<&Settings> {
        let mut integrations = self.integrations.iter();
        integrations.find(|one| one.id.0 == integration).map(|one| &one.settings)
    }

    /// As the store takes it.
    pub(super) fn meant(&self) -> Meant<'_> {
        Meant {
            connector: &self.connector,
            only: self.only,
            integrations: &self.integrations,
            condition: &self.condition,
        }
    }
}

/// Reads the text of a filter.
pub(super) fn parse(text: &str) -> Result<Condition, Status> {
    filter::parse(text, &catalog::type_ids())
        .map_err(|error| status::bad_request("filter", error.to_string()))
}

/// The conditions of a list: its filter, and the fields that say the same for the most usual
/// ones. One that can never hold is a mistake.
pub(super) fn conditions(request: &ListResourcesRequest) -> Result<Condition, Status> {
    status::refuse_nul("text", &request.text)?;
    check_type(&request.r#type)?;
    check_place(&request.account_id, &request.region)?;
    let mut all = vec![parse(&request.filter)?];
    if !request.r#type.is_empty() {
        all.push(Condition::Type(vec![request.r#type.clone()]));
    }
    if let Ok(account) = request.account_id.parse() {
        all.push(Condition::Account(account));
    }
    if !request.region.is_empty() {
        all.push(Condition::Region(Pattern::Is(request.region.clone())));
    }
    if !request.text.is_empty() {
        all.push(Condition::Text(request.text.clone()));
    }
    if request.held {
        all.push(Condition::State(State::Held));
    }
    if request.without_owner {
        all.push(Condition::Not(Box::new(Condition::OwnerBy(Namer::Tag))));
    }
    Ok(Condition::All(all))
}
