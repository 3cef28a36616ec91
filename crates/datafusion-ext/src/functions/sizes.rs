//! How large the results of functions can get, from their arguments.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, OffsetSizeTrait};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{cast, max};
use datafusion::arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::logical_expr::ColumnarValue;

use super::memory::SMALL;

/// Most bytes of the result of a call over so many rows.
pub type Size = fn(&Arguments<'_>) -> u64;

/// The functions that can make much of little, by their own names.
pub const SIZES: &[(&str, Size)] = &[
    ("__text_concat", sum),
    ("array_append", sum),
    ("array_concat", sum),
    ("array_distance", twice),
    ("array_distinct", with_keys),
    ("array_except", with_keys),
    ("array_intersect", with_keys),
    ("array_prepend", sum),
    ("array_remove", sum),
    ("array_remove_all", sum),
    ("array_remove_n", sum),
    ("array_repeat", array_repeat),
    ("array_replace", sum),
    ("array_replace_all", sum),
    ("array_replace_n", sum),
    ("array_resize", array_resize),
    ("array_reverse", sum),
    ("array_slice", sum),
    ("array_sort", twice),
    ("array_to_string", array_to_string),
    ("array_union", with_keys),
    ("arrays_zip", twice),
    ("btrim", sum),
    ("concat", sum),
    ("concat_ws", concat_ws),
    ("encode", twice),
    ("flatten", sum),
    ("generate_series", range),
    ("initcap", with_case),
    ("levenshtein", with_keys),
    ("lower", with_case),
    ("lpad", pad),
    ("make_array", sum),
    ("map", twice),
    ("named_struct", sum),
    ("overlay", sum),
    ("range", range),
    ("regexp_match", with_keys),
    ("regexp_replace", regexp_replace),
    ("repeat", repeat),
    ("replace", replace),
    ("reverse", sum),
    ("rpad", pad),
    ("string_to_array", with_keys),
    ("struct", sum),
    ("to_char", to_char),
    ("to_hex", sum),
    ("translate", with_characters),
    ("upper", with_case),
];

/// The arguments of a call. Where all are constants, it has one row.
pub struct Arguments<'a> {
    values: &'a [ColumnarValue],
    pub rows: usize,
}

impl<'a> Arguments<'a> {
    pub fn new(values: &'a [ColumnarValue], rows: usize) -> Self {
        let constant = values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        Self { values, rows: if constant && !values.is_empty() { 1 } else { rows } }
    }

    /// Bytes of each row of an argument.
    fn widths(&self, at: usize) -> Widths {
        match self.values.get(at) {
            None => Widths::Same(0),
            Some(ColumnarValue::Scalar(value)) => Widths::Same(match value.try_as_str() {
                Some(text) => text.map_or(0, str::len) as u64,
                None => value.to_array().map_or(0, |array| array.get_array_memory_size() as u64),
            }),
            Some(ColumnarValue::Array(array)) => widths(array),
        }
    }

    /// The whole numbers of an argument, NULL as 0.
    fn numbers(&self, at: usize) -> Numbers {
        let Some(value) = self.values.get(at) else {
            return Numbers::Same(0);
        };
        let array = value.to_array(1).and_then(|array| Ok(cast(&array, &DataType::Int64)?));
        let each = array.map(|array| Numbers::Each(array.as_primitive::<Int64Type>().clone()));
        match (value, each) {
            (_, Err(_)) => Numbers::Same(0),
            (ColumnarValue::Scalar(_), Ok(each)) => Numbers::Same(each.at(0)),
            (ColumnarValue::Array(_), Ok(each)) => each,
        }
    }

    /// Bytes of all rows of an argument.
    fn total(&self, at: usize) -> u64 {
        match self.values.get(at) {
            Some(ColumnarValue::Array(array)) => total(array),
            _ => self.widths(at).at(0).saturating_mul(self.rows as u64),
        }
    }

    /// The bytes of each row, if they are the same for all.
    fn width(&self, at: usize) -> Option<u64> {
        let constant = matches!(self.values.get(at), None | Some(ColumnarValue::Scalar(_)));
        constant.then(|| self.widths(at).at(0))
    }

    fn each_row(&self, bytes: impl Fn(usize) -> u64) -> u64 {
        (0..self.rows).fold(0, |sum, row| sum.saturating_add(bytes(row)))
    }
}

enum Widths {
    Same(u64),
    Each(Vec<u64>),
}

impl Widths {
    fn at(&self, row: usize) -> u64 {
        match self {
            Self::Same(bytes) => *bytes,
            Self::Each(each) => each.get(row).copied().unwrap_or(0),
        }
    }
}

enum Numbers {
    Same(i64),
    Each(Int64Array),
}

impl Numbers {
    fn at(&self, row: usize) -> i64 {
        match self {
            Self::Same(number) => *number,
            Self::Each(each) if row < each.len() && each.is_valid(row) => each.value(row),
            Self::Each(_) => 0,
        }
    }

    /// The largest of all, or 0.
    fn most(&self) -> u64 {
        let most = match self {
            Self::Same(number) => *number,
            Self::Each(each) => max(each).unwrap_or(0),
        };
        u64::try_from(most).unwrap_or(0)
    }

    fn count(&self, row: usize) -> u64 {
        u64::try_from(self.at(row)).unwrap_or(0)
    }
}

/// The same as the sum of `widths`, without a look at each row where that can be.
pub fn total(array: &ArrayRef) -> u64 {
    match array.data_type() {
        DataType::Utf8 => length(array.as_string::<i32>().offsets()),
        DataType::LargeUtf8 => length(array.as_string::<i64>().offsets()),
        DataType::Utf8View => array.as_string_view().views().iter().map(view_length).sum(),
        DataType::Binary => length(array.as_binary::<i32>().offsets()),
        DataType::Dictionary(_, _) => match widths(array) {
            Widths::Same(bytes) => bytes.saturating_mul(array.len() as u64),
            Widths::Each(each) => each.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes)),
        },
        _ => {
            let data = array.to_data();
            data.get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()) as u64
        }
    }
}

fn length<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> u64 {
    let ends = offsets.last().zip(offsets.first());
    ends.map_or(0, |(last, first)| (last.as_usize() - first.as_usize()) as u64)
}

/// A view begins with its length.
fn view_length(view: &u128) -> u64 {
    u64::from(*view as u32)
}

fn widths(array: &ArrayRef) -> Widths {
    if let Some(width) = array.data_type().primitive_width() {
        return Widths::Same(width as u64);
    }
    if let DataType::Dictionary(_, _) = array.data_type() {
        let dictionary = array.as_any_dictionary();
        if dictionary.values().is_empty() {
            return Widths::Same(0);
        }
        let values = widths(dictionary.values());
        return Widths::Each(dictionary.normalized_keys().into_iter().map(|key| values.at(key)).collect());
    }
    let bytes = |row: usize| match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value_length(row) as u64,
        DataType::LargeUtf8 => array.as_string::<i64>().value_length(row) as u64,
        DataType::Utf8View => view_length(&array.as_string_view().views()[row]),
        DataType::Binary => array.as_binary::<i32>().value_length(row) as u64,
        _ => {
            let one = array.slice(row, 1).to_data();
            one.get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()) as u64
        }
    };
    Widths::Each((0..array.len()).map(bytes).collect())
}

/// Bytes of the largest value of a column; columns that are small altogether are taken for nothing.
pub fn widest_row(array: &ArrayRef) -> u64 {
    if total(array) <= SMALL {
        return 0;
    }
    let widths = widths(array);
    (0..array.len()).map(|row| widths.at(row)).max().unwrap_or(0)
}

/// Most steps of one call that can't be ended: seconds.
const MOST_STEPS: u64 = 4_000_000_000;

/// How many steps the longest row of a call takes, if that is too many.
pub fn too_many_steps(function: &str, call: &Arguments<'_>) -> Option<u64> {
    if function != "levenshtein" {
        return None;
    }
    let (left, right) = (call.widths(0), call.widths(1));
    let steps = (0..call.rows).map(|row| left.at(row).saturating_mul(right.at(row))).max()?;
    (steps > MOST_STEPS).then_some(steps)
}

fn sum(call: &Arguments<'_>) -> u64 {
    (0..call.values.len()).fold(0, |sum, at| sum.saturating_add(call.total(at)))
}

fn twice(call: &Arguments<'_>) -> u64 {
    sum(call).saturating_mul(2)
}

/// Letters can get longer when their case changes.
fn with_case(call: &Arguments<'_>) -> u64 {
    sum(call).saturating_mul(3)
}

fn with_characters(call: &Arguments<'_>) -> u64 {
    sum(call).saturating_mul(4)
}

/// Rows as keys, or an offset for each character.
fn with_keys(call: &Arguments<'_>) -> u64 {
    sum(call).saturating_mul(8)
}

fn repeat(call: &Arguments<'_>) -> u64 {
    let counts = call.numbers(1);
    let most = call.total(0).saturating_mul(counts.most());
    if most <= SMALL || matches!(counts, Numbers::Same(_)) {
        return most;
    }
    let texts = call.widths(0);
    call.each_row(|row| texts.at(row).saturating_mul(counts.count(row)))
}

fn pad(call: &Arguments<'_>) -> u64 {
    let lengths = call.numbers(1);
    let padded = match lengths {
        Numbers::Same(_) => lengths.count(0).saturating_mul(4).saturating_mul(call.rows as u64),
        Numbers::Each(_) => call.each_row(|row| lengths.count(row).saturating_mul(4)),
    };
    padded.saturating_add(call.total(0))
}

fn concat_ws(call: &Arguments<'_>) -> u64 {
    sum(call).saturating_add(call.total(0).saturating_mul(call.values.len() as u64))
}

fn replace(call: &Arguments<'_>) -> u64 {
    if let (Some(from), Some(to)) = (call.width(1), call.width(2)) {
        let texts = call.total(0);
        return texts.saturating_add((texts / from.max(1) + call.rows as u64).saturating_mul(to));
    }
    let (texts, from, to) = (call.widths(0), call.widths(1), call.widths(2));
    call.each_row(|row| {
        let found = texts.at(row) / from.at(row).max(1) + 1;
        texts.at(row).saturating_add(found.saturating_mul(to.at(row)))
    })
}

/// Every place between two characters can match, and every two characters of the replacement can stand for
/// all that matched.
fn regexp_replace(call: &Arguments<'_>) -> u64 {
    let everywhere = call.values.len() > 3;
    let replaced = |text: u64, to: u64, rows: u64| {
        let found = if everywhere { text.saturating_add(rows) } else { rows };
        let captured = (to / 2).saturating_mul(text);
        text.saturating_add(found.saturating_mul(to)).saturating_add(captured)
    };
    if let Some(to) = call.width(2) {
        return replaced(call.total(0), to, call.rows as u64);
    }
    let (texts, to) = (call.widths(0), call.widths(2));
    call.each_row(|row| replaced(texts.at(row), to.at(row), 1))
}

fn array_repeat(call: &Arguments<'_>) -> u64 {
    let counts = call.numbers(1);
    let most = call.total(0).saturating_add(call.rows as u64).saturating_mul(counts.most());
    if most <= SMALL || matches!(counts, Numbers::Same(_)) {
        return most;
    }
    let values = call.widths(0);
    call.each_row(|row| values.at(row).max(1).saturating_mul(counts.count(row)))
}

fn array_resize(call: &Arguments<'_>) -> u64 {
    let (lengths, fill) = (call.numbers(1), call.widths(2));
    let added = call.each_row(|row| lengths.count(row).saturating_mul(fill.at(row).max(8)));
    added.saturating_add(call.total(0))
}

fn array_to_string(call: &Arguments<'_>) -> u64 {
    /// Most characters of a number or a time.
    const WRITTEN: u64 = 32;
    let joined = |lists: u64, separator: u64, null: u64, rows: u64| {
        // Each element takes four bytes, if only for where it ends.
        let each = separator.saturating_add(null).saturating_add(WRITTEN);
        lists.saturating_add((lists / 4 + rows).saturating_mul(each))
    };
    if let (Some(separator), Some(null)) = (call.width(1), call.width(2)) {
        return joined(call.total(0), separator, null, call.rows as u64);
    }
    let (lists, separators, nulls) = (call.widths(0), call.widths(1), call.widths(2));
    call.each_row(|row| joined(lists.at(row), separators.at(row), nulls.at(row), 1))
}

/// Every two characters of a format can stand for a whole date and time.
fn to_char(call: &Arguments<'_>) -> u64 {
    call.total(1).saturating_mul(20)
}

/// Steps between two ends, of numbers or of times.
fn range(call: &Arguments<'_>) -> u64 {
    let of_times = call.values.iter().any(|value| value.data_type().is_temporal());
    let (first, last) = match call.values.len() {
        0 | 1 => (Numbers::Same(0), ends(call, 0, of_times)),
        _ => (ends(call, 0, of_times), ends(call, 1, of_times)),
    };
    let step = match (call.values.len(), of_times) {
        (0..=2, _) => Numbers::Same(1),
        (_, false) => call.numbers(2),
        (_, true) => microseconds(&call.values[2]),
    };
    call.each_row(|row| {
        let distance = last.at(row).abs_diff(first.at(row));
        (distance / step.at(row).unsigned_abs().max(1)).saturating_add(1).saturating_mul(8)
    })
}

fn ends(call: &Arguments<'_>, at: usize, of_times: bool) -> Numbers {
    if !of_times {
        return call.numbers(at);
    }
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let cast =
        |value: &ColumnarValue| value.cast_to(&time, None).and_then(|v| v.cast_to(&DataType::Int64, None));
    match cast(&call.values[at]) {
        Ok(value) => Arguments::new(&[value], call.rows).numbers(0),
        Err(_) => Numbers::Same(0),
    }
}

/// How long an interval is at least, in microseconds.
fn microseconds(interval: &ColumnarValue) -> Numbers {
    let wanted = DataType::Interval(IntervalUnit::MonthDayNano);
    let array = interval.to_array(1).and_then(|array| Ok(cast(&array, &wanted)?));
    let Ok(array) = array else {
        return Numbers::Same(1);
    };
    let array = array.as_primitive::<IntervalMonthDayNanoType>();
    let each = array.iter().map(|step| match step {
        None => i64::MAX,
        Some(step) => {
            let days = i64::from(step.months) * 28 + i64::from(step.days);
            (days.saturating_mul(86_400_000_000)).saturating_add(step.nanoseconds / 1_000)
        }
    });
    let each: Int64Array = each.map(Some).collect();
    match interval {
        ColumnarValue::Scalar(_) => Numbers::Same(each.iter().flatten().next().unwrap_or(1)),
        ColumnarValue::Array(_) => Numbers::Each(each),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{DictionaryArray, StringArray, StringViewArray};
    use datafusion::arrow::datatypes::Int32Type;
    use datafusion::common::ScalarValue;

    use super::*;

    fn size(name: &str, values: &[ScalarValue]) -> u64 {
        let (_, size) = SIZES.iter().find(|(known, _)| *known == name).unwrap();
        let values: Vec<ColumnarValue> = values.iter().cloned().map(ColumnarValue::Scalar).collect();
        size(&Arguments::new(&values, 100))
    }

    #[test]
    fn sizes_come_from_values() {
        let text = ScalarValue::from("abc");
        assert_eq!(size("repeat", &[text.clone(), 5i64.into()]), 15);
        assert_eq!(size("repeat", &[text.clone(), (-5i64).into()]), 0);
        assert_eq!(size("replace", &[text.clone(), "b".into(), "xxxx".into()]), 3 + 4 * 4);
        assert_eq!(size("range", &[1i64.into(), 11i64.into()]), 88);
        assert_eq!(size("range", &[i64::MIN.into(), i64::MAX.into()]), u64::MAX);
    }

    #[test]
    fn columns_are_counted_as_their_rows() {
        let texts = ["a", "bcd", "", "a text that is longer than a view holds"];
        let columns: [ArrayRef; 3] = [
            Arc::new(StringArray::from_iter_values(texts)),
            Arc::new(StringViewArray::from_iter_values(texts)),
            Arc::new(texts.into_iter().collect::<DictionaryArray<Int32Type>>()),
        ];
        for column in columns {
            let part = column.slice(1, 3);
            let bytes: usize = texts[1..].iter().map(|text| text.len()).sum();
            assert_eq!(total(&part), bytes as u64);
            assert_eq!((0..3).map(|row| widths(&part).at(row)).sum::<u64>(), bytes as u64);
        }
    }

    #[test]
    fn names_are_sorted_and_unlike() {
        assert!(SIZES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
