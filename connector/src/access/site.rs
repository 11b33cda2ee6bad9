//! An Identity Center instance as its worker reaches it: the role, the lease, the lanes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use chrono::TimeDelta;
use tokio::sync::OnceCell;

use super::{Engine, mechanisms::Requests};
use crate::{
    aws::{
        Access, ApiError, Aws,
        lease::Lease,
        sessions::{Key, Kind, Session},
    },
    catalog::{
        identity_center::{self, Instance},
        reach,
    },
    model::{
        failure::{Failure, Lane, Reason, ReasonCode},
        ids::{AccountId, Region},
    },
    store::integrations::Integration,
};

/// Lanes in which access calls AWS.
const LANES: [Lane; 4] = [Lane::Revoke, Lane::Grant, Lane::Poll, Lane::Reconcile];

/// An instance, for as long as the lease lasts.
#[derive(Debug)]
pub struct Site {
    aws: Aws,
    integration: Arc<Integration>,
    base: Access,
    region: Option<Region>,
    lease: Lease,
    propagation: TimeDelta,
    lanes: [OnceLock<Access>; LANES.len()],
    members: Mutex<HashMap<(AccountId, Lane), Arc<Access>>>,
    /// Names of permission sets, by ARN.
    set_names: Mutex<HashMap<String, String>>,
    instance: OnceCell<Instance>,
    /// What AWS tells of requests, shared by all steps.
    pub requests: Requests,
}

impl Site {
    pub(super) fn new(engine: &Engine, integration: &Arc<Integration>, lease: Lease) -> Self {
        let settings = &integration.settings;
        let key = Key {
            connector: integration.connector.clone(),
            integration: settings.name.clone(),
            role: settings.management_role_arn.clone(),
            region: settings.region.clone(),
        };
        let session = Session::new(&engine.aws, key, Kind::Management, Lane::Reconcile);
        let region = settings.sso_region.clone();
        let base = Access::new(session, region.clone().unwrap_or_else(|| settings.region.clone()));
        Self {
            aws: engine.aws.clone(),
            integration: Arc::clone(integration),
            base,
            region,
            lease,
            propagation: TimeDelta::from_std(engine.config.propagation).unwrap_or_default(),
            lanes: Default::default(),
            members: Mutex::default(),
            set_names: Mutex::default(),
            instance: OnceCell::new(),
            requests: Requests::default(),
        }
    }

    /// The way into AWS in a lane, in the region of the instance, once there are credentials.
    ///
    /// # Errors
    ///
    /// When the role cannot be assumed.
    pub async fn access(&self, lane: Lane) -> Result<&Access, ApiError> {
        let at = LANES.iter().position(|one| *one == lane).unwrap_or(LANES.len() - 1);
        let access = self.lanes[at].get_or_init(|| self.base.under(&self.lease, LANES[at]));
        access.open().await.map_err(|error| error.meaning())?;
        Ok(access)
    }

    /// The way into an account in a lane, in the home region, once there are credentials.
    ///
    /// # Errors
    ///
    /// When the account's role cannot be assumed.
    pub async fn member(&self, account: &AccountId, lane: Lane) -> Result<Arc<Access>, ApiError> {
        let access = {
            let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            let known = members.entry((account.clone(), lane));
            Arc::clone(known.or_insert_with(|| {
                let access = reach::access(&self.aws, &self.integration, Some(account), None, lane);
                Arc::new(access.under(&self.lease, lane))
            }))
        };
        access.open().await.map_err(|error| error.meaning())?;
        Ok(access)
    }

    /// Whether what is done with the access is read.
    #[must_use]
    pub fn is_audited(&self) -> bool {
        self.integration.settings.audit_enabled
    }

    /// How long a policy that was changed may still allow what it did.
    #[must_use]
    pub fn propagation(&self) -> TimeDelta {
        self.propagation
    }

    /// The name of a permission set, if it is known.
    #[must_use]
    pub fn set_name(&self, arn: &str) -> Option<String> {
        self.set_names.lock().unwrap_or_else(PoisonError::into_inner).get(arn).cloned()
    }

    /// Remembers the name of a permission set, which never changes.
    pub fn remember_set_name(&self, arn: &str, name: &str) {
        let mut names = self.set_names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(arn.to_owned(), name.to_owned());
    }

    /// Drops cached credentials, after AWS said that some have ended.
    pub(super) async fn renew(&self) {
        self.base.renew().await;
        let members: Vec<Arc<Access>> = {
            let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            members.values().cloned().collect()
        };
        for member in members {
            member.renew().await;
        }
    }

    /// The instance.
    ///
    /// # Errors
    ///
    /// When there is none, or AWS does not answer.
    pub async fn instance(&self, lane: Lane) -> Result<&Instance, ApiError> {
        let found = self.instance.get_or_try_init(async || {
            let missing = |region: &str| ApiError {
                reason: Reason::new(ReasonCode::IdentityCenterMissing, region, ""),
                failure: Failure::NeedsHuman,
                code: None,
                leaves_doubt: false,
            };
            let region = self.region.as_ref().ok_or_else(|| missing("sso_region"))?;
            let found = identity_center::instance(self.access(lane).await?, region).await?;
            found.ok_or_else(|| missing(region.as_str()))
        });
        found.await
    }

    pub(super) fn management_account(&self) -> &AccountId {
        &self.integration.management_account
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }
}
