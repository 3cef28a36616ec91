use std::sync::Arc;

use datafusion::execution::TaskContextProvider;
use datafusion_ffi::proto::logical_extension_codec::FFI_LogicalExtensionCodec;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use super::engine::PyEngine;
use super::errors::IntoPython;
use super::scan::PyDeltaScan;
use crate::engine::runtime;
use crate::plan::TableHandles;

/// The codec of a plan that another context hands over.
#[pyclass(name = "TableHandles", module = "datafusion_ext", frozen)]
pub struct PyTableHandles {
    pub tables: Arc<TableHandles>,
}

#[pymethods]
impl PyTableHandles {
    #[new]
    fn new(engine: &PyEngine) -> Self {
        Self { tables: Arc::new(engine.engine.table_handles()) }
    }

    /// The snapshots among the tables.
    fn scans(&self) -> Vec<PyDeltaScan> {
        let tables = self.tables.tables();
        tables.into_iter().filter_map(PyDeltaScan::from_table).collect()
    }

    fn __datafusion_logical_extension_codec__<'py>(
        &self,
        session: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let py = session.py();
        let handle = runtime().into_python(py)?.handle().clone();
        let context = Arc::clone(self.tables.context()) as Arc<dyn TaskContextProvider>;
        let codec = Arc::clone(&self.tables) as Arc<dyn LogicalExtensionCodec>;
        let exported = FFI_LogicalExtensionCodec::new(codec, Some(handle), &context);
        PyCapsule::new_with_value(py, exported, c"datafusion_logical_extension_codec")
    }
}
