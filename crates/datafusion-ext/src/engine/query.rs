//! A planned query: its plan is made once and run as often as asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::metrics::Run;
use super::output::without_views;
use super::progress::SharedProgress;
use super::statement::Allowed;
use super::tree::{PlanNode, logical_tree};
use crate::error::Result;
use crate::plan::Encoded;
use crate::rules::{UniqueNamesOnly, careful};

/// The plans of a query as text and as trees.
#[derive(Debug, Clone, Default)]
pub struct Explanation {
    pub logical: String,
    pub optimized: String,
    pub physical: String,
    pub logical_tree: Vec<PlanNode>,
    pub optimized_tree: Vec<PlanNode>,
    pub physical_tree: Vec<PlanNode>,
}

/// A run under way.
pub struct Running {
    pub stream: SendableRecordBatchStream,
    pub progress: SharedProgress,
    pub run: Run,
}

/// A plan that was run once, and holds what its operators have gathered.
pub struct Analyzed(Arc<dyn ExecutionPlan>);

impl Analyzed {
    /// The plan as text, with what each operator did.
    pub fn text(&self) -> String {
        DisplayableExecutionPlan::with_metrics(self.0.as_ref()).indent(true).to_string()
    }
}

/// A plan that is run again and again keeps the figures of all its runs in its scans; after so many it is
/// made anew.
const MAX_RUNS: usize = 64;

/// A physical plan and how often it was run.
struct Kept {
    plan: Arc<dyn ExecutionPlan>,
    runs: usize,
}

/// What a query's physical plans are made of.
enum Source {
    Logical(LogicalPlan),
    Bytes(Encoded),
}

/// A query with its tables as they were when it was planned.
pub struct Query {
    state: SessionState,
    source: Source,
    schema: SchemaRef,
    /// Never executed itself: each run gets a copy without state.
    physical: AsyncMutex<Option<Kept>>,
    last_run: Mutex<Option<Run>>,
    cancel: watch::Sender<u64>,
}

impl Query {
    pub(super) fn new(state: SessionState, logical: LogicalPlan) -> Self {
        let schema = Arc::new(without_views(logical.schema().as_arrow()));
        Self::of(state, Source::Logical(logical), schema, None)
    }

    /// A query that an engine of the same version planned.
    pub(super) fn from_bytes(state: SessionState, bytes: &[u8], allowed: Allowed) -> Result<Self> {
        let encoded = Encoded::from_bytes(bytes)?;
        let plan = encoded.plan(&state.task_ctx())?;
        allowed.check_physical(&plan)?;
        let schema = Arc::new(without_views(&plan.schema()));
        Ok(Self::of(state, Source::Bytes(encoded), schema, Some(Kept { plan, runs: 0 })))
    }

    fn of(state: SessionState, source: Source, schema: SchemaRef, physical: Option<Kept>) -> Self {
        Self {
            state,
            source,
            schema,
            physical: AsyncMutex::new(physical),
            last_run: Mutex::new(None),
            cancel: watch::Sender::new(0),
        }
    }

    /// The schema of the result.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Write the physical plan as bytes, for an engine of the same version.
    pub async fn to_bytes(&self) -> Result<Vec<u8>> {
        let logical = match &self.source {
            Source::Bytes(encoded) => return Ok(encoded.to_bytes()),
            Source::Logical(logical) => logical,
        };
        let plan = self.planned(false).await?.0;
        let optimized = self.state.optimize(logical)?.display_indent().to_string();
        let logical = logical.display_indent().to_string();
        Ok(Encoded::new(plan, self.tables()?, logical, optimized)?.to_bytes())
    }

    /// The fully qualified names of the tables that the query reads, sorted.
    pub fn tables(&self) -> Result<Vec<String>> {
        let logical = match &self.source {
            Source::Bytes(encoded) => return Ok(encoded.tables.clone()),
            Source::Logical(logical) => logical,
        };
        let mut names = Vec::new();
        logical.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                names.push(scan.table_name.to_quoted_string());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Start a run.
    pub async fn execute(&self) -> Result<Running> {
        let (plan, planning) = self.runnable().await?;
        let run = self.start(&plan);
        let progress = SharedProgress::new(planning);
        Ok(Running { stream: execute_stream(plan, self.state.task_ctx())?, progress, run })
    }

    fn start(&self, plan: &Arc<dyn ExecutionPlan>) -> Run {
        let run = Run::new(Arc::clone(plan));
        *self.last_run.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.clone());
        run
    }

    /// Make the physical plan, unless it has been made.
    pub async fn prepare(&self) -> Result<()> {
        self.planned(false).await.map(|_| ())
    }

    /// End the runs that are under way.
    pub fn cancel(&self) {
        self.cancel.send_modify(|runs| *runs += 1);
    }

    /// Changes when [`Self::cancel`] is called.
    pub fn cancelled(&self) -> watch::Receiver<u64> {
        self.cancel.subscribe()
    }

    /// Figures of the latest run, added up over its operators.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        self.last_run().map(|run| run.totals()).unwrap_or_default()
    }

    /// Forget the latest run: whoever uses this query from here on has not run it.
    pub fn forget_run(&self) {
        *self.last_run.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn last_run(&self) -> Option<Run> {
        self.last_run.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Describe the plans. Figures are those of the latest run, if there was one. Of a plan that came as bytes,
    /// the logical ones are known as text alone.
    pub async fn explain(&self) -> Result<Explanation> {
        let run = match self.last_run() {
            Some(run) => run,
            None => Run::new(self.runnable().await?.0),
        };
        let record = run.record();
        let mut explanation =
            Explanation { physical: record.text, physical_tree: record.tree, ..Explanation::default() };
        self.explain_logical(&mut explanation)?;
        Ok(explanation)
    }

    fn explain_logical(&self, explanation: &mut Explanation) -> Result<()> {
        match &self.source {
            Source::Bytes(encoded) => {
                explanation.logical.clone_from(&encoded.logical);
                explanation.optimized.clone_from(&encoded.optimized);
            }
            Source::Logical(logical) => {
                let optimized = self.state.optimize(logical)?;
                explanation.logical = logical.display_indent().to_string();
                explanation.optimized = optimized.display_indent().to_string();
                explanation.logical_tree = logical_tree(logical)?;
                explanation.optimized_tree = logical_tree(&optimized)?;
            }
        }
        Ok(())
    }

    async fn made(&self) -> Result<Arc<dyn ExecutionPlan>> {
        match &self.source {
            Source::Logical(logical) => Ok(self.state.create_physical_plan(logical).await?),
            Source::Bytes(encoded) => encoded.plan(&self.state.task_ctx()),
        }
    }

    /// Start a run of a plan that shows no figures of other runs, as one that was kept would.
    pub async fn execute_anew(&self) -> Result<(Running, Analyzed)> {
        let asked = Instant::now();
        let plan = self.linked(self.made().await?)?;
        let progress = SharedProgress::new(asked.elapsed());
        let run = self.start(&plan);
        let stream = execute_stream(Arc::clone(&plan), self.state.task_ctx())?;
        Ok((Running { stream, progress, run }, Analyzed(plan)))
    }

    /// The plan, and how long it took to make, which is nothing where it was kept.
    async fn planned(&self, to_run: bool) -> Result<(Arc<dyn ExecutionPlan>, Duration)> {
        let mut kept = self.physical.lock().await;
        if let Some(kept) = kept.as_mut().filter(|kept| kept.runs < MAX_RUNS) {
            kept.runs += usize::from(to_run);
            return Ok((Arc::clone(&kept.plan), Duration::ZERO));
        }
        let asked = Instant::now();
        let plan = self.made().await?;
        *kept = Some(Kept { plan: Arc::clone(&plan), runs: usize::from(to_run) });
        Ok((plan, asked.elapsed()))
    }

    /// A copy of the plan with no state from other runs and with dynamic filters of its own.
    ///
    /// Resetting leaves the bounds that an aggregate has put into its dynamic filter, and the next run would
    /// prune by them: where such filters are on, each run is planned anew.
    async fn runnable(&self) -> Result<(Arc<dyn ExecutionPlan>, Duration)> {
        let keeps_bounds = self.state.config_options().optimizer.enable_aggregate_dynamic_filter_pushdown;
        let asked = Instant::now();
        let (plan, planning) = match keeps_bounds {
            true => (self.made().await?, asked.elapsed()),
            false => {
                let (plan, planning) = self.planned(true).await?;
                (reset_plan_states(plan)?, planning)
            }
        };
        Ok((self.linked(plan)?, planning))
    }

    /// The plan for one run: watched where it could do too much at once, and with its dynamic filters.
    fn linked(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let memory = match self.state.runtime_env().memory_pool.memory_limit() {
            MemoryLimit::Finite(bytes) => Some(bytes as u64),
            _ => None,
        };
        let plan = careful(plan, memory, self.state.config().batch_size())?;
        Ok(dynamic_filter_rule().optimize(plan, self.state.config_options())?)
    }
}

/// The rule that links the dynamic filters of joins, sorts and aggregates to the scans below them.
pub(super) fn dynamic_filter_rule() -> UniqueNamesOnly<FilterPushdown> {
    UniqueNamesOnly::new(FilterPushdown::new_post_optimization())
}
