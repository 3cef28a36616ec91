//! Structs as the engine expects them: below a NULL struct its fields are NULL.
//!
//! Arrow leaves open what such slots hold, and the engine's field access reads them as they are.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch, RecordBatchIterator,
    RecordBatchOptions, StructArray, make_array,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;

use super::tables::ForeignReader;

/// Make the fields of NULL structs NULL, at any depth; batches without structs stay as they are.
pub fn with_null_fields(reader: ForeignReader) -> ForeignReader {
    let schema = reader.schema();
    if !schema.fields().iter().any(|field| has_struct(field.data_type())) {
        return reader;
    }
    let batches = reader.map(|batch| masked_batch(&batch?));
    Box::new(RecordBatchIterator::new(batches, schema))
}

fn masked_batch(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(masked).collect::<Result<Vec<_>, _>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &rows)
}

/// Whether values may stand below NULL structs as a Parquet reader gives them: those of required fields do.
pub fn hides_values(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => {
            fields.iter().any(|field| !field.is_nullable() || hides_values(field.data_type()))
        }
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            hides_values(field.data_type())
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.iter().any(|field| hides_values(field.data_type())),
            _ => false,
        },
        _ => false,
    }
}

/// Whether there is a struct in values of a type.
pub fn has_struct(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => {
            has_struct(field.data_type())
        }
        _ => false,
    }
}

/// Make the fields of NULL structs NULL, at any depth.
pub fn masked(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Struct(_) => Ok(Arc::new(masked_struct(array.as_struct())?)),
        DataType::List(field) if has_struct(field.data_type()) => masked_list::<i32>(array),
        DataType::LargeList(field) if has_struct(field.data_type()) => masked_list::<i64>(array),
        DataType::Map(field, sorted) => {
            let (_, offsets, entries, nulls, _) = array.as_map().clone().into_parts();
            let entries = masked_struct(&entries)?;
            Ok(Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, nulls, *sorted)?))
        }
        _ => Ok(Arc::clone(array)),
    }
}

fn masked_struct(array: &StructArray) -> Result<StructArray, ArrowError> {
    let (fields, columns, nulls) = array.clone().into_parts();
    let rows = array.len();
    let columns = columns
        .iter()
        .map(|column| masked(&with_nulls(column, nulls.as_ref())?))
        .collect::<Result<Vec<_>, _>>()?;
    match columns.is_empty() {
        true => Ok(StructArray::new_empty_fields(rows, nulls)),
        false => StructArray::try_new(fields, columns, nulls),
    }
}

fn masked_list<O: OffsetSizeTrait>(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let (field, offsets, values, nulls) = array.as_list::<O>().clone().into_parts();
    Ok(Arc::new(GenericListArray::<O>::try_new(field, offsets, masked(&values)?, nulls)?))
}

/// The same values, with NULL also where `more` has it.
pub fn with_nulls(array: &ArrayRef, more: Option<&NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let holds_none =
        matches!(array.data_type(), DataType::Null | DataType::Union(..) | DataType::RunEndEncoded(..));
    let Some(more) = more.filter(|nulls| nulls.null_count() > 0 && !holds_none) else {
        return Ok(Arc::clone(array));
    };
    let nulls = NullBuffer::union(Some(more), array.nulls());
    Ok(make_array(array.to_data().into_builder().nulls(nulls).build()?))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{Field, Fields, Schema};

    use super::*;

    fn place(nulls: NullBuffer) -> StructArray {
        let fields = Fields::from(vec![Field::new("x", DataType::Int64, true)]);
        StructArray::new(fields, vec![Arc::new(Int64Array::from(vec![1, 0, 3]))], Some(nulls))
    }

    #[test]
    fn fields_of_a_null_struct_are_null() {
        let array: ArrayRef = Arc::new(place(NullBuffer::from(vec![true, false, true])));
        let schema = Arc::new(Schema::new(vec![Field::new("place", array.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![array]).unwrap();
        let reader = RecordBatchIterator::new([Ok(batch)], schema);
        let batch = with_null_fields(Box::new(reader)).next().unwrap().unwrap();
        let x = batch.column(0).as_struct().column(0);
        assert_eq!(x.as_ref(), &Int64Array::from(vec![Some(1), None, Some(3)]) as &dyn Array);
    }

    #[test]
    fn a_slice_is_masked_by_its_own_nulls() {
        let array: ArrayRef = Arc::new(place(NullBuffer::from(vec![true, false, true])).slice(1, 2));
        let x = masked(&array).unwrap().as_struct().column(0).clone();
        assert_eq!(x.as_ref(), &Int64Array::from(vec![None, Some(3)]) as &dyn Array);
    }
}
