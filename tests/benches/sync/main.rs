//! How fast organizations are crawled: tables for BENCHMARKS.md.
//!
//! The real daemon as a process, a real PostgreSQL (`tests/bin/postgres`), and the simulated
//! AWS in this process. All share the machine's cores, so what counts is the ratio of
//! lines of one run, and a line beside the bare SDK making the same calls.
//!
//! `BENCH_ACCOUNTS=100,1000` chooses sizes, `BENCH_ONLY=rows,crawl,sweep,fairness,quotas,finding`
//! tables.

use std::{env, process::ExitCode};

mod bare;
mod crawl;
mod fairness;
mod finding;
#[path = "../../e2e/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the end-to-end tests use the rest")]
mod harness;
mod measure;
mod quotas;
mod rows;
mod sweep;

/// Account × region groups that a daemon reads at once, and calls that the bare loop makes.
const AT_ONCE: usize = 128;
/// How long AWS takes to answer.
const LATENCY_MS: u64 = 50;

fn main() -> ExitCode {
    // The bare loop is this program again, as a process of its own.
    if let Some(task) = env::var_os("BENCH_BARE") {
        return bare::main(&task.to_string_lossy());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let only = env::var("BENCH_ONLY").unwrap_or_default();
        let is_wanted = |name: &str| only.is_empty() || only.split(',').any(|one| one == name);
        println!("{}\n", measure::machine());
        if is_wanted("rows") {
            rows::run().await;
        }
        if is_wanted("crawl") {
            crawl::run().await;
        }
        if is_wanted("sweep") {
            sweep::run().await;
        }
        if is_wanted("fairness") {
            fairness::run().await;
        }
        if is_wanted("quotas") {
            quotas::run().await;
        }
        if is_wanted("finding") {
            finding::run().await;
        }
    });
    ExitCode::SUCCESS
}
