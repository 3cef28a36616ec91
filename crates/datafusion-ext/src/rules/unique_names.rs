//! Filters are pushed only through operators whose columns have different names.
//!
//! DataFusion 55.2 finds the columns of a pushed filter in an operator's input by name. Where an input has
//! two columns of one name, as a self-join has, the filter can land on the wrong one, and rows disappear
//! (apache/datafusion#25244).

use std::collections::HashSet;
use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

/// A rule that pushes filters, kept from pushing them through operators with columns of one name.
#[derive(Debug)]
pub struct UniqueNamesOnly<R> {
    rule: R,
}

impl<R: PhysicalOptimizerRule> UniqueNamesOnly<R> {
    pub fn new(rule: R) -> Self {
        Self { rule }
    }
}

impl<R: PhysicalOptimizerRule + fmt::Debug> PhysicalOptimizerRule for UniqueNamesOnly<R> {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(guard)?;
        let optimized = self.rule.optimize(guarded.data, config)?;
        match guarded.transformed {
            true => optimized.transform_up(unguard).data(),
            false => Ok(optimized),
        }
    }

    fn name(&self) -> &str {
        self.rule.name()
    }

    fn schema_check(&self) -> bool {
        self.rule.schema_check()
    }
}

fn guard(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let schema = plan.schema();
    let mut names = HashSet::with_capacity(schema.fields().len());
    match schema.fields().iter().all(|field| names.insert(field.name())) {
        true => Ok(Transformed::no(plan)),
        false => Ok(Transformed::yes(Arc::new(FilterBarrier { input: plan }))),
    }
}

fn unguard(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    match plan.downcast_ref::<FilterBarrier>() {
        Some(barrier) => Ok(Transformed::yes(Arc::clone(&barrier.input))),
        None => Ok(Transformed::no(plan)),
    }
}

/// Stands before an operator while the rule runs and takes no filters, as operators do by default.
#[derive(Debug)]
struct FilterBarrier {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for FilterBarrier {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("FilterBarrier")
    }
}

impl ExecutionPlan for FilterBarrier {
    fn name(&self) -> &str {
        "FilterBarrier"
    }

    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self { input })),
            Err(children) => internal_err!("A filter barrier has one input, not {}", children.len()),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
