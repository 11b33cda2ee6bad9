//! How many resources there are of each kind.

use apono_connector_proto::v1::{self, SummarizeResourcesRequest, SummarizeResourcesResponse};
use tonic::Status;

use super::{Api, auth::Caller, integrations::find, status};
use crate::store::{self, facets::Facet};

/// Values of one property, the most frequent ones.
const FACETS_MAX: i64 = 500;

impl Api {
    pub(super) async fn facets(
        &self,
        caller: &Caller,
        request: SummarizeResourcesRequest,
    ) -> Result<SummarizeResourcesResponse, Status> {
        let connector = caller.connector(&request.connector_id)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        let facets = store::facets::count(&mut conn, &connector, integration.id, FACETS_MAX)
            .await
            .map_err(|error| status::store(&error))?;
        Ok(SummarizeResourcesResponse {
            // There are far fewer types than facets are shown.
            resources: facets.types.iter().map(|facet| facet.resources).sum(),
            types: shown(facets.types),
            accounts: shown(facets.accounts),
            regions: shown(facets.regions),
            organizational_units: shown(facets.units),
            tag_keys: shown(facets.tag_keys),
        })
    }
}

fn shown(facets: Vec<Facet>) -> Vec<v1::Facet> {
    let facets = facets.into_iter();
    facets
        .map(|Facet { value, name, resources }| v1::Facet { value, display_name: name, resources })
        .collect()
}
