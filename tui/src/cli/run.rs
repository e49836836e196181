//! `aura run …`: what runs did and do, and what a person decides about them.
//!
//! Invariant: cancel and resolve are one question each with one request id; a repeat is answered, not redone.

use aura_protocol::rpc::{RunDetail, RunForceFinish, RunMigrate, RunPause, RunQuery, RunRef, RunResolve, RunSignal};
use aura_protocol::run::{Record, Resolution, RunHead, RunState, StepState};
use aura_protocol::text::display;
use aura_protocol::watch::{Item, Subscription};
use aura_protocol::{Value, WireError};
use clap::{Args, Subcommand, ValueEnum};

use super::output::{Output, note};
use super::tail::{Follow, transition_lines};
use super::{Ended, files};
use crate::client::Session;
use crate::{journal, times};

/// A state as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each variant is the run state of the same name")]
pub enum State {
    Queued,
    Running,
    Waiting,
    Retrying,
    Paused,
    InDoubt,
    Succeeded,
    Failed,
    Cancelled,
}

impl State {
    fn state(self) -> RunState {
        match self {
            Self::Queued => RunState::Queued,
            Self::Running => RunState::Running,
            Self::Waiting => RunState::Waiting,
            Self::Retrying => RunState::Retrying,
            Self::Paused => RunState::Paused,
            Self::InDoubt => RunState::InDoubt,
            Self::Succeeded => RunState::Succeeded,
            Self::Failed => RunState::Failed,
            Self::Cancelled => RunState::Cancelled,
        }
    }
}

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Runs, newest first
    #[command(after_help = "Examples:
  aura run list --flow order-paid --state failed --limit 20
  aura run list --filter 'state=failed,in_doubt since=1h label.team=growth took>10s'
  aura run list --filter 'trigger.body.order.id=1042' --csv > runs.csv   # at once if the flow has it under `index`")]
    List {
        /// Only in this state (repeatable)
        #[arg(long, value_enum)]
        state: Vec<State>,
        /// Only of this flow
        #[arg(long)]
        flow: Option<String>,
        /// At most this many, up to 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// Only older than this run (a full id)
        #[arg(long, value_name = "RUN")]
        before: Option<String>,
        /// Only those that fit: words like `state=failed flow=cart since=1h version=3f2a label.team=growth
        /// trigger.body.id=42 subject=a@b.c took>10s error~timeout`, `!` before a word turns it round
        #[arg(long, value_name = "WORDS")]
        filter: Option<String>,
        /// Comma-separated values
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// A run's timeline, step by step
    #[command(after_help = "Example: aura run show 4XK2QW   # any 4 characters from the start or end of the id")]
    Show {
        /// Run id, or its start or end
        run: String,
    },
    /// Follow a run until it has ended; exit code 1 unless it succeeded
    #[command(after_help = "Example: aura run tail 4XK2QW")]
    Tail {
        /// Run id, or its start or end
        run: String,
    },
    /// A run's journal as lines
    #[command(after_help = "Example: aura run logs 4XK2QW | grep error")]
    Logs {
        /// Run id, or its start or end
        run: String,
    },
    /// Run something again: from its start, a step or an item; under the same version or another
    #[command(
        after_help = "Example: aura run replay 4XK2QW --from charge --preview\n         aura run replay 4XK2QW --item parcels:A-17 --reuse-keys\n         aura run replay 4XK2QW --retry   # from the step that failed, on the published version\n         aura run replay --filter 'flow=cart state=failed' --plan\n         aura run replay --filter 'flow=cart state=failed' --yes --rate 10/s"
    )]
    Replay(super::run_replay::Which),
    /// Move an unfinished run to another version, if nothing that it did or does is another step there
    #[command(after_help = "Example: aura run migrate 4XK2QW --to published --plan")]
    Migrate {
        /// Run id, or its start or end
        run: String,
        /// The version: published, draft, or the start of a hash
        #[arg(long, value_name = "VERSION", default_value = "published")]
        to: String,
        /// Only say whether it can
        #[arg(long)]
        plan: bool,
    },
    /// Ask a run to end, or all that fit
    #[command(
        after_help = "Example: aura run cancel 4XK2QW --reason 'wrong list'\n         aura run cancel --filter 'flow=cart state=waiting until=2d' --plan"
    )]
    Cancel(super::run_cancel::Which),
    /// Hold a run where it is: what is out ends, nothing more begins, its timeout stands still
    #[command(after_help = "Example: aura run pause 4XK2QW --reason 'the shop is being moved'")]
    Pause {
        /// Run id, or its start or end
        run: String,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a paused run go on
    #[command(after_help = "Example: aura run resume 4XK2QW")]
    Resume {
        /// Run id, or its start or end
        run: String,
    },
    /// End a run as it stands, also one that is stuck: no handler, compensation or last step runs
    #[command(
        after_help = "Example: aura run force-finish 4XK2QW --state failed --reason 'paid by hand, see ticket 77'"
    )]
    ForceFinish {
        /// Run id, or its start or end
        run: String,
        /// How it ends
        #[arg(long, value_enum)]
        state: EndState,
        /// Why, for the record
        #[arg(long)]
        reason: String,
    },
    /// Delete finished runs; those that have not finished are kept
    #[command(
        after_help = "Example: aura run delete 4XK2QW\n         aura run delete --filter 'flow=cart state=failed older=30d' --plan"
    )]
    Delete(super::run_delete::Which),
    /// Decide about a step whose outcome is unknown
    #[command(after_help = "Example: aura run resolve 4XK2QW charge --done --output '{\"id\": \"ch_1\"}'")]
    Resolve {
        /// Run id, or its start or end
        run: String,
        /// The step in doubt
        step: String,
        #[command(flatten)]
        how: How,
        /// Its output (with --done): JSON, @file, or - for standard input
        #[arg(long, value_name = "JSON", requires = "done")]
        output: Option<String>,
    },
    /// Have somebody else decide about what a run asks you
    #[command(after_help = "Example: aura run delegate 4XK2QW --to ben")]
    Delegate(super::vote::Delegation),
    /// Give a step what it waits for; also before it waits
    #[command(after_help = "Example: aura run signal 4XK2QW payment --data '{\"paid\": true}'")]
    Signal {
        /// Run id, or its start or end
        run: String,
        /// The step that waits
        step: String,
        /// What it is given: JSON, @file, or - for standard input
        #[arg(long, value_name = "JSON")]
        data: Option<String>,
    },
}

/// How a run is ended by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each variant is the run state of the same name")]
pub enum EndState {
    Succeeded,
    Failed,
}

/// The three ways out of doubt.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct How {
    /// It happened: go on
    #[arg(long)]
    done: bool,
    /// Send it again with the same key
    #[arg(long)]
    retry: bool,
    /// It failed: handlers take over
    #[arg(long)]
    fail: bool,
}

/// Answers a run command.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn run(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    match command {
        Command::List { state, flow, limit, before, filter, csv } => {
            let before = before.map(|id| id.parse()).transpose();
            let before = before.map_err(|error| WireError::new(aura_protocol::Code::Invalid, format!("{error}")))?;
            let states = state.into_iter().map(State::state).collect();
            list(RunQuery { flow, states, before, limit, filter }, csv, session, out).await
        }
        Command::Show { run } => {
            let detail = detail(&run, session).await?;
            if out.json {
                out.value(&detail)?
            } else {
                show(&detail, out)?
            }
            Ok(0)
        }
        Command::Tail { run } => tail(&run, session, out).await,
        Command::Logs { run } => {
            let detail = detail(&run, session).await?;
            if detail.cut {
                note("the beginning of this long journal is not shown");
            }
            for transition in &detail.journal {
                print(transition, out)?;
            }
            Ok(0)
        }
        Command::Replay(which) => super::run_replay::replay(which, session, out).await,
        Command::Migrate { run, to, plan } => migrate(run, &to, plan, session, out).await,
        Command::Cancel(which) => super::run_cancel::cancel(which, session, out).await,
        Command::Pause { run, reason } => {
            pause(RunPause { run: RunRef(run), paused: true, reason }, session, out).await
        }
        Command::Resume { run } => {
            pause(RunPause { run: RunRef(run), paused: false, reason: String::new() }, session, out).await
        }
        Command::ForceFinish { run, state, reason } => {
            let state = if state == EndState::Succeeded { RunState::Succeeded } else { RunState::Failed };
            let request = RunForceFinish { run: RunRef(run), state, reason };
            let head = session
                .call(|rpc, context, call| {
                    let request = request.clone();
                    async move { rpc.run_force_finish(context, call, request).await }
                })
                .await?;
            decided(&head, out)
        }
        Command::Delete(which) => super::run_delete::delete(which, session, out).await,
        Command::Resolve { run, step, how, output } => {
            let output = output.map_or(Ok(Value::Null), |text| files::json(&text))?;
            let resolution = match (how.done, how.retry) {
                (true, _) => Resolution::Done(output),
                (_, true) => Resolution::Retry,
                _ => Resolution::Fail,
            };
            let request = RunResolve { run: RunRef(run), step, resolution };
            let head = session
                .call(|rpc, context, call| {
                    let request = request.clone();
                    async move { rpc.run_resolve(context, call, request).await }
                })
                .await?;
            decided(&head, out)
        }
        Command::Delegate(delegation) => super::vote::delegate(delegation, session, out).await,
        Command::Signal { run, step, data } => {
            let data = data.map_or(Ok(Value::Null), |text| files::json(&text))?;
            let request = RunSignal { run: RunRef(run), step, data };
            let head = session
                .call(|rpc, context, call| {
                    let request = request.clone();
                    async move { rpc.run_signal(context, call, request).await }
                })
                .await?;
            decided(&head, out)
        }
    }
}

async fn migrate(run: String, to: &str, plan: bool, session: &mut Session, out: &mut Output) -> Ended {
    let request = RunMigrate { run: RunRef(run), to: super::run_replay::version(to), plan };
    let answer = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.run_migrate(context, call, request).await }
        })
        .await?;
    let code = if answer.reasons.is_empty() { 0 } else { aura_protocol::Code::Conflict.exit_code() };
    if out.json {
        return out.value(&answer).map(|()| code);
    }
    let short = |version: &str| version.chars().take(8).collect::<String>();
    let how = match (answer.reasons.is_empty(), plan) {
        (true, true) => "could move",
        (true, false) => "moved",
        (false, _) => "stays",
    };
    out.line(&format!("{} {how}: {} to {}", answer.run.run, short(&answer.from), short(&answer.to)))?;
    for reason in &answer.reasons {
        out.line(&format!("  {}", display(reason)))?;
    }
    Ok(code)
}

async fn pause(request: RunPause, session: &mut Session, out: &mut Output) -> Ended {
    let head = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.run_pause(context, call, request).await }
        })
        .await?;
    decided(&head, out)
}

async fn list(query: RunQuery, csv: bool, session: &mut Session, out: &mut Output) -> Ended {
    let page = session
        .call(|rpc, context, call| {
            let query = query.clone();
            async move { rpc.run_page(context, call, query).await }
        })
        .await?;
    if let Some(bounded) = &page.bounded {
        let back = times::full(bounded.back_to_ms, &out.zone);
        let on = page.next.map_or(String::new(), |next| format!("; go on with --before {next}"));
        note(&format!("not all runs were looked at: {}, back to {back}{on}", bounded.looked_at));
    }
    let heads = page.runs;
    if out.json {
        for head in &heads {
            out.value(head)?;
        }
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = heads
        .iter()
        .map(|head| {
            let why = head.error.as_ref().map(journal::sentence);
            let why = why.or_else(|| head.blocked_by.as_ref().map(|blocked| blocked.reason.clone()));
            vec![
                head.state.word().to_owned(),
                head.run.to_string(),
                head.flow.clone(),
                format!("{}/{}", head.steps_done, head.steps_all),
                head.step.clone(),
                times::full(head.created_ms, &out.zone),
                head.finished_ms.map_or("-".to_owned(), |end| times::took(end - head.created_ms)),
                why.unwrap_or_default(),
            ]
        })
        .collect();
    let head = ["STATE", "RUN", "FLOW", "STEPS", "STEP", "STARTED", "TOOK", "WHY"];
    if csv {
        out.csv(&head, &rows)?
    } else {
        out.table(&head, &rows)?
    }
    Ok(0)
}

/// One run with its journal.
///
/// # Errors
/// What the daemon says.
pub async fn detail(run: &str, session: &mut Session) -> Result<RunDetail, WireError> {
    let run = RunRef(run.to_owned());
    session
        .call(|rpc, context, call| {
            let run = run.clone();
            async move { rpc.run_show(context, call, run).await }
        })
        .await
}

/// How a run stands, in one line that begins with its id.
///
/// # Errors
/// If standard output takes no more.
pub fn sentence(head: &RunHead, out: &mut Output) -> Result<(), WireError> {
    let why = head.error.as_ref().map(journal::sentence);
    let why = why.or_else(|| head.blocked_by.as_ref().map(|blocked| display(&blocked.reason)));
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    out.line(&format!("{} {}{why}", head.run, head.state.word()))
}

/// Tells how a run stands after a decision.
///
/// # Errors
/// If standard output takes no more.
pub fn decided(head: &RunHead, out: &mut Output) -> Ended {
    if out.json {
        out.value(head)?
    } else {
        sentence(head, out)?
    }
    Ok(0)
}

fn show(detail: &RunDetail, out: &mut Output) -> Result<(), WireError> {
    let head = &detail.head;
    let version: String = head.version.chars().take(8).collect();
    out.line(&display(&format!("{}  {} {version}  trigger {}", head.run, head.flow, head.trigger)))?;
    let took = head.finished_ms.map_or(String::new(), |end| format!("  took {}", times::took(end - head.created_ms)));
    out.line(&format!("began {}{took}", times::full(head.created_ms, &out.zone)))?;
    if let Some(origin) = head.origin {
        out.line(&format!("goes on from {origin}"))?;
    }
    if detail.cut {
        out.line("(the beginning of this long journal is not shown)")?;
    }
    out.line("")?;
    for step in journal::timeline(&detail.outline, &detail.journal) {
        let name = format!("{}{}", "  ".repeat(usize::try_from(step.depth).unwrap_or(0).min(20)), step.id);
        let at = step.from_ms.map_or("-".to_owned(), |at| times::full(at, &out.zone));
        let took = match (step.from_ms, step.to_ms) {
            (Some(from), Some(to)) if step.state != StepState::Skipped => times::took(to - from),
            _ => "-".to_owned(),
        };
        let line = format!("{:<9}  {name:<24} {:<24} {at:<19} {took:>6}  {}", step.word(), step.kind, step.told());
        out.line(display(&line).trim_end())?;
        if step.spans.len() > 1 || step.spans.iter().any(|span| span.label == "wait") {
            for span in &step.spans {
                let took = span.to_ms.map_or("-".to_owned(), |to| times::took(to - span.from_ms));
                let at = times::full(span.from_ms, &out.zone);
                let line = format!("{:<9}    {:<47} {at:<19} {took:>6}  {}", span.state.word(), span.label, span.note);
                out.line(display(&line).trim_end())?;
            }
        }
    }
    out.line("")?;
    sentence(head, out)
}

fn print(transition: &aura_protocol::run::Transition, out: &mut Output) -> Result<(), WireError> {
    if out.json {
        return out.value(transition);
    }
    for (at, text) in transition_lines(transition, out) {
        out.line(&format!("{at} {text}"))?;
    }
    Ok(())
}

async fn tail(run: &str, session: &mut Session, out: &mut Output) -> Ended {
    // First where now is, then what was: nothing falls between.
    let found = detail(run, session).await?.head.run;
    let mut follow = Follow::new(vec![Subscription::Run(found)], None);
    follow.next(session, out).await?;
    let known = detail(&found.to_string(), session).await?;
    if known.cut {
        note("the beginning of this long journal is not shown");
    }
    let mut seen = 0;
    let mut state = known.head.state.is_final().then_some(known.head.state);
    for transition in &known.journal {
        print(transition, out)?;
        seen = transition.number;
    }
    while state.is_none() {
        let reply = follow.next(session, out).await?;
        let mut missing = reply.cut;
        for item in &reply.items {
            match item {
                Item::Transition(of, transition) if *of == found && transition.number > seen => {
                    missing |= transition.number != seen + 1;
                    if !missing {
                        print(transition, out)?;
                        seen = transition.number;
                        state = state.or_else(|| finished(transition));
                    }
                }
                Item::Run(head) if head.run == found && head.state.is_final() && head.transition > seen => {
                    missing = true
                }
                _ => {}
            }
        }
        if missing {
            let known = detail(&found.to_string(), session).await?;
            for transition in known.journal.iter().filter(|transition| transition.number > seen) {
                print(transition, out)?;
            }
            seen = known.journal.last().map_or(seen, |transition| transition.number.max(seen));
            state = known.head.state.is_final().then_some(known.head.state);
        }
    }
    Ok(u8::from(state != Some(RunState::Succeeded)))
}

fn finished(transition: &aura_protocol::run::Transition) -> Option<RunState> {
    transition.records.iter().find_map(|record| match record {
        Record::RunFinished { state, .. } => Some(*state),
        _ => None,
    })
}
