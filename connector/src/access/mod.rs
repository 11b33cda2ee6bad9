//! Floor 4: time-bound access.
//!
//! A grant is a wish in rows; a *target* is an object in AWS that units of grants hold. One loop
//! makes AWS agree with the wishes, whatever happened before: it looks at a target, asks
//! [`crate::model::target::decide`] what comes next, does that one thing, and notes in the target's row
//! when to look again ([`step`]). First grant, retry, restart after a crash, expiry, early
//! revoke, extension and repair are this one loop; nothing of it is kept in memory.
//!
//! The [`runner`] takes the lease of an Identity Center instance where something is due, and gives it to
//! a [`worker`], which begins steps, the most urgent first, until nothing is due any more. The
//! recipients of new grants are looked up there, too ([`principals`]).
//!
//! Invariant: AWS is changed only by a call whose intent is committed, under a lease that is looked
//! at before every attempt; and what was there before is never deleted.
//!
//! Crash safety: whatever is killed, the lease runs out, and another worker finds the intent. It
//! cannot know whether the call was made, so the target is in doubt until no call can take effect
//! any more; ends are believed only then.
//!
//! The database is the memory. Where it may have forgotten something ([`crate::store::memory`]), nothing
//! is done in AWS, and what AWS tells of the forgotten time is reported ([`recovery`]).

use std::{sync::Arc, time::Duration};

use crate::{
    aws::Aws,
    base::activator::Activator,
    guard::Guard,
    model::ids::{ConnectorId, ReplicaId},
    store::Db,
};

pub mod mechanisms;
pub mod rules;
pub mod runner;

mod lookup;
mod places;
mod principals;
mod quotas;
mod recovery;
mod site;
mod step;
mod tie;
mod trial;
mod worker;

/// What a database server that took over from another may have forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailover {
    /// Something: the connectors are recovering until somebody ends that.
    Recover,
    /// Nothing: its standbys confirm every commit.
    Trust,
}

/// What becomes of access that somebody else has removed before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRemoval {
    /// It is made again, and is ours from then on.
    Restore,
    /// The grant's unit fails, and says so.
    Report,
}

/// How many of its things AWS gives.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// Permission sets of an instance of Identity Center.
    pub sets: u32,
    /// Permission sets in an account.
    pub sets_in_account: u32,
    /// Roles in an account.
    pub roles_in_account: u32,
}

/// How to give access.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long the lease of an instance lasts without a heartbeat.
    pub lease: Duration,
    /// From one heartbeat to the next.
    pub heartbeat: Duration,
    /// For how long after a call it may take effect: its time-out, the validity of its
    /// signature, and a margin.
    pub settling: Duration,
    /// How long a policy that was changed may still allow what it did.
    pub propagation: Duration,
    /// From one look at access that is held to the next.
    pub audit: Duration,
    /// What becomes of what somebody else has removed.
    pub on_removal: OnRemoval,
    /// What is made of a fail-over of the database.
    pub on_failover: OnFailover,
    /// Assignments that AWS works on at once in an instance.
    pub assignments_at_once: u32,
    /// How many of its things AWS gives.
    pub quotas: Quotas,
    /// Access is given to management accounts.
    pub management_account: bool,
    /// Access is given to what asks for a tag and lacks it.
    pub untagged: bool,
    /// Without a poke, how often to look for what is due.
    pub poll: Duration,
}

/// What giving access needs. Clones share everything.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The database.
    pub db: Db,
    /// AWS.
    pub aws: Aws,
    /// The connectors that this daemon hosts.
    pub connectors: Arc<[ConnectorId]>,
    /// This process.
    pub replica: ReplicaId,
    /// Settings.
    pub config: Config,
    /// What may be granted, by whichever name a recipient goes.
    pub guard: Guard,
    /// Wakes the runner when something is wanted.
    pub wishes: Activator,
}
