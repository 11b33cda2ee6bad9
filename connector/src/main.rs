//! The connector daemon and its client; see `connector::cli`.

/// A crawl allocates in one thread what another frees, for which the C library's allocator
/// takes locks: it costs a third of a crawl's processor time (BENCHMARKS.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    connector::cli::main()
}
