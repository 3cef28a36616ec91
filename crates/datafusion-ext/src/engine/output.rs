//! What leaves the engine: plain string and binary columns instead of view types, as a blocking reader.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchReader};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tokio::sync::watch;

use super::limits::Guard;
use super::progress::{Outcome, SharedProgress};
use super::runtime::{Interrupt, block_on};
use crate::error::{Code, EngineError, Result};
use crate::functions::total_bytes;

/// The schema of results: like `schema`, with every view type replaced by its plain form.
pub fn without_views(schema: &Schema) -> Schema {
    let fields: Fields = schema.fields().iter().map(plain_field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// Marks a field whose values leave the engine as views.
const KEEP_VIEWS: &str = "datafusion_ext.keep_views";

/// The field, to leave the engine in the type that it has.
pub fn keep_views(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    if matches!(field.data_type(), DataType::Utf8View | DataType::BinaryView) {
        metadata.insert(KEEP_VIEWS.to_string(), String::new());
    }
    field.clone().with_metadata(metadata)
}

fn plain_field(field: &FieldRef) -> FieldRef {
    if field.metadata().contains_key(KEEP_VIEWS) {
        let mut metadata = field.metadata().clone();
        metadata.remove(KEEP_VIEWS);
        return Arc::new(Field::clone(field).with_metadata(metadata));
    }
    match plain_type(field.data_type()) {
        Some(data_type) => Arc::new(Field::clone(field).with_data_type(data_type)),
        None => Arc::clone(field),
    }
}

/// The plain form of a type, or `None` if the type has no view inside.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    let inner = |field: &FieldRef| {
        let plain = plain_field(field);
        (!Arc::ptr_eq(&plain, field)).then_some(plain)
    };
    match data_type {
        DataType::Utf8View => Some(DataType::Utf8),
        DataType::BinaryView => Some(DataType::Binary),
        DataType::List(field) => inner(field).map(DataType::List),
        DataType::LargeList(field) => inner(field).map(DataType::LargeList),
        DataType::FixedSizeList(field, size) => inner(field).map(|f| DataType::FixedSizeList(f, *size)),
        DataType::Map(field, sorted) => inner(field).map(|f| DataType::Map(f, *sorted)),
        DataType::Struct(fields) => {
            let plain: Fields = fields.iter().map(plain_field).collect();
            (plain != *fields).then_some(DataType::Struct(plain))
        }
        DataType::Dictionary(key, value) => {
            plain_type(value).map(|value| DataType::Dictionary(key.clone(), Box::new(value)))
        }
        _ => None,
    }
}

/// Views may stand for the same long text in many rows: so much of it is copied at once.
const MOST_COPIED: u64 = 32 << 20;

/// How many of the first rows of a batch can become plain together.
fn copied_together(batch: &RecordBatch, schema: &Schema) -> usize {
    let becomes_plain = |(column, field): &(&ArrayRef, &FieldRef)| column.data_type() != field.data_type();
    let views: Vec<_> = batch.columns().iter().zip(schema.fields()).filter(becomes_plain).collect();
    if views.iter().map(|(column, _)| total_bytes(column)).sum::<u64>() <= MOST_COPIED {
        return batch.num_rows();
    }
    let mut copied = 0;
    for row in 0..batch.num_rows() {
        copied += views.iter().map(|(column, _)| total_bytes(&column.slice(row, 1))).sum::<u64>();
        if copied > MOST_COPIED {
            return row.max(1);
        }
    }
    batch.num_rows()
}

/// The batch with columns of the types that `schema` has.
pub(super) fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let rows = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows)
}

/// Is told once how a run ended.
pub type OnEnd = Box<dyn FnOnce(&SharedProgress) + Send>;

/// A result as a blocking reader. It is freed by its end, by an error, by cancelling, or by dropping it.
pub struct ResultReader {
    schema: SchemaRef,
    stream: Option<SendableRecordBatchStream>,
    /// What is left of a batch.
    rest: Option<RecordBatch>,
    cancelled: watch::Receiver<u64>,
    interrupt: Box<dyn Interrupt>,
    guard: Guard,
    progress: SharedProgress,
    on_end: Option<OnEnd>,
    advice: Arc<BTreeMap<String, String>>,
}

impl ResultReader {
    pub fn new(
        stream: SendableRecordBatchStream,
        cancelled: watch::Receiver<u64>,
        interrupt: Box<dyn Interrupt>,
        guard: Guard,
        progress: SharedProgress,
        on_end: OnEnd,
    ) -> Self {
        let schema = Arc::new(without_views(&stream.schema()));
        Self {
            schema,
            stream: Some(stream),
            rest: None,
            cancelled,
            interrupt,
            guard,
            progress,
            on_end: Some(on_end),
            advice: Arc::default(),
        }
    }

    /// Add what to do to the texts of errors of these codes.
    pub fn advised(mut self, advice: Arc<BTreeMap<String, String>>) -> Self {
        self.advice = advice;
        self
    }

    /// Streams carry no more of an error than its text.
    fn told(&self, error: EngineError) -> ArrowError {
        match self.advice.get(error.code.as_str()) {
            Some(advice) => ArrowError::ExternalError(format!("{error} {advice}").into()),
            None => ArrowError::ExternalError(Box::new(error)),
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.stream = None;
        self.rest = None;
        self.progress.end(outcome);
        if let Some(on_end) = self.on_end.take() {
            on_end(&self.progress);
        }
    }

    fn read(&mut self) -> Result<Option<RecordBatch>> {
        let Some(stream) = self.stream.as_mut() else {
            return Ok(None);
        };
        self.guard.check_time()?;
        if let Some(rest) = self.rest.take() {
            return self.handed_out(rest).map(Some);
        }
        let cancelled = &mut self.cancelled;
        let next = async {
            tokio::select! {
                biased;
                // The query itself may be gone, which ends no run: then the pattern does not match.
                Ok(()) = cancelled.changed() => Err(EngineError::new(Code::Cancelled, "The query was cancelled")),
                next = stream.next() => Ok(next),
            }
        };
        // A panic on this thread ends the run as one on a worker does.
        let waited = guarded(|| block_on(next, &self.guard.watching(self.interrupt.as_ref())));
        match self.guard.explained(waited)?? {
            Some(batch) => {
                let batch = batch?;
                self.guard.count(batch.num_rows())?;
                self.handed_out(batch).map(Some)
            }
            None => Ok(None),
        }
    }

    /// The first rows of a batch, as many as can leave together; the others are kept.
    fn handed_out(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let rows = copied_together(&batch, &self.schema);
        self.rest = (rows < batch.num_rows()).then(|| batch.slice(rows, batch.num_rows() - rows));
        Ok(plain_batch(&batch.slice(0, rows), &self.schema)?)
    }
}

/// Do work whose panics are errors.
pub fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

/// What a panic says of itself, as an error.
fn panicked(panic: &(dyn Any + Send)) -> EngineError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    EngineError::new(Code::Internal, format!("The engine panicked: {text}"))
}

impl Drop for ResultReader {
    fn drop(&mut self) {
        self.end(Outcome::Abandoned);
    }
}

impl Iterator for ResultReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let asked = Instant::now();
        let read = self.read();
        self.progress.update(|progress| {
            progress.waiting += asked.elapsed();
            if let Ok(Some(batch)) = &read {
                progress.add(batch);
            }
        });
        match read {
            Ok(Some(batch)) => Some(Ok(batch)),
            Ok(None) => {
                self.end(Outcome::Finished);
                None
            }
            Err(error) => {
                self.end(Outcome::Failed(error.clone()));
                Some(Err(self.told(error)))
            }
        }
    }
}

impl RecordBatchReader for ResultReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_views_are_kept_without_their_mark() {
        let view = Field::new("a", DataType::Utf8View, true);
        let plain = without_views(&Schema::new(vec![keep_views(&view)]));
        assert_eq!(plain.field(0), &view);
    }

    #[test]
    fn views_are_replaced_at_any_depth() {
        let item = Arc::new(Field::new("item", DataType::Utf8View, true));
        let schema = Schema::new(vec![
            Field::new("a", DataType::BinaryView, false),
            Field::new("b", DataType::List(item), true),
            Field::new("c", DataType::Int64, true),
        ]);
        let plain = without_views(&schema);
        assert_eq!(plain.field(0), &Field::new("a", DataType::Binary, false));
        let item = Arc::new(Field::new("item", DataType::Utf8, true));
        assert_eq!(plain.field(1).data_type(), &DataType::List(item));
        assert_eq!(plain.field(2), schema.field(2));
    }
}
