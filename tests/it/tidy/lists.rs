//! Lists and pages that must name everything: registration lists, error codes, README, ARCHITECTURE.

use std::fs;

use aura_protocol::Code;

use super::{files, none, read, root};
use crate::support::aura;

/// Names of the folders (or of the files with this ending) right below a folder.
fn below(folder: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| ending.is_empty() == entry.path().is_dir())
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(ending).map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Whether a text has a whole word.
fn names(text: &str, word: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|found| found == word)
}

#[test]
fn every_connector_is_registered_with_fixtures_and_a_fake() {
    let registry = read("integrations/src/registry.rs");
    let connectors: Vec<String> = below("integrations/src", "")
        .into_iter()
        .filter(|name| root().join(format!("integrations/src/{name}/connector.toml")).is_file())
        .collect();
    assert!(connectors.len() >= 3, "only {connectors:?}");
    let mut wrong = Vec::new();
    for connector in connectors {
        if !names(&registry, &connector) {
            wrong.push(format!("{connector} is not in integrations/src/registry.rs"));
        }
        if !root().join(format!("integrations/src/{connector}/fake.rs")).is_file() {
            wrong.push(format!("{connector} has no fake.rs"));
        }
        if files(&format!("integrations/src/{connector}/fixtures"), &[".json"]).is_empty() {
            wrong.push(format!("{connector} has no fixtures/*.json"));
        }
    }
    none("connectors", &wrong);
}

#[test]
fn every_step_kind_is_listed() {
    let list = read("daemon/src/engine/kinds/mod.rs");
    let kinds: Vec<String> =
        below("daemon/src/engine/kinds", ".rs").into_iter().filter(|name| name != "mod" && name != "tests").collect();
    for kind in ["uses", "http", "set", "branch", "sleep", "respond", "stop"] {
        assert!(kinds.iter().any(|name| name == kind), "daemon/src/engine/kinds/{kind}.rs is missing");
    }
    let wrong: Vec<String> = kinds.into_iter().filter(|kind| !list.contains(&format!("mod {kind};"))).collect();
    none("step kinds that daemon/src/engine/kinds/mod.rs does not list", &wrong);
}

#[test]
fn every_screen_is_listed() {
    let list = read("tui/src/screens/mod.rs");
    let mut screens = below("tui/src/screens", "");
    screens.extend(below("tui/src/screens", ".rs").into_iter().filter(|name| name != "mod"));
    assert!(screens.len() >= 2, "only {screens:?}");
    let wrong: Vec<String> = screens.into_iter().filter(|screen| !list.contains(&format!("mod {screen};"))).collect();
    none("screens that tui/src/screens/mod.rs does not list", &wrong);
}

#[test]
fn every_error_code_has_its_entry() {
    let page = read("docs/errors.md");
    let wrong: Vec<String> = Code::ALL
        .iter()
        .filter(|code| !page.contains(&format!("## {}", code.text())))
        .map(|code| code.text().to_owned())
        .collect();
    none("codes without an entry in docs/errors.md", &wrong);
    let known = |text: &str| Code::ALL.iter().any(|code| text.starts_with(code.text()));
    let stale: Vec<String> =
        page.split("## AURA-").skip(1).map(|rest| format!("AURA-{}", &rest[..5])).filter(|text| !known(text)).collect();
    none("entries in docs/errors.md for codes that no longer exist", &stale);
}

#[test]
fn every_absence_on_the_map_names_a_test_that_exists() {
    let page = read("ARCHITECTURE.md");
    let sources: String = files("tests/it", &[".rs"]).into_iter().map(read).collect();
    let mut count = 0;
    let mut wrong = Vec::new();
    for (number, line) in page.lines().enumerate().filter(|(_, line)| line.starts_with("- No ")) {
        count += 1;
        let test = line.rsplit_once("(`").and_then(|(_, rest)| rest.split_once("`)")).map(|(name, _)| name);
        match test {
            Some(test) if sources.contains(&format!("fn {test}(")) => {}
            _ => wrong.push(format!("line {}: {line}", number + 1)),
        }
    }
    assert!(count >= 5, "only {count} absences were found");
    none("an absence without a test of that name in tests/it", &wrong);
}

#[test]
fn the_flow_of_the_readme_and_the_examples_pass_their_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = read("README.md");
    let flow = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a flow");
    let file = folder.path().join("readme.yaml");
    fs::write(&file, flow).expect("written");
    let mut checked = vec![file.to_str().expect("a path").to_owned()];
    // Files of cases are run by `e2e_testing`.
    let examples = files("docs/examples", &[".yaml"]).into_iter().filter(|file| !file.ends_with(".test.yaml"));
    checked.extend(examples.map(|file| root().join(file).display().to_string()));
    assert!(checked.len() >= 2, "{checked:?}");
    for file in checked {
        aura(&["flow", "check", &file]).success();
    }
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut pages: Vec<String> = files("docs", &[".md"]);
    pages.extend(["README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "SECURITY"].map(|name| format!("{name}.md")));
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages {
        let folder = root().join(&page).parent().expect("a folder").to_owned();
        for link in read(&page).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            count += 1;
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                wrong.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(count > 8, "only {count} links");
    none("links to nothing", &wrong);
}

/// The lines of the page's code blocks that begin with this program.
fn commands(page: &str, program: &str) -> Vec<Vec<String>> {
    page.split("```")
        .skip(1)
        .step_by(2)
        .flat_map(str::lines)
        .filter_map(|line| line.trim_start_matches("$ ").strip_prefix(program)?.strip_prefix(' '))
        .map(|line| line.split('#').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect())
        .filter(|words: &Vec<String>| !words.is_empty())
        .collect()
}

#[test]
fn every_command_of_the_readme_exists() {
    let page = read("README.md");
    assert!(page.contains("cargo run\n") && page.contains("cargo test --workspace --locked\n"), "the two commands");
    let commands = commands(&page, "aura");
    assert!(commands.len() >= 8, "only {commands:?}");
    let mut wrong = Vec::new();
    for command in commands {
        let is_word = |word: &&String| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let words: Vec<&str> =
            command.iter().take_while(is_word).filter(|word| !word.starts_with('-')).map(String::as_str).collect();
        // The longest prefix that is a command: `flow check` of `flow check cart.yaml`.
        let known = (1..=words.len().min(2)).rev().any(|count| {
            let said = aura(&[&words[..count], &["--help"]].concat());
            said.code == 0 && said.out.contains("Usage:")
        });
        if !known {
            wrong.push(format!("aura {}", command.join(" ")));
        }
    }
    none("commands of README.md that `aura` does not have", &wrong);
}
