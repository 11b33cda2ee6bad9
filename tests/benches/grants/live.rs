//! What it takes to hold very many grants that are live, and to end one among them.

use std::time::{Duration, Instant};

use apono_connector_proto::v1::RevokeRequest;
use connector::base::clock;

use crate::{
    Scene,
    measure::{cpu, peak_mib, wal_bytes},
    pairs, quantile,
};

const PEOPLE: usize = 200;
const ACCOUNTS: usize = 600;
const LIVE: [usize; 3] = [1000, 10_000, 100_000];
/// How long each is watched.
const WATCHED: Duration = Duration::from_mins(1);
/// Grants that are revoked, one after the other.
const REVOKED: usize = 10;

pub(crate) async fn run() {
    println!(
        "## Holding\n\nSo many live grants, each to be seen again every quarter of an hour, as far as the published quotas allow; {} s of it, then {REVOKED} revokes, one after the other, until the access is gone.\n",
        WATCHED.as_secs()
    );
    println!(
        "| live | daemon's CPU | peak MiB | calls of sso a second | WAL KiB a second | revoke p50 ms | longest ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    for live in LIVE {
        measure(live).await;
    }
    println!();
}

async fn measure(live: usize) {
    let scene = Scene::build(ACCOUNTS, PEOPLE, &[]).await;
    scene.connect().await;
    let pairs = pairs(live, PEOPLE, ACCOUNTS);
    let next_at = "connector.now() + random() * interval '15 minutes'";
    scene.seed(&pairs, "connector.now() + interval '8 hours'", next_at, 3).await;
    let pid = scene.daemon.child.id();
    let before = (cpu(pid), scene.calls("sso:").0, wal_bytes(&scene.database).await);
    clock::sleep(WATCHED).await;
    let used = cpu(pid).saturating_sub(before.0).as_secs_f64();
    let calls = scene.calls("sso:").0 - before.1;
    let wal = wal_bytes(&scene.database).await - before.2;
    let mut took = Vec::new();
    for n in 0..REVOKED {
        let grant_id = format!("seeded-{}", n * (live / REVOKED));
        let state = format!(
            "SELECT count(*) FROM connector.units WHERE grant_id = '{grant_id}' AND state = 'ENDED'"
        );
        let begun = Instant::now();
        let request = RevokeRequest { grant_id, ..Default::default() };
        scene.access().revoke(request).await.expect("an end");
        while scene.database.count(&state).await == 0 {
            clock::sleep(Duration::from_millis(10)).await;
        }
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let seconds = WATCHED.as_secs_f64();
    println!(
        "| {live} | {:.1} % of a core | {} | {:.1} | {:.0} | {:.0} | {:.0} |",
        100.0 * used / seconds,
        peak_mib(pid),
        crate::measure::ratio(calls, 1) / seconds,
        f64::from(u32::try_from(wal / 1024).unwrap_or_default()) / seconds,
        quantile(&took, 0.5),
        quantile(&took, 1.0),
    );
}
