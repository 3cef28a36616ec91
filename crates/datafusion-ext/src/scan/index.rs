//! The file index of a snapshot: which files a predicate leaves, and what is known about them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{cast, filter};
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::hash_utils::create_hashes;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ScalarValue, Statistics};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::repartition::REPARTITION_RANDOM_STATE;

use super::files::FileList;
use super::statistics::{ColumnBounds, total_rows};
use crate::error::{Code, EngineError, Result};

/// The files of a snapshot with typed bounds for each column.
#[derive(Debug)]
pub struct FileIndex {
    files: FileList,
    /// Data columns, then partition columns: the layout of a scan.
    schema: SchemaRef,
    bounds: Vec<ColumnBounds>,
    positions: HashMap<String, usize>,
    partition_values: RecordBatch,
    row_counts: ArrayRef,
}

impl FileIndex {
    pub fn try_new(
        mut files: FileList,
        data: &[FieldRef],
        partitions: &[FieldRef],
        file_column: Option<&FieldRef>,
    ) -> Result<Self> {
        let partition_values = partition_batch(&files, partitions, file_column)?;
        let mut bounds: Vec<ColumnBounds> =
            data.iter().map(|field| ColumnBounds::of_data(&files, field)).collect();
        bounds.extend(
            partition_values.columns().iter().map(|values| ColumnBounds::of_partition(&files, values)),
        );
        let fields: Vec<FieldRef> = data.iter().chain(partitions).chain(file_column).cloned().collect();
        let positions = fields.iter().enumerate().map(|(at, field)| (field.name().clone(), at)).collect();
        files.forget_statistics();
        let row_counts = cast(files.stored_row_counts(), &DataType::UInt64)?;
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { files, schema, bounds, positions, partition_values, row_counts })
    }

    /// Data columns, then partition columns, by the table's names.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn files(&self) -> &FileList {
        &self.files
    }

    /// Drop from `kept` the files whose bounds rule the predicate out.
    pub fn prune(&self, predicate: &Arc<dyn PhysicalExpr>, kept: &BooleanArray) -> Result<BooleanArray> {
        let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&self.schema));
        let pruning = builder.try_build(Arc::clone(predicate))?;
        if pruning.always_true() {
            return Ok(kept.clone());
        }
        Ok(both(kept, &BooleanArray::from(pruning.prune(self)?)))
    }

    /// Drop from `kept` the files whose partition values do not satisfy the predicate. It may name
    /// partition columns only, by their position among them.
    pub fn match_partitions(
        &self,
        predicate: &Arc<dyn PhysicalExpr>,
        kept: &BooleanArray,
    ) -> Result<BooleanArray> {
        let matched = predicate.evaluate(&self.partition_values)?.into_array(self.files.len())?;
        let Some(matched) = matched.as_any().downcast_ref::<BooleanArray>() else {
            return Err(EngineError::new(Code::Internal, "A partition filter is not a condition"));
        };
        Ok(both(kept, matched))
    }

    pub fn partition_schema(&self) -> SchemaRef {
        self.partition_values.schema()
    }

    /// The group of each file, among so many, that repartitioning by hash of the first columns of the
    /// partition values would send its rows to; and how many different values the kept files have.
    pub fn hash_groups(
        &self,
        columns: usize,
        groups: usize,
        kept: &BooleanArray,
    ) -> Result<(Vec<usize>, usize)> {
        let mut hashes = vec![0; self.files.len()];
        let values = &self.partition_values.columns()[..columns];
        create_hashes(values, REPARTITION_RANDOM_STATE.random_state(), &mut hashes)?;
        let distinct: HashSet<u64> = kept.values().set_indices().map(|file| hashes[file]).collect();
        Ok((hashes.iter().map(|hash| (hash % groups as u64) as usize).collect(), distinct.len()))
    }

    pub fn partition_values(&self, file: usize) -> Result<Vec<ScalarValue>> {
        let columns = self.partition_values.columns().iter();
        Ok(columns.map(|values| ScalarValue::try_from_array(values, file)).collect::<Result<_, _>>()?)
    }

    /// Statistics of one file.
    pub fn file_statistics(&self, file: usize) -> Statistics {
        let rows = self.files.num_rows(file);
        let mut statistics = Statistics::new_unknown(&Schema::empty());
        statistics.num_rows = rows.map_or(Precision::Absent, Precision::Exact);
        let whole = self.files.is_whole(file);
        statistics.column_statistics =
            self.bounds.iter().map(|bounds| bounds.of_file(file, rows, whole)).collect();
        statistics
    }

    /// The number of rows of the kept files.
    pub fn rows(&self, kept: &BooleanArray) -> Precision<usize> {
        let counts = self.files.row_counts();
        match kept.true_count() == kept.len() {
            true => total_rows(counts),
            false => filter(counts, kept).map_or(Precision::Absent, |some| total_rows(some.as_primitive())),
        }
    }

    /// Statistics of the kept files together.
    pub fn statistics(&self, kept: &BooleanArray) -> Statistics {
        let all = kept.true_count() == kept.len();
        let select = |values: &ArrayRef| match all {
            true => Some(Arc::clone(values)),
            false => filter(values, kept).ok(),
        };
        let rows = self.rows(kept);
        let mut statistics = Statistics::new_unknown(&Schema::empty());
        let whole = self.files.are_whole(kept);
        statistics.column_statistics =
            self.bounds.iter().map(|bounds| bounds.summary(&select, rows, whole)).collect();
        statistics.num_rows = rows;
        statistics.calculate_total_byte_size(&self.schema);
        statistics
    }

    fn bounds_of(&self, column: &Column) -> Option<&ColumnBounds> {
        self.positions.get(column.name()).map(|at| &self.bounds[*at])
    }
}

impl PruningStatistics for FileIndex {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds_of(column).map(|bounds| Arc::clone(&bounds.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds_of(column).map(|bounds| Arc::clone(&bounds.max))
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds_of(column).map(|bounds| Arc::clone(&bounds.null_count))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::clone(&self.row_counts))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        self.bounds_of(column)?.may_contain(values)
    }
}

/// True where both are; unknown counts as false in `matched`, as it does in WHERE.
fn both(kept: &BooleanArray, matched: &BooleanArray) -> BooleanArray {
    let certain = match matched.nulls() {
        None => matched.values().clone(),
        Some(known) => matched.values() & known.inner(),
    };
    BooleanArray::new(kept.values() & &certain, None)
}

fn partition_batch(
    files: &FileList,
    partitions: &[FieldRef],
    file_column: Option<&FieldRef>,
) -> Result<RecordBatch> {
    let mut columns = partitions
        .iter()
        .map(|field| {
            files.nested("partition", field.name(), field.data_type()).ok_or_else(|| {
                let wanted =
                    format!("values of partition column {:?} as {}", field.name(), field.data_type());
                EngineError::new(Code::ScanInput, format!("The list of files has no {wanted}"))
            })
        })
        .collect::<Result<Vec<_>>>()?;
    if let Some(field) = file_column {
        columns.push(files.paths(field.data_type())?);
    }
    let fields = partitions.iter().chain(file_column);
    let fields: Vec<FieldRef> =
        fields.map(|field| Arc::new(field.as_ref().clone().with_nullable(true))).collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(files.len()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Field;
    use datafusion::common::DFSchema;
    use datafusion::execution::context::ExecutionProps;
    use datafusion::physical_expr::create_physical_expr;
    use datafusion::prelude::{Expr, col, lit};

    use super::super::files::fixtures::three_files;
    use super::*;

    fn index() -> FileIndex {
        let field = |name, data_type| Arc::new(Field::new(name, data_type, true));
        let data = [field("id", DataType::Int64), field("x", DataType::Float64)];
        FileIndex::try_new(three_files(), &data, &[], None).unwrap()
    }

    fn kept_by(index: &FileIndex, predicate: Expr) -> Vec<bool> {
        let schema = DFSchema::try_from(Schema::clone(&index.schema)).unwrap();
        let expr =
            create_physical_expr(&predicate, &schema, &ExecutionProps::new(), &Default::default()).unwrap();
        let all = BooleanArray::from(vec![true; 3]);
        index.prune(&expr, &all).unwrap().values().iter().collect()
    }

    #[test]
    fn files_outside_the_bounds_are_dropped_and_unknown_ones_kept() {
        assert_eq!(kept_by(&index(), col("id").eq(lit(12_i64))), [false, true, true]);
    }

    #[test]
    fn a_float_above_its_recorded_maximum_may_be_nan() {
        assert_eq!(kept_by(&index(), col("x").gt(lit(100.0))), [true, true, true]);
        assert_eq!(kept_by(&index(), col("x").lt(lit(0.5))), [true, false, true]);
    }

    #[test]
    fn totals_are_exact_only_when_every_file_is_counted() {
        let index = index();
        assert_eq!(
            index.statistics(&BooleanArray::from(vec![true, true, false])).num_rows,
            Precision::Exact(20)
        );
        assert_eq!(index.statistics(&BooleanArray::from(vec![true; 3])).num_rows, Precision::Absent);
    }
}
