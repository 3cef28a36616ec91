//! IN lists, `CASE x WHEN …` and `nullif` compare as `=` does.
//!
//! DataFusion 55.2 looks values up by their bits, to which -0.0 is not 0.0. And it tells the constants of a list
//! by evaluating them over no rows, where `CASE x WHEN …` gives one NULL for all: `x IN (CASE x WHEN 2 THEN x
//! END, 1)` is then NULL also where `x` is 2.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, Cast, InList, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, in_list};
use datafusion::optimizer::AnalyzerRule;

use super::rewriting::rewrite_expressions;

/// Writes comparisons out, after types are coerced.
#[derive(Debug, Default)]
pub struct PlainEquality;

impl AnalyzerRule for PlainEquality {
    fn name(&self) -> &str {
        "plain_equality"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |each, schema| Ok(rewrite(each, schema)))
    }
}

fn rewrite(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_float = |each: &Expr| each.get_type(schema).is_ok_and(|found| found.is_floating());
    match expression {
        Expr::InList(list) if !list.expr.is_volatile() => plain_list(list),
        Expr::Case(Case { expr: Some(value), when_then_expr, else_expr })
            if !value.is_volatile() && is_float(&value) =>
        {
            let searched = |(when, then): (Box<Expr>, _)| (Box::new(value.as_ref().clone().eq(*when)), then);
            let when_then_expr = when_then_expr.into_iter().map(searched).collect();
            Transformed::yes(Expr::Case(Case { expr: None, when_then_expr, else_expr }))
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "nullif" => {
            match args.as_slice() {
                [value, other] if !value.is_volatile() && is_float(value) => {
                    let when_then_expr =
                        vec![(Box::new(value.clone().eq(other.clone())), Box::new(null_of(value, schema)))];
                    let else_expr = Some(Box::new(value.clone()));
                    Transformed::yes(Expr::Case(Case { expr: None, when_then_expr, else_expr }))
                }
                _ => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
            }
        }
        other => Transformed::no(other),
    }
}

fn null_of(value: &Expr, schema: &DFSchema) -> Expr {
    let null = value.get_type(schema).and_then(|data_type| ScalarValue::try_from(&data_type));
    Expr::Literal(null.unwrap_or(ScalarValue::Null), None)
}

fn plain_list(InList { expr, list, negated }: InList) -> Transformed<Expr> {
    let other_zeros: Vec<Expr> = list.iter().filter_map(other_zero).collect();
    if other_zeros.is_empty() && !list.iter().any(is_computed) {
        return Transformed::no(Expr::InList(InList { expr, list, negated }));
    }
    let (computed, mut rest): (Vec<_>, Vec<_>) = list.into_iter().partition(is_computed);
    rest.extend(other_zeros);
    let mut found: Vec<Expr> = computed.into_iter().map(|each| expr.as_ref().clone().eq(each)).collect();
    if !rest.is_empty() {
        found.insert(0, in_list(*expr, rest, false));
    }
    let any = any_of(found);
    Transformed::yes(match any {
        Expr::InList(list) => Expr::InList(InList { negated, ..list }),
        any if negated => Expr::Not(Box::new(any)),
        any => any,
    })
}

/// The zero of the other sign, for a zero.
fn other_zero(expression: &Expr) -> Option<Expr> {
    let Expr::Literal(value, metadata) = expression else {
        return None;
    };
    let other = match value {
        ScalarValue::Float16(Some(value)) if value.to_f32() == 0.0 => ScalarValue::Float16(Some(-*value)),
        ScalarValue::Float32(Some(value)) if *value == 0.0 => ScalarValue::Float32(Some(-value)),
        ScalarValue::Float64(Some(value)) if *value == 0.0 => ScalarValue::Float64(Some(-value)),
        _ => return None,
    };
    Some(Expr::Literal(other, metadata.clone()))
}

fn is_computed(expression: &Expr) -> bool {
    match expression {
        Expr::Cast(Cast { expr, .. }) => is_computed(expr),
        Expr::Literal(..) | Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::Placeholder(_) => false,
        _ => true,
    }
}

/// A tree of OR that is no deeper than it has to be.
fn any_of(mut conditions: Vec<Expr>) -> Expr {
    if conditions.len() > 2 {
        let rest = conditions.split_off(conditions.len() / 2);
        return any_of(conditions).or(any_of(rest));
    }
    let last = conditions.pop().unwrap_or_else(|| Expr::Literal(false.into(), None));
    match conditions.pop() {
        Some(first) => first.or(last),
        None => last,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit, when};

    use super::*;

    fn rewritten(expression: Expr) -> Expr {
        rewrite(expression, &DFSchema::empty()).data
    }

    #[test]
    fn computed_values_are_compared_one_by_one() {
        let case = when(col("x").gt(lit(1)), col("x")).end().unwrap();
        let list = in_list(col("x"), vec![lit(1), case.clone(), lit(2), col("y")], true);
        let apart = in_list(col("x"), vec![lit(1), lit(2), col("y")], false).or(col("x").eq(case));
        assert_eq!(rewritten(list), Expr::Not(Box::new(apart)));
        let plain = in_list(col("x"), vec![lit(1), col("y")], false);
        assert_eq!(rewritten(plain.clone()), plain);
    }

    #[test]
    fn zeros_of_both_signs_are_looked_for() {
        let list = in_list(col("x"), vec![lit(0.0), lit(1.0)], true);
        assert_eq!(rewritten(list), in_list(col("x"), vec![lit(0.0), lit(1.0), lit(-0.0)], true));
    }

    #[test]
    fn floats_are_compared_in_cases() {
        let case = |value: Option<Expr>, when: Expr| {
            let when_then_expr = vec![(Box::new(when), Box::new(lit(1)))];
            Expr::Case(Case { expr: value.map(Box::new), when_then_expr, else_expr: None })
        };
        assert_eq!(rewritten(case(Some(lit(-0.0)), lit(0.0))), case(None, lit(-0.0).eq(lit(0.0))));
        assert_eq!(rewritten(case(Some(lit(1)), lit(2))), case(Some(lit(1)), lit(2)));
    }
}
