//! Takes what is due, several at once, for as long as the process lives.

use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{Instrument as _, info_span, warn};

use super::{Auditor, places, queue, roles};
use crate::{
    base::{chain::Chain, chance},
    store::{
        self,
        audit_places::{self, Leased},
        audited_units::{self, ToFind},
        trail_queues,
    },
};

/// How often to look for what is due.
const TICK: Duration = Duration::from_secs(2);
/// Places that are read, and roles that are looked for, at once.
const AT_ONCE: usize = 16;
/// For how long nobody else looks for the same role.
const FIND_LEASE: Duration = Duration::from_mins(5);

/// Runs until it is asked to stop; then ends the pages that are being read, or leaves when asked again.
///
/// # Panics
///
/// When a job panics; the process goes down with it, and its leases run out.
pub async fn run(auditor: Auditor) {
    let stopper = auditor.stopper.clone();
    let mut runner = Runner { auditor, jobs: JoinSet::new() };
    let wishes = runner.auditor.wishes.clone();
    while !stopper.is_stopping() {
        while let Some(ended) = runner.jobs.try_join_next() {
            ended.expect("a job does not panic");
        }
        if let Err(error) = runner.begin().await {
            warn!(error = %Chain(&error), "failed to look which session audit is due; trying again");
        }
        tokio::select! {
            Some(ended) = runner.jobs.join_next() => ended.expect("a job does not panic"),
            () = wishes.wait(TICK) => {}
            () = stopper.stopping() => {}
        }
    }
    tokio::select! {
        () = async { while runner.jobs.join_next().await.is_some() {} } => {}
        () = stopper.leaving() => {}
    }
}

struct Runner {
    auditor: Auditor,
    jobs: JoinSet<()>,
}

impl Runner {
    async fn begin(&mut self) -> store::Result<()> {
        let mut conn = self.auditor.db.conn().await?;
        while self.jobs.len() < AT_ONCE {
            let connectors = &self.auditor.connectors;
            if let Some(unit) =
                audited_units::take_to_find(&mut conn, connectors, FIND_LEASE).await?
            {
                self.jobs.spawn(find(self.auditor.clone(), unit));
                continue;
            }
            let token = chance::uuid();
            let leased = trail_queues::lease(&mut conn, connectors, token, places::LEASE).await?;
            if let Some(leased) = leased {
                self.jobs.spawn(empty(self.auditor.clone(), leased));
                continue;
            }
            let leased = audit_places::lease(&mut conn, connectors, token, places::LEASE).await?;
            let Some(place) = leased else { break };
            self.jobs.spawn(read(self.auditor.clone(), place));
        }
        Ok(())
    }
}

async fn find(auditor: Auditor, unit: ToFind) {
    let span = info_span!("audited_role", grant.id = unit.grant, account.id = %unit.account);
    match roles::find(&auditor, &unit).instrument(span).await {
        Ok(()) | Err(store::Error::Fenced) => {}
        Err(error) => {
            warn!(error = %Chain(&error), "failed to store which role was found; it is looked for again");
        }
    }
}

async fn empty(auditor: Auditor, leased: trail_queues::Leased) {
    let span = info_span!("trail_queue", integration.id = %leased.integration);
    match queue::empty(&auditor, &leased).instrument(span).await {
        Ok(()) | Err(store::Error::Fenced) => {}
        Err(error) => {
            warn!(error = %Chain(&error), "failed to note what a queue tells; it is asked again");
        }
    }
}

async fn read(auditor: Auditor, place: Leased) {
    let source = &place.source;
    let span = info_span!("audit", source, account.id = %place.account, region = %place.region);
    match places::read(&auditor, &place).instrument(span).await {
        Ok(()) | Err(store::Error::Fenced) => {}
        Err(error) => {
            warn!(error = %Chain(&error), "failed to store session audit; it is read again");
        }
    }
}
