//! Time-bound access: it surely starts, surely ends, and never takes what was there before.
//! Against `aws-sim`, which judges what somebody may do now.

mod deletion;
mod drift;
pub(crate) mod generated;
mod guardrails;
pub(crate) mod iam_user;
mod inline;
mod life;
pub(crate) mod membership;
mod outages;
mod promises;
mod recovery;
mod refused;
pub(crate) mod role;
mod session_document;
pub(crate) mod sessions;
mod trial;

use std::{collections::BTreeSet, time::Duration};

use apono_connector_proto::v1::{
    AccessUnit, GetGrantRequest, Grant, GrantRequest, GrantState, IntegrationSettings, Recipient,
    RevokeRequest, UnitState, access_service_client::AccessServiceClient, grant_request::End,
    recipient::Who,
};
use aws_sim::assignment::{Assignment, Principal, Status, Turn};
use chrono::TimeDelta;
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt as _;

use crate::harness::{Api, Cloud, Daemon, Database, Options, settings_for, wait_for};

/// An account to grant in.
pub(crate) const ACCOUNT: &str = "222222222222";
/// Another one.
pub(crate) const OTHER_ACCOUNT: &str = "333333333333";
/// A permission set of the simulator.
pub(crate) const SET: &str = "Team1";

/// The id of a user of the simulator, whose name is `ann` and the number.
pub(crate) fn ann(number: usize) -> String {
    format!("9067642ac7-{number:08x}")
}

/// An organization with a daemon that has synced it.
pub(crate) struct House {
    /// AWS.
    pub cloud: Cloud,
    /// The database.
    pub database: Database,
    /// The daemon.
    pub daemon: Daemon,
    /// Its API.
    pub api: Api,
}

/// Fast settings for access, on a database.
pub(crate) fn fast(database: &Database) -> Options {
    Options::default()
        .set("DATABASE_URL", &database.url)
        .set("APONO__ACCESS__SETTLING", "2s")
        .set("APONO__ACCESS__PROPAGATION", "500ms")
        .set("APONO__ACCESS__AUDIT_INTERVAL", "500ms")
}

/// An organization with users, groups and permission sets, and two accounts.
pub(crate) async fn cloud() -> Cloud {
    furnished(Cloud::empty("aws").await)
}

/// The same, for a connector that is known already.
pub(crate) async fn cloud_for(connector_id: &str) -> Cloud {
    let connector_id = connector_id.to_owned();
    furnished(Cloud { connector_id, ..Cloud::empty("aws").await })
}

fn furnished(cloud: Cloud) -> Cloud {
    cloud.unit("ou-test-aaaaaaaa", &cloud.root, "Production");
    cloud.account(ACCOUNT, "ou-test-aaaaaaaa", "payments");
    cloud.account(OTHER_ACCOUNT, &cloud.root, "checkout");
    aws_sim::seed::enroll(&mut cloud.sim.world(), &cloud.organization, "eu-west-1", &[], 4);
    cloud.deploy_all();
    cloud
}

/// Settings with what grants name.
pub(crate) fn settings(cloud: &Cloud) -> IntegrationSettings {
    IntegrationSettings {
        sso_region: "eu-west-1".to_owned(),
        sso_portal_url: "https://d-test.awsapps.com/start".to_owned(),
        resource_types: vec!["aws-identity-center-permission-set".to_owned()],
        custom_access_details: "Ask #platform first.".to_owned(),
        ..settings_for(cloud)
    }
}

impl House {
    /// Built, and synced.
    pub(crate) async fn build() -> Self {
        let database = Database::create().await;
        let options = fast(&database);
        Self::with(database, options).await
    }

    /// The same with other options.
    pub(crate) async fn with(database: Database, options: Options) -> Self {
        let cloud = cloud().await;
        let daemon = Daemon::start_with(&cloud, options);
        let api = daemon.api().await;
        api.create_and_sync(settings(&cloud)).await;
        Self { cloud, database, daemon, api }
    }

    /// What a user may do now: `account permission-set`.
    pub(crate) fn access_of(&self, user: &str) -> Vec<String> {
        access_of(&self.cloud, user)
    }

    /// How long operations take from now on.
    pub(crate) fn operations_take(&self, milliseconds: i64) {
        let mut world = self.cloud.sim.world();
        let organization = world.organizations.get_mut(&self.cloud.organization).expect("one");
        organization.directory.pace.takes = TimeDelta::milliseconds(milliseconds);
    }

    /// What becomes of the next operation.
    pub(crate) fn next_operation(&self, turn: Turn) {
        let mut world = self.cloud.sim.world();
        let organization = world.organizations.get_mut(&self.cloud.organization).expect("one");
        organization.directory.pace.next.push_back(turn);
    }

    /// Somebody else assigns a set to a user.
    pub(crate) fn assign(&self, user: &str, account: &str) -> Assignment {
        let assignment = assignment(user, account);
        self.cloud.sim.world().assign(&self.cloud.organization, assignment.clone());
        assignment
    }

    /// How often an action was called, and answered well.
    pub(crate) fn calls(&self, action: &str) -> usize {
        let world = self.cloud.sim.world();
        world.journal.iter().filter(|one| one.action == action && one.code.is_empty()).count()
    }

    /// Moves the time of the database and of AWS by so many seconds from now.
    pub(crate) async fn pass(&self, seconds: i64) {
        self.cloud.sim.world().clock.advance(TimeDelta::seconds(seconds));
        self.database.pass(seconds).await;
    }

    /// Kills the daemon and starts another one on the same database.
    pub(crate) async fn restart(&mut self) {
        self.daemon.kill();
        self.start_again().await;
    }

    /// Starts a daemon on the same database.
    pub(crate) async fn start_again(&mut self) {
        self.daemon = Daemon::start_with(&self.cloud, fast(&self.database));
        self.api = self.daemon.api().await;
    }
}

/// What a user may do now: `account permission-set`.
pub(crate) fn access_of(cloud: &Cloud, user: &str) -> Vec<String> {
    let found: BTreeSet<(String, String)> = cloud.sim.world().access_of(&cloud.organization, user);
    found.into_iter().map(|(account, set)| format!("{account} {set}")).collect()
}

/// The assignment of [`SET`] to a user.
pub(crate) fn assignment(user: &str, account: &str) -> Assignment {
    Assignment {
        account: account.to_owned(),
        permission_set: format!("ps-{:016x}", 1),
        principal: Principal::User(user.to_owned()),
    }
}

/// Operations that are under way.
pub(crate) fn running(cloud: &Cloud) -> usize {
    let mut world = cloud.sim.world();
    world.settle(&cloud.organization);
    let operations = &world.organizations[&cloud.organization].directory.operations;
    operations.iter().filter(|one| one.status == Status::InProgress).count()
}

/// A request for an hour of [`SET`] in [`ACCOUNT`], for the first enabled user.
pub(crate) fn a_request(id: &str) -> GrantRequest {
    GrantRequest {
        integration: "prod".to_owned(),
        grant_id: id.to_owned(),
        recipient: Some(user("ann1@example.com")),
        units: vec![unit(ACCOUNT)],
        end: Some(end_in(3600)),
        reason: "ticket 7".to_owned(),
        requester: "ann".to_owned(),
        ..Default::default()
    }
}

/// A user by e-mail.
pub(crate) fn user(email: &str) -> Recipient {
    Recipient { who: Some(Who::UserEmail(email.to_owned())) }
}

/// [`SET`] in an account.
pub(crate) fn unit(account: &str) -> AccessUnit {
    AccessUnit {
        account_id: account.to_owned(),
        permission_set: SET.to_owned(),
        ..Default::default()
    }
}

/// An end so many seconds from the start.
pub(crate) fn end_in(seconds: i64) -> End {
    End::Duration(prost_types::Duration { seconds, nanos: 0 })
}

impl Api {
    pub(crate) fn access(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.channel.clone())
    }

    /// Grants.
    pub(crate) async fn grant(&self, request: GrantRequest) -> Grant {
        let granted = self.access().grant(request).await.expect("a grant").into_inner();
        granted.grant.expect("a grant")
    }

    /// One grant.
    pub(crate) async fn get_grant(&self, id: &str) -> Grant {
        let request = GetGrantRequest { grant_id: id.to_owned(), ..Default::default() };
        let found = self.access().get_grant(request).await.expect("a grant").into_inner();
        found.grant.expect("a grant")
    }

    /// Ends a grant.
    pub(crate) async fn revoke(&self, id: &str) -> Grant {
        let request = RevokeRequest { grant_id: id.to_owned(), ..Default::default() };
        let ended = self.access().revoke(request).await.expect("a grant").into_inner();
        ended.grant.expect("a grant")
    }

    /// Waits until a grant is in a state.
    pub(crate) async fn wait_for_grant(&self, id: &str, state: GrantState) -> Grant {
        wait_for(&format!("{} of {id}", state.as_str_name()), || async {
            let found = self.get_grant(id).await;
            (found.state() == state).then_some(found)
        })
        .await
    }

    /// Waits until the first unit of a grant is in a state.
    pub(crate) async fn wait_for_unit(&self, id: &str, state: UnitState) -> Grant {
        wait_for(&format!("{} of {id}", state.as_str_name()), || async {
            let found = self.get_grant(id).await;
            (found.units[0].state() == state).then_some(found)
        })
        .await
    }
}

/// The code and the stable reason of a refusal.
pub(crate) fn reason(status: &tonic::Status) -> (Code, String) {
    let info = status.get_error_details().error_info().cloned();
    (status.code(), info.map(|info| info.reason).unwrap_or_default())
}

/// A moment in which what should not come would have come.
pub(crate) async fn a_moment() {
    connector::base::clock::sleep(Duration::from_millis(1500)).await;
}
