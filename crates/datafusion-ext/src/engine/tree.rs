//! Plans as trees: what each operator is, does and did.

use std::collections::BTreeMap;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlanProperties, displayable};

use super::metrics::{Counted, scanned_files};
use crate::error::Result;

/// One operator. A tree is a list of them in which parents come before their children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanNode {
    /// Position of the parent in the list; the root has none.
    pub parent: Option<usize>,
    pub operator: String,
    /// The operator on one line, as the engine prints it.
    pub detail: String,
    /// What the planner knows before the run and the operator counted in it; times are in nanoseconds.
    pub metrics: BTreeMap<String, u64>,
}

/// The tree of a logical plan; subqueries of expressions are children of the operator that has them.
pub fn logical_tree(plan: &LogicalPlan) -> Result<Vec<PlanNode>> {
    let mut nodes = Vec::new();
    let mut pending = vec![(None, plan.clone())];
    while let Some((parent, plan)) = pending.pop() {
        let detail = plan.display().to_string();
        let operator = detail.split_once(':').map_or(detail.as_str(), |(operator, _)| operator).to_string();
        let mut children: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
        plan.apply_subqueries(|subquery| {
            children.push(subquery.clone());
            Ok(TreeNodeRecursion::Continue)
        })?;
        let parent_of_children = Some(nodes.len());
        pending.extend(children.into_iter().rev().map(|child| (parent_of_children, child)));
        nodes.push(PlanNode { parent, operator, detail, metrics: BTreeMap::new() });
    }
    Ok(nodes)
}

/// The tree of a physical plan: its operators with the position of their parent and what they counted.
pub fn physical_tree(operators: Vec<Counted<'_>>) -> Vec<PlanNode> {
    let estimates = StatisticsContext::new();
    operators
        .into_iter()
        .map(|(parent, plan, mut metrics)| {
            metrics.insert("partitions".to_string(), plan.output_partitioning().partition_count() as u64);
            metrics.extend(scanned_files(plan));
            let known = estimates.compute(plan.as_ref(), &StatisticsArgs::new()).ok();
            let rows = known.and_then(|known| known.num_rows.get_value().copied());
            metrics.extend(rows.map(|rows| ("estimated_rows".to_string(), rows as u64)));
            let detail = displayable(plan.as_ref()).one_line().to_string().trim_end().to_string();
            PlanNode { parent, operator: plan.name().to_string(), detail, metrics }
        })
        .collect()
}
