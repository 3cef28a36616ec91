//! Functions of the caller, called on threads of the engine.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use super::arrow::{export_batch, export_reader, import_stream};
use super::errors::from_python;
use super::scan::PyDeltaScan;
use crate::engine::{Call, ForeignReader, Made, Opener, ScanView, TableMaker, Writer};
use crate::error::{Code, EngineError, Result};

/// Call a function for a stream.
pub fn opener(open: Py<PyAny>) -> Opener {
    Arc::new(move || {
        Python::attach(|py| {
            let opened = open.bind(py).call0().and_then(|stream| import_stream(&stream));
            opened.map_err(|raised| from_python(py, raised))
        })
    })
}

/// Call a function with a stream, and whether its rows replace all others.
pub fn writer(write: Py<PyAny>) -> Writer {
    Arc::new(move |reader, overwrite| {
        Python::attach(|py| {
            let rows = PyRows(Rows::Streamed(Mutex::new(Some(reader))));
            let written = write.bind(py).call1((rows, overwrite));
            written.map(drop).map_err(|raised| from_python(py, raised))
        })
    })
}

/// Call a function with rows for one column.
pub fn call(function: Py<PyAny>) -> Call {
    Arc::new(move |rows| {
        Python::attach(|py| {
            let returned = function.bind(py).call1((PyRows(Rows::InMemory(rows)),));
            let column = returned.and_then(|returned| import_stream(&returned));
            let column = column.map_err(|raised| from_python(py, raised))?;
            py.detach(|| one_column(column))
        })
    })
}

fn one_column(reader: ForeignReader) -> Result<ArrayRef> {
    let schema = reader.schema();
    let batches = reader.collect::<std::result::Result<Vec<_>, _>>()?;
    let rows = concat_batches(&schema, &batches)?;
    match rows.columns() {
        [column] => Ok(Arc::clone(column)),
        _ => Err(EngineError::new(Code::Callback, "A function must return one column")),
    }
}

/// Call a function for a table.
pub fn table_maker(make: Py<PyAny>) -> TableMaker {
    Arc::new(move |arguments| {
        Python::attach(|py| {
            let made = arguments_to_python(py, &arguments)
                .and_then(|arguments| make.bind(py).call1(arguments))
                .and_then(|made| made_table(&made));
            made.map_err(|raised| from_python(py, raised))
        })
    })
}

fn arguments_to_python<'py>(py: Python<'py>, arguments: &[ScalarValue]) -> PyResult<Bound<'py, PyTuple>> {
    let converted = arguments.iter().map(|argument| {
        if argument.is_null() {
            return Ok(py.None().into_bound(py));
        }
        match (argument.try_as_str(), argument.cast_to(&DataType::Int64)) {
            (Some(Some(text)), _) => Ok(text.into_pyobject(py)?.into_any()),
            (_, Ok(ScalarValue::Int64(Some(number)))) if argument.data_type().is_integer() => {
                Ok(number.into_pyobject(py)?.into_any())
            }
            _ => Err(PyTypeError::new_err(format!("{argument} is neither a text nor a whole number"))),
        }
    });
    PyTuple::new(py, converted.collect::<PyResult<Vec<_>>>()?)
}

fn made_table(made: &Bound<'_, PyAny>) -> PyResult<Made> {
    match made.extract::<(PyRef<'_, PyDeltaScan>, Vec<String>, Option<String>)>() {
        Ok((scan, columns, filter)) => {
            Ok(Made::View(ScanView { scan: Arc::clone(&scan.scan), columns, filter }))
        }
        Err(_) => import_stream(made).map(Made::Rows),
    }
}

/// Rows for a function of the caller.
#[pyclass(name = "Rows", module = "datafusion_ext", frozen)]
struct PyRows(Rows);

enum Rows {
    /// They are read once.
    Streamed(Mutex<Option<ForeignReader>>),
    InMemory(RecordBatch),
}

#[pymethods]
impl PyRows {
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface lets a producer ignore the request: the consumer then casts for itself.
        drop(requested_schema);
        match &self.0 {
            Rows::InMemory(batch) => export_batch(py, batch.clone()),
            Rows::Streamed(reader) => match reader.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(reader) => export_reader(py, reader),
                None => Err(PyValueError::new_err("These rows have been read")),
            },
        }
    }
}
