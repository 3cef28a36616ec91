//! Engine errors as the Python class that the package defines.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use crate::error::{Code, EngineError};

/// Build `datafusion_ext.EngineError` from an engine error.
pub fn to_python(py: Python<'_>, error: EngineError) -> PyErr {
    let build = || -> PyResult<PyErr> {
        let (line, column) = error.position.map_or((None, None), |at| (Some(at.line), Some(at.column)));
        let arguments = (error.message.as_str(), error.code.as_str(), line, column, error.name.as_deref());
        let value = error_class(py)?.call1(arguments)?;
        value.setattr("scope", PyTuple::new(py, &error.scope)?)?;
        let raised = PyErr::from_value(value);
        let cause = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<PyErr>());
        raised.set_cause(py, cause.map(|cause| cause.clone_ref(py)));
        Ok(raised)
    };
    build().unwrap_or_else(|failure| failure)
}

fn error_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.import(py, "datafusion_ext.errors", "EngineError")
}

/// What a function of the caller raised, on its way through the engine.
pub fn from_python(py: Python<'_>, raised: PyErr) -> EngineError {
    let text = raised.value(py).to_string();
    EngineError::new(Code::Callback, text).caused_by(raised)
}

/// Turn engine results into Python results.
pub trait IntoPython<T> {
    fn into_python(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> IntoPython<T> for crate::error::Result<T> {
    fn into_python(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| to_python(py, error))
    }
}
