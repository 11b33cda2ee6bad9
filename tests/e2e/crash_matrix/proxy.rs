//! A proxy between the daemon and PostgreSQL, to which commits are effects, as calls that change
//! something are to the simulated AWS: it knows which there were, and holds one where a test
//! wants to kill or stop the daemon (as `aws_sim::trap` does).
//!
//! An effect is whatever makes a write to one of [`session::TABLES`] last: the `COMMIT` of a transaction
//! that wrote, or the `Sync` behind a statement outside of one. What was written is told from the
//! statements, not from what they found: a write that met no row counts.
//!
//! What the client sends goes on in batches that end where the server answers, so nothing of a
//! batch that is held on arrival is known to the server. Of a batch that is held when applied, the
//! server's answer is known to the proxy, and the client sees nothing of it.
//!
//! A connection whose client is gone is closed at the server, too, but not before its last effect
//! is answered, or released where it is held. PostgreSQL itself ends a transaction whose `COMMIT`
//! is held longer than the daemon's `idle_in_transaction_session_timeout`.
//!
//! Not understood, because the daemon sends none of it: TLS, simple queries of several statements
//! that begin or end a transaction, `COPY` in the extended protocol.

mod session;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use aws_sim::Moment;
use bytes::BytesMut;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::{Builder, Runtime},
    sync::{oneshot, watch},
};

use self::session::{Heard, Session};
use crate::harness::short_directory;

/// Asks for encryption, before the first packet.
const SSL_REQUEST: u32 = 80_877_103;
/// How short and how long a first packet may be, in bytes, as PostgreSQL has it.
const FIRST_PACKET: std::ops::RangeInclusive<usize> = 8..=10_000;
/// How much is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// A running proxy before one database. Dropped, it stops: all connections are closed.
pub(crate) struct Proxy {
    url: String,
    ledger: Shared,
    /// Of its own, as a test blocks its thread while it starts a daemon.
    runtime: Option<Runtime>,
    _directory: TempDir,
}

impl Proxy {
    /// Serves the database of a URL (`Database::url`: behind a Unix socket, without a password)
    /// on a Unix socket of its own.
    pub(crate) async fn start(database_url: &str) -> Self {
        let options: PgConnectOptions = database_url.parse().expect("a URL");
        let name = format!(".s.PGSQL.{}", options.get_port());
        let server = options.get_socket().expect("a server on a Unix socket").join(&name);
        let directory = short_directory();
        let host = directory.path().to_string_lossy().replace('/', "%2F");
        let (user, database) = (options.get_username(), options.get_database());
        let url = format!("postgres://{user}@{host}/{}", database.expect("a database"));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let socket = directory.path().join(name);
        let bound = runtime.spawn(async move { UnixListener::bind(socket) });
        let listener = bound.await.expect("an end").expect("a socket");
        let ledger = Shared::default();
        runtime.spawn(serve(listener, server, Arc::clone(&ledger)));
        Self { url, ledger, runtime: Some(runtime), _directory: directory }
    }

    /// What `DATABASE_URL` should be.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// How many effects went to the server so far. One that is held on arrival is not among them
    /// yet; one that is held when applied is.
    pub(crate) fn effects(&self) -> usize {
        self.ledger.lock().expect("a ledger").effects
    }

    /// Sets a trap for one effect, the `nth` (from 1) that arrives from now on. What it returns yields the effect once it is held. If that is dropped, the trap holds nothing.
    /// An effect is caught by one trap, the eldest that is due; another takes the next.
    pub(crate) fn set_trap(&self, nth: usize, moment: Moment) -> oneshot::Receiver<Held> {
        let (told, caught) = oneshot::channel();
        self.ledger.lock().expect("a ledger").traps.push(Trap { nth, moment, told });
        caught
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An effect that a trap holds. Dropped, it is forgotten as by [`Held::forget`].
#[derive(Debug)]
#[must_use = "an effect that is not let go is forgotten"]
pub(crate) struct Held {
    /// What it writes.
    pub label: String,
    release: oneshot::Sender<()>,
}

impl Held {
    /// Lets it go on, whether its client still waits or not.
    pub(crate) fn let_go(self) {
        // Where nobody holds it any more, the server or the proxy has ended the connection.
        let _ = self.release.send(());
    }

    /// Closes its connection on both sides; if it was not applied, it never is.
    pub(crate) fn forget(self) {
        drop(self.release);
    }
}

struct Trap {
    nth: usize,
    moment: Moment,
    told: oneshot::Sender<Held>,
}

/// An effect that is to be held.
struct Caught {
    label: String,
    moment: Moment,
    told: oneshot::Sender<Held>,
}

type Shared = Arc<Mutex<Ledger>>;

/// What there was, and what is waited for.
#[derive(Default)]
struct Ledger {
    effects: usize,
    traps: Vec<Trap>,
}

impl Ledger {
    /// Counts an effect that arrives; the trap that catches it.
    fn spring(&mut self, label: String) -> Option<Caught> {
        for trap in &mut self.traps {
            trap.nth = trap.nth.saturating_sub(1);
        }
        let at = self.traps.iter().position(|trap| trap.nth == 0)?;
        let Trap { moment, told, .. } = self.traps.remove(at);
        Some(Caught { label, moment, told })
    }
}

/// Holds an effect that is to be held at this moment, until it is released; an error: forgotten.
async fn hold(caught: &mut Option<Caught>, moment: Moment) -> io::Result<()> {
    let Some(caught) = caught.take_if(|caught| caught.moment == moment) else { return Ok(()) };
    let (release, released) = oneshot::channel();
    if caught.told.send(Held { label: caught.label, release }).is_err() {
        return Ok(());
    }
    released.await.map_err(io::Error::other)
}

/// Serves until it is dropped.
async fn serve(listener: UnixListener, server: PathBuf, ledger: Shared) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, ledger) = (server.clone(), Arc::clone(&ledger));
        // However a connection ends, both of its sides learn that it has.
        tokio::spawn(relay(client, server, ledger));
    }
}

/// One connection, until one of its ends is gone or a held effect is forgotten.
async fn relay(mut client: UnixStream, server: PathBuf, ledger: Shared) -> io::Result<()> {
    let first = first_packet(&mut client).await?;
    let mut server = UnixStream::connect(server).await?;
    server.write_all(&first).await?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (gate, opened) = watch::channel(true);
    let (answered, answers) = watch::channel(0);
    let forth = Forth { from_client, to_server, ledger, gate, answers, asked: 1 };
    tokio::select! {
        ended = forth.run() => ended,
        () = back(from_server, to_client, answered, opened) => Ok(()),
    }
}

/// The packet with which a connection begins; encryption is declined.
async fn first_packet(client: &mut UnixStream) -> io::Result<Vec<u8>> {
    loop {
        let head = client.read_u32().await?;
        let length = usize::try_from(head).unwrap_or(usize::MAX);
        if !FIRST_PACKET.contains(&length) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let code = client.read_u32().await?;
        if code != SSL_REQUEST {
            let mut packet = [head.to_be_bytes(), code.to_be_bytes()].concat();
            packet.resize(length, 0);
            client.read_exact(&mut packet[8..]).await?;
            return Ok(packet);
        }
        client.write_all(b"N").await?;
    }
}

/// From the client to the server.
struct Forth {
    from_client: OwnedReadHalf,
    to_server: OwnedWriteHalf,
    ledger: Shared,
    /// Whether the client is to see what the server says.
    gate: watch::Sender<bool>,
    /// How many answers of the server are complete.
    answers: watch::Receiver<usize>,
    /// How many there will be to what was sent; the server's greeting is one.
    asked: usize,
}

impl Forth {
    async fn run(mut self) -> io::Result<()> {
        let (mut read, mut batch) = (BytesMut::with_capacity(CHUNK), Vec::new());
        let mut session = Session::default();
        while self.from_client.read_buf(&mut read).await? > 0 {
            while let Some(message) = take_message(&mut read) {
                let heard = session.hear(&message);
                batch.extend_from_slice(&message);
                match heard {
                    Heard::Part => continue,
                    Heard::Aside => self.to_server.write_all(&batch).await?,
                    Heard::Question(effect) => {
                        self.asked += 1;
                        self.ask(&batch, effect).await?;
                    }
                }
                batch.clear();
            }
        }
        Ok(())
    }

    /// Sends a batch that the server answers. An effect is held where a trap wants it, and is
    /// answered before anything else is read: its client may be gone by then.
    async fn ask(&mut self, batch: &[u8], effect: Option<String>) -> io::Result<()> {
        let Some(label) = effect else { return self.to_server.write_all(batch).await };
        let mut caught = self.ledger.lock().expect("a ledger").spring(label);
        hold(&mut caught, Moment::Arrived).await?;
        self.gate.send_replace(caught.is_none());
        self.ledger.lock().expect("a ledger").effects += 1;
        self.to_server.write_all(batch).await?;
        let asked = self.asked;
        let answered = self.answers.wait_for(|answered| *answered >= asked).await;
        answered.map(drop).map_err(io::Error::other)?;
        hold(&mut caught, Moment::Applied).await?;
        self.gate.send_replace(true);
        Ok(())
    }
}

/// From the server to the client, until the server closes. It goes on if the client is gone, to
/// learn what is answered: [`Forth`] says when it is over.
async fn back(
    mut from_server: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    answered: watch::Sender<usize>,
    mut gate: watch::Receiver<bool>,
) {
    let (mut read, mut ready) = (BytesMut::with_capacity(CHUNK), Vec::new());
    loop {
        tokio::select! {
            // The server's last words before its end, too, are passed on.
            biased;
            () = async { gate.wait_for(|is_open| *is_open).await.map_or((), drop) }, if !ready.is_empty() => {
                let _ = to_client.write_all(&ready).await;
                ready.clear();
            }
            found = from_server.read_buf(&mut read) => {
                if !found.is_ok_and(|length| length > 0) {
                    return;
                }
                while let Some(message) = take_message(&mut read) {
                    ready.extend_from_slice(&message);
                    if message.starts_with(b"Z") {
                        answered.send_modify(|answered| *answered += 1);
                    }
                }
            }
        }
    }
}

/// Takes a message (a type, a length that counts itself, a body) that has come as a whole.
fn take_message(read: &mut BytesMut) -> Option<BytesMut> {
    let length = read.get(1..)?.first_chunk().copied().map(u32::from_be_bytes)?;
    let end = usize::try_from(length).ok()?.checked_add(1)?;
    (read.len() >= end).then(|| read.split_to(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_when_it_is_whole() {
        let sent = b"Q\0\0\0\x0dSELECT 1\0";
        let (mut read, mut taken) = (BytesMut::new(), Vec::new());
        for byte in [sent.as_slice(), sent, b"S\0\0\0\x04", b"S\0\0\0"].concat() {
            read.extend_from_slice(&[byte]);
            taken.extend(take_message(&mut read));
        }
        assert_eq!(taken, [sent.as_slice(), sent, b"S\0\0\0\x04"]);
    }
}
