//! Numbers with a point are compared with decimals as what they say.
//!
//! DataFusion reads 123456.79 as a double and compares it with a decimal as `DECIMAL(30, 15)`, where it has
//! become 123456.789999999993597: no value of a `DECIMAL(10, 2)` equals it.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use super::rewriting::rewrite_expressions;

const MOST_DIGITS: usize = 38;

/// Makes decimals of the doubles that decimals are compared with, before types are coerced.
#[derive(Debug, Default)]
pub struct DecimalLiterals;

impl AnalyzerRule for DecimalLiterals {
    fn name(&self) -> &str {
        "decimal_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |each, schema| Ok(rewrite(each, schema)))
    }
}

fn rewrite(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_decimal = |each: &Expr| each.get_type(schema).is_ok_and(|found| found.is_decimal());
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(op) => {
            let changed = match (decimal(&left), decimal(&right)) {
                (None, Some(value)) if is_decimal(&left) => Some((left.clone(), value.into())),
                (Some(value), None) if is_decimal(&right) => Some((value.into(), right.clone())),
                _ => None,
            };
            match changed {
                Some((left, right)) => Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::Between(between)
            if has_literal([&*between.low, &*between.high]) && is_decimal(&between.expr) =>
        {
            let Between { expr, negated, low, high } = between;
            let [low, high] = [low, high].map(|each| Box::new(exact(*each)));
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(list) if has_literal(&list.list) && is_decimal(&list.expr) => {
            let InList { expr, list, negated } = list;
            let list = list.into_iter().map(exact).collect();
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        other => Transformed::no(other),
    }
}

pub fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn has_literal<'a>(expressions: impl IntoIterator<Item = &'a Expr>) -> bool {
    expressions.into_iter().any(|each| decimal(each).is_some())
}

fn exact(expression: Expr) -> Expr {
    decimal(&expression).unwrap_or(expression)
}

/// The decimal that a literal double is written as, if it has few enough digits.
pub fn decimal(expression: &Expr) -> Option<Expr> {
    match expression {
        Expr::Literal(ScalarValue::Float64(Some(value)), metadata) => {
            Some(Expr::Literal(shortest(*value)?, metadata.clone()))
        }
        Expr::Negative(inner) => match inner.as_ref() {
            Expr::Literal(ScalarValue::Float64(Some(value)), metadata) => {
                Some(Expr::Literal(shortest(-*value)?, metadata.clone()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The decimal with the fewest digits that is read as the double.
fn shortest(value: f64) -> Option<ScalarValue> {
    if !value.is_finite() {
        return None;
    }
    let text = value.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = whole.trim_start_matches(['-', '0']).len() + fraction.len();
    let precision = digits.max(1);
    if precision > MOST_DIGITS {
        return None;
    }
    let number = format!("{whole}{fraction}").parse().ok()?;
    let scale = i8::try_from(fraction.len()).ok()?;
    Some(ScalarValue::Decimal128(Some(number), precision as u8, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_the_decimals_that_they_are_written_as() {
        let cases = [
            (123456.79, 12345679, 8, 2),
            (-0.01, -1, 2, 2),
            (5.0, 5, 1, 0),
            (0.0, 0, 1, 0),
            (1e20, 100_000_000_000_000_000_000, 21, 0),
        ];
        for (value, number, precision, scale) in cases {
            let expected = ScalarValue::Decimal128(Some(number), precision, scale);
            assert_eq!(shortest(value), Some(expected), "{value}");
        }
        for value in [f64::NAN, f64::INFINITY, 1e39, 1e-39] {
            assert_eq!(shortest(value), None, "{value}");
        }
    }
}
