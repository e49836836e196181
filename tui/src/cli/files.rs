//! What commands read: files, standard input and `@file` values, each with a limit.
//!
//! Invariant: nothing over [`LIMIT`] is read into memory, and each failure names the file.

use std::io::Read;

use aura_protocol::{Code, Value, WireError};

/// The largest file a command takes: 4 MiB minus room for the frame around it.
pub const LIMIT: u64 = 4 * 1024 * 1024 - 64 * 1024;

/// Reads a file, or standard input for `-`, as UTF-8.
///
/// # Errors
/// `Invalid` with the file's name: missing, unreadable, too large, not UTF-8.
pub fn text(path: &str) -> Result<String, WireError> {
    let name = if path == "-" { "standard input" } else { path };
    let bytes = bytes(path, name)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        WireError::new(Code::Invalid, format!("{name} is not UTF-8: byte {at} is the first wrong one"))
    })
}

fn bytes(path: &str, name: &str) -> Result<Vec<u8>, WireError> {
    let refuse = |what: String| WireError::new(Code::Invalid, format!("{name} {what}"));
    let source: Box<dyn Read> = if path == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| refuse(format!("cannot be opened: {error}")))?)
    };
    let mut bytes = Vec::new();
    source.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LIMIT {
        return Err(refuse(format!("is larger than {LIMIT} bytes, the most that is taken")));
    }
    Ok(bytes)
}

/// A JSON argument: the text itself, `@file`, or `-` for standard input.
///
/// # Errors
/// `Invalid` with the place in the text.
pub fn json(argument: &str) -> Result<Value, WireError> {
    let text = match argument.strip_prefix('@') {
        Some(path) => text(path)?,
        None if argument == "-" => text("-")?,
        None => argument.to_owned(),
    };
    Value::from_json(text.as_bytes()).map_err(|error| {
        WireError::new(Code::Invalid, format!("not JSON: {error}"))
            .hint("give JSON as '{\"id\": 1}', as @file.json, or as - for standard input")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("binary"), [b'a', 0xff]).unwrap();
        std::fs::File::create(path("large")).unwrap().set_len(LIMIT + 1).unwrap();
        let check = |path: String, expected: &str| {
            let error = text(&path).unwrap_err();
            assert!(error.message.contains(expected) && error.message.contains(&path), "{error}");
        };
        check(path("missing"), "cannot be opened");
        check(path("binary"), "byte 1 is the first wrong one");
        check(path("large"), "larger than");
    }
}
