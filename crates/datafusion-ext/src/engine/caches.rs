//! What the engine keeps of files between queries.

use datafusion::execution::cache::cache_manager::{CacheManager, CacheManagerConfig};
use datafusion::execution::cache::{Cache, CacheKey, CacheValue};

/// Most bytes that each cache may hold; `None` is the engine's default, 0 switches a cache off.
#[derive(Debug, Clone, Copy, Default)]
pub struct CacheLimits {
    /// Footers and page indexes of Parquet files.
    pub file_metadata: Option<usize>,
    /// Statistics of files that no log describes.
    pub file_statistics: Option<usize>,
    /// Listings of directories.
    pub list_files: Option<usize>,
}

impl CacheLimits {
    pub(super) fn config(self) -> CacheManagerConfig {
        let mut config = CacheManagerConfig::default();
        config.metadata_cache_limit = self.file_metadata.unwrap_or(config.metadata_cache_limit);
        config.file_statistics_cache_limit =
            self.file_statistics.unwrap_or(config.file_statistics_cache_limit);
        config.list_files_cache_limit = self.list_files.unwrap_or(config.list_files_cache_limit);
        config
    }
}

/// How full one cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheFill {
    pub name: &'static str,
    pub limit_bytes: usize,
    pub entries: usize,
    pub bytes: usize,
    /// How often the entries that are there were found.
    pub hits: usize,
}

/// The fill of every cache, by name.
pub fn fills(caches: &CacheManager) -> Vec<CacheFill> {
    let statistics = caches.get_file_statistic_cache();
    let listings = caches.get_list_files_cache();
    vec![
        fill("file_metadata", Some(caches.get_file_metadata_cache().as_ref())),
        fill("file_statistics", statistics.as_deref()),
        fill("list_files", listings.as_deref()),
    ]
}

fn fill<K: CacheKey, V: CacheValue>(name: &'static str, cache: Option<&dyn Cache<K, V>>) -> CacheFill {
    let entries = cache.map(|cache| cache.list_entries()).unwrap_or_default();
    CacheFill {
        name,
        limit_bytes: cache.map(|cache| cache.cache_limit()).unwrap_or_default(),
        entries: entries.len(),
        bytes: entries.values().map(|entry| entry.size_bytes).sum(),
        hits: entries.values().map(|entry| entry.hits).sum(),
    }
}
