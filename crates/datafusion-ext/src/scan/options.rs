//! How one table is scanned, beyond what its log says.

/// Options of one scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// Name of an additional text column with the path of each row's file.
    pub file_column: Option<String>,
    /// Name of an additional column with each row's position in its file, deleted rows counted.
    pub row_index_column: Option<String>,
    /// Show texts and binaries as view types or not; left out, they are views inside the engine only.
    pub view_types: Option<bool>,
    /// Show partition columns dictionary-encoded.
    pub wrap_partition_values: bool,
    /// Evaluate filters while Parquet is decoded or on whole batches; left out, the session says.
    pub pushdown: Option<bool>,
    /// Read these files only, by their paths in the hand-over.
    pub files: Option<Vec<String>>,
}
