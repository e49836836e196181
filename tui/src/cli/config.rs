//! `aura config …`: the settings in effect, of this client and of its daemon, each with what decided it.

use aura_protocol::rpc::SettingRow;
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use clap::Subcommand;
use serde::Serialize;

use super::Ended;
use super::output::{Output, note};
use crate::client::Session;
use crate::settings::{Chosen, Loaded};

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// All settings of client and daemon with their sources; secrets as dots
    #[command(after_help = "Example: aura config show --json | jq 'select(.source != \"default\")'")]
    Show,
    /// Check the client's settings file and the daemon's settings
    #[command(after_help = "Example: aura config check   # exit code 2 if the file is wrong")]
    Check,
}

#[derive(Serialize)]
struct Of<'a> {
    of: &'static str,
    #[serde(flatten)]
    row: &'a SettingRow,
}

/// Answers a config command. `read` is the client's file, `chosen` what follows from it.
///
/// # Errors
/// A wrong file; a daemon that is away is only noted.
pub async fn config(
    command: &Command,
    read: Result<Loaded, WireError>,
    chosen: Result<Chosen, WireError>,
    out: &mut Output,
) -> Ended {
    let (loaded, chosen) = match command {
        Command::Show => (read?, chosen?),
        Command::Check => {
            let loaded = read?;
            let state = if loaded.found { "is valid" } else { "is not there: everything has its default" };
            if !out.json {
                out.line(&display(&format!("{} {state}", loaded.path.display())))?;
            }
            (loaded, chosen?)
        }
    };
    let mut session = Session::new(chosen.target.clone());
    let answer = session.call(|rpc, context, call| async move { rpc.config_show(context, call, ()).await }).await;
    let checking = matches!(command, Command::Check);
    if !checking {
        rows("aura", &client_rows(&loaded, &chosen), out)?;
    }
    match answer {
        Ok(settings) => {
            if !checking {
                rows("aurad", &settings.rows, out)?;
            } else if !out.json {
                out.line(&display(&format!("aurad at {} runs with valid settings", chosen.target)))?;
            }
            for warning in &settings.warnings {
                note(&format!("warning: aurad: {warning}"));
            }
            if checking && out.json {
                out.value(
                    &serde_json::json!({ "file": loaded.path, "found": loaded.found, "warnings": settings.warnings }),
                )?;
            }
            Ok(0)
        }
        Err(error) if error.code == Code::Unreachable => {
            note(&format!("note: aurad was not asked: {}", error.message));
            if checking && out.json {
                out.value(&serde_json::json!({ "file": loaded.path, "found": loaded.found, "warnings": [] }))?;
            }
            Ok(0)
        }
        Err(error) => Err(error),
    }
}

fn rows(of: &'static str, rows: &[SettingRow], out: &mut Output) -> Result<(), WireError> {
    if out.json {
        return rows.iter().try_for_each(|row| out.value(&Of { of, row }));
    }
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| vec![of.to_owned(), row.name.clone(), row.value.clone(), row.source.clone()]).collect();
    out.table(&["OF", "SETTING", "VALUE", "SOURCE"], &cells)
}

/// The client's settings as rows.
#[must_use]
pub fn client_rows(loaded: &Loaded, chosen: &Chosen) -> Vec<SettingRow> {
    let file = format!("file {}", loaded.path.display());
    let row = |name: &str, value: String, source: &str| SettingRow {
        name: name.to_owned(),
        value,
        source: source.to_owned(),
    };
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let settings = &loaded.settings;
    let mut out = vec![
        row("daemon", text(&chosen.target.to_string()), &chosen.source),
        row("context", chosen.context.as_deref().map_or("none".to_owned(), text), &chosen.source),
    ];
    let theme = settings.theme.as_deref();
    out.push(match ["AURA_COLOR", "NO_COLOR"].into_iter().find(|name| set(name)) {
        Some(name) => row("theme", text(&std::env::var(name).unwrap_or_default()), &format!("environment {name}")),
        None => row("theme", text(theme.unwrap_or("16")), theme.map_or("default", |_| &file)),
    });
    out.push(match (set("AURA_ASCII"), settings.ascii) {
        (_, Some(true)) => row("ascii", "true".to_owned(), &file),
        (true, _) => row("ascii", "true".to_owned(), "environment AURA_ASCII"),
        _ => row("ascii", "by the locale".to_owned(), "default"),
    });
    for (name, context) in &settings.contexts {
        let place = match (&context.host, &context.socket) {
            (Some(host), _) => host.clone(),
            (None, Some(path)) => path.display().to_string(),
            _ => String::new(),
        };
        out.push(row(&format!("contexts.{name}"), text(&place), &file));
    }
    for (screen, commands) in &settings.keys {
        for (command, keys) in commands {
            out.push(row(&format!("keys.{screen}.{command}"), text(keys), &file));
        }
    }
    for (name, what) in [("AURA_SSH", "ssh"), ("AURA_REMOTE", "aura")] {
        let source = if set(name) { format!("environment {name}") } else { "default".to_owned() };
        out.push(row(
            &name.to_ascii_lowercase().replace("aura_", ""),
            text(&std::env::var(name).unwrap_or(what.to_owned())),
            &source,
        ));
    }
    out
}

fn set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}
