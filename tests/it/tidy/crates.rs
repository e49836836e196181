//! Who may know whom: crate directions, banned crates, and a reason for each dependency.

use std::collections::BTreeSet;
use std::process::Command;

use super::{FOLDERS, files, none, read, root};

/// A crate and the crates of ours that it may know.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("storage", &["aura-protocol"]),
    ("integrations", &["aura-protocol"]),
    ("tui", &["aura-protocol"]),
    ("daemon", &["aura-protocol", "aura-storage", "aura-integrations"]),
    ("tests/demo", &[]),
];

/// Not in the tree, not even behind a feature, and what is used instead.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "ring is the only provider of rustls"),
    ("aws-lc-sys", "ring is the only provider of rustls"),
    ("openssl", "rustls"),
    ("openssl-sys", "rustls"),
    ("native-tls", "rustls"),
    ("serde_yaml", "saphyr-parser"),
    ("axum-server", "our own accept loop has the timeouts"),
    ("minijinja", "protocol::expr"),
    ("bincode", "rmp-serde with field names"),
];

fn manifest(folder: &str) -> toml::Table {
    read(format!("{folder}/Cargo.toml")).parse().unwrap_or_else(|error| panic!("{folder}/Cargo.toml: {error}"))
}

#[test]
fn no_manifest_knows_a_crate_against_the_direction() {
    let mut wrong = Vec::new();
    for (folder, allowed) in DIRECTIONS {
        let manifest = manifest(folder);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for name in manifest.get(section).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys) {
                if name.starts_with("aura-") && !allowed.contains(&name.as_str()) {
                    wrong.push(format!("{folder}/Cargo.toml has {name} in [{section}]"));
                }
            }
        }
        assert!(manifest.contains_key("package"), "{folder}/Cargo.toml is no package");
    }
    none("a crate knows another against the direction of ARCHITECTURE.md", &wrong);
}

#[test]
fn no_source_names_a_crate_against_the_direction() {
    let mut wrong = Vec::new();
    for (folder, allowed) in DIRECTIONS {
        let sources = files(&format!("{folder}/src"), &[".rs"]);
        assert!(!sources.is_empty(), "{folder} has no sources");
        for file in sources {
            for (number, line) in read(&file).lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for known in ["protocol", "storage", "integrations", "daemon", "tui", "tests"] {
                    let own = folder.starts_with(known);
                    if code.contains(&format!("aura_{known}::"))
                        && !own
                        && !allowed.contains(&format!("aura-{known}").as_str())
                    {
                        wrong.push(format!("{file}:{}: {}", number + 1, line.trim()));
                    }
                }
            }
        }
    }
    none("a source names a crate against the direction of ARCHITECTURE.md", &wrong);
}

#[test]
fn tests_use_the_binaries_as_processes_only() {
    let wrong: Vec<String> = files("tests/it", &[".rs"])
        .into_iter()
        .filter(|file| file != "tests/it/tidy/crates.rs")
        .filter(|file| read(file).contains("use aura_daemon") || read(file).contains("use aura_tui"))
        .collect();
    none("a behaviour test uses the code it should judge", &wrong);
}

/// Name and features of every package that a package is built from.
fn tree(package: &[&str]) -> Vec<(String, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--prefix", "none", "-e", "normal,build", "-f", "{p}|{f}"])
        .args(package)
        .current_dir(root())
        .output()
        .expect("cargo tree starts");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<(String, String)> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(name, features)| (name.split(' ').next().unwrap_or_default().to_owned(), features.to_owned()))
        .collect();
    assert!(found.len() > 10, "cargo tree {package:?} shows nearly nothing: {found:?}");
    found
}

#[test]
fn the_client_builds_without_the_store_the_door_and_connectors() {
    let absent =
        ["redb", "axum", "hyper", "reqwest", "rustls", "aura-storage", "aura-integrations", "aura-daemon", "ring"];
    let tree = tree(&["-p", "aura-tui"]);
    assert!(tree.iter().any(|(name, _)| name == "ratatui"), "the tree of another crate was read");
    let wrong: Vec<String> =
        tree.into_iter().map(|(name, _)| name).filter(|name| absent.contains(&name.as_str())).collect();
    none("`aura` is built from what only the daemon may know", &wrong);
}

#[test]
fn no_crate_turns_arbitrary_precision_on() {
    let tree = tree(&["--workspace"]);
    let json: Vec<&(String, String)> = tree.iter().filter(|(name, _)| name == "serde_json").collect();
    assert!(!json.is_empty(), "serde_json is not in the tree");
    let wrong: Vec<String> =
        json.iter().filter(|(_, features)| features.contains("arbitrary_precision")).map(|(_, f)| f.clone()).collect();
    none("arbitrary_precision changes numbers for every crate at once", &wrong);
}

#[test]
fn no_banned_crate_is_locked() {
    let lock: toml::Table = read("Cargo.lock").parse().expect("Cargo.lock");
    let locked: BTreeSet<&str> = lock["package"]
        .as_array()
        .expect("packages")
        .iter()
        .filter_map(|package| package.get("name").and_then(toml::Value::as_str))
        .collect();
    assert!(locked.contains("aura-protocol") && locked.len() > 100, "the lock file was not read");
    let wrong: Vec<String> = BANNED
        .iter()
        .filter(|(name, _)| locked.contains(name))
        .map(|(name, instead)| format!("{name} (instead: {instead})"))
        .collect();
    none("banned crates are locked", &wrong);
}

#[test]
fn every_dependency_has_its_reason_and_stands_in_one_table() {
    let text = read("Cargo.toml");
    let table = text.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let lines: Vec<&str> = table.expect("the table").lines().filter(|line| line.contains(" = ")).collect();
    assert!(lines.len() > 30, "the table was not read");
    let mut wrong: Vec<String> = lines
        .iter()
        .filter(|line| !line.starts_with("aura-"))
        .filter(|line| line.split_once('#').is_none_or(|(_, reason)| reason.trim().len() < 8))
        .map(|line| format!("without a reason: {line}"))
        .collect();
    for folder in FOLDERS.iter().chain(&["tests/bench", "tests/demo"]) {
        let manifest = manifest(folder);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    wrong.push(format!("{folder}/Cargo.toml: {name} does not come from the workspace's table"));
                }
            }
        }
    }
    none("dependencies", &wrong);
}
