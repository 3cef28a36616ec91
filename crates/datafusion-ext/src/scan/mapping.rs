//! Which column of a data file holds a column of the table.
//!
//! Source: the Delta transaction log protocol, "Column Mapping".

use datafusion::arrow::datatypes::{Field, FieldRef, Fields};
use datafusion::parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::error::{Code, EngineError, Result};

const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";
const FIELD_ID: &str = "delta.columnMapping.id";

/// How the columns of a table are found in its files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ColumnMapping {
    /// By the names that the table shows.
    #[default]
    None,
    /// By the physical names in the metadata of the table's columns.
    Name,
    /// By the ids in the metadata of the table's columns.
    Id,
}

impl ColumnMapping {
    /// Read the table property `delta.columnMapping.mode`.
    pub fn parse(mode: &str) -> Result<Self> {
        match mode {
            "none" => Ok(Self::None),
            "name" => Ok(Self::Name),
            "id" => Ok(Self::Id),
            other => {
                let message = format!("Column mapping of mode {other:?} can't be read");
                Err(EngineError::new(Code::Unsupported, message))
            }
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Name => "name",
            Self::Id => "id",
        }
    }

    /// The name that a column of the table has in the files and in the log's statistics.
    pub fn physical_name(self, field: &Field) -> &str {
        match self {
            Self::None => field.name(),
            Self::Name | Self::Id => field.metadata().get(PHYSICAL_NAME).unwrap_or(field.name()),
        }
    }

    /// The column as the files name it, with everything else as the table has it.
    pub fn physical_field(self, field: &FieldRef) -> FieldRef {
        let name = self.physical_name(field);
        match name == field.name() {
            true => field.clone(),
            false => field.as_ref().clone().with_name(name).into(),
        }
    }

    /// Find a column of the table among those of a file. Names may differ in case, as they do in files of
    /// writers that don't tell cases apart.
    pub fn find(self, field: &Field, candidates: &Fields) -> Option<usize> {
        if let (Self::Id, Some(id)) = (self, field.metadata().get(FIELD_ID)) {
            let has_id = |each: &FieldRef| each.metadata().get(PARQUET_FIELD_ID_META_KEY) == Some(id);
            return candidates.iter().position(has_id);
        }
        let name = self.physical_name(field);
        let exact = candidates.iter().position(|each| each.name() == name);
        exact.or_else(|| {
            let folded = name.to_lowercase();
            candidates.iter().position(|each| each.name().to_lowercase() == folded)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use datafusion::arrow::datatypes::DataType;

    use super::*;

    fn field(name: &str, metadata: &[(&str, &str)]) -> Field {
        let metadata: HashMap<_, _> =
            metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Field::new(name, DataType::Int64, true).with_metadata(metadata)
    }

    fn file() -> Fields {
        Fields::from(vec![
            field("b", &[(PARQUET_FIELD_ID_META_KEY, "1")]),
            field("A", &[(PARQUET_FIELD_ID_META_KEY, "2")]),
            field("a-1", &[]),
        ])
    }

    #[test]
    fn each_mode_looks_at_its_own_key() {
        let column = field("a", &[(PHYSICAL_NAME, "b"), (FIELD_ID, "2")]);
        assert_eq!(ColumnMapping::None.find(&column, &file()), Some(1));
        assert_eq!(ColumnMapping::Name.find(&column, &file()), Some(0));
        assert_eq!(ColumnMapping::Id.find(&column, &file()), Some(1));
    }

    #[test]
    fn an_exact_name_comes_before_one_of_other_case() {
        let candidates = Fields::from(vec![field("A", &[]), field("a", &[])]);
        assert_eq!(ColumnMapping::None.find(&field("a", &[]), &candidates), Some(1));
    }

    #[test]
    fn a_column_without_its_id_is_absent() {
        let column = field("b", &[(FIELD_ID, "9")]);
        assert_eq!(ColumnMapping::Id.find(&column, &file()), None);
    }

    #[test]
    fn unknown_modes_are_refused() {
        assert_eq!(ColumnMapping::parse("other").unwrap_err().code, Code::Unsupported);
    }
}
