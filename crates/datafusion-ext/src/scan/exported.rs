//! Scans for contexts of other libraries, whose environments don't know the tables' object stores.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::location::Location;
use super::provider::DeltaScan;

/// The scan as a table of any context.
pub fn exportable(scan: Arc<DeltaScan>) -> Arc<dyn TableProvider> {
    match scan.location().is_local() {
        true => scan,
        false => Arc::new(Exported { scan }),
    }
}

/// What is behind a table that was made to be exported.
pub fn imported(table: Arc<dyn TableProvider>) -> Arc<dyn TableProvider> {
    match table.downcast_ref::<Exported>() {
        Some(exported) => Arc::clone(&exported.scan) as _,
        None => table,
    }
}

/// A scan that brings its store along.
#[derive(Debug)]
struct Exported {
    scan: Arc<DeltaScan>,
}

#[async_trait]
impl TableProvider for Exported {
    fn schema(&self) -> SchemaRef {
        self.scan.schema()
    }

    fn table_type(&self) -> TableType {
        self.scan.table_type()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.scan.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let location = self.scan.location().clone();
        location.register(state.runtime_env());
        let input = self.scan.scan(state, projection, filters, limit).await?;
        Ok(Arc::new(InStore { input, location }))
    }

    fn statistics(&self) -> Option<Statistics> {
        self.scan.statistics()
    }
}

/// Makes the store known where its input runs.
#[derive(Debug)]
struct InStore {
    input: Arc<dyn ExecutionPlan>,
    location: Location,
}

impl DisplayAs for InStore {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "InStore: {}", self.location.root())
    }
}

impl ExecutionPlan for InStore {
    fn name(&self) -> &'static str {
        "InStore"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    /// None that others see: with something of theirs between, the input would run in another environment.
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.location.register(&context.runtime_env());
        self.input.execute(partition, context)
    }
}
