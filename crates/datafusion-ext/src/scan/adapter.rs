//! Expressions over the table's columns, rewritten for the columns of one data file.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};

use super::conversion::Conversion;
use super::field_below_nulls::FieldBelowNulls;
use super::mapping::ColumnMapping;
use crate::error::{Code, EngineError};

/// Makes adapters between a table and its files.
#[derive(Debug, Clone, Copy)]
pub struct DeltaAdapterFactory {
    pub mapping: ColumnMapping,
}

impl PhysicalExprAdapterFactory for DeltaAdapterFactory {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        Ok(Arc::new(DeltaAdapter { table, file, mapping: self.mapping }))
    }
}

#[derive(Debug)]
struct DeltaAdapter {
    table: SchemaRef,
    file: SchemaRef,
    mapping: ColumnMapping,
}

impl PhysicalExprAdapter for DeltaAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let rewrite = |expr: Arc<dyn PhysicalExpr>| {
            let rewritten = match self.field_access(&expr)? {
                Some(access) => Some(access),
                None => expr.downcast_ref::<Column>().map(|column| self.column(column)).transpose()?,
            };
            Ok(match rewritten {
                Some(rewritten) => Transformed::new(rewritten, true, TreeNodeRecursion::Jump),
                None => Transformed::no(expr),
            })
        };
        expr.transform_down(rewrite).data()
    }
}

impl DeltaAdapter {
    fn column(&self, column: &Column) -> Result<Arc<dyn PhysicalExpr>> {
        let wanted = self.table.field_with_name(column.name())?;
        let Some(at) = self.mapping.find(wanted, self.file.fields()) else {
            return absent(wanted);
        };
        let found = self.file.field(at);
        self.converted(Arc::new(Column::new(found.name(), at)), found.data_type(), wanted)
    }

    /// A field of a struct, read without the rest of the struct; `None` for any other expression.
    fn field_access(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some((function, column, keys)) = access_path(expr) else {
            return Ok(None);
        };
        let Ok(mut wanted) = self.table.field_with_name(column.name()) else {
            return Ok(None);
        };
        let top = self.mapping.find(wanted, self.file.fields());
        let mut found = top.map(|at| self.file.field(at));
        let mut arguments: Vec<Arc<dyn PhysicalExpr>> = match (top, found) {
            (Some(at), Some(field)) => vec![Arc::new(Column::new(field.name(), at))],
            _ => Vec::new(),
        };
        let mut hides = false;
        for key in keys {
            let DataType::Struct(fields) = wanted.data_type() else {
                return Ok(None);
            };
            let Some((_, field)) = fields.find(&key) else {
                return Ok(None);
            };
            wanted = field;
            found = match found.map(Field::data_type) {
                Some(DataType::Struct(candidates)) => {
                    self.mapping.find(wanted, candidates).map(|at| candidates[at].as_ref())
                }
                Some(_) => return Ok(None),
                None => None,
            };
            hides |= found.is_some_and(|field| !field.is_nullable());
            let name = found.map(|field| ScalarValue::from(field.name().as_str()));
            arguments.extend(name.map(|name| Arc::new(Literal::new(name)) as _));
        }
        let Some(found) = found else {
            return absent(wanted).map(Some);
        };
        let access = ScalarFunctionExpr::try_new(
            Arc::new(function.fun().clone()),
            arguments,
            &self.file,
            Arc::new(function.config_options().clone()),
        )?;
        let access: Arc<dyn PhysicalExpr> = match hides {
            true => Arc::new(FieldBelowNulls { access: Arc::new(access) }),
            false => Arc::new(access),
        };
        self.converted(access, found.data_type(), wanted).map(Some)
    }

    fn converted(
        &self,
        values: Arc<dyn PhysicalExpr>,
        from: &DataType,
        to: &Field,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let conversion = Conversion::between(from, to, self.mapping)?;
        let target: FieldRef = Arc::new(to.clone());
        Ok(match conversion {
            Conversion::Keep => values,
            Conversion::Cast if is_understood(from, to.data_type()) => {
                Arc::new(CastExpr::new_with_target_field(values, target, None))
            }
            conversion => Arc::new(Converted { values, target, conversion }),
        })
    }
}

/// Casts that the engine's pruning sees through, and does so rightly: it takes milliseconds for equal to the
/// microseconds within them, for example.
fn is_understood(from: &DataType, to: &DataType) -> bool {
    let is_text = |each: &DataType| matches!(each, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    (from.is_integer() && to.is_integer())
        || (from.is_decimal() && to.is_decimal())
        || (is_text(from) && is_text(to))
}

fn absent(field: &Field) -> Result<Arc<dyn PhysicalExpr>> {
    if !field.is_nullable() {
        let message =
            format!("A data file has no column {:?}, which must have a value in each row", field.name());
        return Err(EngineError::new(Code::Type, message).into());
    }
    let null = ScalarValue::try_from(field.data_type())?;
    Ok(Arc::new(Literal::new_with_metadata(null, Some(FieldMetadata::from(field)))))
}

/// The column and the field names of `column['a']['b']`, where these are constants.
fn access_path(expr: &Arc<dyn PhysicalExpr>) -> Option<(&ScalarFunctionExpr, &Column, Vec<String>)> {
    let function = ScalarFunctionExpr::try_downcast_func::<GetFieldFunc>(expr.as_ref())?;
    let (source, names) = function.args().split_first()?;
    let names = names.iter().map(|name| {
        let name = name.downcast_ref::<Literal>()?.value().try_as_str()??;
        Some(name.to_string())
    });
    let names = names.collect::<Option<Vec<_>>>()?;
    match source.downcast_ref::<Column>() {
        Some(column) => Some((function, column, names)),
        None => {
            let (_, column, mut path) = access_path(source)?;
            path.extend(names);
            Some((function, column, path))
        }
    }
}

/// Values of a file as the table's type, where that takes more than a cast.
#[derive(Debug)]
struct Converted {
    values: Arc<dyn PhysicalExpr>,
    target: FieldRef,
    conversion: Conversion,
}

impl PartialEq for Converted {
    fn eq(&self, other: &Self) -> bool {
        self.values.eq(&other.values) && self.target == other.target && self.conversion == other.conversion
    }
}

impl Eq for Converted {}

impl Hash for Converted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values.hash(state);
        self.target.hash(state);
        self.conversion.hash(state);
    }
}

impl Display for Converted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "as_table({})", self.values)
    }
}

impl PhysicalExpr for Converted {
    fn return_field(&self, _file: &Schema) -> Result<FieldRef> {
        Ok(Arc::clone(&self.target))
    }

    fn nullable(&self, _file: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let values = self.values.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(ColumnarValue::Array(self.conversion.apply(&values, self.target.data_type())?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.values]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let values = children.pop().unwrap_or_else(|| Arc::clone(&self.values));
        let (target, conversion) = (Arc::clone(&self.target), self.conversion.clone());
        Ok(Arc::new(Self { values, target, conversion }))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.values.fmt_sql(f)
    }
}
