//! The columns of a scan: what queries see, and where each of them comes from.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::datasource::file_format::parquet::transform_schema_to_view;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::parquet::arrow::RowNumber;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};

use super::mapping::ColumnMapping;
use super::options::ScanOptions;
use crate::engine::keep_views;
use crate::error::{Code, EngineError, Result};

/// The columns of a scan in three orders: the table's, by the names that queries use; the scan's (data,
/// partition columns, file, row index) by those names; and the scan's by the names in the files.
#[derive(Debug)]
pub struct Layout {
    /// What queries see: the table's columns, then those that the scan adds.
    pub schema: SchemaRef,
    pub data: Vec<FieldRef>,
    pub partitions: Vec<FieldRef>,
    pub file_column: Option<FieldRef>,
    row_index: Option<FieldRef>,
    pub scan_schema: TableSchema,
    /// Position in the scan's order of each column of `schema`.
    pub positions: Vec<usize>,
    options: ScanOptions,
}

impl Layout {
    pub fn try_new(
        table: &Schema,
        partition_columns: &[String],
        mapping: ColumnMapping,
        options: &ScanOptions,
    ) -> Result<Self> {
        let table = shown_types(table, partition_columns, options);
        let (data, partitions) = split_columns(&table, partition_columns)?;
        let added = |name: &Option<String>, data_type: DataType| {
            name.as_ref().map(|name| Arc::new(Field::new(name, data_type, false)) as FieldRef)
        };
        let text = if options.view_types == Some(false) { DataType::Utf8 } else { DataType::Utf8View };
        let file_column = added(&options.file_column, text).map(|field| match options.view_types {
            Some(true) => Arc::new(keep_views(&field)),
            _ => field,
        });
        let row_index = added(&options.row_index_column, DataType::Int64);
        let fields: Vec<FieldRef> =
            table.fields().iter().chain(&file_column).chain(&row_index).cloned().collect();
        check_names(&fields)?;
        let order: Vec<&FieldRef> =
            data.iter().chain(&partitions).chain(&file_column).chain(&row_index).collect();
        let positions = fields
            .iter()
            .map(|field| order.iter().position(|column| column.name() == field.name()))
            .collect::<Option<Vec<_>>>()
            .unwrap_or_default();
        let scan_schema = file_layout(mapping, &data, &partitions, &file_column, &row_index);
        let schema = Arc::new(Schema::new(fields));
        let options = options.clone();
        Ok(Self { schema, data, partitions, file_column, row_index, scan_schema, positions, options })
    }

    /// The columns that the scan adds to the table's.
    pub fn added_columns(&self) -> impl Iterator<Item = &FieldRef> {
        self.file_column.iter().chain(&self.row_index)
    }

    /// Columns put in place of the table's, in the types that queries see.
    pub fn shown(&self, schema: &Schema) -> Schema {
        let shown = schema.fields().iter().map(|field| -> FieldRef {
            let view = match field.data_type() {
                DataType::Utf8View | DataType::BinaryView => return Arc::new(keep_views(field)),
                DataType::Utf8 => DataType::Utf8View,
                DataType::Binary => DataType::BinaryView,
                _ => return Arc::clone(field),
            };
            let view = || Field::clone(field).with_data_type(view);
            match self.options.view_types {
                Some(false) => Arc::clone(field),
                Some(true) => Arc::new(keep_views(&view())),
                None => Arc::new(view()),
            }
        });
        Schema::new_with_metadata(shown.collect::<Vec<_>>(), schema.metadata().clone())
    }

    pub fn is_row_index(&self, name: &str) -> bool {
        self.row_index.as_ref().is_some_and(|field| field.name() == name)
    }

    pub fn has_row_index(&self) -> bool {
        self.row_index.is_some()
    }

    /// The columns of `schema` at these positions, all if there are none, as expressions over the scan's.
    pub fn projection(&self, columns: Option<&Vec<usize>>) -> ProjectionExprs {
        let scan_fields = self.scan_schema.table_schema().fields();
        let expression = |column: usize| {
            let (at, shown) = (self.positions[column], &self.schema.fields()[column]);
            let mut expr: Arc<dyn PhysicalExpr> = Arc::new(Column::new(scan_fields[at].name(), at));
            if self.is_row_index(shown.name()) {
                // Of the same type, but without the mark by which the reader knows what to put there.
                expr = Arc::new(CastExpr::new_with_target_field(expr, Arc::clone(shown), None));
            }
            ProjectionExpr { expr, alias: shown.name().clone() }
        };
        ProjectionExprs::new(match columns {
            Some(columns) => columns.iter().copied().map(expression).collect::<Vec<_>>(),
            None => (0..self.schema.fields().len()).map(expression).collect(),
        })
    }
}

/// The table's columns in the types that queries see.
fn shown_types(table: &Schema, partition_columns: &[String], options: &ScanOptions) -> Schema {
    let views = match options.view_types {
        Some(false) => table.clone(),
        _ => transform_schema_to_view(table),
    };
    let shown = table.fields().iter().zip(views.fields()).map(|(plain, view)| -> FieldRef {
        match (options.wrap_partition_values && partition_columns.contains(plain.name()), options.view_types)
        {
            (true, _) => {
                let values = Box::new(plain.data_type().clone());
                let wrapped = DataType::Dictionary(Box::new(DataType::Int32), values);
                Arc::new(Field::clone(plain).with_data_type(wrapped))
            }
            (false, Some(true)) => Arc::new(keep_views(view)),
            (false, _) => Arc::clone(view),
        }
    });
    Schema::new_with_metadata(shown.collect::<Vec<_>>(), table.metadata().clone())
}

fn split_columns(schema: &Schema, partition_columns: &[String]) -> Result<(Vec<FieldRef>, Vec<FieldRef>)> {
    for name in partition_columns {
        if schema.field_with_name(name).is_err() {
            return Err(EngineError::new(
                Code::ScanInput,
                format!("Partition column {name:?} is not in the schema"),
            ));
        }
    }
    let is_partition = |field: &&FieldRef| partition_columns.contains(field.name());
    let data = schema.fields().iter().filter(|field| !is_partition(field)).cloned().collect();
    let partitions = partition_columns.iter().filter_map(|name| schema.fields().find(name));
    Ok((data, partitions.map(|(_, field)| Arc::clone(field)).collect()))
}

fn check_names(fields: &[FieldRef]) -> Result<()> {
    let mut known = std::collections::HashSet::new();
    match fields.iter().find(|field| !known.insert(field.name().to_lowercase())) {
        None => Ok(()),
        Some(twice) => Err(EngineError::new(
            Code::ScanInput,
            format!("Two columns of the scan are called {:?}", twice.name()),
        )),
    }
}

/// The scan's order by the names in the files. Added columns get names that no file column has.
fn file_layout(
    mapping: ColumnMapping,
    data: &[FieldRef],
    partitions: &[FieldRef],
    file_column: &Option<FieldRef>,
    row_index: &Option<FieldRef>,
) -> TableSchema {
    let physical = |fields: &[FieldRef]| -> Vec<FieldRef> {
        fields.iter().map(|field| mapping.physical_field(field)).collect()
    };
    let (data, mut partitions) = (physical(data), physical(partitions));
    let taken: Vec<String> =
        data.iter().chain(&partitions).map(|field| field.name().to_lowercase()).collect();
    let free = |name: &str| {
        let mut free = name.to_string();
        while taken.contains(&free) {
            free.push('_');
        }
        free
    };
    partitions.extend(
        file_column.iter().map(|field| Arc::new(Field::clone(field).with_name(free("__file"))) as FieldRef),
    );
    let row_index = row_index.iter().map(|field| {
        let field = Field::new(free("__row_index"), field.data_type().clone(), false);
        Arc::new(field.with_extension_type(RowNumber)) as FieldRef
    });
    TableSchema::builder(Arc::new(Schema::new(data)))
        .with_table_partition_cols(partitions)
        .with_virtual_columns(row_index.collect::<Vec<_>>())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Schema {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        Schema::new(vec![text("part"), Field::new("id", DataType::Int64, true), text("__file")])
    }

    fn layout(options: &ScanOptions) -> Result<Layout> {
        Layout::try_new(&table(), &["part".to_string()], ColumnMapping::None, options)
    }

    #[test]
    fn added_columns_come_last_and_under_names_of_their_own() {
        let options = ScanOptions {
            file_column: Some("f".into()),
            row_index_column: Some("r".into()),
            ..Default::default()
        };
        let layout = layout(&options).unwrap();
        let names = |schema: &Schema| -> Vec<String> {
            schema.fields().iter().map(|field| field.name().clone()).collect()
        };
        assert_eq!(names(&layout.schema), ["part", "id", "__file", "f", "r"]);
        let scan = layout.scan_schema.table_schema();
        assert_eq!(names(scan), ["id", "__file", "part", "__file_", "__row_index"]);
        assert_eq!(layout.positions, [2, 0, 1, 3, 4]);
        let shown = layout.projection(None).project_schema(scan).unwrap();
        assert_eq!(names(&shown), names(&layout.schema));
        assert!(shown.field(4).metadata().is_empty());
    }

    #[test]
    fn types_are_shown_as_asked() {
        let shown = |options| layout(&options).unwrap().schema.field(0).data_type().clone();
        let views = |view_types| ScanOptions { view_types, ..Default::default() };
        assert_eq!(shown(views(None)), DataType::Utf8View);
        assert_eq!(shown(views(Some(false))), DataType::Utf8);
        let wrapped = ScanOptions { wrap_partition_values: true, ..Default::default() };
        assert!(matches!(shown(wrapped), DataType::Dictionary(_, values) if *values == DataType::Utf8));
    }

    #[test]
    fn a_name_that_the_table_has_is_refused() {
        let options = ScanOptions { file_column: Some("ID".into()), ..Default::default() };
        assert_eq!(layout(&options).unwrap_err().code, Code::ScanInput);
    }
}
