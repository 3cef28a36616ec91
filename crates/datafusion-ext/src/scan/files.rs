//! A snapshot's live files, as handed over in one Arrow table.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, StructArray};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Int64Type, SchemaRef};

use crate::error::{Code, EngineError, Result};

/// One row per live file: path, size, row count and the statistics of the add action.
#[derive(Debug, Clone)]
pub struct FileList {
    batch: RecordBatch,
    paths: StringArray,
    sizes: Int64Array,
    modified: Int64Array,
    rows: Int64Array,
}

impl FileList {
    /// Check and keep the hand-over. Columns: `path`, `size_bytes`, `modification_time` (milliseconds),
    /// `num_records`, and optionally `partition`, `null_count`, `min`, `max`, `deletion_vector`.
    pub fn try_new(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Self> {
        let batch = concat_batches(schema, batches)?;
        let files = Self {
            paths: column(&batch, "path", &DataType::Utf8)?.as_string().clone(),
            sizes: integers(&batch, "size_bytes")?,
            modified: integers(&batch, "modification_time")?,
            rows: integers(&batch, "num_records")?,
            batch,
        };
        files.refuse_deletion_vectors()?;
        Ok(files)
    }

    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn path(&self, file: usize) -> &str {
        self.paths.value(file)
    }

    pub fn size_bytes(&self, file: usize) -> u64 {
        self.sizes.value(file).try_into().unwrap_or_default()
    }

    pub fn modified_millis(&self, file: usize) -> i64 {
        self.modified.value(file)
    }

    pub fn num_rows(&self, file: usize) -> Option<usize> {
        if self.rows.is_null(file) {
            return None;
        }
        self.rows.value(file).try_into().ok()
    }

    pub fn row_counts(&self) -> &Int64Array {
        &self.rows
    }

    /// A column inside one of the struct columns, cast to `data_type`; `None` where there is no such
    /// column or its values can't be read as that type.
    pub fn nested(&self, group: &str, name: &str, data_type: &DataType) -> Option<ArrayRef> {
        let group = self.batch.column_by_name(group)?.as_any().downcast_ref::<StructArray>()?;
        let values = cast(group.column_by_name(name)?, data_type).ok()?;
        Some(with_parent_nulls(group, values))
    }

    fn refuse_deletion_vectors(&self) -> Result<()> {
        let vectors = self.batch.column_by_name("deletion_vector");
        match vectors.filter(|vectors| vectors.null_count() < vectors.len()) {
            None => Ok(()),
            Some(_) => Err(EngineError::new(
                Code::Unsupported,
                "The table has deletion vectors, which native scans can't apply yet",
            )),
        }
    }
}

/// A value inside a struct that is NULL as a whole is NULL.
fn with_parent_nulls(group: &StructArray, values: ArrayRef) -> ArrayRef {
    match group.nulls() {
        None => values,
        Some(nulls) => {
            let present = datafusion::arrow::array::BooleanArray::new(nulls.inner().clone(), None);
            let absent = datafusion::arrow::compute::not(&present);
            absent.and_then(|absent| datafusion::arrow::compute::nullif(&values, &absent)).unwrap_or_else(
                |_| datafusion::arrow::array::new_null_array(values.data_type(), values.len()),
            )
        }
    }
}

fn integers(batch: &RecordBatch, name: &str) -> Result<Int64Array> {
    Ok(column(batch, name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn column(batch: &RecordBatch, name: &str, data_type: &DataType) -> Result<ArrayRef> {
    let Some(found) = batch.column_by_name(name) else {
        return Err(EngineError::new(Code::ScanInput, format!("The list of files has no column {name:?}")));
    };
    cast(found, data_type).map_err(|_| {
        EngineError::new(
            Code::ScanInput,
            format!("Column {name:?} of the list of files is {}, not {data_type}", found.data_type()),
        )
    })
}

/// Shared by the tests of this module's neighbours.
#[cfg(test)]
pub(super) mod fixtures {
    use std::sync::Arc;

    use super::*;
    use datafusion::arrow::array::{Float64Array, TimestampMicrosecondArray};
    use datafusion::arrow::datatypes::{Field, Schema};

    /// Three files: `id` 0-9, 10-19 and unknown; `x` with a zero minimum; `at` in microseconds.
    pub fn three_files() -> FileList {
        let ids = |values: [Option<i64>; 3]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
        let floats = |values: [Option<f64>; 3]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
        let times =
            |values: [Option<i64>; 3]| Arc::new(TimestampMicrosecondArray::from(values.to_vec())) as ArrayRef;
        let group = |id: ArrayRef, x: ArrayRef, at: ArrayRef| {
            let fields = vec![
                (Arc::new(Field::new("id", id.data_type().clone(), true)), id),
                (Arc::new(Field::new("x", x.data_type().clone(), true)), x),
                (Arc::new(Field::new("at", at.data_type().clone(), true)), at),
            ];
            Arc::new(StructArray::from(fields)) as ArrayRef
        };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("path", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
            ("size_bytes", ids([Some(100), Some(200), Some(300)])),
            ("modification_time", ids([Some(1), Some(2), Some(3)])),
            ("num_records", ids([Some(10), Some(10), None])),
            (
                "min",
                group(
                    ids([Some(0), Some(10), None]),
                    floats([Some(0.0), Some(1.0), None]),
                    times([Some(1000), None, None]),
                ),
            ),
            (
                "max",
                group(
                    ids([Some(9), Some(19), None]),
                    floats([Some(5.0), Some(2.0), None]),
                    times([Some(2000), None, None]),
                ),
            ),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
        let schema: SchemaRef = Arc::new(Schema::clone(batch.schema_ref()));
        FileList::try_new(&schema, &[batch]).unwrap()
    }
}
