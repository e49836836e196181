//! `aura approve`, `aura reject` and `aura run delegate`: decide about what a run asks people.
//!
//! Invariant: a decision carries the hash of what was shown here, so it can be about nothing else.

use aura_protocol::approval::{Ask, Question};
use aura_protocol::rpc::{RunDelegate, RunRef, RunVote};
use aura_protocol::text::display;
use aura_protocol::{Code, Map, Value, WireError};
use clap::Args;

use super::output::Output;
use super::{Ended, files, run};
use crate::client::Session;
use crate::times;

/// Whose decision about what.
#[derive(Args, Debug)]
pub struct Decision {
    /// Run id, or its start or end
    run: String,
    /// The step that asks; only needed if several do
    step: Option<String>,
    /// What the form asks for, field by field (repeatable)
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "form")]
    field: Vec<String>,
    /// The same as JSON: the text, @file, or - for standard input
    #[arg(long, value_name = "JSON")]
    form: Option<String>,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    comment: String,
    /// Only show what is asked
    #[arg(long)]
    show: bool,
    /// Only if this is still what is asked: the `hash` that was shown
    #[arg(long, value_name = "HASH")]
    hash: Option<String>,
}

/// Who decides instead.
#[derive(Args, Debug)]
pub struct Delegation {
    /// Run id, or its start or end
    run: String,
    /// The step that asks; only needed if several do
    step: Option<String>,
    /// The account that decides instead
    #[arg(long, value_name = "ACCOUNT")]
    to: String,
}

/// Decides.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn vote(decision: Decision, approve: bool, session: &mut Session, out: &mut Output) -> Ended {
    let Decision { run: name, step, field, form, comment, show, hash } = decision;
    let question = asked(&name, step.as_deref(), session).await?;
    if show && out.json {
        out.value(&question)?;
        return Ok(0);
    }
    if !out.json {
        lines(&question, out)?;
    }
    if show {
        return Ok(0);
    }
    let form = match form {
        Some(text) => files::json(&text)?,
        None if field.is_empty() => Value::Null,
        None => filled(&question.ask, &field)?,
    };
    let request = RunVote {
        run: RunRef(question.run.to_string()),
        step: question.path,
        approve,
        hash: hash.unwrap_or(question.ask.hash),
        form,
        comment,
    };
    let head = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.run_vote(context, call, request).await }
        })
        .await?;
    run::decided(&head, out)
}

/// Has somebody else decide.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn delegate(delegation: Delegation, session: &mut Session, out: &mut Output) -> Ended {
    let Delegation { run: name, step, to } = delegation;
    let question = asked(&name, step.as_deref(), session).await?;
    let request = RunDelegate { run: RunRef(question.run.to_string()), step: question.path, to };
    let head = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.run_delegate(context, call, request).await }
        })
        .await?;
    run::decided(&head, out)
}

/// The one question that is meant.
async fn asked(name: &str, step: Option<&str>, session: &mut Session) -> Result<Question, WireError> {
    let run = RunRef(name.to_owned());
    let mut asked = session
        .call(|rpc, context, call| {
            let run = run.clone();
            async move { rpc.run_asks(context, call, run).await }
        })
        .await?;
    asked.retain(|question| step.is_none_or(|step| step == question.path));
    let more = asked.len() > 1;
    match (asked.pop(), step) {
        (Some(one), _) if !more => Ok(one),
        (Some(one), _) => {
            let names: Vec<String> = asked.into_iter().map(|question| question.path).chain([one.path]).collect();
            let message = format!("several steps ask: {}", display(&names.join(", ")));
            Err(WireError::new(Code::Invalid, message).hint("say which one"))
        }
        (None, step) => {
            let what = step.map_or("the run".to_owned(), |step| format!("step {}", display(step)));
            let message = format!("{what} asks nobody now");
            Err(WireError::new(Code::Conflict, message).hint("`aura run show` says how it stands"))
        }
    }
}

fn lines(question: &Question, out: &mut Output) -> Result<(), WireError> {
    let ask = &question.ask;
    let until = question.until_ms.map(|until| format!(", until {}", times::full(until, &out.zone)));
    let who = ask.who(&question.standing);
    let head = format!("{} of {} asks {who}{}", question.path, question.flow, until.unwrap_or_default());
    out.line(&display(&head))?;
    for (name, value) in ask.form.as_map().into_iter().flatten() {
        out.line(&display(&format!("  {name}: {}", value.as_str().map_or_else(|| value.to_json(), str::to_owned))))?;
    }
    for field in &ask.fields {
        out.line(&display(&format!("  to fill in: {} ({})", field.name, field.kind.word())))?;
    }
    out.line(&format!("  hash: {}", display(&ask.hash)))
}

/// What was typed, as the fields say.
fn filled(ask: &Ask, typed: &[String]) -> Result<Value, WireError> {
    let mut form = Map::new();
    for pair in typed {
        let Some((name, value)) = pair.split_once('=') else {
            let message = format!("`{}` is not NAME=VALUE", display(pair));
            return Err(WireError::new(Code::Invalid, message));
        };
        let kind = ask.fields.iter().find(|field| field.name == name).map(|field| field.kind);
        // What is not asked for is refused by the daemon, with its name.
        form.insert(name.to_owned(), kind.map_or_else(|| Value::from(value), |kind| kind.typed(value)));
    }
    Ok(Value::Map(form))
}
