//! How long a run may take and how many rows it may return.

use std::time::{Duration, Instant};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use super::runtime::Interrupt;
use crate::error::{Code, EngineError, Result};

/// Most operators of a plan, with those of views and WITH queries, each as often as it is named.
const MOST_OPERATORS: usize = 20_000;

/// Refuse a plan that takes too long to optimize: with more than so many joins, or operators altogether.
///
/// A text can name a query twice that names another one twice, and so on: what is counted ends at the limit.
pub fn check_size(plan: &LogicalPlan, max_joins: Option<usize>) -> Result<()> {
    let (mut joins, mut operators) = (0, 0);
    let most = max_joins.unwrap_or(usize::MAX);
    plan.apply_with_subqueries(|node| {
        operators += 1;
        joins += usize::from(matches!(node, LogicalPlan::Join(_)));
        let fits = joins <= most && operators <= MOST_OPERATORS;
        Ok(if fits { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    let found = match (joins > most, operators > MOST_OPERATORS) {
        (true, _) => format!("more than the {most} joins that it may have"),
        (_, true) => format!("more than {MOST_OPERATORS} operators"),
        _ => return Ok(()),
    };
    Err(EngineError::new(
        Code::PlanSize,
        format!("With the queries that it names, each as often as it is named, the text has {found}"),
    ))
}

/// Limits of each run of a query; none by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunLimits {
    /// From the start of the run, planning included, until its last row is read.
    pub timeout: Option<Duration>,
    pub max_rows: Option<u64>,
}

impl RunLimits {
    /// A time alone; what no clock can hold is no limit.
    pub fn within(seconds: Option<f64>) -> Self {
        let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self { timeout, max_rows: None }
    }
}

/// The limits of a run that has started.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    limits: RunLimits,
    started: Instant,
    rows: u64,
}

impl Guard {
    pub fn new(limits: RunLimits) -> Self {
        Self { limits, started: Instant::now(), rows: 0 }
    }

    fn is_over(&self) -> bool {
        self.limits.timeout.is_some_and(|timeout| self.started.elapsed() >= timeout)
    }

    /// Fail once the time is over.
    pub fn check_time(&self) -> Result<()> {
        match self.limits.timeout {
            Some(timeout) if self.is_over() => Err(EngineError::new(
                Code::Timeout,
                format!("The query ran longer than the {} s that it may", timeout.as_secs_f64()),
            )),
            _ => Ok(()),
        }
    }

    /// Count rows that are about to leave, and fail if they are too many.
    pub fn count(&mut self, rows: usize) -> Result<()> {
        self.rows += rows as u64;
        match self.limits.max_rows {
            Some(most) if self.rows > most => Err(EngineError::new(
                Code::Limit,
                format!("The result has more than the {most} rows that it may have"),
            )),
            _ => Ok(()),
        }
    }

    /// An interrupt that also ends a wait when the time is over.
    pub fn watching<'a>(&'a self, interrupt: &'a dyn Interrupt) -> impl Interrupt + 'a {
        Watching { guard: self, interrupt }
    }

    /// What a wait came to: one that ended with the time is a timeout.
    pub fn explained<T>(&self, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(error) if error.code == Code::Interrupted => self.check_time().and(Err(error)),
            outcome => outcome,
        }
    }
}

struct Watching<'a> {
    guard: &'a Guard,
    interrupt: &'a dyn Interrupt,
}

impl Interrupt for Watching<'_> {
    fn interrupted(&self) -> bool {
        self.guard.is_over() || self.interrupt.interrupted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::runtime::{NeverInterrupted, run};

    #[test]
    fn a_wait_ends_with_the_time() {
        let guard = Guard::new(RunLimits { timeout: Some(Duration::from_millis(1)), max_rows: None });
        let waited = run(std::future::pending::<Result<()>>(), &guard.watching(&NeverInterrupted));
        assert_eq!(guard.explained(waited).unwrap_err().code, Code::Timeout);
    }

    #[test]
    fn rows_are_counted_over_batches() {
        let mut guard = Guard::new(RunLimits { timeout: None, max_rows: Some(3) });
        assert!(guard.count(3).is_ok());
        assert_eq!(guard.count(1).unwrap_err().code, Code::Limit);
        assert!(guard.check_time().is_ok());
    }
}
