//! Plans as bytes: logical plans of other contexts, and physical plans for engines in other processes.

mod bytes;
mod canonical;
mod codec;
mod encoder;
mod neighbours;

pub use bytes::Encoded;
pub use neighbours::{TableHandles, check_stores, decode};
