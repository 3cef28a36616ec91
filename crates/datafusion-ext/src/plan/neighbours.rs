//! Logical plans of other DataFusion contexts in this process: they arrive as bytes, and their tables by
//! handle.
//!
//! The other context encodes its plan with [`TableHandles`] as its codec. A table that came from here, such
//! as a Delta scan, comes back as what it was. Any other stays where it is and is read through the FFI, if
//! that is known to work.

use std::fmt::{self, Formatter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, TableReference};
use datafusion::datasource::listing::{ListingTable, ListingTableUrl};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{
    AggregateUDF, Expr, Extension, LogicalPlan, ScalarUDF, TableProviderFilterPushDown, TableType, WindowUDF,
    dml::InsertOp,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion_ffi::table_provider::ForeignTableProvider;
use datafusion_proto::bytes::logical_plan_from_bytes_with_extension_codec;
use datafusion_proto::logical_plan::{DefaultLogicalExtensionCodec, LogicalExtensionCodec};

use super::bytes::words;
use crate::error::{Code, EngineError, Result};
use crate::scan::imported;

/// Ends a table's payload, before its number.
const MARK: &[u8; 8] = b"DFXTABLE";

/// What reads a table where another library may run it on threads of ours. Others may want that library's
/// own runtime, and would end the process without it.
const RUNS_ANYWHERE: [&str; 4] = ["DataSourceExec", "DatasetExec", "EmptyExec", "LazyMemoryExec"];

/// The tables of one plan on its way here.
pub struct TableHandles {
    tables: Mutex<Vec<Arc<dyn TableProvider>>>,
    context: Arc<SessionContext>,
}

impl TableHandles {
    /// `context` decodes the filters that tables of other libraries are asked about.
    pub fn new(context: Arc<SessionContext>) -> Self {
        Self { tables: Mutex::default(), context }
    }

    /// What decodes filters; those to whom it is given refer to it weakly.
    pub fn context(&self) -> &Arc<SessionContext> {
        &self.context
    }

    /// The tables that have been handed over, in the order in which the plan names them.
    pub fn tables(&self) -> Vec<Arc<dyn TableProvider>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn find(&self, payload: &[u8]) -> Option<Arc<dyn TableProvider>> {
        // The other context puts an envelope around what we wrote: look from the end.
        let (rest, number) = payload.split_last_chunk::<8>()?;
        let index = usize::try_from(u64::from_le_bytes(*number)).ok()?;
        rest.ends_with(MARK).then(|| self.tables().get(index).cloned()).flatten()
    }
}

impl fmt::Debug for TableHandles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "TableHandles({})", self.tables().len())
    }
}

impl LogicalExtensionCodec for TableHandles {
    fn try_decode(
        &self,
        _buf: &[u8],
        _inputs: &[LogicalPlan],
        _ctx: &TaskContext,
    ) -> DataFusionResult<Extension> {
        Err(stays("an operator of another library").into())
    }

    fn try_encode(&self, _node: &Extension, _buf: &mut Vec<u8>) -> DataFusionResult<()> {
        Err(stays("an operator of another library").into())
    }

    fn try_decode_table_provider(
        &self,
        buf: &[u8],
        name: &TableReference,
        _schema: SchemaRef,
        _ctx: &TaskContext,
    ) -> DataFusionResult<Arc<dyn TableProvider>> {
        let Some(table) = self.find(buf) else {
            return Err(stays(&format!("table {name}, which was not handed over with the plan")).into());
        };
        if !table.is::<ForeignTableProvider>() {
            return Ok(table);
        }
        match table.table_type() {
            TableType::Base => {
                Ok(Arc::new(Neighbour { name: name.to_string(), table, _context: Arc::clone(&self.context) }))
            }
            _ => Err(stays(&format!("{name}, a view")).into()),
        }
    }

    fn try_encode_table_provider(
        &self,
        _name: &TableReference,
        table: Arc<dyn TableProvider>,
        buf: &mut Vec<u8>,
    ) -> DataFusionResult<()> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        buf.extend(MARK);
        buf.extend((tables.len() as u64).to_le_bytes());
        tables.push(imported(table));
        Ok(())
    }

    fn try_decode_file_format(
        &self,
        buf: &[u8],
        ctx: &TaskContext,
    ) -> DataFusionResult<Arc<dyn datafusion::datasource::file_format::FileFormatFactory>> {
        DefaultLogicalExtensionCodec {}.try_decode_file_format(buf, ctx)
    }

    fn try_decode_udf(&self, name: &str, _buf: &[u8]) -> DataFusionResult<Arc<ScalarUDF>> {
        Err(stays(&format!("function {name}")).into())
    }

    fn try_decode_udaf(&self, name: &str, _buf: &[u8]) -> DataFusionResult<Arc<AggregateUDF>> {
        Err(stays(&format!("function {name}")).into())
    }

    fn try_decode_udwf(&self, name: &str, _buf: &[u8]) -> DataFusionResult<Arc<WindowUDF>> {
        Err(stays(&format!("function {name}")).into())
    }
}

fn stays(what: &str) -> EngineError {
    EngineError::new(Code::PlanBytes, format!("The plan needs {what}, which only its own context can run"))
}

/// A table that another library reads.
struct Neighbour {
    name: String,
    table: Arc<dyn TableProvider>,
    /// The foreign handle refers to it weakly.
    _context: Arc<SessionContext>,
}

impl fmt::Debug for Neighbour {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Neighbour({})", self.name)
    }
}

#[async_trait]
impl TableProvider for Neighbour {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        self.table.table_type()
    }

    fn statistics(&self) -> Option<Statistics> {
        self.table.statistics()
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let plan = self.table.scan(state, projection, filters, limit).await?;
        match RUNS_ANYWHERE.contains(&plan.name()) && plan.children().is_empty() {
            true => Ok(plan),
            false => Err(stays(&format!("table {} ({})", self.name, plan.name())).into()),
        }
    }

    async fn insert_into(
        &self,
        _state: &dyn Session,
        _input: Arc<dyn ExecutionPlan>,
        _operation: InsertOp,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Err(stays(&format!("table {}, to write to it", self.name)).into())
    }
}

/// Refuse listings of files in stores that `environment` does not know.
pub fn check_stores(plan: &LogicalPlan, environment: &RuntimeEnv) -> Result<()> {
    let mut unknown = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(listing) = provider.downcast_ref::<ListingTable>()
        {
            let urls = listing.table_paths().iter().map(ListingTableUrl::object_store);
            unknown = urls.into_iter().find(|url| environment.object_store(url).is_err());
        }
        Ok(if unknown.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    match unknown {
        None => Ok(()),
        Some(url) => Err(stays(&format!("files in {}", url.as_str()))),
    }
}

/// Decode a plan whose tables were handed over.
pub fn decode(bytes: &[u8], tables: &TableHandles, context: &TaskContext) -> Result<LogicalPlan> {
    let decode = || logical_plan_from_bytes_with_extension_codec(bytes, context, tables);
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(plan)) => Ok(plan),
        Ok(Err(error)) => {
            let error = EngineError::from(error);
            Err(EngineError { code: Code::PlanBytes, ..error })
        }
        Err(panic) => Err(EngineError::new(Code::PlanBytes, words(&panic))),
    }
}
