//! Long constants that are values of rows: they are copied for each row of a batch.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Case, Expr, LogicalPlan, ScalarUDF};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::functions::{LONG_CONSTANT, Memory, constant};

/// Functions that return one of their arguments.
const CHOOSING: [&str; 6] = ["coalesce", "greatest", "least", "nullif", "nvl", "nvl2"];

/// Makes a function of each long constant that takes the memory of its copies. This has to come last: other
/// rules know more to do with constants than with functions.
#[derive(Debug)]
pub struct BoundedConstants {
    constant: Arc<ScalarUDF>,
}

impl BoundedConstants {
    pub fn new(memory: Memory) -> Self {
        Self { constant: Arc::new(constant(memory)) }
    }

    /// The function that constants become.
    pub fn function(&self) -> Arc<ScalarUDF> {
        Arc::clone(&self.constant)
    }

    /// A value of rows, and not one that others are compared with.
    fn value(&self, expression: Expr) -> Transformed<Expr> {
        match expression {
            Expr::Literal(value, metadata) if is_long(&value) => {
                let args = vec![Expr::Literal(value, metadata)];
                let func = Arc::clone(&self.constant);
                Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
            }
            Expr::Alias(mut alias) => {
                let value = self.value(std::mem::take(alias.expr.as_mut()));
                value.update_data(|expr| {
                    *alias.expr = expr;
                    Expr::Alias(alias)
                })
            }
            Expr::Case(case) => self.case(case),
            Expr::ScalarFunction(call) if CHOOSING.contains(&call.name()) => {
                let mut changed = false;
                let args = call.args.into_iter().map(|each| self.noted(each, &mut changed)).collect();
                let call = Expr::ScalarFunction(ScalarFunction { func: call.func, args });
                Transformed::new_transformed(call, changed)
            }
            other => Transformed::no(other),
        }
    }

    fn case(&self, case: Case) -> Transformed<Expr> {
        let mut changed = false;
        let branches = case.when_then_expr.into_iter();
        let branches = branches.map(|(when, then)| (when, Box::new(self.noted(*then, &mut changed))));
        let branches = branches.collect();
        let otherwise = case.else_expr.map(|expr| Box::new(self.noted(*expr, &mut changed)));
        let case = Expr::Case(Case { expr: case.expr, when_then_expr: branches, else_expr: otherwise });
        Transformed::new_transformed(case, changed)
    }

    fn noted(&self, expression: Expr, changed: &mut bool) -> Expr {
        let value = self.value(expression);
        *changed |= value.transformed;
        value.data
    }
}

fn is_long(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => text.len() > LONG_CONSTANT,
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => bytes.len() > LONG_CONSTANT,
        ScalarValue::List(_) => value.size() > LONG_CONSTANT,
        _ => false,
    }
}

impl OptimizerRule for BoundedConstants {
    fn name(&self) -> &str {
        "bounded_constants"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Projection(_) = plan else {
            return Ok(Transformed::no(plan));
        };
        plan.map_expressions(|expression| {
            let name = NamePreserver::new_for_projection().save(&expression);
            Ok(self.value(expression).update_data(|value| name.restore(value)))
        })
    }
}
