//! The Python module: conversion, releasing the GIL, and mapping of errors. Logic lives elsewhere.

mod arrow;
mod callbacks;
mod engine;
mod errors;
mod explanation;
mod plan;
mod prepared;
mod query;
mod runs;
mod scan;
mod signals;

use pyo3::prelude::*;

#[pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use super::engine::PyEngine;
    #[pymodule_export]
    use super::plan::PyTableHandles;
    #[pymodule_export]
    use super::prepared::PyPrepared;
    #[pymodule_export]
    use super::query::PyQuery;
    #[pymodule_export]
    use super::scan::PyDeltaScan;
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("DATAFUSION_VERSION", datafusion::DATAFUSION_VERSION)
    }
}
