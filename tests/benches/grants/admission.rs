//! How long callers wait for a grant to be accepted, at 500 a second, while the daemon gives what was
//! accepted before.

use std::time::{Duration, Instant};

use apono_connector_proto::v1::GrantRequest;
use connector::base::clock;

use crate::{Scene, quantile, request, unit};

const PEOPLE: usize = 100;
const ACCOUNTS: usize = 60;
const RATES: [u32; 2] = [100, 500];
const SECONDS: u32 = 20;

pub(crate) async fn run() {
    println!(
        "## Accepting\n\nOf each rate {SECONDS} s, a unit each, timed from when a request was due; AWS gives what was accepted at the published quotas meanwhile.\n"
    );
    println!("| asked a second | accepted | accepted a second | p50 ms | p99 ms | longest ms |");
    println!("|---|---|---|---|---|---|");
    let scene = Scene::build(ACCOUNTS, PEOPLE, &[]).await;
    scene.connect().await;
    for rate in RATES {
        let begun = Instant::now();
        let mut asked = Vec::new();
        for n in 0..rate * SECONDS {
            let due = begun + Duration::from_secs(1) / rate * n;
            clock::sleep_until(due.into()).await;
            let mut api = scene.access();
            let number = usize::try_from(n).expect("a number");
            let request = GrantRequest {
                units: vec![unit(number % ACCOUNTS)],
                ..request(&format!("g{rate}-{n}"), 1 + number % PEOPLE, 3600)
            };
            asked.push(tokio::spawn(async move {
                api.grant(request).await.expect("a grant");
                due.elapsed()
            }));
        }
        let mut took = Vec::with_capacity(asked.len());
        for asked in asked {
            took.push(asked.await.expect("a time"));
        }
        let wall = begun.elapsed().as_secs_f64();
        took.sort_unstable();
        println!(
            "| {rate} | {} | {:.0} | {:.1} | {:.1} | {:.1} |",
            took.len(),
            crate::measure::ratio(took.len(), 1) / wall,
            quantile(&took, 0.5),
            quantile(&took, 0.99),
            quantile(&took, 1.0),
        );
    }
    println!();
}
