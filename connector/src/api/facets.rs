//! How many resources there are of each kind.

use apono_connector_proto::v1::{self, SummarizeResourcesRequest, SummarizeResourcesResponse};
use tonic::Status;

use super::{Api, auth::Caller, filter, integrations::find, status};
use crate::store::{self, facets::Facet};

/// Values of one property, the most frequent ones.
const FACETS_MAX: usize = 500;

impl Api {
    pub(super) async fn facets(
        &self,
        caller: &Caller,
        request: SummarizeResourcesRequest,
    ) -> Result<SummarizeResourcesResponse, Status> {
        let connector = caller.connector(&request.connector_id)?;
        let condition = filter::parse(&request.filter)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?;
        let facets = store::facets::count(&mut conn, &integration, &condition, FACETS_MAX)
            .await
            .map_err(|error| status::store(&error))?;
        Ok(SummarizeResourcesResponse {
            resources: facets.resources,
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
