//! `aura connection …`: connections to providers and bare named secrets.
//!
//! Invariant: a secret's value goes to the daemon and nowhere else: it is not printed, not echoed, and no
//! error message repeats it.

use std::io::IsTerminal;

use aura_protocol::descriptor::{Connector, Field};
use aura_protocol::rpc::{Connection, ConnectionAdd};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use clap::Subcommand;

use super::output::Output;
use super::{Ended, files, prompt};
use crate::client::Session;
use crate::times;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All connections; secrets only by name
    #[command(
        after_help = "Example: aura connection list --json\n         aura connection list --deleted   # what can be restored"
    )]
    List {
        /// What is in the bin
        #[arg(long)]
        deleted: bool,
    },
    /// Add or replace a connection, or a named secret with the connector `secret`
    #[command(after_help = "Examples:
  aura connection add shop shopify shop=northwind.myshopify.com     # asks for the secrets
  aura connection add shop shopify shop=northwind.myshopify.com access_token=@token.txt   # from a file
  aura connection add shop shopify rate=40/1m concurrency=4         # what all flows together may do
  aura connection add hook-secret secret                            # a bare value: asks for it
  pass show hook | aura connection add hook-secret secret value=-   # from standard input")]
    Add {
        /// Name used in flows
        name: String,
        /// Connector, or `secret` for one bare value
        connector: String,
        /// field=value, field=@file or field=- (standard input)
        #[arg(value_name = "FIELD=VALUE")]
        fields: Vec<String>,
    },
    /// Put a connection into the bin, unless a live run or a flow that takes events needs it
    #[command(after_help = "Example: aura connection delete old-shop")]
    Delete {
        /// Its name
        name: String,
    },
    /// Take a connection out of the bin, within 30 days
    #[command(after_help = "Example: aura connection restore old-shop")]
    Restore {
        /// Its name
        name: String,
    },
    /// Replace a secret; the one before goes on proving deliveries for a while
    #[command(after_help = "Examples:
  aura connection rotate hook-secret value=@new.txt
  pass show hook | aura connection rotate hook-secret value=- --keep 3d")]
    Rotate {
        /// Its name
        name: String,
        /// secret=value, secret=@file or secret=- (standard input)
        #[arg(value_name = "FIELD=VALUE", required = true)]
        fields: Vec<String>,
        /// How long the secret before goes on counting, at most 7d
        #[arg(long, default_value = "24h", value_name = "TIME")]
        keep: String,
    },
}

/// Answers a connection command.
///
/// # Errors
/// What the daemon or the way to it says; `Invalid` for fields that the connector does not have.
pub async fn connection(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    match command {
        Command::List { deleted: true } => super::flow::bin::list("connection", session, out).await,
        Command::Delete { name } => {
            let removed = session
                .call(|rpc, context, call| {
                    let name = name.clone();
                    async move { rpc.connection_delete(context, call, name).await }
                })
                .await?;
            super::flow::bin::removed(&removed, out)
        }
        Command::Restore { name } => {
            let row = session
                .call(|rpc, context, call| {
                    let name = name.clone();
                    async move { rpc.connection_restore(context, call, name).await }
                })
                .await?;
            if out.json {
                out.value(&row)?
            } else {
                out.line(&display(&format!("{} restored", row.name)))?
            }
            Ok(0)
        }
        Command::List { .. } => {
            let rows =
                session.call(|rpc, context, call| async move { rpc.connection_list(context, call, ()).await }).await?;
            if out.json {
                for row in &rows {
                    out.value(row)?;
                }
                return Ok(0);
            }
            let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row, out)).collect();
            out.table(&["NAME", "CONNECTOR", "SETTINGS", "SECRETS", "CHANGED"], &rows)?;
            Ok(0)
        }
        Command::Add { name, connector, fields } => add(name, connector, &fields, session, out).await,
        Command::Rotate { name, fields, keep } => rotate(name, &fields, &keep, session, out).await,
    }
}

fn cells(row: &Connection, out: &Output) -> Vec<String> {
    let settings: Vec<String> = row.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let secrets = if row.secrets.is_empty() { "-".to_owned() } else { row.secrets.join(", ") };
    let changed = times::full(row.changed_ms, &out.zone);
    vec![row.name.clone(), row.connector.clone(), settings.join(" "), secrets, changed]
}

async fn add(name: String, connector: String, given: &[String], session: &mut Session, out: &mut Output) -> Ended {
    let mut fields = given.iter().map(|pair| field(pair)).collect::<Result<Vec<_>, _>>()?;
    let known = session.call(|rpc, context, call| async move { rpc.connector_list(context, call, ()).await }).await?;
    let wanted = wanted(&known, &connector)?;
    for (field, _) in &fields {
        if !wanted.iter().any(|wanted| wanted.name == *field) {
            let names: Vec<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
            return Err(WireError::new(Code::Invalid, format!("`{connector}` has no field `{field}`"))
                .hint(format!("its fields are: {}", names.join(", "))));
        }
    }
    let asks = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    for wanted in wanted.iter().filter(|wanted| is_asked(wanted, asks)) {
        if fields.iter().any(|(field, _)| *field == wanted.name) {
            continue;
        }
        if !asks {
            return Err(WireError::new(Code::Invalid, format!("`{connector}` needs the field `{}`", wanted.name))
                .hint(format!("give it as {0}=@file or {0}=- (standard input)", wanted.name)));
        }
        let help = if wanted.help.is_empty() { String::new() } else { format!(" ({})", wanted.help) };
        let skip = if wanted.required { "" } else { ", empty to leave it out" };
        let label = display(&format!("{}{help}{skip}", wanted.name));
        let value = prompt::ask(&label, wanted.secret)?;
        if wanted.required || !value.is_empty() {
            fields.push((wanted.name.clone(), value));
        }
    }
    let request = ConnectionAdd { name, connector, fields, keep_ms: None };
    store(request, session, out).await
}

async fn rotate(name: String, given: &[String], keep: &str, session: &mut Session, out: &mut Output) -> Ended {
    let keep: aura_protocol::flow::Span = keep.parse().map_err(|why: String| WireError::new(Code::Invalid, why))?;
    let fields = given.iter().map(|pair| field(pair)).collect::<Result<Vec<_>, _>>()?;
    let rows = session.call(|rpc, context, call| async move { rpc.connection_list(context, call, ()).await }).await?;
    let Some(row) = rows.into_iter().find(|row| row.name == name) else {
        return Err(WireError::not_found(format!("there is no connection named {}", display(&name)))
            .hint("see `aura connection list`"));
    };
    if let Some((field, _)) = fields.iter().find(|(field, _)| !row.secrets.contains(field)) {
        return Err(WireError::new(Code::Invalid, format!("{name} has no secret `{}` to rotate", display(field)))
            .hint(format!("its secrets are: {}", row.secrets.join(", "))));
    }
    store(ConnectionAdd { name, connector: row.connector, fields, keep_ms: Some(keep.ms) }, session, out).await
}

async fn store(request: ConnectionAdd, session: &mut Session, out: &mut Output) -> Ended {
    let connection = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.connection_add(context, call, request).await }
        })
        .await?;
    if out.json {
        return out.value(&connection).map(|()| 0);
    }
    let secrets = if connection.secrets.is_empty() {
        String::new()
    } else {
        format!(", secrets set: {}", connection.secrets.join(", "))
    };
    out.line(&display(&format!("{} ({}) stored{secrets}", connection.name, connection.connector))).map(|()| 0)
}

/// What must be given is asked for or missed; a secret that may be left out is only asked for on a terminal.
fn is_asked(field: &Field, terminal: bool) -> bool {
    (field.required && field.default.is_none()) || (terminal && field.secret)
}

/// `name=value`, with the value from a file or standard input if it says so.
fn field(pair: &str) -> Result<(String, String), WireError> {
    let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        // What has no `=` may be a secret typed by mistake: it is not repeated.
        return Err(WireError::new(Code::Invalid, "a field is written as name=value, name=@file or name=-"));
    };
    let value = match value.strip_prefix('@') {
        Some(path) => trimmed(files::text(path)?),
        None if value == "-" => trimmed(files::text("-")?),
        None => value.to_owned(),
    };
    Ok((name.to_owned(), value))
}

/// Files end with a line break that is no part of the value.
fn trimmed(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

fn wanted(known: &[Connector], connector: &str) -> Result<Vec<Field>, WireError> {
    if connector == "secret" {
        let field = |name: &str, needed, help: &str| Field {
            name: name.to_owned(),
            required: needed,
            // What is needed by one vendor alone is not asked for.
            secret: needed,
            kind: "text".to_owned(),
            default: None,
            help: help.to_owned(),
            example: String::new(),
        };
        return Ok(vec![
            field("value", true, "the secret"),
            field("verify_token", false, "the word agreed with Meta for its handshake"),
        ]);
    }
    match known.iter().find(|known| known.id == connector) {
        Some(found) => Ok(found.fields.iter().cloned().chain(found.budget()).collect()),
        None => {
            let names: Vec<&str> = known.iter().map(|known| known.id.as_str()).collect();
            Err(WireError::not_found(format!("this aurad has no connector `{connector}`"))
                .hint(format!("it has: {}, and `secret` for a bare value", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_from_the_line_or_from_a_file_and_never_show_in_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "s3cret\r\n").unwrap();
        assert_eq!(field("domain=a=b").unwrap(), ("domain".into(), "a=b".into()));
        assert_eq!(field(&format!("token=@{}", path.display())).unwrap(), ("token".into(), "s3cret".into()));
        let ask = |required, secret| {
            let wanted = Field { required, secret, ..wanted(&[], "secret").unwrap().remove(0) };
            (is_asked(&wanted, true), is_asked(&wanted, false))
        };
        assert_eq!(
            [ask(true, false), ask(false, true), ask(false, false)],
            [(true, true), (true, false), (false, false)]
        );
        let error = field("s3cret").unwrap_err();
        assert!(!error.message.contains("s3cret"), "{error}");
    }
}
