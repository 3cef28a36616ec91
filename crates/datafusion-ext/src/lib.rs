//! The engine under Freshlake: DataFusion with native scans of Delta Lake snapshots.
//!
//! Plain Rust modules hold the logic; `python` (behind the feature of that name) converts, releases the
//! GIL, calls, and maps errors. Nothing here knows the project's Python packages: snapshots arrive as
//! Arrow data, settings as plain values, results leave as Arrow streams.

mod checksum;
pub mod engine;
pub mod error;
pub mod functions;
pub mod plan;
pub mod rules;
pub mod scan;

#[cfg(feature = "python")]
mod python;
