use std::sync::Arc;

use pyo3::prelude::*;

use super::arrow::PyArrowSchema;
use super::engine::parameters;
use super::errors::IntoPython;
use super::query::PyQuery;
use crate::engine::Prepared;

/// A statement that is planned once and run with many values.
#[pyclass(name = "Prepared", module = "datafusion_ext", frozen)]
pub struct PyPrepared {
    prepared: Prepared,
}

impl From<Prepared> for PyPrepared {
    fn from(prepared: Prepared) -> Self {
        Self { prepared }
    }
}

#[pymethods]
impl PyPrepared {
    /// The parameters and their types.
    #[getter]
    fn parameters(&self, py: Python<'_>) -> PyResult<PyArrowSchema> {
        let schema = self.prepared.parameters().into_python(py)?;
        Ok(PyArrowSchema { schema: Arc::new(schema) })
    }

    #[pyo3(signature = (params = None))]
    fn bind(&self, py: Python<'_>, params: Option<&Bound<'_, PyAny>>) -> PyResult<PyQuery> {
        let values = parameters(py, params)?;
        py.detach(|| self.prepared.bind(values)).into_python(py).map(PyQuery::from)
    }
}
