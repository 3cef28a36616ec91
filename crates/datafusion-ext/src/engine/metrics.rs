//! Figures of an executed plan, by name.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::metrics::{Metric, MetricValue};
use datafusion::physical_plan::{ExecutionPlan, displayable};

use super::tree::{PlanNode, physical_tree};
use crate::scan::DeltaSource;

/// One run of a plan, which is let go when the run ends: operators hold on to what they have gathered, such as
/// the build side of a join. Clones share it.
#[derive(Clone)]
pub struct Run(Arc<Mutex<State>>);

enum State {
    /// Scans keep the figures of the runs before, so their number at the start is known.
    Live {
        plan: Arc<dyn ExecutionPlan>,
        before: Vec<usize>,
    },
    Ended(Record),
}

/// What a run leaves behind.
#[derive(Debug, Clone)]
pub struct Record {
    /// The plan as text.
    pub text: String,
    pub tree: Vec<PlanNode>,
    /// What the operators counted, added up. Times are in nanoseconds; `output_rows` is the root's alone.
    pub totals: BTreeMap<String, u64>,
}

impl Run {
    /// A run that is about to start.
    pub fn new(plan: Arc<dyn ExecutionPlan>) -> Self {
        let before = operators(&plan).iter().map(|(_, node)| figures(node.as_ref()).len()).collect();
        Self(Arc::new(Mutex::new(State::Live { plan, before })))
    }

    /// What the run has done so far.
    pub fn record(&self) -> Record {
        match &*self.state() {
            State::Live { plan, before } => record(plan, before),
            State::Ended(record) => record.clone(),
        }
    }

    /// What the operators have counted so far, added up.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        match &*self.state() {
            State::Live { plan, before } => total(&counted(plan, before)),
            State::Ended(record) => record.totals.clone(),
        }
    }

    /// Keep what the run has done, and let go of the plan.
    pub fn end(&self) {
        let mut state = self.state();
        if let State::Live { plan, before } = &*state {
            *state = State::Ended(record(plan, before));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operator with the position of its parent and what it counted.
pub type Counted<'a> = (Option<usize>, &'a Arc<dyn ExecutionPlan>, BTreeMap<String, u64>);

fn record(plan: &Arc<dyn ExecutionPlan>, before: &[usize]) -> Record {
    let operators = counted(plan, before);
    Record {
        text: displayable(plan.as_ref()).indent(true).to_string(),
        totals: total(&operators),
        tree: physical_tree(operators),
    }
}

fn counted<'a>(plan: &'a Arc<dyn ExecutionPlan>, before: &[usize]) -> Vec<Counted<'a>> {
    let operators = operators(plan).into_iter().zip(before);
    let counted = operators.map(|((parent, node), before)| {
        let mut counted = BTreeMap::new();
        figures(node.as_ref()).iter().skip(*before).for_each(|figure| add(figure.value(), &mut counted));
        (parent, node, counted)
    });
    counted.collect()
}

fn total(operators: &[Counted<'_>]) -> BTreeMap<String, u64> {
    let mut totals = BTreeMap::new();
    for (parent, node, counted) in operators {
        for (name, amount) in counted.clone().into_iter().chain(scanned_files(node)) {
            if parent.is_none() || !name.starts_with("output_") {
                *totals.entry(name).or_default() += amount;
            }
        }
    }
    totals.entry("output_rows".to_string()).or_default();
    totals
}

/// How many files a scan reads, and how many its table has.
pub fn scanned_files(plan: &Arc<dyn ExecutionPlan>) -> Vec<(String, u64)> {
    let source = plan.downcast_ref::<DataSourceExec>().map(|exec| exec.data_source());
    let Some(config) = source.and_then(|source| source.downcast_ref::<FileScanConfig>()) else {
        return Vec::new();
    };
    // A file may be read in pieces.
    let files = config.file_groups.iter().flat_map(|group| group.iter());
    let planned = files.map(|file| &file.object_meta.location).collect::<HashSet<_>>().len() as u64;
    let mut figures = vec![("files_planned".to_string(), planned)];
    let total = config.file_source().downcast_ref::<DeltaSource>().and_then(DeltaSource::table_files);
    figures.extend(total.map(|total| ("files_total".to_string(), total as u64)));
    figures
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
