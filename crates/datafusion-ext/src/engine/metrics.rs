//! Figures of an executed plan, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{Metric, MetricValue};

/// One run of a plan. Scans keep the figures of the runs before it, so their number at its start is known.
#[derive(Clone)]
pub struct Run {
    pub plan: Arc<dyn ExecutionPlan>,
    before: Vec<usize>,
}

impl Run {
    /// A run that is about to start.
    pub fn new(plan: Arc<dyn ExecutionPlan>) -> Self {
        let before = operators(&plan).iter().map(|(_, node)| figures(node.as_ref()).len()).collect();
        Self { plan, before }
    }

    /// The operators with the position of their parent, parents first, and what each counted in this run.
    pub fn operators(
        &self,
    ) -> impl Iterator<Item = (Option<usize>, &Arc<dyn ExecutionPlan>, BTreeMap<String, u64>)> {
        operators(&self.plan).into_iter().zip(&self.before).map(|((parent, node), before)| {
            let mut counted = BTreeMap::new();
            figures(node.as_ref()).iter().skip(*before).for_each(|figure| add(figure.value(), &mut counted));
            (parent, node, counted)
        })
    }

    /// Add up what the operators counted. Times are in nanoseconds; `output_rows` is the root's alone.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let mut totals = BTreeMap::new();
        for (parent, _, counted) in self.operators() {
            for (name, amount) in counted {
                if parent.is_none() || !name.starts_with("output_") {
                    *totals.entry(name).or_default() += amount;
                }
            }
        }
        totals.entry("output_rows".to_string()).or_default();
        totals
    }
}

/// All operators of a plan with the position of their parent, parents first.
fn operators(plan: &Arc<dyn ExecutionPlan>) -> Vec<(Option<usize>, &Arc<dyn ExecutionPlan>)> {
    let mut found = Vec::new();
    let mut pending = vec![(None, plan)];
    while let Some((parent, node)) = pending.pop() {
        let position = Some(found.len());
        pending.extend(node.children().into_iter().rev().map(|child| (position, child)));
        found.push((parent, node));
    }
    found
}

/// What an operator counted, without what is derived from other figures.
fn figures(plan: &dyn ExecutionPlan) -> Vec<Arc<Metric>> {
    let metrics = plan.metrics().unwrap_or_default();
    let counted = metrics.iter().filter(|metric| {
        !matches!(
            metric.value(),
            MetricValue::Ratio { .. }
                | MetricValue::Custom { .. }
                | MetricValue::StartTimestamp(_)
                | MetricValue::EndTimestamp(_)
        )
    });
    counted.cloned().collect()
}

fn add(value: &MetricValue, totals: &mut BTreeMap<String, u64>) {
    let mut add = |name: String, amount: usize| *totals.entry(name).or_default() += amount as u64;
    match value {
        MetricValue::PruningMetrics { name, pruning_metrics } => {
            add(format!("{name}_pruned"), pruning_metrics.pruned());
            add(format!("{name}_matched"), pruning_metrics.matched());
        }
        countable => add(countable.name().to_string(), countable.as_usize()),
    }
}
