//! SQL text to a logical plan: what kind of statement it is, whether it is allowed, and what is wrong.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DataFusionError, Diagnostic, TableReference};
use datafusion::datasource::sink::DataSinkExec;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, SetExpr, Spanned, Statement as SqlStatement, TableFactor, Visit, Visitor,
    visit_expressions, visit_relations,
};

use super::long_numbers::keep_digits;
use crate::error::{Code, EngineError, Position, Result};

/// Which statements besides queries may run, and how many joins a plan may have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    pub ddl: bool,
    pub dml: bool,
    pub statements: bool,
    pub joins: Option<usize>,
}

impl Allowed {
    fn options(self) -> SQLOptions {
        SQLOptions::new()
            .with_allow_ddl(self.ddl)
            .with_allow_dml(self.dml)
            .with_allow_statements(self.statements)
    }

    /// Refuse a plan that does more than is allowed.
    pub(super) fn check_plan(self, plan: &LogicalPlan) -> Result<()> {
        let checked = self.options().verify_plan(plan);
        checked.map_err(|error| EngineError::new(Code::NotAllowed, EngineError::from(error).message))
    }

    /// Refuse a physical plan that writes, unless that is allowed.
    pub(super) fn check_physical(self, plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
        match !self.dml && plan.exists(|node| Ok(node.is::<DataSinkExec>()))? {
            false => Ok(()),
            true => Err(EngineError::new(Code::NotAllowed, "Plans that write data are not allowed here")),
        }
    }

    fn check_kind(self, statement: &Statement) -> Result<()> {
        let refused = match kind(statement) {
            Kind::Query => None,
            Kind::Ddl => (!self.ddl).then_some("Statements that define things"),
            Kind::Dml => (!self.dml).then_some("Statements that write data"),
            Kind::Other => (!self.statements).then_some("Statements that change the session"),
        };
        match refused {
            None => Ok(()),
            Some(what) => Err(EngineError::new(
                Code::NotAllowed,
                format!("{what} are not allowed here: {}", first_words(statement)),
            )),
        }
    }
}

enum Kind {
    Query,
    Ddl,
    Dml,
    Other,
}

/// Decide from the syntax alone, so that a refusal does not depend on whether the statement could be planned.
fn kind(statement: &Statement) -> Kind {
    match statement {
        Statement::CreateExternalTable(_) => Kind::Ddl,
        Statement::CopyTo(_) => Kind::Dml,
        Statement::Reset(_) => Kind::Other,
        Statement::Explain(explain) => kind(&explain.statement),
        Statement::Statement(sql) => sql_kind(sql),
    }
}

fn sql_kind(statement: &SqlStatement) -> Kind {
    match statement {
        SqlStatement::Query(_)
        | SqlStatement::ExplainTable { .. }
        | SqlStatement::ShowColumns { .. }
        | SqlStatement::ShowFunctions { .. }
        | SqlStatement::ShowTables { .. }
        | SqlStatement::ShowVariable { .. } => Kind::Query,
        SqlStatement::Explain { statement, .. } => sql_kind(statement),
        SqlStatement::Insert(_)
        | SqlStatement::Update(_)
        | SqlStatement::Delete(_)
        | SqlStatement::Merge(_)
        | SqlStatement::Truncate(_)
        | SqlStatement::Copy { .. } => Kind::Dml,
        SqlStatement::CreateTable(_)
        | SqlStatement::CreateView(_)
        | SqlStatement::CreateSchema { .. }
        | SqlStatement::CreateDatabase { .. }
        | SqlStatement::CreateFunction(_)
        | SqlStatement::CreateIndex(_)
        | SqlStatement::AlterTable(_)
        | SqlStatement::Drop { .. }
        | SqlStatement::DropFunction(_) => Kind::Ddl,
        _ => Kind::Other,
    }
}

fn first_words(statement: &Statement) -> String {
    let text = statement.to_string();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    words.join(" ")
}

/// How many set operations one chain may have: planning takes time and stack that grow with its length.
const MAX_SET_OPERATIONS: usize = 1_000;

/// Parse one statement.
pub fn parse(state: &SessionState, query: &str) -> Result<Statement> {
    let dialect = state.config().options().sql_parser.dialect;
    let mut statement = state.sql_to_statement(query, &dialect).map_err(syntax_error)?;
    if is_too_deep(&statement) {
        return Err(EngineError::new(
            Code::Unsupported,
            format!(
                "An expression is chained or nested deeper than the {MAX_DEPTH} levels that can be planned"
            ),
        ));
    }
    match longest_chain(&statement) {
        0..=MAX_SET_OPERATIONS => {
            keep_digits(&mut statement);
            Ok(statement)
        }
        length => Err(EngineError::new(
            Code::Unsupported,
            format!(
                "A chain of {length} set operations is longer than the {MAX_SET_OPERATIONS} that can be planned"
            ),
        )),
    }
}

/// How deep an expression may be. The parser bounds what is nested, and not what is chained, as `1 + 1 + 1`:
/// planning takes time that grows with the square of its length, and stack.
const MAX_DEPTH: usize = 2_000;

fn is_too_deep(statement: &Statement) -> bool {
    let mut depth = Depth::default();
    match statement {
        Statement::Statement(sql) => sql.visit(&mut depth).is_break(),
        Statement::Explain(explain) => is_too_deep(&explain.statement),
        Statement::CopyTo(copy) => match &copy.source {
            CopyToSource::Query(query) => query.visit(&mut depth).is_break(),
            CopyToSource::Relation(_) => false,
        },
        Statement::CreateExternalTable(_) | Statement::Reset(_) => false,
    }
}

/// Breaks off where expressions are too deep.
#[derive(Default)]
struct Depth {
    levels: usize,
}

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.levels += 1;
        match self.levels {
            0..=MAX_DEPTH => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.levels -= 1;
        ControlFlow::Continue(())
    }
}

fn longest_chain(statement: &Statement) -> usize {
    let Statement::Statement(sql) = statement else {
        return 0;
    };
    let SqlStatement::Query(query) = sql.as_ref() else {
        return 0;
    };
    let chain = std::iter::successors(Some(query.body.as_ref()), |body| match body {
        SetExpr::SetOperation { left, .. } => Some(left.as_ref()),
        _ => None,
    });
    chain.count() - 1
}

fn syntax_error(error: DataFusionError) -> EngineError {
    let mut found = EngineError::from(error);
    if matches!(found.code, Code::Plan | Code::Unsupported) {
        found.code = Code::SqlSyntax;
    }
    let (message, position) = split_position(&found.message);
    found.message = message;
    found.position = position;
    found
}

/// The parser reports where it stopped only inside its message, as `… at Line: 1, Column: 8`.
fn split_position(message: &str) -> (String, Option<Position>) {
    let parse = || {
        let (text, place) = message.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let digits: String = column.chars().take_while(char::is_ascii_digit).collect();
        let position = Position { line: line.parse().ok()?, column: digits.parse().ok()? };
        Some((text.to_string(), Some(position)))
    };
    parse().unwrap_or_else(|| (message.to_string(), None))
}

/// Plan one statement, or say what is wrong with it and where.
pub async fn plan(state: &SessionState, query: &str, allowed: Allowed) -> Result<LogicalPlan> {
    let statement = parse(state, query)?;
    allowed.check_kind(&statement)?;
    let plan = match state.statement_to_plan(statement.clone()).await {
        Ok(plan) => plan,
        Err(error) => return Err(diagnose(state, statement, error).await),
    };
    allowed.check_plan(&plan)?;
    Ok(plan)
}

/// Find the name and the place behind a planning error. Only errors pay for this.
async fn diagnose(state: &SessionState, statement: Statement, error: DataFusionError) -> EngineError {
    if let Some(unknown) = unknown_function(state, &statement) {
        return unknown;
    }
    if let Some(unknown) = unknown_table(state, &statement).await {
        return unknown;
    }
    let position = match error.diagnostic().and_then(position_of) {
        Some(position) => Some(position),
        None => replan_with_spans(state, statement).await,
    };
    EngineError::from(error).at(position)
}

/// Spans slow planning down, so they are collected in a second attempt.
async fn replan_with_spans(state: &SessionState, statement: Statement) -> Option<Position> {
    let mut state = state.clone();
    state.config_mut().options_mut().sql_parser.collect_spans = true;
    let error = state.statement_to_plan(statement).await.err()?;
    error.diagnostic().and_then(position_of)
}

fn position_of(diagnostic: &Diagnostic) -> Option<Position> {
    let start = diagnostic.span?.start;
    Some(Position { line: start.line, column: start.column })
}

async fn unknown_table(state: &SessionState, statement: &Statement) -> Option<EngineError> {
    for reference in state.resolve_table_references(statement).ok()? {
        if state.table_functions().contains_key(reference.table()) {
            continue;
        }
        let known = match state.schema_for_ref(reference.clone()) {
            Ok(schema) => schema.table_exist(reference.table()),
            Err(_) => false,
        };
        if !known {
            let name = reference.to_string();
            let error = EngineError::new(Code::TableUnknown, format!("No table {name}"));
            return Some(error.at(table_position(statement, &reference)).about(name));
        }
    }
    None
}

fn table_position(statement: &Statement, reference: &TableReference) -> Option<Position> {
    let Statement::Statement(sql) = statement else {
        return None;
    };
    let found = visit_relations(sql, |name: &ObjectName| {
        let last = name.0.last().and_then(|part| part.as_ident());
        match last {
            Some(ident) if ident.value.eq_ignore_ascii_case(reference.table()) => {
                ControlFlow::Break(name.span())
            }
            _ => ControlFlow::Continue(()),
        }
    });
    span_position(found.break_value()?)
}

fn unknown_function(state: &SessionState, statement: &Statement) -> Option<EngineError> {
    let Statement::Statement(sql) = statement else {
        return None;
    };
    let found = visit_expressions(sql, |expression: &Expr| match expression {
        Expr::Function(function) if !is_function(state, &function.name) => {
            ControlFlow::Break(function.name.clone())
        }
        _ => ControlFlow::Continue(()),
    });
    let name = found.break_value().or_else(|| unknown_table_function(state, sql))?;
    let position = span_position(name.span());
    let name = name.to_string();
    let error = EngineError::new(Code::FunctionUnknown, format!("No function {name}"));
    Some(error.at(position).about(name))
}

fn unknown_table_function(state: &SessionState, statement: &SqlStatement) -> Option<ObjectName> {
    let SqlStatement::Query(query) = statement else {
        return None;
    };
    let select = query.body.as_select()?;
    let relations = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    relations
        .filter_map(|relation| match relation {
            TableFactor::Table { name, args: Some(_), .. } => Some(name),
            TableFactor::Function { name, .. } => Some(name),
            _ => None,
        })
        .find(|name| !state.table_functions().contains_key(&name.to_string().to_lowercase()))
        .cloned()
}

/// Whether the name is a function, or something the planner itself understands as one.
fn is_function(state: &SessionState, name: &ObjectName) -> bool {
    const SYNTAX: [&str; 3] = ["grouping", "struct", "unnest"];
    let name = name.to_string().to_lowercase();
    state.scalar_functions().contains_key(&name)
        || state.aggregate_functions().contains_key(&name)
        || state.window_functions().contains_key(&name)
        || state.higher_order_functions().contains_key(&name)
        || SYNTAX.contains(&name.as_str())
}

fn span_position(span: datafusion::sql::sqlparser::tokenizer::Span) -> Option<Position> {
    let start = span.start;
    (start.line > 0).then_some(Position { line: start.line, column: start.column })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_split_from_messages() {
        let (message, position) =
            split_position("Expected: an expression, found: FROM at Line: 2, Column: 14");
        assert_eq!(message, "Expected: an expression, found: FROM");
        assert_eq!(position, Some(Position { line: 2, column: 14 }));
        assert_eq!(split_position("No SQL"), ("No SQL".to_string(), None));
    }
}
