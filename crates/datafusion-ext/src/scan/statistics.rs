//! What the statistics of add actions say about a column, made safe for pruning and for planning.
//!
//! Source: the Delta transaction log protocol, "Per-file Statistics". String bounds may be truncated and
//! timestamps are truncated to milliseconds, so both bound the values without being among them. Writers
//! leave NaN out of the bounds of floats, while the engine orders NaN above all numbers; and they may
//! write 0.0 for -0.0, which the engine orders below it.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt64Array, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};

use super::files::FileList;

/// Lists of up to so many values become comparisons, which need no look-up.
const FEW_VALUES: usize = 20;

/// Bytes that a value of unknown width is taken to have, for ordering joins.
const ASSUMED_VALUE_BYTES: usize = 24;

/// Bounds and null counts of one column, an entry per file; a NULL entry means unknown.
#[derive(Debug, Clone)]
pub struct ColumnBounds {
    data_type: DataType,
    pub min: ArrayRef,
    pub max: ArrayRef,
    pub null_count: ArrayRef,
    /// NULLs without those of deleted rows, where that is known.
    live_nulls: ArrayRef,
    /// Whether bounds are values that occur in the file.
    exact: bool,
}

impl ColumnBounds {
    /// Read a column of the data files.
    pub fn of_data(files: &FileList, field: &Field) -> Self {
        let data_type = field.data_type();
        let bound = |group| match has_bounds(data_type) {
            true => files.nested(group, field.name(), data_type),
            false => None,
        };
        let unknown = || new_null_array(data_type, files.len());
        let null_count = files.nested("null_count", field.name(), &DataType::UInt64);
        let null_count = null_count.unwrap_or_else(|| new_null_array(&DataType::UInt64, files.len()));
        Self {
            data_type: data_type.clone(),
            min: bound("min").map_or_else(unknown, safe_minimum),
            max: bound("max").map_or_else(unknown, safe_maximum),
            live_nulls: live_nulls(files, &null_count),
            null_count,
            exact: is_exact(data_type),
        }
    }

    /// Treat a partition column, whose one value per file bounds the file exactly.
    pub fn of_partition(files: &FileList, values: &ArrayRef) -> Self {
        let nulls = (0..values.len()).map(|file| match values.is_null(file) {
            true => stored_rows(files, file),
            false => Some(0),
        });
        let null_count: ArrayRef = Arc::new(nulls.collect::<UInt64Array>());
        Self {
            data_type: values.data_type().clone(),
            min: Arc::clone(values),
            max: Arc::clone(values),
            live_nulls: live_nulls(files, &null_count),
            null_count,
            // A file without rows has its partition's value in no row.
            exact: occurs_as_recorded(values.data_type()) && has_rows(files),
        }
    }

    /// Where the column has none of the values, file by file: false, and NULL where it may have one.
    pub fn may_contain(&self, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        if values.len() <= FEW_VALUES || self.data_type.is_nested() {
            return None;
        }
        let wanted = ScalarValue::iter_to_array(values.iter().filter(|value| !value.is_null()).cloned());
        let wanted = cast(&wanted.ok()?, &self.data_type).ok().filter(|wanted| wanted.null_count() == 0)?;
        let converter = RowConverter::new(vec![SortField::new(self.data_type.clone())]).ok()?;
        let rows = |values: &ArrayRef| converter.convert_columns(std::slice::from_ref(values)).ok();
        let (wanted, low, high) = (rows(&wanted)?, rows(&self.min)?, rows(&self.max)?);
        let mut wanted: Vec<_> = wanted.iter().collect();
        wanted.sort_unstable();
        let outside = |file: usize| {
            let known = self.min.is_valid(file) && self.max.is_valid(file);
            let next = known.then(|| wanted.partition_point(|value| *value < low.row(file)))?;
            let none = wanted.get(next).is_none_or(|value| *value > high.row(file));
            none.then_some(false)
        };
        Some((0..self.min.len()).map(outside).collect())
    }

    /// Statistics of the column in one file; it is whole if none of its rows are deleted.
    pub fn of_file(&self, file: usize, rows: Option<usize>, whole: bool) -> ColumnStatistics {
        let null_count = match self.live_nulls.is_null(file) {
            true => Precision::Absent,
            false => Precision::Exact(self.live_nulls.as_primitive::<UInt64Type>().value(file) as usize),
        };
        ColumnStatistics {
            null_count,
            min_value: self.precision(ScalarValue::try_from_array(&self.min, file).ok(), whole),
            max_value: self.precision(ScalarValue::try_from_array(&self.max, file).ok(), whole),
            byte_size: self.byte_size(rows.map_or(Precision::Absent, Precision::Exact)),
            ..ColumnStatistics::new_unknown()
        }
    }

    /// Statistics of the column over the files that `select` keeps of each array; they are whole if none of
    /// their rows are deleted.
    pub fn summary(
        &self,
        select: &dyn Fn(&ArrayRef) -> Option<ArrayRef>,
        rows: Precision<usize>,
        whole: bool,
    ) -> ColumnStatistics {
        let Some((low, high, nulls)) =
            select(&self.min).and_then(|low| Some((low, select(&self.max)?, select(&self.live_nulls)?)))
        else {
            return ColumnStatistics::new_unknown();
        };
        ColumnStatistics {
            null_count: total(&nulls),
            min_value: self.precision(known_extreme(&low, false), whole),
            max_value: self.precision(known_extreme(&high, true), whole),
            byte_size: self.byte_size(rows),
            ..ColumnStatistics::new_unknown()
        }
    }

    fn precision(&self, value: Option<ScalarValue>, whole: bool) -> Precision<ScalarValue> {
        match value {
            Some(value) if !value.is_null() && self.exact && whole => Precision::Exact(value),
            Some(value) if !value.is_null() => Precision::Inexact(value),
            _ => Precision::Absent,
        }
    }

    fn byte_size(&self, rows: Precision<usize>) -> Precision<usize> {
        match self.data_type.primitive_width() {
            Some(width) => rows.multiply(&Precision::Exact(width)),
            None => rows.multiply(&Precision::Inexact(ASSUMED_VALUE_BYTES)),
        }
    }
}

/// Whether a partition's value is what queries find as extremes: not so for NaN and for other encodings.
fn occurs_as_recorded(data_type: &DataType) -> bool {
    !data_type.is_floating() && !matches!(data_type, DataType::Dictionary(..))
}

/// Whether every file is known to have rows.
fn has_rows(files: &FileList) -> bool {
    let counts = files.row_counts();
    counts.null_count() == 0 && counts.values().iter().all(|count| *count > 0)
}

fn stored_rows(files: &FileList, file: usize) -> Option<u64> {
    let counts = files.stored_row_counts();
    counts.is_valid(file).then(|| counts.value(file)).and_then(|count| count.try_into().ok())
}

/// NULLs among the rows that are left of each file: all of them, none, or an unknown number.
fn live_nulls(files: &FileList, null_count: &ArrayRef) -> ArrayRef {
    if files.are_all_whole() {
        return Arc::clone(null_count);
    }
    let counts = null_count.as_primitive::<UInt64Type>().iter().enumerate();
    let live = counts.map(|(file, nulls)| match (nulls, files.is_whole(file)) {
        (Some(0), _) | (_, true) => nulls,
        (nulls, false) if nulls == stored_rows(files, file) => files.num_rows(file).map(|rows| rows as u64),
        _ => None,
    });
    Arc::new(live.collect::<UInt64Array>())
}

/// Add up counts; unknown if one of them is.
fn total(counts: &ArrayRef) -> Precision<usize> {
    if counts.null_count() > 0 {
        return Precision::Absent;
    }
    let counts = counts.as_primitive::<UInt64Type>();
    Precision::Exact(counts.values().iter().sum::<u64>() as usize)
}

/// The least or greatest of the bounds; unknown if one of them is.
fn known_extreme(bounds: &ArrayRef, greatest: bool) -> Option<ScalarValue> {
    if bounds.null_count() > 0 || bounds.is_empty() {
        return None;
    }
    let order = datafusion::arrow::compute::SortOptions { descending: greatest, nulls_first: false };
    let first = datafusion::arrow::compute::sort_limit(bounds, Some(order), Some(1)).ok()?;
    ScalarValue::try_from_array(&first, 0).ok()
}

fn has_bounds(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(..) | DataType::Boolean => true,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => true,
        DataType::Date32 | DataType::Timestamp(..) => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// Statistics are JSON, whose readers may take decimals for doubles: beyond 15 digits they are around values.
fn is_exact(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(precision, _) => *precision <= 15,
        other => other.is_integer() || *other == DataType::Date32,
    }
}

fn safe_minimum(bounds: ArrayRef) -> ArrayRef {
    match bounds.data_type() {
        DataType::Float32 => {
            Arc::new(bounds.as_primitive::<Float32Type>().unary_opt::<_, Float32Type>(|low| {
                (!low.is_nan()).then_some(if low == 0.0 { -0.0 } else { low })
            }))
        }
        DataType::Float64 => {
            Arc::new(bounds.as_primitive::<Float64Type>().unary_opt::<_, Float64Type>(|low| {
                (!low.is_nan()).then_some(if low == 0.0 { -0.0 } else { low })
            }))
        }
        _ => bounds,
    }
}

fn safe_maximum(bounds: ArrayRef) -> ArrayRef {
    match bounds.data_type() {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            new_null_array(bounds.data_type(), bounds.len())
        }
        DataType::Timestamp(unit, _) => end_of_millisecond(&bounds, *unit),
        _ => bounds,
    }
}

/// The last instant of the millisecond that each timestamp falls in.
fn end_of_millisecond(bounds: &ArrayRef, unit: TimeUnit) -> ArrayRef {
    fn raise<T: ArrowPrimitiveType<Native = i64>>(bounds: &ArrayRef, by: i64) -> ArrayRef {
        let raised = bounds.as_primitive::<T>().unary_opt::<_, T>(|high| high.checked_add(by));
        Arc::new(raised.with_data_type(bounds.data_type().clone()))
    }
    match unit {
        TimeUnit::Second => raise::<TimestampSecondType>(bounds, 1),
        TimeUnit::Millisecond => raise::<TimestampMillisecondType>(bounds, 1),
        TimeUnit::Microsecond => raise::<TimestampMicrosecondType>(bounds, 999),
        TimeUnit::Nanosecond => raise::<TimestampNanosecondType>(bounds, 999_999),
    }
}

/// Total of the known counts, exact only if all are known.
pub fn total_rows(rows: &Int64Array) -> Precision<usize> {
    let known = datafusion::arrow::compute::sum(rows).unwrap_or(0).try_into().unwrap_or(0);
    match rows.null_count() {
        0 => Precision::Exact(known),
        _ => Precision::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::fixtures::{three_files, three_files_with_a_vector};
    use super::*;

    #[test]
    fn integer_bounds_are_exact_per_file_and_unknown_in_total() {
        let bounds = ColumnBounds::of_data(&three_files(), &Field::new("id", DataType::Int64, true));
        let first = bounds.of_file(0, Some(10), true);
        assert_eq!(first.max_value, Precision::Exact(ScalarValue::Int64(Some(9))));
        let all = bounds.summary(&|array| Some(Arc::clone(array)), Precision::Exact(30), true);
        assert_eq!(all.min_value, Precision::Absent);
        let two = bounds.summary(&|array| Some(array.slice(0, 2)), Precision::Exact(20), true);
        assert_eq!(two.max_value, Precision::Exact(ScalarValue::Int64(Some(19))));
    }

    #[test]
    fn bounds_of_files_with_deleted_rows_are_not_exact() {
        let files = three_files_with_a_vector();
        assert_eq!(files.num_rows(0), Some(8));
        let bounds = ColumnBounds::of_data(&files, &Field::new("id", DataType::Int64, true));
        let first = bounds.of_file(0, files.num_rows(0), false);
        assert_eq!(first.max_value, Precision::Inexact(ScalarValue::Int64(Some(9))));
    }

    #[test]
    fn bounds_that_are_not_tight_are_not_exact() {
        let files = three_files().with_tight_bounds(&[false, true, true]);
        let bounds = ColumnBounds::of_data(&files, &Field::new("id", DataType::Int64, true));
        let of = |file: usize| bounds.of_file(file, Some(10), files.is_whole(file)).max_value;
        assert_eq!(of(0), Precision::Inexact(ScalarValue::Int64(Some(9))));
        assert_eq!(of(1), Precision::Exact(ScalarValue::Int64(Some(19))));
    }

    #[test]
    fn long_lists_of_values_are_looked_up_in_the_bounds() {
        let bounds = ColumnBounds::of_data(&three_files(), &Field::new("id", DataType::Int64, true));
        let values = |start: i64| (start..start + 30).map(ScalarValue::from).collect();
        let found = bounds.may_contain(&values(10)).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), [Some(false), None, None]);
        assert!(bounds.may_contain(&[ScalarValue::from(1_i64)].into()).is_none());
    }

    #[test]
    fn a_partition_without_rows_has_no_exact_bounds() {
        let values: ArrayRef = Arc::new(datafusion::arrow::array::Int64Array::from(vec![1, 2, 3]));
        let bounds = ColumnBounds::of_partition(&three_files(), &values);
        assert!(matches!(bounds.of_file(2, None, true).max_value, Precision::Inexact(_)));
    }

    #[test]
    fn nulls_of_partitions_are_counted_without_deleted_rows() {
        let files = three_files_with_a_vector();
        let values: ArrayRef = new_null_array(&DataType::Utf8, 3);
        let bounds = ColumnBounds::of_partition(&files, &values);
        assert_eq!(bounds.null_count.as_primitive::<UInt64Type>().value(0), 10);
        assert_eq!(bounds.of_file(0, Some(8), false).null_count, Precision::Exact(8));
    }

    #[test]
    fn floats_have_no_maximum_and_a_zero_minimum_covers_negative_zero() {
        let bounds = ColumnBounds::of_data(&three_files(), &Field::new("x", DataType::Float64, true));
        assert_eq!(bounds.max.null_count(), 3);
        assert!(bounds.min.as_primitive::<Float64Type>().value(0).is_sign_negative());
    }

    #[test]
    fn timestamps_reach_to_the_end_of_their_millisecond() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let bounds = ColumnBounds::of_data(&three_files(), &Field::new("at", micros, true));
        assert_eq!(bounds.max.as_primitive::<TimestampMicrosecondType>().value(0), 2999);
        assert!(matches!(bounds.of_file(0, None, true).max_value, Precision::Inexact(_)));
    }
}
