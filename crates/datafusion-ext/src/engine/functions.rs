//! Table functions that are functions of the caller, and views over one scan.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};

use super::tables::{self, ForeignReader};
use crate::error::{Code, EngineError, Result};
use crate::scan::DeltaScan;

/// A scan of which columns and rows are shown: SQL expressions over the scan's columns, whose names are taken
/// as they are written.
pub struct ScanView {
    pub scan: Arc<DeltaScan>,
    pub columns: Vec<String>,
    pub filter: Option<String>,
}

impl ScanView {
    /// The view as a table. Filters and choices of columns reach the scan.
    pub fn table(&self, state: &SessionState) -> Result<Arc<dyn TableProvider>> {
        self.scan.location().register(state.runtime_env());
        let mut state = state.clone();
        state.config_mut().options_mut().sql_parser.enable_ident_normalization = false;
        let source = provider_as_source(Arc::clone(&self.scan) as Arc<dyn TableProvider>);
        let mut plan = LogicalPlanBuilder::scan("scan", source, None)?;
        if let Some(filter) = &self.filter {
            let filter = state.create_logical_expr(filter, plan.schema())?;
            plan = plan.filter(filter)?;
        }
        let columns = self.columns.iter().map(|sql| state.create_logical_expr(sql, plan.schema()));
        let columns = columns.collect::<DataFusionResult<Vec<_>>>()?;
        Ok(Arc::new(ViewTable::new(plan.project(columns)?.build()?, None)))
    }
}

/// What a table function makes.
pub enum Made {
    Rows(ForeignReader),
    View(ScanView),
}

/// Makes a table of constant arguments.
pub type TableMaker = Arc<dyn Fn(Vec<ScalarValue>) -> Result<Made> + Send + Sync>;

/// A table function of the caller.
pub struct CallerFunction {
    name: String,
    make: TableMaker,
}

impl CallerFunction {
    pub fn new(name: &str, make: TableMaker) -> Self {
        Self { name: name.to_string(), make }
    }

    fn argument(&self, argument: &Expr) -> Result<ScalarValue> {
        match argument {
            Expr::Literal(value, _) => Ok(value.clone()),
            other => {
                let message = format!("{} takes constants, not {other}", self.name);
                Err(EngineError::new(Code::Plan, message).about(&self.name))
            }
        }
    }
}

impl fmt::Debug for CallerFunction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "CallerFunction({})", self.name)
    }
}

impl TableFunctionImpl for CallerFunction {
    fn call_with_args(
        &self,
        arguments: TableFunctionArgs<'_, '_>,
    ) -> DataFusionResult<Arc<dyn TableProvider>> {
        let Some(state) = arguments.session().as_any().downcast_ref::<SessionState>() else {
            return Err(EngineError::new(Code::Internal, "A foreign session called a function").into());
        };
        let values = arguments.exprs().iter().map(|each| self.argument(each));
        Ok(match (self.make)(values.collect::<Result<_>>()?)? {
            Made::Rows(reader) => tables::memory_table(reader)?,
            Made::View(view) => view.table(state)?,
        })
    }
}
