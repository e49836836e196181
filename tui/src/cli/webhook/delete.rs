//! `aura webhook delete`: a trigger is taken out of its flow's text, and the flow published without it.
//!
//! Invariant: nothing else changes. The text is cut by lines, so comments and order stay, and what was cut is read again:
//! if it is not the same flow without that trigger, nothing is done. A draft with other changes is never published by it.

use aura_protocol::flow::read;
use aura_protocol::rpc::FlowFiles;
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};

use super::super::Ended;
use super::super::flow::said;
use super::super::flow::versions::{agreed, planned, show};
use super::super::output::{Output, note};
use super::deliveries::named;
use crate::client::Session;

/// What `aura webhook delete` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The flow, or FLOW/TRIGGER
    flow: String,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Takes it out, after a question.
///
/// # Errors
/// No such endpoint, a draft with other changes, nobody agreed, or what the daemon or the way to it says.
pub async fn delete(args: Args, session: &mut Session, out: &mut Output) -> Ended {
    let (flow, trigger) = named(&args.flow);
    let trigger = chosen(&flow, trigger, session).await?;
    let detail = session
        .call(|rpc, context, call| {
            let flow = flow.clone();
            async move { rpc.flow_show(context, call, flow).await }
        })
        .await?;
    let shown = display(&flow);
    if detail.draft.is_some() && detail.row.draft.is_some() {
        let message = format!("{shown} has a draft with other changes, which would be published too");
        return Err(WireError::new(Code::Conflict, message)
            .hint("publish it first, or take the trigger out with `aura flow edit`"));
    }
    let Some(text) = detail.published else {
        return Err(WireError::not_found(format!("{shown} is not published, so it has no endpoint")));
    };
    let cut = without(&text, &trigger).map_err(|why| {
        WireError::new(Code::Invalid, format!("the trigger {} of {shown} cannot be cut out: {why}", display(&trigger)))
            .hint(format!("take it out with `aura flow edit {shown}`"))
    })?;
    let found = vec![(flow.clone(), cut)];
    let plans = planned(&found, session).await?;
    if !out.json && show(&found, &plans, out)? {
        return Err(WireError::new(Code::FlowRefused, "the flow is refused without it; nothing was changed"));
    }
    let sentence = format!(
        "{shown} would be published without {}; its address answers 404 then, and what comes there is kept for a day",
        display(&trigger)
    );
    agreed(args.yes, &sentence, "do it")?;
    let request = FlowFiles { texts: found.into_iter().map(|(_, text)| text).collect(), publish: true };
    let rows = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_apply_all(context, call, request).await }
        })
        .await?;
    for row in &rows {
        said(row, "published", out)?;
        if row.triggers.is_empty() {
            note(&format!(
                "nothing starts {shown} any more but `aura flow run`; `aura flow delete {shown}` takes the flow away"
            ));
        }
    }
    Ok(0)
}

/// The endpoint that is meant.
async fn chosen(flow: &str, trigger: Option<String>, session: &mut Session) -> Result<String, WireError> {
    let hooks = super::list(session).await?;
    let has: Vec<String> = hooks.into_iter().filter(|hook| hook.flow == flow).map(|hook| hook.trigger).collect();
    match (trigger, has.as_slice()) {
        (Some(wanted), _) if has.contains(&wanted) => Ok(wanted),
        (None, [only]) => Ok(only.clone()),
        (_, []) => Err(WireError::not_found(super::none(Some(flow))).hint("see `aura webhook list`")),
        (wanted, _) => {
            let has = display(&has.join(", "));
            let message = match wanted {
                Some(wanted) => format!("{} has no endpoint {}; it has {has}", display(flow), display(&wanted)),
                None => format!("{} has several endpoints: {has}", display(flow)),
            };
            Err(WireError::not_found(message).hint("name one as FLOW/TRIGGER"))
        }
    }
}

/// The text of a flow without one of its triggers, with every other line as it was; else why not.
fn without(text: &str, trigger: &str) -> Result<String, String> {
    let unreadable = || "the flow cannot be read".to_owned();
    let document = read(text).map_err(|_| unreadable())?;
    let mut flow = document.flow.clone();
    let index =
        flow.triggers.iter().position(|it| it.id == trigger).ok_or_else(|| "it is not in the text".to_owned())?;
    flow.triggers.remove(index);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let inline = || "the triggers do not stand one below the other".to_owned();
    let of = |path: &str| {
        let (line, column) = document.place(path);
        let at = usize::try_from(line).ok()?.checked_sub(1)?;
        Some((at, usize::try_from(column).ok()?.checked_sub(1)?))
    };
    let (at, column) = of(&format!("triggers[{index}]")).ok_or_else(unreadable)?;
    let before: String = lines.get(at).map(|line| line.chars().take(column).collect()).unwrap_or_default();
    // The dash stands before the first key, or on a line of its own above it.
    let (at, before) = match (before.trim(), at.checked_sub(1).and_then(|above| Some((above, lines.get(above)?)))) {
        ("", Some((above, line))) => (above, (*line).to_owned()),
        _ => (at, before),
    };
    if before.trim() != "-" {
        return Err(inline());
    }
    let dash = indent(&before);
    let mut end = at + 1;
    for (number, line) in lines.iter().enumerate().skip(at + 1).filter(|(_, line)| !line.trim().is_empty()) {
        if indent(line) > dash {
            end = number + 1;
        } else if !line.trim_start().starts_with('#') {
            break;
        }
    }
    let begin = match flow.triggers.is_empty() {
        false => at,
        true => {
            let (key, _) = of("triggers").ok_or_else(unreadable)?;
            let written = lines.get(key).and_then(|line| line.split('#').next()).unwrap_or_default();
            if written.trim() != "triggers:" {
                return Err(inline());
            }
            key
        }
    };
    let cut: String = lines.iter().take(begin).chain(lines.iter().skip(end)).copied().collect();
    match read(&cut) {
        Ok(left) if left.flow == flow => Ok(cut),
        _ => Err("another part of the flow would change".to_owned()),
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_cut_out_and_every_other_line_stays() {
        let steps = "# what it does\nsteps:\n  - id: a\n    set: { x: 1 }\n";
        let check = |triggers: &str, trigger: &str, left: &str| {
            let text = format!("aura: 1\nflow: shop # mine\n{triggers}{steps}");
            let cut = without(&text, trigger);
            assert_eq!(cut, Ok(format!("aura: 1\nflow: shop # mine\n{left}{steps}")), "{triggers}");
        };
        let refused = |text: &str, trigger: &str, part: &str| {
            let why = without(text, trigger).unwrap_err();
            assert!(why.contains(part), "{why}");
        };
        let one = "  # the shop\n  - id: paid\n    on: webhook\n\n    # signed\n    auth: none\n";
        let two = "  # by hand\n  - { id: back, on: webhook, auth: none }  # open\n";
        check(&format!("triggers:\n{one}{two}"), "paid", &format!("triggers:\n  # the shop\n{two}"));
        check(&format!("triggers:\n{one}{two}"), "back", &format!("triggers:\n{one}  # by hand\n"));
        check(
            "triggers:\n- id: paid\n  on: webhook\n  auth: none\n- id: b\n  on: manual\n",
            "paid",
            "triggers:\n- id: b\n  on: manual\n",
        );
        check("triggers:  # all\n- id: paid\n  on: webhook\n  auth: none\n", "paid", "");
        check("triggers:\n  -\n    id: paid\n    on: webhook\n    auth: none\n\n", "paid", "\n");
        let inline = format!("aura: 1\nflow: shop\ntriggers: [{{ id: paid, on: webhook, auth: none }}]\n{steps}");
        refused(&inline, "paid", "one below the other");
        refused(&inline, "other", "not in the text");
        refused(
            "{\"aura\": 1, \"flow\": \"shop\", \"triggers\": [{\"id\": \"paid\", \"on\": \"webhook\", \"auth\": \"none\"}], \"steps\": [{\"id\": \"a\", \"set\": {\"x\": 1}}]}",
            "paid",
            "one below the other",
        );
    }
}
