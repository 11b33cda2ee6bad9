//! The regions that are enabled in an account.

use std::collections::BTreeSet;

use crate::{
    aws::{Access, ApiError},
    model::ids::Region,
};

const DESCRIBE_REGIONS: &str = "ec2:DescribeRegions";

/// Every IAM action that this file calls.
pub const IAM_ACTIONS: &[&str] = &[DESCRIBE_REGIONS];

/// Regions that the account has enabled, opted in or by default.
///
/// # Errors
///
/// When the list cannot be read.
pub async fn enabled(access: &Access) -> Result<BTreeSet<Region>, ApiError> {
    let answer = access
        .ec2()
        .describe_regions()
        .all_regions(false)
        .send()
        .await
        .map_err(|error| ApiError::of(DESCRIBE_REGIONS, &error))?;
    answer
        .regions()
        .iter()
        .filter_map(|region| region.region_name())
        .map(|name| name.parse().map_err(|_| ApiError::answered(DESCRIBE_REGIONS, "", name, 200)))
        .collect()
}
