//! A rule table with its expressions parsed: inputs in, a decision out.
//!
//! Only the `then` of rows that are taken is evaluated, so a row that does not match can never fail the step.

use super::{At, Problem, Table, Undecided};
use crate::expr::{ExprError, Scope, Template};
use crate::value::{Map, Value};

/// A table ready to decide.
#[derive(Debug)]
pub struct Rules {
    table: Table,
    inputs: Template,
    then: Vec<Template>,
    otherwise: Option<Template>,
}

/// Why a table does not compile; `aura flow check` finds the same earlier.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The table itself is wrong.
    #[error("{0}")]
    Table(Problem),
    /// An expression is wrong.
    #[error("{0}")]
    Expression(ExprError),
}

/// A decision and what led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The decision.
    pub value: Value,
    /// Names of the rows that it comes from (their `id`, or their number from 1); empty for `else`.
    pub matched: Vec<String>,
}

impl Rules {
    /// Compiles the `rules` of a step, where maps around call their items by these names.
    ///
    /// # Errors
    /// The table or one of its expressions is wrong.
    pub fn compile(value: &Value, names: &[&str]) -> Result<Self, RulesError> {
        let table = Table::read(value).map_err(|mut problems| {
            let none = || Problem { at: Vec::new(), message: "the rules are wrong".to_owned(), hint: String::new() };
            RulesError::Table(if problems.is_empty() { none() } else { problems.swap_remove(0) })
        })?;
        let parse = |value: &Value| Template::parse_with(value, names).map_err(RulesError::Expression);
        let rows = value.get("rows").and_then(Value::as_list).unwrap_or_default();
        let then = rows.iter().map(|row| parse(row.get("then").unwrap_or(&Value::Null))).collect::<Result<_, _>>()?;
        Ok(Self {
            table,
            inputs: parse(value.get("inputs").unwrap_or(&Value::Null))?,
            then,
            otherwise: value.get("else").map(parse).transpose()?,
        })
    }

    /// Decides.
    ///
    /// # Errors
    /// An expression failed, or the table gives no decision for these inputs: one sentence.
    pub fn decide(&self, scope: &dyn Scope) -> Result<Decided, ExprError> {
        let inputs = match self.inputs.eval(scope)?.value {
            Value::Map(inputs) => inputs,
            _ => Map::new(),
        };
        let undecided = |why: Undecided| ExprError { message: why.to_string(), offset: 0, hint: None };
        let matching = self.table.matching(&inputs).map_err(undecided)?;
        let Some(taken) = self.table.taken(&matching, &inputs).map_err(undecided)? else {
            let value = match &self.otherwise {
                Some(otherwise) => otherwise.eval(scope)?.value,
                None => self.table.nothing(&inputs).map_err(undecided)?,
            };
            return Ok(Decided { value, matched: Vec::new() });
        };
        let mut values = Vec::with_capacity(taken.len());
        for row in &taken {
            if let Some(then) = self.then.get(*row) {
                values.push(then.eval(scope)?.value);
            }
        }
        let value = self.table.joined(&taken, values).map_err(undecided)?;
        let matched = taken.iter().map(|row| self.table.row_name(*row).to_owned()).collect();
        Ok(Decided { value, matched })
    }
}

/// A scope in which a decision can be read, by the names of [`super::NAMES`].
pub struct WithDecision<'a> {
    scope: &'a dyn Scope,
    decision: Value,
    matched: Value,
}

impl<'a> WithDecision<'a> {
    /// The scope of a step, with what its rules decided.
    #[must_use]
    pub fn new(scope: &'a dyn Scope, decided: Decided) -> Self {
        let matched = decided.matched.iter().map(|name| Value::from(name.as_str())).collect();
        Self { scope, decision: decided.value, matched: Value::List(matched) }
    }
}

impl Scope for WithDecision<'_> {
    fn root(&self, name: &str) -> Option<&Value> {
        match name {
            "decision" => Some(&self.decision),
            "matched" => Some(&self.matched),
            _ => self.scope.root(name),
        }
    }

    fn step(&self, id: &str) -> Option<&Value> {
        self.scope.step(id)
    }

    fn now_ms(&self) -> i64 {
        self.scope.now_ms()
    }

    fn entropy(&self, n: u32) -> [u8; 16] {
        self.scope.entropy(n)
    }
}

impl Problem {
    /// The place as text, as in `rows[1].when.total`.
    #[must_use]
    pub fn place(&self) -> String {
        self.at.iter().fold(String::new(), |place, at| match at {
            At::Field(name) if place.is_empty() => name.clone(),
            At::Field(name) => format!("{place}.{name}"),
            At::Item(number) => format!("{place}[{number}]"),
        })
    }
}
