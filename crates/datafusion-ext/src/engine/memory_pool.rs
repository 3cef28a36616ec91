//! The memory of an engine, of which those who can spill leave some to those who cannot.

use std::fmt::{self, Display, Formatter};
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// Consumers that spill share two thirds of the memory evenly: sorts that were there first would take all of
/// it, and then neither the merge of what they have spilled nor another sort could begin. What merges, joins
/// and functions take is not held to a share.
#[derive(Debug)]
pub struct SharedPool {
    bytes: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    spillers: usize,
    spillable: usize,
    fixed: usize,
}

impl SharedPool {
    pub fn new(bytes: usize) -> Self {
        Self { bytes, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The share of one spiller. One that has nothing could spill nothing: it may begin, while there is room.
    fn share(&self, spillers: usize) -> usize {
        self.bytes / 3 * 2 / spillers.max(1)
    }

    fn first(&self) -> usize {
        self.bytes / 16
    }

    fn refusal(&self, reservation: &MemoryReservation, additional: usize, room: usize) -> DataFusionError {
        DataFusionError::ResourcesExhausted(format!(
            "{} needs {additional} bytes beside the {} that it has; of the {} bytes of the engine's memory, it \
             can have {room} more",
            reservation.consumer().name(),
            reservation.size(),
            self.bytes
        ))
    }
}

impl Display for SharedPool {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "shared({} bytes)", self.bytes)
    }
}

impl MemoryPool for SharedPool {
    fn name(&self) -> &str {
        "shared"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.taken().spillers += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut taken = self.taken();
        taken.spillers = taken.spillers.saturating_sub(usize::from(consumer.can_spill()));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let mut taken = self.taken();
        match reservation.consumer().can_spill() {
            true => taken.spillable += additional,
            false => taken.fixed += additional,
        }
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut taken = self.taken();
        match reservation.consumer().can_spill() {
            true => taken.spillable = taken.spillable.saturating_sub(shrink),
            false => taken.fixed = taken.fixed.saturating_sub(shrink),
        }
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut taken = self.taken();
        let free = self.bytes.saturating_sub(taken.spillable + taken.fixed);
        let spills = reservation.consumer().can_spill();
        let room = match spills {
            true => {
                let wanted = self.share(taken.spillers).max(self.first());
                free.min(wanted.saturating_sub(reservation.size()))
            }
            false => free,
        };
        if additional > room {
            return Err(self.refusal(reservation, additional, room));
        }
        match spills {
            true => taken.spillable += additional,
            false => taken.fixed += additional,
        }
        Ok(())
    }

    fn reserved(&self) -> usize {
        let taken = self.taken();
        taken.spillable + taken.fixed
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn spillers_leave_room_and_share_theirs() {
        let pool: Arc<dyn MemoryPool> = Arc::new(SharedPool::new(3_000));
        let spiller = |name: &str| MemoryConsumer::new(name).with_can_spill(true).register(&pool);
        let first = spiller("first");
        assert!(first.try_grow(2_001).is_err());
        first.try_grow(2_000).unwrap();
        let merge = MemoryConsumer::new("merge").register(&pool);
        merge.try_grow(500).unwrap();
        let second = spiller("second");
        second.try_grow(500).unwrap();
        assert!(second.try_grow(1).is_err());
        drop(first);
        second.try_grow(1_500).unwrap();
        let error = merge.try_grow(501).unwrap_err().to_string();
        assert!(error.contains("merge needs 501 bytes beside the 500"), "{error}");
        drop((second, merge));
        assert_eq!(pool.reserved(), 0);
    }
}
