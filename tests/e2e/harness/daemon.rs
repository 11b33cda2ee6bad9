//! The real daemon, as a process.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Api, Cloud, Database, wait_for};

/// How to start it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Further arguments of `run`.
    pub arguments: Vec<String>,
    /// Further environment.
    pub env: Vec<(String, String)>,
    /// Further connectors beside the cloud's.
    pub connectors: Vec<String>,
    /// Keep the state here instead of in a directory of its own.
    pub state: Option<PathBuf>,
}

impl Options {
    /// With one more variable.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running daemon; dropped, it is killed.
pub(crate) struct Daemon {
    /// The process.
    pub child: Child,
    /// Its gRPC port.
    pub grpc: SocketAddr,
    /// Its HTTP port.
    pub http: SocketAddr,
    /// Its local socket.
    pub socket: PathBuf,
    log: Arc<Mutex<String>>,
    _state: Option<TempDir>,
}

/// A daemon that has not said yet where it serves.
struct Starting {
    child: Child,
    addresses: mpsc::Receiver<(SocketAddr, SocketAddr)>,
    socket: PathBuf,
    log: Arc<Mutex<String>>,
    state: Option<TempDir>,
}

impl Starting {
    fn with(cloud: &Cloud, options: Options) -> Self {
        let (state, directory) = if let Some(directory) = &options.state {
            (None, directory.clone())
        } else {
            let state = short_directory();
            let directory = state.path().to_owned();
            (Some(state), directory)
        };
        let socket = directory.join("connector.sock");
        let mut settings = String::from(
            "[grpc]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nfilter = \"info,connector=debug\"\n[sync]\nlease = \"2s\"\nheartbeat = \"500ms\"\n[aws]\nrate_share = 1.0\nattempt_timeout = \"2s\"\n",
        );
        for connector in std::iter::once(&cloud.connector_id).chain(&options.connectors) {
            settings.extend(["[[connector]]\nid = \"", connector, "\"\n"]);
        }
        let file = directory.join("connector.toml");
        let settings = format!("state_directory = {:?}\n{settings}", directory.to_string_lossy());
        std::fs::write(&file, settings).expect("a settings file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_apono-connector"))
            .arg("run")
            .arg("--settings")
            .arg(&file)
            .args(options.arguments)
            .env_remove("DATABASE_URL")
            .envs(cloud.env())
            .envs(options.env)
            .stderr(Stdio::piped())
            .spawn()
            .expect("a daemon");
        let (send, addresses) = mpsc::channel();
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Shown only when the test fails.
                println!("{line}");
                written.lock().expect("a log").extend([line.as_str(), "\n"]);
                let entry: Value = serde_json::from_str(&line).unwrap_or_default();
                let address = |name: &str| entry[name].as_str().and_then(|text| text.parse().ok());
                if let (Some(grpc), Some(http)) = (address("grpc.address"), address("http.address"))
                {
                    // The test may have given up already.
                    let _ = send.send((grpc, http));
                }
            }
        });
        Self { child, addresses, socket, log, state }
    }

    fn done(mut self) -> Daemon {
        let found = self.addresses.recv_timeout(Duration::from_mins(1));
        let Ok((grpc, http)) = found else {
            let _ = self.child.kill();
            panic!("the daemon did not start: {:?}", self.child.wait());
        };
        let Self { child, socket, log, state, .. } = self;
        Daemon { child, grpc, http, socket, log, _state: state }
    }
}

impl Daemon {
    /// Starts on a database.
    pub(crate) fn start(cloud: &Cloud, database: &Database) -> Self {
        let options = Options::default().set("DATABASE_URL", &database.url);
        Self::start_with(cloud, options)
    }

    /// Starts with options; without `DATABASE_URL` among them, with embedded PostgreSQL.
    pub(crate) fn start_with(cloud: &Cloud, options: Options) -> Self {
        Starting::with(cloud, options).done()
    }

    /// The same, while others go on.
    pub(crate) async fn started_with(cloud: &Cloud, options: Options) -> Self {
        let starting = Starting::with(cloud, options);
        tokio::task::spawn_blocking(|| starting.done()).await.expect("a daemon")
    }
    /// The API, as the local admin.
    pub(crate) async fn api(&self) -> Api {
        Api::local(&self.socket).await
    }

    /// Whether a line of its log holds these words.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.log.lock().expect("a log").contains(words)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a running daemon");
    }

    /// Kills it as the kernel would, and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a running daemon");
        self.child.wait().expect("an end");
    }

    /// Asks it to stop, and waits for its end.
    pub(crate) async fn stop(&mut self) -> std::process::ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.end().await
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self) -> std::process::ExitStatus {
        let child = &mut self.child;
        let ended = std::cell::RefCell::new(child);
        wait_for("the end of the daemon", || async {
            ended.borrow_mut().try_wait().expect("a child")
        })
        .await
    }

    /// A metric without labels, as it stands now; nothing: 0.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let answer = self.get("/metrics");
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// What an HTTP path answers.
    pub(crate) fn get(&self, path: &str) -> String {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(self.http).expect("a port");
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A state directory whose path fits a Unix socket, and which the server's user may enter.
pub(crate) fn short_directory() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory =
        tempfile::Builder::new().prefix("apono-").tempdir_in("/tmp").expect("a directory");
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
        .expect("permissions");
    directory
}
