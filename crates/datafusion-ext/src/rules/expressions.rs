//! Calls whose results can get large are made to take their memory first, however they came into a plan.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunction};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr as PhysicalBinary, Column};

use super::rewriting::rewrite_expressions;
use crate::functions::{BoundedWindow, Memory, bounded};

/// Replaces functions by themselves in bounds, and `||` by a function.
#[derive(Debug)]
pub struct BoundedCalls {
    memory: Memory,
    concat: Arc<ScalarUDF>,
}

impl BoundedCalls {
    pub fn new(memory: Memory) -> Self {
        let concat = Arc::new(ScalarUDF::new_from_impl(TextConcat::default()));
        let concat = bounded(&concat, &memory).unwrap_or(concat);
        Self { memory, concat }
    }

    /// What `||` between texts becomes.
    pub fn concat(&self) -> Arc<ScalarUDF> {
        Arc::clone(&self.concat)
    }

    fn rewritten(&self, expression: Expr) -> Result<Transformed<Expr>> {
        Ok(match expression {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
                let func = Arc::clone(&self.concat);
                Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: vec![*left, *right] }))
            }
            Expr::ScalarFunction(mut call) => match bounded(&call.func, &self.memory) {
                Some(func) => {
                    call.func = func;
                    Transformed::yes(Expr::ScalarFunction(call))
                }
                None => Transformed::no(Expr::ScalarFunction(call)),
            },
            Expr::WindowFunction(call) => self.window(call),
            other => Transformed::no(other),
        })
    }

    fn window(&self, mut call: Box<WindowFunction>) -> Transformed<Expr> {
        let found = match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => BoundedWindow::around(function, &self.memory),
            WindowFunctionDefinition::WindowUDF(_) => None,
        };
        match found {
            Some(function) => {
                call.fun = WindowFunctionDefinition::AggregateUDF(function);
                Transformed::yes(Expr::WindowFunction(call))
            }
            None => Transformed::no(Expr::WindowFunction(call)),
        }
    }
}

impl AnalyzerRule for BoundedCalls {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |each, _| self.rewritten(each))
    }

    fn name(&self) -> &str {
        "bounded_calls"
    }
}

/// The operator `||` between texts as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextConcat(Signature);

impl Default for TextConcat {
    fn default() -> Self {
        Self(Signature::any(2, Volatility::Immutable))
    }
}

/// The operator over two columns of these types.
fn operator(types: &[DataType]) -> (PhysicalBinary, Schema) {
    let fields: Vec<Field> = types.iter().map(|kind| Field::new("", kind.clone(), true)).collect();
    let column = |at| Arc::new(Column::new("", at)) as Arc<dyn PhysicalExpr>;
    (PhysicalBinary::new(column(0), Operator::StringConcat, column(1)), Schema::new(fields))
}

impl ScalarUDFImpl for TextConcat {
    fn name(&self) -> &str {
        "__text_concat"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let (operator, schema) = operator(types);
        operator.data_type(&schema)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(|each| each.schema_name().to_string()).collect();
        Ok(names.join(" || "))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let (operator, schema) = operator(&types);
        let columns = args.args.iter().map(|value| value.to_array(rows)).collect::<Result<_>>()?;
        let texts = operator.evaluate(&RecordBatch::try_new(Arc::new(schema), columns)?)?.into_array(rows)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)),
            false => Ok(ColumnarValue::Array(texts)),
        }
    }
}
