//! Tags in bulk: the tagging API tells those of a hundred resources of a region in one
//! call, where the service's own list tells none.

use std::collections::HashMap;

use crate::{
    aws::{Access, ApiError},
    model::resource::{Resource, TAGS, Tags},
};

pub(super) const GET_RESOURCES: &str = "tag:GetResources";

/// ARNs that one call may name.
const ARNS_PER_CALL: usize = 100;

/// Fills in the tags of a page. Where they cannot be read, the resources say so.
pub(super) async fn fill(access: &Access, page: &mut [Resource]) {
    for resources in page.chunks_mut(ARNS_PER_CALL) {
        match read(access, resources).await {
            Ok(mut tags) => {
                for resource in resources {
                    resource.tags = tags.remove(&resource.arn).unwrap_or_default();
                }
            }
            Err(error) => {
                for resource in resources {
                    resource.unread.insert(TAGS.to_owned(), error.reason.code);
                }
            }
        }
    }
}

/// What was never tagged is not in the answer.
async fn read(access: &Access, resources: &[Resource]) -> Result<HashMap<String, Tags>, ApiError> {
    let arns: Vec<String> = resources.iter().map(|resource| resource.arn.clone()).collect();
    let mut found = HashMap::new();
    let mut token = None;
    loop {
        // A list of ARNs and a token do not go together.
        let call = access.tagging().get_resources();
        let call = match token {
            None => call.set_resource_arn_list(Some(arns.clone())),
            Some(_) => call.set_pagination_token(token),
        };
        let answer = call.send().await.map_err(|error| ApiError::of(GET_RESOURCES, &error))?;
        for mapping in answer.resource_tag_mapping_list.unwrap_or_default() {
            let Some(arn) = mapping.resource_arn else { continue };
            let tags = mapping.tags.unwrap_or_default();
            found.insert(arn, tags.into_iter().map(|tag| (tag.key, tag.value)).collect());
        }
        token = answer.pagination_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(found);
        }
    }
}
