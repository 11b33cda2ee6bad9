//! A simulated AWS for the connector's tests and demo.
//!
//! It is harsher than AWS where AWS is merely surprising: pages are shorter than asked
//! for, empty pages can come with tokens, sessions end on the second, a call that a role's policy does not
//! name is refused. Roles are not written for it: it reads them from the CloudFormation
//! templates that customers deploy ([`template`]).
//!
//! It never imports the connector, so that a shared mistake cannot hide. By itself it
//! proves nothing about AWS; what it has in common with a third-party emulator is tested
//! on both.
//!
//! One simulator holds many organizations; tests add their own with ids of their own.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{net::TcpListener, task::JoinHandle};

mod access;
pub mod answer;
pub mod assignment;
pub mod clock;
pub mod condition;
pub mod control;
pub mod delivery;
pub mod directory;
pub mod evaluator;
pub mod fault;
pub mod gate;
mod grammar;
pub mod iam_user;
pub mod identity;
pub mod journal;
mod lag;
pub mod latency;
pub mod managed_policy;
mod membership;
mod pattern;
pub mod policy;
pub mod provisioning;
pub mod quota;
pub mod reference;
pub mod request;
pub mod seed;
mod server;
mod services;
pub mod shell;
pub mod template;
pub mod text;
pub mod thing;
pub mod trail;
pub mod trap;
pub mod world;
mod xml;

pub use condition::Context;
pub use evaluator::Question;
pub use fault::{Effect, Fault};
pub use journal::Entry;
pub use latency::Latency;
pub use managed_policy::PolicyName;
pub use quota::Quotas;
pub use thing::{Kind, Thing};
pub use trail::{Deed, Door, SignedIn};
pub use trap::{Moment, Release, Trap, Trapped};
pub use world::World;

/// A running simulator. Dropped, it stops.
#[derive(Debug)]
pub struct Sim {
    address: SocketAddr,
    shared: Shared,
    server: JoinHandle<()>,
}

/// What the server and its owner share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    world: Arc<Mutex<World>>,
    gate: Option<gate::Gate>,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sim {
    /// Starts on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// When there is no port.
    pub async fn start() -> io::Result<Self> {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), World::default(), None).await
    }

    /// Starts as a gate before another emulator: trust and permissions are judged here,
    /// everything else is answered there.
    ///
    /// # Errors
    ///
    /// When there is no port.
    pub async fn start_before(emulator: SocketAddr) -> io::Result<Self> {
        let gate = gate::Gate::new(emulator);
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), World::default(), Some(gate)).await
    }

    /// Starts on an address with a world.
    ///
    /// # Errors
    ///
    /// When the address is taken.
    pub async fn listen(
        address: SocketAddr,
        world: World,
        gate: Option<gate::Gate>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Shared { world: Arc::new(Mutex::new(world)), gate };
        let server = tokio::spawn(server::serve(listener, shared.clone()));
        Ok(Self { address, shared, server })
    }

    /// What `AWS_ENDPOINT_URL` should be.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The world, locked: look at it, change it, let go.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.server.abort();
    }
}
