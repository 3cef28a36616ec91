//! Functions whose results are held to the memory of their engine.

mod bounded;
mod constants;
mod memory;
mod sizes;
mod windows;

pub use bounded::{Bounded, bounded};
pub use constants::{LONG_CONSTANT, constant};
pub use memory::{Memory, planning};
pub use windows::BoundedWindow;
