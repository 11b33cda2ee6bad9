//! A private PostgreSQL cluster in the state directory, for a demo, development, or a
//! small single node.
//!
//! It uses the PostgreSQL that is installed, writes with `fsync`, listens on a Unix
//! socket alone, and asks for a password that is kept beside it. The state directory is
//! locked, so two daemons never share a cluster; a server that a killed daemon left is
//! taken over. The server never runs as root: under root it runs as `postgres`, else as
//! `nobody`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use sqlx::postgres::PgConnectOptions;
use tokio::process::Command;
use tracing::info;

use crate::{
    base::{chance, clock, stopper::Stopper},
    store,
};

const USER: &str = "connector";
/// The oldest PostgreSQL that is supported.
const VERSION_MIN: u32 = 14;
/// `sun_path` holds 108 bytes; the socket's name takes 16.
const SOCKET_DIRECTORY_BYTES_MAX: usize = 90;
/// The socket's name in its directory.
const SOCKET: &str = ".s.PGSQL.5432";
/// Looks at a server that is on its way, one each half second.
const START_LOOKS_MAX: usize = 120;
const START_TRIES_MAX: usize = 10;
/// So often nobody answers before the server counts as gone.
const SILENT_LOOKS_MAX: usize = 6;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// The cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No PostgreSQL is installed.
    #[error(
        "no PostgreSQL {VERSION_MIN} or later is installed; install one (Debian: `apt-get install postgresql`), name it in database.embedded_binaries, or set database.url"
    )]
    NotInstalled,
    /// A file of the state directory.
    #[error("failed to use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else uses the directory.
    #[error("the state directory {0} is used by another daemon; stop it, or set state_directory")]
    Locked(PathBuf),
    /// The path of the socket would not fit.
    #[error("the state directory {0} has too long a path for a Unix socket; choose a shorter one")]
    PathTooLong(PathBuf),
    /// One of PostgreSQL's own tools.
    #[error("{tool} failed: {output}")]
    Tool {
        /// Which.
        tool: &'static str,
        /// What it said.
        output: String,
    },
}

/// A cluster as it was met.
#[derive(Debug)]
pub enum Seen {
    /// None was made yet; this is what would make it.
    None {
        /// Where PostgreSQL is.
        binaries: PathBuf,
    },
    /// A daemon uses it; connections are open to us too.
    Running(Box<store::Config>),
    /// It is there, and nobody uses it.
    Stopped,
}

/// Looks at the cluster of a state directory, and leaves it as it is.
///
/// # Errors
///
/// When PostgreSQL is missing, or the directory cannot be used.
pub fn look(state: &Path, binaries: Option<&Path>, connections_max: u32) -> Result<Seen, Error> {
    let binaries = named_binaries(binaries)?;
    let directory = directory(state)?;
    if !directory.join("data").join("PG_VERSION").exists() {
        return Ok(Seen::None { binaries });
    }
    if UnixStream::connect(directory.join(SOCKET)).is_err() {
        return Ok(Seen::Stopped);
    }
    let password = password(&directory)?;
    Ok(Seen::Running(Box::new(config(&directory, &password, connections_max))))
}

/// A running cluster. It is stopped by [`Cluster::stop`]; a daemon that is killed
/// leaves it to the next one.
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    binaries: PathBuf,
    owner: Option<(u32, u32)>,
    password: String,
    _lock: File,
}

impl Cluster {
    /// Makes the cluster if there is none, and starts it if it does not run.
    ///
    /// # Errors
    ///
    /// When PostgreSQL is missing, or the directory cannot be used.
    pub async fn start(state: &Path, binaries: Option<&Path>) -> Result<Self, Error> {
        let binaries = named_binaries(binaries)?;
        let directory = directory(state)?;
        let owner = owner();
        create(&directory, owner)?;
        let lock = lock(state)?;
        let password = password(&directory)?;
        let cluster = Self { directory, binaries, owner, password, _lock: lock };
        if !cluster.data().join("PG_VERSION").exists() {
            cluster.initialize().await?;
        }
        if cluster.former_server_answers().await {
            info!("taking over the PostgreSQL server that a former daemon left");
        } else {
            cluster.start_server().await?;
        }
        Ok(cluster)
    }

    /// How to connect.
    #[must_use]
    pub fn config(&self, connections_max: u32) -> store::Config {
        config(&self.directory, &self.password, connections_max)
    }

    /// Waits until the server answers no more, or the daemon stops. Without its database
    /// a daemon can only be started again: that brings the server back.
    pub fn watch(&self, stopper: Stopper) -> impl Future<Output = ()> + 'static {
        let socket = self.directory.join(SOCKET);
        async move {
            let mut silent = 0;
            while silent < SILENT_LOOKS_MAX && !stopper.is_stopping() {
                silent = if UnixStream::connect(&socket).is_ok() { 0 } else { silent + 1 };
                tokio::select! {
                    () = clock::sleep(BETWEEN_LOOKS) => {}
                    () = stopper.stopping() => {}
                }
            }
        }
    }

    /// Stops the server.
    ///
    /// # Errors
    ///
    /// When it does not stop.
    pub async fn stop(&self) -> Result<(), Error> {
        self.run("pg_ctl", &["-m", "fast", "-w", "stop", "-D", &text(&self.data())]).await
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Only a whole cluster bears the name `data`: a kill on the way leaves `data.new`.
    async fn initialize(&self) -> Result<(), Error> {
        let new = self.directory.join("data.new");
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Io { path: new, source: error });
            }
            _ => {}
        }
        let password_file = self.directory.join("password");
        self.run(
            "initdb",
            &[
                "-D",
                &text(&new),
                "-U",
                USER,
                "--pwfile",
                &text(&password_file),
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
            ],
        )
        .await?;
        fs::rename(&new, self.data()).map_err(|source| Error::Io { path: new, source })
    }

    /// Whether a server that a former daemon left takes connections; one that is on its
    /// way up or down is waited for. What is left of a dead one is cleared away: the
    /// state directory is locked by us, so nobody else can be starting it.
    async fn former_server_answers(&self) -> bool {
        let pid_file = self.data().join("postmaster.pid");
        for _ in 0..START_LOOKS_MAX {
            if UnixStream::connect(self.directory.join(SOCKET)).is_ok() {
                return true;
            }
            let pid = fs::read_to_string(&pid_file).unwrap_or_default();
            if !pid.lines().next().is_some_and(is_live_server) {
                // It need not be there.
                let _ = fs::remove_file(&pid_file);
                return false;
            }
            clock::sleep(BETWEEN_LOOKS).await;
        }
        false
    }

    async fn start_server(&self) -> Result<(), Error> {
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c unix_socket_permissions=0700 -c fsync=on -c max_connections=120",
            self.directory.display()
        );
        let (data, log) = (text(&self.data()), text(&self.directory.join("server.log")));
        let start = ["-D", &data, "-l", &log, "-o", &options, "-w", "-t", "60", "start"];
        for _ in 1..START_TRIES_MAX {
            if self.run("pg_ctl", &start).await.is_ok() {
                return Ok(());
            }
            // Processes of a server that was killed may still hold its shared memory.
            clock::sleep(BETWEEN_LOOKS).await;
        }
        self.run("pg_ctl", &start).await
    }

    fn command(&self, tool: &'static str) -> Command {
        let mut command = Command::new(self.binaries.join(tool));
        command.current_dir(&self.directory).env_remove("PGDATA").env("LC_ALL", "C.UTF-8");
        // The server must outlive a signal that is meant for the daemon's terminal.
        command.process_group(0);
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Output goes to a file: a server that inherits a pipe would keep it open.
    async fn run(&self, tool: &'static str, args: &[&str]) -> Result<(), Error> {
        let path = self.directory.join("tool.log");
        let failed = |source| Error::Io { path: path.clone(), source };
        let output = File::create(&path).map_err(failed)?;
        let status = self
            .command(tool)
            .args(args)
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            .status()
            .await
            .map_err(|source| Error::Io { path: self.binaries.join(tool), source })?;
        if status.success() {
            return Ok(());
        }
        let output = fs::read_to_string(&path).unwrap_or_default();
        Err(Error::Tool { tool, output: output.trim().to_owned() })
    }
}

fn config(directory: &Path, password: &str, connections_max: u32) -> store::Config {
    let options = PgConnectOptions::new_without_pgpass()
        .socket(directory)
        .username(USER)
        .database("postgres")
        .password(password);
    store::Config::new(options, connections_max)
}

fn named_binaries(named: Option<&Path>) -> Result<PathBuf, Error> {
    named.map(Path::to_owned).or_else(find_binaries).ok_or(Error::NotInstalled)
}

fn directory(state: &Path) -> Result<PathBuf, Error> {
    let directory = state.join("postgresql");
    if directory.as_os_str().len() > SOCKET_DIRECTORY_BYTES_MAX {
        return Err(Error::PathTooLong(state.to_owned()));
    }
    Ok(directory)
}

/// Whether we are in a container, and the directory lies in the container's own layer.
#[must_use]
pub fn goes_with_the_container(state: &Path) -> bool {
    let is_container =
        ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists())
            || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    // One that is not there yet is made beside its nearest ancestor.
    let place = state.ancestors().find_map(device);
    is_container && place == device(Path::new("/"))
}

/// Whether a process is a PostgreSQL server that still runs: one that was killed stays
/// a zombie where nobody reaps it, and its number may be another's by now.
fn is_live_server(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let Some((name, state)) = stat.rsplit_once(") ") else { return false };
    name.ends_with("(postgres") && !state.starts_with('Z')
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The newest installed PostgreSQL: Debian's places first, then the `PATH`.
fn find_binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok().into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| *version >= VERSION_MIN)
        .map(|version| (version, PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))))
        .filter(|(_, path)| path.join("initdb").exists())
        .max();
    newest.map(|(_, path)| path).or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|path| path.join("initdb").exists())
    })
}

/// Under root, the user that the server runs as.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].into_iter().find_map(|name| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

fn create(directory: &Path, owner: Option<(u32, u32)>) -> Result<(), Error> {
    let failed = |source| Error::Io { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    match owner {
        Some((uid, gid)) => chown(directory, Some(uid), Some(gid)).map_err(failed),
        None => Ok(()),
    }
}

fn lock(state: &Path) -> Result<File, Error> {
    let path = state.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| Error::Io { path, source })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| Error::Locked(state.to_owned()))?;
    Ok(file)
}

/// The password of the cluster's only user; made when there is none. The server's user
/// reads the file once, to make the cluster.
fn password(directory: &Path) -> Result<String, Error> {
    let path = directory.join("password");
    let failed = |source| Error::Io { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let made = hex::encode(chance::secret::<24>());
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    if let Some((uid, gid)) = owner() {
        chown(&path, Some(uid), Some(gid)).map_err(failed)?;
    }
    file.write_all(made.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(made)
}
