//! Generated access at the published quotas: a person's first grant, the first in a further account, and
//! a later one in the same account.

use std::time::{Duration, Instant};

use apono_connector_proto::v1::{AccessUnit, GrantRequest};
use chrono::TimeDelta;
use connector::base::clock;

use crate::{Scene, account, measure::ratio, request};

const PEOPLE: usize = 40;
const ACCOUNTS: usize = 20;
/// How long AWS takes for an assignment.
const OPERATION: Duration = Duration::from_secs(2);
/// Published: calls a second of the instance, and at once.
const CALLS: (f64, f64) = (20.0, 20.0);
/// Published: assignments that AWS works on at once; in an account it is one.
const AT_ONCE: f64 = 15.0;

/// A kind of grant, with the calls of Identity Center that it cannot do without.
struct Kind {
    name: &'static str,
    /// How many accounts behind the person's first one.
    further: usize,
    permission: &'static str,
    /// Who is it, by address and id.
    lookups: usize,
    /// Make the set, bound it, refer to the policy.
    set: usize,
    /// Is it assigned, assign it, its end, is it assigned.
    assignment: usize,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "a person's first",
        further: 0,
        permission: "READ_ONLY",
        lookups: 2,
        set: 3,
        assignment: 4,
    },
    Kind {
        name: "the first in a further account",
        further: 1,
        permission: "READ_ONLY",
        lookups: 2,
        set: 0,
        assignment: 4,
    },
    Kind {
        name: "a later one in the same account",
        further: 0,
        permission: "READ_WRITE",
        lookups: 2,
        set: 0,
        assignment: 0,
    },
];

impl Kind {
    fn calls(&self) -> usize {
        self.lookups + self.set + self.assignment
    }

    /// How long the quotas make so many take at least.
    fn bound(&self, grants: usize) -> f64 {
        let by_calls = (ratio(grants * self.calls(), 1) - CALLS.1).max(0.0) / CALLS.0;
        let operations = if self.assignment > 0 { grants } else { 0 };
        let operations = ratio(operations, 1) * OPERATION.as_secs_f64();
        by_calls.max(operations / AT_ONCE).max(operations / ratio(ACCOUNTS, 1))
    }
}

pub(crate) async fn run() {
    println!(
        "## Generated access\n\n{PEOPLE} people, a grant each, all at once, in {ACCOUNTS} accounts; {} s for an assignment in AWS.\n",
        OPERATION.as_secs()
    );
    println!(
        "| grants | wall s | grants a second | the quotas allow s | ratio | calls of Identity Center each | at least | calls of IAM each | calls in all |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let scene = Scene::build(ACCOUNTS, PEOPLE, &[]).await;
    scene.cloud.deploy_all();
    scene.connect_with(&["aws-identity-center-permission-set", "aws-s3-bucket"]).await;
    scene.directory(|directory| {
        directory.pace.takes = TimeDelta::from_std(OPERATION).expect("a time");
    });
    let mut measured = Vec::new();
    for (at, kind) in KINDS.iter().enumerate() {
        let grants = (1..=PEOPLE).map(|person| {
            let account = account((person + kind.further) % ACCOUNTS);
            let bucket = scene.cloud.sim.world().accounts[&account].buckets[0].name.clone();
            let unit = AccessUnit {
                resource: format!("arn:aws:s3:::{bucket}"),
                permission: kind.permission.to_owned(),
                ..Default::default()
            };
            let id = format!("g{at}-{person}");
            let request = GrantRequest { units: vec![unit], ..request(&id, person, 8 * 3600) };
            let mut api = scene.access();
            async move { api.grant(request).await.expect("a grant") }
        });
        let before = (scene.center_calls(), scene.calls("iam:").0);
        let begun = Instant::now();
        futures::future::join_all(grants).await;
        let left = "SELECT count(*) FROM connector.units WHERE state NOT IN ('ACTIVE', 'FAILED')";
        while scene.database.count(left).await > 0 {
            clock::sleep(Duration::from_millis(50)).await;
        }
        let (took, allowed) = (begun.elapsed().as_secs_f64(), kind.bound(PEOPLE));
        let failed = "SELECT count(*) FROM connector.units WHERE state = 'FAILED'";
        assert_eq!(scene.database.count(failed).await, 0, "{}", kind.name);
        let center = scene.center_calls() - before.0;
        let iam = scene.calls("iam:").0 - before.1;
        println!(
            "| {} | {took:.1} | {:.2} | {allowed:.1} | {:.2} | {:.2} | {} | {:.2} | {} |",
            kind.name,
            ratio(PEOPLE, 1) / took,
            took / allowed.max(0.001),
            ratio(center, PEOPLE),
            kind.calls(),
            ratio(iam, PEOPLE),
            center + iam,
        );
        measured.push(ratio(center, PEOPLE));
    }
    let calls = 3000.0 * measured[0] + 3000.0 * 299.0 * measured[1];
    println!(
        "\nExtrapolated from these calls, not measured: 3,000 people, each in 300 accounts, take {:.1} million calls of Identity Center, {:.0} hours at {} a second.\n",
        calls / 1e6,
        calls / CALLS.0 / 3600.0,
        CALLS.0
    );
}

impl Scene {
    /// Calls of Identity Center and its identity store.
    fn center_calls(&self) -> usize {
        self.calls("sso:").0 + self.calls("identitystore:").0
    }
}
