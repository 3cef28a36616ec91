//! A statement that is planned once and run with many values.

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use super::query::Query;
use crate::error::{Code, EngineError, Result};

/// A plan with open parameters, over the tables as they were when it was made.
pub struct Prepared {
    context: SessionContext,
    plan: LogicalPlan,
}

impl Prepared {
    pub(super) fn new(context: SessionContext, plan: LogicalPlan) -> Result<Self> {
        match plan {
            LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) => {
                let message = "Only queries and statements that write rows can be prepared";
                Err(EngineError::new(Code::Unsupported, message))
            }
            plan => Ok(Self { context, plan }),
        }
    }

    /// The parameters without the dollar, sorted, and the types that the plan gives them; `Null` where it
    /// gives none.
    pub fn parameters(&self) -> Result<Schema> {
        let types = match self.plan.get_parameter_types() {
            Ok(types) => types,
            // One that is used as two types, as in `day > $since AND day < $since + INTERVAL '1 day'`.
            Err(_) => self.plan.get_parameter_names()?.into_iter().map(|id| (id, None)).collect(),
        };
        let mut fields: Vec<Field> = types
            .into_iter()
            .map(|(id, kind)| Field::new(id.trim_start_matches('$'), kind.unwrap_or(DataType::Null), true))
            .collect();
        fields.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(Schema::new(fields))
    }

    /// Put values in the place of the parameters.
    pub fn bind(&self, values: Option<ParamValues>) -> Result<Query> {
        let plan = self.plan.clone();
        let plan = match values {
            Some(values) => plan.with_param_values(values)?,
            None => plan,
        };
        Ok(Query::new(self.context.state(), plan))
    }
}
