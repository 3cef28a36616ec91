//! Values of a data file as the types that the table gives its columns.
//!
//! Files differ from their table where columns were added, dropped, renamed or widened after they were
//! written, and in how a writer chose to store a type. Each conversion keeps every value, or fails on the
//! first one that it would change.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, make_array, new_null_array,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit, TimestampNanosecondType};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::FormatOptions;

use super::mapping::ColumnMapping;
use crate::engine::nested::{hides_values, masked};
use crate::error::{Code, EngineError, Result};

const CHECKED: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// How the values of one column are converted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Conversion {
    Keep,
    Cast,
    /// Timestamps, which count from 1970 in UTC or have no zone: the number stays, its unit may change.
    Timestamp,
    /// For each field, where it is and how it is converted; `None` where the file has no such field.
    Struct(Vec<Option<(usize, Conversion)>>),
    List(Box<Conversion>),
    Map(Box<Conversion>, Box<Conversion>),
    /// Another conversion, after which the fields of NULL structs are NULL.
    Masked(Box<Conversion>),
}

impl Conversion {
    /// Plan the conversion of a column, or say why there is none.
    pub fn between(from: &DataType, to: &Field, mapping: ColumnMapping) -> Result<Self> {
        let conversion = Self::of_values(from, to, mapping)?;
        Ok(match hides_values(from) {
            true => Self::Masked(Box::new(conversion)),
            false => conversion,
        })
    }

    fn of_values(from: &DataType, to: &Field, mapping: ColumnMapping) -> Result<Self> {
        let wanted = to.data_type();
        if from == wanted {
            return Ok(Self::Keep);
        }
        let nested = |from: &FieldRef, to: &FieldRef| Self::of_values(from.data_type(), to, mapping);
        match (from, wanted) {
            (DataType::Struct(from), DataType::Struct(to)) => Self::fields(from, to, mapping),
            (
                DataType::List(from) | DataType::LargeList(from) | DataType::FixedSizeList(from, _),
                DataType::List(to),
            ) => Ok(Self::List(Box::new(nested(from, to)?))),
            (DataType::Map(from, _), DataType::Map(to, _)) => {
                let (DataType::Struct(from), DataType::Struct(to)) = (from.data_type(), to.data_type())
                else {
                    return Err(mismatch(from.data_type(), to));
                };
                match (from.as_ref(), to.as_ref()) {
                    ([key, value], [new_key, new_value]) => {
                        Ok(Self::Map(Box::new(nested(key, new_key)?), Box::new(nested(value, new_value)?)))
                    }
                    _ => Err(mismatch(
                        &DataType::Struct(from.clone()),
                        &Field::new_struct("", to.clone(), true),
                    )),
                }
            }
            (DataType::Timestamp(..), DataType::Timestamp(..)) => Ok(Self::Timestamp),
            (from, wanted) if keeps_values(from, wanted) => Ok(Self::Cast),
            _ => Err(mismatch(from, to)),
        }
    }

    fn fields(from: &Fields, to: &Fields, mapping: ColumnMapping) -> Result<Self> {
        let places = to.iter().map(|field| match mapping.find(field, from) {
            Some(at) => Ok(Some((at, Self::of_values(from[at].data_type(), field, mapping)?))),
            None => Ok(None),
        });
        Ok(Self::Struct(places.collect::<Result<_>>()?))
    }

    /// Convert values, whose type is the one that the conversion was planned from.
    pub fn apply(&self, values: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
        match (self, to) {
            (Self::Keep, _) => Ok(Arc::clone(values)),
            (Self::Masked(conversion), _) => masked(&conversion.apply(values, to)?),
            (Self::Timestamp, _) => timestamps(values, to),
            (Self::Struct(places), DataType::Struct(fields)) => structs(values, places, fields),
            (Self::List(element), DataType::List(field)) => lists(values, element, field),
            (Self::Map(key, value), DataType::Map(entries, sorted)) => {
                maps(values.as_map(), [key, value], entries, *sorted)
            }
            _ => cast_with_options(values, to, &CHECKED),
        }
    }
}

/// Whether a cast changes no value, or fails on the first one that it would change.
fn keeps_values(from: &DataType, to: &DataType) -> bool {
    use DataType::{Binary, BinaryView, Date32, Dictionary, FixedSizeBinary, Float16, Float32, Float64};
    use DataType::{LargeBinary, LargeUtf8, Null, Timestamp, Utf8, Utf8View};
    let is_text = |each: &DataType| matches!(each, Utf8 | LargeUtf8 | Utf8View);
    let is_binary = |each: &DataType| matches!(each, Binary | LargeBinary | BinaryView | FixedSizeBinary(_));
    match (from, to) {
        (Null, _) => true,
        (Dictionary(_, values), to) => values.as_ref() == to || keeps_values(values, to),
        // Files of old writers don't say that their bytes are texts.
        (from, to) if is_text(to) => is_text(from) || is_binary(from),
        (from, to) if is_binary(to) => is_binary(from) || is_text(from),
        (Float16 | Float32, Float32 | Float64) => true,
        (from, to) if from.is_integer() && to.is_integer() => true,
        (from, Float64) if from.is_integer() => from.primitive_width().is_some_and(|bytes| bytes <= 4),
        (from, to) if from.is_integer() && to.is_decimal() => decimal_digits(to).is_some(),
        (from, to) if from.is_decimal() && to.is_decimal() => {
            matches!((decimal_digits(from), decimal_digits(to)), (Some((_, old)), Some((_, new))) if old <= new)
        }
        // A date that is widened to a timestamp without a zone is its midnight.
        (Date32, Timestamp(_, None)) => true,
        _ => false,
    }
}

fn decimal_digits(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

fn mismatch(from: &DataType, to: &Field) -> EngineError {
    let message =
        format!("Column {:?} of a data file is {from}, and the table says {}", to.name(), to.data_type());
    EngineError::new(Code::Type, message)
}

fn timestamps(values: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let (DataType::Timestamp(old, _), DataType::Timestamp(new, _)) = (values.data_type(), to) else {
        return cast_with_options(values, to, &CHECKED);
    };
    let plain = relabelled(values, DataType::Timestamp(*old, None))?;
    if *old == TimeUnit::Nanosecond && *new == TimeUnit::Microsecond {
        let finer = |instant: i64| instant % 1000 != 0;
        if plain.as_primitive::<TimestampNanosecondType>().iter().flatten().any(finer) {
            let message = "A timestamp of a data file has nanoseconds, and the table's have microseconds";
            return Err(ArrowError::CastError(message.to_string()));
        }
    }
    relabelled(&cast_with_options(&plain, &DataType::Timestamp(*new, None), &CHECKED)?, to.clone())
}

/// The same numbers under another type of the same layout.
fn relabelled(values: &ArrayRef, data_type: DataType) -> Result<ArrayRef, ArrowError> {
    Ok(make_array(values.to_data().into_builder().data_type(data_type).build()?))
}

fn structs(
    values: &ArrayRef,
    places: &[Option<(usize, Conversion)>],
    fields: &Fields,
) -> Result<ArrayRef, ArrowError> {
    let values = values.as_struct();
    let children = places.iter().zip(fields).map(|(place, field)| match place {
        Some((at, conversion)) => conversion.apply(values.column(*at), field.data_type()),
        None => Ok(new_null_array(field.data_type(), values.len())),
    });
    let children = children.collect::<Result<Vec<_>, _>>()?;
    let nulls = values.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), children, nulls, values.len())?))
}

fn lists(values: &ArrayRef, element: &Conversion, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let source = match values.data_type() {
        DataType::List(_) => Arc::clone(values),
        DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => {
            cast_with_options(values, &DataType::List(Arc::clone(inner)), &CHECKED)?
        }
        other => return Err(ArrowError::CastError(format!("{other} is not a list"))),
    };
    let source = source.as_list::<i32>();
    let elements = element.apply(source.values(), field.data_type())?;
    let (offsets, nulls) = (source.offsets().clone(), source.nulls().cloned());
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, elements, nulls)?))
}

fn maps(
    values: &MapArray,
    conversions: [&Conversion; 2],
    entries: &FieldRef,
    sorted: bool,
) -> Result<ArrayRef, ArrowError> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(ArrowError::CastError(format!("{entries} is no map's")));
    };
    let columns = [values.keys(), values.values()].into_iter().zip(conversions).zip(fields);
    let columns = columns.map(|((column, conversion), field)| conversion.apply(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let converted = StructArray::try_new(fields.clone(), columns, None)?;
    let (offsets, nulls) = (values.offsets().clone(), values.nulls().cloned());
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, converted, nulls, sorted)?))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use datafusion::arrow::array::TimestampNanosecondArray;
    use datafusion::arrow::array::{Int32Array, Int64Array, StringArray, TimestampMillisecondArray};
    use datafusion::arrow::buffer::OffsetBuffer;

    use super::*;

    fn converted(values: ArrayRef, to: &Field, mapping: ColumnMapping) -> Result<ArrayRef> {
        let conversion = Conversion::between(values.data_type(), to, mapping)?;
        Ok(conversion.apply(&values, to.data_type())?)
    }

    fn plain(values: ArrayRef, to: DataType) -> Result<ArrayRef> {
        converted(values, &Field::new("x", to, true), ColumnMapping::None)
    }

    fn named(name: &str, physical: &str, data_type: DataType) -> Field {
        let key = "delta.columnMapping.physicalName".to_string();
        Field::new(name, data_type, true).with_metadata(HashMap::from([(key, physical.to_string())]))
    }

    fn structs_of(columns: Vec<(&str, ArrayRef)>) -> ArrayRef {
        let fields = columns
            .into_iter()
            .map(|(name, values)| (Arc::new(Field::new(name, values.data_type().clone(), true)), values));
        Arc::new(StructArray::from(fields.collect::<Vec<_>>()))
    }

    #[test]
    fn fields_of_structs_are_renamed_reordered_and_added() {
        let from = structs_of(vec![
            ("col-2", Arc::new(Int32Array::from(vec![1, 2]))),
            ("col-1", Arc::new(StringArray::from(vec!["a", "b"]))),
        ]);
        let to = Fields::from(vec![
            named("name", "col-1", DataType::Utf8),
            named("number", "col-2", DataType::Int64),
            named("later", "col-3", DataType::Boolean),
        ]);
        let field = Field::new_struct("s", to, true);
        let result = converted(from, &field, ColumnMapping::Name).unwrap();
        let result = result.as_struct();
        assert_eq!(result.column(0).as_string::<i32>(), &StringArray::from(vec!["a", "b"]));
        assert_eq!(result.column(1).as_primitive(), &Int64Array::from(vec![1, 2]));
        assert_eq!(result.column(2).null_count(), 2);
        assert_eq!(result.data_type(), field.data_type());
    }

    #[test]
    fn structs_within_lists_and_maps_are_converted() {
        let entry = |number: &str, data_type: DataType| {
            let value = Field::new_struct("value", vec![Field::new(number, data_type, true)], true);
            let key = Field::new("key", DataType::Int32, false);
            Arc::new(Field::new_struct("key_value", vec![key, value], false))
        };
        let old = entry("n", DataType::Int32);
        let keys: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        let numbers = structs_of(vec![("n", Arc::new(Int32Array::from(vec![1])))]);
        let DataType::Struct(fields) = old.data_type() else { unreachable!() };
        let entries = StructArray::new(fields.clone(), vec![keys, numbers], None);
        let map = MapArray::new(Arc::clone(&old), OffsetBuffer::from_lengths([1]), entries, None, false);
        let item = Arc::new(Field::new("array", map.data_type().clone(), true));
        let list: ArrayRef =
            Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1]), Arc::new(map), None));

        let new_map = DataType::Map(entry("n", DataType::Int64), false);
        let wanted = DataType::List(Arc::new(Field::new("element", new_map, true)));
        let result = plain(list, wanted.clone()).unwrap();
        assert_eq!(result.data_type(), &wanted);
        let value = result.as_list::<i32>().values().as_map().values().as_struct().column(0).clone();
        assert_eq!(value.as_primitive(), &Int64Array::from(vec![1]));
    }

    #[test]
    fn narrowing_fails_on_the_value_that_does_not_fit() {
        let values = || Arc::new(Int32Array::from(vec![Some(127), None])) as ArrayRef;
        assert_eq!(plain(values(), DataType::Int8).unwrap().null_count(), 1);
        assert!(plain(Arc::new(Int32Array::from(vec![128])), DataType::Int8).is_err());
    }

    #[test]
    fn types_that_are_not_alike_are_refused() {
        let error = plain(Arc::new(StringArray::from(vec!["1"])), DataType::Int64).unwrap_err();
        assert_eq!(error.code, Code::Type);
        assert!(error.message.contains("\"x\""));
        let scale = DataType::Decimal128(10, 2);
        let values = new_null_array(&DataType::Decimal128(10, 4), 1);
        assert_eq!(plain(values, scale).unwrap_err().code, Code::Type);
    }

    #[test]
    fn timestamps_keep_their_instant_or_fail() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![-1]));
        let micros = plain(millis, utc.clone()).unwrap();
        assert_eq!(micros.to_data().buffers()[0].typed_data::<i64>(), [-1000]);
        assert_eq!(micros.data_type(), &utc);
        let far: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![i64::MAX / 10]));
        assert!(plain(far, utc.clone()).is_err());
        let fine: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1001]));
        assert!(plain(fine, utc).is_err());
    }

    #[test]
    fn a_date_is_its_midnight() {
        let days = new_null_array(&DataType::Date32, 1);
        let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(plain(days, naive.clone()).unwrap().data_type(), &naive);
    }
}
