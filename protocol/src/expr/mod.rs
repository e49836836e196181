//! Expressions: JavaScript expressions without the surprises (design §3), bounded by construction.
//!
//! [`Template`] is what stands in a flow file: text, lists and objects with `{{ }}` inside. It is parsed
//! once, when a flow is checked or loaded; a payload value is never parsed or rendered. Inside: `lexer` and
//! `parser` make the tree of `ast`, `eval` walks it within a budget, `functions` is the library (its table
//! is `docs/expressions.md`), `number` the arithmetic, `template` the splitting of text.

mod ast;
mod budget;
mod data;
mod eval;
pub mod functions;
mod lexer;
mod number;
mod parser;
mod suggest;
mod template;
#[cfg(test)]
mod tests;
mod weight;

use crate::value::Value;
use eval::Machine;
pub use number::compare_numbers;
use template::Tree;

/// A value of the flow file with its expressions parsed.
#[derive(Clone, Debug)]
pub struct Template {
    tree: Tree,
}

/// One expression of a template and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The root name: `steps`, `trigger`, `input`, …
    pub root: String,
    /// For `steps`: the id of the step.
    pub step: Option<String>,
    /// Written `steps.x?.…`: may be unsettled.
    pub maybe: bool,
}

/// Why an expression was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// One sentence, with names and types; in a list or object it begins with the place: ``in `to`: …``.
    pub message: String,
    /// Byte offset in the text of the template where it happened.
    pub offset: usize,
    /// What to write instead, if known.
    pub hint: Option<String>,
}

/// Where names come from. Roots: `input trigger steps item index vars env run error`.
pub trait Scope {
    /// The value of a root name; `None` if it is not defined here. For `steps`, see [`Scope::step`].
    fn root(&self, name: &str) -> Option<&Value>;
    /// `steps.<id>` as an object with `output`, `error`, `state`; `None` if it has not settled.
    fn step(&self, id: &str) -> Option<&Value>;
    /// The engine's time in Unix milliseconds for `now()`.
    fn now_ms(&self) -> i64;
    /// Sixteen random bytes, different for each `n`, for `uuid()` and `random()`.
    fn entropy(&self, n: u32) -> [u8; 16];
}

/// What an evaluation gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// The value.
    pub value: Value,
    /// What `now`, `uuid` and `random` gave, in order, for the journal.
    pub draws: Vec<Value>,
}

/// What an evaluation cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Steps, of 250,000.
    pub steps: u64,
    /// Bytes made, of 1 MiB.
    pub bytes: usize,
}

/// The sum of two numbers, exact, as `+` gives it.
///
/// # Errors
/// One of them is no number, or has more digits than can be calculated with.
pub fn add(left: &Value, right: &Value) -> Result<Value, String> {
    let number = |value: &Value| match value {
        Value::Int(_) | Value::Dec(_) => eval::number_of(&data::Data::of(value))
            .ok_or_else(|| "a number has more digits than can be calculated with".to_owned()),
        other => Err(format!("{} is no number", eval::a(other.kind()))),
    };
    let sum = number(left)?.add(number(right)?).map_err(str::to_owned)?;
    Value::from_number_text(&sum.text()).ok_or_else(|| "the sum has too many digits".to_owned())
}

/// Whether two values are equal as `==` says: numbers by amount, lists and objects by content.
#[must_use]
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::List(one), Value::List(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
        }
        (Value::Map(one), Value::Map(two)) => {
            one.len() == two.len()
                && one.iter().all(|(key, value)| two.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Int(_) | Value::Dec(_), Value::Int(_) | Value::Dec(_)) => {
            data::Data::of(left).order(&data::Data::of(right)).is_some_and(std::cmp::Ordering::is_eq)
        }
        _ => left == right,
    }
}

/// Order of two numbers by amount, whatever their size; `None` for anything else.
#[must_use]
pub fn order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    let is_number = |value: &Value| matches!(value, Value::Int(_) | Value::Dec(_));
    if !is_number(left) || !is_number(right) {
        return None;
    }
    data::Data::of(left).order(&data::Data::of(right))
}

/// The type of a value with its article, as messages say it: `an integer`, `text`.
#[must_use]
pub fn a_kind(value: &Value) -> String {
    eval::a(value.kind())
}

impl Template {
    /// Parses every `{{ }}` in a value of the flow file.
    ///
    /// # Errors
    /// The first syntax error, unknown function, unknown root or wrong number of arguments.
    pub fn parse(source: &Value) -> Result<Self, ExprError> {
        Self::parse_with(source, &[])
    }

    /// As [`Template::parse`], where maps around call their items by these names (`as`).
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse_with(source: &Value, names: &[&str]) -> Result<Self, ExprError> {
        template::build(source, 0, names).map(|tree| Self { tree })
    }

    /// Whether a text is a root name of its own, so that no item can be called so.
    #[must_use]
    pub fn is_root(name: &str) -> bool {
        parser::ROOTS.contains(&name)
    }

    /// As [`Template::parse`] for one text.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse_text(source: &str) -> Result<Self, ExprError> {
        Self::parse(&Value::Str(source.to_owned()))
    }

    /// What it reads, for check rule 2; each root, step and `maybe` once.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        let mut out = Vec::new();
        template::expressions(&self.tree, &mut |term| template::references(term, false, &mut out));
        out
    }

    /// The fields of a root name that it reads; `None` if it reads one that is known only when it runs, or all.
    #[must_use]
    pub fn fields_of(&self, root: &str) -> Option<Vec<String>> {
        let (mut out, mut all) = (Vec::new(), false);
        template::expressions(&self.tree, &mut |term| template::fields(term, root, &mut out, &mut all));
        (!all).then_some(out)
    }

    /// Whether there is no expression in it.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        matches!(self.tree, Tree::Constant(_))
    }

    /// Evaluates all of it within the budgets: 1 MiB made, 5 MiB with what stands around it, 16 MiB of input handed
    /// through, 250,000 steps.
    ///
    /// # Errors
    /// One sentence that names the path or the two types.
    pub fn eval(&self, scope: &dyn Scope) -> Result<Evaluated, ExprError> {
        let mut machine = Machine::new(scope);
        let value = template::evaluate(&self.tree, &mut machine)?;
        Ok(Evaluated { value, draws: machine.draws })
    }

    /// As [`Template::eval`], and what it cost of the budgets, also if it failed.
    ///
    /// # Errors
    /// As [`Template::eval`].
    pub fn eval_with_cost(&self, scope: &dyn Scope) -> (Result<Evaluated, ExprError>, Cost) {
        let mut machine = Machine::new(scope);
        let value = template::evaluate(&self.tree, &mut machine);
        let cost = machine.cost();
        (value.map(|value| Evaluated { value, draws: machine.draws }), cost)
    }

    /// Evaluates a condition: anything but a boolean is an error that names the type and what to write.
    ///
    /// # Errors
    /// As [`Template::eval`].
    pub fn eval_bool(&self, scope: &dyn Scope) -> Result<(bool, Vec<Value>), ExprError> {
        let evaluated = self.eval(scope)?;
        match evaluated.value {
            Value::Bool(yes) => Ok((yes, evaluated.draws)),
            other => Err(ExprError {
                message: format!("a condition must be true or false, this is {}", eval::a(other.kind())),
                offset: 0,
                hint: Some(match other {
                    Value::Null => "give a default: `x ?? false`".to_owned(),
                    Value::Int(_) | Value::Dec(_) => "ask with `x != 0`".to_owned(),
                    _ => "ask with `isNotEmpty(x)` or `x == …`".to_owned(),
                }),
            }),
        }
    }
}
