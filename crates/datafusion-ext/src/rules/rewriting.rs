//! Rewriting the expressions of a plan.

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Rewrite every expression, innermost first, in subqueries as well. What a node shows keeps its name.
pub fn rewrite_expressions(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let schema = merge_schema(&plan.inputs());
        let rewritten = plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_up(|each| rewrite(each, &schema))?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })?;
        match rewritten.transformed {
            true => rewritten.map_data(LogicalPlan::recompute_schema),
            false => Ok(rewritten),
        }
    });
    rewritten.data()
}
