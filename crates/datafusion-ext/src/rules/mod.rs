//! Analyzer and optimizer rules.

mod decimal_literals;
mod log_answers;
mod unique_names;
mod yielding;

pub use decimal_literals::DecimalLiterals;
pub use log_answers::LogAnswers;
pub use unique_names::UniqueNamesOnly;
pub use yielding::YieldingJoins;
