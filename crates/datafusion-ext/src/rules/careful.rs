//! What comes into operators that could do too much with one batch is looked at first.
//!
//! A function over long texts can take minutes for the rows of one batch, in which the query can't be ended: it
//! gets few of them at a time. A join copies values into as many rows as a batch has: values that would not
//! fit into memory then are refused. The nodes are part of a run and not of the plan that is kept.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{Stream, StreamExt};

use crate::error::{Code, EngineError};
use crate::functions::{total_bytes, widest_row};

/// Functions whose time grows with the length of their texts or lists, and how many bytes they get at once.
const SLOW: [(&str, u64); 12] = [
    ("array_distinct", 4 << 20),
    ("array_except", 4 << 20),
    ("array_has_all", 64 << 10),
    ("array_has_any", 64 << 10),
    ("array_intersect", 4 << 20),
    ("array_union", 4 << 20),
    ("levenshtein", 64 << 10),
    ("regexp_count", 1 << 20),
    ("regexp_instr", 1 << 20),
    ("regexp_like", 1 << 20),
    ("regexp_match", 1 << 20),
    ("regexp_replace", 1 << 20),
];

/// How long one poll may hand out batches before others have their turn.
const TURN: Duration = Duration::from_millis(50);

/// Put a node before what could do too much with one batch, in an engine of so much memory if that is limited.
pub fn careful(
    plan: Arc<dyn ExecutionPlan>,
    memory_bytes: Option<u64>,
    batch_rows: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let watched = plan.transform_up(|node| {
        let copying = memory_bytes.filter(|_| copies(node.as_ref()));
        let care = match (copying, slow(node.as_ref())?) {
            (Some(bytes), _) => Care::Widths { rows: batch_rows as u64, bytes },
            (None, Some(bytes)) => Care::Slices { bytes },
            (None, None) => return Ok(Transformed::no(node)),
        };
        let children: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
        if !children.iter().any(|child| care.concerns(child)) {
            return Ok(Transformed::no(node));
        }
        let watched = |child| match care.concerns(&child) {
            true => Arc::new(Careful { input: child, care }) as Arc<dyn ExecutionPlan>,
            false => child,
        };
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
        node.replace_children(children.into_iter().map(watched).collect(), options).map(Transformed::yes)
    });
    watched.data()
}

fn copies(node: &dyn ExecutionPlan) -> bool {
    node.is::<CrossJoinExec>()
        || node.is::<HashJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<UnnestExec>()
}

/// The bytes that the slowest function in the expressions of a node gets at once.
fn slow(node: &dyn ExecutionPlan) -> Result<Option<u64>> {
    let mut least: Option<u64> = None;
    node.apply_expressions(&mut |expression| {
        expression.apply(|each| {
            let name = each.downcast_ref::<ScalarFunctionExpr>().map(ScalarFunctionExpr::name);
            let found = SLOW.iter().find(|(known, _)| name == Some(*known));
            least = found.map(|(_, bytes)| *bytes).into_iter().chain(least).min();
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(least)
}

#[derive(Debug, Clone, Copy)]
enum Care {
    /// Hand on no more than so many bytes at once.
    Slices { bytes: u64 },
    /// Refuse values of which so many copies do not fit.
    Widths { rows: u64, bytes: u64 },
}

impl Care {
    fn concerns(self, child: &Arc<dyn ExecutionPlan>) -> bool {
        let schema = child.schema();
        let mut kinds = schema.fields().iter().map(|field| field.data_type());
        match self {
            Self::Slices { .. } => kinds.any(|kind| !kind.is_primitive()),
            Self::Widths { .. } => kinds.any(is_copied),
        }
    }

    fn rows(self, batch: &RecordBatch) -> Result<usize> {
        match self {
            Self::Slices { bytes } => {
                let held: u64 = batch.columns().iter().map(total_bytes).sum();
                let pieces = usize::try_from(held.div_ceil(bytes)).unwrap_or(usize::MAX).max(1);
                Ok(batch.num_rows().div_ceil(pieces).max(1))
            }
            Self::Widths { rows, bytes } => {
                let copied = batch.columns().iter().filter(|column| is_copied(column.data_type()));
                let width: u64 = copied.map(widest_row).sum();
                match width.saturating_mul(rows) > bytes {
                    true => Err(too_wide(width, rows, bytes).into()),
                    false => Ok(batch.num_rows()),
                }
            }
        }
    }
}

/// Values that are copied with their rows; views are not.
fn is_copied(kind: &DataType) -> bool {
    use DataType::{Binary, LargeBinary, LargeList, LargeUtf8, List, Utf8};
    matches!(kind, Utf8 | LargeUtf8 | Binary | LargeBinary | List(_) | LargeList(_))
}

fn too_wide(width: u64, rows: u64, bytes: u64) -> EngineError {
    let message = format!(
        "A join or unnest would copy values of {width} bytes into up to {rows} rows of one batch, and may take \
         {bytes} bytes for that; join without them, or take less of them first"
    );
    EngineError::new(Code::Resources, message)
}

#[derive(Debug)]
struct Careful {
    input: Arc<dyn ExecutionPlan>,
    care: Care,
}

impl DisplayAs for Careful {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.care {
            Care::Slices { bytes } => write!(f, "SmallBatchesExec: bytes={bytes}"),
            Care::Widths { rows, bytes } => write!(f, "CopiesExec: rows={rows}, bytes={bytes}"),
        }
    }
}

impl ExecutionPlan for Careful {
    fn name(&self) -> &str {
        match self.care {
            Care::Slices { .. } => "SmallBatchesExec",
            Care::Widths { .. } => "CopiesExec",
        }
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self { input: children.swap_remove(0), care: self.care }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(filters, &self.children())
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(Pieces { input, care: self.care, rest: None, turn: None }))
    }
}

/// Batches in pieces.
struct Pieces {
    input: SendableRecordBatchStream,
    care: Care,
    /// What is left of a batch, and how many of its rows make a piece.
    rest: Option<(RecordBatch, usize)>,
    /// Since when batches are handed out without a pause.
    turn: Option<Instant>,
}

impl Pieces {
    fn piece(&mut self) -> Option<RecordBatch> {
        let (batch, rows) = self.rest.take()?;
        if batch.num_rows() <= rows {
            return Some(batch);
        }
        self.rest = Some((batch.slice(rows, batch.num_rows() - rows), rows));
        Some(batch.slice(0, rows))
    }
}

impl Stream for Pieces {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.turn.get_or_insert_with(Instant::now).elapsed() > TURN {
            self.turn = None;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_none() {
            match ready!(self.input.poll_next_unpin(context)) {
                Some(Ok(batch)) => match self.care.rows(&batch) {
                    Ok(rows) => self.rest = Some((batch, rows)),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        Poll::Ready(self.piece().map(Ok))
    }
}

impl RecordBatchStream for Pieces {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
