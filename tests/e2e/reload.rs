//! What changes while the daemon runs: certificate, log filter, database password.
//! Against `aws-sim`.

use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;

use crate::harness::{Cloud, Daemon, Database, Options, short_directory, wait_for};

/// A certificate that signs itself, with its key.
fn certificate() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

struct Scene {
    daemon: Daemon,
    directory: tempfile::TempDir,
    token: String,
    _cloud: Cloud,
    _database: Database,
}

impl Scene {
    async fn start() -> (Self, String) {
        let cloud = Cloud::empty("aws").await;
        let database = Database::create().await;
        let directory = short_directory();
        let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let (ours, key) = certificate();
        std::fs::write(path("tls.crt"), &ours).expect("a file");
        std::fs::write(path("tls.key"), key).expect("a file");
        let options = Options { state: Some(directory.path().to_owned()), ..Options::default() }
            .set("DATABASE_URL", &database.url)
            .set("APONO__GRPC__CERTIFICATE_FILE", &path("tls.crt"))
            .set("APONO__GRPC__KEY_FILE", &path("tls.key"));
        let daemon = Daemon::start_with(&cloud, options);
        let token = Command::new(env!("CARGO_BIN_EXE_apono-connector"))
            .args(["tokens", "create", "ci", "--role", "viewer", "--valid-for", "1h"])
            .env("APONO_SOCKET", &daemon.socket)
            .env("HOME", "/nowhere")
            .output()
            .expect("a client");
        let token = String::from_utf8(token.stdout).expect("UTF-8").trim().to_owned();
        (Self { daemon, directory, token, _cloud: cloud, _database: database }, ours)
    }

    /// Whether a client that trusts only this certificate is answered.
    fn answers(&self, certificate: &str) -> bool {
        let file = self.write("trusted.pem", certificate);
        let output = Command::new(env!("CARGO_BIN_EXE_apono-connector"))
            .args(["version", "--address"])
            .arg(format!("https://localhost:{}", self.daemon.grpc.port()))
            .arg("--ca-file")
            .arg(file)
            .env("APONO_TOKEN", &self.token)
            .env("HOME", "/nowhere")
            .output();
        output.expect("a client").status.success()
    }

    fn write(&self, name: &str, text: &str) -> std::path::PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    /// Waits until the daemon has written a line.
    async fn said(&self, words: &str) {
        wait_for(words, || async { self.daemon.has_said(words).then_some(()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_takes_a_new_certificate_or_keeps_everything() {
    let (scene, first) = Scene::start().await;
    let (second, key) = certificate();
    assert!(scene.answers(&first) && !scene.answers(&second));

    // A key that does not belong to its certificate: nothing changes, not the filter either.
    scene.write("tls.crt", &second);
    let settings = scene.directory.path().join("connector.toml");
    let before = std::fs::read_to_string(&settings).expect("a file");
    scene.write("connector.toml", &before.replace("info,connector=debug", "trace"));
    scene.daemon.signal(Signal::HUP);
    scene.said("nothing was reloaded").await;
    assert!(scene.answers(&first) && !scene.answers(&second));

    // Unknown keys are as wrong as at the start.
    scene.write("connector.toml", &format!("{before}[nonsense]\n"));
    scene.write("tls.key", &key);
    scene.daemon.signal(Signal::HUP);
    scene.said("nonsense").await;
    assert!(scene.answers(&first) && !scene.answers(&second));

    scene.write("connector.toml", &before);
    scene.daemon.signal(Signal::HUP);
    scene.said("reloaded: log filter, certificate, guardrails").await;
    assert!(!scene.answers(&first) && scene.answers(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_says_nothing_holds_up_nobody() {
    let (scene, first) = Scene::start().await;
    let silent: Vec<_> = (0..8)
        .map(|_| std::net::TcpStream::connect(scene.daemon.grpc).expect("a connection"))
        .collect();
    assert!(scene.answers(&first));
    drop(silent);
}

#[test]
fn a_changed_database_password_is_taken_from_its_file() {
    let directory = short_directory();
    let file = directory.path().join("password");
    std::fs::write(&file, "first\n").expect("a file");
    let mut config = connector::store::Config::new("postgres://u@h/d".parse().expect("a URL"), 4);
    config.password_file = Some(file.clone());
    assert!(config.read_password().expect("a file"));
    assert!(!config.read_password().expect("a file"));
    std::fs::write(&file, "second\n").expect("a file");
    assert!(config.read_password().expect("a file"));
    std::fs::remove_file(&file).expect("a file");
    assert!(config.read_password().is_err());
}
