//! Streams of the Arrow C interface.
//!
//! Arrow's own reader applies the offset of a struct to the fields of its structs twice, and panics. This one
//! applies each offset once, before arrays are made.

use std::ffi::CStr;

use datafusion::arrow::array::{ArrayData, RecordBatch, RecordBatchOptions, RecordBatchReader, StructArray};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
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
        let data = settled(unsafe { from_ffi_and_data_type(array, data_type) }?);
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

/// The same values, with offsets of structs moved to their fields.
fn settled(data: ArrayData) -> ArrayData {
    if data.child_data().is_empty() {
        return data;
    }
    let (offset, rows) = (data.offset(), data.len());
    let is_struct = matches!(data.data_type(), DataType::Struct(_));
    let nulls = data.nulls().cloned();
    let fields = data.child_data().iter().cloned();
    let fields = match is_struct {
        true => fields.map(|field| settled(cut(field, offset, rows))).collect(),
        false => fields.map(settled).collect(),
    };
    let offset = if is_struct { 0 } else { offset };
    let builder = data.into_builder().offset(offset).nulls(nulls).child_data(fields);
    // SAFETY: the values are those of the array that came, which is as valid as before.
    unsafe { builder.build_unchecked() }
}

fn cut(data: ArrayData, offset: usize, rows: usize) -> ArrayData {
    if !matches!(data.data_type(), DataType::Struct(_)) {
        return data.slice(offset, rows);
    }
    let nulls = data.nulls().map(|nulls| nulls.slice(offset, rows));
    let start = data.offset() + offset;
    // SAFETY: as above; the fields are cut when the struct is settled.
    unsafe { data.into_builder().offset(start).len(rows).nulls(nulls).build_unchecked() }
}
