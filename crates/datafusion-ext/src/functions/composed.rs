//! Aggregates that are expressions over other aggregates.

use std::hash::{Hash, Hasher};
use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Expr, ExprSchemable, LogicalPlan, Signature};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{LoweredAggregate, LoweredAggregateBuilder};

/// An aggregate whose value is computed from those of others.
#[derive(Debug)]
pub struct Composed {
    name: String,
    signature: Signature,
    returns: DataType,
    text: String,
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    arguments: SchemaRef,
    aggregates: Vec<LoweredAggregate>,
    /// The values of the aggregates.
    gathered: SchemaRef,
    value: Arc<dyn PhysicalExpr>,
}

impl Composed {
    /// Make an aggregate of a value over what `plan` gathers.
    pub fn new(
        state: &SessionState,
        name: &str,
        signature: Signature,
        arguments: &SchemaRef,
        plan: &LogicalPlan,
        value: Expr,
    ) -> Result<Self> {
        let LogicalPlan::Aggregate(plan) = plan else {
            return plan_err!("Expected aggregates, found {}", plan.display());
        };
        let input = DFSchema::try_from(Arc::clone(arguments))?;
        let context = PhysicalPlanningContext::default();
        let lowered = plan.aggr_expr.iter().map(|each| {
            LoweredAggregateBuilder::new(each, &input, arguments, state.execution_props(), &context).build()
        });
        let aggregates = lowered.collect::<Result<Vec<_>>>()?;
        if aggregates.iter().any(|each| !each.order_bys.is_empty()) {
            return plan_err!("{name} orders rows, which an aggregate that is an expression cannot");
        }
        let text = format!("{value} over {:?}", plan.aggr_expr);
        let returns = value.get_type(plan.schema.as_ref())?;
        let value = state.create_physical_expr(value, &plan.schema)?;
        let gathered = Arc::clone(plan.schema.inner());
        let parts = Arc::new(Parts { arguments: Arc::clone(arguments), aggregates, gathered, value });
        Ok(Self { name: name.to_string(), signature, returns, text, parts })
    }

    fn accumulators(&self, sliding: bool) -> Result<Box<dyn Accumulator>> {
        let each = self.parts.aggregates.iter().map(|each| match sliding {
            true => each.aggregate.create_sliding_accumulator(),
            false => each.aggregate.create_accumulator(),
        });
        Ok(Box::new(ComposedAccumulator {
            parts: Arc::clone(&self.parts),
            each: each.collect::<Result<_>>()?,
        }))
    }
}

impl PartialEq for Composed {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text, &self.signature) == (&other.name, &other.text, &other.signature)
    }
}

impl Eq for Composed {}

impl Hash for Composed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, &self.text).hash(state);
    }
}

impl AggregateUDFImpl for Composed {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct || !args.order_bys.is_empty() {
            return plan_err!("{} takes neither DISTINCT nor ORDER BY", self.name);
        }
        self.accumulators(false)
    }

    fn create_sliding_accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.accumulators(true)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let mut fields = Vec::new();
        for (at, each) in self.parts.aggregates.iter().enumerate() {
            for field in each.aggregate.state_fields()? {
                let name = format!("{}[{at}][{}]", args.name, field.name());
                fields.push(Arc::new(Field::new(name, field.data_type().clone(), true)));
            }
        }
        Ok(fields)
    }
}

#[derive(Debug)]
struct ComposedAccumulator {
    parts: Arc<Parts>,
    each: Vec<Box<dyn Accumulator>>,
}

impl ComposedAccumulator {
    fn fed(
        &mut self,
        values: &[ArrayRef],
        feed: impl Fn(&mut dyn Accumulator, &[ArrayRef]) -> Result<()>,
    ) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.parts.arguments), values.to_vec())?;
        for (part, accumulator) in self.parts.aggregates.iter().zip(&mut self.each) {
            let rows = match &part.filter {
                Some(filter) => {
                    let kept = filter.evaluate(&batch)?.into_array(batch.num_rows())?;
                    filter_record_batch(&batch, kept.as_boolean())?
                }
                None => batch.clone(),
            };
            let columns = part.aggregate.expressions();
            let columns = columns.iter().map(|each| each.evaluate(&rows)?.into_array(rows.num_rows()));
            feed(accumulator.as_mut(), &columns.collect::<Result<Vec<_>>>()?)?;
        }
        Ok(())
    }
}

impl Accumulator for ComposedAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.fed(values, |accumulator, columns| accumulator.update_batch(columns))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.fed(values, |accumulator, columns| accumulator.retract_batch(columns))
    }

    fn supports_retract_batch(&self) -> bool {
        self.each.iter().all(|each| each.supports_retract_batch())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let values = self.each.iter_mut().map(|each| each.evaluate()?.to_array());
        let columns = values.collect::<Result<Vec<_>>>()?;
        let fields = self.parts.gathered.fields().iter().zip(&columns);
        let fields = fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let row = RecordBatch::try_new(schema, columns)?;
        ScalarValue::try_from_array(&self.parts.value.evaluate(&row)?.into_array(1)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.each.iter().map(|each| each.size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let states = self.each.iter_mut().map(|each| each.state()).collect::<Result<Vec<_>>>()?;
        Ok(states.into_iter().flatten().collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let mut rest = states;
        for (part, accumulator) in self.parts.aggregates.iter().zip(&mut self.each) {
            let (own, others) = rest.split_at(part.aggregate.state_fields()?.len());
            accumulator.merge_batch(own)?;
            rest = others;
        }
        Ok(())
    }
}
