//! The settings in effect as people see them: each with its source, secrets as dots.
//!
//! Sources are found again from the same three places that [`crate::config::load`] reads, last one wins; a
//! value that is a secret by its name or holds a password in an address never leaves in clear.

use std::path::PathBuf;

use aura_protocol::rpc::{SettingRow, Settings};

use crate::args::Args;
use crate::config::{self, Options};

/// What stands for a secret.
const DOTS: &str = "\"••••••\"";

/// The settings with their sources; without `args` they are those that a demo was built with.
#[must_use]
pub fn shown(options: &Options, args: Option<&Args>) -> Settings {
    let table = toml::Table::try_from(options).unwrap_or_default();
    let file = args.and_then(file_keys);
    let rows = Options::NAMES.iter().filter_map(|&name| {
        let value = table.get(name)?;
        let source = match args {
            None => "demo".to_owned(),
            Some(args) => source(name, args, file.as_ref()),
        };
        Some(SettingRow { name: name.to_owned(), value: masked(name, value), source })
    });
    Settings { rows: rows.collect(), warnings: config::warnings(options) }
}

fn file_keys(args: &Args) -> Option<(PathBuf, toml::Table)> {
    let (path, text) = config::file_of(args.config.as_deref())?;
    let table = text.ok()?.parse().ok()?;
    Some((path, table))
}

fn source(name: &str, args: &Args, file: Option<&(PathBuf, toml::Table)>) -> String {
    let flag = match name {
        "data_dir" => args.data_dir.is_some(),
        "socket" => args.socket.is_some(),
        "listen" => args.listen.is_some(),
        "master_key" => args.master_key.is_some(),
        "log" => args.log.is_some(),
        _ => false,
    };
    let variable = format!("AURA_{}", name.to_ascii_uppercase());
    if flag {
        format!("flag --{}", name.replace('_', "-"))
    } else if std::env::var_os(&variable).is_some() {
        format!("environment {variable}")
    } else if let Some((path, _)) = file.filter(|(_, table)| table.contains_key(name)) {
        format!("file {}", path.display())
    } else {
        "default".to_owned()
    }
}

fn masked(name: &str, value: &toml::Value) -> String {
    let secret = ["secret", "token", "password", "passphrase"].iter().any(|word| name.contains(word));
    match value {
        toml::Value::String(text) if secret && !text.is_empty() => DOTS.to_owned(),
        toml::Value::String(text) => match url::Url::parse(text) {
            Ok(mut url) if url.password().is_some() => {
                // An address that has a password can carry one.
                let _ = url.set_password(Some("••••••"));
                toml::Value::String(url.to_string()).to_string()
            }
            _ => value.to_string(),
        },
        _ if secret => DOTS.to_owned(),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn every_setting_is_shown_with_the_place_that_decided_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("aurad.toml");
        std::fs::write(&file, "cache_mib = 48\nlisten = \"127.0.0.1:1\"\n").unwrap();
        let path = file.display().to_string();
        let args = Args::parse_from(["aurad", "--config", &path, "--listen", "127.0.0.1:0"]);
        let settings = shown(&config::load(&args).unwrap(), Some(&args));
        assert_eq!(settings.rows.len(), Options::NAMES.len());
        let row = |name: &str| settings.rows.iter().find(|row| row.name == name).unwrap();
        assert_eq!(
            (row("cache_mib").value.as_str(), row("cache_mib").source.as_str()),
            ("48", &*format!("file {path}"))
        );
        assert_eq!(row("listen").source, "flag --listen");
        assert_eq!(row("calls_max").source, "default");
    }

    #[test]
    fn secrets_are_dots() {
        let check = |name: &str, value: &str, expected: &str| {
            assert_eq!(masked(name, &toml::Value::String(value.to_owned())), expected);
        };
        check("metrics_token", "abc", DOTS);
        check("metrics_token", "", "\"\"");
        check("public_url", "https://a.example/x", "\"https://a.example/x\"");
        assert!(!masked("proxy", &toml::Value::String("http://u:hush@h/".to_owned())).contains("hush"));
    }
}
