//! Groups of the greatest or least floating-point numbers are found by sorting.
//!
//! DataFusion 55.2 keeps the best groups in a heap, into which it compares NaN as neither greater nor less: one
//! that comes late does not get in.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;

/// Takes the limit from aggregates that would keep floating-point numbers in a heap.
#[derive(Debug)]
pub struct NoFloatHeaps;

impl PhysicalOptimizerRule for NoFloatHeaps {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            Ok(match plan.downcast_ref::<AggregateExec>() {
                Some(aggregate) if keeps_floats(aggregate) => {
                    Transformed::yes(Arc::new(aggregate.with_new_limit_options(None)) as _)
                }
                _ => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "NoFloatHeaps"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn keeps_floats(aggregate: &AggregateExec) -> bool {
    let is_ordered = aggregate.limit_options().is_some_and(|limit| limit.descending().is_some());
    is_ordered && aggregate.schema().fields().iter().any(|field| field.data_type().is_floating())
}
