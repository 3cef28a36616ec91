//! A required field of a struct that may be NULL.
//!
//! A Parquet reader gives a field that is required no NULLs, also where the struct around it is NULL, and the
//! engine's field access takes the values as they are.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{FieldRef, Schema};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::engine::nested::with_nulls;

/// `get_field(column, 'a', 'b')`, with NULL wherever a struct on the way is NULL.
///
/// The access stays an expression of its own, so that the reader still sees which leaves it needs.
#[derive(Debug, Eq)]
pub struct FieldBelowNulls {
    pub access: Arc<dyn PhysicalExpr>,
}

impl PartialEq for FieldBelowNulls {
    fn eq(&self, other: &Self) -> bool {
        self.access.eq(&other.access)
    }
}

impl Hash for FieldBelowNulls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.access.hash(state);
    }
}

impl FieldBelowNulls {
    fn nulls(&self, batch: &RecordBatch) -> Result<Option<NullBuffer>> {
        let Some((source, names)) =
            self.access.downcast_ref::<ScalarFunctionExpr>().and_then(|access| access.args().split_first())
        else {
            return Ok(None);
        };
        let mut array = source.evaluate(batch)?.into_array(batch.num_rows())?;
        let mut nulls = array.nulls().cloned();
        for name in names {
            let name = name.downcast_ref::<Literal>().and_then(|name| name.value().try_as_str()?);
            let child = array.as_struct_opt().and_then(|parent| parent.column_by_name(name?)).cloned();
            let Some(child) = child else {
                break;
            };
            nulls = NullBuffer::union(nulls.as_ref(), child.nulls());
            array = child;
        }
        Ok(nulls)
    }
}

impl Display for FieldBelowNulls {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.access.fmt(f)
    }
}

impl PhysicalExpr for FieldBelowNulls {
    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        Ok(Arc::new(self.access.return_field(schema)?.as_ref().clone().with_nullable(true)))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let values = self.access.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(with_nulls(&values, self.nulls(batch)?.as_ref())?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.access]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let access = children.pop().unwrap_or_else(|| Arc::clone(&self.access));
        Ok(Arc::new(Self { access }))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.access.fmt_sql(f)
    }
}
