//! Functions in place of DataFusion's: held to the memory of their engine, or put right; and functions that are
//! expressions.

mod bounded;
mod composed;
mod constants;
mod expressions;
mod extremes;
mod memory;
mod sizes;
mod windows;

pub use bounded::{Bounded, bounded};
pub use constants::{LONG_CONSTANT, constant};
pub use expressions::{ExpressionFunction, expression_function};
pub use extremes::extremes;
pub use memory::{INTERNAL, Memory, planning};
pub use sizes::{total as total_bytes, widest_row};
pub use windows::BoundedWindow;
