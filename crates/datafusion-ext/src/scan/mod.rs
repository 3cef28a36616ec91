//! Native scans of pinned Delta snapshots: the file index, its statistics, and the table provider.

mod adapter;
mod conversion;
mod deletion;
mod files;
mod index;
mod location;
mod mapping;
mod provider;
mod source;
mod statistics;

pub use adapter::DeltaAdapterFactory;
pub use deletion::{DeletionVector, Storage};
pub use files::FileList;
pub use location::Location;
pub use mapping::ColumnMapping;
pub use provider::{DeltaScan, ScanInput};
pub use source::DeltaSource;
