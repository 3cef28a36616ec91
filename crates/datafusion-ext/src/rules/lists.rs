//! IN lists over one expression are kept from being merged.
//!
//! DataFusion 55.2 merges them as sets, without thought for NULL: `x IN (0) AND x NOT IN (1, NULL)` becomes
//! `x = 0`, where it is NULL for 0, and `x IN (1) AND x IN (2)` becomes FALSE, where it is NULL for NULL.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// A rule that simplifies expressions, shown lists over one expression as lists over different ones.
#[derive(Debug)]
pub struct SeparateLists<R> {
    rule: R,
}

impl<R: OptimizerRule> SeparateLists<R> {
    pub fn new(rule: R) -> Self {
        Self { rule }
    }
}

const MARK: &str = "datafusion_ext.list_";

impl<R: OptimizerRule + std::fmt::Debug> OptimizerRule for SeparateLists<R> {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let repeated = repeated_lists(&plan)?;
        if repeated.is_empty() {
            return self.rule.rewrite(plan, config);
        }
        let preserver = NamePreserver::new(&plan);
        let mut names = Vec::new();
        let mut number = 0;
        let marked = plan.map_expressions(|expression| {
            names.push(preserver.save(&expression));
            expression.transform_up(|expression| Ok(marked(expression, &repeated, &mut number)))
        })?;
        let simplified = self.rule.rewrite(marked.data, config)?;
        let mut names = names.into_iter();
        simplified.transform_data(|plan| {
            plan.map_expressions(|expression| {
                let unmarked = expression.transform_up(|expression| Ok(unmarked(expression)))?;
                let name = names.next();
                Ok(match name {
                    Some(name) => unmarked.update_data(|expression| name.restore(expression)),
                    None => unmarked,
                })
            })
        })
    }
}

/// The expressions that stand before more than one IN list of a node.
fn repeated_lists(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut seen = Vec::new();
    let mut repeated = Vec::new();
    plan.apply_expressions(|expression| {
        expression.apply(|expression| {
            if let Expr::InList(list) = expression {
                match seen.contains(&list.expr) {
                    true => repeated.push(list.expr.as_ref().clone()),
                    false => seen.push(list.expr.clone()),
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(repeated)
}

fn marked(expression: Expr, repeated: &[Expr], number: &mut usize) -> Transformed<Expr> {
    match expression {
        Expr::InList(InList { expr, list, negated }) if repeated.contains(&expr) => {
            *number += 1;
            let expr = Box::new(expr.alias(format!("{MARK}{number}")));
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        other => Transformed::no(other),
    }
}

/// Without marks, and without the names that the rule made of them.
fn unmarked(expression: Expr) -> Transformed<Expr> {
    match expression {
        Expr::Alias(alias) if alias.name.contains(MARK) => Transformed::yes(*alias.expr),
        other => Transformed::no(other),
    }
}
