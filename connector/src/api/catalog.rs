//! What can be discovered.

use apono_connector_proto::v1::{
    Attribute, ListResourceTypesRequest, ListResourceTypesResponse, Permission, ResourceType,
    catalog_service_server::CatalogService,
};
use tonic::{Request, Response, Status};

use super::{Api, words};
use crate::{access::mechanisms::MECHANISMS, catalog::COLLECTORS};

#[tonic::async_trait]
impl CatalogService for Api {
    async fn list_resource_types(
        &self,
        _request: Request<ListResourceTypesRequest>,
    ) -> Result<Response<ListResourceTypesResponse>, Status> {
        let mut resource_types = Vec::new();
        for collector in COLLECTORS {
            let mut iam_actions: Vec<String> =
                collector.iam_actions().iter().map(|action| (*action).to_owned()).collect();
            iam_actions.sort_unstable();
            for kind in collector.types() {
                resource_types.push(ResourceType {
                    id: kind.id.to_owned(),
                    display_name: kind.display_name.to_owned(),
                    collector: collector.name().to_owned(),
                    reach: words::reach(collector.reach()).into(),
                    attributes: kind
                        .attributes
                        .iter()
                        .map(|(name, description)| Attribute {
                            name: (*name).to_owned(),
                            description: (*description).to_owned(),
                        })
                        .collect(),
                    iam_actions: iam_actions.clone(),
                    permissions: permissions(kind.id),
                });
            }
        }
        resource_types.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Response::new(ListResourceTypesResponse { resource_types }))
    }
}

fn permissions(kind: &str) -> Vec<Permission> {
    let all = MECHANISMS.iter().flat_map(|mechanism| {
        mechanism.permissions(kind).into_iter().map(|one| Permission {
            id: one.form,
            description: one.description.to_owned(),
            mechanism: mechanism.name().to_owned(),
            is_self_ending: one.is_self_ending,
        })
    });
    all.collect()
}
