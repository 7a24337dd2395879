//! Statements of SQL, in which results of functions have fields: `read_text(image).text`.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use datafusion::common::plan_err;
use datafusion::dataframe::DataFrame;
use datafusion::error::Result;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{CopyToSource, DFParser, Statement};
use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Value, visit_expressions_mut};

/// Runs statements, separated by semicolons, and returns the rows of the last one.
///
/// As [`SessionContext::sql`], which knows the fields of columns but of DataFusion 55 not those of
/// calls: there `read_text(image).text` is written `read_text(image)['text']`.
///
/// # Errors
/// A statement cannot be parsed, planned or, before the last one, run.
pub async fn sql(ctx: &SessionContext, statements: &str) -> Result<DataFrame> {
    let mut last = None;
    for statement in parse(statements)? {
        if let Some(frame) = last.take() {
            DataFrame::collect(frame).await?;
        }
        let plan = ctx.state().statement_to_plan(statement).await?;
        last = Some(ctx.execute_logical_plan(plan).await?);
    }
    match last {
        Some(frame) => Ok(frame),
        None => plan_err!("there is no statement"),
    }
}

/// Parses statements for [`sql`].
///
/// # Errors
/// A statement is not SQL.
pub fn parse(statements: &str) -> Result<VecDeque<Statement>> {
    let mut statements = DFParser::parse_sql(statements)?;
    statements.iter_mut().for_each(name_fields);
    Ok(statements)
}

fn name_fields(statement: &mut Statement) {
    let rename = |expr: &mut Expr| -> ControlFlow<()> {
        if let Expr::CompoundFieldAccess { access_chain, .. } = expr {
            access_chain.iter_mut().for_each(name_field);
        }
        ControlFlow::Continue(())
    };
    // The visit is never broken off.
    let _: ControlFlow<()> = match statement {
        Statement::Statement(statement) => visit_expressions_mut(statement.as_mut(), rename),
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => visit_expressions_mut(query.as_mut(), rename),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        Statement::Explain(explain) => {
            name_fields(&mut explain.statement);
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Continue(()),
    };
}

/// `.text` as the planner takes it: `.'text'`. Without quotes letter case does not count.
fn name_field(access: &mut AccessExpr) {
    if let AccessExpr::Dot(field) = access
        && let Expr::Identifier(name) = field
    {
        let name = match name.quote_style {
            Some(_) => name.value.clone(),
            None => name.value.to_lowercase(),
        };
        *field = Expr::Value(Value::SingleQuotedString(name).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_calls_become_names() {
        let table = [
            ("SELECT f(x).Text FROM t", "SELECT f(x).'text' FROM t"),
            ("SELECT f(x).\"Text\".b FROM t", "SELECT f(x).'Text'.'b' FROM t"),
            ("SELECT r.text FROM (SELECT f(x) AS r)", "SELECT r.text FROM (SELECT f(x) AS r)"),
            ("SELECT 1 WHERE g(f(x).a) > 2", "SELECT 1 WHERE g(f(x).'a') > 2"),
            ("EXPLAIN SELECT f(x).a", "EXPLAIN SELECT f(x).'a'"),
            ("COPY (SELECT f(x).a) TO 'y.csv'", "COPY (SELECT f(x).'a') TO y.csv"),
        ];
        for (query, expected) in table {
            assert_eq!(parse(query).unwrap()[0].to_string(), expected);
        }
        assert_eq!(parse("SELECT 1; SELECT 2").unwrap().len(), 2);
        assert!(parse("SELEC 1").is_err());
    }
}
