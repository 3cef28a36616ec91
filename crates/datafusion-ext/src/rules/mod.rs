//! Analyzer and optimizer rules.

mod careful;
mod constants;
mod decimal_literals;
mod equality;
mod expressions;
mod float_heaps;
mod lists;
mod log_answers;
mod mixed_numbers;
mod null_fields;
mod nullable_values;
mod ordered_scans;
mod rewriting;
mod unique_names;
mod yielding;

pub use careful::careful;
pub use constants::BoundedConstants;
pub use decimal_literals::DecimalLiterals;
pub use equality::PlainEquality;
pub use expressions::BoundedCalls;
pub use float_heaps::NoFloatHeaps;
pub use lists::SeparateLists;
pub use log_answers::LogAnswers;
pub use mixed_numbers::MixedNumbers;
pub use null_fields::NullFields;
pub use nullable_values::NullableValues;
pub use ordered_scans::{KeptOrder, OrderedScans};
pub use unique_names::UniqueNamesOnly;
pub use yielding::YieldingJoins;
