//! Works in one Identity Center instance, for as long as something is due there and its lease is
//! ours: begins steps, the most urgent first, and looks recipients up.
//!
//! Invariant: a target is in one step at a time: under one lease there is one worker, and it
//! begins none that it has begun.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use tokio::{
    task::{Id, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span, warn};
use uuid::Uuid;

use super::{
    Engine,
    mechanisms::{self, Error},
    places::Places,
    principals::{self, Found},
    rules::{self, Asked},
    site::Site,
    step::{self, Ground, renew_if_ended},
};
use crate::{
    aws::lease::Lease,
    base::{activator::Activator, backoff::Backoff, chain::Chain, chance, clock},
    model::{
        arn::RoleArn,
        assignment::{InAccount, Principal},
        grant::Recipient,
        ids::{Region, TargetId},
        refusal::{Refusal, RefusalCode},
        unit::UnitState,
    },
    store::{
        self, PgConnection,
        acts::{self, New},
        grants::{self, Grant},
        identity_centers::{self, Held},
        integrations::{self, Integration},
        lookups::{self, Lookup, Told},
        memory, organization,
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
/// After a lookup that failed.
const AFTER_FAILURE: Backoff =
    Backoff { first: Duration::from_secs(1), max: Duration::from_mins(5) };

/// What a worker is at.
#[derive(Clone, Debug)]
enum Job {
    Step(Due),
    /// Of a grant's recipient.
    Lookup(String),
    /// For a caller who waits.
    Question(Uuid),
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
        if worker.jobs.is_empty() {
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
            Job::Lookup(_) | Job::Question(_) | Job::Report => None,
        });
        let mut places = Places::new(mechanisms::limits(&self.ground.engine.config), steps);
        let (mut lookups, mut questions, mut is_reporting) = (Vec::new(), Vec::new(), false);
        for job in self.jobs.values() {
            match job {
                Job::Step(_) => {}
                Job::Lookup(grant) => lookups.push(grant.clone()),
                Job::Question(id) => questions.push(*id),
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
            if let Err(error) = look_up(&ground, &grant).await {
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
            if let Err(error) = answer(&ground, &lookup).await {
                warn!(error = %Chain(&error), "failed to tell who a recipient is; trying again");
                clock::sleep(TICK).await;
            }
        };
        let id = self.running.spawn(answering).id();
        self.jobs.insert(id, job);
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

/// Finds out who somebody is, and what plans would open beside what they say.
async fn find(
    ground: &Ground,
    recipient: &Recipient,
    plans: &[(String, serde_json::Value)],
) -> Result<(Found, Vec<InAccount>), Error> {
    let Ground { engine, site, .. } = ground;
    let found = principals::find(site, recipient).await?;
    let mut openings = Vec::new();
    for (name, plan) in plans {
        if let Some(mechanism) = mechanisms::of(name) {
            openings.extend(mechanism.openings(site, plan).await?);
        }
    }
    let spared = site.management_account();
    if !engine.config.management_account && openings.iter().any(|one| one.account == *spared) {
        let finding = format!("it would open the management account {spared}");
        return Err(Error::Refused(Refusal::new(RefusalCode::ManagementAccount, finding)));
    }
    Ok((found, openings))
}

/// Finds out who the recipient of a grant is, and ties the grant's units to their targets.
async fn look_up(ground: &Ground, grant: &Grant) -> store::Result<()> {
    let Ground { engine, held, .. } = ground;
    let mut conn = engine.db.conn().await?;
    let is_over = grant.until() <= store::now(&mut conn).await?;
    let units = units::list(&mut conn, &held.connector, std::slice::from_ref(&grant.id)).await?;
    drop(conn);
    let plans: Vec<_> =
        units.into_iter().map(|unit| (unit.what.mechanism, unit.what.plan)).collect();
    let found = if is_over {
        None
    } else {
        Some(find(ground, &grant.request.recipient, &plans).await.map(|(found, _)| found))
    };
    let mut tx = engine.db.begin().await?;
    identity_centers::lock(&mut tx, held).await?;
    let Some(now_is) = grants::lock(&mut tx, &held.connector, &grant.id).await? else {
        return Ok(());
    };
    if now_is.is_looked_up {
        return Ok(());
    }
    let now = store::now(&mut tx).await?;
    if now_is.until() <= now {
        move_all(&mut tx, held, &grant.id, UnitState::Ended, None).await?;
        grants::end_lookup(&mut tx, &held.connector, &grant.id, None).await?;
        return tx.commit().await;
    }
    let (principal, names) = match found {
        None => return Ok(()),
        Some(Ok(found)) => {
            if let Some(refusal) = forbidden(&mut tx, ground, &now_is, &found).await? {
                return refuse(tx, held, &grant.id, &refusal).await;
            }
            (found.principal, found.names)
        }
        Some(Err(Error::Refused(refusal))) => {
            return refuse(tx, held, &grant.id, &refusal).await;
        }
        Some(Err(Error::Aws(error))) => {
            renew_if_ended(ground, &error).await;
            if let Some(refusal) = error.refusal() {
                return refuse(tx, held, &grant.id, &refusal).await;
            }
            let failures = u32::try_from(grant.lookup_failures).unwrap_or_default();
            let wait = AFTER_FAILURE.after(failures.saturating_add(1));
            let again = now + TimeDelta::from_std(wait).unwrap_or_default();
            let (at, trouble) = (again.min(now_is.until()), error.to_string());
            grants::postpone_lookup(&mut tx, &held.connector, &grant.id, at, &trouble).await?;
            return tx.commit().await;
        }
    };
    tie_all(&mut tx, held, &grant.id, &principal).await?;
    let known = Some((&principal, names.as_slice()));
    grants::end_lookup(&mut tx, &held.connector, &grant.id, known).await?;
    let act = New {
        grant: &grant.id,
        verb: "RECIPIENT",
        actor: acts::CONNECTOR,
        object: "",
        detail: &format!("{} is {principal}", grant.request.recipient),
    };
    acts::note(&mut tx, &held.connector, act).await?;
    tx.commit().await
}

/// Ties the units of a grant to their targets, in the order in which targets are locked.
async fn tie_all(
    tx: &mut PgConnection,
    held: &Held,
    grant: &str,
    principal: &Principal,
) -> store::Result<()> {
    let mut objects = BTreeMap::new();
    for unit in units::list(tx, &held.connector, &[grant.to_owned()]).await? {
        let object = mechanisms::object(&unit.what, principal).map_err(|detail| {
            store::Error::Inconsistent { table: "units", column: "plan", detail }
        })?;
        objects.insert((object.key.clone(), object.mechanism), (object, unit.number));
    }
    for (object, number) in objects.into_values() {
        let of = (&held.connector, held.integration);
        let target = targets::ensure(tx, of, TargetId(chance::uuid()), &object).await?;
        units::tie(tx, &held.connector, (grant, number), target).await?;
    }
    Ok(())
}

/// Why a rule forbids a grant for the recipient by another of its names: a rule about somebody
/// holds however a caller names them.
async fn forbidden(
    tx: &mut PgConnection,
    ground: &Ground,
    grant: &Grant,
    found: &Found,
) -> store::Result<Option<Refusal>> {
    let (engine, connector) = (&ground.engine, &ground.held.connector);
    let Some(of) = integrations::get(tx, connector, grant.integration).await? else {
        let finding = "the integration is gone";
        return Ok(Some(Refusal::new(RefusalCode::IntegrationDeleting, finding)));
    };
    let length_s = (grant.expires_at - grant.created_at).num_seconds();
    for unit in units::list(tx, connector, std::slice::from_ref(&grant.id)).await? {
        let account = &unit.what.account;
        let found_account = organization::account(tx, connector, of.id, account).await?;
        let Some(account) = found_account else {
            let finding = format!("the account {account} is gone");
            return Ok(Some(Refusal::new(RefusalCode::AccountUnknown, finding)));
        };
        for name in &found.names {
            let asked = Asked {
                of: &of,
                request: &grant.request,
                recipient: name,
                account: &account,
                on: rules::on(&unit.what),
                length_s,
            };
            if let Some(refusal) = rules::refusal(&engine.guard, asked) {
                return Ok(Some(refusal));
            }
        }
    }
    Ok(None)
}

/// Tells a caller who somebody is, as far as that can be told now.
async fn answer(ground: &Ground, lookup: &Lookup) -> store::Result<()> {
    let found = find(ground, &lookup.recipient, &lookup.plans).await;
    let told = |(found, openings): (Found, _)| Told { principal: found.principal, openings };
    let found = found.map(told).map_err(|error| match error {
        Error::Refused(refusal) => refusal,
        Error::Aws(error) => error
            .refusal()
            .unwrap_or_else(|| Refusal::new(RefusalCode::NotAnswered, error.to_string())),
    });
    let mut conn = ground.engine.db.conn().await?;
    lookups::answer(&mut conn, &ground.held.connector, lookup.id, &found).await
}

async fn refuse(
    mut tx: store::Tx,
    held: &Held,
    grant: &str,
    refusal: &Refusal,
) -> store::Result<()> {
    move_all(&mut tx, held, grant, UnitState::Failed, Some(refusal)).await?;
    grants::end_lookup(&mut tx, &held.connector, grant, None).await?;
    tx.commit().await
}

/// Moves all units of a grant on that has no targets yet.
async fn move_all(
    tx: &mut PgConnection,
    held: &Held,
    grant: &str,
    to: UnitState,
    refusal: Option<&Refusal>,
) -> store::Result<()> {
    for unit in units::list(tx, &held.connector, &[grant.to_owned()]).await? {
        let states = (unit.state, to);
        units::set_state(tx, &held.connector, (grant, unit.number), states, refusal).await?;
    }
    let detail = refusal.map_or_else(|| to.to_string(), |refusal| format!("{to}: {refusal}"));
    let (verb, actor) = ("STATE", acts::CONNECTOR);
    acts::note(tx, &held.connector, New { grant, verb, actor, object: "", detail: &detail }).await
}
