//! The flows of the matrix, each from a stage that was built once: a synced organization, copied for
//! every visit.

use std::time::Duration;

use apono_connector_proto::v1::{
    ExtendRequest, Grant, GrantRequest, GrantState, GrantUnit, IntegrationSettings, RevokeRequest,
    UnitState, grant_request::End,
};
use aws_sim::{Moment, Trapped};
use connector::base::clock;
use prost_types::Timestamp;
use rustix::process::Signal;
use tonic::Code;

use super::{
    COMMIT, Point, Variant,
    proxy::{Held, Proxy},
    way::{BESIDE, Way},
};
use crate::{
    access::{House, cloud_for, settings},
    harness::{Api, Daemon, Database, Options},
};

/// How long a grant lasts: less than a session of the role, whose end would come between or not.
const LENGTH_S: i64 = 600;
/// A daemon that is stopped is stopped for longer than its lease lasts, and shorter than a call takes to
/// settle.
const LEASE_S: i64 = 3;
const SETTLING: &str = "10s";
const SETTLING_S: i64 = 10;
/// The next one takes over by then, if the one that is stopped lets it: it may hold a lock.
const TAKES_OVER: Duration = Duration::from_millis(3500);
/// It has begun to work then.
const AT_WORK: Duration = Duration::from_millis(700);
/// A point that has not come by then does not come.
const POINT_MAX: Duration = Duration::from_secs(8);
/// What waits for nothing comes by then.
const SOON: Duration = Duration::from_millis(1500);
/// What must come comes by then.
const PATIENCE: Duration = Duration::from_secs(45);
const ID: &str = "g1";

/// What happens to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It is given.
    Grant,
    /// It is given where the same was there before.
    Found,
    /// It is taken away early.
    Revoke,
    /// Its end comes.
    Expiry,
    /// Its end is moved.
    Extend,
    /// Somebody else removes the access, and it is made again.
    Drift,
}

impl Flow {
    pub(super) const ALL: [Self; 6] =
        [Self::Grant, Self::Found, Self::Revoke, Self::Expiry, Self::Extend, Self::Drift];

    /// Whether access was there before any grant.
    pub(super) fn is_found(self) -> bool {
        self == Self::Found
    }

    /// Whether the grant is there before the flow begins.
    fn begins_active(self) -> bool {
        !matches!(self, Self::Grant | Self::Found)
    }

    /// Whether the flow ends the grant.
    fn ends_grant(self) -> bool {
        matches!(self, Self::Revoke | Self::Expiry)
    }
}

/// What every visit begins with.
pub(super) struct Stage {
    connector_id: String,
    database: Database,
}

/// One visit.
struct Scene {
    house: House,
    proxy: Proxy,
    way: Way,
    flow: Flow,
    /// When the grant ends.
    end: i64,
}

type Outcome<T> = Result<T, String>;

fn options(url: &str, flow: Flow) -> Options {
    // Only what the flow does is looked at.
    let audit = if flow == Flow::Drift { "300ms" } else { "1h" };
    Options::default()
        .set("DATABASE_URL", url)
        // Each costs PostgreSQL a process.
        .set("APONO__DATABASE__CONNECTIONS_MAX", "6")
        .set("APONO__ACCESS__SETTLING", SETTLING)
        .set("APONO__ACCESS__PROPAGATION", "500ms")
        .set("APONO__ACCESS__AUDIT_INTERVAL", audit)
}

impl Stage {
    /// Syncs an organization, and stops.
    pub(super) async fn prepare() -> Self {
        let database = Database::create().await;
        let connector_id = connector::base::chance::uuid().to_string();
        let cloud = cloud_for(&connector_id).await;
        Way::Generated.furnish(&cloud);
        let mut daemon = Daemon::start_with(&cloud, options(&database.url, Flow::Grant));
        let api = daemon.api().await;
        let week = prost_types::Duration { seconds: 7 * 24 * 3600, nanos: 0 };
        let settings = IntegrationSettings { sync_interval: Some(week), ..settings(&cloud) };
        api.create_and_sync(Way::knowing(settings)).await;
        daemon.stop().await;
        Self { connector_id, database }
    }

    async fn scene(&self, way: Way, flow: Flow) -> Scene {
        let cloud = cloud_for(&self.connector_id).await;
        way.furnish(&cloud);
        if flow.is_found() {
            way.by_hand(&cloud, true);
        }
        let database = self.database.copy().await;
        if let Some(settings) = way.settings() {
            let set =
                format!("UPDATE connector.integrations SET settings = settings || '{settings}'");
            database.execute(&set).await;
        }
        let proxy = Proxy::start(&database.url).await;
        let daemon = Daemon::started_with(&cloud, options(&proxy.url(), flow)).await;
        let api = daemon.api().await;
        let now = database.count("SELECT extract(epoch FROM connector.now())::bigint").await;
        let house = House { cloud, database, daemon, api };
        let scene = Scene { house, proxy, way, flow, end: now + LENGTH_S };
        if let Some(beside) = way.beside() {
            scene.house.api.grant(beside).await;
            scene.house.api.wait_for_grant(BESIDE, GrantState::Active).await;
        }
        if flow.begins_active() {
            scene.house.api.grant(scene.request()).await;
            scene.house.api.wait_for_grant(ID, GrantState::Active).await;
            way.is_used(&scene.house.cloud);
        }
        scene
    }

    /// The effects of a clean run: calls (true) and commits.
    pub(super) async fn trace(&self, (way, flow): (Way, Flow)) -> Vec<(bool, String)> {
        let scene = self.scene(way, flow).await;
        let (calls, commits) = (scene.calls().len(), scene.proxy.effects());
        scene.act(&scene.house.api).await;
        scene.comes_to_rest(&scene.house.api).await.expect("a clean run");
        let calls = scene.calls().split_off(calls);
        let commits = (commits..scene.proxy.effects()).map(|_| (false, COMMIT.to_owned()));
        calls.into_iter().map(|label| (true, label)).chain(commits).collect()
    }

    /// Does what the variant says at a point. Whether the point was met.
    pub(super) async fn visit(
        &self,
        (way, flow): (Way, Flow),
        point: &Point,
        variant: Variant,
    ) -> Outcome<bool> {
        let mut scene = self.scene(way, flow).await;
        let trap = scene.trap(point, variant.moment);
        let asking = {
            let (api, house) = (scene.house.api.clone(), scene.asker());
            tokio::spawn(async move { house.ask(&api).await })
        };
        scene.begin().await;
        let Some(caught) = trap.caught().await else { return Ok(false) };
        let label = caught.label();
        let held = |wrong| format!("{label} was held: {wrong}");
        let old = scene.interrupt(variant, caught).await;
        asking.abort();
        let api = scene.house.api.clone();
        // Whoever heard no answer asks again.
        scene.asker().ask(&api).await;
        if !variant.is_late && !flow.ends_grant() {
            // What was lost is waited for until it has settled.
            let _ = tokio::time::timeout(SOON, scene.comes_to_rest(&api)).await;
            scene.house.pass(SETTLING_S).await;
            scene.comes_to_rest(&api).await.map_err(held)?;
        }
        if !variant.is_late {
            scene.house.pass(LENGTH_S + 60).await;
        }
        scene.ends(&api).await.map_err(held)?;
        drop(old);
        Ok(true)
    }
}

/// A point that waits for its effect.
enum Trap {
    Call(tokio::sync::oneshot::Receiver<Trapped>),
    Commit(tokio::sync::oneshot::Receiver<Held>),
}

/// An effect that is held.
enum Caught {
    Call(Trapped),
    Commit(Held),
}

impl Trap {
    async fn caught(self) -> Option<Caught> {
        let caught = async {
            match self {
                Self::Call(trap) => trap.await.ok().map(Caught::Call),
                Self::Commit(trap) => trap.await.ok().map(Caught::Commit),
            }
        };
        tokio::time::timeout(POINT_MAX, caught).await.ok().flatten()
    }
}

impl Caught {
    fn label(&self) -> String {
        match self {
            Self::Call(held) => held.action.clone(),
            Self::Commit(held) => held.label.clone(),
        }
    }

    fn forget(self) {
        match self {
            Self::Call(held) => held.forget(),
            Self::Commit(held) => held.forget(),
        }
    }

    fn let_go(self) {
        match self {
            Self::Call(held) => held.let_go(),
            Self::Commit(held) => held.let_go(),
        }
    }
}

/// Who asks for what a flow begins with.
#[derive(Clone, Debug)]
struct Asker {
    flow: Flow,
    request: GrantRequest,
    end: i64,
}

impl Asker {
    /// Asks, as often as it takes to be answered.
    async fn ask(&self, api: &Api) {
        for _ in 0..40 {
            let answered = match self.flow {
                Flow::Grant | Flow::Found => {
                    api.access().grant(self.request.clone()).await.map(drop)
                }
                Flow::Revoke => {
                    let request = RevokeRequest { grant_id: ID.to_owned(), ..Default::default() };
                    api.access().revoke(request).await.map(drop)
                }
                Flow::Extend => {
                    let seconds = self.end + 30;
                    let request = ExtendRequest {
                        grant_id: ID.to_owned(),
                        expire_time: Some(Timestamp { seconds, nanos: 0 }),
                        ..Default::default()
                    };
                    api.access().extend(request).await.map(drop)
                }
                Flow::Expiry | Flow::Drift => Ok(()),
            };
            match answered.map_err(|status| status.code()) {
                // What is over may be refused.
                Ok(()) | Err(Code::InvalidArgument | Code::FailedPrecondition) => return,
                Err(_) => clock::sleep(Duration::from_millis(250)).await,
            }
        }
    }
}

impl Scene {
    fn request(&self) -> GrantRequest {
        let end = Some(End::ExpireTime(Timestamp { seconds: self.end, nanos: 0 }));
        GrantRequest { end, ..self.way.request(ID) }
    }

    fn asker(&self) -> Asker {
        Asker { flow: self.flow, request: self.request(), end: self.end }
    }

    /// Calls of the services in which access is given, so far.
    fn calls(&self) -> Vec<String> {
        let world = self.house.cloud.sim.world();
        let actions = world.journal.iter().map(|entry| entry.action.clone());
        let services = ["sso:", "identitystore:", "iam:", "ssm:"];
        actions.filter(|one| services.iter().any(|service| one.starts_with(service))).collect()
    }

    fn trap(&self, point: &Point, moment: Moment) -> Trap {
        if point.is_call {
            let mut world = self.house.cloud.sim.world();
            return Trap::Call(world.set_trap(&point.label, point.nth, moment));
        }
        Trap::Commit(self.proxy.set_trap(point.nth, moment))
    }

    /// What begins a flow beside a request.
    async fn begin(&self) {
        match self.flow {
            Flow::Expiry => self.house.pass(LENGTH_S + 60).await,
            Flow::Drift => self.way.by_hand(&self.house.cloud, false),
            Flow::Grant | Flow::Found | Flow::Revoke | Flow::Extend => {}
        }
    }

    async fn act(&self, api: &Api) {
        self.begin().await;
        self.asker().ask(api).await;
    }

    /// Kills the daemon, or stops it until another one has taken over. The old one.
    async fn interrupt(&mut self, variant: Variant, caught: Caught) -> Option<Daemon> {
        let start = async |scene: &Self| {
            let url = &scene.house.database.url;
            Daemon::started_with(&scene.house.cloud, options(url, scene.flow)).await
        };
        if !variant.is_stopped {
            self.house.daemon.kill();
            caught.forget();
            self.house.pass(if variant.is_late { LENGTH_S + 60 } else { LEASE_S }).await;
            self.house.daemon = start(self).await;
            self.house.api = self.house.daemon.api().await;
            return None;
        }
        self.house.daemon.signal(Signal::STOP);
        let before = self.lease_owner().await;
        self.house.pass(if variant.is_late { LENGTH_S + 60 } else { LEASE_S }).await;
        let other = start(self).await;
        let _ = tokio::time::timeout(TAKES_OVER, async {
            while self.lease_owner().await == before {
                clock::sleep(Duration::from_millis(50)).await;
            }
            clock::sleep(AT_WORK).await;
        })
        .await;
        let is_old_call = matches!(caught, Caught::Call(_)) && variant.moment == Moment::Arrived;
        if is_old_call && variant.is_late {
            // AWS takes no call that was signed so long ago.
            caught.forget();
        } else {
            caught.let_go();
        }
        self.house.daemon.signal(Signal::CONT);
        self.house.api = other.api().await;
        Some(std::mem::replace(&mut self.house.daemon, other))
    }

    /// Who may change something.
    async fn lease_owner(&self) -> Vec<String> {
        self.house.database.texts("SELECT lease_owner::text FROM connector.identity_centers").await
    }

    async fn grant(&self, api: &Api) -> Option<Grant> {
        let request = apono_connector_proto::v1::GetGrantRequest {
            grant_id: ID.to_owned(),
            ..Default::default()
        };
        api.access().get_grant(request).await.ok()?.into_inner().grant
    }

    fn has_access(&self) -> bool {
        self.way.has_access(&self.house.cloud)
    }

    /// Looks until something is as it should be; else how it is.
    async fn until(
        &self,
        api: &Api,
        what: &str,
        is_so: impl AsyncFn(Option<&Grant>) -> bool,
    ) -> Outcome<()> {
        let looking = async {
            loop {
                let grant = self.grant(api).await;
                if is_so(grant.as_ref()).await {
                    return;
                }
                clock::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, looking).await.is_ok() {
            return Ok(());
        }
        let rows =
            "SELECT concat_ws(' ', object_key, origin, intent_verb, intent_request, doubt_create,
            doubt_delete, settles_at, next_at, stuck_reason) FROM connector.targets";
        Err(format!(
            "no {what}: access {}, grant {:?}, targets {:?}",
            self.has_access(),
            self.grant(api).await,
            self.house.database.texts(rows).await
        ))
    }

    /// Comes to where the flow leads.
    async fn comes_to_rest(&self, api: &Api) -> Outcome<()> {
        self.until(api, "rest", async |grant| {
            let Some(grant) = grant else { return false };
            match self.flow {
                Flow::Grant | Flow::Found | Flow::Drift => {
                    grant.units.iter().all(|unit| unit.state() == UnitState::Active)
                        && self.way.has_all(&self.house.cloud)
                }
                Flow::Revoke | Flow::Expiry => grant.state() == GrantState::Ended,
                Flow::Extend => grant.expire_time.is_some_and(|end| end.seconds == self.end + 30),
            }
        })
        .await
    }

    /// Comes to where nothing of ours is left, and what was there before is.
    async fn ends(&self, api: &Api) -> Outcome<()> {
        let restless = format!(
            "SELECT count(*) FROM connector.targets t WHERE next_at IS NOT NULL AND NOT EXISTS (
                SELECT FROM connector.holdings h
                WHERE h.target_id = t.id AND h.grant_id = '{BESIDE}')"
        );
        self.until(api, "removal", async |grant| {
            let is_removed = |unit: &GrantUnit| {
                matches!(unit.state(), UnitState::Settling | UnitState::Ended | UnitState::Failed)
            };
            grant.is_none_or(|grant| grant.units.iter().all(is_removed))
        })
        .await?;
        // No call of anybody can take effect any more.
        self.house.pass(SETTLING_S).await;
        self.until(api, "end", async |grant| {
            let is_over = grant.is_none_or(|grant| {
                matches!(grant.state(), GrantState::Ended | GrantState::Failed)
            });
            is_over && self.house.database.count(&restless).await == 0
        })
        .await?;
        let left = self.way.left(&self.house.cloud);
        if self.has_access() == self.flow.is_found() && left.is_empty() {
            return Ok(());
        }
        Err(format!("access {} at rest, {left:?} is left", self.has_access()))
    }
}
