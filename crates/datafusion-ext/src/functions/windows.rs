//! Aggregates over windows: they make a value for every row, and the values that gather rows grow with it.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature};

use super::memory::Memory;

/// The aggregates that gather what they see.
pub const GATHERING: [&str; 2] = ["array_agg", "string_agg"];

/// An aggregate over windows whose values are taken from the memory of the engine.
#[derive(Debug, Clone)]
pub struct BoundedWindow {
    inner: Arc<AggregateUDF>,
    memory: Memory,
}

impl BoundedWindow {
    /// The aggregate in bounds, if it is one whose values can get large.
    pub fn around(function: &Arc<AggregateUDF>, memory: &Memory) -> Option<Arc<AggregateUDF>> {
        if !GATHERING.contains(&function.name()) || function.inner().is::<Self>() {
            return None;
        }
        let bounded = Self { inner: Arc::clone(function), memory: memory.clone() };
        Some(Arc::new(AggregateUDF::new_from_impl(bounded)))
    }

    fn counted(&self, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        let (name, memory) = (self.inner.name().to_string(), self.memory.clone());
        let reservation = memory.reservation(&name);
        Box::new(Counted { inner, name, memory, reservation, unlimited: 0 })
    }
}

impl PartialEq for BoundedWindow {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for BoundedWindow {}

impl std::hash::Hash for BoundedWindow {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl AggregateUDFImpl for BoundedWindow {
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args).map(|inner| self.counted(inner))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args).map(|inner| self.counted(inner))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_udf() {
            ReversedUDAF::Reversed(inner) => match Self::around(&inner, &self.memory) {
                Some(bounded) => ReversedUDAF::Reversed(bounded),
                None => ReversedUDAF::Reversed(inner),
            },
            other => other,
        }
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }
}

/// Takes the memory of each value; the values of a window live until all are made.
struct Counted {
    inner: Box<dyn Accumulator>,
    name: String,
    memory: Memory,
    reservation: MemoryReservation,
    unlimited: u64,
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counted({:?})", self.inner)
    }
}

impl Accumulator for Counted {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // What is gathered so far is what the next value is made of.
        let bytes = self.inner.size() as u64;
        self.unlimited = self.unlimited.saturating_add(bytes);
        self.memory.grow_by(&self.reservation, &self.name, bytes, self.unlimited)?;
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}
