//! A Delta snapshot as a table: planned as the engine's own Parquet scan.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::{Column, lit};
use datafusion::physical_expr::{Partitioning, PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;

use super::adapter::DeltaAdapterFactory;
use super::files::FileList;
use super::footers::footers;
use super::index::FileIndex;
use super::layout::Layout;
use super::location::Location;
use super::mapping::ColumnMapping;
use super::options::ScanOptions;
use super::ordered::{FileOrder, OrderedColumn, has_one_order};
use super::source::{DeltaSource, WantedRows};
use crate::engine::nested::hides_values;
use crate::error::{Code, EngineError, Result};

/// Rows of one batch without columns, and how many rows such batches are made for.
const ROWS_ALONE: usize = 1 << 16;
const MOST_ROWS_ALONE: usize = 1 << 34;

/// A pinned snapshot of a Delta table that can be scanned.
pub struct DeltaScan {
    location: Location,
    version: i64,
    mapping: ColumnMapping,
    layout: Layout,
    pushdown: Option<bool>,
    index: FileIndex,
    partitioned_files: Vec<OnceLock<PartitionedFile>>,
    every_file: BooleanArray,
    all_statistics: OnceLock<Statistics>,
    /// All files in groups, by the number of groups.
    all_groups: Mutex<HashMap<usize, Vec<FileGroup>>>,
}

/// What a snapshot is handed over as.
pub struct ScanInput<'a> {
    pub root: &'a str,
    pub version: i64,
    pub schema: SchemaRef,
    pub files: &'a [RecordBatch],
    pub files_schema: SchemaRef,
    pub partition_columns: &'a [String],
    pub column_mapping: ColumnMapping,
    pub storage_options: &'a BTreeMap<String, String>,
    pub options: ScanOptions,
}

impl DeltaScan {
    pub fn try_new(input: &ScanInput<'_>) -> Result<Self> {
        let mapping = input.column_mapping;
        let layout = Layout::try_new(&input.schema, input.partition_columns, mapping, &input.options)?;
        let location = Location::parse(input.root, input.storage_options)?;
        let mut files = FileList::try_new(&input.files_schema, input.files, &location)?;
        if let Some(wanted) = &input.options.files {
            files = files.only(wanted, &location)?;
        }
        files.check_places(&location)?;
        let index = FileIndex::try_new(files, &layout.data, &layout.partitions, layout.file_column.as_ref())?;
        let num_files = index.files().len();
        Ok(Self {
            location,
            version: input.version,
            mapping,
            layout,
            pushdown: input.options.pushdown,
            index,
            partitioned_files: (0..num_files).map(|_| OnceLock::new()).collect(),
            every_file: BooleanArray::new(BooleanBuffer::new_set(num_files), None),
            all_statistics: OnceLock::new(),
            all_groups: Mutex::default(),
        })
    }

    pub fn location(&self) -> &Location {
        &self.location
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn version(&self) -> i64 {
        self.version
    }

    pub fn num_files(&self) -> usize {
        self.index.files().len()
    }

    /// The number of rows, if every file's is known.
    pub fn num_rows(&self) -> Option<usize> {
        let statistics = self.statistics_of(&self.every_file);
        statistics.num_rows.get_value().copied().filter(|_| statistics.num_rows.is_exact() == Some(true))
    }

    fn statistics_of(&self, kept: &BooleanArray) -> Statistics {
        match kept.true_count() == self.num_files() {
            true => self.all_statistics.get_or_init(|| self.widened(self.index.statistics(kept))).clone(),
            false => self.widened(self.index.statistics(kept)),
        }
    }

    /// Of the row index, of which the log says nothing, nothing is known.
    fn widened(&self, mut statistics: Statistics) -> Statistics {
        if self.layout.has_row_index() {
            statistics.column_statistics.push(ColumnStatistics::new_unknown());
        }
        statistics
    }

    /// All rows of the kept files, as far as queries that want no column can tell.
    fn rows_alone(&self, kept: &BooleanArray) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        match self.index.rows(kept) {
            Precision::Exact(rows) if rows <= MOST_ROWS_ALONE => {
                let schema = Arc::new(Schema::empty());
                let batches = (0..rows).step_by(ROWS_ALONE).map(|start| {
                    let count = RecordBatchOptions::new().with_row_count(Some(ROWS_ALONE.min(rows - start)));
                    RecordBatch::try_new_with_options(Arc::clone(&schema), vec![], &count)
                });
                let batches = batches.collect::<Result<Vec<_>, _>>()?;
                Ok(Some(MemorySourceConfig::try_new_exec(&[batches], schema, None)?))
            }
            _ => Ok(None),
        }
    }

    /// Choose the files that may hold rows which satisfy all filters.
    fn select_files(
        &self,
        state: &dyn Session,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<BooleanArray> {
        let mut kept = self.every_file.clone();
        let (partition, data): (Vec<Expr>, Vec<Expr>) =
            filters.iter().cloned().partition(|filter| self.is_partition_filter(filter));
        if let Some(predicate) = physical_conjunction(state, partition, &self.index.partition_schema())? {
            kept = self.index.match_partitions(&predicate, &kept)?;
        }
        let only_partitions = data.is_empty();
        if let Some(predicate) = physical_conjunction(state, data, self.index.schema())? {
            kept = self.index.prune(&predicate, &kept)?;
        }
        match limit {
            Some(limit) if only_partitions => Ok(self.enough_files(&kept, limit)),
            _ => Ok(kept),
        }
    }

    /// The first kept files that together have at least `limit` rows.
    fn enough_files(&self, kept: &BooleanArray, limit: usize) -> BooleanArray {
        let mut rows = 0;
        let enough = kept.iter().enumerate().map(|(file, kept)| {
            let take = kept == Some(true) && rows < limit;
            if take {
                rows += self.index.files().num_rows(file).unwrap_or(0);
            }
            Some(take)
        });
        enough.collect()
    }

    /// Whether a filter can be told from partition values alone; so can a constant, to which the optimizer
    /// may simplify such a filter after it was taken.
    fn is_partition_filter(&self, filter: &Expr) -> bool {
        let partitions = self.index.partition_schema();
        let columns = filter.column_refs();
        (!columns.is_empty() || matches!(filter, Expr::Literal(..)))
            && !filter.is_volatile()
            && columns.iter().all(|column| partitions.field_with_name(column.name()).is_ok())
    }

    fn reads_row_index(&self, filter: &Expr) -> bool {
        filter.column_refs().iter().any(|column| self.layout.is_row_index(column.name()))
    }

    fn partitioned_file(&self, file: usize) -> Result<PartitionedFile> {
        if let Some(known) = self.partitioned_files[file].get() {
            return Ok(known.clone());
        }
        let made = self.make_partitioned_file(file)?;
        Ok(self.partitioned_files[file].get_or_init(|| made).clone())
    }

    fn make_partitioned_file(&self, file: usize) -> Result<PartitionedFile> {
        let files = self.index.files();
        let meta = ObjectMeta {
            location: self.location.file(files.path(file))?,
            last_modified: DateTime::<Utc>::from_timestamp_millis(files.modified_millis(file))
                .unwrap_or_default(),
            size: files.size_bytes(file),
            e_tag: None,
            version: None,
        };
        let mut made = PartitionedFile::new_from_meta(meta);
        made.partition_values = self.index.partition_values(file)?;
        made.statistics = Some(Arc::new(self.widened(self.index.file_statistics(file))));
        if let Some(vector) = files.vector(file) {
            made.extensions.insert_arc(Arc::clone(vector));
        }
        if let Some(wanted) = files.wanted(file) {
            made.extensions.insert(WantedRows(Arc::clone(wanted)));
        }
        let order = self.order(file);
        if !order.0.is_empty() {
            made.extensions.insert(order);
        }
        Ok(made)
    }

    /// The order of the rows of a file, as far as it is known and means the same to everyone.
    fn order(&self, file: usize) -> FileOrder {
        let data = &self.layout.data;
        let columns = self.index.files().sorted_by(file).into_iter().map_while(|name| {
            let column = data.iter().position(|field| *field.name() == name)?;
            let options = SortOptions { descending: false, nulls_first: false };
            has_one_order(data[column].data_type()).then_some(OrderedColumn { column, options })
        });
        FileOrder(columns.collect())
    }

    /// The session's Parquet options, its cache of footers, and INT96 read as what Delta's timestamps are:
    /// microseconds in UTC. As nanoseconds, years beyond 2262 would overflow.
    fn source(&self, state: &dyn Session) -> Result<Arc<dyn FileSource>> {
        let mut options = state.table_options().parquet.clone();
        options.global.coerce_int96 = Some("us".to_string());
        options.global.coerce_int96_tz = Some("UTC".to_string());
        let environment = state.runtime_env();
        self.location.register(environment);
        let store = environment.object_store(self.location.store_url())?;
        let footers = footers(environment, self.location.store_url());
        let schema = self.layout.scan_schema.clone();
        let hides = schema.file_schema().fields().iter().any(|field| hides_values(field.data_type()));
        let source = ParquetSource::new(schema).with_table_parquet_options(options);
        let source = match hides {
            // Files of the table's very types are adapted only where there is a predicate.
            true => source.with_predicate(lit(true)),
            false => source,
        };
        let readers = Arc::new(CachedParquetFileReaderFactory::new(store, footers));
        let source = DeltaSource::new(source, readers, self.mapping, self.pushdown);
        let source = source.in_store(self.location.shared_url().clone()).of_files(self.num_files());
        Ok(Arc::new(if self.index.files().have_vectors() { source.with_vectors() } else { source }))
    }

    /// The source with the wanted columns of the table, under the names that the table gives them.
    fn projected(
        &self,
        source: &dyn FileSource,
        projection: Option<&Vec<usize>>,
    ) -> Result<Arc<dyn FileSource>> {
        let projected = source.try_pushdown_projection(&self.layout.projection(projection))?;
        projected.ok_or_else(|| EngineError::new(Code::Internal, "Columns of a scan can't be chosen"))
    }

    fn file_groups(&self, kept: &BooleanArray, groups: usize) -> Result<Vec<FileGroup>> {
        if kept.true_count() < self.num_files() {
            return self.make_groups(kept, groups);
        }
        let mut known = self.all_groups.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(made) = known.get(&groups) {
            return Ok(made.clone());
        }
        let made = self.make_groups(kept, groups)?;
        known.insert(groups, made.clone());
        Ok(made)
    }

    /// Files grouped as their partition values hash, where the session wants partitions kept apart and the
    /// table has enough of them: aggregates and joins by partition then need no repartitioning.
    fn partition_groups(
        &self,
        state: &dyn Session,
        kept: &BooleanArray,
    ) -> Result<Option<(Vec<FileGroup>, Partitioning)>> {
        let (least, columns) =
            (state.config_options().optimizer.preserve_file_partitions, self.layout.partitions.len());
        if least == 0 || columns == 0 {
            return Ok(None);
        }
        let count = state.config().target_partitions();
        let (group_of, distinct) = self.index.hash_groups(columns, count, kept)?;
        if distinct < least {
            return Ok(None);
        }
        let mut groups = vec![Vec::new(); count];
        for file in kept.values().set_indices() {
            groups[group_of[file]].push(self.partitioned_file(file)?);
        }
        let keys = (0..columns).map(|column| {
            let at = self.layout.data.len() + column;
            let name = self.layout.scan_schema.table_schema().field(at).name();
            Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>
        });
        let partitioning = Partitioning::Hash(keys.collect(), count);
        Ok(Some((groups.into_iter().map(FileGroup::new).collect(), partitioning)))
    }

    fn make_groups(&self, kept: &BooleanArray, groups: usize) -> Result<Vec<FileGroup>> {
        let files = kept.values().set_indices().map(|file| self.partitioned_file(file));
        Ok(FileGroup::new(files.collect::<Result<Vec<_>>>()?).split_files(groups))
    }
}

impl fmt::Debug for DeltaScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeltaScan(version {}, {} files)", self.version, self.num_files())
    }
}

#[async_trait]
impl TableProvider for DeltaScan {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.is_partition_filter(filter) {
            true => TableProviderFilterPushDown::Exact,
            false if self.reads_row_index(filter) => TableProviderFilterPushDown::Unsupported,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let kept = self.select_files(state, filters, limit)?;
        let wants_no_column = projection.is_some_and(Vec::is_empty);
        if wants_no_column
            && filters.iter().all(|filter| self.is_partition_filter(filter))
            && let Some(rows) = self.rows_alone(&kept)?
        {
            return Ok(rows);
        }
        let source = self.source(state)?;
        let (groups, partitioning) = match self.partition_groups(state, &kept)? {
            // A scan of no file is still one, which tells how many files it left out.
            _ if kept.true_count() == 0 => (vec![FileGroup::default()], None),
            Some((groups, partitioning)) => (groups, Some(partitioning)),
            None => (self.file_groups(&kept, state.config().target_partitions())?, None),
        };
        let scan = FileScanConfigBuilder::new(
            self.location.store_url().clone(),
            self.projected(source.as_ref(), projection)?,
        )
        .with_file_groups(groups)
        .with_output_partitioning(partitioning)
        .with_statistics(self.statistics_of(&kept))
        .with_expr_adapter(Some(Arc::new(DeltaAdapterFactory { mapping: self.mapping })))
        .with_limit(limit)
        .build();
        Ok(DataSourceExec::from_data_source(scan))
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        _operation: InsertOp,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let message = format!(
            "This table can't be written to: it is pinned, at version {}, or shows columns that its scan adds",
            self.version
        );
        Err(EngineError::new(Code::Unsupported, message).into())
    }

    fn statistics(&self) -> Option<Statistics> {
        let statistics = self.statistics_of(&self.every_file);
        Some(statistics.project(Some(&self.layout.positions)))
    }
}

fn physical_conjunction(
    state: &dyn Session,
    filters: Vec<Expr>,
    schema: &SchemaRef,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let Some(predicate) = conjunction(filters) else {
        return Ok(None);
    };
    let predicate = datafusion::logical_expr::expr_rewriter::unnormalize_col(predicate);
    let schema = DFSchema::try_from(Arc::clone(schema))?;
    Ok(Some(create_physical_expr(&predicate, &schema, state.execution_props(), &Default::default())?))
}
