//! Functions in place of DataFusion's: held to the memory of their engine, or put right.

mod bounded;
mod constants;
mod extremes;
mod memory;
mod sizes;
mod windows;

pub use bounded::{Bounded, bounded};
pub use constants::{LONG_CONSTANT, constant};
pub use extremes::extremes;
pub use memory::{INTERNAL, Memory, planning};
pub use windows::BoundedWindow;
