//! `aura flow try`: one step of a text that need not be published, done really, as a test run.
//!
//! Invariant: what is sent was shown first. Whatever may change something outside is asked about; a script says `--yes`.

use aura_protocol::rpc::{DataFrom, FlowPart, FlowTried, FlowTry, PayloadQuery, RunRef};
use aura_protocol::run::{RunHead, RunState};
use aura_protocol::text::{display, display_lines};
use aura_protocol::{Code, WireError};
use serde::Serialize;

use super::super::output::Output;
use super::super::{Ended, prompt, run};
use super::simulate::{Given, lines, text_of};
use crate::client::Session;

/// Most of an output that is shown.
const SHOWN_MAX: u32 = 256 * 1024;

/// `aura flow try`.
#[derive(clap::Args, Debug)]
pub struct Try {
    /// The flow's file, or the name of a flow whose draft (else published version) is taken
    #[arg(value_name = "FILE|NAME")]
    flow: String,
    /// The step that is done: STEP, or STEP[ITEM] for one item of a map
    #[arg(long, value_name = "STEP")]
    step: String,
    /// Only show what would be sent
    #[arg(long)]
    preview: bool,
    /// Send it although some of what it reads is made up
    #[arg(long)]
    made_up: bool,
    /// Do not ask, whatever it may do
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    given: Given,
}

#[derive(Serialize)]
struct Row<'a> {
    asked: Option<&'a aura_protocol::rpc::AskedStep>,
    effect: &'a str,
    run: Option<&'a RunHead>,
}

/// Shows what would be sent, asks, sends it and shows what came back.
///
/// # Errors
/// A file that cannot be read, a step that cannot be tried, or a question nobody answered with yes.
pub async fn try_out(args: &Try, session: &mut Session, out: &mut Output) -> Ended {
    let flow = text_of(&args.flow, session).await?;
    let test = args.given.at(jiff::Timestamp::now().as_millisecond()).request(
        flow,
        Some(FlowPart::Only(args.step.clone())),
        true,
    )?;
    let preview = FlowTry { test, preview: true, made_up: args.made_up };
    let found = ask(&preview, session).await?;
    super::findings(&found.tested.flow_findings, &args.flow, &preview.test.flow, out)?;
    if !found.tested.flow_findings.is_empty() {
        return Ok(Code::FlowRefused.exit_code());
    }
    if let Some(finding) = found.tested.case_findings.first() {
        return Err(WireError::new(Code::Invalid, finding.message.clone()));
    }
    let Some(report) = found.tested.cases.first() else {
        return Err(WireError::internal("whoever simulated the flow said nothing"));
    };
    let asked = report.asked.as_ref();
    let step = asked.map_or(args.step.as_str(), |asked| asked.step.as_str());
    let call = report.calls.iter().find(|call| call.step == step);
    let effect = call.map_or("once", |call| call.effect.as_str());
    if !out.json {
        // What the simulation made of its answer is nobody's.
        let input = lines(report).into_iter().take_while(|line| !line.starts_with("output ("));
        input.collect::<Vec<_>>().iter().try_for_each(|line| out.line(line))?;
    }
    if args.preview {
        if out.json {
            out.value(&Row { asked, effect, run: None })?;
        }
        return Ok(0);
    }
    let made: Vec<&str> = asked
        .iter()
        .flat_map(|asked| &asked.given)
        .filter(|it| it.1 == DataFrom::Generated)
        .map(|it| it.0.as_str())
        .collect();
    if !made.is_empty() && !args.made_up {
        let message =
            format!("nothing was sent: what {} reads is made up: {}", display(step), display(&made.join(", ")));
        return Err(WireError::new(Code::Invalid, message)
            .hint("say it with --trigger, --input, --pin or --from-run; --made-up sends it as it is"));
    }
    if effect != "read" && !args.yes {
        agreed(&format!("{} really, with the connections of the daemon ({effect})", call_of(report, step)))?;
    }
    let begun = ask(&FlowTry { preview: false, ..preview.clone() }, session).await?;
    let Some(head) = begun.run else {
        return Err(WireError::internal("the daemon began no test run"));
    };
    let head = super::ended(head, &[RunState::InDoubt], session).await?;
    if out.json {
        out.value(&Row { asked, effect, run: Some(&head) })?;
    } else {
        told(&head, step, session, out).await?;
    }
    Ok(u8::from(head.state != RunState::Succeeded))
}

fn call_of(report: &aura_protocol::rpc::CaseReport, step: &str) -> String {
    report.calls.iter().find(|call| call.step == step).map_or_else(|| step.to_owned(), |call| call.action.clone())
}

async fn ask(request: &FlowTry, session: &mut Session) -> Result<FlowTried, WireError> {
    let client = session.client().await?;
    if !client.hello.capabilities.iter().any(|name| name == "flow_try") {
        return Err(WireError::new(Code::Protocol, "this aurad cannot try single steps").hint("update aurad"));
    }
    session
        .call_for(std::time::Duration::from_secs(40), |rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_try(context, call, request).await }
        })
        .await
}

/// Asks a person.
fn agreed(what: &str) -> Result<(), WireError> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        return Err(WireError::new(
            Code::Invalid,
            format!("nobody can be asked whether to do this: {}", display(what)),
        )
        .hint("say --yes to do it, or --preview to see it"));
    }
    let said = prompt::ask(&display(&format!("{what}: type yes")), false)?;
    if said.trim() == "yes" || said.trim() == "y" {
        return Ok(());
    }
    Err(WireError::new(Code::Invalid, "nothing was sent"))
}

/// How it ended and what came back.
async fn told(head: &RunHead, step: &str, session: &mut Session, out: &mut Output) -> Result<(), WireError> {
    if head.state == RunState::Succeeded {
        let id = step.split('[').next().unwrap_or(step).to_owned();
        let query = PayloadQuery {
            run: RunRef(head.run.to_string()),
            step: id,
            part: "output".to_owned(),
            offset: 0,
            limit: SHOWN_MAX,
        };
        let window = session
            .call(|rpc, context, call| {
                let query = query.clone();
                async move { rpc.run_payload(context, call, query).await }
            })
            .await?;
        out.line("output (real):")?;
        display_lines(&window.text).lines().try_for_each(|line| out.line(&format!("  {line}")))?;
        if window.total > u64::try_from(window.text.len()).unwrap_or(u64::MAX) {
            out.line("  … cut …")?;
        }
    }
    run::sentence(head, out)?;
    if head.state == RunState::InDoubt {
        out.line(&display(&format!(
            "look at the other side, then: aura run resolve {} {step} --done | --retry | --fail",
            head.run
        )))?;
    }
    Ok(())
}
