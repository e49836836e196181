//! Files of signature cases: `aura webhook verify --cases FILE`, without a daemon.
//!
//! A file is `{"format": 1, "cases": [{id, scheme, secret, now_ms, tolerance_s, headers, body_b64, …}]}`;
//! fields that we do not use are skipped. One case that cannot be read is one verdict, not the file's end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Request, SHOPIFY_QUERY, scheme, verify};
use crate::text::display;

/// Most cases read of one file.
const CASES_MAX: usize = 10_000;

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseVerdict {
    /// The case's id.
    pub id: String,
    /// Valid or invalid.
    pub verdict: Verdict,
    /// Why, in a sentence.
    pub reason: String,
}

/// Whether a delivery would be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It would.
    Valid,
    /// It would not.
    Invalid,
}

#[derive(Deserialize)]
struct File {
    format: Option<u64>,
    cases: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Named {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Case {
    scheme: String,
    #[serde(default)]
    secret: Option<String>,
    /// A second active secret and more, during a rotation.
    #[serde(default)]
    secrets: Vec<String>,
    now_ms: i64,
    /// Schemes with key pairs.
    #[serde(default)]
    public_key: Option<String>,
    #[serde(default)]
    tolerance_s: Option<u64>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    url: Option<String>,
    /// Of signed addresses, without the `?`.
    #[serde(default)]
    query: Option<String>,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body_b64: String,
}

/// Judges every case of a file, in its order.
///
/// # Errors
/// The text is not such a file: a sentence with line and column.
pub fn run(json_text: &str) -> Result<Vec<CaseVerdict>, String> {
    let file: File = serde_json::from_str(json_text).map_err(|error| error.to_string())?;
    match file.format {
        None | Some(1) => {}
        Some(other) => return Err(format!("format {other} of case files is not known to this build, only 1")),
    }
    if file.cases.len() > CASES_MAX {
        return Err(format!("the file holds {} cases, at most {CASES_MAX} are read", file.cases.len()));
    }
    Ok(file.cases.iter().enumerate().map(|(index, raw)| judge(index, raw)).collect())
}

fn judge(index: usize, raw: &RawValue) -> CaseVerdict {
    let id = serde_json::from_str::<Named>(raw.get())
        .ok()
        .and_then(|named| named.id)
        .unwrap_or_else(|| format!("case {}", index + 1));
    match check(raw) {
        Ok(reason) => CaseVerdict { id, verdict: Verdict::Valid, reason },
        Err(reason) => CaseVerdict { id, verdict: Verdict::Invalid, reason },
    }
}

fn check(raw: &RawValue) -> Result<String, String> {
    #[derive(Deserialize)]
    struct SchemeOnly {
        scheme: String,
    }
    let unreadable = |error: serde_json::Error| format!("the case cannot be read: {error}");
    // The scheme first: cases of schemes that we do not know may lack fields that ours need.
    let SchemeOnly { scheme: name } = serde_json::from_str(raw.get()).map_err(unreadable)?;
    let query = Some(&SHOPIFY_QUERY).filter(|scheme| scheme.name == name);
    let known =
        scheme(&name).or(query).ok_or_else(|| format!("scheme {} is not known to this build", display(&name)))?;
    let case: Case = serde_json::from_str(raw.get()).map_err(unreadable)?;
    debug_assert_eq!(case.scheme, known.name, "both read the same field");
    let body = STANDARD.decode(&case.body_b64).map_err(|error| format!("body_b64 is not base 64: {error}"))?;
    let secrets = case.secret.iter().chain(&case.public_key).chain(&case.secrets);
    let secrets: Vec<&str> = secrets.map(String::as_str).collect();
    let url = match (&case.url, &case.query) {
        (Some(url), _) => url.clone(),
        (None, Some(query)) => format!("/?{query}"),
        (None, None) => String::new(),
    };
    let method = case.method.as_deref().unwrap_or("POST");
    let request = Request { method, url: &url, headers: &case.headers, body: &body };
    verify(known, &secrets, &request, case.now_ms, case.tolerance_s)
        .map(|()| format!("the signature of {} matches", known.title))
        .map_err(|refusal| refusal.to_string())
}
