//! `aura form`: where people fill in the forms of flows.
//!
//! Invariant: an address is shown whole: whoever has it may fill the form in, and nothing else.

use aura_protocol::WireError;
use aura_protocol::rpc::FormInfo;
use aura_protocol::text::display;
use clap::Subcommand;

use super::Ended;
use super::output::Output;
use crate::client::Session;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All pages in a table
    #[command(after_help = "Example: aura form list --json")]
    List,
    /// The addresses of a flow's pages
    #[command(after_help = "Example: aura form show return-request\n         aura form show return-request/ask")]
    Show {
        /// Name of the flow, or FLOW/TRIGGER
        flow: String,
    },
}

/// Answers a form command.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn form(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    let mut forms = session.call(|rpc, context, call| async move { rpc.form_list(context, call, ()).await }).await?;
    if let Command::Show { flow } = &command {
        forms.retain(|form| *flow == form.flow || *flow == format!("{}/{}", form.flow, form.trigger));
        if forms.is_empty() {
            let message = format!("`{}` has no form trigger in a published version", display(flow));
            let hint = "see `aura form list`; a form gets its address when its flow is published";
            return Err(WireError::not_found(message).hint(hint));
        }
    }
    if out.json {
        for form in &forms {
            out.value(form)?;
        }
        return Ok(0);
    }
    match command {
        Command::List if forms.is_empty() => out.line("no published flow has a form")?,
        Command::List => {
            let row = |form: FormInfo| {
                let state = if form.enabled { "on" } else { "off" };
                vec![format!("{}/{}", form.flow, form.trigger), form.title, state.to_owned(), form.url]
            };
            let rows: Vec<Vec<String>> = forms.into_iter().map(row).collect();
            out.table(&["FORM", "TITLE", "STATE", "URL"], &rows)?;
        }
        Command::Show { .. } => {
            for form in &forms {
                let state = if form.enabled { "takes what is sent" } else { "disabled: its page is not shown" };
                out.line(&display(&format!("{}/{}  {}  {state}", form.flow, form.trigger, form.title)))?;
                out.line(&display(&format!("  url    {}", form.url)))?;
                out.line(&display(&format!("  asks   {}", form.fields.join(", "))))?;
                let last = form.last_event.map_or("none since the start".to_owned(), |event| event.to_string());
                out.line(&display(&format!("  last   {last}")))?;
            }
        }
    }
    Ok(0)
}
