//! The engine: one DataFusion context with its settings, tables and limits.

mod caches;
mod callers;
mod environment;
mod foreign;
mod functions;
mod information_schema;
mod insert;
mod limits;
mod long_numbers;
mod memory_pool;
mod metrics;
pub mod nested;
mod output;
#[cfg(feature = "planted-panic")]
mod planted;
mod prepared;
mod progress;
mod query;
mod routines;
mod runtime;
mod statement;
mod tables;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::information_schema::INFORMATION_SCHEMA;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::common::{ParamValues, ResolvedTableReference, TableReference};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext};

pub use caches::{CacheFill, CacheLimits};
pub use callers::{Call, CallKind, Caller};
pub use environment::Limits;
pub use foreign::ForeignStream;
pub use functions::{Made, ScanView, TableMaker};
pub use insert::{Insertion, Writable, Writer};
use limits::check_size;
pub use limits::{Guard, RunLimits};
pub use output::{OnEnd, ResultReader, guarded, keep_views, without_views};
pub use prepared::Prepared;
pub use progress::{Outcome, Progress, SharedProgress};
pub use query::{Analyzed, Explanation, Query, Running};
pub use routines::Routine;
pub use runtime::{Interrupt, NeverInterrupted, run, runtime};
pub use statement::Allowed;
pub use tables::{ForeignReader, Opener};
pub use tree::PlanNode;

use callers::{CallerAggregate, CallerScalar, CallerWindow};
use environment::{MERGE_BYTES, merge_bytes, runtime_env};
use functions::CallerFunction;
use information_schema::InformationSchema;

use self::nested::with_null_fields;
use crate::error::{Code, EngineError, Result};
use crate::functions::{ExpressionFunction, Memory, bounded, expression_function, extremes};
use crate::plan::{self, TableHandles};
use crate::rules::{
    BoundedCalls, BoundedConstants, DecimalLiterals, KeptOrder, LogAnswers, MixedNumbers, NoFloatHeaps,
    NullFields, NullableValues, OrderedScans, PlainEquality, SeparateLists, UniqueNamesOnly, YieldingJoins,
};
use crate::scan::{AlignedTable, Alignment, DeltaScan, Location};

/// One DataFusion context under one set of settings. Clones share it.
#[derive(Clone)]
pub struct Engine {
    context: SessionContext,
    /// Where the setting is on.
    information_schema: Option<Arc<InformationSchema>>,
}

impl Engine {
    /// Build an engine from DataFusion settings (`datafusion.execution.batch_size` and so on).
    pub fn new(settings: &BTreeMap<String, String>, limits: &Limits) -> Result<Self> {
        let mut config = SessionConfig::new().with_information_schema(true);
        // Set operations keep the field metadata of one side only (semantic types, comments), and the check
        // takes that for a defect of the planner.
        config.options_mut().execution.skip_physical_aggregate_schema_check = true;
        // Such filters stand in the way of keeping plans; see `Query`.
        config.options_mut().optimizer.enable_aggregate_dynamic_filter_pushdown = false;
        for (key, value) in settings {
            let set = config.options_mut().set(key, value);
            set.map_err(|error| {
                EngineError::new(Code::Settings, EngineError::from(error).message).about(key)
            })?;
        }
        if let (Some(bytes), false) = (limits.memory_bytes, settings.contains_key(MERGE_BYTES)) {
            config.options_mut().execution.sort_spill_reservation_bytes = merge_bytes(bytes, &config);
        }
        let runtime = runtime_env(limits)?;
        let memory = Memory::new(Arc::clone(&runtime.memory_pool), limits.memory_bytes);
        let calls = BoundedCalls::new(memory.clone());
        let constants = BoundedConstants::new(memory.clone());
        let null_fields = NullFields::default();
        let own = [calls.concat(), constants.function(), null_fields.function()];
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_analyzer_rules(analyzer_rules())
            .with_physical_optimizer_rules(planning_rules())
            .with_optimizer_rules(logical_rules(constants))
            .with_analyzer_rule(Arc::new(null_fields))
            .with_analyzer_rule(Arc::new(calls))
            .build();
        let context = SessionContext::new_with_state(state);
        let functions = context.state().scalar_functions().clone();
        let functions = functions.values().filter_map(|function| bounded(function, &memory));
        for function in functions.chain(own) {
            context.register_udf(function.as_ref().clone());
        }
        extremes().into_iter().for_each(|function| context.register_udaf(function));
        Self::around(context)
    }

    fn around(context: SessionContext) -> Result<Self> {
        #[cfg(feature = "planted-panic")]
        context.register_udf(planted::PlantedPanic::default().into());
        let state = context.state();
        let information_schema =
            state.config().information_schema().then(|| InformationSchema::new(state.catalog_list()));
        if let Some(information_schema) = &information_schema {
            for name in state.catalog_list().catalog_names() {
                let catalog = state.catalog_list().catalog(&name);
                catalog.map(|catalog| information_schema.join(catalog.as_ref())).transpose()?;
            }
        }
        Ok(Self { context, information_schema })
    }

    /// Forget functions, so that no text can call them.
    pub fn remove_functions(&self, names: &[String]) -> Result<()> {
        let known = self.functions();
        for name in names {
            if !known.contains(name) {
                let message = format!("No function {name}");
                return Err(EngineError::new(Code::FunctionUnknown, message).about(name));
            }
            self.context.deregister_udf(name);
            self.context.deregister_udaf(name);
            self.context.deregister_udwf(name);
            self.context.deregister_udtf(name);
            self.context.deregister_higher_order_function(name);
        }
        Ok(())
    }

    /// How full the caches are.
    pub fn caches(&self) -> Vec<CacheFill> {
        caches::fills(&self.context.runtime_env().cache_manager)
    }

    /// The state to plan a text with.
    fn planning_state(&self, text: &str) -> SessionState {
        let state = self.context.state();
        let text = text.to_ascii_lowercase();
        // SHOW is planned as a query of that schema.
        let mentions = || text.contains("information_schema") || text.contains("show");
        match &self.information_schema {
            Some(information_schema) if mentions() => information_schema.planning(state),
            _ => state,
        }
    }

    /// Register a Delta snapshot under a name; a table of that name is replaced. Rows that are inserted go
    /// to the writer.
    pub fn register_delta(
        &self,
        name: &str,
        scan: Arc<DeltaScan>,
        insertion: Option<Insertion>,
    ) -> Result<()> {
        scan.location().register(&self.context.runtime_env());
        self.put_written(name, scan, insertion)
    }

    /// Make a function of the caller one of SQL's.
    pub fn register_function(&self, kind: CallKind, caller: Caller) {
        let caller = Arc::new(caller);
        match kind {
            CallKind::Scalar => self.context.register_udf(CallerScalar(caller).into()),
            CallKind::Aggregate => self.context.register_udaf(CallerAggregate(caller).into()),
            CallKind::Window => self.context.register_udwf(CallerWindow(caller).into()),
        }
    }

    /// Make an expression over arguments one of SQL's functions.
    pub fn register_expression(&self, name: &str, arguments: &SchemaRef, sql: &str) -> Result<()> {
        match expression_function(&self.context.state(), name, arguments, sql)? {
            ExpressionFunction::Scalar(function) => self.context.register_udf(function),
            ExpressionFunction::Aggregate(function) => self.context.register_udaf(function),
        }
        Ok(())
    }

    /// Register columns and rows of a scan under a name.
    pub fn register_scan_view(&self, name: &str, view: &ScanView) -> Result<()> {
        self.put(name, view.table(&self.context.state())?)
    }

    /// Make a function of the caller a table function.
    pub fn register_table_function(&self, name: &str, make: TableMaker) {
        self.context.register_udtf(name, Arc::new(CallerFunction::new(name, make)));
    }

    /// Register a Delta snapshot with other columns than its own.
    pub fn register_aligned(
        &self,
        name: &str,
        scan: Arc<DeltaScan>,
        alignment: &Alignment,
        insertion: Option<Insertion>,
    ) -> Result<()> {
        scan.location().register(&self.context.runtime_env());
        let shown: TableReference = self.resolve(name).into();
        let table = AlignedTable::try_new(&self.context.state(), shown, scan, alignment)?;
        self.put_written(name, Arc::new(table), insertion)
    }

    /// Register all batches of `reader`, kept in memory.
    pub fn register_batches(&self, name: &str, reader: ForeignReader) -> Result<()> {
        self.put(name, guarded(|| tables::memory_table(with_null_fields(reader)))?)
    }

    /// Register a stream that the first query over it will read.
    pub fn register_stream(&self, name: &str, reader: ForeignReader) -> Result<()> {
        self.put(name, tables::stream_table(name, with_null_fields(reader))?)
    }

    /// Register a query under a name.
    pub async fn register_view(&self, name: &str, query: &str) -> Result<()> {
        let plan = statement::plan(&self.planning_state(query), query, Allowed::default()).await?;
        self.put(name, Arc::new(ViewTable::new(plan, Some(query.to_string()))))
    }

    /// Forget a table; returns whether there was one.
    pub fn deregister(&self, name: &str) -> Result<bool> {
        let reference = self.resolve(name);
        let catalog = self.context.catalog(&reference.catalog);
        match catalog.and_then(|catalog| catalog.schema(&reference.schema)) {
            Some(schema) if schema.table_exist(&reference.table) => {
                Ok(schema.deregister_table(&reference.table)?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// The fully qualified names of all registered tables, sorted.
    pub fn tables(&self) -> Vec<String> {
        let state = self.context.state();
        let catalogs = state.catalog_list();
        let mut names = Vec::new();
        for (catalog_name, catalog) in
            catalogs.catalog_names().into_iter().filter_map(|c| Some((c.clone(), catalogs.catalog(&c)?)))
        {
            for (schema_name, schema) in
                catalog.schema_names().into_iter().filter_map(|s| Some((s.clone(), catalog.schema(&s)?)))
            {
                if schema_name == INFORMATION_SCHEMA {
                    continue;
                }
                let qualified =
                    |table| TableReference::full(catalog_name.clone(), schema_name.clone(), table);
                names.extend(
                    schema.table_names().into_iter().map(|table: String| qualified(table).to_quoted_string()),
                );
            }
        }
        names.sort();
        names
    }

    /// The schema of a registered table, as results show it.
    pub async fn schema(&self, name: &str) -> Result<SchemaRef> {
        let reference = self.resolve(name);
        let state = self.planning_state(name);
        let found = match state.schema_for_ref(TableReference::from(reference.clone())) {
            Ok(schema) => schema.table(&reference.table).await?,
            Err(_) => None,
        };
        let unknown = || EngineError::new(Code::TableUnknown, format!("No table {name}")).about(name);
        Ok(Arc::new(without_views(&found.ok_or_else(unknown)?.schema())))
    }

    /// Plan a SQL text. Definitions and session statements, where allowed, take effect at once.
    pub async fn sql(&self, query: &str, parameters: Option<ParamValues>, allowed: Allowed) -> Result<Query> {
        let mut plan = statement::plan(&self.planning_state(query), query, allowed).await?;
        check_size(&plan, allowed.joins)?;
        if let Some(values) = parameters {
            plan = plan.with_param_values(values)?;
        }
        let plan = match plan {
            LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) => {
                let outcome = self.context.execute_logical_plan(plan).await?.into_unoptimized_plan();
                // EXECUTE stands for a plan that was made under another policy, perhaps.
                allowed.check_plan(&outcome)?;
                outcome
            }
            query => query,
        };
        Ok(Query::new(self.context.state(), plan))
    }

    /// Handles through which tables of another context travel here.
    pub fn table_handles(&self) -> TableHandles {
        TableHandles::new(Arc::new(self.context.clone()))
    }

    /// Plan what another context has planned logically, with `tables` as its codec.
    pub fn plan(&self, bytes: &[u8], tables: &TableHandles, allowed: Allowed) -> Result<Query> {
        let state = self.context.state();
        let plan = plan::decode(bytes, tables, &state.task_ctx())?;
        allowed.check_plan(&plan)?;
        check_size(&plan, allowed.joins)?;
        plan::check_stores(&plan, state.runtime_env())?;
        Ok(Query::new(state, plan))
    }

    /// Make a store known for plans that come as bytes: the one that `root` is in.
    pub fn register_store(&self, root: &str, options: &BTreeMap<String, String>) -> Result<()> {
        Location::parse(root, options)?.register(&self.context.runtime_env());
        Ok(())
    }

    /// Take a query that an engine of the same version has planned and written as bytes.
    pub fn query_from_bytes(&self, bytes: &[u8], allowed: Allowed) -> Result<Query> {
        Query::from_bytes(self.context.state(), bytes, allowed)
    }

    /// Plan to read all rows of a stream, which each run opens anew.
    pub fn read(&self, schema: SchemaRef, open: Opener) -> Result<Query> {
        let source = provider_as_source(tables::opened_table(schema, open)?);
        let plan = LogicalPlanBuilder::scan("stream", source, None)?.build()?;
        Ok(Query::new(self.context.state(), plan))
    }

    /// Plan a SQL text with open parameters.
    pub async fn prepare(&self, query: &str, allowed: Allowed) -> Result<Prepared> {
        let plan = statement::plan(&self.planning_state(query), query, allowed).await?;
        check_size(&plan, allowed.joins)?;
        Prepared::new(self.context.clone(), plan)
    }

    /// Names of all functions that SQL can call, sorted.
    pub fn functions(&self) -> Vec<String> {
        let mut names: Vec<String> = self.routines().into_iter().map(|routine| routine.name).collect();
        names.dedup();
        names
    }

    /// All functions that SQL can call, with what no signature says.
    pub fn routines(&self) -> Vec<Routine> {
        routines::routines(&self.context.state())
    }

    /// All settings that have a value.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let config = self.context.copied_config();
        let entries = config.options().entries().into_iter();
        entries.filter_map(|entry| Some((entry.key, entry.value?))).collect()
    }

    fn put_written(
        &self,
        name: &str,
        table: Arc<dyn TableProvider>,
        insertion: Option<Insertion>,
    ) -> Result<()> {
        match insertion {
            None => self.put(name, table),
            Some(insertion) => self.put(name, Arc::new(insertion.into_table(table, &self.context.state()))),
        }
    }

    fn put(&self, name: &str, provider: Arc<dyn TableProvider>) -> Result<()> {
        let reference = self.resolve(name);
        let schema = self.schema_provider(&reference)?;
        let table = reference.table.to_string();
        schema.deregister_table(&table)?;
        schema.register_table(table, provider)?;
        Ok(())
    }

    fn resolve(&self, name: &str) -> ResolvedTableReference {
        let config = self.context.copied_config();
        let defaults = &config.options().catalog;
        TableReference::from(name).resolve(&defaults.default_catalog, &defaults.default_schema)
    }

    /// The schema that a name lives in; catalogs and schemas come into being with their first table.
    fn schema_provider(&self, reference: &ResolvedTableReference) -> Result<Arc<dyn SchemaProvider>> {
        let catalog: Arc<dyn CatalogProvider> = match self.context.catalog(&reference.catalog) {
            Some(catalog) => catalog,
            None => {
                let catalog = Arc::new(MemoryCatalogProvider::new());
                if let Some(information_schema) = &self.information_schema {
                    information_schema.join(catalog.as_ref())?;
                }
                self.context.register_catalog(reference.catalog.as_ref(), Arc::clone(&catalog) as _);
                catalog
            }
        };
        match catalog.schema(&reference.schema) {
            Some(schema) => Ok(schema),
            None => {
                let schema = Arc::new(MemorySchemaProvider::new());
                catalog.register_schema(&reference.schema, Arc::clone(&schema) as _)?;
                Ok(schema)
            }
        }
    }
}

/// DataFusion's rules, with IN lists kept apart, and ours.
fn logical_rules(constants: BoundedConstants) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let simplifying: Arc<dyn OptimizerRule + Send + Sync> =
        Arc::new(SeparateLists::new(SimplifyExpressions::new()));
    let rules = Optimizer::new().rules.into_iter();
    let mut rules: Vec<_> = rules
        .map(|rule| if rule.name() == simplifying.name() { Arc::clone(&simplifying) } else { rule })
        .collect();
    rules.push(Arc::new(LogAnswers));
    rules.push(Arc::new(constants));
    rules
}

/// DataFusion's rules, between ours: before them, numbers with a point become decimals where they are compared with
/// some, and decimals become doubles where they meet them; after them, comparisons in lists, CASE and `nullif` are
/// written out, and writers get NULL where a column may not hold it.
fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    rules.insert(0, Arc::new(DecimalLiterals));
    rules.insert(1, Arc::new(MixedNumbers));
    rules.push(Arc::new(PlainEquality));
    rules.push(Arc::new(NullableValues));
    rules
}

/// DataFusion's rules, with changes. The one that links dynamic filters to scans is left out: [`Query`]
/// applies it for each run, so that a kept plan gets filters of its own every time. The one that pushes
/// static filters is kept from mistaking columns for each other. Scans read files in order where the next rule
/// would have rows sorted, and keep it. Floating-point numbers stay out of heaps, and joins yield.
fn planning_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let linking = query::dynamic_filter_rule();
    let pushing = UniqueNamesOnly::new(FilterPushdown::new());
    let rules = PhysicalOptimizer::new().rules.into_iter().filter(|rule| rule.name() != linking.name());
    let pushing: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(pushing);
    let mut rules: Vec<_> =
        rules.map(|rule| if rule.name() == pushing.name() { Arc::clone(&pushing) } else { rule }).collect();
    let sorting = EnsureRequirements::new();
    let before = rules.iter().position(|rule| rule.name() == sorting.name()).unwrap_or(rules.len());
    rules.insert(before, Arc::new(OrderedScans));
    rules.push(Arc::new(KeptOrder));
    rules.push(Arc::new(NoFloatHeaps));
    rules.push(Arc::new(YieldingJoins));
    rules
}
