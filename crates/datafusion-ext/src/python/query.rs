use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule};

use super::arrow::{PyArrowSchema, export_stream};
use super::errors::{IntoPython, to_python};
use super::explanation::PyExplanation;
use super::runs::{PyRun, report};
use super::signals::{EndsStream, read_through, wait_within};
use crate::engine::{Guard, Interrupt, Outcome, Query, ResultReader, RunLimits, Running, SharedProgress};
use crate::error::{Code, EngineError};

/// A planned query. Each stream taken from it is a run of its own.
#[pyclass(name = "Query", module = "datafusion_ext", frozen)]
pub struct PyQuery {
    query: Arc<Query>,
    last_error: Arc<Mutex<Option<EngineError>>>,
    last_run: Mutex<Option<SharedProgress>>,
    watcher: Mutex<Option<Py<PyAny>>>,
    limits: Mutex<RunLimits>,
    /// What to tell whoever only sees the text of an error, by its code.
    advice: Mutex<Arc<BTreeMap<String, String>>>,
}

impl PyQuery {
    pub fn limited(query: Query, limits: RunLimits) -> Self {
        Self { limits: Mutex::new(limits), ..Self::from(query) }
    }

    fn guard(&self) -> Guard {
        Guard::new(*self.limits.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rows of a run that has started, which is told of when it ends.
    fn reader(
        &self,
        py: Python<'_>,
        running: Running,
        guard: Guard,
        interrupt: Box<dyn Interrupt>,
    ) -> ResultReader {
        let cancelled = self.query.cancelled();
        let Running { stream, progress, run } = running;
        *self.last_run.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.clone());
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let watcher = watcher.as_ref().map(|watcher| watcher.clone_ref(py));
        let last_error = Arc::clone(&self.last_error);
        let on_end = move |progress: &SharedProgress| {
            let ended = progress.get();
            run.end();
            if let Outcome::Failed(error) = &ended.outcome {
                *last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            }
            if let Some(watcher) = watcher {
                report(&watcher, PyRun::new(ended, run.totals()));
            }
        };
        let advice = Arc::clone(&self.advice.lock().unwrap_or_else(PoisonError::into_inner));
        ResultReader::new(stream, cancelled, interrupt, guard, progress, Box::new(on_end)).advised(advice)
    }

    /// Run the query as any other run, discard its rows, and write the plan with its figures as text.
    fn analyzed(&self, py: Python<'_>) -> PyResult<String> {
        let query = Arc::clone(&self.query);
        let guard = self.guard();
        let (running, plan) = wait_within(py, &guard, async move { query.execute_anew().await })?;
        read_through(py, |interrupt| self.reader(py, running, guard, interrupt)).map_err(|raised| {
            // What ends a reader is told as Arrow's error; the run remembers the engine's.
            raised.unwrap_or_else(|| {
                let error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let lost = || EngineError::new(Code::Internal, "A run failed without saying why");
                to_python(py, error.unwrap_or_else(lost))
            })
        })?;
        Ok(plan.text())
    }
}

impl From<Query> for PyQuery {
    fn from(query: Query) -> Self {
        Self {
            query: Arc::new(query),
            last_error: Arc::default(),
            last_run: Mutex::default(),
            watcher: Mutex::default(),
            limits: Mutex::default(),
            advice: Mutex::default(),
        }
    }
}

#[pymethods]
impl PyQuery {
    #[getter]
    fn schema(&self) -> PyArrowSchema {
        PyArrowSchema { schema: self.query.schema() }
    }

    /// Why the latest failed stream ended; streams themselves can only carry a text.
    #[getter]
    fn last_error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last_error.map(|error| to_python(py, error).into_value(py).into_any())
    }

    fn tables(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.query.tables().into_python(py)
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let query = Arc::clone(&self.query);
        let bytes = wait_within(py, &self.guard(), async move { query.to_bytes().await })?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn prepare(&self, py: Python<'_>) -> PyResult<()> {
        let query = Arc::clone(&self.query);
        wait_within(py, &self.guard(), async move { query.prepare().await })
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface lets a producer ignore the request: the consumer then casts for itself.
        drop(requested_schema);
        let query = Arc::clone(&self.query);
        let guard = self.guard();
        let running = wait_within(py, &guard, async move { query.execute().await })?;
        export_stream(py, self.reader(py, running, guard, Box::new(EndsStream)))
    }

    /// The latest run, as far as it has come.
    #[getter]
    fn last_run(&self) -> Option<PyRun> {
        let progress = self.last_run.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(PyRun::new(progress.get(), self.query.metrics()))
    }

    /// Have every run from here on reported when it ends, and forget those before.
    #[pyo3(signature = (watcher))]
    fn watch(&self, watcher: Option<Py<PyAny>>) {
        self.query.forget_run();
        *self.last_run.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = watcher;
    }

    #[pyo3(signature = (analyze = false))]
    fn explain(&self, py: Python<'_>, analyze: bool) -> PyResult<PyExplanation> {
        let analyzed = analyze.then(|| self.analyzed(py)).transpose()?;
        let query = Arc::clone(&self.query);
        let explanation = wait_within(py, &self.guard(), async move { query.explain().await })?;
        Ok(PyExplanation::new(explanation, analyzed))
    }

    /// Limit every run from here on.
    #[pyo3(signature = (*, timeout_seconds = None, max_rows = None, advice = None))]
    fn limit(
        &self,
        timeout_seconds: Option<f64>,
        max_rows: Option<u64>,
        advice: Option<BTreeMap<String, String>>,
    ) {
        let advice = Arc::new(advice.unwrap_or_default());
        *self.advice.lock().unwrap_or_else(PoisonError::into_inner) = advice;
        let limits = RunLimits { max_rows, ..RunLimits::within(timeout_seconds) };
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn metrics(&self) -> BTreeMap<String, u64> {
        self.query.metrics()
    }

    fn cancel(&self) {
        self.query.cancel();
    }
}
