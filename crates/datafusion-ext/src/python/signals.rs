//! Waiting without the GIL, and noticing Ctrl-C meanwhile.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;

use super::errors::IntoPython;
use crate::engine::{Guard, Interrupt, ResultReader, RunLimits, run};
use crate::error::Result;

/// Asks Python whether a signal handler raised, and keeps what it raised.
#[derive(Default)]
struct RaisedBySignal {
    raised: Mutex<Option<PyErr>>,
}

impl Interrupt for RaisedBySignal {
    fn interrupted(&self) -> bool {
        let Some(checked) = Python::try_attach(|py| py.check_signals()) else {
            return true;
        };
        let raised = checked.err();
        let interrupted = raised.is_some();
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = raised;
        interrupted
    }
}

impl Interrupt for Arc<RaisedBySignal> {
    fn interrupted(&self) -> bool {
        self.as_ref().interrupted()
    }
}

/// Do work without the GIL. What a signal handler raises meanwhile, such as KeyboardInterrupt, ends the
/// wait and is raised here.
pub fn wait<T, F>(py: Python<'_>, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    wait_within(py, &Guard::new(RunLimits::default()), work)
}

/// The same, until the time of a run is over.
pub fn wait_within<T, F>(py: Python<'_>, guard: &Guard, work: F) -> PyResult<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let signals = RaisedBySignal::default();
    let outcome = py.detach(|| guard.explained(run(work, &guard.watching(&signals))));
    match signals.raised.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(raised) => Err(raised),
        None => outcome.into_python(py),
    }
}

/// Read all rows of a run without the GIL, and discard them. Where that fails, what a signal handler raised is
/// returned, or nothing if the run itself failed.
pub fn read_through(
    py: Python<'_>,
    make: impl FnOnce(Box<dyn Interrupt>) -> ResultReader,
) -> std::result::Result<(), Option<PyErr>> {
    let signals = Arc::new(RaisedBySignal::default());
    let mut reader = make(Box::new(Arc::clone(&signals)));
    let read = py.detach(move || reader.try_for_each(|batch| batch.map(drop)));
    let raised = signals.raised.lock().unwrap_or_else(PoisonError::into_inner).take();
    read.map_err(|_| raised)
}

/// For streams, through which an exception can't travel: what a handler raises ends the stream with an
/// error of the code `engine-interrupted`, for the stream's reader to raise again.
pub struct EndsStream;

impl Interrupt for EndsStream {
    fn interrupted(&self) -> bool {
        Python::try_attach(|py| py.check_signals().is_err()).unwrap_or(true)
    }
}
