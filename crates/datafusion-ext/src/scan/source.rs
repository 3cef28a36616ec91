//! Parquet sources as Delta needs them.
//!
//! Parquet statistics leave NaN out, while the engine orders NaN above all numbers: a row group whose
//! recorded maximum is 3 may well hold a row that satisfies `x > 5`. Filters that such statistics can't
//! answer are kept away from the Parquet reader and evaluated on rows alone.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetAccessPlan;
use datafusion::datasource::physical_plan::{
    FileOpener, FileScanConfig, FileSource, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, IsNullExpr, Literal};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::{MorselPlan, MorselPlanner, Morselizer};
use object_store::ObjectStore;
use roaring::RoaringTreemap;

use super::deletion::{DeletionVector, access_plan};
use super::live::{LiveRows, WholeFiles};
use super::mapping::ColumnMapping;
use crate::error::{Code, EngineError};

/// A Parquet source that reads files as rows of a Delta table.
///
/// It takes only filters whose answer does not depend on NaN being in the statistics, and leaves out the rows
/// that a file's [`DeletionVector`], attached as an extension, deletes; likewise all but its [`WantedRows`].
pub struct DeltaSource {
    inner: Arc<dyn FileSource>,
    /// The same before columns are chosen, where files may have deletion vectors.
    whole: Option<Arc<dyn FileSource>>,
    readers: Arc<dyn ParquetFileReaderFactory>,
    /// Whether filters are evaluated while rows are decoded; the session says if this does not.
    pushdown: Option<bool>,
    /// How the scan's adapters find columns.
    mapping: ColumnMapping,
    /// How many files the table has, where that is known: plan bytes don't tell.
    table_files: Option<usize>,
    /// What other processes know the store by, where it has another name here.
    shared_store: Option<ObjectStoreUrl>,
}

impl DeltaSource {
    /// Read through `source`, whose files `readers` open.
    pub fn new(
        source: ParquetSource,
        readers: Arc<dyn ParquetFileReaderFactory>,
        mapping: ColumnMapping,
        pushdown: Option<bool>,
    ) -> Self {
        let inner = source.with_parquet_file_reader_factory(Arc::clone(&readers));
        let inner: Arc<dyn FileSource> = Arc::new(inner);
        Self { inner, whole: None, readers, mapping, pushdown, table_files: None, shared_store: None }
    }

    pub fn mapping(&self) -> ColumnMapping {
        self.mapping
    }

    pub fn pushdown(&self) -> Option<bool> {
        self.pushdown
    }

    /// The source that does the reading.
    pub fn inner(&self) -> &Arc<dyn FileSource> {
        &self.inner
    }

    /// Note how many files the table has.
    pub fn of_files(mut self, files: usize) -> Self {
        self.table_files = Some(files);
        self
    }

    /// How many files the table has, whether they are read or not.
    pub fn table_files(&self) -> Option<usize> {
        self.table_files
    }

    /// Note what other processes know the store by.
    pub fn in_store(mut self, name: ObjectStoreUrl) -> Self {
        self.shared_store = Some(name);
        self
    }

    pub fn shared_store(&self) -> Option<&ObjectStoreUrl> {
        self.shared_store.as_ref()
    }

    /// Be ready for files with deletion vectors. Columns have not been chosen yet.
    pub fn with_vectors(mut self) -> Self {
        self.whole = Some(Arc::clone(&self.inner));
        self
    }

    fn around(&self, inner: Arc<dyn FileSource>) -> Arc<dyn FileSource> {
        self.around_both(inner, self.whole.clone())
    }

    fn around_both(
        &self,
        inner: Arc<dyn FileSource>,
        whole: Option<Arc<dyn FileSource>>,
    ) -> Arc<dyn FileSource> {
        let (readers, shared_store) = (Arc::clone(&self.readers), self.shared_store.clone());
        Arc::new(Self { inner, whole, readers, shared_store, ..*self })
    }

    fn push_filters(
        &self,
        source: &Arc<dyn FileSource>,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        match self.pushdown {
            Some(pushdown) if pushdown != config.execution.parquet.pushdown_filters => {
                let mut own = config.clone();
                own.execution.parquet.pushdown_filters = pushdown;
                source.try_pushdown_filters(filters, &own)
            }
            _ => source.try_pushdown_filters(filters, config),
        }
    }
}

impl FileSource for DeltaSource {
    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let schema = self.table_schema().table_schema();
        let safe: Vec<bool> = filters.iter().map(|filter| is_safe(filter, schema)).collect();
        let offered = filters.into_iter().zip(&safe).filter_map(|(filter, safe)| safe.then_some(filter));
        let offered: Vec<_> = offered.collect();
        let whole = match &self.whole {
            Some(whole) => {
                let filtered = self.push_filters(whole, offered.clone(), config)?.updated_node;
                Some(filtered.unwrap_or_else(|| Arc::clone(whole)))
            }
            None => None,
        };
        let result = self.push_filters(&self.inner, offered, config)?;
        let mut answers = result.filters.into_iter();
        Ok(FilterPushdownPropagation {
            filters: safe
                .iter()
                .map(|safe| match safe {
                    true => answers.next().unwrap_or(PushedDown::No),
                    false => PushedDown::No,
                })
                .collect(),
            updated_node: result.updated_node.map(|inner| self.around_both(inner, whole)),
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
        let inner = self.inner.create_morselizer(Arc::clone(&object_store), base_config, partition)?;
        let whole = match (&self.whole, self.inner.projection()) {
            (Some(whole), Some(columns)) => {
                let store = Arc::clone(&object_store);
                WholeFiles::try_new(whole.as_ref(), columns, self.mapping, store, base_config, partition)?
            }
            _ => None,
        };
        Ok(Box::new(DeltaMorselizer {
            inner: Arc::from(inner),
            opener: Arc::new(VectorReader {
                whole,
                store: object_store,
                readers: Arc::clone(&self.readers),
                metrics: self.metrics().clone(),
                partition,
            }),
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let whole = self.whole.as_ref().map(|whole| whole.with_batch_size(batch_size));
        self.around_both(self.inner.with_batch_size(batch_size), whole)
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
        let whole = match &self.whole {
            Some(whole) => match whole.try_pushdown_sort(order, equivalences)? {
                SortOrderPushdownResult::Exact { inner } | SortOrderPushdownResult::Inexact { inner } => {
                    Some(inner)
                }
                SortOrderPushdownResult::Unsupported => Some(Arc::clone(whole)),
            },
            None => None,
        };
        Ok(match self.inner.try_pushdown_sort(order, equivalences)? {
            SortOrderPushdownResult::Exact { inner } => {
                SortOrderPushdownResult::Exact { inner: self.around_both(inner, whole) }
            }
            SortOrderPushdownResult::Inexact { inner } => {
                SortOrderPushdownResult::Inexact { inner: self.around_both(inner, whole) }
            }
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        Ok(self.inner.try_pushdown_projection(projection)?.map(|inner| self.around(inner)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }
}

/// Opens files through the inner source, those with a deletion vector with the rows that it leaves.
#[derive(Debug)]
struct DeltaMorselizer {
    inner: Arc<dyn Morselizer>,
    opener: Arc<VectorReader>,
}

impl Morselizer for DeltaMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let (deleted, wanted) = (file.extensions.get_arc(), file.extensions.get_arc());
        match deleted.is_none() && wanted.is_none() {
            true => self.inner.plan_file(file),
            false => Ok(Box::new(VectorPlanner {
                file,
                deleted,
                wanted,
                opener: Arc::clone(&self.opener),
                inner: Arc::clone(&self.inner),
            })),
        }
    }
}

/// The only rows that are wanted of a file, attached as an extension: those that a vector names.
#[derive(Debug)]
pub struct WantedRows(pub Arc<DeletionVector>);

/// What reading a deletion vector and the layout of its file takes.
#[derive(Debug)]
struct VectorReader {
    /// How files are read whole, where the scan allows that.
    whole: Option<WholeFiles>,
    store: Arc<dyn ObjectStore>,
    readers: Arc<dyn ParquetFileReaderFactory>,
    metrics: ExecutionPlanMetricsSet,
    partition: usize,
}

/// How the rows are read that are left of a file.
enum Left {
    /// The reader leaves out the others.
    Selected(ParquetAccessPlan),
    /// The row groups are decoded, and then lose the others.
    Decoded(ParquetAccessPlan, Arc<LiveRows>),
}

impl VectorReader {
    async fn left(
        &self,
        file: &PartitionedFile,
        deleted: Option<&DeletionVector>,
        wanted: Option<&WantedRows>,
    ) -> Result<Left> {
        let hint = file.metadata_size_hint;
        let mut reader = self.readers.create_reader(self.partition, file.clone(), hint, &self.metrics)?;
        let footer = reader.get_metadata(None).await?;
        let group_rows = footer.row_groups().iter().map(|group| group.num_rows().unsigned_abs());
        let rows = group_rows.clone().sum::<u64>();
        let store = self.store.as_ref();
        let whole = self.whole.as_ref().filter(|whole| whole.fits(&footer)).is_some();
        if let (None, Some(deleted)) = (&wanted, &deleted) {
            if whole {
                let live = deleted.live(store, rows as usize).await?;
                if live.are_scattered() {
                    return Ok(Left::Decoded(live.groups(group_rows), live));
                }
            }
            return Ok(Left::Selected(deleted.left(store, group_rows).await?));
        }
        let mut left_out = RoaringTreemap::new();
        if let Some(WantedRows(wanted)) = wanted {
            left_out.insert_range(0..rows);
            left_out -= wanted.rows(store).await?.as_ref();
        }
        if let Some(deleted) = deleted {
            left_out |= deleted.rows(store).await?.as_ref();
        }
        Ok(Left::Selected(access_plan(&left_out, group_rows)?))
    }

    fn plan_file(
        &self,
        mut file: PartitionedFile,
        left: Left,
        selected: &dyn Morselizer,
    ) -> Result<Box<dyn MorselPlanner>> {
        match left {
            Left::Selected(plan) => {
                file.extensions.insert(plan);
                selected.plan_file(file)
            }
            Left::Decoded(groups, live) => {
                let missing = || EngineError::new(Code::Internal, "The scan can't read whole files");
                file.extensions.insert(groups);
                self.whole.as_ref().ok_or_else(missing)?.plan_file(file, live)
            }
        }
    }
}

/// The step before a file with a deletion vector is opened.
#[derive(Debug)]
struct VectorPlanner {
    file: PartitionedFile,
    deleted: Option<Arc<DeletionVector>>,
    wanted: Option<Arc<WantedRows>>,
    opener: Arc<VectorReader>,
    inner: Arc<dyn Morselizer>,
}

impl MorselPlanner for VectorPlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { file, deleted, wanted, opener, inner } = *self;
        Ok(Some(MorselPlan::new().with_pending_planner(async move {
            let left = opener.left(&file, deleted.as_deref(), wanted.as_deref()).await?;
            opener.plan_file(file, left, inner.as_ref())
        })))
    }
}

fn is_safe(filter: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let columns = collect_columns(filter);
    let types = || columns.iter().map(|column| schema.field_with_name(column.name()).map(Field::data_type));
    // The reader promises to evaluate filters over nested columns, and skips those that a file's own nested
    // type keeps it from evaluating.
    if types().any(|found| found.is_ok_and(DataType::is_nested)) {
        return false;
    }
    !types().any(|found| found.map_or(true, |data_type| data_type.is_floating())) || ignores_nan(filter)
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
