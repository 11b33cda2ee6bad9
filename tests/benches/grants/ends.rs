//! How late access goes when very much of it ends within a minute, and no quota holds the
//! connector up.

use std::{collections::HashMap, time::Duration};

use aws_sim::assignment::Principal;
use chrono::{DateTime, Utc};
use connector::base::clock;

use crate::{
    Scene, account, id,
    measure::{cpu, peak_mib, ratio},
    pairs, quantile,
};

const PEOPLE: usize = 200;
const ACCOUNTS: usize = 200;
/// Ends in a minute.
const ENDS: [usize; 3] = [1000, 4000, 10_000];

pub(crate) async fn run() {
    println!(
        "## Ends\n\nSo many grants end within one minute, evenly. Quotas are off: AWS takes as many assignments at once as there are accounts, {ACCOUNTS}, and works on each for no time; `aws.identity_center_rate = 10000`, `access.assignments_at_once = 200`.\n"
    );
    println!(
        "| ends | late p50 ms | p99 ms | latest ms | calls of sso an end | daemon's CPU ms an end | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    for ends in ENDS {
        measure(ends).await;
    }
    println!();
}

async fn measure(ends: usize) {
    let settings = [
        ("APONO__AWS__IDENTITY_CENTER_RATE", "10000"),
        ("APONO__ACCESS__ASSIGNMENTS_AT_ONCE", "200"),
        ("APONO__AWS__RATE_SHARE", "1.0"),
    ];
    let scene = Scene::build(ACCOUNTS, PEOPLE, &settings).await;
    scene.api.create_and_sync(scene.settings()).await;
    scene.directory(|directory| directory.pace.at_once = usize::MAX);
    let pairs = pairs(ends, PEOPLE, ACCOUNTS);
    let begin = clock::now() + Duration::from_secs(10);
    let expires_at =
        format!("timestamptz '{}' + interval '1 minute' * n / {ends}", begin.to_rfc3339());
    scene.seed(&pairs, &expires_at, &expires_at, 0).await;
    let (calls, used) = (scene.calls("sso:").0, cpu(scene.daemon.child.id()));
    let left = "SELECT count(*) FROM connector.units
                WHERE grant_id LIKE 'seeded-%' AND state <> 'ENDED'";
    while scene.database.count(left).await > 0 {
        clock::sleep(Duration::from_millis(500)).await;
    }
    let due: HashMap<(String, String), DateTime<Utc>> = pairs
        .iter()
        .enumerate()
        .map(|(n, (person, at))| {
            let share = Duration::from_mins(1).mul_f64(ratio(n, ends));
            ((id(*person), account(*at)), begin + share)
        })
        .collect();
    let mut late: Vec<Duration> = scene.directory(|directory| {
        let gone = directory.changes.iter().filter(|change| !change.is_there);
        gone.filter_map(|change| {
            let Principal::User(person) = &change.assignment.principal else { return None };
            let due = due.get(&(person.clone(), change.assignment.account.clone()))?;
            (change.at - due).to_std().ok()
        })
        .collect()
    });
    assert_eq!(late.len(), ends, "each was taken away once, and none too early");
    late.sort_unstable();
    let used = cpu(scene.daemon.child.id()).saturating_sub(used);
    println!(
        "| {ends} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {} |",
        quantile(&late, 0.5),
        quantile(&late, 0.99),
        quantile(&late, 1.0),
        ratio(scene.calls("sso:").0 - calls, ends),
        1000.0 * used.as_secs_f64() / ratio(ends, 1),
        peak_mib(scene.daemon.child.id()),
    );
}
