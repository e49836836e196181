//! Twenty secrets, what they can look like somewhere else, and the search for them.

use std::fs;
use std::path::Path;

use base64::Engine as _;

/// Secrets of the shapes that people have: keys, passwords with signs, long ones, with spaces and quotes.
pub fn secrets() -> Vec<String> {
    (0..20)
        .map(|number| match number % 5 {
            0 => format!("sk_live_canary{number:02}Zx9QmT7rLw3B"),
            1 => format!("canary{number:02}/p+ss w&rd=\"%\\x{number}"),
            2 => format!(
                "whsec_{}",
                base64::engine::general_purpose::STANDARD.encode(format!("canary {number:02} of a sender's key"))
            ),
            3 => format!("xoxb-{number:02}99-canary-{}", "k9Qw".repeat(12)),
            _ => format!("SG.canary{number:02}.{}", "aB3-_".repeat(9)),
        })
        .collect()
}

/// What a secret can look like somewhere else.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let standard = base64::engine::general_purpose::STANDARD_NO_PAD;
    let mut forms =
        vec![secret.as_bytes().to_vec(), hex::encode(secret).into_bytes(), hex::encode_upper(secret).into_bytes()];
    for shift in 0..3 {
        // Whole groups inside, whatever stands before and after the secret.
        let shifted = [vec![b'.'; shift], secret.as_bytes().to_vec()].concat();
        let text = standard.encode(&shifted);
        let from = if shift == 0 { 0 } else { 4 };
        let until = shifted.len() / 3 * 4;
        forms.push(text.as_bytes()[from..until].to_vec());
    }
    forms.extend(
        [percent(secret), json(secret), json(&json(secret)), html(secret), list(secret)].map(String::into_bytes),
    );
    forms.sort();
    forms.dedup();
    forms
}

/// Percent-encoded.
pub fn percent(secret: &str) -> String {
    let one = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    secret.bytes().map(one).collect()
}

/// As within a JSON text.
pub fn json(secret: &str) -> String {
    let text = serde_json::to_string(secret).expect("text");
    text[1..text.len() - 1].to_owned()
}

/// As within an HTML page.
pub fn html(secret: &str) -> String {
    secret.replace('&', "&amp;").replace('"', "&quot;").replace('\'', "&#39;").replace('<', "&lt;")
}

/// As a list of its bytes.
pub fn list(secret: &str) -> String {
    secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ")
}

/// The search, and what it found.
pub struct Search {
    /// Number of the secret and one of its forms.
    pub needles: Vec<(usize, Vec<u8>)>,
    /// What stands where.
    pub hits: Vec<String>,
    /// Places looked at.
    pub places: usize,
    /// Bytes looked at.
    pub bytes: usize,
}

impl Search {
    /// For these secrets; proves first that it finds what is there.
    pub fn of(secrets: &[String]) -> Self {
        let forms = secrets
            .iter()
            .enumerate()
            .flat_map(|(number, secret)| forms(secret).into_iter().map(move |form| (number, form)));
        let mut search = Self { needles: forms.collect(), hits: Vec::new(), places: 0, bytes: 0 };
        for (number, secret) in secrets.iter().enumerate() {
            search.look("a place that holds one", secret.as_bytes());
            assert!(std::mem::take(&mut search.hits).iter().any(|hit| hit.starts_with(&format!("secret {number} "))));
        }
        search
    }

    /// Looks at a place.
    pub fn look(&mut self, place: &str, bytes: &[u8]) {
        self.places += 1;
        self.bytes += bytes.len();
        for (number, needle) in &self.needles {
            // The first byte skips fast over most of a large file.
            let first = needle[0];
            let found = bytes
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == first)
                .any(|(at, _)| bytes[at..].starts_with(needle));
            if found {
                self.hits.push(format!("secret {number} in {place} as {}", String::from_utf8_lossy(needle)));
            }
        }
    }
    /// Looks at a file.
    pub fn file(&mut self, path: &Path) {
        self.look(&path.display().to_string(), &fs::read(path).unwrap_or_default());
    }
    /// Looks at every file below a folder.
    pub fn folder(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.folder(&path)
            } else if path.is_file() {
                self.file(&path)
            }
        }
    }
}
