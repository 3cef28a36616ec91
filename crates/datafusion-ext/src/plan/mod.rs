//! Plans as bytes: logical plans of other contexts.

mod neighbours;

pub use neighbours::{TableHandles, check_stores, decode};
