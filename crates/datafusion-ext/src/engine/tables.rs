//! Arrow data given by the caller, as tables: kept in memory, read once as a stream, or opened for each scan.

use std::fmt;
use std::sync::{Arc, Mutex};

use datafusion::arrow::array::{RecordBatch, RecordBatchReader};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;

use super::output::plain_batch;
use crate::error::{Code, EngineError, Result};
use crate::functions::{LONG_CONSTANT, widest_row};

/// A stream of batches that a foreign library produces; reading blocks.
pub type ForeignReader = Box<dyn RecordBatchReader + Send>;

/// How many batches a stream may be ahead of the query that reads it.
const READ_AHEAD: usize = 2;

/// Keep all batches of `reader`, without copying them, as a table with exact statistics. Columns with long texts
/// become views, which joins do not copy.
pub fn memory_table(reader: ForeignReader) -> Result<Arc<dyn TableProvider>> {
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<RecordBatch>, _>>()?;
    let fields = schema.fields().iter().enumerate().map(|(at, field)| match field.data_type() {
        DataType::Utf8 if has_long(&batches, at) => field.as_ref().clone().with_data_type(DataType::Utf8View),
        DataType::Binary if has_long(&batches, at) => {
            field.as_ref().clone().with_data_type(DataType::BinaryView)
        }
        _ => field.as_ref().clone(),
    });
    let viewed = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()));
    let batches = match viewed == schema {
        true => batches,
        false => batches.iter().map(|batch| plain_batch(batch, &viewed)).collect::<Result<_, _>>()?,
    };
    Ok(Arc::new(MemTable::try_new(viewed, vec![batches])?))
}

fn has_long(batches: &[RecordBatch], at: usize) -> bool {
    batches.iter().any(|batch| widest_row(batch.column(at)) > LONG_CONSTANT as u64)
}

/// Read `reader` when the table is first scanned, batch by batch.
pub fn stream_table(name: &str, reader: ForeignReader) -> Result<Arc<dyn TableProvider>> {
    let partition =
        OneShot { name: name.to_string(), schema: reader.schema(), reader: Mutex::new(Some(reader)) };
    let schema = Arc::clone(&partition.schema);
    Ok(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(partition)])?))
}

/// Opens a stream whenever it is called.
pub type Opener = Arc<dyn Fn() -> Result<ForeignReader> + Send + Sync>;

/// Read what `open` opens, for each scan anew.
pub fn opened_table(schema: SchemaRef, open: Opener) -> Result<Arc<dyn TableProvider>> {
    let partition = Reopened { schema: Arc::clone(&schema), open };
    Ok(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(partition)])?))
}

struct Reopened {
    schema: SchemaRef,
    open: Opener,
}

impl fmt::Debug for Reopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reopened")
    }
}

impl PartitionStream for Reopened {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let open = Arc::clone(&self.open);
        read_ahead(&self.schema, move || open())
    }
}

/// Read on a thread that may block.
fn read_ahead(
    schema: &SchemaRef,
    open: impl FnOnce() -> Result<ForeignReader> + Send + 'static,
) -> SendableRecordBatchStream {
    let mut builder = RecordBatchReceiverStream::builder(Arc::clone(schema), READ_AHEAD);
    let sender = builder.tx();
    builder.spawn_blocking(move || {
        for batch in open()? {
            if sender.blocking_send(batch.map_err(DataFusionError::from)).is_err() {
                break;
            }
        }
        Ok(())
    });
    builder.build()
}

struct OneShot {
    name: String,
    schema: SchemaRef,
    reader: Mutex<Option<ForeignReader>>,
}

impl fmt::Debug for OneShot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OneShot({})", self.name)
    }
}

impl OneShot {
    fn take(&self) -> Result<ForeignReader> {
        let mut reader = self.reader.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        reader.take().ok_or_else(|| {
            EngineError::new(
                Code::StreamConsumed,
                format!(
                    "Table {} is a stream, and it has been read. Register it again, or register a table \
                     that can be read more than once",
                    self.name
                ),
            )
        })
    }
}

impl PartitionStream for OneShot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let reader = self.take();
        read_ahead(&self.schema, move || reader)
    }
}
