//! What a trigger takes: the size of its deliveries and how they may be packed. Pure: reads the `with` of a trigger.
//!
//! The invariant: without a setting nothing is unpacked and the daemon's own limit counts; a setting never goes beyond
//! [`BODY_MAX`].

use crate::schedule::Wrong;
use crate::value::{Map, Value};

/// Keys of `with` on a trigger that takes deliveries.
pub const KEYS: &[&str] = &["body_max", "encodings", "multipart", "backfill"];
/// The smallest `body_max`: 1 KiB.
pub const BODY_MIN: u64 = 1024;
/// The largest `body_max`: 25 MiB.
pub const BODY_MAX: u64 = 25 * 1024 * 1024;
/// A body is unpacked to at most this many times its size.
pub const RATIO_MAX: u64 = 10;
/// … or to this many bytes, if that is more: small texts that repeat themselves pack better than tenfold.
pub const RATIO_FREE: u64 = 64 * 1024;

/// What a trigger takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// Largest body in bytes, unpacked; `None`: as the daemon's setting says.
    pub body_max: Option<u64>,
    /// Bodies with `content-encoding: gzip` are unpacked.
    pub gzip: bool,
}

impl Takes {
    /// Reads the `with` of a trigger that takes deliveries.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its key.
    pub fn read(with: &Map) -> Result<Self, Vec<Wrong>> {
        let (mut takes, mut wrong) = (Self::default(), Vec::new());
        for (key, value) in with {
            match key.as_str() {
                "body_max" => match size(value).filter(|bytes| (BODY_MIN..=BODY_MAX).contains(bytes)) {
                    Some(bytes) => takes.body_max = Some(bytes),
                    None => wrong.push(Wrong::new(
                        key,
                        "`body_max` is a size from 1 KiB to 25 MiB".to_owned(),
                        "write it as in `5 MiB`, `256 KiB` or as a number of bytes",
                    )),
                },
                "encodings" => match encodings(value) {
                    Some(gzip) => takes.gzip = gzip,
                    None => wrong.push(Wrong::new(
                        key,
                        "`encodings` is a list of what is unpacked, and only gzip is".to_owned(),
                        "write `encodings: [gzip]`, or leave it out",
                    )),
                },
                "multipart" if matches!(value, Value::Bool(_)) => {}
                "multipart" => wrong.push(Wrong::new(
                    key,
                    "`multipart` is true or false".to_owned(),
                    "with true, deliveries as multipart/form-data become JSON",
                )),
                // What a backfill reads instead of deliveries: see `crate::source`.
                "backfill" => {}
                _ => wrong.push(Wrong::new(
                    key,
                    format!("a trigger that takes deliveries has no setting `{}`", crate::text::display(key)),
                    &format!("known are: {}", KEYS.join(", ")),
                )),
            }
        }
        if wrong.is_empty() { Ok(takes) } else { Err(wrong) }
    }

    /// The largest body in bytes, unpacked, where the daemon's setting is `usual`.
    #[must_use]
    pub fn body_max(&self, usual: usize) -> usize {
        self.body_max.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usual)
    }
}

/// Bytes of `5 MiB`, `5MiB` or a whole number.
fn size(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Int(bytes) => return u64::try_from(*bytes).ok(),
        Value::Str(text) => text.trim(),
        _ => return None,
    };
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    number.checked_mul(match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return None,
    })
}

fn encodings(value: &Value) -> Option<bool> {
    let list = value.as_list()?;
    list.iter().all(|item| item.as_str() == Some("gzip")).then_some(!list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_encodings_are_read_and_nothing_else_is() {
        let read = |text: &str| {
            let Value::Map(with) = Value::from_json(text.as_bytes()).unwrap() else { panic!("an object") };
            Takes::read(&with).map_err(|wrong| wrong.into_iter().map(|wrong| wrong.key).collect::<Vec<_>>())
        };
        let takes = |body_max: Option<u64>, gzip: bool| Ok(Takes { body_max, gzip });
        for (text, expected) in [
            ("{}", takes(None, false)),
            (r#"{"body_max": "5 MiB"}"#, takes(Some(5 << 20), false)),
            (r#"{"body_max": "256KiB", "encodings": ["gzip"]}"#, takes(Some(256 << 10), true)),
            (r#"{"body_max": 1024, "encodings": []}"#, takes(Some(1024), false)),
            (r#"{"body_max": "25 MiB"}"#, takes(Some(BODY_MAX), false)),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for value in
            ["1023", "\"26 MiB\"", "\"5 MB\"", "\"MiB\"", "\"\"", "-1", "1.5", "null", "\"99999999999999999 MiB\""]
        {
            assert_eq!(read(&format!("{{\"body_max\": {value}}}")), Err(vec!["body_max".to_owned()]), "{value}");
        }
        for value in ["[\"br\"]", "\"gzip\"", "true", "[1]"] {
            assert_eq!(read(&format!("{{\"encodings\": {value}}}")), Err(vec!["encodings".to_owned()]), "{value}");
        }
        assert_eq!(read(r#"{"cron": "* * * * *"}"#), Err(vec!["cron".to_owned()]));
        assert_eq!((Takes { body_max: Some(2048), gzip: false }.body_max(7), Takes::default().body_max(7)), (2048, 7));
    }
}
