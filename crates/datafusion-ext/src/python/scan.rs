use std::any::Any;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatchReader;
use datafusion::catalog::TableProvider;
use datafusion_ffi::proto::logical_extension_codec::FFI_LogicalExtensionCodec;
use datafusion_ffi::table_provider::FFI_TableProvider;
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use super::arrow::{import_schema, import_stream};
use super::errors::IntoPython;
use crate::engine::{guarded, runtime};
use crate::scan::{ColumnMapping, DeltaScan, ScanInput, ScanOptions, exportable};

/// A pinned Delta snapshot that engines and `datafusion.SessionContext` objects can scan.
#[pyclass(name = "DeltaScan", module = "datafusion_ext", frozen)]
pub struct PyDeltaScan {
    pub scan: Arc<DeltaScan>,
    #[pyo3(get)]
    root: String,
}

#[pymethods]
impl PyDeltaScan {
    #[new]
    #[pyo3(signature = (
        root, schema, files, *, partition_columns = Vec::new(), column_mapping = "none", storage_options = None,
        version = 0, file_column = None, row_index_column = None, view_types = None,
        wrap_partition_values = false, pushdown = None, only = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        root: String,
        schema: &Bound<'_, PyAny>,
        files: &Bound<'_, PyAny>,
        partition_columns: Vec<String>,
        column_mapping: &str,
        storage_options: Option<BTreeMap<String, String>>,
        version: i64,
        file_column: Option<String>,
        row_index_column: Option<String>,
        view_types: Option<bool>,
        wrap_partition_values: bool,
        pushdown: Option<bool>,
        only: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let options = ScanOptions {
            file_column,
            row_index_column,
            view_types,
            wrap_partition_values,
            pushdown,
            files: only,
        };
        let py = schema.py();
        let schema = import_schema(schema)?;
        let reader = import_stream(files)?;
        let storage_options = storage_options.unwrap_or_default();
        let column_mapping = ColumnMapping::parse(column_mapping).into_python(py)?;
        let build = || -> crate::error::Result<DeltaScan> {
            let files_schema = reader.schema();
            let batches = reader.collect::<Result<Vec<_>, _>>()?;
            DeltaScan::try_new(&ScanInput {
                root: &root,
                version,
                schema,
                files: &batches,
                files_schema,
                partition_columns: &partition_columns,
                column_mapping,
                storage_options: &storage_options,
                options,
            })
        };
        let scan = py.detach(|| guarded(build)).into_python(py)?;
        Ok(Self { scan: Arc::new(scan), root })
    }

    #[getter]
    fn num_files(&self) -> usize {
        self.scan.num_files()
    }

    #[getter]
    fn num_rows(&self) -> Option<usize> {
        self.scan.num_rows()
    }

    #[getter]
    fn version(&self) -> i64 {
        self.scan.version()
    }

    fn __eq__(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.scan, &other.scan)
    }

    fn __hash__(&self) -> usize {
        Arc::as_ptr(&self.scan) as usize
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.scan)
    }

    /// Export to a context of the `datafusion` package.
    fn __datafusion_table_provider__<'py>(
        &self,
        session: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let py = session.py();
        let codec = logical_codec(session)?;
        let handle = runtime().into_python(py)?.handle().clone();
        let provider = exportable(Arc::clone(&self.scan));
        let exported = FFI_TableProvider::new_with_ffi_codec(provider, true, Some(handle), codec);
        PyCapsule::new_with_value(py, exported, c"datafusion_table_provider")
    }
}

impl PyDeltaScan {
    /// The scan that a table is, if it is one.
    pub fn from_table(table: Arc<dyn TableProvider>) -> Option<Self> {
        let scan = (table as Arc<dyn Any + Send + Sync>).downcast::<DeltaScan>().ok()?;
        Some(Self { root: scan.location().root().to_string(), scan })
    }
}

/// The context's codec, through which filters reach a table of another library.
fn logical_codec(session: &Bound<'_, PyAny>) -> PyResult<FFI_LogicalExtensionCodec> {
    let name = c"datafusion_logical_extension_codec";
    let getter = "__datafusion_logical_extension_codec__";
    let capsule = match session.hasattr(getter)? {
        true => session.call_method0(getter)?,
        false => session.clone(),
    };
    let capsule = capsule.cast_into::<PyCapsule>()?;
    let pointer: NonNull<FFI_LogicalExtensionCodec> = capsule.pointer_checked(Some(name))?.cast();
    // SAFETY: the capsule's name says what it points to, and it lives to the end of this function.
    let codec = unsafe { pointer.as_ref() };
    // SAFETY: as above; every version of the struct has this function.
    let found = unsafe { (codec.version)() };
    let expected = datafusion_ffi::version();
    if found != expected {
        return Err(PyImportError::new_err(format!(
            "This context is of DataFusion {found}, and datafusion-ext is built for {expected}. \
             Install a datafusion package of major version {expected}"
        )));
    }
    Ok(codec.clone())
}
