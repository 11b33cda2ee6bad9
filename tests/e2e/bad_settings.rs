//! Bad settings end the daemon before it has begun, with the key and the remedy.

use std::process::Command;

use crate::harness::short_directory;

/// Settings, and what the daemon says of them.
const BAD_SETTINGS: &[(&str, &str)] = &[
    ("colour = 1", "setting colour cannot be used: unknown field `colour`"),
    (
        "[database]\nurl = \"mysql://x\"",
        "setting database.url is not a PostgreSQL URL; use postgres://user@host:5432/database?sslmode=verify-full",
    ),
    ("[database]\nconnections_max = 1", "setting database.connections_max is 1; choose 4 to 500"),
    (
        "state_directory = \"here\"",
        "setting state_directory is not an absolute path; begin it with /",
    ),
    (
        "[grpc]\nlisten = \"8443\"",
        "setting grpc.listen is \"8443\"; use an address and a port, such as 127.0.0.1:8443",
    ),
    (
        "[grpc]\nlisten = \"0.0.0.0:8443\"",
        "setting grpc.listen is not a loopback address, and there is no certificate; set grpc.certificate_file and grpc.key_file, or grpc.tls = \"terminated_elsewhere\" if something in front encrypts",
    ),
    (
        "[grpc]\ntls = \"off\"",
        "setting grpc.tls is \"off\"; it can only be terminated_elsewhere, or left out",
    ),
    (
        "[grpc]\nkey_file = \"/nowhere\"",
        "setting grpc.certificate_file is required with grpc.key_file",
    ),
    (
        "[grpc]\ncertificate_file = \"/nowhere\"\nkey_file = \"/nowhere\"",
        "setting grpc.certificate_file names /nowhere, which cannot be read: No such file or directory (os error 2)",
    ),
    ("[aws]\nrate_share = 2.0", "setting aws.rate_share is 2; choose more than 0 and at most 1"),
    ("[sync]\nlease = \"soon\"", "setting sync.lease is \"soon\"; write it as 15s, 500ms or 2min"),
    ("[sync]\nlease = \"2days\"", "setting sync.lease is \"2days\"; choose 100ms to 1h"),
    (
        "[sync]\nheartbeat = \"14s\"",
        "setting sync.heartbeat is more than half of sync.lease, so one late heartbeat would lose the lease; shorten it",
    ),
    ("[sync]\ngroups_at_once = 0", "setting sync.groups_at_once is 0; choose 1 to 512"),
    ("[log]\nformat = \"xml\"", "setting log.format is \"xml\"; choose human or json"),
    (
        "[[connector]]\nid = \"a b\"",
        "setting connector.id is wrong: \"a b\" is not a connector id: 2 to 128 letters, digits, `-`, `_` or `.`",
    ),
    (
        "[[connector]]\nid = \"twice\"\n[[connector]]\nid = \"twice\"",
        "setting connector.id twice is there twice; remove one",
    ),
    ("[sync]\ngroups_at_once = \"many\"", "setting sync.groups_at_once cannot be used"),
];

#[test]
fn bad_settings_end_the_daemon_with_64_and_name_the_key() {
    let directory = short_directory();
    let file = directory.path().join("connector.toml");
    for (settings, said) in BAD_SETTINGS {
        std::fs::write(&file, settings).expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_apono-connector"))
            .args(["run", "--settings"])
            .arg(&file)
            .env_remove("DATABASE_URL")
            .output()
            .expect("a daemon");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{settings}: {stderr}");
        assert!(stderr.contains(said), "{settings}: {stderr}");
    }
}
