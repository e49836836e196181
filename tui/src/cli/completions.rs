//! `aura completions`: what a shell needs to complete commands and options, from the same definitions.

use aura_protocol::WireError;
use clap::ValueEnum;

use super::Ended;
use super::output::Output;

/// A shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// Fish.
    Fish,
}

/// Prints the script.
///
/// # Errors
/// If standard output takes no more.
pub fn completions(shell: Shell, out: &mut Output) -> Ended {
    let text = script(shell)?;
    if out.json {
        return out.value(&serde_json::json!({ "script": text })).map(|()| 0);
    }
    out.line(text.trim_end()).map(|()| 0)
}

fn script(shell: Shell) -> Result<String, WireError> {
    let mut bytes = Vec::new();
    let mut command = super::definition();
    match shell {
        Shell::Bash => clap_complete::generate(clap_complete::Shell::Bash, &mut command, "aura", &mut bytes),
        Shell::Zsh => clap_complete::generate(clap_complete::Shell::Zsh, &mut command, "aura", &mut bytes),
        Shell::Fish => clap_complete::generate(clap_complete::Shell::Fish, &mut command, "aura", &mut bytes),
    }
    String::from_utf8(bytes).map_err(|error| WireError::internal(format!("the script is no text: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = script(shell).unwrap();
            for word in ["publish", "resolve", "bundle", "--json"] {
                let word = if shell == Shell::Fish { word.trim_start_matches('-') } else { word };
                assert!(text.contains(word), "{shell:?} does not know {word}");
            }
        }
    }
}
