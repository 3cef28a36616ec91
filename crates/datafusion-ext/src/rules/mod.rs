//! Optimizer rules.

mod log_answers;
mod unique_names;
mod yielding;

pub use log_answers::LogAnswers;
pub use unique_names::UniqueNamesOnly;
pub use yielding::YieldingJoins;
