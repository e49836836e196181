//! What an answer without success means: its class, whether the peer acted, and how long to wait.
//!
//! The table is that of the design's effect classes: 429 and definite 4xx refusals prove that nothing
//! happened, 5xx and 408 prove nothing. Connectors overrule it from the body where a vendor says more.

use aura_protocol::run::{ErrorClass, Reach, StepError};
use aura_protocol::text::display_lines;
use aura_protocol::value::Value;
use jiff::fmt::rfc2822;

use super::HttpResponse;

/// Longest wait that a peer can ask for: a day.
const WAIT_MAX_MS: u64 = 24 * 60 * 60 * 1000;
/// Most of a peer's words that are kept, in bytes.
const DETAIL_MAX: usize = 4096;

/// An answer that is no success as the failure of a step; `None` for 2xx.
#[must_use]
pub fn classify(response: &HttpResponse) -> Option<(StepError, Reach)> {
    if response.is_success() {
        return None;
    }
    let (class, reach, wait) = status_class(response);
    let mut error = StepError::new(class, format!("the answer has status {}", response.status));
    error.code = Some(response.status.to_string());
    error.retry_after_ms = wait;
    error.detail = detail(&response.body);
    Some((error, reach))
}

/// Class, reach and wait by status and headers. Of a 2xx that is taken for an error nobody knows what happened.
pub(crate) fn status_class(response: &HttpResponse) -> (ErrorClass, Reach, Option<u64>) {
    let (class, reach) = match response.status {
        200..300 => (ErrorClass::Internal, Reach::Unknown),
        401 | 403 => (ErrorClass::Auth, Reach::Refused),
        404 | 410 => (ErrorClass::NotFound, Reach::Refused),
        409 => (ErrorClass::Conflict, Reach::Refused),
        429 => (ErrorClass::RateLimited, Reach::Refused),
        408 | 425 | 500.. => (ErrorClass::Transient, Reach::Unknown),
        _ => (ErrorClass::Invalid, Reach::Refused),
    };
    (class, reach, retry_after_ms(&response.headers))
}

/// `Retry-After` in milliseconds: seconds, or a date counted from the answer's own `Date`. At most a day.
#[must_use]
pub fn retry_after_ms(headers: &[(String, String)]) -> Option<u64> {
    let find = |name: &str| headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim());
    let value = find("retry-after")?;
    let wait = match value.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1000),
        Err(_) => {
            let until = http_date(value)?;
            u64::try_from(until - http_date(find("date")?)?).unwrap_or(0)
        }
    };
    Some(wait.min(WAIT_MAX_MS))
}

fn http_date(text: &str) -> Option<i64> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(jiff::Timestamp::as_millisecond)
}

/// What the peer said: JSON if it is short enough to keep whole, else the beginning of its text. An answer has no
/// secrets any more when it comes here: [`super::Http::send`] took them out of the whole.
pub(crate) fn detail(body: &[u8]) -> Option<Value> {
    if body.is_empty() {
        return None;
    }
    if body.len() <= DETAIL_MAX
        && let Ok(value) = Value::from_json(body)
    {
        return Some(value);
    }
    let text = String::from_utf8_lossy(body);
    let head = text.get(..text.floor_char_boundary(DETAIL_MAX)).unwrap_or_default();
    Some(Value::from(display_lines(head)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Sink;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_status_tells_whether_a_repeat_is_safe() {
        use ErrorClass::*;
        use Reach::{Refused, Unknown};
        for (status, class, reach) in [
            (301, Invalid, Refused),
            (400, Invalid, Refused),
            (401, Auth, Refused),
            (403, Auth, Refused),
            (404, NotFound, Refused),
            (408, Transient, Unknown),
            (409, Conflict, Refused),
            (422, Invalid, Refused),
            (425, Transient, Unknown),
            (429, RateLimited, Refused),
            (500, Transient, Unknown),
            (503, Transient, Unknown),
            (599, Transient, Unknown),
        ] {
            let response = HttpResponse { status, ..HttpResponse::default() };
            assert_eq!(status_class(&response), (class, reach, None), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_of_the_peers_clock() {
        let check = |headers: &[(&str, &str)], expected: Option<u64>| {
            assert_eq!(retry_after_ms(&pairs(headers)), expected, "{headers:?}");
        };
        let date = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
        check(&[], None);
        check(&[("Retry-After", "120")], Some(120_000));
        check(&[("retry-after", "0")], Some(0));
        check(&[("retry-after", "99999999999999999999")], None);
        check(&[("retry-after", "9999999999")], Some(WAIT_MAX_MS));
        check(&[("retry-after", "soon")], None);
        check(&[("retry-after", "-5")], None);
        check(&[date, ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], Some(30_000));
        check(&[date, ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")], Some(0));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], None);
    }

    #[test]
    fn no_piece_of_a_secret_is_left_at_the_cut() {
        let secret = "s3cr\"t/pläne+42";
        let sink = Sink::default();
        sink.replace([secret].into_iter());
        let detail = |body: &[u8]| {
            let mut response = HttpResponse { body: body.to_vec(), ..HttpResponse::default() };
            sink.answer(&mut response);
            detail(&response.body)
        };
        for form in [
            secret,
            r#"s3cr\"t\/pläne+42"#,
            r#"s3cr\"t/pl\u00e4ne+42"#,
            "s3cr%22t%2Fpl%C3%A4ne%2B42",
            "czNjciJ0L3Bsw6RuZSs0Mg==",
        ] {
            // The form lies whole before the cut, across it at every byte, and behind it.
            for before in DETAIL_MAX - form.len() - 8..=DETAIL_MAX {
                let body = format!("{}{form}{}", "-".repeat(before), "-".repeat(20));
                let Some(Value::Str(text)) = detail(body.as_bytes()) else { panic!("text expected") };
                let left = text.trim_start_matches('-').trim_end_matches('-').trim_end_matches('=');
                assert!("[secret]".starts_with(left), "{form}, cut {before} bytes in: {left}");
            }
            let short = format!("{{\"a\": {}}}", Value::from(form).to_json());
            let found = detail(short.as_bytes()).unwrap();
            let text = found.get("a").and_then(Value::as_str).unwrap().trim_end_matches('=');
            assert_eq!(text, "[secret]", "{form}");
        }
    }

    #[test]
    fn what_the_peer_said_is_kept_and_cut() {
        assert_eq!(detail(b""), None);
        assert_eq!(detail(br#"{"a": 1.50}"#), Some(Value::object([("a", Value::Dec("1.50".into()))])));
        let long = "ö".repeat(3000);
        let Some(Value::Str(text)) = detail(long.as_bytes()) else { panic!("text expected") };
        assert_eq!(text.len(), 4096);
        let response = HttpResponse {
            status: 503,
            headers: pairs(&[("retry-after", "2")]),
            body: b"busy".to_vec(),
            certificate: None,
        };
        let (error, reach) = classify(&response).unwrap();
        assert_eq!(error.message, "the answer has status 503");
        assert_eq!((error.code.as_deref(), error.retry_after_ms, reach), (Some("503"), Some(2000), Reach::Unknown));
        assert_eq!(classify(&HttpResponse { status: 204, ..HttpResponse::default() }), None);
    }
}
