//! Scans read sorted files in order where that saves a sort.
//!
//! A scan that keeps an order can neither split its files among partitions as it likes nor have a partition
//! that is done take over files of another. So it declares one only where an operator wants it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_expr::{Distribution, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
};

use crate::scan::{DeltaSource, candidates, in_order, one_file};

/// What operators know of their inputs is found out anew.
const ANEW: ReplaceChildrenOptions =
    ReplaceChildrenOptions { children_properties: ChildrenPropertiesMode::Recompute };

/// Has scans of Delta tables declare the order of their files for those who would sort their rows.
#[derive(Debug)]
pub struct OrderedScans;

impl PhysicalOptimizerRule for OrderedScans {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = config.execution.target_partitions;
        plan.transform_down(|plan| {
            let children: Vec<_> = plan.children().into_iter().cloned().collect();
            let mut served = Vec::with_capacity(children.len());
            for (at, child) in children.iter().enumerate() {
                served.push(match Wish::of(plan.as_ref(), at) {
                    Some(wish) => wish.granted(child, partitions)?,
                    None => None,
                });
            }
            if served.iter().all(Option::is_none) {
                return Ok(Transformed::no(plan));
            }
            let children = served.into_iter().zip(children);
            let children = children.map(|(served, child)| served.unwrap_or(child)).collect();
            Ok(Transformed::yes(plan.replace_children(children, ANEW)?))
        })
        .data()
    }

    fn name(&self) -> &str {
        "OrderedScans"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Has scans that declare an order keep it, which DataFusion 55.2 lets go when it puts a limit above them: a
/// partition that is done would take over files of another.
#[derive(Debug)]
pub struct KeptOrder;

impl PhysicalOptimizerRule for KeptOrder {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let scan = plan.downcast_ref::<DataSourceExec>().map(|scan| scan.data_source());
            let declares = scan
                .and_then(|source| source.downcast_ref::<FileScanConfig>())
                .is_some_and(|scan| !scan.output_ordering.is_empty() && !scan.preserve_order);
            Ok(match declares.then(|| plan.with_preserve_order(true)).flatten() {
                Some(kept) => Transformed::yes(kept),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "KeptOrder"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The order that an operator wants the rows of an input in.
struct Wish {
    order: Vec<PhysicalSortExpr>,
    /// Whether the first column alone is of use, as it is to those who look for the first rows.
    partly: bool,
}

impl Wish {
    fn of(plan: &dyn ExecutionPlan, input: usize) -> Option<Self> {
        if let Some(sort) = plan.downcast_ref::<SortExec>() {
            return Some(Self { order: sort.expr().to_vec(), partly: sort.fetch().is_some() });
        }
        // Rows that are sent to partitions by their values lose their order on the way.
        let distribution = plan.input_distribution_requirements();
        if matches!(distribution.child_distribution(input)?, Distribution::KeyPartitioned(_)) {
            return None;
        }
        let required = plan.required_input_ordering().swap_remove(input)?.into_single();
        Some(Self { order: required.into_iter().map(PhysicalSortExpr::from).collect(), partly: false })
    }

    /// The input with a scan that gives it the order.
    fn granted(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partitions: usize,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some((scan, first)) = scan_below(input).zip(self.order.first()) else {
            return Ok(None);
        };
        if input.equivalence_properties().ordering_satisfy(self.order.clone())? {
            return Ok(None);
        }
        let mut best = None;
        for order in candidates(&scan, first.options) {
            let served = self.served(&on_top_of(one_file(&scan, &order), input)?)?;
            if served > best.as_ref().map_or(0, |(served, _)| *served)
                && let Some(ordered) = in_order(&scan, &order, partitions)?
            {
                let ordered = on_top_of(ordered, input)?;
                if self.served(&ordered)? == served {
                    best = Some((served, ordered));
                }
            }
        }
        Ok(best.map(|(_, ordered)| ordered))
    }

    /// How much an input does for the wish: nothing, the first column, or all.
    fn served(&self, input: &Arc<dyn ExecutionPlan>) -> Result<usize> {
        let properties = input.equivalence_properties();
        if properties.ordering_satisfy(self.order.clone())? {
            return Ok(2);
        }
        Ok((self.partly && properties.ordering_satisfy(self.order[..1].to_vec())?).into())
    }
}

/// The scan of a Delta table that an input's rows come from, in its order and without being rearranged.
fn scan_below(input: &Arc<dyn ExecutionPlan>) -> Option<FileScanConfig> {
    if let Some(scan) = input.downcast_ref::<DataSourceExec>() {
        let scan = scan.data_source().downcast_ref::<FileScanConfig>()?;
        let is_free = scan.output_ordering.is_empty() && scan.output_partitioning.is_none();
        let has_files = scan.file_groups.iter().any(|group| !group.is_empty());
        let is_ours = scan.file_source().is::<DeltaSource>();
        return (is_ours && is_free && has_files).then(|| scan.clone());
    }
    match (input.children().as_slice(), input.maintains_input_order().as_slice()) {
        ([child], [true]) => scan_below(child),
        _ => None,
    }
}

/// The input with another scan in place of the one below it.
fn on_top_of(scan: FileScanConfig, input: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    match input.children().first().copied() {
        None => Ok(DataSourceExec::from_data_source(scan)),
        Some(child) => Arc::clone(input).replace_children(vec![on_top_of(scan, child)?], ANEW),
    }
}
