//! Functions of DataFusion that take the memory of their results before they make them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, StructFieldMapping,
};

use super::memory::{Memory, SMALL, held, hold_while_planning, takes_too_long};
use super::sizes::{Arguments, SIZES, Size, too_many_steps};

/// A function, and how large its results can get.
#[derive(Debug, Clone)]
pub struct Bounded {
    inner: Arc<ScalarUDF>,
    size: Size,
    memory: Memory,
}

/// The function in bounds, if it is one whose results can get large.
pub fn bounded(function: &Arc<ScalarUDF>, memory: &Memory) -> Option<Arc<ScalarUDF>> {
    let (_, size) = SIZES.iter().find(|(name, _)| *name == function.name())?;
    if function.inner().is::<Bounded>() {
        return None;
    }
    let bounded = Bounded { inner: Arc::clone(function), size: *size, memory: memory.clone() };
    Some(Arc::new(ScalarUDF::new_from_impl(bounded)))
}

impl Bounded {
    fn around(&self, inner: ScalarUDF) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self { inner: Arc::new(inner), ..self.clone() })
    }

    /// What a call was simplified to, with the calls in it in bounds.
    fn rewrapped(&self, expression: Expr) -> Result<Expr> {
        let rewrapped = expression.transform_up(|expression| match expression {
            Expr::ScalarFunction(call) => Ok(match bounded(&call.func, &self.memory) {
                Some(func) => {
                    Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: call.args }))
                }
                None => Transformed::no(Expr::ScalarFunction(call)),
            }),
            other => Ok(Transformed::no(other)),
        });
        rewrapped.data()
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arguments = Arguments::new(&args.args, args.number_rows);
        if let Some(steps) = too_many_steps(self.name(), &arguments) {
            return Err(takes_too_long(self.name(), steps));
        }
        let bytes = (self.size)(&arguments);
        if bytes <= SMALL {
            return self.inner.invoke_with_args(args);
        }
        let reservation = self.memory.reservation(self.name());
        self.memory.grow(&reservation, self.name(), bytes)?;
        match self.inner.invoke_with_args(args)? {
            ColumnarValue::Array(array) => held(&array, reservation).map(ColumnarValue::Array),
            ColumnarValue::Scalar(value) => {
                reservation.try_resize(value.size())?;
                hold_while_planning(reservation);
                Ok(ColumnarValue::Scalar(value))
            }
        }
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match self.inner.simplify(args, info)? {
            ExprSimplifyResult::Simplified(simplified) => {
                ExprSimplifyResult::Simplified(self.rewrapped(simplified)?)
            }
            original => original,
        })
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        self.inner.inner().with_updated_config(config).map(|inner| self.around(inner))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        #[expect(deprecated)]
        self.inner.display_name(args)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn is_nullable(&self, args: &[Expr], schema: &dyn ExprSchema) -> bool {
        #[expect(deprecated)]
        self.inner.is_nullable(args, schema)
    }

    fn is_strict(&self) -> bool {
        self.inner.is_strict()
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.preimage(args, literal, info)
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(inputs)
    }

    fn propagate_constraints(
        &self,
        interval: &Interval,
        inputs: &[&Interval],
    ) -> Result<Option<Vec<Interval>>> {
        self.inner.propagate_constraints(interval, inputs)
    }

    fn struct_field_mapping(&self, literals: &[Option<ScalarValue>]) -> Option<StructFieldMapping> {
        self.inner.struct_field_mapping(literals)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.strictly_order_preserving(inputs)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.placement(args)
    }
}
