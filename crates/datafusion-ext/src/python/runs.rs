use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;

use crate::engine::{Outcome, Progress};

/// One run of a query, as a dictionary. Moments are nanoseconds since 1970, times are nanoseconds.
#[derive(IntoPyObject)]
pub struct PyRun {
    started: u64,
    finished: Option<u64>,
    planning: u64,
    waiting: u64,
    rows: u64,
    batches: u64,
    bytes: u64,
    outcome: &'static str,
    error_code: Option<&'static str>,
    metrics: BTreeMap<String, u64>,
}

impl PyRun {
    pub fn new(progress: Progress, metrics: BTreeMap<String, u64>) -> Self {
        let error_code = match &progress.outcome {
            Outcome::Failed(error) => Some(error.code.as_str()),
            _ => None,
        };
        Self {
            started: nanoseconds(progress.started),
            finished: progress.finished.map(nanoseconds),
            planning: progress.planning.as_nanos() as u64,
            waiting: progress.waiting.as_nanos() as u64,
            rows: progress.rows,
            batches: progress.batches,
            bytes: progress.bytes,
            outcome: progress.outcome.name(),
            error_code,
            metrics,
        }
    }
}

fn nanoseconds(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// Tell Python of a run that ended. Nobody can catch what the watcher raises, so it is left to
/// `sys.unraisablehook`.
pub fn report(watcher: &Py<PyAny>, run: PyRun) {
    Python::try_attach(|py| {
        if let Err(raised) = watcher.call1(py, (run,)) {
            raised.write_unraisable(py, Some(watcher.bind(py)));
        }
    });
}
