//! Native scans of pinned Delta snapshots: the file index, its statistics, and the table provider.

mod adapter;
mod aligned;
mod compact;
mod conversion;
mod deletion;
mod environment;
mod exported;
mod field_below_nulls;
mod files;
mod footers;
mod index;
mod layout;
mod live;
mod location;
mod mapping;
mod options;
mod ordered;
mod provider;
mod source;
mod statistics;

pub use adapter::DeltaAdapterFactory;
pub use aligned::{AlignedTable, Alignment, require_value, required_column};
pub use deletion::{DeletionVector, Storage};
pub use exported::{exportable, imported};
pub use files::FileList;
pub use footers::footers;
pub use layout::Layout;
pub use location::Location;
pub use mapping::ColumnMapping;
pub use options::ScanOptions;
pub use ordered::{candidates, in_order, one_file};
pub use provider::{DeltaScan, ScanInput};
pub use source::{DeltaSource, WantedRows};
