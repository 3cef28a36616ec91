//! A table as its contract shows it: columns are expressions over those of the scan.
//!
//! The planner sees the expressions, so filters and column choices reach the files through them.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::TableReference;
use datafusion::common::metadata::FieldMetadata;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TableProviderFilterPushDown, TableType,
    Volatility,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::ident;

use super::provider::DeltaScan;
use crate::error::{Code, EngineError, Result};

/// The columns of a contract, in order, and what gives them their values.
#[derive(Debug, Clone)]
pub struct Alignment {
    pub schema: SchemaRef,
    /// SQL text for each column of `schema`, over the columns of the scan.
    pub expressions: Vec<String>,
}

/// A scan behind an alignment.
#[derive(Debug)]
pub struct AlignedTable {
    view: ViewTable,
}

impl AlignedTable {
    pub fn try_new(
        state: &SessionState,
        name: TableReference,
        scan: Arc<DeltaScan>,
        alignment: &Alignment,
    ) -> Result<Self> {
        let shown = scan.layout().shown(&alignment.schema);
        if shown.fields().len() != alignment.expressions.len() {
            return Err(EngineError::new(Code::ScanInput, "Each column needs one expression"));
        }
        let added = scan.layout().added_columns().map(|field| ident(field.name()));
        let added: Vec<Expr> = added.collect();
        let plan = LogicalPlanBuilder::scan(name, provider_as_source(scan), None)?;
        let columns = shown.fields().iter().zip(&alignment.expressions);
        let columns = columns.map(|(field, sql)| {
            let expression = state.create_logical_expr(sql, plan.schema())?;
            converted(expression, field, &plan)
        });
        let columns = columns.chain(added.into_iter().map(Ok)).collect::<Result<Vec<_>>>()?;
        Ok(Self { view: ViewTable::new(plan.project(columns)?.build()?, None) })
    }
}

/// The expression as the column of the contract, whose type and nullability it gets.
fn converted(expression: Expr, field: &FieldRef, plan: &LogicalPlanBuilder) -> Result<Expr> {
    let found = expression.get_type(plan.schema())?;
    let mut values = match is_shown_as(&found, field.data_type()) {
        true => expression,
        false => Expr::Cast(Cast::new(Box::new(expression), field.data_type().clone())),
    };
    if !field.is_nullable() && values.nullable(plan.schema())? {
        values = require_value(field.name()).call(vec![values]);
    }
    Ok(values.alias_with_metadata(field.name(), Some(FieldMetadata::from(field.as_ref()))))
}

/// Whether values of a type show as another one: encodings of texts are the scan's choice, and whether the
/// engine takes fields of structs to be nullable says nothing of their values.
fn is_shown_as(found: &DataType, wanted: &DataType) -> bool {
    match (found, wanted) {
        (DataType::Dictionary(_, values), wanted) if !matches!(wanted, DataType::Dictionary(..)) => {
            is_shown_as(values, wanted)
        }
        (DataType::Utf8 | DataType::Utf8View, DataType::Utf8 | DataType::Utf8View) => true,
        (DataType::Binary | DataType::BinaryView, DataType::Binary | DataType::BinaryView) => true,
        (DataType::List(found), DataType::List(wanted)) => is_shown_as(found.data_type(), wanted.data_type()),
        (DataType::Map(found, _), DataType::Map(wanted, _)) => {
            is_shown_as(found.data_type(), wanted.data_type())
        }
        (DataType::Struct(found), DataType::Struct(wanted)) => {
            let mut pairs = found.iter().zip(wanted);
            found.len() == wanted.len()
                && pairs.all(|(one, other)| is_shown_as(one.data_type(), other.data_type()))
        }
        (found, wanted) => found == wanted,
    }
}

#[async_trait]
impl TableProvider for AlignedTable {
    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        self.view.get_logical_plan()
    }

    fn schema(&self) -> SchemaRef {
        self.view.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        self.view.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.view.scan(state, projection, filters, limit).await
    }
}

/// Hands its argument on, and fails where it is NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RequireValue {
    column: String,
    signature: Signature,
}

/// The function that fails where the named column has no value.
pub fn require_value(column: &str) -> ScalarUDF {
    ScalarUDF::from(RequireValue::new(column))
}

/// The column that such a function is about; `None` for any other function.
pub fn required_column(function: &ScalarUDF) -> Option<&str> {
    function.inner().downcast_ref::<RequireValue>().map(|found| found.column.as_str())
}

impl RequireValue {
    fn new(column: &str) -> Self {
        Self { column: column.to_string(), signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for RequireValue {
    fn name(&self) -> &str {
        "require_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(arguments[0].clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(Field::clone(&arguments.arg_fields[0]).with_nullable(false)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let values = arguments.args[0].to_array(arguments.number_rows)?;
        match values.logical_null_count() {
            0 => Ok(arguments.args[0].clone()),
            absent => {
                let message = format!(
                    "Column {:?} must have a value in each row, and in {absent} rows of a batch it has none",
                    self.column
                );
                Err(EngineError::new(Code::Type, message).about(&self.column).into())
            }
        }
    }
}
