//! What the queries of one engine share: memory, disk and caches.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;

use super::caches::CacheLimits;
use super::memory_pool::SharedPool;
use crate::error::Result;

/// Limits on what queries of one engine may use together.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Bytes of working memory; operators that can will spill beyond it.
    pub memory_bytes: Option<usize>,
    /// Where spilled data goes; the system's temporary directory by default.
    pub spill_directory: Option<PathBuf>,
    /// Most bytes of spilled data at one time.
    pub spill_bytes: Option<u64>,
    pub caches: CacheLimits,
}

/// How many of those who hold memory an error names.
const TOLD_CONSUMERS: NonZeroUsize = NonZeroUsize::new(5).unwrap();

/// The setting of [`merge_bytes`].
pub const MERGE_BYTES: &str = "datafusion.execution.sort_spill_reservation_bytes";

/// What each sort keeps for the merge of what it has spilled, in an engine of so much memory.
pub fn merge_bytes(memory_bytes: usize, config: &SessionConfig) -> usize {
    let execution = &config.options().execution;
    execution.sort_spill_reservation_bytes.min(memory_bytes / 16 / execution.target_partitions.max(1))
}

pub fn runtime_env(limits: &Limits) -> Result<Arc<RuntimeEnv>> {
    let mut builder = RuntimeEnvBuilder::new().with_cache_manager(limits.caches.config());
    if let Some(bytes) = limits.memory_bytes {
        let pool = TrackConsumersPool::new(SharedPool::new(bytes), TOLD_CONSUMERS);
        builder = builder.with_memory_pool(Arc::new(pool));
    }
    let mut disk = DiskManagerBuilder::default();
    if let Some(directory) = &limits.spill_directory {
        disk = disk.with_mode(DiskManagerMode::Directories(vec![directory.clone()]));
    }
    if let Some(bytes) = limits.spill_bytes {
        disk = disk.with_max_temp_directory_size(bytes);
    }
    builder = builder.with_disk_manager_builder(disk);
    Ok(builder.build_arc()?)
}
