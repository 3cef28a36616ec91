//! Native scans of pinned Delta snapshots: the file index, its statistics, and the table provider.

mod files;
mod index;
mod location;
mod provider;
mod source;
mod statistics;

pub use files::FileList;
pub use location::Location;
pub use provider::{DeltaScan, ScanInput};
