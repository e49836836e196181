//! `aura relay`: relays that a daemon takes deliveries from, and the token of a daemon that is one.
//!
//! Invariant: a token is never an argument, which every user of the machine could read: it is typed, or read from a
//! file or standard input.

use std::io::IsTerminal;

use aura_protocol::relay::{RelayAdd, RelayInfo, RelayPause, RelayServing, RelayState};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use clap::Subcommand;

use super::output::{Output, note};
use super::{Ended, files, prompt};
use crate::client::Session;
use crate::times;

/// What can be asked.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// At a relay: make its token, which home shows; the one before counts no more
    #[command(after_help = "Example: aura relay token          # on the relay's machine; shown once")]
    Token,
    /// At home: take deliveries from a relay, or change its address or token
    #[command(after_help = "Examples:
  aura relay add dmz https://relay.example.com                    # asks for the token
  ssh relay aura relay token | aura relay add dmz https://relay.example.com --token -
  aura relay add dmz https://relay2.example.com --keep-token      # it moved")]
    Add {
        /// A name for it here
        name: String,
        /// Its address, as home reaches it
        url: String,
        /// Where its token stands: @file or - (standard input); without it you are asked
        #[arg(long, value_name = "@FILE", conflicts_with = "keep_token")]
        token: Option<String>,
        /// It has the token that it had
        #[arg(long)]
        keep_token: bool,
        /// Allow http to another machine: whoever is on the way reads the token and the secrets of your endpoints
        #[arg(long)]
        insecure: bool,
    },
    /// Relays and how they fare; at a relay what waits there
    #[command(after_help = "Example: aura relay list --json")]
    List,
    /// One relay with everything but its token
    #[command(after_help = "Example: aura relay show dmz   # exit code 1 while it does not work")]
    Show {
        /// Its name
        name: String,
    },
    /// Take nothing from a relay for a while; what comes there waits there
    #[command(after_help = "Example: aura relay pause dmz")]
    Pause {
        /// Its name
        name: String,
    },
    /// Take deliveries from a paused relay again
    #[command(after_help = "Example: aura relay resume dmz")]
    Resume {
        /// Its name
        name: String,
    },
    /// Forget a relay; what waits there stays there
    #[command(after_help = "Example: aura relay remove dmz")]
    Remove {
        /// Its name
        name: String,
        /// Also if deliveries wait there that nobody would fetch then
        #[arg(long)]
        yes: bool,
    },
}

/// Answers a relay command.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn relay(command: Command, session: &mut Session, out: &mut Output) -> Ended {
    match command {
        Command::Token => token(session, out).await,
        Command::Add { name, url, token, keep_token, insecure } => {
            let token = if keep_token { String::new() } else { given(token.as_deref())? };
            let add = RelayAdd { name, url, token, insecure };
            let row = session
                .call(|rpc, context, call| {
                    let add = add.clone();
                    async move { rpc.relay_add(context, call, add).await }
                })
                .await?;
            if out.json {
                out.value(&row)?;
                return Ok(0);
            }
            out.line(&display(&format!("{} added; `aura relay show {0}` says how it fares", row.name)))?;
            row.warnings.iter().for_each(|warning| note(warning));
            Ok(0)
        }
        Command::List => list(&state(session).await?, out),
        Command::Show { name } => show(&one(&state(session).await?, &name)?, out),
        Command::Pause { name } => pause(name, true, session, out).await,
        Command::Resume { name } => pause(name, false, session, out).await,
        Command::Remove { name, yes } => remove(name, yes, session, out).await,
    }
}

/// The token that is typed, or stands where it is said.
fn given(from: Option<&str>) -> Result<String, WireError> {
    let text = match from {
        Some("-") => files::text("-")?,
        Some(file) => match file.strip_prefix('@') {
            Some(path) => files::text(path)?,
            None => {
                return Err(WireError::new(
                    Code::Invalid,
                    "a token is no argument: every user of this machine could read it",
                )
                .hint("write --token @FILE, or --token - for standard input"));
            }
        },
        None if std::io::stdin().is_terminal() => prompt::ask("Token of the relay", true)?,
        None => files::text("-")?,
    };
    let token = text.trim().to_owned();
    if token.is_empty() {
        return Err(
            WireError::new(Code::Invalid, "no token was given").hint("`aura relay token` at the relay makes one")
        );
    }
    Ok(token)
}

/// Where providers reach the relays of a daemon; none of one that knows no relays.
pub(super) async fn addresses(session: &mut Session) -> Vec<String> {
    let relays = state(session).await.map(|state| state.relays).unwrap_or_default();
    relays.into_iter().map(|relay| relay.public_url).collect()
}

async fn state(session: &mut Session) -> Result<RelayState, WireError> {
    session.call(|rpc, context, call| async move { rpc.relay_list(context, call, ()).await }).await
}

fn one(state: &RelayState, name: &str) -> Result<RelayInfo, WireError> {
    let found = state.relays.iter().find(|relay| relay.name == name).cloned();
    found.ok_or_else(|| {
        WireError::not_found(format!("there is no relay named {}", display(name)))
            .hint("`aura relay list` shows all of them")
    })
}

async fn token(session: &mut Session, out: &mut Output) -> Ended {
    let made = session.call(|rpc, context, call| async move { rpc.relay_token(context, call, ()).await }).await?;
    if out.json {
        out.value(&made)?;
        return Ok(0);
    }
    if made.replaced {
        note("the token before counts no more: give home this one, or it hears nothing");
    }
    note("shown only now; at home: aura relay add NAME https://… (asks for it)");
    out.line(&made.token)?;
    Ok(0)
}

async fn pause(name: String, paused: bool, session: &mut Session, out: &mut Output) -> Ended {
    let request = RelayPause { name, paused };
    let row = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.relay_pause(context, call, request).await }
        })
        .await?;
    said(&row, if paused { "paused" } else { "resumed" }, out)
}

async fn remove(name: String, yes: bool, session: &mut Session, out: &mut Output) -> Ended {
    let found = one(&state(session).await?, &name)?;
    if found.waiting > 0 && !yes {
        let message =
            format!("{} deliveries wait at {}, and nobody would fetch them then", found.waiting, display(&name));
        return Err(WireError::new(Code::Conflict, message).hint("wait until they are here, or add --yes"));
    }
    let row = session
        .call(|rpc, context, call| {
            let name = name.clone();
            async move { rpc.relay_remove(context, call, name).await }
        })
        .await?;
    said(&row, "removed", out)
}

fn said(row: &RelayInfo, what: &str, out: &mut Output) -> Ended {
    if out.json {
        out.value(row)?;
    } else {
        out.line(&display(&format!("{} {what}", row.name)))?;
    }
    Ok(0)
}

/// How a relay fares, in a word or two.
fn word(row: &RelayInfo) -> &'static str {
    match row {
        _ if row.paused => "paused",
        _ if row.connected && !row.error.is_empty() => "stuck",
        _ if row.connected && !row.current => "old routes",
        _ if row.connected => "connected",
        _ if row.away_since_ms.is_some() => "away",
        _ => "connecting",
    }
}

fn list(state: &RelayState, out: &mut Output) -> Ended {
    if out.json {
        out.value(state)?;
        return Ok(0);
    }
    if let Some(here) = &state.serving {
        return serving(here, out);
    }
    if state.relays.is_empty() {
        out.line("no relay; `aura help relay` says how one is added")?;
        return Ok(0);
    }
    let zone = out.zone.clone();
    let moment = |at: Option<i64>| at.map_or_else(String::new, |at| times::day(at, &zone));
    let rows: Vec<Vec<String>> = state
        .relays
        .iter()
        .map(|row| {
            vec![
                row.name.clone(),
                word(row).to_owned(),
                row.waiting.to_string(),
                moment(row.oldest_ms),
                row.taken.to_string(),
                row.url.clone(),
                row.error.clone(),
            ]
        })
        .collect();
    out.table(&["RELAY", "STATE", "WAITING", "OLDEST", "TAKEN", "ADDRESS", "ERROR"], &rows)?;
    Ok(0)
}

fn serving(here: &RelayServing, out: &mut Output) -> Ended {
    let zone = out.zone.clone();
    let moment =
        |at: Option<i64>, otherwise: &str| at.map_or_else(|| otherwise.to_owned(), |at| times::full(at, &zone));
    let token = moment(here.token_ms, "none: home cannot connect; run `aura relay token`");
    let lines = [
        "this daemon is a relay".to_owned(),
        format!("token      {token}"),
        format!("routes     of {} flows, {}", here.flows, moment(here.routes_ms, "never sent")),
        format!("home       asked {}", moment(here.asked_ms, "not since the start")),
        format!(
            "waiting    {} of {} deliveries, {} of {}",
            here.waiting,
            here.waiting_max,
            times::bytes(here.bytes),
            times::bytes(here.bytes_max)
        ),
        format!("oldest     {}", moment(here.oldest_ms, "-")),
        format!("forwarded  {} since the start", here.forwarded),
    ];
    lines.iter().try_for_each(|line| out.line(&display(line)))?;
    Ok(0)
}

fn show(row: &RelayInfo, out: &mut Output) -> Ended {
    let works = row.connected && row.error.is_empty();
    if out.json {
        out.value(row)?;
        return Ok(u8::from(!works && !row.paused));
    }
    let zone = out.zone.clone();
    let moment = |at: i64| times::full(at, &zone);
    let mut lines = vec![
        format!("{}  {}", row.name, word(row)),
        format!("address    {}", row.url),
        format!("providers  {}/hooks/…  as in `aura webhook show`", row.public_url.trim_end_matches('/')),
        format!("routes     {}", if row.current { "those of now" } else { "not yet those of now" }),
    ];
    let oldest = row.oldest_ms.map(|at| format!(", the oldest came {}", moment(at))).unwrap_or_default();
    lines.push(format!("waiting    {} there{oldest}", row.waiting));
    lines.push(format!(
        "taken      {} since the start; {} came a second time, {} were refused here",
        row.taken, row.repeated, row.refused
    ));
    if let Some(at) = row.heard_ms {
        lines.push(format!("heard      {}", moment(at)));
    }
    if let Some(at) = row.away_since_ms {
        lines.push(format!("away       since {}", moment(at)));
    }
    if !row.error.is_empty() {
        lines.push(format!("error      {}", row.error));
    }
    lines.extend(row.warnings.iter().map(|warning| format!("note       {warning}")));
    lines.iter().try_for_each(|line| out.line(&display(line)))?;
    Ok(u8::from(!works && !row.paused))
}

#[cfg(test)]
mod tests {
    use aura_protocol::RelayId;

    use super::*;

    #[test]
    fn a_relay_is_told_in_one_word() {
        let row = RelayInfo {
            id: RelayId::now(),
            name: "dmz".to_owned(),
            url: String::new(),
            public_url: String::new(),
            paused: false,
            connected: true,
            current: true,
            waiting: 0,
            oldest_ms: None,
            heard_ms: None,
            away_since_ms: None,
            taken: 0,
            repeated: 0,
            refused: 0,
            error: String::new(),
            warnings: Vec::new(),
        };
        let stuck = RelayInfo { error: "full".to_owned(), ..row.clone() };
        let away = RelayInfo { connected: false, away_since_ms: Some(1), ..row.clone() };
        for (row, expected) in [
            (row.clone(), "connected"),
            (RelayInfo { current: false, ..row.clone() }, "old routes"),
            (stuck, "stuck"),
            (RelayInfo { paused: true, ..away.clone() }, "paused"),
            (away, "away"),
            (RelayInfo { connected: false, ..row }, "connecting"),
        ] {
            assert_eq!(word(&row), expected);
        }
        assert!(given(Some("relay_abc")).is_err(), "never as an argument");
    }
}
