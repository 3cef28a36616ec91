//! Physical optimizer rules.

mod unique_names;
mod yielding;

pub use unique_names::UniqueNamesOnly;
pub use yielding::YieldingJoins;
