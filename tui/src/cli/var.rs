//! `aura var …`: the tenant's variables, which flows read as `vars.name`.
//!
//! A value that reads as JSON is one (`5`, `true`, `{"a": 1}`); anything else is text, and `--text` makes text of all.

use aura_protocol::text::display;
use aura_protocol::variable::{VarSet, Variable};
use aura_protocol::{Value, WireError};
use clap::Subcommand;

use super::output::Output;
use super::{Ended, files};
use crate::client::Session;
use crate::times;

/// Longest value in the table; `--json` shows all of it.
const SHOWN_MAX: usize = 60;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All variables with their values
    #[command(after_help = "Example: aura var list --json")]
    List,
    /// Set a variable; runs that are created from now on read it as vars.NAME
    #[command(after_help = "Examples:
  aura var set shop_url https://shop.example     # text
  aura var set free_from 49.90                   # a number; so are true, null, [1,2], {\"a\":1} what they say
  aura var set zip 01067 --text                  # text, whatever it looks like
  aura var set rates @rates.json                 # from a file, or - for standard input")]
    Set {
        /// Letters, digits and _, the first no digit
        name: String,
        /// JSON, or else text; @file and - are read
        #[arg(allow_negative_numbers = true)]
        value: String,
        /// Take the value as text
        #[arg(long)]
        text: bool,
    },
    /// Take a variable away
    #[command(after_help = "Example: aura var unset shop_url")]
    Unset {
        /// Its name
        name: String,
    },
}

/// Answers a variable command.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn var(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    match command {
        Command::List => {
            let rows = session.call(|rpc, context, call| async move { rpc.var_list(context, call, ()).await }).await?;
            if out.json {
                for row in &rows {
                    out.value(row)?;
                }
                return Ok(0);
            }
            let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row, out)).collect();
            out.table(&["NAME", "TYPE", "VALUE", "CHANGED", "BY"], &rows)?;
            Ok(0)
        }
        Command::Set { name, value, text } => {
            let request = VarSet { name, value: typed(&value, text)? };
            let set = session
                .call(|rpc, context, call| {
                    let request = request.clone();
                    async move { rpc.var_set(context, call, request).await }
                })
                .await?;
            said(&set, "set", out)
        }
        Command::Unset { name } => {
            let gone = session
                .call(|rpc, context, call| {
                    let name = name.clone();
                    async move { rpc.var_unset(context, call, name).await }
                })
                .await?;
            said(&gone, "taken away, it was", out)
        }
    }
}

fn said(variable: &Variable, what: &str, out: &mut Output) -> Ended {
    if out.json {
        return out.value(variable).map(|()| 0);
    }
    let value = short(&variable.value);
    out.line(&display(&format!("{} {what} {} ({value})", variable.name, variable.value.kind()))).map(|()| 0)
}

fn short(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_json(), str::to_owned);
    let line: String = text.chars().take(SHOWN_MAX).collect();
    if line.len() < text.len() { format!("{line}…") } else { line }
}

fn cells(row: &Variable, out: &Output) -> Vec<String> {
    let changed = times::full(row.changed_ms, &out.zone);
    vec![row.name.clone(), row.value.kind().to_owned(), short(&row.value), changed, row.by.clone()]
}

/// The value that was meant.
fn typed(given: &str, text: bool) -> Result<Value, WireError> {
    let read = match given.strip_prefix('@') {
        Some(path) => files::text(path)?.trim_end_matches(['\n', '\r']).to_owned(),
        None if given == "-" => files::text("-")?.trim_end_matches(['\n', '\r']).to_owned(),
        None => given.to_owned(),
    };
    if text {
        return Ok(Value::Str(read));
    }
    Ok(Value::from_json(read.as_bytes()).unwrap_or(Value::Str(read)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_type_they_look_like_unless_they_are_text() {
        let check =
            |given: &str, text: bool, expected: Value| assert_eq!(typed(given, text).unwrap(), expected, "{given}");
        check("5", false, Value::Int(5));
        check("49.90", false, Value::Dec("49.90".into()));
        check("true", false, Value::Bool(true));
        check("{\"a\": [1]}", false, Value::object([("a", Value::List(vec![Value::Int(1)]))]));
        check("01067", false, Value::from("01067"));
        check("hello there", false, Value::from("hello there"));
        check("5", true, Value::from("5"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.json");
        std::fs::write(&path, "[1]\n").unwrap();
        check(&format!("@{}", path.display()), false, Value::List(vec![Value::Int(1)]));
        assert!(typed("@/nowhere/at/all", false).is_err());
    }
}
