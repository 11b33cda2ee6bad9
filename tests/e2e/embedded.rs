//! The embedded PostgreSQL: what was committed stays. Against `aws-sim`.

use std::{path::Path, process::Command};

use apono_connector_proto::v1::{CreateTokenRequest, ListTokensRequest, Role};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Api, Cloud, Daemon, Options, short_directory, wait_for};

async fn make_token(api: &Api, name: &str) {
    let request = CreateTokenRequest {
        name: name.to_owned(),
        role: Role::Viewer.into(),
        ..Default::default()
    };
    api.operations().create_token(request).await.expect("a token");
}

async fn token_names(api: &Api) -> Vec<String> {
    let tokens = api.operations().list_tokens(ListTokensRequest::default()).await;
    tokens.expect("tokens").into_inner().tokens.into_iter().map(|token| token.name).collect()
}

/// Kills the server as the kernel would. Answers its process id.
fn kill_server(pid_file: &Path) -> i32 {
    let text = std::fs::read_to_string(pid_file).expect("a server");
    let number = text.lines().next().and_then(|line| line.parse().ok()).expect("a process id");
    let pid = Pid::from_raw(number).expect("a process id");
    kill_process(pid, Signal::KILL).expect("a running server");
    number
}

#[tokio::test]
async fn what_was_committed_survives_the_kill_of_daemon_and_server() {
    let cloud = Cloud::empty("aws").await;
    let state = short_directory();
    let options = Options { state: Some(state.path().to_owned()), ..Options::default() };
    let mut daemon = Daemon::start_with(&cloud, options.clone());
    make_token(&daemon.api().await, "before").await;

    // Only the daemon is killed: the next one takes the server over.
    daemon.kill();
    let mut daemon = Daemon::start_with(&cloud, options.clone());
    assert_eq!(token_names(&daemon.api().await).await, ["before"]);
    make_token(&daemon.api().await, "between").await;

    // Both are killed.
    let pid_file = state.path().join("postgresql/data/postmaster.pid");
    daemon.kill();
    let pid = kill_server(&pid_file);
    wait_for("the end of the server", || async {
        (!Path::new(&format!("/proc/{pid}/root")).exists()).then_some(())
    })
    .await;
    let mut daemon = Daemon::start_with(&cloud, options);
    assert_eq!(token_names(&daemon.api().await).await, ["before", "between"]);
    assert!(daemon.stop().await.success(), "a daemon that is asked to stop ends well");
    assert!(!pid_file.exists(), "and takes its server with it");
}

#[tokio::test]
async fn a_daemon_whose_server_was_killed_ends_and_the_next_one_brings_it_back() {
    let cloud = Cloud::empty("aws").await;
    let state = short_directory();
    let options = Options { state: Some(state.path().to_owned()), ..Options::default() };
    let mut daemon = Daemon::start_with(&cloud, options.clone());
    make_token(&daemon.api().await, "before").await;
    let pid_file = state.path().join("postgresql/data/postmaster.pid");
    kill_server(&pid_file);
    assert_eq!(daemon.end().await.code(), Some(1));
    assert!(daemon.has_said("the embedded PostgreSQL has ended by itself"));
    let daemon = Daemon::start_with(&cloud, options);
    assert_eq!(token_names(&daemon.api().await).await, ["before"]);
}

#[tokio::test]
async fn it_writes_durably_and_listens_on_its_socket_alone() {
    let cloud = Cloud::empty("aws").await;
    let state = short_directory();
    let options = Options { state: Some(state.path().to_owned()), ..Options::default() };
    let mut daemon = Daemon::start_with(&cloud, options);
    let password =
        std::fs::read_to_string(state.path().join("postgresql/password")).expect("a password");
    let show = |setting: &str| {
        let output = Command::new("psql")
            .args(["-h", &state.path().join("postgresql").to_string_lossy(), "-U", "connector"])
            .args(["-d", "postgres", "-Atc", &format!("SHOW {setting}")])
            .env("PGPASSWORD", &password)
            .output()
            .expect("psql");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(show("fsync"), "on");
    assert_eq!(show("full_page_writes"), "on");
    assert_eq!(show("listen_addresses"), "");
    assert!(daemon.get("/readyz").contains("200 OK"));
    assert!(daemon.get("/metrics").contains("connector_aws_attempts_total"));
    assert!(daemon.stop().await.success());
}
