//! What the collectors of IAM Identity Center have in common: its one instance.
//!
//! An organization has at most one, in the region that the settings name; it is read from
//! the management account. Its APIs take 20 calls a second for the whole organization.

use super::Ground;
use crate::{
    aws::{Access, ApiError},
    model::{
        failure::{Failure, Reason, ReasonCode},
        ids::Region,
        proof::PageToken,
    },
};

/// The IAM action.
pub const LIST_INSTANCES: &str = "sso:ListInstances";

/// Things that are read at once, each by several calls.
pub(super) const THINGS_AT_ONCE: usize = 4;

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its ARN.
    pub arn: String,
    /// The id of its identity store.
    pub identity_store: String,
}

/// The instance of the organization, if it lies in this region.
///
/// # Errors
///
/// When the list cannot be read.
pub async fn instance(access: &Access, region: &Region) -> Result<Option<Instance>, ApiError> {
    let there = access.in_region(region.clone());
    let answer = there
        .sso_admin()
        .list_instances()
        .send()
        .await
        .map_err(|error| ApiError::of(LIST_INSTANCES, &error))?;
    Ok(answer.instances().first().map(|instance| Instance {
        arn: instance.instance_arn().unwrap_or_default().to_owned(),
        identity_store: instance.identity_store_id().unwrap_or_default().to_owned(),
    }))
}

/// Where a collector stands in a list of the instance.
pub(super) struct Place {
    /// The role session in the instance's region.
    pub(super) access: Access,
    pub(super) instance: Instance,
    /// AWS's own token of the page; none: the first.
    pub(super) token: Option<String>,
}

impl Place {
    /// The first page looks for the instance; the others find it in their tokens.
    pub(super) async fn of(
        ground: &Ground<'_>,
        token: Option<&PageToken>,
    ) -> Result<Self, ApiError> {
        let missing = |region: &str| ApiError {
            reason: Reason::new(ReasonCode::IdentityCenterMissing, region, ""),
            failure: Failure::NeedsHuman,
            code: None,
            leaves_doubt: false,
        };
        let region = ground.settings.sso_region.clone().ok_or_else(|| missing("sso_region"))?;
        let access = ground.access.in_region(region.clone());
        let mut parts = token.map_or("", |token| &token.0).splitn(3, ' ');
        let (instance, token) = if let (Some(arn), Some(store), Some(token)) =
            (parts.next(), parts.next(), parts.next())
        {
            let (arn, identity_store) = (arn.to_owned(), store.to_owned());
            (Instance { arn, identity_store }, Some(token.to_owned()))
        } else {
            let found = instance(ground.access, &region).await?;
            (found.ok_or_else(|| missing(region.as_str()))?, None)
        };
        Ok(Self { access, instance, token })
    }

    /// The token of the page behind this one.
    pub(super) fn next(&self, token: Option<&str>) -> Option<PageToken> {
        let token = PageToken::of(token)?;
        Some(PageToken(format!(
            "{} {} {}",
            self.instance.arn, self.instance.identity_store, token.0
        )))
    }
}
