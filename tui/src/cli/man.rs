//! `aura man`: manual pages from the same definitions as the help, one on standard output or all into a directory.

use std::path::Path;

use aura_protocol::text::display;
use aura_protocol::{Code, WireError};

use super::Ended;
use super::output::Output;

/// What `aura man` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The command, as in `flow edit`; without one the page of `aura`
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
    /// Write all pages into this directory (made if it is missing)
    #[arg(long, value_name = "DIR", conflicts_with = "words")]
    dir: Option<std::path::PathBuf>,
}

/// Prints or writes pages.
///
/// # Errors
/// No such command, or a file that cannot be written.
pub fn man(args: &Args, out: &mut Output) -> Ended {
    let mut whole = super::definition();
    whole.build();
    match &args.dir {
        Some(dir) => write(&whole, dir, out),
        None => {
            let mut command = &whole;
            for word in &args.words {
                command = command.find_subcommand(word).ok_or_else(|| {
                    WireError::not_found(format!("there is no command `aura {}`", display(&args.words.join(" "))))
                        .hint("see `aura --help`")
                })?;
            }
            let text = page(command)?;
            if out.json {
                return out.value(&serde_json::json!({ "page": text })).map(|()| 0);
            }
            out.line(text.trim_end()).map(|()| 0)
        }
    }
}

fn page(command: &clap::Command) -> Result<String, WireError> {
    let mut bytes = Vec::new();
    let failed = |error: &dyn std::fmt::Display| WireError::internal(format!("no page: {error}"));
    clap_mangen::Man::new(command.clone()).render(&mut bytes).map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}

/// All pages by file name.
fn pages(whole: &clap::Command) -> Result<Vec<(String, String)>, WireError> {
    let mut out = Vec::new();
    let mut open = vec![(whole, String::new())];
    while let Some((command, before)) = open.pop() {
        let name =
            if before.is_empty() { command.get_name().to_owned() } else { format!("{before}-{}", command.get_name()) };
        out.push((format!("{name}.1"), page(command)?));
        let below = command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set());
        open.extend(below.map(|below| (below, name.clone())));
    }
    out.sort();
    Ok(out)
}

fn write(whole: &clap::Command, dir: &Path, out: &mut Output) -> Ended {
    let failed = |path: &Path, error: std::io::Error| {
        WireError::new(Code::Invalid, format!("{} was not written: {error}", path.display()))
    };
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let pages = pages(whole)?;
    for (name, text) in &pages {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
        if out.json {
            out.value(&serde_json::json!({ "file": path }))?;
        }
    }
    if !out.json {
        out.line(&display(&format!(
            "{} pages in {}; try: man -l {}/aura.1",
            pages.len(),
            dir.display(),
            dir.display()
        )))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_example() {
        let mut whole = super::super::definition();
        whole.build();
        let all = pages(&whole).unwrap();
        let rows = super::super::table::rows();
        assert!(rows.len() > 30, "{}", rows.len());
        for row in rows {
            let name = format!("aura-{}.1", row.words.replace(' ', "-"));
            let (_, text) = all.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name}"));
            assert!(text.contains("xample") && text.contains(".TH"), "{name}: {text}");
        }
    }
}
