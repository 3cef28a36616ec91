use std::collections::BTreeMap;

use pyo3::prelude::*;

use crate::engine::{Explanation, PlanNode};

/// The plans of a query, as a dictionary.
#[derive(IntoPyObject)]
pub struct PyExplanation {
    logical: String,
    optimized: String,
    physical: String,
    analyzed: Option<String>,
    logical_tree: Vec<PyPlanNode>,
    optimized_tree: Vec<PyPlanNode>,
    physical_tree: Vec<PyPlanNode>,
}

#[derive(IntoPyObject)]
struct PyPlanNode {
    parent: Option<usize>,
    operator: String,
    detail: String,
    metrics: BTreeMap<String, u64>,
}

impl PyExplanation {
    /// The plans, and the physical one with what each operator did if the query was run for it.
    pub fn new(explanation: Explanation, analyzed: Option<String>) -> Self {
        let tree = |nodes: Vec<PlanNode>| nodes.into_iter().map(PyPlanNode::from).collect();
        Self {
            logical: explanation.logical,
            optimized: explanation.optimized,
            physical: explanation.physical,
            analyzed,
            logical_tree: tree(explanation.logical_tree),
            optimized_tree: tree(explanation.optimized_tree),
            physical_tree: tree(explanation.physical_tree),
        }
    }
}

impl From<PlanNode> for PyPlanNode {
    fn from(node: PlanNode) -> Self {
        Self { parent: node.parent, operator: node.operator, detail: node.detail, metrics: node.metrics }
    }
}
