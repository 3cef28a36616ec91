use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use super::arrow::{PyArrowSchema, export_stream};
use super::errors::{IntoPython, to_python};
use super::signals::{EndsStream, wait};
use crate::engine::{Query, ResultReader};
use crate::error::EngineError;

/// A planned query. Each stream taken from it is a run of its own.
#[pyclass(name = "Query", module = "datafusion_ext", frozen)]
pub struct PyQuery {
    query: Arc<Query>,
    last_error: Arc<Mutex<Option<EngineError>>>,
}

impl From<Query> for PyQuery {
    fn from(query: Query) -> Self {
        Self { query: Arc::new(query), last_error: Arc::default() }
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
        let last_error = self.last_error.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        last_error.map(|error| to_python(py, error).into_value(py).into_any())
    }

    fn tables(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.query.tables().into_python(py)
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
        let stream = wait(py, async move { query.execute().await })?;
        let last_error = Arc::clone(&self.last_error);
        let keep = move |error: &EngineError| {
            *last_error.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(error.clone());
        };
        let reader = ResultReader::new(stream, cancelled, Box::new(EndsStream), Box::new(keep));
        export_stream(py, reader)
    }

    #[pyo3(signature = (analyze = false))]
    fn explain(&self, py: Python<'_>, analyze: bool) -> PyResult<BTreeMap<&'static str, String>> {
        let query = Arc::clone(&self.query);
        let explanation = wait(py, async move { query.explain(analyze).await })?;
        let mut plans = BTreeMap::from([
            ("logical", explanation.logical),
            ("optimized", explanation.optimized),
            ("physical", explanation.physical),
        ]);
        plans.extend(explanation.analyzed.map(|analyzed| ("analyzed", analyzed)));
        Ok(plans)
    }

    fn metrics(&self) -> BTreeMap<String, u64> {
        self.query.metrics()
    }

    fn cancel(&self) {
        self.query.cancel();
    }
}
