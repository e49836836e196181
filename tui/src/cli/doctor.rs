//! `aura doctor`: this terminal and the way to the daemon first, then the daemon's checks, worst first.
//!
//! Invariant: a failed check is never hidden behind many good ones; exit code 1 if one fails.

use std::io::IsTerminal;
use std::time::Duration;

use aura_protocol::Code;
use aura_protocol::rpc::{DoctorFinding, DoctorRequest, HelloReply};
use aura_protocol::text::display;
use aura_protocol::version::{BUILD, PROTOCOL};

use super::Ended;
use super::output::Output;
use crate::client::Session;
use crate::glyphs::Glyphs;
use crate::settings::{Chosen, Loaded};
use crate::target::Target;
use crate::theme::Theme;

/// A deep check reads everything stored.
const DEEP_MAX: Duration = Duration::from_secs(3600);

fn finding(level: &str, subject: &str, message: impl Into<String>, hint: Option<&str>) -> DoctorFinding {
    DoctorFinding {
        level: level.to_owned(),
        subject: subject.to_owned(),
        message: message.into(),
        hint: hint.map(str::to_owned),
    }
}

/// Prints the findings.
///
/// # Errors
/// What the daemon says; one that is away is a finding of its own and ends with the code of its error.
pub async fn doctor(loaded: &Loaded, chosen: &Chosen, session: &mut Session, out: &mut Output, deep: bool) -> Ended {
    let mut findings = here(loaded, chosen, |name| std::env::var(name).ok());
    let away = match session.client().await.map(|client| client.hello.clone()) {
        Ok(hello) => {
            findings.push(versions(&hello));
            let request = DoctorRequest { deep };
            let ask = session
                .call_for(DEEP_MAX, |rpc, context, call| async move { rpc.doctor(context, call, request).await });
            findings.extend(ask.await?);
            None
        }
        Err(error) => {
            findings.push(finding("fail", "daemon", error.message.clone(), error.hint.as_deref()));
            Some(error.code)
        }
    };
    let rank = |level: &str| match level {
        "fail" => 0,
        "warn" => 1,
        _ => 2,
    };
    findings.sort_by_key(|finding| rank(&finding.level));
    for finding in &findings {
        if out.json {
            out.value(finding)?;
            continue;
        }
        out.line(&format!(
            "{:<4}  {}: {}",
            display(&finding.level),
            display(&finding.subject),
            display(&finding.message)
        ))?;
        if let Some(hint) = &finding.hint {
            out.line(&format!("      hint: {}", display(hint)))?;
        }
    }
    match away {
        Some(Code::Unreachable) => Ok(Code::Unreachable.exit_code()),
        Some(code) => Ok(code.exit_code()),
        None => Ok(u8::from(findings.iter().any(|finding| finding.level == "fail"))),
    }
}

fn versions(hello: &HelloReply) -> DoctorFinding {
    let message = format!(
        "aura {BUILD} and aurad {} speak protocol {PROTOCOL}; you are {} ({:?})",
        hello.build, hello.account, hello.role
    );
    if hello.build == BUILD {
        return finding("ok", "versions", message, None);
    }
    finding("warn", "versions", message, Some("they work together, but install both from one release"))
}

/// What can be said about this side alone.
#[must_use]
pub fn here(loaded: &Loaded, chosen: &Chosen, get: impl Fn(&str) -> Option<String> + Copy) -> Vec<DoctorFinding> {
    let set = |name: &str| get(name).filter(|text| !text.is_empty());
    let mut out = Vec::new();
    let state = if loaded.found { "is valid" } else { "is not there, which is fine" };
    out.push(finding("ok", "settings", format!("{} {state}", loaded.path.display()), None));
    let glyphs = Glyphs::from_env(get);
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_else(|| "none".to_owned());
    out.push(if glyphs.ascii && set("AURA_ASCII").is_none() {
        finding(
            "warn",
            "locale",
            format!("the locale is {locale}: frames and signs are ASCII"),
            Some("set LANG to one with UTF-8, as in C.UTF-8"),
        )
    } else {
        finding("ok", "locale", format!("the locale is {locale}"), None)
    });
    let term = set("TERM").unwrap_or_else(|| "not set".to_owned());
    if std::io::stdout().is_terminal() {
        let (wide, high) = crossterm::terminal::size().unwrap_or((0, 0));
        let small = wide < 60 || high < 16;
        let colour = if Theme::from_env(get) == Theme::Mono { "no colour" } else { "16 colours" };
        let message = format!("{term}, {wide}x{high}, {colour}");
        let hint = small.then_some("below 60x16 the screens are a list only");
        out.push(finding(if small { "warn" } else { "ok" }, "terminal", message, hint));
    } else {
        out.push(finding("ok", "terminal", format!("standard output is none (TERM {term})"), None));
    }
    if set("TMUX").is_some() || set("STY").is_some() {
        out.push(finding(
            "ok",
            "clipboard",
            "a multiplexer is between: copying needs its own setting",
            Some("in tmux: set -g set-clipboard on"),
        ));
    }
    let way = match &chosen.context {
        Some(name) => format!("context {name}, by {}", chosen.source),
        None => format!("by {}", chosen.source),
    };
    match &chosen.target {
        Target::Socket(path) => out.push(match std::fs::symlink_metadata(path) {
            Ok(_) => finding("ok", "socket", format!("{} is there ({way})", path.display()), None),
            Err(_) => finding("warn", "socket", format!("{} is not there ({way})", path.display()), None),
        }),
        Target::Ssh(ssh) => {
            let program = ssh.program.first().cloned().unwrap_or_default();
            out.push(match in_path(&program, set("PATH").as_deref()) {
                true => finding("ok", "ssh", format!("{} over {program} ({way})", ssh.address()), None),
                false => {
                    finding("fail", "ssh", format!("{program} is not in the path"), Some("install OpenSSH's client"))
                }
            });
        }
    }
    out
}

fn in_path(program: &str, path: Option<&str>) -> bool {
    if program.contains('/') {
        return std::path::Path::new(program).is_file();
    }
    path.unwrap_or_default().split(':').any(|dir| std::path::Path::new(dir).join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_side_is_judged_by_its_environment() {
        let chosen = |text: &str| Chosen {
            target: Target::ssh(text, None, Some("/nonexistent/ssh")).unwrap(),
            context: Some("shop".to_owned()),
            production: false,
            source: "flag --context".to_owned(),
        };
        let look = |pairs: &[(&str, &str)]| {
            let get = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            here(&Loaded::default(), &chosen("ssh://shop"), get)
        };
        let level = |findings: &[DoctorFinding], subject: &str| {
            findings.iter().find(|finding| finding.subject == subject).map(|finding| finding.level.clone())
        };
        let bare = look(&[]);
        assert_eq!(level(&bare, "locale").as_deref(), Some("warn"));
        assert_eq!(level(&bare, "ssh").as_deref(), Some("fail"));
        assert_eq!(level(&look(&[("LANG", "C.UTF-8"), ("TMUX", "x")]), "locale").as_deref(), Some("ok"));
        assert!(in_path("sh", Some("/nowhere:/bin")) && !in_path("sh", Some("/nowhere")) && !in_path("sh", None));
    }
}
