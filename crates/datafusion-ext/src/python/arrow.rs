//! The Arrow PyCapsule interface, both ways.

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ffi::FFI_ArrowSchema;
use datafusion::arrow::ffi_stream::FFI_ArrowArrayStream;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use super::errors::IntoPython;
use crate::engine::{ForeignReader, ForeignStream, ResultReader};
use crate::error::EngineError;

const STREAM: &CStr = c"arrow_array_stream";
const SCHEMA: &CStr = c"arrow_schema";

/// Open the stream of an object with `__arrow_c_stream__`.
pub fn import_stream(data: &Bound<'_, PyAny>) -> PyResult<ForeignReader> {
    let capsule = capsule_of(data, "__arrow_c_stream__", STREAM)?;
    let pointer = capsule.pointer_checked(Some(STREAM))?.cast::<FFI_ArrowArrayStream>();
    // SAFETY: the capsule's name says what it points to; ownership is moved out, as the interface asks.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr()) };
    let reader = ForeignStream::try_new(stream).map_err(EngineError::from);
    Ok(Box::new(reader.into_python(data.py())?))
}

/// Read the schema of an object with `__arrow_c_schema__`.
pub fn import_schema(data: &Bound<'_, PyAny>) -> PyResult<SchemaRef> {
    let capsule = capsule_of(data, "__arrow_c_schema__", SCHEMA)?;
    let pointer = capsule.pointer_checked(Some(SCHEMA))?.cast::<FFI_ArrowSchema>();
    // SAFETY: the capsule's name says what it points to, and the capsule outlives this reference.
    let schema = Schema::try_from(unsafe { pointer.as_ref() }).map_err(EngineError::from);
    Ok(Arc::new(schema.into_python(data.py())?))
}

fn capsule_of<'py>(data: &Bound<'py, PyAny>, method: &str, name: &CStr) -> PyResult<Bound<'py, PyCapsule>> {
    if !data.hasattr(method)? {
        let found = data.get_type().name()?;
        return Err(PyTypeError::new_err(format!("Expected an object with {method}, found {found}")));
    }
    let capsule = data.call_method0(method)?;
    capsule.cast_into::<PyCapsule>().map_err(|_| {
        PyTypeError::new_err(format!("{method} did not return a capsule named {}", name.to_string_lossy()))
    })
}

/// Hand a result out as a stream capsule.
pub fn export_stream(py: Python<'_>, reader: ResultReader) -> PyResult<Bound<'_, PyCapsule>> {
    export_reader(py, Box::new(reader))
}

/// Hand any reader out as a stream capsule.
pub fn export_reader(py: Python<'_>, reader: ForeignReader) -> PyResult<Bound<'_, PyCapsule>> {
    let stream = FFI_ArrowArrayStream::new(Box::new(Unlocked { reader }));
    PyCapsule::new_with_value(py, stream, STREAM)
}

/// Hand rows that are in memory out as a stream capsule. Readers need not let go of the GIL for them, and one on
/// a thread that calls Python already could not: it may have let go of it by means that PyO3 does not see.
pub fn export_batch(py: Python<'_>, batch: RecordBatch) -> PyResult<Bound<'_, PyCapsule>> {
    let schema = batch.schema();
    let reader = RecordBatchIterator::new([Ok(batch)], schema);
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), STREAM)
}

/// A schema for Python: an object with `__arrow_c_schema__`.
#[pyclass(name = "ArrowSchema", module = "datafusion_ext", frozen)]
pub struct PyArrowSchema {
    pub schema: SchemaRef,
}

#[pymethods]
impl PyArrowSchema {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.schema.as_ref()).map_err(EngineError::from);
        PyCapsule::new_with_value(py, schema.into_python(py)?, SCHEMA)
    }
}

/// Consumers may hold the GIL while they ask for the next batch, and a panic must not reach them.
struct Unlocked {
    reader: ForeignReader,
}

impl Iterator for Unlocked {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = &mut self.reader;
        let mut next = || match catch_unwind(AssertUnwindSafe(|| reader.next())) {
            Ok(next) => next,
            Err(_) => Some(Err(ArrowError::ComputeError("The engine panicked".to_string()))),
        };
        match Python::try_attach(|py| py.detach(&mut next)) {
            Some(next) => next,
            None => next(),
        }
    }
}

impl RecordBatchReader for Unlocked {
    fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }
}
