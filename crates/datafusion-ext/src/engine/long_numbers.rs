//! Numbers with more digits than a double keeps are decimals.
//!
//! DataFusion reads a number with a point, or one beyond 64 bits, as a double: 12345678901234567890.5 then
//! equals no decimal.

use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    DataType, ExactNumberInfo, Expr, TypedString, Value, ValueWithSpan, VisitMut, visit_expressions_mut,
};

const MOST_DIGITS: usize = 38;

/// Write long numbers of a statement as decimals.
pub fn keep_digits(statement: &mut Statement) {
    match statement {
        Statement::Statement(sql) => keep_digits_within(sql.as_mut()),
        Statement::Explain(explain) => keep_digits(&mut explain.statement),
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => keep_digits_within(query.as_mut()),
            CopyToSource::Relation(_) => {}
        },
        Statement::CreateExternalTable(_) | Statement::Reset(_) => {}
    }
}

fn keep_digits_within<V: VisitMut>(node: &mut V) {
    let _ = visit_expressions_mut(node, |expression| {
        if let Some(decimal) = decimal(expression) {
            *expression = decimal;
        }
        ControlFlow::<()>::Continue(())
    });
}

fn decimal(expression: &Expr) -> Option<Expr> {
    let Expr::Value(ValueWithSpan { value: Value::Number(text, false), span }) = expression else {
        return None;
    };
    let (precision, scale) = size_of(text)?;
    let data_type = DataType::Decimal(ExactNumberInfo::PrecisionAndScale(precision, scale));
    let value = ValueWithSpan { value: Value::SingleQuotedString(text.clone()), span: *span };
    Some(Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }))
}

/// Precision and scale of a number that a double, or an integer of 64 bits, would change.
fn size_of(text: &str) -> Option<(u64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_plain = text.bytes().all(|each| each.is_ascii_digit() || each == b'.');
    let is_integer = !text.contains('.') && text.parse::<u64>().is_ok();
    if !is_plain || is_integer || kept(whole, fraction, text) {
        return None;
    }
    let digits = whole.trim_start_matches('0').len() + fraction.len();
    (digits <= MOST_DIGITS).then_some((digits as u64, fraction.len() as i64))
}

fn kept(whole: &str, fraction: &str, text: &str) -> bool {
    let shortest = text.parse::<f64>().map(|value| value.to_string()).unwrap_or_default();
    let (read_whole, read_fraction) = shortest.split_once('.').unwrap_or((&shortest, ""));
    read_whole.trim_start_matches('0') == whole.trim_start_matches('0')
        && read_fraction == fraction.trim_end_matches('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_a_double_would_change_have_a_size() {
        let cases = [
            ("12345678901234567890123456.5", Some((27, 1))),
            ("99999999999999999.99", Some((19, 2))),
            ("1234567890123456789012345678", Some((28, 0))),
            ("0.1000000000000000055", Some((19, 19))),
            ("0.1", None),
            ("123456.790", None),
            (".5", None),
            ("5.", None),
            ("18446744073709551615", None),
            ("100000000000000000000", None),
            ("1e400", None),
            ("123456789012345678901234567890123456789.5", None),
        ];
        for (text, size) in cases {
            assert_eq!(size_of(text), size, "{text}");
        }
    }
}
