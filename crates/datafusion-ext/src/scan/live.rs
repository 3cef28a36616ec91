//! Files with deleted rows that are read whole, and whose batches then lose those rows.
//!
//! The Parquet reader takes the rows that it is to leave out as runs, and turns scattered ones into bits and
//! back several times per scan. Where deleted rows are scattered, decoding them and dropping them afterwards
//! costs less, and row groups can still be left out while the scan runs.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::buffer::{BooleanBuffer, Buffer};
use datafusion::arrow::datatypes::{DataType, Int64Type, Schema};
use datafusion::arrow::util::bit_util;
use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_err;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::datasource::physical_plan::{
    FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::error::Result;
use datafusion::functions::core::file_row_index;
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs, Projector};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use datafusion_datasource::{PartitionedFile, TableSchema};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use roaring::RoaringTreemap;

use super::compact::compacted;
use super::deletion::damaged;
use super::mapping::ColumnMapping;
use crate::error;

/// Rows per run of deleted ones from which on leaving them out of what is decoded pays.
const MOST_ROWS_PER_RUN: usize = 4096;
/// The name of the rows' positions while batches have them, last.
const POSITION: &str = "__position";

/// A bit for each row of a file, set for those that are left.
#[derive(Debug, PartialEq, Eq)]
pub struct LiveRows {
    bits: BooleanBuffer,
    left: usize,
    /// How many runs of deleted rows there are.
    runs: usize,
}

impl LiveRows {
    pub fn try_new(deleted: &RoaringTreemap, rows: usize) -> error::Result<Self> {
        if let Some(row) = deleted.max().filter(|row| *row >= rows as u64) {
            let found = format!("it deletes row {row} of a data file that has {rows}, counted from 0");
            return Err(damaged(&found));
        }
        let mut bits = vec![u8::MAX; bit_util::ceil(rows, 8)];
        let (mut runs, mut past) = (0, None);
        for row in deleted {
            bit_util::unset_bit(&mut bits, row as usize);
            runs += usize::from(past != Some(row));
            past = Some(row + 1);
        }
        let left = rows - deleted.len() as usize;
        Ok(Self { bits: BooleanBuffer::new(Buffer::from_vec(bits), 0, rows), left, runs })
    }

    /// Whether so many rows are left, in runs so short, that all of them are best decoded.
    pub fn are_scattered(&self) -> bool {
        let rows = self.bits.len();
        self.left * 2 >= rows && rows < self.runs.saturating_mul(MOST_ROWS_PER_RUN)
    }

    pub fn size_bytes(&self) -> usize {
        self.bits.inner().len()
    }

    /// Which row groups have rows that are left.
    pub fn groups(&self, group_rows: impl IntoIterator<Item = u64>) -> ParquetAccessPlan {
        let mut start = 0;
        let groups = group_rows.into_iter().map(|rows| {
            let rows = (rows as usize).min(self.bits.len() - start);
            let some = self.bits.slice(start, rows).set_indices().next().is_some();
            start += rows;
            if some { RowGroupAccess::Scan } else { RowGroupAccess::Skip }
        });
        ParquetAccessPlan::new(groups.collect())
    }

    /// The rows that are left of a batch whose last column has their positions in the file.
    fn of_batch(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let (schema, mut columns, rows) = batch.into_parts();
        let Some(positions) = columns.pop() else {
            return internal_err!("A batch has no positions");
        };
        let schema = Arc::new(schema.project(&(0..columns.len()).collect::<Vec<_>>())?);
        let live = self.at(positions.as_primitive::<Int64Type>().values());
        let left = live.count_set_bits();
        let columns = if left == rows { columns } else { compacted(columns, live)? };
        let options = RecordBatchOptions::new().with_row_count(Some(left));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    fn at(&self, positions: &[i64]) -> BooleanBuffer {
        let count = positions.len();
        let first = positions.first().copied().unwrap_or_default();
        // Row groups may be read in any order, so that all positions have to be looked at.
        let differences = positions.iter().zip(first..).map(|(found, next)| found ^ next);
        match differences.fold(0, |any, each| any | each) {
            0 => self.bits.slice(first as usize, count),
            _ => BooleanBuffer::collect_bool(count, |at| self.bits.value(positions[at] as usize)),
        }
    }
}

/// How a scan reads files whole and makes its own columns of the rows that are left.
///
/// No expression sees a deleted row, on which it might fail: columns are read as they are, and computed with
/// after the deleted rows are gone.
pub struct WholeFiles {
    morselizer: Arc<dyn Morselizer>,
    reading: Arc<Reading>,
    /// The columns that are read from the files, as the table has them.
    columns: Vec<Column>,
    table: TableSchema,
    mapping: ColumnMapping,
}

struct Reading {
    projector: Projector,
}

impl WholeFiles {
    /// `source` reads every column of the table; `projection` makes the scan's columns of these. `None` where
    /// the scan looks at rows while they are decoded, or at parts of nested columns.
    pub fn try_new(
        source: &dyn FileSource,
        projection: &ProjectionExprs,
        mapping: ColumnMapping,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Option<Self>> {
        let table = source.table_schema().clone();
        let schema = table.table_schema();
        let parts = |expr: &Arc<dyn PhysicalExpr>| {
            let nested = |column: &Column| schema.field(column.index()).data_type().is_nested();
            expr.downcast_ref::<Column>().is_none() && collect_columns(expr).iter().any(nested)
        };
        if config.limit.is_some() || filters_rows(source) || projection.iter().any(|each| parts(&each.expr)) {
            return Ok(None);
        }
        let wanted = projection.column_indices();
        let wanted = wanted.into_iter().map(|at| Column::new(schema.field(at).name(), at));
        let wanted: Vec<Column> = wanted.collect();
        let numbered = with_positions(&wanted, schema)?;
        let Some(source) = source.try_pushdown_projection(&numbered)? else {
            return Ok(None);
        };
        let read = Schema::new_with_metadata(
            wanted.iter().map(|column| Arc::clone(&schema.fields()[column.index()])).collect::<Vec<_>>(),
            schema.metadata().clone(),
        );
        let rebased = projection.clone().try_map_exprs(|expr| reassign_expr_columns(expr, &read))?;
        let projector = rebased.make_projector(&read)?;
        let config = FileScanConfigBuilder::from(config.clone()).with_source(Arc::clone(&source)).build();
        let morselizer = Arc::from(source.create_morselizer(store, &config, partition)?);
        let columns = wanted.into_iter().filter(|column| column.index() < table.file_schema().fields().len());
        let columns = columns.collect();
        Ok(Some(Self { morselizer, reading: Arc::new(Reading { projector }), columns, table, mapping }))
    }

    /// Whether all of a file's values can be read: none of the wanted columns is converted in a way that might
    /// fail for a row which is not there.
    pub fn fits(&self, footer: &ParquetMetaData) -> bool {
        let footer = footer.file_metadata();
        let Ok(file) = parquet_to_arrow_schema(footer.schema_descr(), footer.key_value_metadata()) else {
            return false;
        };
        self.columns.iter().all(|column| {
            let wanted = self.table.file_schema().field(column.index());
            let found = self.mapping.find(wanted, file.fields());
            found.is_some_and(|at| is_read_alike(file.field(at).data_type(), wanted.data_type()))
        })
    }

    pub fn plan_file(&self, file: PartitionedFile, live: Arc<LiveRows>) -> Result<Box<dyn MorselPlanner>> {
        let step = Step { reading: Arc::clone(&self.reading), live };
        Ok(step.planner(self.morselizer.plan_file(file)?))
    }
}

impl Debug for WholeFiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "WholeFiles({:?})", self.columns)
    }
}

/// Whether the source evaluates filters on rows while it decodes them.
fn filters_rows(source: &dyn FileSource) -> bool {
    source.downcast_ref::<ParquetSource>().is_none_or(|parquet| {
        parquet.filter().is_some() && parquet.table_parquet_options().global.pushdown_filters
    })
}

fn with_positions(wanted: &[Column], schema: &Schema) -> Result<ProjectionExprs> {
    let settings = Arc::new(ConfigOptions::default());
    let position = ScalarFunctionExpr::try_new(file_row_index(), vec![], schema, settings)?;
    let columns = wanted.iter().map(|column| ProjectionExpr::new(Arc::new(column.clone()), column.name()));
    let position = ProjectionExpr::new(Arc::new(position), POSITION);
    Ok(ProjectionExprs::new(columns.chain([position]).collect::<Vec<_>>()))
}

fn is_read_alike(file: &DataType, table: &DataType) -> bool {
    let is_text = |each: &DataType| matches!(each, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_binary =
        |each: &DataType| matches!(each, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    file == table || (is_text(file) && is_text(table)) || (is_binary(file) && is_binary(table))
}

/// What is to be done with what the reader makes of one file.
#[derive(Clone)]
struct Step {
    reading: Arc<Reading>,
    live: Arc<LiveRows>,
}

impl Step {
    fn planner(&self, inner: Box<dyn MorselPlanner>) -> Box<dyn MorselPlanner> {
        Box::new(LivePlanner { inner, step: self.clone() })
    }

    fn batch(&self, batch: RecordBatch) -> Result<RecordBatch> {
        self.reading.projector.project_batch(&self.live.of_batch(batch)?)
    }
}

struct LivePlanner {
    inner: Box<dyn MorselPlanner>,
    step: Step,
}

impl Debug for LivePlanner {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "LivePlanner({:?})", self.inner)
    }
}

impl MorselPlanner for LivePlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { inner, step } = *self;
        let Some(mut plan) = inner.plan()? else {
            return Ok(None);
        };
        let morsels = plan.take_morsels().into_iter();
        let morsels = morsels.map(|inner| Box::new(LiveMorsel { inner, step: step.clone() }) as _);
        let planners = plan.take_ready_planners().into_iter().map(|inner| step.planner(inner));
        let mut live = MorselPlan::new().with_morsels(morsels.collect()).with_planners(planners.collect());
        if let Some(pending) = plan.take_pending_planner() {
            live.set_pending_planner(async move { Ok(step.planner(pending.await?)) });
        }
        Ok(Some(live))
    }
}

struct LiveMorsel {
    inner: Box<dyn Morsel>,
    step: Step,
}

impl Debug for LiveMorsel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "LiveMorsel({:?})", self.inner)
    }
}

impl Morsel for LiveMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { inner, step } = *self;
        inner.into_stream().map(move |batch| step.batch(batch?)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn live(deleted: impl IntoIterator<Item = u64>, rows: usize) -> LiveRows {
        LiveRows::try_new(&deleted.into_iter().collect(), rows).unwrap()
    }

    fn batch(positions: &[i64]) -> RecordBatch {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(positions.iter().map(|at| at * 10)));
        let positions: ArrayRef = Arc::new(Int64Array::from(positions.to_vec()));
        RecordBatch::try_from_iter([("v", values), (POSITION, positions)]).unwrap()
    }

    fn left(live: &LiveRows, positions: &[i64]) -> Vec<i64> {
        let batch = live.of_batch(batch(positions)).unwrap();
        assert_eq!(batch.num_columns(), 1);
        batch.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn deleted_rows_leave_a_batch_by_their_positions() {
        let live = live([2, 3, 7], 10);
        assert_eq!(left(&live, &[1, 2, 3, 4]), [10, 40]);
        assert_eq!(left(&live, &[4, 5, 6]), [40, 50, 60]);
        assert_eq!(left(&live, &[0, 2, 7, 9]), [0, 90]);
        assert_eq!(left(&live, &[2, 3]), [] as [i64; 0]);
        assert_eq!(left(&live, &[4, 2, 0, 7]), [40, 0]);
        assert_eq!(left(&live, &[]), [] as [i64; 0]);
    }

    #[test]
    fn row_groups_without_rows_are_left_out() {
        let plan = live([0, 1, 2, 5], 9).groups([3, 3, 3]);
        assert_eq!(plan.inner(), [RowGroupAccess::Skip, RowGroupAccess::Scan, RowGroupAccess::Scan]);
    }

    #[test]
    fn a_vector_beyond_the_files_rows_is_refused() {
        assert!(LiveRows::try_new(&[9].into_iter().collect(), 9).is_err());
        assert_eq!(live([8], 9).left, 8);
    }

    #[test]
    fn few_rows_and_long_runs_are_not_scattered() {
        assert!(live((0..100_000).step_by(10), 100_000).are_scattered());
        assert!(!live(0..60_000, 100_000).are_scattered());
        assert!(!live((0..100_000).filter(|row| row % 10 > 0), 100_000).are_scattered());
        assert!(!live([], 100_000).are_scattered());
    }
}
