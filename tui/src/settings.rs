//! The client's own settings: contexts (named daemons), theme, keys; one TOML file, environment and flags on top.
//!
//! Unknown keys are refused with their line. What decided a setting is kept, so `aura config show` can say it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use serde::Deserialize;

use crate::client::socket_path;
use crate::keymap::Keys;
use crate::target::Target;
use crate::theme::Theme;

/// Largest settings file.
const FILE_MAX: u64 = 256 * 1024;

/// The settings file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The context used when none is named.
    pub default: Option<String>,
    /// `16`, `mono` or `high-contrast`.
    pub theme: Option<String>,
    /// Pure ASCII on screen.
    pub ascii: Option<bool>,
    /// Daemons by name.
    pub contexts: BTreeMap<String, Context>,
    /// Keys by screen and command.
    pub keys: BTreeMap<String, BTreeMap<String, String>>,
}

/// A daemon by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Context {
    /// `ssh://[user@]host[:port][/socket]`.
    pub host: Option<String>,
    /// A socket of this machine.
    pub socket: Option<PathBuf>,
    /// The `aura` of the other machine (default: `aura` in its path).
    pub program: Option<String>,
    /// Shown in red on the screens.
    pub production: bool,
}

/// What was read, and where from.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file; it may not be there.
    pub path: PathBuf,
    /// It is there.
    pub found: bool,
}

/// What flags and the environment say about the daemon to talk to.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `--host`.
    pub host: Option<String>,
    /// `--socket`.
    pub socket: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
}

/// The daemon to talk to, and what decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Where it is.
    pub target: Target,
    /// The context's name, if one was used.
    pub context: Option<String>,
    /// It is marked as production.
    pub production: bool,
    /// `flag --host`, `environment AURA_SOCKET`, `file …` or `default`.
    pub source: String,
}

/// Where the file is: `$AURA_CLIENT_CONFIG`, else `aura/config.toml` under the user's settings.
#[must_use]
pub fn path(get: impl Fn(&str) -> Option<String>) -> PathBuf {
    let set = |name: &str| get(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    if let Some(path) = set("AURA_CLIENT_CONFIG") {
        return path;
    }
    let base = set("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute());
    base.unwrap_or_else(|| set("HOME").unwrap_or_else(|| PathBuf::from("/")).join(".config")).join("aura/config.toml")
}

/// Reads the file; one that is not there is empty.
///
/// # Errors
/// `Invalid` with file and line.
pub fn load(path: &Path) -> Result<Loaded, WireError> {
    let refuse = |what: String| WireError::new(Code::Invalid, format!("the settings file {} {what}", path.display()));
    let text = match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Loaded { path: path.to_owned(), ..Loaded::default() });
        }
        Ok(meta) if meta.len() > FILE_MAX => return Err(refuse(format!("is larger than {FILE_MAX} bytes"))),
        _ => std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot be read: {error}")))?,
    };
    Ok(Loaded { settings: read(path, &text)?, path: path.to_owned(), found: true })
}

/// Reads the text of a settings file and checks what a type cannot say.
///
/// # Errors
/// `Invalid` with file and line.
pub fn read(path: &Path, text: &str) -> Result<Settings, WireError> {
    let settings: Settings = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        let message = error.message().lines().next().unwrap_or("not valid TOML").to_owned();
        WireError::new(Code::Invalid, display(&format!("{}, line {line}: {message}", path.display())))
            .hint("see `aura config show` for what can be set")
    })?;
    let refuse = |what: String| WireError::new(Code::Invalid, display(&format!("{}: {what}", path.display())));
    for (name, context) in &settings.contexts {
        match (&context.host, &context.socket) {
            (Some(host), None) => drop(Target::ssh(host, context.program.as_deref(), None)?),
            (None, Some(_)) if context.program.is_none() => {}
            (None, Some(_)) => return Err(refuse(format!("the context {name} has a `program` but no `host`"))),
            _ => return Err(refuse(format!("the context {name} needs either `host` or `socket`"))),
        }
    }
    if let Some(name) = settings.default.as_ref().filter(|name| !settings.contexts.contains_key(*name)) {
        return Err(refuse(format!("`default` names the context {name}, which is not there")));
    }
    if let Some(theme) = settings.theme.as_ref().filter(|name| Theme::named(name).is_none()) {
        return Err(refuse(format!("the theme {theme} is not known: say 16, mono or high-contrast")));
    }
    Keys::with(&settings.keys).map_err(refuse)?;
    Ok(settings)
}

impl Loaded {
    /// The daemon to talk to: flags first, then the environment, then the file, then what is usual.
    ///
    /// # Errors
    /// `NotFound` for a context that is not there, `Invalid` for an address that is none.
    pub fn choose(
        &self,
        wanted: &Wanted,
        get: impl Fn(&str) -> Option<String>,
        exists: impl Fn(&Path) -> bool,
    ) -> Result<Chosen, WireError> {
        let set = |name: &str| get(name).filter(|text| !text.is_empty());
        let (remote, program) = (set("AURA_REMOTE"), set("AURA_SSH"));
        let plain = |target: Target, source: &str| Chosen {
            target,
            context: None,
            production: false,
            source: source.to_owned(),
        };
        if let Some(host) = &wanted.host {
            return Ok(plain(Target::ssh(host, remote.as_deref(), program.as_deref())?, "flag --host"));
        }
        if let Some(path) = &wanted.socket {
            return Ok(plain(Target::Socket(path.clone()), "flag --socket"));
        }
        let named = match (&wanted.context, set("AURA_SOCKET"), set("AURA_CONTEXT"), &self.settings.default) {
            (Some(name), ..) => Some((name.clone(), "flag --context".to_owned())),
            (None, Some(path), ..) => return Ok(plain(Target::Socket(path.into()), "environment AURA_SOCKET")),
            (None, None, Some(name), _) => Some((name, "environment AURA_CONTEXT".to_owned())),
            (None, None, None, Some(name)) => Some((name.clone(), format!("file {}", self.path.display()))),
            _ => None,
        };
        let Some((name, source)) = named else {
            let path = socket_path(None, set("XDG_RUNTIME_DIR").map(Into::into), exists);
            return Ok(plain(Target::Socket(path), "default"));
        };
        let Some(context) = self.settings.contexts.get(&name) else {
            let known: Vec<&str> = self.settings.contexts.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(WireError::not_found(format!("there is no context named {}", display(&name)))
                .hint(display(&format!("{} has: {known}", self.path.display()))));
        };
        let target = match (&context.host, &context.socket) {
            (Some(host), _) => Target::ssh(host, context.program.as_deref().or(remote.as_deref()), program.as_deref())?,
            (None, Some(path)) => Target::Socket(path.clone()),
            (None, None) => return Err(WireError::new(Code::Invalid, "the context names no daemon")),
        };
        Ok(Chosen { target, context: Some(name), production: context.production, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
default = "shop"
theme = "high-contrast"
[contexts.shop]
host = "ssh://ops@shop-01"
program = "/opt/aura/bin/aura"
production = true
[contexts.here]
socket = "/tmp/a.sock"
[keys.runs]
cancel = "x"
"#;

    fn loaded() -> Loaded {
        Loaded { settings: read(Path::new("c.toml"), FILE).unwrap(), path: "c.toml".into(), found: true }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let check = |text: &str, part: &str| {
            let error = read(Path::new("c.toml"), text).unwrap_err();
            assert!(error.message.contains(part) && error.message.starts_with("c.toml"), "{error}");
        };
        check("thme = '16'", "line 1: unknown field `thme`");
        check("\n[contexts.a]\nhots = 'x'", "line 3");
        check("[contexts.a]", "needs either `host` or `socket`");
        check("[contexts.a]\nsocket = '/a'\nprogram = 'x'", "`program` but no `host`");
        check("default = 'a'", "the context a, which is not there");
        check("theme = 'solarized'", "solarized");
        check("[keys.runs]\nfly = 'x'", "fly");
        check("[keys.moon]\ncancel = 'x'", "moon");
        assert!(read(Path::new("c.toml"), "[contexts.a]\nhost = 'shop'").is_err());
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let check = |wanted: Wanted, pairs: &[(&str, &str)], expected: &str, source: &str| {
            let get = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            let chosen = loaded().choose(&wanted, get, |_| false).unwrap();
            assert_eq!((chosen.target.to_string().as_str(), chosen.source.as_str()), (expected, source));
        };
        let none = Wanted::default;
        check(none(), &[], "ssh://ops@shop-01", "file c.toml");
        check(none(), &[("AURA_CONTEXT", "here")], "/tmp/a.sock", "environment AURA_CONTEXT");
        check(none(), &[("AURA_CONTEXT", "here"), ("AURA_SOCKET", "/b")], "/b", "environment AURA_SOCKET");
        let context = Some("shop".to_owned());
        check(Wanted { context, ..none() }, &[("AURA_SOCKET", "/b")], "ssh://ops@shop-01", "flag --context");
        check(Wanted { socket: Some("/c".into()), ..none() }, &[("AURA_SOCKET", "/b")], "/c", "flag --socket");
        let host = Some("ssh://x".to_owned());
        check(Wanted { host, ..none() }, &[("AURA_SOCKET", "/b")], "ssh://x", "flag --host");
        let empty = Loaded::default().choose(&none(), |_| None, |_| false).unwrap();
        assert_eq!((empty.target.to_string().as_str(), empty.source.as_str()), ("/run/aura/aurad.sock", "default"));
        let error =
            loaded().choose(&Wanted { context: Some("moon".into()), ..none() }, |_| None, |_| false).unwrap_err();
        assert!(error.code == Code::NotFound && error.hint.unwrap().contains("here, shop"));
        let Target::Ssh(ssh) = loaded().choose(&none(), |_| None, |_| false).unwrap().target else { panic!() };
        assert_eq!(ssh.remote, "/opt/aura/bin/aura");
    }
}
