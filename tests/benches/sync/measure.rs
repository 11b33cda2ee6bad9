//! What a process and a database have used.

use std::{fs, time::Duration};

use crate::harness::Database;

/// Clock ticks a second, as Linux shows them to user space.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time of a process so far.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    // The name may hold spaces; what follows it does not.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("ticks");
    Duration::from_millis((ticks(12) + ticks(13)) * 1000 / TICKS_PER_SECOND)
}

/// The most memory that a process ever had, in MiB.
pub(crate) fn peak_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// Bytes of write-ahead log so far.
pub(crate) async fn wal_bytes(database: &Database) -> i64 {
    database.count("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint").await
}

/// The machine, in a line.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpus.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or("unknown").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores, {}", field("model name"))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
pub(crate) fn ratio(number: usize, of: usize) -> f64 {
    number as f64 / of.max(1) as f64
}

/// Microseconds of each of so many.
pub(crate) fn each_us(time: Duration, count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
    let count = count.max(1) as f64;
    time.as_secs_f64() * 1e6 / count
}
