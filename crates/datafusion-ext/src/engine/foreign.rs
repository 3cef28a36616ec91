//! Streams of the Arrow C interface.
//!
//! Arrow's own reader applies the offset of a struct to the fields of its structs twice, and panics. This one
//! applies each offset once, before arrays are made.

use std::ffi::CStr;

use datafusion::arrow::array::{
    ArrayData, ArrayDataBuilder, RecordBatch, RecordBatchOptions, RecordBatchReader, StructArray,
};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef, UnionMode};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use datafusion::arrow::ffi_stream::FFI_ArrowArrayStream;

/// Reads the batches of a stream.
pub struct ForeignStream {
    stream: FFI_ArrowArrayStream,
    schema: SchemaRef,
}

impl ForeignStream {
    pub fn try_new(mut stream: FFI_ArrowArrayStream) -> Result<Self, ArrowError> {
        let (Some(get_schema), Some(_)) = (stream.get_schema, stream.release) else {
            return Err(ArrowError::CDataInterface("The stream has been read".to_string()));
        };
        let mut schema = FFI_ArrowSchema::empty();
        // SAFETY: the stream is not released, and both pointers live through the call.
        match unsafe { get_schema(&raw mut stream, &raw mut schema) } {
            0 => Ok(Self { schema: Schema::try_from(&schema)?.into(), stream }),
            code => Err(failure(&mut stream, code)),
        }
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let Some(get_next) = self.stream.get_next else { return Ok(None) };
        let mut array = FFI_ArrowArray::empty();
        // SAFETY: as above.
        match unsafe { get_next(&raw mut self.stream, &raw mut array) } {
            0 if array.is_released() => return Ok(None),
            0 => {}
            code => return Err(failure(&mut self.stream, code)),
        }
        let data_type = DataType::Struct(self.schema.fields().clone());
        // SAFETY: the array is what the stream says it is, which the interface asks of its producer.
        let data = rebased(&unsafe { from_ffi_and_data_type(array, data_type) }?);
        let rows = RecordBatchOptions::new().with_row_count(Some(data.len()));
        let columns = StructArray::from(data).into_parts().1;
        RecordBatch::try_new_with_options(self.schema(), columns, &rows).map(Some)
    }
}

impl Iterator for ForeignStream {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl RecordBatchReader for ForeignStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

fn failure(stream: &mut FFI_ArrowArrayStream, code: i32) -> ArrowError {
    // SAFETY: the stream is not released; what it returns lives until its next call, and is copied.
    let message = stream.get_last_error.map(|last| unsafe { last(&raw mut *stream) });
    let message = message.filter(|text| !text.is_null()).map_or_else(
        || format!("A stream failed with code {code}"),
        |text| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
    );
    ArrowError::CDataInterface(message)
}

fn rebased(data: &ArrayData) -> ArrayData {
    cut(data, 0, data.len())
}

/// Some rows of an array, with no offset at any struct, list of fixed size or sparse union below it.
fn cut(data: &ArrayData, offset: usize, length: usize) -> ArrayData {
    let start = data.offset() + offset;
    let nulls = data.nulls().map(|nulls| nulls.slice(offset, length));
    let builder = ArrayDataBuilder::new(data.data_type().clone()).len(length);
    let children = data.child_data().iter();
    let builder = match data.data_type() {
        DataType::Struct(_) => {
            builder.nulls(nulls).child_data(children.map(|child| cut(child, start, length)).collect())
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            let children = children.map(|child| cut(child, start * size, length * size));
            builder.nulls(nulls).child_data(children.collect())
        }
        DataType::Union(_, UnionMode::Sparse) => {
            let types = data.buffers().iter().map(|types| types.slice_with_length(start, length));
            let children = children.map(|child| cut(child, start, length));
            builder.buffers(types.collect()).child_data(children.collect())
        }
        _ => builder
            .offset(start)
            .nulls(nulls)
            .buffers(data.buffers().to_vec())
            .child_data(children.map(rebased).collect()),
    };
    // SAFETY: the same values as in `data`, which was valid.
    unsafe { builder.build_unchecked() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Array, ArrayRef, FixedSizeListArray, Int64Array, make_array};
    use datafusion::arrow::datatypes::{Field, Fields};

    use super::*;

    fn within(name: &str, inner: ArrayRef) -> StructArray {
        let fields = Fields::from(vec![Field::new(name, inner.data_type().clone(), true)]);
        StructArray::new(fields, vec![inner], None)
    }

    /// As other libraries hand out a slice: with an offset, and the fields whole.
    fn with_offset(array: &StructArray, offset: usize, length: usize) -> ArrayData {
        let data = array.to_data();
        let builder = data.into_builder().offset(offset).len(length);
        // SAFETY: the fields have that many rows.
        unsafe { builder.build_unchecked() }
    }

    #[test]
    fn offsets_of_structs_reach_the_values() {
        let leaf: ArrayRef = Arc::new(Int64Array::from_iter(0..10));
        let nested = within("a", Arc::new(within("b", Arc::new(within("c", leaf)))));
        let found = make_array(rebased(&with_offset(&nested, 3, 4)));
        assert_eq!(found.as_ref(), &nested.slice(3, 4) as &dyn Array);
    }

    #[test]
    fn offsets_of_lists_of_fixed_size_reach_the_values() {
        let leaf: ArrayRef = Arc::new(Int64Array::from_iter(0..10));
        let place: ArrayRef = Arc::new(within("a", Arc::new(within("b", leaf))));
        let field = Arc::new(Field::new_list_field(place.data_type().clone(), true));
        let lists: ArrayRef = Arc::new(FixedSizeListArray::new(field, 2, place, None));
        let nested = within("c", lists);
        let found = make_array(rebased(&with_offset(&nested, 1, 3)));
        assert_eq!(found.as_ref(), &nested.slice(1, 3) as &dyn Array);
    }
}
