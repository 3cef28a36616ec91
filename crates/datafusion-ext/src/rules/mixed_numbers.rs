//! Decimals that meet doubles become doubles, as in other engines.
//!
//! DataFusion 55.2 makes a `DECIMAL(30, 15)` of the double instead, which fails on NaN and on large numbers. What
//! is computed from decimals and numbers with a point alone stays with it: `0.1 * 30` is 3 there.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Between, Case, Cast, InList, ScalarFunction, TryCast};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::optimizer::AnalyzerRule;

use super::decimal_literals::{compares, decimal};
use super::rewriting::rewrite_expressions;

/// Functions that give one of their arguments.
const CHOOSING: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

/// Makes doubles of the decimals that doubles are compared or put together with, before types are coerced.
#[derive(Debug, Default)]
pub struct MixedNumbers;

impl AnalyzerRule for MixedNumbers {
    fn name(&self) -> &str {
        "mixed_numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |each, schema| Ok(rewrite(each, schema)))
    }
}

fn rewrite(mut expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let changed = match &mut expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
            as_doubles(&mut [left.as_mut(), right.as_mut()], schema)
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            as_doubles(&mut [expr.as_mut(), low.as_mut(), high.as_mut()], schema)
        }
        Expr::InList(InList { expr, list, .. }) => {
            as_doubles(&mut std::iter::once(expr.as_mut()).chain(list).collect::<Vec<_>>(), schema)
        }
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let (mut tested, mut given): (Vec<_>, Vec<_>) =
                when_then_expr.iter_mut().map(|(when, then)| (when.as_mut(), then.as_mut())).unzip();
            given.extend(else_expr.as_deref_mut());
            let is_simple = expr.is_some();
            tested.extend(expr.as_deref_mut());
            (is_simple && as_doubles(&mut tested, schema)) | as_doubles(&mut given, schema)
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if CHOOSING.contains(&func.name()) => {
            as_doubles(&mut args.iter_mut().collect::<Vec<_>>(), schema)
        }
        _ => false,
    };
    Transformed::new_transformed(expression, changed)
}

/// Make doubles of the decimals, if a double is among the expressions; say whether.
fn as_doubles(expressions: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let is_decimal = |each: &Expr| each.get_type(schema).is_ok_and(|found| found.is_decimal());
    if !expressions.iter().any(|each| is_double(each, schema)) {
        return false;
    }
    let mut changed = false;
    for each in expressions.iter_mut().filter(|each| is_decimal(each)) {
        let taken = std::mem::replace(*each, Expr::Literal(false.into(), None));
        **each = cast(taken, DataType::Float64);
        changed = true;
    }
    changed
}

/// Whether a number is a double by its origin, and not just for a point in a literal.
fn is_double(expression: &Expr, schema: &DFSchema) -> bool {
    let is_float = |each: &Expr| each.get_type(schema).is_ok_and(|found| found.is_floating());
    let is_origin = |each: &Expr| match each {
        Expr::Literal(..) => decimal(each).is_none(),
        Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::Placeholder(_) => true,
        Expr::Cast(Cast { .. }) | Expr::TryCast(TryCast { .. }) => true,
        _ => false,
    };
    is_float(expression)
        && expression.exists(|each| Ok(is_origin(each) && is_float(each))).unwrap_or_default()
}
