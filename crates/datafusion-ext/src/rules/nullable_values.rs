//! `VALUES` of an INSERT may be NULL in any column, so that the writer says in which it may not be.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Fields};
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, Values};
use datafusion::optimizer::AnalyzerRule;

/// DataFusion gives them the types of the table's columns, and fails with no word on which has a NULL.
#[derive(Debug)]
pub struct NullableValues;

impl AnalyzerRule for NullableValues {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let LogicalPlan::Dml(_) = plan else {
            return Ok(plan);
        };
        plan.transform_up(|plan| match plan {
            LogicalPlan::Values(values) => Ok(Transformed::yes(LogicalPlan::Values(nullable(values)?))),
            other => other.recompute_schema().map(Transformed::yes),
        })
        .data()
    }

    fn name(&self) -> &str {
        "nullable_values"
    }
}

fn nullable(values: Values) -> Result<Values> {
    let fields = values.schema.fields().iter().map(|field| Field::clone(field).with_nullable(true));
    let schema =
        DFSchema::from_unqualified_fields(fields.collect::<Fields>(), values.schema.metadata().clone())?;
    Ok(Values { schema: Arc::new(schema), values: values.values })
}
