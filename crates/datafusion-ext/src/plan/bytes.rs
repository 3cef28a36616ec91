//! Physical plans as bytes, for the same engine in another process or at another time.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use datafusion::DATAFUSION_VERSION;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::protobuf::PhysicalPlanNode;
use prost::Message;

use super::canonical::{Keys, add_keys, canonical};
use super::codec::{Decoder, DeltaCodec};
use super::encoder::Encoder;
use crate::checksum::checksum;
use crate::error::{Code, EngineError, Result};

/// What the bytes start with: their kind, and the version of this layout.
const MARK: &[u8; 8] = b"DFXPLAN\x01";
const CHECKSUM_BYTES: usize = 8;

/// An encoded plan, with what is told of it.
#[derive(Clone, PartialEq, Message)]
pub struct Encoded {
    /// The versions that wrote it, which alone can read it.
    #[prost(string, tag = "1")]
    versions: String,
    #[prost(bytes = "vec", tag = "2")]
    physical: Vec<u8>,
    /// The names of the tables that it reads.
    #[prost(string, repeated, tag = "3")]
    pub tables: Vec<String>,
    /// The logical plan as text.
    #[prost(string, tag = "4")]
    pub logical: String,
    /// The optimised logical plan as text.
    #[prost(string, tag = "5")]
    pub optimized: String,
}

impl Encoded {
    pub fn new(
        plan: Arc<dyn ExecutionPlan>,
        tables: Vec<String>,
        logical: String,
        optimized: String,
    ) -> Result<Self> {
        let physical = physical_bytes(plan)
            .map_err(|error| EngineError { code: Code::PlanBytes, ..EngineError::from(error) })?;
        Ok(Self { versions: versions(), physical, tables, logical, optimized })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        self.encode_raw(&mut bytes);
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Read bytes that an engine of the same versions wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < MARK.len() + CHECKSUM_BYTES || !bytes.starts_with(&MARK[..MARK.len() - 1]) {
            return Err(refused("The bytes are no plan of this engine"));
        }
        if !bytes.starts_with(MARK) {
            return Err(refused("The bytes of the plan have another layout; plan the query again"));
        }
        let (content, found) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        if checksum(content).to_le_bytes() != found {
            return Err(refused("The bytes of the plan are damaged; plan the query again"));
        }
        let encoded = Self::decode(&content[MARK.len()..])
            .map_err(|_| refused("The bytes of the plan are damaged; plan the query again"))?;
        match encoded.versions == versions() {
            true => Ok(encoded),
            false => Err(refused(&format!(
                "The plan was made by {}, and this is {}; plan the query again",
                encoded.versions,
                versions()
            ))),
        }
    }

    /// Make the plan anew. Object stores and functions are those of `context`.
    pub fn plan(&self, context: &TaskContext) -> Result<Arc<dyn ExecutionPlan>> {
        let decode = || {
            physical_plan_from_bytes_with_proto_converter(
                &self.physical,
                context,
                &DeltaCodec,
                &Decoder::default(),
            )
        };
        let decoded = catch_unwind(AssertUnwindSafe(decode)).map_err(|panic| refused(words(&panic)))?;
        decoded.map_err(|error| EngineError { code: Code::PlanBytes, ..EngineError::from(error) })
    }
}

fn physical_bytes(plan: Arc<dyn ExecutionPlan>) -> DataFusionResult<Vec<u8>> {
    let mut keys = Keys::new();
    plan.apply(|node| {
        add_keys(&mut keys, &node.schema());
        Ok(TreeNodeRecursion::Continue)
    })?;
    let bytes = physical_plan_to_bytes_with_proto_converter(plan, &DeltaCodec, &Encoder::default())?;
    if keys.is_empty() {
        return Ok(bytes.to_vec());
    }
    let node = PhysicalPlanNode::decode(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok(canonical(&node, &keys))
}

fn versions() -> String {
    format!("datafusion-ext {} with DataFusion {DATAFUSION_VERSION}", env!("CARGO_PKG_VERSION"))
}

fn refused(message: &str) -> EngineError {
    EngineError::new(Code::PlanBytes, message)
}

/// What a panic said.
pub(super) fn words(panic: &Box<dyn Any + Send>) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("The bytes could not be decoded")
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Schema;
    use datafusion::physical_plan::empty::EmptyExec;

    use super::*;

    fn encoded() -> Encoded {
        let plan = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
        Encoded::new(plan, vec!["t".to_string()], "logical".to_string(), "optimized".to_string()).unwrap()
    }

    #[test]
    fn bytes_are_read_back() {
        let read = Encoded::from_bytes(&encoded().to_bytes()).unwrap();
        assert_eq!(read, encoded());
        assert_eq!(read.plan(&TaskContext::default()).unwrap().name(), "EmptyExec");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let bytes = encoded().to_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            assert_eq!(Encoded::from_bytes(&changed).unwrap_err().code, Code::PlanBytes);
            assert_eq!(Encoded::from_bytes(&bytes[..at]).unwrap_err().code, Code::PlanBytes);
        }
    }

    #[test]
    fn other_versions_are_named() {
        let other = Encoded { versions: "datafusion-ext 0.0.1".to_string(), ..encoded() };
        let error = Encoded::from_bytes(&other.to_bytes()).unwrap_err();
        assert!(error.message.contains("datafusion-ext 0.0.1") && error.message.contains(&versions()));
    }

    #[test]
    fn what_is_no_plan_inside_a_whole_frame_is_refused() {
        for byte in 0..=u8::MAX {
            let broken = Encoded { physical: vec![byte; 40], ..encoded() };
            let read = Encoded::from_bytes(&broken.to_bytes()).unwrap();
            assert_eq!(read.plan(&TaskContext::default()).unwrap_err().code, Code::PlanBytes);
        }
    }
}
