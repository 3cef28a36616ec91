//! INSERT INTO tables that a function of the caller writes.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, RecordBatchReader};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Constraints, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::sink::{DataSink, DataSinkExec};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::StreamExt;
use std::borrow::Cow;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::output::{plain_batch, without_views};
use super::runtime::{NeverInterrupted, block_on};
use super::tables::ForeignReader;
use crate::error::{Code, EngineError, Result};

/// Writes all rows of a stream in one commit, in place of those that were there if the flag says so.
pub type Writer = Arc<dyn Fn(ForeignReader, bool) -> Result<()> + Send + Sync>;

/// How many batches the query may be ahead of the writer.
const WRITE_AHEAD: usize = 2;

/// Marks the values of columns that a statement names no values for.
const LEFT_OUT: &str = "datafusion_ext.left_out";

/// A table with a writer, which is given the columns that a statement names.
pub struct Writable {
    table: Arc<dyn TableProvider>,
    writer: Writer,
    /// What the planner puts where a statement names no values, by column.
    left_out: HashMap<String, Expr>,
}

/// Where inserted rows go, and SQL texts for columns that a statement leaves out and the writer can't fill.
pub struct Insertion {
    pub writer: Writer,
    pub defaults: BTreeMap<String, String>,
}

impl Insertion {
    /// A table whose rows go there. Texts that the engine can't read are left to the writer.
    pub fn into_table(self, table: Arc<dyn TableProvider>, state: &SessionState) -> Writable {
        let mut made = Writable::new(table, self.writer);
        for (column, sql) in self.defaults {
            if let Ok(default) = state.create_logical_expr(&sql, &DFSchema::empty()) {
                made.left_out.insert(column, default);
            }
        }
        made
    }
}

impl Writable {
    pub fn new(table: Arc<dyn TableProvider>, writer: Writer) -> Self {
        let mark = FieldMetadata::from(BTreeMap::from([(LEFT_OUT.to_string(), String::new())]));
        let schema = table.schema();
        let left_out = schema.fields().iter().filter_map(|field| {
            let null = ScalarValue::try_from(field.data_type()).ok()?;
            Some((field.name().clone(), Expr::Literal(null, Some(mark.clone()))))
        });
        Self { left_out: left_out.collect(), table, writer }
    }

    /// What is read.
    pub fn table(&self) -> &dyn TableProvider {
        self.table.as_ref()
    }
}

/// The columns of a plan that hold given values.
fn given(input: Arc<dyn ExecutionPlan>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    let fields = schema.fields().iter().enumerate();
    let kept: Vec<_> = fields
        .filter(|(_, field)| !field.metadata().contains_key(LEFT_OUT))
        .map(|(at, field)| ProjectionExpr::new(Arc::new(Column::new(field.name(), at)), field.name()))
        .collect();
    match kept.len() == schema.fields().len() {
        true => Ok(input),
        false => Ok(Arc::new(ProjectionExec::try_new(kept, input)?)),
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Writable({:?})", self.table)
    }
}

#[async_trait]
impl TableProvider for Writable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn constraints(&self) -> Option<&Constraints> {
        self.table.constraints()
    }

    fn table_type(&self) -> TableType {
        self.table.table_type()
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.table.get_table_definition()
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        self.table.get_logical_plan()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.left_out.get(column)
    }

    fn statistics(&self) -> Option<Statistics> {
        self.table.statistics()
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.table.scan(state, projection, filters, limit).await
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        operation: InsertOp,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let overwrite = match operation {
            InsertOp::Append => false,
            InsertOp::Overwrite => true,
            InsertOp::Replace => {
                let message = "REPLACE INTO is not supported; use INSERT INTO or INSERT OVERWRITE";
                return Err(EngineError::new(Code::Unsupported, message).into());
            }
        };
        let input = given(input)?;
        // The writer says of NULL in what column it may not be; the engine would say so of `column1`.
        let fields = input.schema();
        let fields = fields.fields().iter().map(|field| Field::clone(field).with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let sink = WriterSink { schema, writer: Arc::clone(&self.writer), overwrite };
        Ok(Arc::new(DataSinkExec::new(input, Arc::new(sink), None)))
    }
}

struct WriterSink {
    schema: SchemaRef,
    writer: Writer,
    overwrite: bool,
}

impl fmt::Debug for WriterSink {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "WriterSink(overwrite {})", self.overwrite)
    }
}

impl DisplayAs for WriterSink {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.overwrite { "DeltaSink: overwrite" } else { "DeltaSink: append" })
    }
}

#[async_trait]
impl DataSink for WriterSink {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    async fn write_all(
        &self,
        data: SendableRecordBatchStream,
        _context: &Arc<TaskContext>,
    ) -> DataFusionResult<u64> {
        let (sender, receiver) = channel(WRITE_AHEAD);
        let schema: SchemaRef = Arc::new(without_views(&data.schema()));
        let complete = Arc::new(AtomicBool::new(false));
        let reader = Arriving { schema, receiver, complete: Arc::clone(&complete) };
        let (writer, overwrite) = (Arc::clone(&self.writer), self.overwrite);
        let work = SpawnedTask::spawn_blocking(move || writer(Box::new(reader), overwrite));
        let sent = send(data, sender).await;
        let written = work.join().await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let rows = sent?;
        written?;
        match complete.load(Ordering::Acquire) {
            true => Ok(rows),
            false => Err(EngineError::new(Code::Internal, "The writer left rows unread").into()),
        }
    }
}

/// A batch; nothing at the end; or why there is no more. A channel that closes before the end says that the
/// query was given up, and its rows must not be taken for all there are.
type Arrival = std::result::Result<Option<RecordBatch>, String>;

/// Pass rows on until the writer has enough of them.
async fn send(mut data: SendableRecordBatchStream, sender: Sender<Arrival>) -> DataFusionResult<u64> {
    let mut rows = 0;
    while let Some(batch) = data.next().await {
        let arrival = match batch {
            Ok(batch) => {
                rows += batch.num_rows() as u64;
                Ok(Some(batch))
            }
            Err(error) => {
                // The writer may be gone already, and the query's own error is what counts.
                let _ = sender.send(Err(error.to_string())).await;
                return Err(error);
            }
        };
        if sender.send(arrival).await.is_err() {
            return Ok(rows);
        }
    }
    let _ = sender.send(Ok(None)).await;
    Ok(rows)
}

struct Arriving {
    schema: SchemaRef,
    receiver: Receiver<Arrival>,
    complete: Arc<AtomicBool>,
}

impl Iterator for Arriving {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.complete.load(Ordering::Acquire) {
            return None;
        }
        let gone = || Err("The query was given up before all its rows were there".to_string());
        let arrived = match block_on(self.receiver.recv(), &NeverInterrupted) {
            Ok(arrived) => arrived.unwrap_or_else(gone),
            Err(error) => Err(error.to_string()),
        };
        match arrived {
            Ok(Some(batch)) => Some(plain_batch(&batch, &self.schema)),
            Ok(None) => {
                self.complete.store(true, Ordering::Release);
                None
            }
            Err(message) => Some(Err(ArrowError::ExternalError(message.into()))),
        }
    }
}

impl RecordBatchReader for Arriving {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::DataType;
    use datafusion::datasource::MemTable;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::engine::runtime;

    fn context(writer: Writer) -> SessionContext {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        let table = MemTable::try_new(schema, vec![vec![]]).unwrap();
        let context = SessionContext::new();
        context.register_table("t", Arc::new(Writable::new(Arc::new(table), writer))).unwrap();
        context
    }

    fn run(writer: Writer, query: &'static str) -> DataFusionResult<Vec<RecordBatch>> {
        runtime().unwrap().block_on(async move { context(writer).sql(query).await?.collect().await })
    }

    const INSERT: &str = "INSERT INTO t SELECT value FROM generate_series(1, 100000)";

    #[test]
    fn all_rows_arrive() {
        let writer: Writer = Arc::new(|reader, overwrite| {
            assert!(!overwrite);
            let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
            assert_eq!(rows, 100_000);
            Ok(())
        });
        assert_eq!(run(writer, INSERT).unwrap()[0].num_rows(), 1);
    }

    #[test]
    fn columns_without_given_values_do_not_arrive() {
        let fields = vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Int64, false)];
        let table = MemTable::try_new(Arc::new(Schema::new(fields)), vec![vec![]]).unwrap();
        let writer: Writer = Arc::new(|reader, _| {
            let schema = reader.schema();
            let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            assert_eq!(names, ["y"]);
            assert!(schema.field(0).metadata().is_empty());
            reader.for_each(drop);
            Ok(())
        });
        let context = SessionContext::new();
        context.register_table("t", Arc::new(Writable::new(Arc::new(table), writer))).unwrap();
        for rows in ["VALUES (1)", "SELECT 1 UNION ALL SELECT 2", "SELECT 1 WHERE false"] {
            let query = format!("INSERT INTO t (y) {rows}");
            let context = context.clone();
            runtime().unwrap().block_on(async move { context.sql(&query).await?.collect().await }).unwrap();
        }
    }

    #[test]
    fn a_writer_that_fails_ends_the_query() {
        let writer: Writer = Arc::new(|_, _| Err(EngineError::new(Code::Callback, "no")));
        let error = EngineError::from(run(writer, INSERT).unwrap_err());
        assert_eq!((error.code, error.message.as_str()), (Code::Callback, "no"));
    }

    #[test]
    fn rows_left_unread_are_an_error() {
        let writer: Writer = Arc::new(|mut reader, _| {
            reader.next();
            Ok(())
        });
        assert_eq!(EngineError::from(run(writer, INSERT).unwrap_err()).code, Code::Internal);
    }

    #[test]
    fn a_query_that_fails_is_not_taken_for_the_end() {
        let writer: Writer = Arc::new(|mut reader, _| {
            // The reader never ends after an error, so that nobody can take the error for the end.
            assert!(reader.any(|batch| batch.is_err()));
            Ok(())
        });
        let query = "INSERT INTO t SELECT 1 / (value - 90000) FROM generate_series(1, 100000)";
        assert!(run(writer, query).unwrap_err().to_string().contains("Divide by zero"));
    }

    #[test]
    fn a_query_that_is_given_up_is_not_taken_for_the_end() {
        let (sender, receiver) = channel::<Arrival>(1);
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        let column = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        sender.try_send(Ok(Some(batch))).unwrap();
        drop(sender);
        let mut reader = Arriving { schema, receiver, complete: Arc::default() };
        assert!(reader.next().unwrap().is_ok());
        assert!(reader.next().unwrap().is_err());
    }
}
