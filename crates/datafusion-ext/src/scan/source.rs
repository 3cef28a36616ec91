//! Parquet sources of tables with floating-point columns.
//!
//! Parquet statistics leave NaN out, while the engine orders NaN above all numbers: a row group whose
//! recorded maximum is 3 may well hold a row that satisfies `x > 5`. Filters that such statistics can't
//! answer are kept away from the Parquet reader and evaluated on rows alone.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, IsNullExpr, Literal};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::Morselizer;
use object_store::ObjectStore;

/// Wrap `source` if the table has floating-point columns.
pub fn nan_safe(source: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
    let fields = source.table_schema().table_schema().fields();
    match fields.iter().any(|field| has_floats(field.data_type())) {
        true => Arc::new(NanSafeSource { inner: source }),
        false => source,
    }
}

/// A Parquet source that takes only filters whose answer does not depend on NaN being in the statistics.
struct NanSafeSource {
    inner: Arc<dyn FileSource>,
}

impl FileSource for NanSafeSource {
    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let schema = self.table_schema().table_schema();
        let safe: Vec<bool> = filters.iter().map(|filter| is_safe(filter, schema)).collect();
        let offered = filters.into_iter().zip(&safe).filter_map(|(filter, safe)| safe.then_some(filter));
        let result = self.inner.try_pushdown_filters(offered.collect(), config)?;
        let mut answers = result.filters.into_iter();
        Ok(FilterPushdownPropagation {
            filters: safe
                .iter()
                .map(|safe| match safe {
                    true => answers.next().unwrap_or(PushedDown::No),
                    false => PushedDown::No,
                })
                .collect(),
            updated_node: result.updated_node.map(nan_safe),
        })
    }

    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.inner.create_file_opener(object_store, base_config, partition)
    }

    fn create_morselizer(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        self.inner.create_morselizer(object_store, base_config, partition)
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        nan_safe(self.inner.with_batch_size(batch_size))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, format: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(format, f)
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        equivalences: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        Ok(match self.inner.try_pushdown_sort(order, equivalences)? {
            SortOrderPushdownResult::Exact { inner } => {
                SortOrderPushdownResult::Exact { inner: nan_safe(inner) }
            }
            SortOrderPushdownResult::Inexact { inner } => {
                SortOrderPushdownResult::Inexact { inner: nan_safe(inner) }
            }
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_projection(projection)?.map(nan_safe))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}

fn is_safe(filter: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let is_float = |column: &Column| match schema.field_with_name(column.name()) {
        Ok(field) => has_floats(field.data_type()),
        Err(_) => true,
    };
    !collect_columns(filter).iter().any(is_float) || ignores_nan(filter)
}

/// Whether the filter is a comparison that NaN never satisfies, or a test for NULL.
fn ignores_nan(filter: &Arc<dyn PhysicalExpr>) -> bool {
    if let Some(test) = filter.downcast_ref::<IsNullExpr>() {
        return is_column(test.arg());
    }
    if let Some(test) = filter.downcast_ref::<IsNotNullExpr>() {
        return is_column(test.arg());
    }
    let Some(comparison) = filter.downcast_ref::<BinaryExpr>() else {
        return false;
    };
    let (left, right) = (comparison.left(), comparison.right());
    match comparison.op() {
        Operator::Lt | Operator::LtEq => is_column(left) && is_number(right),
        Operator::Gt | Operator::GtEq => is_number(left) && is_column(right),
        Operator::Eq => (is_column(left) && is_number(right)) || (is_number(left) && is_column(right)),
        _ => false,
    }
}

fn is_column(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<Column>().is_some()
}

fn is_number(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let value = expr.downcast_ref::<Literal>().map(Literal::value);
    match value.and_then(|value| value.cast_to(&DataType::Float64).ok()) {
        Some(ScalarValue::Float64(Some(number))) => !number.is_nan(),
        _ => false,
    }
}

fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        other => other.is_floating(),
    }
}
