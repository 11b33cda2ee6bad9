//! The integrations whose groups are being read, so that each group need not ask for its
//! own. A version of the settings never changes, and a group knows which one was in force
//! when it was leased.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    model::{ids::IntegrationId, scope::Group},
    store::{self, Db, integrations::Integration},
};

/// Integrations, each in the version that was asked for last. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<HashMap<IntegrationId, Arc<Integration>>>>);

impl Known {
    /// The integration of a group.
    ///
    /// # Errors
    ///
    /// [`store::Error::Fenced`] when it is gone, and the group with it.
    pub(super) async fn of(&self, db: &Db, group: &Group) -> store::Result<Arc<Integration>> {
        if let Some(known) = self.find(group) {
            return Ok(known);
        }
        let mut conn = db.conn().await?;
        let found =
            store::integrations::get(&mut conn, &group.connector, group.integration).await?;
        let found = Arc::new(found.ok_or(store::Error::Fenced)?);
        self.lock().insert(group.integration, Arc::clone(&found));
        Ok(found)
    }

    /// A version that is at least the group's: a newer one may have been read since.
    fn find(&self, group: &Group) -> Option<Arc<Integration>> {
        let known = self.lock().get(&group.integration).cloned();
        known.filter(|known| known.version >= group.settings_version)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IntegrationId, Arc<Integration>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
