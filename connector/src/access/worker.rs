//! Works in one Identity Center instance, for as long as something is due there and its lease is
//! ours: begins steps, the most urgent first, and looks recipients up.
//!
//! Invariant: a target is in one step at a time: under one lease there is one worker, and it
//! begins none that it has begun.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    task::{Id, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span, warn};
use uuid::Uuid;

use super::{
    Engine, lookup, mechanisms,
    places::Places,
    site::Site,
    step::{self, Ground},
    trial,
};
use crate::{
    aws::lease::Lease,
    base::{activator::Activator, chain::Chain, clock},
    model::{arn::RoleArn, ids::Region},
    store::{
        self,
        grants::{self, Grant},
        identity_centers::{self, Held},
        integrations::{self, Integration},
        lookups::{self, Lookup},
        memory,
        recovery::{self, Wanted},
        targets::{self, Due},
        units,
    },
};

/// Without a poke, how often to look for what is due.
const TICK: Duration = Duration::from_millis(250);
/// What comes within this time is begun together.
const GATHERED: Duration = Duration::from_millis(20);
/// Recipients that are looked up at once.
const LOOKUPS_MAX: usize = 8;
/// Questions of callers that are answered at once.
const QUESTIONS_MAX: usize = 4;
/// The lease is kept so long after the last step: something may come of it soon.
const IDLE: Duration = Duration::from_secs(2);

/// What a worker is at.
#[derive(Clone, Debug)]
enum Job {
    Step(Due),
    /// Of a grant's recipient.
    Lookup(String),
    /// For a caller who waits.
    Question(Uuid),
    /// Of what was given.
    Trial,
    /// Of what the database has forgotten.
    Report,
}

/// Works until nothing is due, the lease is lost, or it is asked to stop; then gives the lease up.
pub(super) async fn work(
    engine: Engine,
    held: Held,
    taken: Instant,
    integration: Integration,
    woken: Activator,
    stopping: CancellationToken,
) {
    let lease = Lease::new(taken, engine.config.lease);
    let way = way(&integration);
    // Whether the way into the instance is another one by now: the next worker takes that.
    let mut has_moved = false;
    let site = Arc::new(Site::new(&engine, &Arc::new(integration), lease));
    let mut worker = Worker {
        ground: Ground { engine, held, site },
        running: JoinSet::new(),
        jobs: HashMap::new(),
    };
    let beating = beat(worker.ground.clone());
    tokio::pin!(beating);
    let mut last_job = Instant::now();
    loop {
        let begun = Instant::now();
        let is_stopping = stopping.is_cancelled() || has_moved;
        if !is_stopping {
            match worker.begin_all(&way).await {
                Ok(is_as_it_was) => has_moved = !is_as_it_was,
                Err(error) => {
                    warn!(error = %Chain(&error), "failed to look for what is due; trying again");
                }
            }
        }
        // Nobody waits for a trial.
        let has_only_trials = worker.jobs.values().all(|job| matches!(job, Job::Trial));
        if worker.jobs.is_empty() || (is_stopping && has_only_trials) {
            if is_stopping || last_job.elapsed() > IDLE {
                break;
            }
        } else {
            last_job = Instant::now();
        }
        tokio::select! {
            () = &mut beating => break,
            Some(ended) = worker.running.join_next_with_id() => worker.end(ended),
            () = woken.wait(TICK) => {}
            () = stopping.cancelled(), if !is_stopping => {}
        }
        // What AWS and callers do comes in droves; each look for what is due serves them all.
        clock::sleep_until(begun + GATHERED).await;
        while let Some(ended) = worker.running.try_join_next_with_id() {
            worker.end(ended);
        }
    }
    let Ground { engine, held, site } = &worker.ground;
    site.lease().give_up();
    worker.running.shutdown().await;
    let given_up = async {
        let mut conn = engine.db.conn().await?;
        identity_centers::give_up(&mut conn, held).await
    };
    if let Err(error) = given_up.await {
        warn!(error = %Chain(&error), "failed to give a lease up; it runs out");
    }
}

/// Extends the lease; ends when it is not ours any more.
async fn beat(ground: Ground) {
    let Ground { engine, held, site } = ground;
    let config = &engine.config;
    loop {
        clock::sleep(config.heartbeat).await;
        let asked = Instant::now();
        let kept = async {
            let mut conn = engine.db.conn().await?;
            identity_centers::keep(&mut conn, &held, config.lease).await
        };
        match tokio::time::timeout(config.lease / 3, kept).await {
            Ok(Ok(true)) => site.lease().extend(asked, config.lease),
            Ok(Ok(false)) => {
                site.lease().give_up();
                metrics::counter!("connector_leases_lost_total").increment(1);
                warn!(
                    "the lease of an Identity Center instance was lost; another replica works there"
                );
                return;
            }
            Ok(Err(error)) => {
                warn!(error = %Chain(&error), "failed to extend a lease; trying again");
            }
            Err(_) => warn!("the database did not extend a lease in time; trying again"),
        }
    }
}

/// The role and the region by which an instance is reached.
type Way = (RoleArn, Option<Region>);

fn way(integration: &Integration) -> Way {
    let settings = &integration.settings;
    (settings.management_role_arn.clone(), settings.sso_region.clone())
}

type Ended = Result<(Id, ()), tokio::task::JoinError>;

struct Worker {
    ground: Ground,
    running: JoinSet<()>,
    jobs: HashMap<Id, Job>,
}

impl Worker {
    /// Begins what is due and has a place. False: the way into the instance is another one.
    async fn begin_all(&mut self, before: &Way) -> store::Result<bool> {
        let steps = self.jobs.values().filter_map(|job| match job {
            Job::Step(due) => Some(due),
            Job::Lookup(_) | Job::Question(_) | Job::Trial | Job::Report => None,
        });
        let mut places = Places::new(mechanisms::limits(&self.ground.engine.config), steps);
        let (mut lookups, mut questions) = (Vec::new(), Vec::new());
        let (mut is_reporting, mut is_trying) = (false, false);
        for job in self.jobs.values() {
            match job {
                Job::Step(_) => {}
                Job::Lookup(grant) => lookups.push(grant.clone()),
                Job::Question(id) => questions.push(*id),
                Job::Trial => is_trying = true,
                Job::Report => is_reporting = true,
            }
        }
        let mut conn = self.ground.engine.db.conn().await?;
        let Held { connector, integration, .. } = &self.ground.held;
        let now_is = integrations::get(&mut conn, connector, *integration).await?;
        if now_is.is_none_or(|now_is| way(&now_is) != *before) {
            return Ok(false);
        }
        let is_recovering = memory::is_recovering(&mut conn, connector).await?;
        if questions.len() < QUESTIONS_MAX {
            let limit = count(QUESTIONS_MAX - questions.len());
            let open = lookups::open(&mut conn, &self.ground.held, &questions, limit).await?;
            for lookup in open {
                self.begin_question(lookup);
            }
        }
        if is_recovering {
            let due = recovery::due(&mut conn, &self.ground.held).await?;
            if let Some(wanted) = due.filter(|_| !is_reporting) {
                self.begin_report(wanted);
            }
            return Ok(true);
        }
        if lookups.len() < LOOKUPS_MAX {
            let limit = count(LOOKUPS_MAX - lookups.len());
            for grant in grants::to_look_up(&mut conn, &self.ground.held, &lookups, limit).await? {
                self.begin_lookup(grant);
            }
        }
        if let Some(search) = places.search() {
            for due in targets::due(&mut conn, &self.ground.held, search).await? {
                if places.has_one_for(&due) {
                    places.give(&due);
                    self.begin_step(due);
                }
            }
        }
        // One after another: nobody waits for it.
        if !is_trying && let Some(unit) = units::take_untried(&mut conn, &self.ground.held).await? {
            self.begin_trial(unit);
        }
        Ok(true)
    }

    fn begin_step(&mut self, due: Due) {
        let ground = self.ground.clone();
        let job = due.clone();
        let stepping = async move {
            if let Err(error) = step::take(&ground, &due).await {
                warn!(error = %Chain(&error), "a step failed; it is taken again");
                // The database is away, or somebody else works here: no need to hurry.
                clock::sleep(TICK).await;
            }
        };
        let span = info_span!("step", target.id = %job.id, errand = ?job.errand);
        let id = self.running.spawn(stepping.instrument(span)).id();
        self.jobs.insert(id, Job::Step(job));
    }

    fn begin_lookup(&mut self, grant: Grant) {
        let ground = self.ground.clone();
        let job = Job::Lookup(grant.id.clone());
        let looking = async move {
            if let Err(error) = lookup::tie(&ground, &grant).await {
                warn!(error = %Chain(&error), "failed to store who a recipient is; trying again");
                clock::sleep(TICK).await;
            }
        };
        let id = self.running.spawn(looking).id();
        self.jobs.insert(id, job);
    }

    fn begin_question(&mut self, lookup: Lookup) {
        let ground = self.ground.clone();
        let job = Job::Question(lookup.id);
        let answering = async move {
            if let Err(error) = lookup::answer(&ground, &lookup).await {
                warn!(error = %Chain(&error), "failed to tell who a recipient is; trying again");
                clock::sleep(TICK).await;
            }
        };
        let id = self.running.spawn(answering).id();
        self.jobs.insert(id, job);
    }

    fn begin_trial(&mut self, (grant, number): (String, i16)) {
        let ground = self.ground.clone();
        let trying = async move {
            if let Err(error) = trial::run(&ground, (&grant, number)).await {
                warn!(error = %Chain(&error), "failed to store what was found by trying what was given");
            }
        };
        let id = self.running.spawn(trying).id();
        self.jobs.insert(id, Job::Trial);
    }

    fn begin_report(&mut self, wanted: Wanted) {
        let ground = self.ground.clone();
        let reporting = async move {
            if let Err(error) = super::recovery::report(&ground, &wanted).await {
                warn!(error = %Chain(&error), "failed to store what AWS told; asking again");
                clock::sleep(TICK).await;
            }
        };
        let id = self.running.spawn(reporting).id();
        self.jobs.insert(id, Job::Report);
    }

    fn end(&mut self, ended: Ended) {
        let (id, ()) = ended.expect("a step does not panic");
        self.jobs.remove(&id);
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
