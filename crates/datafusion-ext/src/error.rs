//! One error type with stable codes, and the mapping from DataFusion's errors to it.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError};
use tokio::task::JoinError;

/// What kind of failure an [`EngineError`] reports. The text form is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Callback,
    Cancelled,
    ColumnAmbiguous,
    ColumnUnknown,
    Execution,
    Forked,
    FunctionUnknown,
    Internal,
    Interrupted,
    Limit,
    NotAllowed,
    Plan,
    PlanBytes,
    PlanSize,
    Resources,
    ScanInput,
    Settings,
    SqlSyntax,
    Storage,
    StreamConsumed,
    TableUnknown,
    Timeout,
    Type,
    Unsupported,
}

impl Code {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Callback => "engine-callback",
            Self::Cancelled => "engine-cancelled",
            Self::ColumnAmbiguous => "engine-column-ambiguous",
            Self::ColumnUnknown => "engine-column-unknown",
            Self::Execution => "engine-execution",
            Self::Forked => "engine-forked",
            Self::FunctionUnknown => "engine-function-unknown",
            Self::Internal => "engine-internal",
            Self::Interrupted => "engine-interrupted",
            Self::Limit => "engine-limit",
            Self::NotAllowed => "engine-not-allowed",
            Self::Plan => "engine-plan",
            Self::PlanBytes => "engine-plan-bytes",
            Self::PlanSize => "engine-plan-size",
            Self::Resources => "engine-resources",
            Self::ScanInput => "engine-scan-input",
            Self::Settings => "engine-settings",
            Self::SqlSyntax => "engine-sql-syntax",
            Self::Storage => "engine-storage",
            Self::StreamConsumed => "engine-stream-consumed",
            Self::TableUnknown => "engine-table-unknown",
            Self::Timeout => "engine-timeout",
            Self::Type => "engine-type",
            Self::Unsupported => "engine-unsupported",
        }
    }
}

/// A place in a SQL text; both numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

/// A failure with its code, a message for people and, where SQL text is at fault, the place and name.
#[derive(Debug, Clone)]
pub struct EngineError {
    pub code: Code,
    pub message: String,
    pub position: Option<Position>,
    /// The table, column or function that the message is about.
    pub name: Option<String>,
    /// The columns that could have been named there, with the tables that they are of.
    pub scope: Vec<(Option<String>, String)>,
    /// What a function of the caller raised, where one failed.
    pub cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl EngineError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), position: None, name: None, scope: Vec::new(), cause: None }
    }

    pub fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    pub fn caused_by(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    pub fn about(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code.as_str())
    }
}

impl std::error::Error for EngineError {}

pub type Result<T, E = EngineError> = std::result::Result<T, E>;

impl From<EngineError> for DataFusionError {
    fn from(error: EngineError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for EngineError {
    fn from(error: DataFusionError) -> Self {
        match find_engine_error(&error) {
            Some(found) => found.clone(),
            None => from_root(&error),
        }
    }
}

impl From<ArrowError> for EngineError {
    fn from(error: ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

/// An error of our own travels through operators as `External`, possibly wrapped several times.
fn find_engine_error(error: &DataFusionError) -> Option<&EngineError> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(found) = current.downcast_ref::<EngineError>() {
            return Some(found);
        }
        source = current.source();
    }
    None
}

/// A panic in a task of an operator reaches those who wait for it as an error of the runtime.
fn find_panic(error: &DataFusionError) -> Option<&JoinError> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        // Operators share one such error among their partitions.
        let shared = current.downcast_ref::<Arc<JoinError>>().map(Arc::as_ref);
        let boxed = current.downcast_ref::<Box<JoinError>>().map(Box::as_ref);
        match shared.or(boxed).or_else(|| current.downcast_ref()) {
            Some(found) if found.is_panic() => return Some(found),
            _ => source = current.source(),
        }
    }
    None
}

fn from_root(error: &DataFusionError) -> EngineError {
    if let Some(panic) = find_panic(error) {
        return EngineError::new(Code::Internal, format!("The engine panicked: {panic}"));
    }
    let root = error.find_root();
    let code = match root {
        DataFusionError::SQL(..) => Code::SqlSyntax,
        DataFusionError::SchemaError(schema_error, _) => return from_schema_error(schema_error, root),
        DataFusionError::Plan(_) | DataFusionError::Configuration(_) => Code::Plan,
        DataFusionError::NotImplemented(_) => Code::Unsupported,
        DataFusionError::ResourcesExhausted(_) => Code::Resources,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => Code::Storage,
        DataFusionError::Internal(_) => Code::Internal,
        DataFusionError::ArrowError(arrow, _) if matches!(**arrow, ArrowError::CastError(_)) => Code::Type,
        _ => Code::Execution,
    };
    EngineError::new(code, clean_message(root))
}

fn from_schema_error(schema_error: &SchemaError, root: &DataFusionError) -> EngineError {
    match schema_error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let mut error = EngineError::new(Code::ColumnUnknown, format!("No column {field}"));
            let table = |column: &Column| column.relation.as_ref().map(|table| table.table().to_string());
            error.scope = valid_fields.iter().map(|each| (table(each), each.name.clone())).collect();
            error.about(field.name.clone())
        }
        SchemaError::AmbiguousReference { field } => {
            EngineError::new(Code::ColumnAmbiguous, clean_message(root)).about(field.name.clone())
        }
        _ => EngineError::new(Code::Plan, clean_message(root)),
    }
}

/// The error's own words, without the variant's prefix and without a backtrace.
fn clean_message(error: &DataFusionError) -> String {
    let message = match error {
        DataFusionError::SQL(parser, _) => parser.to_string(),
        DataFusionError::SchemaError(schema, _) => schema.to_string(),
        other => other.message().into_owned(),
    };
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    let message = message.trim_start_matches("sql parser error: ");
    // A call that fits no signature is first reported as a defect of DataFusion, then as what it is.
    match message.find("No function matches the given name and argument types") {
        Some(start) => message[start..].to_string(),
        // The rest asks to tell DataFusion of it.
        None => {
            message.split("This issue was likely caused by").next().unwrap_or_default().trim_end().to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_errors_survive_wrapping() {
        let inner = DataFusionError::from(EngineError::new(Code::StreamConsumed, "gone"));
        let wrapped = ArrowError::ExternalError(Box::new(inner.context("while scanning")));
        let error = EngineError::from(DataFusionError::from(wrapped));
        assert_eq!(error.code, Code::StreamConsumed);
        assert_eq!(error.to_string(), "gone [engine-stream-consumed]");
    }

    #[test]
    fn a_panic_of_a_task_is_a_defect_of_the_engine() {
        let task = async { tokio::spawn(async { panic!("on purpose") }).await };
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        let error: JoinError = runtime.block_on(task).unwrap_err();
        let shared = DataFusionError::External(Box::new(Arc::new(error))).context("Join Error");
        let found = EngineError::from(shared);
        assert_eq!(found.code, Code::Internal);
        assert!(found.message.contains("on purpose"));
    }

    #[test]
    fn kinds_are_told_apart_by_variant() {
        let plan = EngineError::from(DataFusionError::Plan("no".into()));
        let memory = EngineError::from(DataFusionError::ResourcesExhausted("full".into()));
        assert_eq!((plan.code, memory.code), (Code::Plan, Code::Resources));
    }
}
