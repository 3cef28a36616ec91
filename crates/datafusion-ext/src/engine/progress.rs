//! What a run has handed out so far, and how it ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use datafusion::arrow::array::{Array, RecordBatch};

use crate::error::EngineError;

/// How a run stands.
#[derive(Debug, Clone, Default)]
pub enum Outcome {
    #[default]
    Running,
    Finished,
    Failed(EngineError),
    /// The reader was dropped before the end.
    Abandoned,
}

impl Outcome {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed(_) => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Figures of one run.
#[derive(Debug, Clone)]
pub struct Progress {
    pub started: SystemTime,
    pub finished: Option<SystemTime>,
    /// Time spent on the physical plan before the run; nothing where it was kept.
    pub planning: Duration,
    /// Time that the reader waited for the engine.
    pub waiting: Duration,
    pub rows: u64,
    pub batches: u64,
    /// Size of the rows handed out, as slices of what holds them.
    pub bytes: u64,
    pub outcome: Outcome,
}

impl Progress {
    pub fn new(planning: Duration) -> Self {
        Self {
            started: SystemTime::now(),
            finished: None,
            planning,
            waiting: Duration::ZERO,
            rows: 0,
            batches: 0,
            bytes: 0,
            outcome: Outcome::Running,
        }
    }

    pub(super) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        self.batches += 1;
        self.bytes += batch.columns().iter().map(|column| size_of_slice(column.as_ref())).sum::<u64>();
    }
}

fn size_of_slice(column: &dyn Array) -> u64 {
    // The size of what a slice refers to is not defined for every type; then the size of all it holds is.
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()) as u64
}

/// The figures of a run, seen from outside while it is under way.
#[derive(Debug, Clone)]
pub struct SharedProgress(Arc<Mutex<Progress>>);

impl SharedProgress {
    pub fn new(planning: Duration) -> Self {
        Self(Arc::new(Mutex::new(Progress::new(planning))))
    }

    pub fn get(&self) -> Progress {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Note how the run ended, and tell whether this is the first that is heard of it.
    pub(super) fn end(&self, outcome: Outcome) -> bool {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = progress.finished.is_none();
        if first {
            progress.finished = Some(SystemTime::now());
            progress.outcome = outcome;
        }
        first
    }
}
