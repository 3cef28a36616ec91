//! A planned query: its plan is made once and run as often as asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use futures::TryStreamExt;
use tokio::sync::{OnceCell, watch};

use super::metrics::total_metrics;
use super::output::without_views;
use crate::error::Result;
use crate::rules::UniqueNamesOnly;

/// The plans of a query as text.
#[derive(Debug, Clone)]
pub struct Explanation {
    pub logical: String,
    pub optimized: String,
    pub physical: String,
    /// The physical plan with what each operator did, if the query was run for it.
    pub analyzed: Option<String>,
}

/// A query with its tables as they were when it was planned.
pub struct Query {
    state: SessionState,
    logical: LogicalPlan,
    /// Never executed itself: each run gets a copy without state.
    physical: OnceCell<Arc<dyn ExecutionPlan>>,
    last_run: Mutex<Option<Arc<dyn ExecutionPlan>>>,
    cancel: watch::Sender<u64>,
}

impl Query {
    pub(super) fn new(state: SessionState, logical: LogicalPlan) -> Self {
        Self {
            state,
            logical,
            physical: OnceCell::new(),
            last_run: Mutex::new(None),
            cancel: watch::Sender::new(0),
        }
    }

    /// The schema of the result.
    pub fn schema(&self) -> SchemaRef {
        Arc::new(without_views(self.logical.schema().as_arrow()))
    }

    /// The fully qualified names of the tables that the query reads, sorted.
    pub fn tables(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.logical.apply_with_subqueries(|node| {
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
    pub async fn execute(&self) -> Result<SendableRecordBatchStream> {
        let plan = self.runnable().await?;
        *self.last_run.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Arc::clone(&plan));
        Ok(execute_stream(plan, self.state.task_ctx())?)
    }

    /// Make the physical plan, unless it has been made.
    pub async fn prepare(&self) -> Result<()> {
        self.planned().await.map(|_| ())
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
        let last_run = self.last_run.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        last_run.as_ref().map(|plan| total_metrics(plan.as_ref())).unwrap_or_default()
    }

    /// Describe the plans; with `analyze`, run the query, discard its rows and add the figures.
    pub async fn explain(&self, analyze: bool) -> Result<Explanation> {
        let plan = self.runnable().await?;
        let analyzed = match analyze {
            false => None,
            true => {
                let rows = execute_stream(Arc::clone(&plan), self.state.task_ctx())?;
                rows.try_for_each(|_| async { Ok(()) }).await?;
                Some(DisplayableExecutionPlan::with_metrics(plan.as_ref()).indent(true).to_string())
            }
        };
        Ok(Explanation {
            logical: self.logical.display_indent().to_string(),
            optimized: self.state.optimize(&self.logical)?.display_indent().to_string(),
            physical: displayable(plan.as_ref()).indent(true).to_string(),
            analyzed,
        })
    }

    async fn planned(&self) -> Result<&Arc<dyn ExecutionPlan>> {
        let make = || async { self.state.create_physical_plan(&self.logical).await };
        Ok(self.physical.get_or_try_init(make).await?)
    }

    /// A copy of the plan with no state from other runs and with dynamic filters of its own.
    ///
    /// Resetting leaves the bounds that an aggregate has put into its dynamic filter, and the next run would
    /// prune by them: where such filters are on, each run is planned anew.
    async fn runnable(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let keeps_bounds = self.state.config_options().optimizer.enable_aggregate_dynamic_filter_pushdown;
        let plan = match keeps_bounds {
            true => self.state.create_physical_plan(&self.logical).await?,
            false => reset_plan_states(Arc::clone(self.planned().await?))?,
        };
        Ok(dynamic_filter_rule().optimize(plan, self.state.config_options())?)
    }
}

/// The rule that links the dynamic filters of joins, sorts and aggregates to the scans below them.
pub(super) fn dynamic_filter_rule() -> UniqueNamesOnly<FilterPushdown> {
    UniqueNamesOnly::new(FilterPushdown::new_post_optimization())
}
