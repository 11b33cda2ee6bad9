//! Floor 3: what can be discovered, one file a collector.
//!
//! A collector reads one service's things in one place, a page at a time. It says
//! which IAM actions it calls, which types it yields and what their attributes mean;
//! the engine that loops over its pages, stores them and proves absence stands in
//! `sync` and knows no collector by name.
//!
//! To add one: a file here, and a word in [`COLLECTORS`].

use async_trait::async_trait;

use crate::{
    aws::{Access, ApiError},
    model::{
        integration::Settings,
        organization::Account,
        proof::PageToken,
        resource::Resource,
        scope::{Place, Reach},
    },
};

mod account;
mod ec2_instance;
pub mod organization;
pub mod regions;
mod s3_bucket;

/// Every collector.
pub static COLLECTORS: &[&dyn Collector] =
    &[&account::Accounts, &ec2_instance::Instances, &s3_bucket::Buckets];

/// A kind of resource.
#[derive(Debug)]
pub struct ResourceType {
    /// Stable id.
    pub id: &'static str,
    /// Name for people.
    pub display_name: &'static str,
    /// Attribute names with what they say.
    pub attributes: &'static [(&'static str, &'static str)],
}

/// Where a collector stands when it reads.
#[derive(Debug)]
pub struct Ground<'a> {
    /// The role session in the place's region (home region where it has none).
    pub access: &'a Access,
    /// The place.
    pub place: &'a Place,
    /// The integration's settings.
    pub settings: &'a Settings,
    /// The accounts of the organization, for collectors that reach all of it.
    pub accounts: &'a [Account],
}

/// One page.
#[derive(Debug, Default)]
pub struct Page {
    /// What is on it.
    pub resources: Vec<Resource>,
    /// Where the next one begins; none: this was the last.
    pub next: Option<PageToken>,
}

/// Reads one service's things in one place.
#[async_trait]
pub trait Collector: Send + Sync {
    /// Stable name; stored with every scope.
    fn name(&self) -> &'static str;

    /// Where it reads.
    fn reach(&self) -> Reach;

    /// What it yields.
    fn types(&self) -> &'static [ResourceType];

    /// Every IAM action that it calls.
    fn iam_actions(&self) -> &'static [&'static str];

    /// Reads one page: the first without a token, another with the token of the page
    /// before. What cannot be read beside the list itself is noted on the resource.
    ///
    /// # Errors
    ///
    /// When the list itself cannot be read.
    async fn page(&self, ground: &Ground<'_>, token: Option<&PageToken>) -> Result<Page, ApiError>;
}

/// The ids of all resource types, sorted.
#[must_use]
pub fn type_ids() -> Vec<&'static str> {
    let mut ids: Vec<_> =
        COLLECTORS.iter().flat_map(|collector| collector.types()).map(|kind| kind.id).collect();
    ids.sort_unstable();
    ids
}

/// The collectors that the settings choose for places of one reach.
pub fn chosen(settings: &Settings, reach: Reach) -> impl Iterator<Item = &'static dyn Collector> {
    COLLECTORS.iter().copied().filter(move |collector| {
        collector.reach() == reach
            && collector.types().iter().any(|kind| settings.resource_types.contains(kind.id))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn collectors_and_types_have_names_of_their_own() {
        let names: BTreeSet<_> = COLLECTORS.iter().map(|collector| collector.name()).collect();
        assert_eq!(names.len(), COLLECTORS.len());
        let ids = type_ids();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }
}
