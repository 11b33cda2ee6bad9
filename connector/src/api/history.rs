//! What a resource was.

use apono_connector_proto::v1::{
    FieldChange, ListResourceVersionsRequest, ListResourceVersionsResponse, Resource,
    ResourceVersion,
};
use tonic::Status;

use super::{
    Api,
    auth::Caller,
    integrations::find,
    page::{self, Page},
    status, words,
};
use crate::{
    model::history::{self, Change},
    store::{self, history::Version},
};

impl Api {
    pub(super) async fn versions(
        &self,
        caller: &Caller,
        request: ListResourceVersionsRequest,
    ) -> Result<ListResourceVersionsResponse, Status> {
        let connector = caller.connector(&request.connector_id)?;
        let page = Page::parse("versions", request.page_size, &request.page_token)?;
        let before = match page.after.as_deref() {
            None => i64::MAX,
            Some(revision) => revision.parse().map_err(|_| page::damaged())?,
        };
        status::refuse_nul("arn", &request.arn)?;
        let mut conn = self.conn().await?;
        let integration = find(&mut conn, &connector, &request.integration).await?.id;
        let arn = &request.arn;
        let mut found =
            store::history::list(&mut conn, &connector, integration, arn, before, page.limit())
                .await
                .map_err(|error| status::store(&error))?;
        if found.is_empty() && page.after.is_none() {
            return Err(status::not_found("resource", arn));
        }
        // Each is told beside the one before it, which may stand on the next page.
        let previous: Vec<_> = found.iter().skip(1).cloned().map(Some).chain([None]).collect();
        let fits = page::fitting(&found, |version| version.content.size());
        let next_page_token = page.cut_at(fits, &mut found, |version| version.revision.to_string());
        let versions = found.into_iter().zip(previous);
        Ok(ListResourceVersionsResponse {
            versions: versions
                .map(|(version, previous)| {
                    shown(version, previous.as_ref(), &integration.to_string(), arn)
                })
                .collect(),
            next_page_token,
        })
    }
}

fn shown(
    version: Version,
    previous: Option<&Version>,
    integration: &str,
    arn: &str,
) -> ResourceVersion {
    let changes = previous
        .map_or_else(Vec::new, |before| history::changes(&before.content, &version.content));
    let returned = previous.is_some_and(|before| before.went);
    let Version { revision, content, began_at, ended_at, went } = version;
    ResourceVersion {
        revision,
        start_time: Some(words::timestamp(began_at)),
        end_time: ended_at.map(words::timestamp),
        gone: went,
        returned,
        changes: changes.into_iter().map(change).collect(),
        resource: Some(Resource {
            arn: arn.to_owned(),
            r#type: content.kind,
            integration_id: integration.to_owned(),
            account_id: content.account_id,
            region: content.region,
            name: content.name,
            tags: words::texts(content.tags),
            attributes: Some(words::structure(content.attributes)),
            ..Default::default()
        }),
    }
}

fn change(change: Change) -> FieldChange {
    FieldChange {
        field: change.field,
        before: change.before.map(words::value),
        after: change.after.map(words::value),
    }
}
