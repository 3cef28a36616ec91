//! Leaving scattered rows out of batches that nothing else uses.
//!
//! Arrow's filter copies what is left, run by run; where a tenth of the rows goes, runs are so short that this
//! costs more than moving every value by itself, and new memory on top.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, GenericByteViewArray, PrimitiveArray, downcast_primitive_array,
};
use datafusion::arrow::buffer::{BooleanBuffer, ScalarBuffer};
use datafusion::arrow::compute::{FilterBuilder, FilterPredicate};
use datafusion::arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, BinaryViewType, ByteViewType, DataType, StringViewType,
};
use datafusion::error::Result;

const WORD_BITS: usize = u64::BITS as usize;
/// How many values are moved in one go.
const BLOCK: usize = 8;
/// Values left out of a word's up to which the others are moved run by run.
const MOST_GAPS: u32 = 2;

/// The values whose bit is set, of columns that have one value for each bit.
pub fn compacted(columns: Vec<ArrayRef>, kept: BooleanBuffer) -> Result<Vec<ArrayRef>> {
    let filter = BooleanArray::new(kept.clone(), None);
    let mut builder = FilterBuilder::new(&filter);
    if columns.iter().filter(|column| uses_filter(column)).count() > 1 {
        builder = builder.optimize();
    }
    let kept = Kept { bits: kept, filter: builder.build() };
    columns.into_iter().map(|column| kept.of(column)).collect()
}

fn uses_filter(column: &ArrayRef) -> bool {
    let data_type = column.data_type();
    let moves = data_type.is_primitive() || matches!(data_type, DataType::Utf8View | DataType::BinaryView);
    !moves || column.null_count() > 0
}

struct Kept {
    bits: BooleanBuffer,
    filter: FilterPredicate,
}

impl Kept {
    fn of(&self, column: ArrayRef) -> Result<ArrayRef> {
        let whole: &dyn Array = column.as_ref();
        // The copy shares its memory with the column, which has to go first to leave it to the copy alone.
        Ok(downcast_primitive_array!(
            whole => {
                let own = whole.clone();
                drop(column);
                Arc::new(self.of_primitive(own))
            }
            DataType::Utf8View => {
                let own = whole.as_string_view().clone();
                drop(column);
                Arc::new(self.of_views::<StringViewType>(own))
            }
            DataType::BinaryView => {
                let own = whole.as_binary_view().clone();
                drop(column);
                Arc::new(self.of_views::<BinaryViewType>(own))
            }
            _ => self.filter.filter(whole)?
        ))
    }

    fn of_primitive<T: ArrowPrimitiveType>(&self, column: PrimitiveArray<T>) -> PrimitiveArray<T> {
        let (data_type, values, nulls) = column.into_parts();
        let nulls = self.filter.filter_nulls(nulls.as_ref());
        PrimitiveArray::new(moved(values, &self.bits).into(), nulls).with_data_type(data_type)
    }

    fn of_views<T: ByteViewType + ?Sized>(&self, column: GenericByteViewArray<T>) -> GenericByteViewArray<T> {
        let (views, buffers, nulls) = column.into_parts();
        let nulls = self.filter.filter_nulls(nulls.as_ref());
        let views = moved(views, &self.bits).into();
        // SAFETY: each of the views is one of the array's, and points into the same buffers.
        unsafe { GenericByteViewArray::new_unchecked(views, buffers, nulls) }
    }
}

/// Move the values whose bit is set to the front, in their own memory unless others use it.
fn moved<T: ArrowNativeType>(values: ScalarBuffer<T>, kept: &BooleanBuffer) -> Vec<T> {
    let mut values: Vec<T> = values.into();
    let mut to = 0;
    for (at, word) in kept.bit_chunks().iter_padded().enumerate() {
        let start = at * WORD_BITS;
        let end = (start + WORD_BITS).min(values.len());
        to = match word.count_zeros() <= MOST_GAPS {
            true => move_runs(&mut values, start, to, word),
            false => move_each(&mut values[..end], start, to, word),
        };
    }
    values.truncate(to);
    values
}

/// Move values run by run, which is fast where there are few.
fn move_runs<T: Copy>(values: &mut [T], start: usize, mut to: usize, mut word: u64) -> usize {
    let mut from = start;
    while word != 0 {
        let gap = word.trailing_zeros();
        let run = (word >> gap).trailing_ones();
        from += gap as usize;
        values.copy_within(from..from + run as usize, to);
        (from, to) = (from + run as usize, to + run as usize);
        word = word.checked_shr(gap + run).unwrap_or(0);
    }
    to
}

/// Move each value to where the next one overwrites it unless its bit is set. Blocks are loops of a fixed
/// length, which are unrolled.
fn move_each<T: Copy>(values: &mut [T], start: usize, mut to: usize, word: u64) -> usize {
    for from in (start..values.len()).step_by(BLOCK) {
        let bits = word >> (from - start);
        if let Some(block) = values[from..].first_chunk::<BLOCK>().copied() {
            for (bit, value) in block.iter().enumerate() {
                values[to] = *value;
                to += (bits >> bit & 1) as usize;
            }
        } else {
            for (bit, from) in (from..values.len()).enumerate() {
                values[to] = values[from];
                to += (bits >> bit & 1) as usize;
            }
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use datafusion::arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, Int64Array, StringArray, StringViewArray,
    };
    use datafusion::arrow::compute::filter;

    use super::*;

    fn bits(pattern: &[(bool, usize)]) -> BooleanBuffer {
        pattern.iter().flat_map(|(bit, count)| repeat_n(*bit, *count)).collect()
    }

    fn columns(rows: usize) -> Vec<ArrayRef> {
        let text = |row: usize| format!("a text that is longer than twelve bytes, {row}");
        let some = |row: usize| (!row.is_multiple_of(5)).then_some(row as i64);
        vec![
            Arc::new(Int64Array::from_iter_values(0..rows as i64)),
            Arc::new(Int64Array::from_iter((0..rows).map(some))),
            Arc::new(Date32Array::from_iter_values(0..rows as i32)),
            Arc::new(
                Decimal128Array::from_iter_values(0..rows as i128).with_precision_and_scale(20, 3).unwrap(),
            ),
            Arc::new(StringViewArray::from_iter_values((0..rows).map(text))),
            Arc::new(StringViewArray::from_iter((0..rows).map(|row| some(row).map(|_| text(row))))),
            Arc::new(StringArray::from_iter_values((0..rows).map(text))),
            Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 3 == 0)))),
        ]
    }

    #[test]
    fn columns_keep_what_a_filter_keeps() {
        let patterns: [&[(bool, usize)]; 6] = [
            &[(true, 200), (false, 1), (true, 99)],
            &[(false, 1), (true, 63), (true, 64), (false, 64), (true, 7)],
            &[(true, 63), (false, 2), (true, 1)],
            &[(false, 70)],
            &[(true, 64)],
            &[],
        ];
        for pattern in patterns {
            let kept = bits(pattern);
            let filters = BooleanArray::new(kept.clone(), None);
            let wanted: Vec<ArrayRef> =
                columns(kept.len()).iter().map(|column| filter(column, &filters).unwrap()).collect();
            assert_eq!(compacted(columns(kept.len()), kept).unwrap(), wanted);
        }
    }

    #[test]
    fn bits_and_values_may_start_anywhere() {
        let kept = bits(&[(true, 3), (false, 2), (true, 90), (false, 5)]);
        let values: Vec<ArrayRef> = columns(120).iter().map(|column| column.slice(13, 90)).collect();
        let filters = BooleanArray::new(kept.slice(4, 90), None);
        let wanted: Vec<ArrayRef> = values.iter().map(|column| filter(column, &filters).unwrap()).collect();
        assert_eq!(compacted(values.clone(), kept.slice(4, 90)).unwrap(), wanted);
        assert_eq!(values[0].as_primitive::<datafusion::arrow::datatypes::Int64Type>().value(0), 13);
    }

    #[test]
    fn memory_of_a_columns_own_is_used_again() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let before = column.to_data().buffers()[0].as_ptr();
        let after = compacted(vec![column], bits(&[(true, 10), (false, 80), (true, 10)])).unwrap();
        assert_eq!(after[0].to_data().buffers()[0].as_ptr(), before);
    }
}
