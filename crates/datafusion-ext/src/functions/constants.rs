//! A long constant as a function.

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::memory::{Memory, SMALL, held};

/// Shorter constants do not fill memory in the batches that there are.
pub const LONG_CONSTANT: usize = 4096;

/// The function of a constant that takes the memory of as many copies as there are rows.
pub fn constant(memory: Memory) -> ScalarUDF {
    // Were it immutable, the optimizer would put its result in its place.
    ScalarUDF::new_from_impl(Constant { memory, signature: Signature::any(1, Volatility::Volatile) })
}

#[derive(Debug)]
struct Constant {
    memory: Memory,
    signature: Signature,
}

impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        self.signature == other.signature
    }
}

impl Eq for Constant {}

impl std::hash::Hash for Constant {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.signature.hash(state);
    }
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        "__constant"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = match args.args.pop() {
            Some(ColumnarValue::Scalar(value)) => value,
            Some(array) => return Ok(array),
            None => ScalarValue::Null,
        };
        let one = value.to_array()?.get_array_memory_size() as u64;
        let bytes = one.saturating_mul(args.number_rows as u64);
        if bytes <= SMALL {
            return value.to_array_of_size(args.number_rows).map(ColumnarValue::Array);
        }
        let reservation = self.memory.reservation(self.name());
        self.memory.grow(&reservation, self.name(), bytes)?;
        held(&value.to_array_of_size(args.number_rows)?, reservation).map(ColumnarValue::Array)
    }
}
