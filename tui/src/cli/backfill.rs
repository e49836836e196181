//! `aura flow backfill` and `aura backfill`: a flow over a provider's past objects, planned before it begins.
//!
//! Invariant: what it would mean is said before it begins, and a script must say `--yes`.

use std::io::IsTerminal;

use aura_protocol::event::timestamp;
use aura_protocol::flow::Effect;
use aura_protocol::ids::BackfillId;
use aura_protocol::rpc::{BackfillAsk, BackfillControl, BackfillInfo, BackfillPlan, BackfillQuery, BackfillWhat};
use aura_protocol::text::display;
use aura_protocol::{Code, Value, WireError};
use clap::{Args, Subcommand};

use super::Ended;
use super::output::{Output, note};
use super::prompt;
use crate::client::Session;

/// What a flow is to run over.
#[derive(Args, Debug)]
pub struct Begin {
    /// Name of the flow
    pub flow: String,
    /// The trigger whose events the objects become; needed if several have past objects
    #[arg(long, value_name = "ID")]
    pub trigger: Option<String>,
    /// Objects since then: a day, a time, a span back from now (90d), or a number
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Objects until then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Also objects that were handled before
    #[arg(long)]
    pub again: bool,
    /// At most so many objects
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Only say what it would mean
    #[arg(long)]
    pub plan: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All backfills, newest first
    #[command(after_help = "Example: aura backfill list --json")]
    List {
        /// Only of this flow
        flow: Option<String>,
    },
    /// How far one came and what it waits for
    #[command(after_help = "Example: aura backfill show bf_01JD…")]
    Show {
        /// Its id; four characters of its end do if only one has them
        id: String,
    },
    /// Hold one where it is
    #[command(after_help = "Example: aura backfill pause bf_01JD…")]
    Pause {
        /// Its id
        id: String,
    },
    /// Let one go on
    #[command(after_help = "Example: aura backfill resume bf_01JD…")]
    Resume {
        /// Its id
        id: String,
    },
    /// End one; what it told stays told
    #[command(after_help = "Example: aura backfill cancel bf_01JD…")]
    Cancel {
        /// Its id
        id: String,
    },
}

/// Plans a backfill, asks, and begins it.
///
/// # Errors
/// What the daemon says, or nobody agreed.
pub async fn begin(args: &Begin, session: &mut Session, out: &mut Output) -> Ended {
    let mut ask = BackfillAsk {
        flow: args.flow.clone(),
        trigger: args.trigger.clone(),
        since: args.since.clone(),
        until: args.until.clone(),
        again: args.again,
        limit: args.limit,
        expected: None,
    };
    let plan = session
        .call(|rpc, context, call| {
            let ask = ask.clone();
            async move { rpc.backfill_plan(context, call, ask).await }
        })
        .await?;
    if args.plan {
        if out.json {
            out.value(&plan)?;
        } else {
            for line in lines(&plan) {
                out.line(&line)?;
            }
        }
        return Ok(0);
    }
    if !out.json {
        lines(&plan).iter().for_each(|line| note(line));
    }
    if !args.yes {
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(
                WireError::new(Code::Invalid, "nothing was begun").hint("agree with --yes, or look first with --plan")
            );
        }
        if prompt::ask("begin? write yes", false)?.trim() != "yes" {
            return Err(WireError::new(Code::Invalid, "not agreed; nothing was begun"));
        }
    }
    ask.expected = plan.count.filter(|_| plan.exact);
    let begun = session
        .call(|rpc, context, call| {
            let ask = ask.clone();
            async move { rpc.backfill_start(context, call, ask).await }
        })
        .await?;
    told(&begun, out)?;
    Ok(0)
}

fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read",
        Effect::Idempotent => "idempotent",
        Effect::Keyed => "keyed",
        Effect::Lookup => "lookup",
        Effect::Once => "once",
    }
}

fn bounds(since: &Value, until: &Value) -> String {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_json(), str::to_owned);
    match (since.is_null(), until.is_null()) {
        (true, true) => String::new(),
        (false, true) => format!(" since {}", shown(since)),
        (true, false) => format!(" until {}", shown(until)),
        (false, false) => format!(" since {} until {}", shown(since), shown(until)),
    }
}

/// A length of time in two parts at most.
fn length(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// A plan in sentences.
fn lines(plan: &BackfillPlan) -> Vec<String> {
    let through = plan.connection.as_ref().map_or(String::new(), |name| format!(" through {name}"));
    let range = bounds(&plan.since, &plan.until);
    let mut out = vec![format!("{}/{}: past objects of {}{through}{range}", plan.flow, plan.trigger, plan.source)];
    out.push(match (plan.count, plan.exact) {
        (Some(count), true) => format!("  objects  {count}"),
        (Some(count), false) => format!("  objects  at least {count}; the provider does not say how many"),
        (None, _) => "  objects  unknown".to_owned(),
    });
    if plan.known > 0 {
        let rest = format!("{} of the first {} were handled before", plan.known, plan.first_page);
        out.push(format!("           {rest} (left out, unless --again)"));
    }
    for effect in &plan.effects {
        let connection = effect.connection.as_ref().map_or(String::new(), |name| format!(" through {name}"));
        let each = if effect.repeated { "for each, perhaps several times" } else { "for each" };
        out.push(format!("  {each}  {} ({}){connection}", effect.step, word(effect.effect)));
    }
    if plan.effects.is_empty() {
        out.push("  for each  no call outside".to_owned());
    }
    if let (Some(calls), Some(pages)) = (plan.calls, plan.pages) {
        out.push(format!("  calls    {calls} in all, {pages} of them to read"));
    }
    match (&plan.rate, plan.at_rate_ms) {
        (Some(rate), Some(ms)) => out.push(format!("  time     {} at {rate}, the connection's budget", length(ms))),
        (Some(rate), None) => out.push(format!("  rate     {rate}, the connection's budget")),
        (None, _) => out.push("  rate     the connection has no budget; live events go first anyhow".to_owned()),
    }
    out.into_iter().map(|line| display(&line)).collect()
}

/// Answers a backfill command.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn backfill(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    let (id, what) = match command {
        Command::List { flow } => return list(&all(session, flow).await?, out),
        Command::Show { id } => {
            told(&one(session, &id).await?, out)?;
            return Ok(0);
        }
        Command::Pause { id } => (id, BackfillWhat::Pause),
        Command::Resume { id } => (id, BackfillWhat::Resume),
        Command::Cancel { id } => (id, BackfillWhat::Cancel),
    };
    let control = BackfillControl { id: one(session, &id).await?.id, what };
    let info =
        session.call(|rpc, context, call| async move { rpc.backfill_control(context, call, control).await }).await?;
    told(&info, out)?;
    Ok(0)
}

async fn all(session: &mut Session, flow: Option<String>) -> Result<Vec<BackfillInfo>, WireError> {
    let query = BackfillQuery { flow };
    session
        .call(|rpc, context, call| {
            let query = query.clone();
            async move { rpc.backfill_list(context, call, query).await }
        })
        .await
}

/// A backfill by its id, or by the end of it.
async fn one(session: &mut Session, text: &str) -> Result<BackfillInfo, WireError> {
    let wanted = text.to_ascii_uppercase();
    let wanted = wanted.trim_start_matches("BF_");
    let fits = |id: BackfillId| {
        let shown = id.to_string().to_ascii_uppercase();
        let shown = shown.trim_start_matches("BF_");
        shown == wanted || (wanted.len() >= 4 && shown.ends_with(wanted))
    };
    let mut found: Vec<BackfillInfo> = all(session, None).await?.into_iter().filter(|info| fits(info.id)).collect();
    match found.len() {
        1 => found.pop().ok_or_else(|| WireError::internal("a backfill is lost")),
        0 => {
            Err(WireError::not_found(format!("there is no backfill {}", display(text)))
                .hint("see `aura backfill list`"))
        }
        _ => Err(WireError::new(Code::Invalid, format!("several backfills end in {}", display(text)))),
    }
}

/// How far it came: `142 of 300 told, 3 handled before`.
pub fn progress(info: &BackfillInfo) -> String {
    let of = info.expected.map_or(String::new(), |all| format!(" of {all}"));
    let skipped = if info.skipped > 0 { format!(", {} handled before", info.skipped) } else { String::new() };
    format!("{}{of} told{skipped}", info.told)
}

fn told(info: &BackfillInfo, out: &mut Output) -> Result<(), WireError> {
    if out.json {
        return out.value(info);
    }
    let range = bounds(&info.since, &info.until);
    out.line(&display(&format!("{}  {}/{}{range}  {}", info.id, info.flow, info.trigger, info.state)))?;
    out.line(&display(&format!("  progress  {}; {} pages read", progress(info), info.pages)))?;
    out.line(&display(&format!("  begun     {} by {}", timestamp(info.created_ms), info.by)))?;
    if let Some(at) = info.ended_ms {
        out.line(&format!("  ended     {}", timestamp(at)))?;
    }
    if let Some(why) = &info.waits_for {
        out.line(&display(&format!("  waits     {why}")))?;
    }
    if let Some(error) = &info.error {
        let next = info.next_ms.map_or(String::new(), |at| format!(", again at {}", timestamp(at)));
        out.line(&display(&format!("  error     {error} (failed {} times in a row{next})", info.failures)))?;
    }
    Ok(())
}

fn list(infos: &[BackfillInfo], out: &mut Output) -> Ended {
    if out.json {
        for info in infos {
            out.value(info)?;
        }
        return Ok(0);
    }
    if infos.is_empty() {
        out.line("there was no backfill yet; `aura flow backfill FLOW --plan` says what one would mean")?;
        return Ok(0);
    }
    let row = |info: &BackfillInfo| {
        let name = format!("{}/{}", info.flow, info.trigger);
        let why = info.error.clone().or_else(|| info.waits_for.clone()).unwrap_or_default();
        vec![info.id.to_string(), name, info.state.clone(), progress(info), why]
    };
    let rows: Vec<Vec<String>> = infos.iter().map(row).collect();
    out.table(&["BACKFILL", "FLOW", "STATE", "PROGRESS", "WHY"], &rows)?;
    Ok(0)
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn a_plan_says_everything_before_it_begins() {
        let plan = BackfillPlan {
            flow: "erp".into(),
            trigger: "new".into(),
            source: "shopify.list_orders".into(),
            connection: Some("shop".into()),
            since: Value::from("2026-01-01T00:00:00Z"),
            until: Value::Null,
            count: Some(1_200),
            exact: true,
            first_page: 50,
            known: 7,
            pages: Some(24),
            effects: vec![aura_protocol::rpc::BackfillEffect {
                step: "post".into(),
                effect: Effect::Once,
                connection: None,
                repeated: false,
            }],
            calls: Some(1_217),
            rate: Some("40/1m".into()),
            at_rate_ms: Some(36_000),
        };
        let said = lines(&plan).join("\n");
        let expected = "erp/new: past objects of shopify.list_orders through shop since 2026-01-01T00:00:00Z\n  objects  1200\n           \
            7 of the first 50 were handled before (left out, unless --again)\n  for each  post (once)\n  calls    1217 in all, 24 of them to read\n  \
            time     36 s at 40/1m, the connection's budget";
        assert_eq!(said, expected);
        assert_eq!(
            (length(500), length(3_700_000), length(90_000_000)),
            ("1 s".into(), "1 h 1 min".into(), "1 d 1 h".into())
        );
    }
}
