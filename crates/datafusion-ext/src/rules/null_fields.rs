//! Below a struct that CASE or `nullif` made NULL, its fields are made NULL.
//!
//! DataFusion makes such structs by marking rows NULL and leaves the fields as they were, and its field access
//! reads these as they are: `nullif(s, s)['x']` gives the `x` of `s`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ExprSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use super::rewriting::rewrite_expressions;
use crate::engine::nested::{has_struct, masked};

/// Names like this are not listed.
const NAME: &str = "__null_fields";
/// Functions that pick one of their arguments, or none; the planner writes them as CASE.
const CHOOSING: [&str; 5] = ["coalesce", "ifnull", "nullif", "nvl", "nvl2"];

/// Wraps what chooses between structs in a function that does so.
#[derive(Debug)]
pub struct NullFields {
    function: Arc<ScalarUDF>,
}

impl Default for NullFields {
    fn default() -> Self {
        Self { function: Arc::new(ScalarUDF::new_from_impl(Masking::default())) }
    }
}

impl NullFields {
    pub fn function(&self) -> Arc<ScalarUDF> {
        Arc::clone(&self.function)
    }

    fn rewritten(&self, expression: Expr, schema: &dyn ExprSchema) -> Transformed<Expr> {
        // A view was rewritten before.
        if let Expr::ScalarFunction(call) = &expression
            && call.func.name() == NAME
            && matches!(&call.args[0], Expr::ScalarFunction(inner) if inner.func.name() == NAME)
        {
            return Transformed::yes(call.args[0].clone());
        }
        let chooses = match &expression {
            Expr::Case(_) => true,
            Expr::ScalarFunction(call) => CHOOSING.contains(&call.func.name()),
            _ => false,
        };
        if !chooses || !expression.get_type(schema).is_ok_and(|kind| has_struct(&kind)) {
            return Transformed::no(expression);
        }
        let func = self.function();
        Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: vec![expression] }))
    }
}

impl AnalyzerRule for NullFields {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |each, schema| Ok(self.rewritten(each, schema)))
    }

    fn name(&self) -> &str {
        "null_fields"
    }
}

/// The function that masks the fields of NULL structs.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Masking(Signature);

impl Default for Masking {
    fn default() -> Self {
        Self(Signature::any(1, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Masking {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::clone(&args.arg_fields[0]))
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(args[0].schema_name().to_string())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match &args.args[0] {
            ColumnarValue::Array(array) => ColumnarValue::Array(masked(array)?),
            ColumnarValue::Scalar(value) => {
                ColumnarValue::Array(masked(&value.to_array_of_size(args.number_rows)?)?)
            }
        })
    }
}
