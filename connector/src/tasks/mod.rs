//! Floor 6: background tasks.
//!
//! A task takes no input: it is woken by its period or by a poke, reads what is due,
//! does it, and says in one line what it did. It does not try again inside; the next
//! wake-up is the next try.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tracing::warn;

use crate::base::{activator::Activator, clock, stopper::Stopper};

pub mod database_password;
pub mod gauges;
pub mod identity;
pub mod janitor;
pub mod memory;
pub mod remover;
pub mod scheduler;
pub mod sealer;
pub mod statistician;
pub mod stuck;
pub mod validator;

/// One background task.
#[async_trait]
pub trait Task: Send {
    /// Stable name.
    fn name(&self) -> &'static str;

    /// What it does.
    fn description(&self) -> &'static str;

    /// Without a poke, how often to look.
    fn period(&self) -> Duration;

    /// Looks once and does what is due. `Ok` says what was done, `Err` what failed.
    async fn activate(&mut self) -> Result<String, String>;
}

/// How a task is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What it does.
    pub description: &'static str,
    /// Activations since the process started.
    pub activations: u64,
    /// When the last one ended.
    pub last_end: Option<DateTime<Utc>>,
    /// What the last one said.
    pub words: String,
}

/// Where operators see how the tasks are doing. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<&'static str, Status>>>);

impl Board {
    /// All tasks, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, Status)> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.iter().map(|(name, status)| (*name, status.clone())).collect()
    }

    fn note(&self, task: &dyn Task, words: Option<String>) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = board.entry(task.name()).or_default();
        status.description = task.description();
        if let Some(words) = words {
            status.activations += 1;
            status.last_end = Some(clock::now());
            status.words = words;
        }
    }
}

/// Runs a task until it is asked to stop.
pub async fn run(mut task: impl Task, activator: Activator, board: Board, stopper: Stopper) {
    board.note(&task, None);
    metrics::counter!("connector_task_failures_total", "task" => task.name()).increment(0);
    while !stopper.is_stopping() {
        let words = match task.activate().await {
            Ok(words) => words,
            Err(error) => {
                metrics::counter!("connector_task_failures_total", "task" => task.name())
                    .increment(1);
                warn!(task = task.name(), "{} failed: {error}", task.name());
                format!("failed: {error}")
            }
        };
        board.note(&task, Some(words));
        tokio::select! {
            () = activator.wait(task.period()) => {}
            () = stopper.stopping() => {}
        }
    }
}
