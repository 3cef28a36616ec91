//! Functions that are expressions over their arguments. Calls are replaced by the expression while they are
//! planned, so that the optimizer sees through them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::utils::find_aggregate_exprs;
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, EmptyRelation, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder,
    ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;

use super::composed::Composed;

/// A function of either kind.
pub enum ExpressionFunction {
    Scalar(ScalarUDF),
    Aggregate(AggregateUDF),
}

/// Make a function of an expression in SQL over the arguments.
pub fn expression_function(
    state: &SessionState,
    name: &str,
    arguments: &Schema,
    sql: &str,
) -> Result<ExpressionFunction> {
    let arguments = with_views(arguments);
    let schema = Arc::new(DFSchema::try_from(Arc::clone(&arguments))?);
    let body = state.create_logical_expr(sql, &schema)?;
    if body.exists(|each| Ok(is_of_a_query(each)))? {
        return plan_err!("{name} must be an expression over its arguments, and {sql} is part of a query");
    }
    let input = EmptyRelation { produce_one_row: false, schema: Arc::clone(&schema) };
    let input = LogicalPlanBuilder::from(LogicalPlan::EmptyRelation(input));
    let aggregates = find_aggregate_exprs([&body]);
    let signature = signature(&arguments, volatility(&body)?);
    if aggregates.is_empty() {
        let body = analyzed(state, input.project([body.alias("value")])?.build()?)?.0;
        let function = Inlined::new(state, name, signature, arguments, schema, body)?;
        return Ok(ExpressionFunction::Scalar(function.into()));
    }
    let over = |each: Expr| {
        let replaced = each.transform_down(|each| match aggregates.contains(&each) {
            true => Ok(Transformed::yes(datafusion::logical_expr::ident(each.schema_name().to_string()))),
            false => Ok(Transformed::no(each)),
        });
        replaced.data()
    };
    let value = over(body)?.alias("value");
    let plan = input.aggregate(Vec::<Expr>::new(), aggregates.clone())?.project([value])?.build()?;
    let (body, gathered) = analyzed(state, plan)?;
    let function = Composed::new(state, name, signature, &arguments, &gathered, body)?;
    Ok(ExpressionFunction::Aggregate(function.into()))
}

/// Texts are views in this engine: arguments that are must not be converted.
fn with_views(arguments: &Schema) -> SchemaRef {
    let fields = arguments.fields().iter().map(|field| {
        let kind = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            other => other.clone(),
        };
        Field::new(field.name(), kind, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn signature(arguments: &Schema, volatility: Volatility) -> Signature {
    let types = arguments.fields().iter().map(|field| field.data_type().clone()).collect();
    let names: Vec<String> = arguments.fields().iter().map(|field| field.name().clone()).collect();
    let exact = Signature::exact(types, volatility);
    exact.clone().with_parameter_names(names).unwrap_or(exact)
}

fn is_of_a_query(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::Exists(_)
            | Expr::GroupingSet(_)
            | Expr::InSubquery(_)
            | Expr::OuterReferenceColumn(_, _)
            | Expr::Placeholder(_)
            | Expr::ScalarSubquery(_)
            | Expr::SetComparison(_)
            | Expr::Unnest(_)
            | Expr::WindowFunction(_)
    )
}

/// The least steady of the functions that are called.
fn volatility(body: &Expr) -> Result<Volatility> {
    let mut found = Volatility::Immutable;
    body.apply(|each| {
        found = match (each, found) {
            (Expr::ScalarFunction(call), Volatility::Immutable) => call.func.signature().volatility,
            (Expr::ScalarFunction(call), Volatility::Stable)
                if call.func.signature().volatility == Volatility::Volatile =>
            {
                Volatility::Volatile
            }
            _ => found,
        };
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The expression of a projection with its types settled, and the plan under it.
fn analyzed(state: &SessionState, plan: LogicalPlan) -> Result<(Expr, LogicalPlan)> {
    match state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})? {
        LogicalPlan::Projection(mut projection) if projection.expr.len() == 1 => {
            let value = projection.expr.swap_remove(0).unalias_nested().data;
            Ok((value, Arc::unwrap_or_clone(projection.input)))
        }
        other => plan_err!("Expected one expression, found {}", other.display()),
    }
}

/// A scalar function that is replaced by its body.
#[derive(Debug)]
struct Inlined {
    name: String,
    signature: Signature,
    arguments: SchemaRef,
    schema: DFSchemaRef,
    body: Expr,
    /// For calls of constants, which are evaluated as they are.
    physical: Arc<dyn PhysicalExpr>,
}

impl Inlined {
    fn new(
        state: &SessionState,
        name: &str,
        signature: Signature,
        arguments: SchemaRef,
        schema: DFSchemaRef,
        body: Expr,
    ) -> Result<Self> {
        let physical = state.create_physical_expr(body.clone(), &schema)?;
        Ok(Self { name: name.to_string(), signature, arguments, schema, body, physical })
    }

    /// Whether an argument that is another at each look stands in the body more than once.
    fn repeats_volatile(&self, args: &[Expr]) -> Result<bool> {
        let mut seen = vec![0usize; args.len()];
        self.body.apply(|each| {
            if let Expr::Column(column) = each {
                seen[self.schema.index_of_column(column)?] += 1;
            }
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        })?;
        Ok(args.iter().zip(seen).any(|(arg, times)| times > 1 && arg.is_volatile()))
    }
}

impl PartialEq for Inlined {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.body, &self.arguments) == (&other.name, &other.body, &other.arguments)
    }
}

impl Eq for Inlined {}

impl Hash for Inlined {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, &self.body).hash(state);
    }
}

impl ScalarUDFImpl for Inlined {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        self.body.get_type(self.schema.as_ref())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let known = self.arguments.fields().iter().zip(args.arg_fields);
        let fields: Fields =
            known.map(|(named, found)| found.as_ref().clone().with_name(named.name())).collect();
        let schema = DFSchema::from_unqualified_fields(fields, Default::default())?;
        Ok(Arc::new(self.body.to_field(&schema)?.1.as_ref().clone().with_name(&self.name)))
    }

    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if self.repeats_volatile(&args)? {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let inlined = self.body.clone().transform_down(|each| match each {
            Expr::Column(column) => {
                let at = self.schema.index_of_column(&column)?;
                Ok(Transformed::new(
                    args[at].clone(),
                    true,
                    datafusion::common::tree_node::TreeNodeRecursion::Jump,
                ))
            }
            other => Ok(Transformed::no(other)),
        });
        inlined.data().map(ExprSimplifyResult::Simplified)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|value| value.to_array(rows)).collect::<Result<_>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&self.arguments), columns)?;
        let values = self.physical.evaluate(&batch)?.into_array(rows)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)),
            false => Ok(ColumnarValue::Array(values)),
        }
    }
}
