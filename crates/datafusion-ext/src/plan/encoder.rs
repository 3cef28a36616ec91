//! Plans as messages that don't depend on when or where they are written.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::to_proto::serialize_physical_expr_with_converter;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalPlanNodeExt, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::{PhysicalExprNode, PhysicalPlanNode};

use crate::error::{Code, EngineError};

/// Encodes one plan. Expressions that share their state, as dynamic filters do, are numbered as they come:
/// the engine's own numbers are random.
#[derive(Default)]
pub struct Encoder {
    numbers: RefCell<HashMap<u64, u64>>,
}

impl Encoder {
    fn number(&self, id: u64) -> u64 {
        let mut numbers = self.numbers.borrow_mut();
        let next = numbers.len() as u64;
        *numbers.entry(id).or_insert(next)
    }
}

impl PhysicalProtoConverterExtension for Encoder {
    fn proto_to_execution_plan(
        &self,
        _proto: &PhysicalPlanNode,
        _context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(EngineError::new(Code::Internal, "An encoder does not decode").into())
    }

    fn execution_plan_to_proto(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<PhysicalPlanNode> {
        PhysicalPlanNode::try_from_physical_plan_with_converter(Arc::clone(plan), codec, self)
    }

    fn proto_to_physical_expr(
        &self,
        _proto: &PhysicalExprNode,
        _schema: &Schema,
        _context: &PhysicalPlanDecodeContext<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Err(EngineError::new(Code::Internal, "An encoder does not decode").into())
    }

    fn physical_expr_to_proto(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        codec: &dyn PhysicalExtensionCodec,
    ) -> Result<PhysicalExprNode> {
        let mut node = serialize_physical_expr_with_converter(expr, codec, self)?;
        node.expr_id = node.expr_id.map(|id| self.number(id));
        Ok(node)
    }
}
