//! The connector daemon and its client; see `connector::cli`.

fn main() -> std::process::ExitCode {
    connector::cli::main()
}
