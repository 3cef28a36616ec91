use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::Volatility;
use pyo3::prelude::*;

use super::arrow::{PyArrowSchema, import_schema, import_stream};
use super::callbacks;
use super::errors::IntoPython;
use super::plan::PyTableHandles;
use super::prepared::PyPrepared;
use super::query::PyQuery;
use super::scan::PyDeltaScan;
use super::signals::{wait, wait_within};
use crate::engine::{
    Allowed, CacheFill, CacheLimits, CallKind, Caller, Engine, ForeignReader, Guard, Insertion, Limits,
    Routine, RunLimits, ScanView, guarded,
};
use crate::error::{Code, EngineError, Result};
use crate::scan::Alignment;

/// One DataFusion context under one set of settings.
#[pyclass(name = "Engine", module = "datafusion_ext", frozen)]
pub struct PyEngine {
    pub(super) engine: Engine,
}

#[pymethods]
impl PyEngine {
    #[new]
    #[pyo3(signature = (
        settings = None,
        *,
        memory_limit_bytes = None,
        spill_directory = None,
        spill_limit_bytes = None,
        cache_limits_bytes = None,
    ))]
    fn new(
        py: Python<'_>,
        settings: Option<BTreeMap<String, String>>,
        memory_limit_bytes: Option<usize>,
        spill_directory: Option<PathBuf>,
        spill_limit_bytes: Option<u64>,
        cache_limits_bytes: Option<BTreeMap<String, usize>>,
    ) -> PyResult<Self> {
        let caches = cache_limits(cache_limits_bytes.unwrap_or_default()).into_python(py)?;
        let limits = Limits {
            memory_bytes: memory_limit_bytes,
            spill_directory,
            spill_bytes: spill_limit_bytes,
            caches,
        };
        let engine = Engine::new(&settings.unwrap_or_default(), &limits).into_python(py)?;
        Ok(Self { engine })
    }

    #[pyo3(signature = (name, table, *, schema = None, expressions = None, writer = None, defaults = None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn register_delta(
        &self,
        py: Python<'_>,
        name: &str,
        table: &PyDeltaScan,
        schema: Option<&Bound<'_, PyAny>>,
        expressions: Option<Vec<String>>,
        writer: Option<Py<PyAny>>,
        defaults: Option<BTreeMap<String, String>>,
    ) -> PyResult<()> {
        let defaults = defaults.unwrap_or_default();
        let insertion = writer.map(|writer| Insertion { writer: callbacks::writer(writer), defaults });
        let scan = table.scan.clone();
        let Some(schema) = schema else {
            return self.engine.register_delta(name, scan, insertion).into_python(py);
        };
        let alignment =
            Alignment { schema: import_schema(schema)?, expressions: expressions.unwrap_or_default() };
        py.detach(|| self.engine.register_aligned(name, scan, &alignment, insertion)).into_python(py)
    }

    #[pyo3(signature = (name, table, columns, *, r#where = None))]
    fn register_scan_view(
        &self,
        py: Python<'_>,
        name: &str,
        table: &PyDeltaScan,
        columns: Vec<String>,
        r#where: Option<String>,
    ) -> PyResult<()> {
        let view = ScanView { scan: Arc::clone(&table.scan), columns, filter: r#where };
        self.engine.register_scan_view(name, &view).into_python(py)
    }

    fn register_table_function(&self, name: &str, make: Py<PyAny>) {
        self.engine.register_table_function(name, callbacks::table_maker(make));
    }

    #[pyo3(signature = (name, kind, call, *, arguments, returns, volatility))]
    #[expect(clippy::too_many_arguments, reason = "named arguments of a Python function")]
    fn register_function(
        &self,
        py: Python<'_>,
        name: String,
        kind: &str,
        call: Py<PyAny>,
        arguments: &Bound<'_, PyAny>,
        returns: &Bound<'_, PyAny>,
        volatility: &str,
    ) -> PyResult<()> {
        let kind = call_kind(kind).into_python(py)?;
        let volatility = volatility_of(volatility).into_python(py)?;
        let (arguments, returns) = (import_schema(arguments)?, import_schema(returns)?);
        let one = || EngineError::new(Code::Settings, "A function returns one column");
        let returns = returns.fields().first().ok_or_else(one).into_python(py)?.data_type().clone();
        let caller = Caller::new(name, arguments, returns, volatility, callbacks::call(call));
        self.engine.register_function(kind, caller);
        Ok(())
    }

    #[pyo3(signature = (name, expression, *, arguments))]
    fn register_expression(
        &self,
        py: Python<'_>,
        name: &str,
        expression: &str,
        arguments: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let arguments = import_schema(arguments)?;
        py.detach(|| guarded(|| self.engine.register_expression(name, &arguments, expression)))
            .into_python(py)
    }

    fn register_batches(&self, name: &str, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = data.py();
        let reader = import_stream(data)?;
        py.detach(|| guarded(|| self.engine.register_batches(name, reader))).into_python(py)
    }

    fn register_stream(&self, name: &str, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let reader = import_stream(data)?;
        self.engine.register_stream(name, reader).into_python(data.py())
    }

    fn register_view(&self, py: Python<'_>, name: String, query: String) -> PyResult<()> {
        let engine = self.engine.clone();
        wait(py, async move { engine.register_view(&name, &query).await })
    }

    fn deregister(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        self.engine.deregister(name).into_python(py)
    }

    fn tables(&self) -> Vec<String> {
        self.engine.tables()
    }

    fn schema(&self, py: Python<'_>, name: String) -> PyResult<PyArrowSchema> {
        let engine = self.engine.clone();
        let schema = wait(py, async move { engine.schema(&name).await })?;
        Ok(PyArrowSchema { schema })
    }

    #[pyo3(signature = (
        query,
        *,
        params = None,
        allow_ddl = false,
        allow_dml = false,
        allow_statements = false,
        max_joins = None,
        timeout_seconds = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn sql(
        &self,
        py: Python<'_>,
        query: String,
        params: Option<&Bound<'_, PyAny>>,
        allow_ddl: bool,
        allow_dml: bool,
        allow_statements: bool,
        max_joins: Option<usize>,
        timeout_seconds: Option<f64>,
    ) -> PyResult<PyQuery> {
        let parameters = parameters(py, params)?;
        let allowed =
            Allowed { ddl: allow_ddl, dml: allow_dml, statements: allow_statements, joins: max_joins };
        let engine = self.engine.clone();
        let limits = RunLimits::within(timeout_seconds);
        let planned = async move { engine.sql(&query, parameters, allowed).await };
        wait_within(py, &Guard::new(limits), planned).map(|query| PyQuery::limited(query, limits))
    }

    #[pyo3(signature = (
        plan,
        tables,
        *,
        allow_ddl = false,
        allow_dml = false,
        allow_statements = false,
        max_joins = None,
        timeout_seconds = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn plan(
        &self,
        py: Python<'_>,
        plan: Vec<u8>,
        tables: &PyTableHandles,
        allow_ddl: bool,
        allow_dml: bool,
        allow_statements: bool,
        max_joins: Option<usize>,
        timeout_seconds: Option<f64>,
    ) -> PyResult<PyQuery> {
        let allowed =
            Allowed { ddl: allow_ddl, dml: allow_dml, statements: allow_statements, joins: max_joins };
        let (engine, tables) = (self.engine.clone(), Arc::clone(&tables.tables));
        let limits = RunLimits::within(timeout_seconds);
        let planned = async move { engine.plan(&plan, &tables, allowed) };
        wait_within(py, &Guard::new(limits), planned).map(|query| PyQuery::limited(query, limits))
    }

    #[pyo3(signature = (root, storage_options = None))]
    fn register_store(
        &self,
        py: Python<'_>,
        root: &str,
        storage_options: Option<BTreeMap<String, String>>,
    ) -> PyResult<()> {
        self.engine.register_store(root, &storage_options.unwrap_or_default()).into_python(py)
    }

    #[pyo3(signature = (data, *, allow_dml = false))]
    fn query_from_bytes(&self, py: Python<'_>, data: Vec<u8>, allow_dml: bool) -> PyResult<PyQuery> {
        let allowed = Allowed { dml: allow_dml, ..Allowed::default() };
        let engine = self.engine.clone();
        wait(py, async move { engine.query_from_bytes(&data, allowed) }).map(PyQuery::from)
    }

    fn read(&self, schema: &Bound<'_, PyAny>, opener: Py<PyAny>) -> PyResult<PyQuery> {
        let py = schema.py();
        let schema = import_schema(schema)?;
        self.engine.read(schema, callbacks::opener(opener)).into_python(py).map(PyQuery::from)
    }

    #[pyo3(signature = (query, *, allow_dml = false, max_joins = None, timeout_seconds = None))]
    fn prepare(
        &self,
        py: Python<'_>,
        query: String,
        allow_dml: bool,
        max_joins: Option<usize>,
        timeout_seconds: Option<f64>,
    ) -> PyResult<PyPrepared> {
        let allowed = Allowed { dml: allow_dml, joins: max_joins, ..Allowed::default() };
        let engine = self.engine.clone();
        let guard = Guard::new(RunLimits::within(timeout_seconds));
        wait_within(py, &guard, async move { engine.prepare(&query, allowed).await }).map(PyPrepared::from)
    }

    fn functions(&self) -> Vec<String> {
        self.engine.functions()
    }

    fn routines(&self) -> Vec<PyRoutine> {
        let told = |routine: Routine| PyRoutine {
            name: routine.name,
            kind: routine.kind,
            volatility: routine.volatility,
            built_in: routine.built_in,
        };
        self.engine.routines().into_iter().map(told).collect()
    }

    fn remove_functions(&self, py: Python<'_>, names: Vec<String>) -> PyResult<()> {
        self.engine.remove_functions(&names).into_python(py)
    }

    fn caches(&self) -> BTreeMap<&'static str, BTreeMap<&'static str, usize>> {
        let figures = |fill: CacheFill| {
            BTreeMap::from([
                ("limit_bytes", fill.limit_bytes),
                ("entries", fill.entries),
                ("bytes", fill.bytes),
                ("hits", fill.hits),
            ])
        };
        self.engine.caches().into_iter().map(|fill| (fill.name, figures(fill))).collect()
    }

    fn settings(&self) -> BTreeMap<String, String> {
        self.engine.settings()
    }
}

fn call_kind(name: &str) -> Result<CallKind> {
    match name {
        "scalar" => Ok(CallKind::Scalar),
        "aggregate" => Ok(CallKind::Aggregate),
        "window" => Ok(CallKind::Window),
        _ => Err(EngineError::new(Code::Settings, format!("No kind of function {name}")).about(name)),
    }
}

fn volatility_of(name: &str) -> Result<Volatility> {
    match name {
        "immutable" => Ok(Volatility::Immutable),
        "stable" => Ok(Volatility::Stable),
        "volatile" => Ok(Volatility::Volatile),
        _ => Err(EngineError::new(Code::Settings, format!("No volatility {name}")).about(name)),
    }
}

/// A function, as a dictionary.
#[derive(IntoPyObject)]
struct PyRoutine {
    name: String,
    kind: &'static str,
    volatility: Option<&'static str>,
    built_in: bool,
}

fn cache_limits(by_name: BTreeMap<String, usize>) -> Result<CacheLimits> {
    let mut limits = CacheLimits::default();
    for (name, bytes) in by_name {
        let limit = match name.as_str() {
            "file_metadata" => &mut limits.file_metadata,
            "file_statistics" => &mut limits.file_statistics,
            "list_files" => &mut limits.list_files,
            _ => return Err(EngineError::new(Code::Settings, format!("No cache {name}")).about(&name)),
        };
        *limit = Some(bytes);
    }
    Ok(limits)
}

/// Read the values of parameters.
pub fn parameters(py: Python<'_>, params: Option<&Bound<'_, PyAny>>) -> PyResult<Option<ParamValues>> {
    let read = |params| {
        let reader = import_stream(params)?;
        guarded(|| parameter_values(reader)).into_python(py)
    };
    params.map(read).transpose()
}

/// Parameters arrive as one row with a column for each; names that are numbers are positions.
fn parameter_values(reader: ForeignReader) -> Result<ParamValues> {
    let schema = reader.schema();
    let batches = reader.collect::<std::result::Result<Vec<_>, _>>()?;
    let row = datafusion::arrow::compute::concat_batches(&schema, &batches)?;
    if row.num_rows() != 1 {
        let message = format!("Parameters must be one row, and these are {}", row.num_rows());
        return Err(EngineError::new(Code::ScanInput, message));
    }
    let values = schema.fields().iter().zip(row.columns()).map(|(field, column)| {
        let value = ScalarValue::try_from_array(column, 0)?;
        Ok((field.name().clone(), ScalarAndMetadata::from(value)))
    });
    Ok(ParamValues::Map(values.collect::<Result<_>>()?))
}
