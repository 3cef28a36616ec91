//! A snapshot's live files, as handed over in one Arrow table.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use datafusion::arrow::compute::{cast, concat_batches, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Int64Type, SchemaRef};

use super::deletion::{DeletionVector, read_column};
use super::location::Location;
use crate::error::{Code, EngineError, Result};

/// One row per live file: path, size, row count and the statistics of the add action.
#[derive(Debug, Clone)]
pub struct FileList {
    /// Partition values and statistics, until the index is made of them.
    batch: Option<RecordBatch>,
    paths: StringArray,
    sizes: Int64Array,
    modified: Int64Array,
    rows: Int64Array,
    /// Row counts without deleted rows; the same array if no file has any.
    live_rows: Int64Array,
    /// Whether bounds and null counts are of the file's rows and not merely around them; all are, if absent.
    tight: Option<BooleanArray>,
    /// Empty if no file has a deletion vector.
    vectors: Vec<Option<Arc<DeletionVector>>>,
    /// Vectors of the only rows that are wanted of a file. Empty if there are none.
    wanted: Vec<Option<Arc<DeletionVector>>>,
    /// The columns that the rows of a file are in the order of, ascending with NULLs last; as texts in lists.
    sorted_by: Option<ListArray>,
}

impl FileList {
    /// Check and keep the hand-over. Columns: `path`, `size_bytes`, `modification_time` (milliseconds),
    /// `num_records`, and optionally `partition`, `null_count`, `min`, `max`, `tight_bounds`,
    /// `deletion_vector`, `only`, `sorted_by`.
    pub fn try_new(schema: &SchemaRef, batches: &[RecordBatch], location: &Location) -> Result<Self> {
        let batch = concat_batches(schema, batches)?;
        let rows = integers(&batch, "num_records")?;
        let read = |name: &str| match batch.column_by_name(name) {
            Some(vectors) if vectors.null_count() < vectors.len() => read_column(location, vectors),
            _ => Ok(Vec::new()),
        };
        let vectors = read("deletion_vector")?;
        let wanted = read("only")?;
        let tight = match batch.column_by_name("tight_bounds") {
            Some(_) => Some(column(&batch, "tight_bounds", &DataType::Boolean)?.as_boolean().clone()),
            None => None,
        };
        let names = DataType::new_list(DataType::Utf8, true);
        let sorted_by = match batch.column_by_name("sorted_by") {
            Some(_) => Some(column(&batch, "sorted_by", &names)?.as_list().clone()),
            None => None,
        };
        Ok(Self {
            sorted_by,
            tight,
            paths: column(&batch, "path", &DataType::Utf8)?.as_string().clone(),
            sizes: integers(&batch, "size_bytes")?,
            modified: integers(&batch, "modification_time")?,
            live_rows: live_rows(&rows, &vectors),
            rows,
            vectors,
            wanted,
            batch: Some(batch),
        })
    }

    /// Refuse files that can't be read from where the table is. Relative paths need no look.
    pub fn check_places(&self, location: &Location) -> Result<()> {
        let elsewhere = self.paths.iter().flatten().filter(|path| path.contains(':'));
        elsewhere.map(|path| location.file(path)).try_for_each(|place| place.map(drop))
    }

    /// The listed files only; `wanted` are paths as they were handed over.
    pub fn only(&self, wanted: &[String], location: &Location) -> Result<Self> {
        let mut places: HashMap<&str, usize> = wanted.iter().map(|path| (path.as_str(), 0)).collect();
        let listed = |path: Option<&str>| {
            let found = path.and_then(|path| places.get_mut(path));
            found.map(|times| *times += 1).is_some()
        };
        let kept: BooleanArray = self.paths.iter().map(listed).map(Some).collect();
        if let Some(path) = wanted.iter().find(|path| places[path.as_str()] == 0) {
            let message = format!("The snapshot has no file {path:?}");
            return Err(EngineError::new(Code::ScanInput, message).about(path));
        }
        let Some(batch) = &self.batch else {
            return Err(EngineError::new(Code::Internal, "Files are chosen before the index is made"));
        };
        let batch = filter_record_batch(batch, &kept)?;
        Self::try_new(&batch.schema(), &[batch], location)
    }

    /// Let go of what is not asked for once the index has been made.
    pub fn forget_statistics(&mut self) {
        self.batch = None;
    }

    /// Paths as they were handed over.
    pub fn paths(&self, data_type: &DataType) -> Result<ArrayRef> {
        Ok(cast(&self.paths, data_type)?)
    }

    pub fn len(&self) -> usize {
        self.paths.len()
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

    /// The rows that a file has in the table.
    pub fn num_rows(&self, file: usize) -> Option<usize> {
        known(&self.live_rows, file)
    }

    pub fn row_counts(&self) -> &Int64Array {
        &self.live_rows
    }

    /// Row counts with deleted rows: what the statistics of the files are about.
    pub fn stored_row_counts(&self) -> &Int64Array {
        &self.rows
    }

    /// Whether the statistics of a file are exact: it has no deleted rows, and nothing says otherwise.
    pub fn is_whole(&self, file: usize) -> bool {
        let tight = self.tight.as_ref().is_none_or(|tight| tight.is_null(file) || tight.value(file));
        tight && self.vector(file).is_none() && self.wanted(file).is_none()
    }

    pub fn are_whole(&self, files: &BooleanArray) -> bool {
        self.are_all_whole() || files.values().set_indices().all(|file| self.is_whole(file))
    }

    pub fn are_all_whole(&self) -> bool {
        self.tight.is_none() && self.vectors.is_empty() && self.wanted.is_empty()
    }

    pub fn have_vectors(&self) -> bool {
        !self.vectors.is_empty()
    }

    pub fn vector(&self, file: usize) -> Option<&Arc<DeletionVector>> {
        self.vectors.get(file)?.as_ref()
    }

    /// The rows that alone are wanted of a file, if that is not all.
    pub fn wanted(&self, file: usize) -> Option<&Arc<DeletionVector>> {
        self.wanted.get(file)?.as_ref()
    }

    /// The columns that the rows of a file are in the order of.
    pub fn sorted_by(&self, file: usize) -> Vec<String> {
        let known = self.sorted_by.as_ref().filter(|sorted_by| sorted_by.is_valid(file));
        let names = known.map(|sorted_by| sorted_by.value(file));
        names.iter().flat_map(|names| names.as_string::<i32>()).flatten().map(String::from).collect()
    }

    /// A column inside one of the struct columns, cast to `data_type`; `None` where there is no such
    /// column or its values can't be read as that type.
    pub fn nested(&self, group: &str, name: &str, data_type: &DataType) -> Option<ArrayRef> {
        let group = self.batch.as_ref()?.column_by_name(group)?.as_any().downcast_ref::<StructArray>()?;
        let values = cast(group.column_by_name(name)?, data_type).ok()?;
        Some(with_parent_nulls(group, values))
    }
}

fn known(counts: &Int64Array, file: usize) -> Option<usize> {
    counts.is_valid(file).then(|| counts.value(file)).and_then(|count| count.try_into().ok())
}

fn live_rows(rows: &Int64Array, vectors: &[Option<Arc<DeletionVector>>]) -> Int64Array {
    if vectors.is_empty() {
        return rows.clone();
    }
    let left = |(rows, vector): (Option<i64>, &Option<Arc<DeletionVector>>)| {
        let deleted = vector.as_ref().map_or(0, |vector| vector.cardinality());
        rows?.checked_sub_unsigned(deleted).filter(|left| *left >= 0)
    };
    rows.iter().zip(vectors).map(left).collect()
}

/// A value inside a struct that is NULL as a whole is NULL.
fn with_parent_nulls(group: &StructArray, values: ArrayRef) -> ArrayRef {
    match group.nulls() {
        None => values,
        Some(nulls) => {
            let present = BooleanArray::new(nulls.inner().clone(), None);
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
    use super::*;
    use datafusion::arrow::array::{Float64Array, TimestampMicrosecondArray};
    use datafusion::arrow::datatypes::{Field, Schema};

    impl FileList {
        pub fn with_tight_bounds(self, tight: &[bool]) -> Self {
            Self { tight: Some(tight.to_vec().into()), ..self }
        }
    }

    /// The same with two rows of the first file deleted.
    pub fn three_files_with_a_vector() -> FileList {
        let files = three_files();
        let texts = |values: [Option<&str>; 3]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
        let numbers = |values: [Option<i64>; 3]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
        let columns = [
            ("storage_type", texts([Some("u"), None, None])),
            ("path_or_inline_dv", texts([Some("ab^-aqEH.-t@S}K{vb[*k^"), None, None])),
            ("offset", numbers([Some(1), None, None])),
            ("size_in_bytes", numbers([Some(40), None, None])),
            ("cardinality", numbers([Some(2), None, None])),
        ];
        let (fields, arrays): (Vec<_>, Vec<_>) = columns
            .into_iter()
            .map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array))
            .unzip();
        let nulls = vec![true, false, false].into();
        let vectors = StructArray::new(fields.into(), arrays, Some(nulls));
        let given = files.batch.unwrap();
        let mut fields = given.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("deletion_vector", vectors.data_type().clone(), true)));
        let mut arrays = given.columns().to_vec();
        arrays.push(Arc::new(vectors));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let location = Location::parse("/t", &Default::default()).unwrap();
        FileList::try_new(&batch.schema(), &[batch], &location).unwrap()
    }

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
        let location = Location::parse("/t", &Default::default()).unwrap();
        FileList::try_new(&schema, &[batch], &location).unwrap()
    }
}
