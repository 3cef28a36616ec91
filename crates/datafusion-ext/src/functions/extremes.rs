//! `max` and `min` of floating-point numbers in groups, by the order that sorting has.
//!
//! DataFusion 55.2 starts each group with the least or greatest finite number, which then stands for an infinite
//! one, and lets any number replace NaN: the answer depends on the order of the rows.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, Float32Type, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// The two functions, to be registered in place of DataFusion's.
pub fn extremes() -> [AggregateUDF; 2] {
    [
        AggregateUDF::new_from_impl(Extreme { inner: max_udaf(), wanted: Ordering::Greater }),
        AggregateUDF::new_from_impl(Extreme { inner: min_udaf(), wanted: Ordering::Less }),
    ]
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Extreme {
    inner: Arc<AggregateUDF>,
    /// How a value compares with the one that it replaces.
    wanted: Ordering,
}

fn in_groups<T: ArrowPrimitiveType + Send>(
    data_type: &DataType,
    start: T::Native,
    replaces: impl Fn(&T::Native, &T::Native) -> bool + Send + Sync + 'static,
) -> Box<dyn GroupsAccumulator> {
    let replace = move |current: &mut T::Native, new: T::Native| {
        if replaces(&new, current) {
            *current = new;
        }
    };
    Box::new(PrimitiveGroupsAccumulator::<T, _>::new(data_type, replace).with_starting_value(start))
}

impl AggregateUDFImpl for Extreme {
    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        // The numbers that come before or after all others, both of which are NaN.
        let (single, double) = match self.wanted {
            Ordering::Greater => (f32::from_bits(u32::MAX), f64::from_bits(u64::MAX)),
            _ => (f32::from_bits(u32::MAX >> 1), f64::from_bits(u64::MAX >> 1)),
        };
        let wanted = self.wanted;
        let data_type = args.return_field.data_type();
        Ok(match data_type {
            DataType::Float32 => {
                in_groups::<Float32Type>(data_type, single, move |new, old| new.total_cmp(old) == wanted)
            }
            DataType::Float64 => {
                in_groups::<Float64Type>(data_type, double, move |new, old| new.total_cmp(old) == wanted)
            }
            _ => self.inner.create_groups_accumulator(args)?,
        })
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

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_udf()
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.inner.value_from_stats(args)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
