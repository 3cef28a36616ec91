use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule};

use super::arrow::{PyArrowSchema, export_stream};
use super::errors::{IntoPython, to_python};
use super::explanation::PyExplanation;
use super::runs::{PyRun, report};
use super::signals::{EndsStream, wait, wait_within};
use crate::engine::{Guard, Outcome, Query, ResultReader, RunLimits, Running, SharedProgress};
use crate::error::EngineError;

/// A planned query. Each stream taken from it is a run of its own.
#[pyclass(name = "Query", module = "datafusion_ext", frozen)]
pub struct PyQuery {
    query: Arc<Query>,
    last_error: Arc<Mutex<Option<EngineError>>>,
    last_run: Mutex<Option<SharedProgress>>,
    watcher: Mutex<Option<Py<PyAny>>>,
    limits: Mutex<RunLimits>,
}

impl PyQuery {
    fn guard(&self) -> Guard {
        Guard::new(*self.limits.lock().unwrap_or_else(PoisonError::into_inner))
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
        let bytes = wait(py, async move { query.to_bytes().await })?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn prepare(&self, py: Python<'_>) -> PyResult<()> {
        let query = Arc::clone(&self.query);
        wait(py, async move { query.prepare().await })
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface lets a producer ignore the request: the consumer then casts for itself.
        drop(requested_schema);
        let cancelled = self.query.cancelled();
        let query = Arc::clone(&self.query);
        let guard = self.guard();
        let started = async move { query.execute().await };
        let Running { stream, progress, run } = wait_within(py, &guard, started)?;
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
        let reader =
            ResultReader::new(stream, cancelled, Box::new(EndsStream), guard, progress, Box::new(on_end));
        export_stream(py, reader)
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
        let query = Arc::clone(&self.query);
        Ok(wait_within(py, &self.guard(), async move { query.explain(analyze).await })?.into())
    }

    /// Limit every run from here on.
    #[pyo3(signature = (*, timeout_seconds = None, max_rows = None))]
    fn limit(&self, timeout_seconds: Option<f64>, max_rows: Option<u64>) {
        // What no clock can hold is no limit.
        let timeout = timeout_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = RunLimits { timeout, max_rows };
    }

    fn metrics(&self) -> BTreeMap<String, u64> {
        self.query.metrics()
    }

    fn cancel(&self) {
        self.query.cancel();
    }
}
