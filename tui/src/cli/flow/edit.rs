//! `aura flow edit`: the draft in a person's editor, checked until it is right, then stored.
//!
//! Invariant: a text that was typed is never lost: until the daemon has stored it, it lies in a file of its
//! owner (0600), and every way out says where.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use aura_protocol::flow::{Finding, Severity};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};

use super::super::output::{Output, note};
use super::super::{Ended, files};
use super::check;
use crate::client::Session;

/// What `aura flow edit` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the flow
    name: String,
    /// Publish it at once
    #[arg(long)]
    publish: bool,
}

/// Findings that are put on top of the text when it is edited again.
const TOLD_MAX: usize = 20;
/// How such a line begins; they are taken out when the text is read.
const TOLD: &str = "#! ";

/// Edits, checks, stores.
///
/// # Errors
/// What the daemon or the way to it says, `FlowRefused` for a text that was left with errors; the text is kept.
pub async fn edit(args: &Args, session: &mut Session, out: &mut Output) -> Ended {
    let name = &args.name;
    let base = show(name, session).await?;
    let file = Kept::new(&place()?, name)?;
    let mut text = match file.left_over()? {
        Some(left) if left != base && ask_left(&file)? => left,
        _ => base.clone(),
    };
    let mut told: Vec<Finding> = Vec::new();
    loop {
        file.write(&with_told(&text, &told))?;
        run_editor(&file.path)?;
        text = without_told(&files::text(&file.path.display().to_string())?);
        file.write(&text)?;
        if text == base {
            file.done();
            note("nothing was changed");
            return if args.publish { stored(None, args, session, out).await } else { Ok(0) };
        }
        let found = findings(name, &text, session).await.map_err(|error| file.keep(error))?;
        for finding in &found {
            check::print(finding, name, &text, out)?;
        }
        if found.iter().any(|finding| finding.severity == Severity::Error) {
            let sentence = format!("the text of {name} has errors and was not stored");
            match choose("edit again, keep the text and leave, or discard it? [e/k/d] ", "ekd")? {
                'e' => {
                    told = found;
                    continue;
                }
                'd' => {
                    file.done();
                    return Err(WireError::new(Code::FlowRefused, sentence).hint("it was discarded"));
                }
                _ => return Err(file.keep(WireError::new(Code::FlowRefused, sentence))),
            }
        }
        let now = show(name, session).await.map_err(|error| file.keep(error))?;
        if now != base {
            let sentence = format!("somebody else changed {name} while you edited it");
            if choose(
                "somebody else changed this flow meanwhile: overwrite it, or keep your text and leave? [o/k] ",
                "ok",
            )? != 'o'
            {
                return Err(file.keep(WireError::new(Code::Conflict, sentence)));
            }
        }
        return match stored(Some(&text), args, session, out).await {
            Ok(code) => {
                file.done();
                Ok(code)
            }
            Err(error) => Err(file.keep(error)),
        };
    }
}

async fn show(name: &str, session: &mut Session) -> Result<String, WireError> {
    let detail =
        session.call(|rpc, context, call| async move { rpc.flow_show(context, call, name.to_owned()).await }).await?;
    Ok(detail.draft.or(detail.published).unwrap_or_default())
}

async fn stored(text: Option<&str>, args: &Args, session: &mut Session, out: &mut Output) -> Ended {
    if let Some(text) = text {
        let row = super::apply(text, &args.name, session, out).await?;
        if !args.publish {
            return super::said(&row, "stored as draft", out).map(|()| 0);
        }
    }
    let row = super::publish(args.name.clone(), session, out.json).await?;
    super::said(&row, "published", out).map(|()| 0)
}

async fn findings(name: &str, text: &str, session: &mut Session) -> Result<Vec<Finding>, WireError> {
    let mut found = check::alone(text);
    found.retain(|finding| finding.severity != Severity::Note);
    let answer =
        session.call(|rpc, context, call| async move { rpc.flow_check(context, call, text.to_owned()).await }).await;
    match answer {
        Ok(more) => found.extend(more),
        Err(error) if error.code == Code::FlowRefused => found.extend(error.findings),
        Err(error) => return Err(error),
    }
    if let Ok(document) = aura_protocol::flow::read(text)
        && document.flow.flow != name
    {
        found.push(Finding {
            severity: Severity::Error,
            line: 0,
            column: 0,
            path: "flow".to_owned(),
            message: format!("this text is of the flow `{}`, not of `{name}`", document.flow.flow),
            hint: Some("store another flow with `aura flow apply`".to_owned()),
        });
    }
    Ok(check::in_order(found))
}

/// What was found, as comments on top of the text.
fn with_told(text: &str, told: &[Finding]) -> String {
    let mut out = String::new();
    let shift = told.len().min(TOLD_MAX);
    for finding in told.iter().take(TOLD_MAX) {
        let line = usize::try_from(finding.line).unwrap_or(0);
        let place = if line == 0 { String::new() } else { format!("line {}: ", line + shift) };
        out.push_str(&format!("{TOLD}{place}{}\n", display(&finding.message)));
    }
    out.push_str(text);
    out
}

fn without_told(text: &str) -> String {
    let mut rest = text;
    while rest.starts_with(TOLD) {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest.to_owned()
}

pub(in crate::cli) fn run_editor(path: &Path) -> Result<(), WireError> {
    let set = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // As git does: the variable may hold arguments, so a shell reads it; the path stays one word.
    let status =
        std::process::Command::new("/bin/sh").arg("-c").arg(format!("{editor} \"$@\"")).arg("sh").arg(path).status();
    let failed = |what: String| {
        WireError::new(
            Code::Invalid,
            format!("the editor `{}` {what}; your text is in {}", display(&editor), path.display()),
        )
        .hint("set VISUAL or EDITOR to a program that waits until the text is closed")
    };
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("ended with {status}"))),
        Err(error) => Err(failed(format!("did not start: {error}"))),
    }
}

/// One of the letters; the one that keeps the text where nobody can be asked.
fn choose(question: &str, letters: &str) -> Result<char, WireError> {
    if !std::io::stdin().is_terminal() {
        return Ok('k');
    }
    loop {
        let mut err = std::io::stderr();
        let asked = write!(err, "{question}").and_then(|()| err.flush());
        asked.map_err(|error| WireError::internal(format!("the terminal cannot be asked: {error}")))?;
        let mut line = String::new();
        let count = std::io::stdin().read_line(&mut line).unwrap_or(0);
        match line.trim().to_lowercase().chars().next() {
            Some(letter) if letters.contains(letter) => return Ok(letter),
            _ if count == 0 => return Ok('k'),
            _ => {}
        }
    }
}

fn ask_left(file: &Kept) -> Result<bool, WireError> {
    let question =
        format!("{} holds the text of an earlier edit: go on with it, or begin anew? [g/b] ", file.path.display());
    // Where nobody can be asked, nothing is thrown away.
    Ok(matches!(choose(&display(&question), "gb")?, 'g' | 'k'))
}

/// Where texts lie while they are edited.
fn place() -> Result<PathBuf, WireError> {
    use std::os::unix::fs::DirBuilderExt;
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    let dir = base.unwrap_or_else(std::env::temp_dir).join("aura/edit");
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.map_err(|error| WireError::new(Code::Invalid, format!("{} cannot be made: {error}", dir.display())))?;
    Ok(dir)
}

/// The file of a text; it goes when the daemon has the text.
struct Kept {
    path: PathBuf,
}

impl Kept {
    fn new(dir: &Path, name: &str) -> Result<Self, WireError> {
        if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
            return Err(WireError::not_found(format!("there is no flow named {}", display(name))));
        }
        Ok(Self { path: dir.join(format!("{name}.yaml")) })
    }

    fn left_over(&self) -> Result<Option<String>, WireError> {
        if !self.path.exists() {
            return Ok(None);
        }
        Ok(Some(without_told(&files::text(&self.path.display().to_string())?)).filter(|text| !text.trim().is_empty()))
    }

    fn write(&self, text: &str) -> Result<(), WireError> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| WireError::new(Code::Invalid, format!("{} was not written: {error}", self.path.display())))
    }

    fn done(&self) {
        // A file that is already gone is as good.
        let _ = std::fs::remove_file(&self.path);
    }

    fn keep(&self, error: WireError) -> WireError {
        let kept = format!("your text is kept in {}", self.path.display());
        let hint = error.hint.clone().map_or(kept.clone(), |hint| format!("{kept}; {hint}"));
        error.hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_stands_on_top_and_never_becomes_part_of_the_text() {
        let text = "aura: 1\nflow: a\n";
        let finding = |line, message: &str| Finding {
            severity: Severity::Error,
            line,
            column: 1,
            path: String::new(),
            message: message.to_owned(),
            hint: None,
        };
        let shown = with_told(text, &[finding(2, "bad\u{1b}name"), finding(0, "none")]);
        assert_eq!(shown, format!("#! line 4: bad␛name\n#! none\n{text}"));
        assert_eq!(without_told(&shown), text);
        assert_eq!(without_told(text), text);
    }

    #[test]
    fn a_kept_text_is_private_and_found_again() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let file = Kept::new(dir.path(), "shop").unwrap();
        assert_eq!(file.left_over().unwrap(), None);
        file.write("#! line 1: x\naura: 1\n").unwrap();
        assert_eq!(std::fs::metadata(&file.path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(file.left_over().unwrap().as_deref(), Some("aura: 1\n"));
        let error = file.keep(WireError::new(Code::Busy, "later"));
        assert!(error.hint.unwrap().contains("shop.yaml"));
        file.done();
        assert!(!file.path.exists());
        for name in ["../x", "", ".x", "a/b"] {
            assert!(Kept::new(dir.path(), name).is_err(), "{name}");
        }
    }
}
