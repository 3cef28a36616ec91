//! The memory of what functions make, accounted for as long as it lives.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayData, ArrayRef, make_array};
use datafusion::arrow::buffer::Buffer;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use prost::bytes::Bytes;

use crate::error::{Code, EngineError};

/// Results up to this size are not accounted for.
pub const SMALL: u64 = 1024 * 1024;

/// Starts the names of functions that no text is meant to call.
pub const INTERNAL: &str = "__";

/// Most bytes of one result where the engine has no limit of memory.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;

tokio::task_local! {
    /// What the constants of a text hold while it is planned.
    static CONSTANTS: RefCell<Vec<MemoryReservation>>;
}

/// Plan, and account for the constants that come about meanwhile.
pub async fn planning<T>(work: impl Future<Output = T>) -> T {
    CONSTANTS.scope(RefCell::default(), work).await
}

/// The memory that results are taken from.
#[derive(Clone, Debug)]
pub struct Memory {
    pool: Arc<dyn MemoryPool>,
    limit: Option<usize>,
}

impl Memory {
    pub fn new(pool: Arc<dyn MemoryPool>, limit: Option<usize>) -> Self {
        Self { pool, limit }
    }

    /// An empty reservation.
    pub fn reservation(&self, function: &str) -> MemoryReservation {
        MemoryConsumer::new(format!("{}()", shown(function))).register(&self.pool)
    }

    /// Make `reservation` larger, or say what is too large.
    pub fn grow(&self, reservation: &MemoryReservation, function: &str, bytes: u64) -> Result<()> {
        self.grow_by(reservation, function, bytes, bytes)
    }

    /// The same for one of many values that together have `all` bytes.
    pub fn grow_by(
        &self,
        reservation: &MemoryReservation,
        function: &str,
        bytes: u64,
        all: u64,
    ) -> Result<()> {
        let granted = match (self.limit, usize::try_from(bytes)) {
            (Some(_), Ok(wanted)) => reservation.try_grow(wanted).is_ok(),
            (None, _) => all <= MOST_BYTES,
            (Some(_), Err(_)) => false,
        };
        match granted {
            true => Ok(()),
            false => Err(self.refusal(function, all)),
        }
    }

    fn refusal(&self, function: &str, bytes: u64) -> DataFusionError {
        let room = match self.limit {
            Some(limit) => format!("of the {limit} bytes of the engine's memory, too few are left for that"),
            None => format!("without a limit of memory, one result may have {MOST_BYTES}"),
        };
        let function = shown(function);
        let message = format!("{function} may make up to {bytes} bytes from one batch of rows; {room}");
        EngineError::new(Code::Resources, message).about(function).into()
    }
}

fn shown(function: &str) -> &str {
    function.trim_start_matches(INTERNAL)
}

/// Refuse a call that takes so many steps for one row, in which it could not be ended.
pub fn takes_too_long(function: &str, steps: u64) -> DataFusionError {
    let message = format!("{function} would take {steps} steps for one row; shorten its arguments");
    EngineError::new(Code::Limit, message).about(function).into()
}

/// The array, holding on to a reservation for as long as any of its buffers lives.
pub fn held(array: &ArrayRef, reservation: MemoryReservation) -> Result<ArrayRef> {
    reservation.try_resize(array.get_array_memory_size())?;
    Ok(make_array(holding(array.to_data(), &Arc::new(reservation))?))
}

/// Hold on to a reservation until the plan under way is made.
pub fn hold_while_planning(reservation: MemoryReservation) {
    // Elsewhere a constant is computed for one batch, whose memory ends with it.
    let _ = CONSTANTS.try_with(|held| held.borrow_mut().push(reservation));
}

struct Held {
    buffer: Buffer,
    _reservation: Arc<MemoryReservation>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_slice()
    }
}

fn holding(data: ArrayData, reservation: &Arc<MemoryReservation>) -> Result<ArrayData> {
    let keep = |buffer: &Buffer| {
        let held = Held { buffer: buffer.clone(), _reservation: Arc::clone(reservation) };
        Buffer::from(Bytes::from_owner(held))
    };
    let buffers = data.buffers().iter().map(keep).collect();
    let children = data.child_data().iter().map(|child| holding(child.clone(), reservation));
    let children = children.collect::<Result<Vec<_>>>()?;
    Ok(data.into_builder().buffers(buffers).child_data(children).build()?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringArray;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn what_an_array_holds_is_given_back_with_it() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(10_000));
        let memory = Memory::new(Arc::clone(&pool), Some(10_000));
        let reservation = memory.reservation("repeat");
        memory.grow(&reservation, "repeat", 5_000).unwrap();
        let array: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1_000)]));
        let array = held(&array, reservation).unwrap();
        assert!(pool.reserved() >= 1_000);
        let slice = array.slice(0, 1);
        drop(array);
        assert!(pool.reserved() >= 1_000);
        drop(slice);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let memory = Memory::new(Arc::new(GreedyMemoryPool::new(10)), Some(10));
        let error = memory.grow(&memory.reservation("lpad"), "lpad", 11).unwrap_err();
        let error = EngineError::from(error);
        assert_eq!((error.code, error.name.as_deref()), (Code::Resources, Some("lpad")));
    }
}
