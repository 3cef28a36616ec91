//! Figures of an executed plan, added up by name over its operators.

use std::collections::BTreeMap;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricValue;

/// Add up the metrics of a plan. Times are in nanoseconds; `output_rows` is the root's alone.
pub fn total_metrics(plan: &dyn ExecutionPlan) -> BTreeMap<String, u64> {
    let mut totals = BTreeMap::new();
    add_tree(plan, &mut totals);
    let rows = plan.metrics().and_then(|metrics| metrics.output_rows());
    totals.insert("output_rows".to_string(), rows.unwrap_or_default() as u64);
    totals
}

fn add_tree(plan: &dyn ExecutionPlan, totals: &mut BTreeMap<String, u64>) {
    let metrics = plan.metrics().unwrap_or_default();
    for metric in metrics.iter() {
        add_value(metric.value(), totals);
    }
    for child in plan.children() {
        add_tree(child.as_ref(), totals);
    }
}

fn add_value(value: &MetricValue, totals: &mut BTreeMap<String, u64>) {
    let mut add = |name: String, amount: usize| *totals.entry(name).or_default() += amount as u64;
    match value {
        MetricValue::PruningMetrics { name, pruning_metrics } => {
            add(format!("{name}_pruned"), pruning_metrics.pruned());
            add(format!("{name}_matched"), pruning_metrics.matched());
        }
        MetricValue::OutputRows(_)
        | MetricValue::StartTimestamp(_)
        | MetricValue::EndTimestamp(_)
        | MetricValue::Ratio { .. }
        | MetricValue::Custom { .. } => {}
        countable => add(countable.name().to_string(), countable.as_usize()),
    }
}
