//! The roles that IAM Identity Center makes in accounts, one for each permission set there.

use crate::{
    aws::{Access, ApiError},
    model::record::is_role_of,
};

/// The IAM action.
pub const LIST_ROLES: &str = "iam:ListRoles";
/// Where Identity Center puts its roles.
const PATH: &str = "/aws-reserved/sso.amazonaws.com/";

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its id, which no role had before.
    pub id: String,
    /// Its ARN.
    pub arn: String,
}

/// The role of a permission set in an account; none: it is not there.
///
/// # Errors
///
/// When the list cannot be read.
pub async fn find(access: &Access, set: &str) -> Result<Option<Role>, ApiError> {
    let mut roles =
        access.iam().list_roles().path_prefix(PATH).max_items(1000).into_paginator().items().send();
    while let Some(role) = roles.next().await {
        let role = role.map_err(|error| ApiError::of(LIST_ROLES, &error))?;
        if is_role_of(role.role_name(), set) {
            let (name, id) = (role.role_name().to_owned(), role.role_id().to_owned());
            return Ok(Some(Role { name, id, arn: role.arn().to_owned() }));
        }
    }
    Ok(None)
}
