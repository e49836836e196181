//! Headers, sizes and words of our own files.

use super::{FOLDERS, files, none, read};

/// No source is longer than this.
const LINES_MAX: usize = 800;

/// Words that name our things otherwise than people read them (design §11), and what we say.
const WORDS: &[(&str, &str)] = &[
    ("node", "step"),
    ("credential", "connection or secret"),
    ("workflow", "flow"),
    ("execution", "run"),
    ("park", "in doubt or paused"),
];

/// Where such a word is somebody else's name: path, word, why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("SECURITY.md", "credential", "what systemd calls it"),
    ("docs/operating.md", "credential", "what systemd calls it"),
    ("daemon/src/config.rs", "credential", "what systemd calls it"),
    ("daemon/src/doctor.rs", "credential", "the name of systemd's variable"),
    ("daemon/src/keys.rs", "credential", "what systemd calls it"),
    ("daemon/src/paths.rs", "credential", "the name of systemd's variable"),
    ("integrations/src/shopify/connector.toml", "node", "the field of a list in Shopify's GraphQL"),
    ("integrations/src/shopify/fake.rs", "node", "the field of a list in Shopify's GraphQL"),
    ("systemd/aurad.service", "credential", "the name of systemd's setting"),
    ("docs/benchmarks.md", "node", "the name of a peer"),
    ("tests/bench/src/peers.rs", "node", "the name of a peer"),
    ("tests/it/tidy/files.rs", "node", "the list of words itself"),
    ("tests/it/tidy/files.rs", "credential", "the list of words itself"),
    ("tests/it/tidy/files.rs", "workflow", "the list of words itself"),
    ("tests/it/tidy/files.rs", "execution", "the list of words itself"),
    ("tests/it/tidy/files.rs", "park", "the list of words itself"),
];

fn sources() -> Vec<String> {
    let found: Vec<String> = FOLDERS.iter().flat_map(|folder| files(folder, &[".rs"])).collect();
    assert!(found.len() > 40, "only {} sources were found", found.len());
    found
}

#[test]
fn every_source_begins_with_what_it_is_for() {
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|file| {
            let text = read(file);
            let first = text.lines().next().unwrap_or_default();
            !first.starts_with("//! ") || first.len() < 12 || first.contains("stub")
        })
        .collect();
    none("a source does not begin with a `//!` sentence", &wrong);
}

#[test]
fn no_source_is_longer_than_one_idea() {
    let wrong: Vec<String> = sources()
        .into_iter()
        .map(|file| (read(&file).lines().count(), file))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, file)| format!("{file} has {lines} lines"))
        .collect();
    none("a source has more than 800 lines; split it by idea", &wrong);
}

#[test]
fn no_file_is_named_after_nothing() {
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|file| {
            file.split('/').any(|part| {
                let part = part.trim_end_matches(".rs");
                part.split('_')
                    .any(|word| ["manager", "helper", "helpers", "util", "utils", "common", "misc"].contains(&word))
            })
        })
        .collect();
    none("a file's name says nothing", &wrong);
}

/// The words of a line in lower case; identifiers are split at `_` and at capitals.
fn words(line: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut small = false;
    for letter in line.chars() {
        if !letter.is_alphabetic() || (letter.is_uppercase() && small) {
            found.push(String::new());
        }
        small = letter.is_lowercase();
        if letter.is_alphabetic() {
            found.last_mut().expect("a word").extend(letter.to_lowercase());
        }
    }
    found.retain(|word| !word.is_empty());
    found
}

/// The banned word that a word is a form of.
fn banned(word: &str) -> Option<(&'static str, &'static str)> {
    let stems = [word, word.strip_suffix('s').unwrap_or(word), word.strip_suffix("ed").unwrap_or(word)];
    WORDS.iter().find(|(name, _)| stems.contains(name)).copied()
}

#[test]
fn words_are_found_in_prose_and_identifiers() {
    let check = |line: &str, expected: Option<&str>| {
        let found = words(line).iter().find_map(|word| banned(word)).map(|(word, _)| word);
        assert_eq!(found, expected, "{line}");
    };
    check("let nodes = tree.nodes();", Some("node"));
    check("struct NodeId(u32);", Some("node"));
    check("thread::park_timeout", Some("park"));
    check("the run was parked", Some("park"));
    check("CREDENTIALS_DIRECTORY", Some("credential"));
    check("a spark in the anode, as executed", None);
}

#[test]
fn our_files_use_our_words() {
    let mut wrong = Vec::new();
    let mut used = vec![false; ALLOWED.len()];
    let mut pages: Vec<String> = ["README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "SECURITY"]
        .iter()
        .map(|name| format!("{name}.md"))
        .collect();
    pages.push("Cargo.toml".to_owned());
    for folder in FOLDERS.iter().chain(&["docs", "systemd"]) {
        pages.extend(files(folder, &[".rs", ".md", ".yaml", ".yml", ".toml", ".service"]));
    }
    for file in pages {
        for (number, line) in read(&file).lines().enumerate() {
            for (word, instead) in words(line).iter().filter_map(|word| banned(word)) {
                match ALLOWED.iter().position(|(path, allowed, _)| *path == file && *allowed == word) {
                    Some(place) => used[place] = true,
                    None => wrong.push(format!("{file}:{}: `{word}`, say {instead}: {}", number + 1, line.trim())),
                }
            }
        }
    }
    for ((path, word, why), used) in ALLOWED.iter().zip(used) {
        if !used {
            wrong.push(format!("the permission for `{word}` in {path} ({why}) is not needed any more"));
        }
    }
    none("words of design §11", &wrong);
}

#[test]
fn no_file_names_a_place_of_its_author() {
    // Written in two parts, or this file would find itself.
    let places = [["/home/", "user"].concat(), ["/ro", "ot/"].concat(), ["/wo", "rk/"].concat()];
    let mut wrong = Vec::new();
    for folder in FOLDERS.iter().chain(&["docs", ".ci"]) {
        for file in files(folder, &[".rs", ".md", ".yaml", ".toml", ".json", ".sh", "run", "full"]) {
            for (number, line) in read(&file).lines().enumerate() {
                if places.iter().any(|place| line.contains(place)) {
                    wrong.push(format!("{file}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    none("a file names a directory of one machine", &wrong);
}
