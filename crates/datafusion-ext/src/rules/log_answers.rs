//! Counts and extremes that the statistics of a table answer, before anything is planned for its files.
//!
//! DataFusion has such a rule for physical plans; by then a scan has described each of its files.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result, ScalarValue, Statistics};
use datafusion::datasource::{TableProvider, source_as_provider};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Aggregate, EmptyRelation, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, TableScan,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::engine::Writable;
use crate::scan::DeltaScan;

/// Replaces aggregates over whole Delta tables by what their logs say exactly.
#[derive(Debug, Default)]
pub struct LogAnswers;

impl OptimizerRule for LogAnswers {
    fn name(&self) -> &str {
        "log_answers"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let answers = match &plan {
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => answers(aggregate),
            _ => None,
        };
        let Some(answers) = answers else {
            return Ok(Transformed::no(plan));
        };
        let one_row = EmptyRelation { produce_one_row: true, schema: Arc::new(DFSchema::empty()) };
        let columns = answers.into_iter().zip(plan.schema().iter());
        let columns = columns.map(|(value, (table, field))| {
            Expr::Literal(value, None).alias_qualified(table.cloned(), field.name().clone())
        });
        let columns: Vec<Expr> = columns.collect();
        let answered = LogicalPlanBuilder::from(LogicalPlan::EmptyRelation(one_row)).project(columns)?;
        Ok(Transformed::yes(answered.build()?))
    }
}

fn answers(aggregate: &Aggregate) -> Option<Vec<ScalarValue>> {
    let scan = whole_table(&aggregate.input)?;
    let provider = source_as_provider(&scan.source).ok()?;
    if !is_delta(provider.as_ref()) {
        return None;
    }
    let statistics = provider.statistics()?;
    let schema = provider.schema();
    let position = |column: &Column| schema.index_of(column.name()).ok();
    let answer = |expression: &Expr| {
        let value = answer(expression, &statistics, &position)?;
        let wanted = expression.get_type(aggregate.input.schema()).ok()?;
        (value.data_type() == wanted).then_some(value)
    };
    aggregate.aggr_expr.iter().map(answer).collect()
}

/// Other sources may say of values that they are exact where they are not, as listings of files do.
fn is_delta(provider: &dyn TableProvider) -> bool {
    match provider.downcast_ref::<Writable>() {
        Some(writable) => is_delta(writable.table()),
        None => provider.downcast_ref::<DeltaScan>().is_some(),
    }
}

/// The scan below an aggregate, if every row of its table reaches it under the table's own column names.
fn whole_table(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => Some(scan),
        LogicalPlan::SubqueryAlias(alias) => whole_table(&alias.input),
        LogicalPlan::Projection(projection) => {
            let own = |expression: &Expr| matches!(expression, Expr::Column(_));
            projection.expr.iter().all(own).then(|| whole_table(&projection.input))?
        }
        _ => None,
    }
}

fn answer(
    expression: &Expr,
    statistics: &Statistics,
    position: &dyn Fn(&Column) -> Option<usize>,
) -> Option<ScalarValue> {
    let expression = match expression {
        Expr::Alias(alias) => alias.expr.as_ref(),
        other => other,
    };
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expression else {
        return None;
    };
    if params.filter.is_some() || !params.order_by.is_empty() {
        return None;
    }
    let [argument] = params.args.as_slice() else {
        return None;
    };
    let column = match argument {
        Expr::Column(column) => Some(statistics.column_statistics.get(position(column)?)?),
        Expr::Literal(value, _) if !value.is_null() => None,
        _ => return None,
    };
    match (func.name(), column) {
        ("count", None) if !params.distinct => count(exact(&statistics.num_rows)?),
        ("count", Some(column)) if !params.distinct => {
            count(exact(&statistics.num_rows)?.checked_sub(*exact(&column.null_count)?)?)
        }
        ("min", Some(column)) => exact(&column.min_value).cloned(),
        ("max", Some(column)) => exact(&column.max_value).cloned(),
        _ => None,
    }
}

fn count(rows: impl std::borrow::Borrow<usize>) -> Option<ScalarValue> {
    i64::try_from(*rows.borrow()).ok().map(ScalarValue::from)
}

fn exact<T: std::fmt::Debug + Clone + PartialEq + Eq + PartialOrd>(value: &Precision<T>) -> Option<&T> {
    match value {
        Precision::Exact(value) => Some(value),
        _ => None,
    }
}
