//! Scalar, aggregate and window functions that are functions of the caller: arrays in, an array out.

use std::fmt::{self, Debug, Formatter};
use std::hash::{Hash, Hasher};
use std::mem::size_of_val;
use std::ptr;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_empty_array};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{
    AccumulatorArgs, PartitionEvaluatorArgs, StateFieldsArgs, WindowUDFFieldArgs,
};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, PartitionEvaluator, ScalarFunctionArgs, ScalarUDFImpl,
    Signature, Volatility, WindowUDFImpl,
};

use crate::error::{Code, EngineError, Result};

/// The function itself, called with a column for each argument.
pub type Call = Arc<dyn Fn(RecordBatch) -> Result<ArrayRef> + Send + Sync>;

/// What rows a call gets, and how many values it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Some rows of the query, for a value each.
    Scalar,
    /// All rows of a group, for one value.
    Aggregate,
    /// All rows of a partition in their order, for a value each.
    Window,
}

/// A function of the caller with its types.
pub struct Caller {
    name: String,
    signature: Signature,
    arguments: SchemaRef,
    returns: DataType,
    call: Call,
}

impl Caller {
    pub fn new(
        name: String,
        arguments: SchemaRef,
        returns: DataType,
        volatility: Volatility,
        call: Call,
    ) -> Self {
        let types = arguments.fields().iter().map(|field| field.data_type().clone()).collect();
        let names = arguments.fields().iter().map(|field| field.name().clone()).collect();
        let exact = Signature::exact(types, volatility);
        let signature = exact.clone().with_parameter_names(names).unwrap_or(exact);
        Self { name, signature, arguments, returns, call }
    }

    fn called(&self, columns: Vec<ArrayRef>, rows: usize, expected: usize) -> DataFusionResult<ArrayRef> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let fields = self.arguments.fields().iter().zip(&columns);
        // What the engine knows of NULLs is not what the caller declared.
        let fields = fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let found = (self.call)(RecordBatch::try_new_with_options(schema, columns, &options)?)?;
        if found.len() != expected || found.data_type() != &self.returns {
            let message = format!(
                "{} returned {} values of type {}, and must return {expected} of type {}",
                self.name,
                found.len(),
                found.data_type(),
                self.returns
            );
            return Err(EngineError::new(Code::Callback, message).about(&self.name).into());
        }
        Ok(found)
    }
}

/// A handle for each place of a function; two of them are equal if they call the same one.
macro_rules! handle {
    ($name:ident) => {
        #[derive(Clone)]
        pub struct $name(pub Arc<Caller>);

        impl Debug for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.name)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0)
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                ptr::hash(Arc::as_ptr(&self.0), state);
            }
        }
    };
}

handle!(CallerScalar);
handle!(CallerAggregate);
handle!(CallerWindow);

impl ScalarUDFImpl for CallerScalar {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.0.returns.clone())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = arguments.number_rows;
        let columns =
            arguments.args.iter().map(|each| each.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        Ok(ColumnarValue::Array(self.0.called(columns, rows, rows)?))
    }
}

impl AggregateUDFImpl for CallerAggregate {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.0.returns.clone())
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        let columns = vec![Vec::new(); self.0.arguments.fields().len()];
        Ok(Box::new(Gathered { caller: Arc::clone(&self.0), columns }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let lists = self.0.arguments.fields().iter().enumerate().map(|(at, field)| {
            let item = Field::new_list_field(field.data_type().clone(), true);
            Arc::new(Field::new(format!("{}[{at}]", arguments.name), DataType::List(Arc::new(item)), true))
        });
        Ok(lists.collect())
    }
}

/// All rows of a group.
#[derive(Debug)]
struct Gathered {
    caller: Arc<Caller>,
    /// The pieces of each column.
    columns: Vec<Vec<ArrayRef>>,
}

impl Debug for Caller {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({})", self.name)
    }
}

impl Gathered {
    fn whole(&self) -> DataFusionResult<Vec<ArrayRef>> {
        let columns = self.columns.iter().zip(self.caller.arguments.fields()).map(|(pieces, field)| {
            if pieces.is_empty() {
                return Ok(new_empty_array(field.data_type()));
            }
            Ok(concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
        });
        columns.collect()
    }
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.columns.iter_mut().zip(values).for_each(|(pieces, column)| pieces.push(Arc::clone(column)));
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let columns = self.whole()?;
        let rows = columns.first().map_or(0, |column| column.len());
        ScalarValue::try_from_array(&self.caller.called(columns, rows, 1)?, 0)
    }

    fn size(&self) -> usize {
        let held = self.columns.iter().flatten().map(|column| column.get_array_memory_size()).sum::<usize>();
        size_of_val(self) + held
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let lists = self
            .whole()?
            .into_iter()
            .map(|column| SingleRowListArrayBuilder::new(column).with_nullable(true).build_list_scalar());
        Ok(lists.collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for (pieces, lists) in self.columns.iter_mut().zip(states) {
            let lists = lists.as_list::<i32>();
            pieces.extend(lists.iter().flatten());
        }
        Ok(())
    }
}

impl WindowUDFImpl for CallerWindow {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), self.0.returns.clone(), true)))
    }

    fn partition_evaluator(
        &self,
        _arguments: PartitionEvaluatorArgs,
    ) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(WholePartition(Arc::clone(&self.0))))
    }
}

#[derive(Debug)]
struct WholePartition(Arc<Caller>);

impl PartitionEvaluator for WholePartition {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> DataFusionResult<ArrayRef> {
        self.0.called(values.to_vec(), num_rows, num_rows)
    }
}
