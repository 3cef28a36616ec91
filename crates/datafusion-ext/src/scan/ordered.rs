//! Scans that keep the order of sorted files.
//!
//! Files are put into groups in which each one ends before the next begins, as their statistics tell. NULLs
//! have no part in statistics, but in the order: what is known of their number decides where a file begins
//! and ends.

use std::sync::Arc;

use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::row::{Row, RowConverter, Rows, SortField};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};

/// So many files may be merged, even where queries run in few partitions.
const FEW_GROUPS: usize = 8;

/// A column that rows are in the order of, by its position among those of the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderedColumn {
    pub column: usize,
    pub options: SortOptions,
}

/// The order of the rows of a file, attached to it as an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOrder(pub Vec<OrderedColumn>);

/// Whether all who sort values of a type put them into the same order: not floats, with NaN and two zeros.
pub fn has_one_order(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean | DataType::Utf8 | DataType::Utf8View => true,
        DataType::Date32 | DataType::Timestamp(..) | DataType::Decimal128(..) => true,
        DataType::Dictionary(_, values) => has_one_order(values),
        other => other.is_signed_integer(),
    }
}

/// The orders that files of a scan can be read in: that of their rows, and before it partition columns, of
/// which a file has one value, in any direction.
pub fn candidates(config: &FileScanConfig, options: SortOptions) -> Vec<Vec<OrderedColumn>> {
    let schema = config.file_source().table_schema();
    let first = schema.file_schema().fields().len();
    let constant = (first..first + schema.table_partition_cols().len())
        .filter(|column| has_one_order(schema.table_schema().field(*column).data_type()))
        .map(|column| OrderedColumn { column, options });
    let constant: Vec<_> = constant.collect();
    let rows = common_order(config);
    let after = |columns: &[OrderedColumn]| [columns, rows.as_slice()].concat();
    let alone = constant.iter().map(|column| after(&[*column]));
    let together = (constant.len() > 1).then(|| after(&constant));
    let plain = (!rows.is_empty()).then(|| rows.clone());
    plain.into_iter().chain(together).chain(alone).collect()
}

/// The columns that the rows of every file are in the order of.
fn common_order(config: &FileScanConfig) -> Vec<OrderedColumn> {
    let mut files = files(config);
    let order = |file: &PartitionedFile| file.extensions.get_arc::<FileOrder>();
    let Some(mut common) = files.next().and_then(order).map(|order| order.0.clone()) else {
        return Vec::new();
    };
    for file in files {
        let shared = match order(file) {
            Some(order) => common.iter().zip(&order.0).take_while(|(one, other)| one == other).count(),
            None => 0,
        };
        common.truncate(shared);
        if common.is_empty() {
            break;
        }
    }
    common
}

fn files(config: &FileScanConfig) -> impl Iterator<Item = &PartitionedFile> {
    config.file_groups.iter().flat_map(|group| group.iter())
}

/// The scan of one of the files, in an order: what holds of it may hold of all.
pub fn one_file(config: &FileScanConfig, order: &[OrderedColumn]) -> FileScanConfig {
    let group = files(config).take(1).cloned().collect();
    declared(config, vec![group], order)
}

/// The scan with its files in groups that are each in an order; `None` if that takes too many of them.
pub fn in_order(
    config: &FileScanConfig,
    order: &[OrderedColumn],
    partitions: usize,
) -> Result<Option<FileScanConfig>> {
    let files: Vec<&PartitionedFile> = files(config).collect();
    let schema = config.file_source().table_schema().table_schema();
    let bounds = Bounds::of_files(&files, order, schema)?;
    let most_groups = (2 * partitions).max(FEW_GROUPS);
    let groups = match bounds.columns < order.len() && files.len() <= most_groups {
        // Files that are alone keep the order of all columns, also of those that nothing is known of.
        true => Some((0..files.len()).map(|file| vec![file]).collect()),
        false => bounds.grouped(&files, partitions, most_groups),
    };
    let Some(groups) = groups else {
        return Ok(None);
    };
    let alone = groups.iter().all(|group| group.len() < 2);
    let order = if alone { order } else { &order[..bounds.columns] };
    let group = |group: Vec<usize>| group.into_iter().map(|file| files[file].clone()).collect();
    Ok(Some(declared(config, groups.into_iter().map(group).collect(), order)))
}

fn declared(config: &FileScanConfig, groups: Vec<FileGroup>, order: &[OrderedColumn]) -> FileScanConfig {
    let schema = config.file_source().table_schema().table_schema();
    let columns = order.iter().map(|ordered| {
        let column = Column::new(schema.field(ordered.column).name(), ordered.column);
        PhysicalSortExpr::new(Arc::new(column), ordered.options)
    });
    FileScanConfigBuilder::from(config.clone())
        .with_file_groups(groups)
        .with_output_ordering(LexOrdering::new(columns).into_iter().collect())
        .build()
}

/// Where files begin and end in an order, as far as each is known.
struct Bounds {
    /// How many columns of the order are known of all files that anything is known of.
    columns: usize,
    /// The places of files in `low` and `high`.
    places: Vec<Option<usize>>,
    /// Whether the columns have no NULLs in a file.
    filled: Vec<bool>,
    low: Rows,
    high: Rows,
}

impl Bounds {
    fn of_files(files: &[&PartitionedFile], order: &[OrderedColumn], schema: &SchemaRef) -> Result<Self> {
        let known: Vec<Vec<Extent>> = files
            .iter()
            .map(|file| order.iter().map_while(|column| extent(file, column)).collect())
            .collect();
        let columns = known.iter().map(Vec::len).filter(|known| *known > 0).min().unwrap_or(0);
        let field = |ordered: &OrderedColumn| {
            let data_type = schema.field(ordered.column).data_type().clone();
            SortField::new_with_options(data_type, ordered.options)
        };
        let converter = RowConverter::new(order[..columns].iter().map(field).collect())?;
        let mut places = Vec::with_capacity(files.len());
        let mut filled = Vec::new();
        for extents in &known {
            places.push((!extents.is_empty()).then_some(filled.len()));
            if !extents.is_empty() {
                filled.push(extents[..columns].iter().all(|extent| extent.filled));
            }
        }
        let known: Vec<&Vec<Extent>> = known.iter().filter(|extents| !extents.is_empty()).collect();
        let rows = |bound: fn(&Extent) -> &ScalarValue| -> Result<Rows> {
            if known.is_empty() {
                return Ok(converter.empty_rows(0, 0));
            }
            let values = (0..columns)
                .map(|at| ScalarValue::iter_to_array(known.iter().map(|extents| bound(&extents[at]).clone())))
                .collect::<Result<Vec<_>>>()?;
            Ok(converter.convert_columns(&values)?)
        };
        let (low, high) = (rows(|extent| &extent.low)?, rows(|extent| &extent.high)?);
        Ok(Self { columns, places, filled, low, high })
    }

    /// Put files one after the other into groups, where they fit and least is to be read.
    fn grouped(
        &self,
        files: &[&PartitionedFile],
        partitions: usize,
        most_groups: usize,
    ) -> Option<Vec<Vec<usize>>> {
        let (mut known, unknown): (Vec<_>, Vec<_>) =
            (0..files.len()).partition(|file| self.places[*file].is_some());
        if unknown.len() > most_groups {
            return None;
        }
        known.sort_by(|one, other| self.span(*one).cmp(&self.span(*other)));
        let mut groups: Vec<Vec<usize>> = unknown.into_iter().map(|file| vec![file]).collect();
        let first = groups.len();
        let mut bytes = Vec::new();
        for file in known {
            let fitting = (first..groups.len()).filter(|group| {
                let last = groups[*group].last();
                last.is_none_or(|last| self.follows(*last, file))
            });
            let least = fitting.min_by_key(|group| bytes[group - first]);
            let group = match least {
                // A group more for each partition, before files share one.
                Some(group) if groups.len() >= partitions => group,
                _ => {
                    groups.push(Vec::new());
                    bytes.push(0);
                    groups.len() - 1
                }
            };
            if groups.len() > most_groups {
                return None;
            }
            groups[group].push(file);
            bytes[group - first] += files[file].effective_size();
        }
        Some(groups)
    }

    fn span(&self, file: usize) -> Option<(Row<'_>, Row<'_>)> {
        self.places[file].map(|place| (self.low.row(place), self.high.row(place)))
    }

    /// Whether one file may be read after another: where it begins with what the other ends with, none of
    /// their columns may have NULLs, which DataFusion leaves out of account.
    fn follows(&self, one: usize, other: usize) -> bool {
        let (Some(before), Some(after)) = (self.places[one], self.places[other]) else {
            return false;
        };
        match self.high.row(before).cmp(&self.low.row(after)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => self.filled[before] && self.filled[after],
            std::cmp::Ordering::Greater => false,
        }
    }
}

/// What the values of a column in a file lie between, in an order.
struct Extent {
    low: ScalarValue,
    high: ScalarValue,
    filled: bool,
}

fn extent(file: &PartitionedFile, ordered: &OrderedColumn) -> Option<Extent> {
    let statistics = file.statistics.as_ref()?;
    let column = statistics.column_statistics.get(ordered.column)?;
    let (min, max) = values(column)?;
    let (mut low, mut high) = if ordered.options.descending { (max, min) } else { (min, max) };
    let filled = column.null_count == Precision::Exact(0);
    if !filled {
        let absent = ScalarValue::try_new_null(&low.data_type()).ok()?;
        *(if ordered.options.nulls_first { &mut low } else { &mut high }) = absent;
    }
    Some(Extent { low, high, filled })
}

fn values(column: &ColumnStatistics) -> Option<(ScalarValue, ScalarValue)> {
    let value = |bound: &Precision<ScalarValue>| bound.get_value().filter(|value| !value.is_null()).cloned();
    Some((value(&column.min_value)?, value(&column.max_value)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::common::Statistics;

    use super::*;

    const ASCENDING: SortOptions = SortOptions { descending: false, nulls_first: false };
    const BY_ID: [OrderedColumn; 1] = [OrderedColumn { column: 0, options: ASCENDING }];

    /// A file whose only column lies between two values, with so many NULLs.
    fn file(low: i64, high: i64, nulls: usize) -> PartitionedFile {
        let column = ColumnStatistics {
            min_value: Precision::Exact(ScalarValue::from(low)),
            max_value: Precision::Exact(ScalarValue::from(high)),
            null_count: Precision::Exact(nulls),
            ..ColumnStatistics::new_unknown()
        };
        let mut file = PartitionedFile::new(format!("{low}"), 1);
        let statistics = Statistics { column_statistics: vec![column], ..Statistics::default() };
        file.statistics = Some(Arc::new(statistics));
        file
    }

    fn grouped(files: &[PartitionedFile], partitions: usize, most_groups: usize) -> Option<Vec<Vec<usize>>> {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        let files: Vec<&PartitionedFile> = files.iter().collect();
        Bounds::of_files(&files, &BY_ID, &schema).unwrap().grouped(&files, partitions, most_groups)
    }

    #[test]
    fn files_follow_those_that_end_before_they_begin() {
        let files = [file(20, 29, 0), file(0, 9, 0), file(10, 20, 0), file(5, 6, 0)];
        assert_eq!(grouped(&files, 1, 8), Some(vec![vec![1, 2], vec![3, 0]]));
        assert_eq!(grouped(&files, 1, 1), None);
        assert_eq!(grouped(&files[..3], 1, 1), Some(vec![vec![1, 2, 0]]));
    }

    #[test]
    fn every_partition_gets_files_as_long_as_there_are_any() {
        let files = [file(0, 9, 0), file(10, 19, 0), file(20, 29, 0)];
        assert_eq!(grouped(&files, 2, 8), Some(vec![vec![0, 2], vec![1]]));
        assert_eq!(grouped(&files, 7, 14), Some(vec![vec![0], vec![1], vec![2]]));
    }

    #[test]
    fn nothing_follows_a_file_with_nulls_and_unknown_files_are_alone() {
        let files = [file(0, 9, 1), file(10, 19, 0), PartitionedFile::new("unknown", 1)];
        assert_eq!(grouped(&files, 1, 8), Some(vec![vec![2], vec![0], vec![1]]));
    }
}
