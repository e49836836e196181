//! Business time: a span that passes only while somebody is at work.
//!
//! Hours are those of the wall clock in a zone, so a day on which the clock is changed has as many as any other; days
//! that are no working days and holidays have none. A span is over at the instant in which it is used up, closing
//! time included.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::flow::Span;
use crate::value::Value;

/// When somebody is at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Where.
    zone: TimeZone,
    /// From then …
    open: Time,
    /// … until then.
    close: Time,
    /// On these days.
    days: Vec<Weekday>,
    /// But not on these.
    holidays: Vec<Date>,
}

/// A deadline is at most so many days away.
const DAYS_MAX: u32 = 3660;
/// Holidays of one step.
const HOLIDAYS_MAX: usize = 1000;
/// As flows write them.
const DAYS: &[(&str, Weekday)] = &[
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];
/// The settings of business time.
pub const KEYS: &[&str] = &["business", "zone", "open", "close", "days", "holidays"];

/// A span and the hours in which it passes, as a flow writes them. A day of the span is a working day, from opening to
/// closing, and a week has as many as `days`.
///
/// # Errors
/// One sentence.
pub fn read(value: &Value) -> Result<(Span, Hours), String> {
    let text = |name: &str, usual: &'static str| match value.get(name) {
        None => Ok(usual.to_owned()),
        Some(Value::Str(text)) => Ok(text.clone()),
        Some(other) => Err(format!("`{name}` must be text, this is {}", other.kind())),
    };
    let mut keys = value.as_map().into_iter().flatten();
    if let Some((other, _)) = keys.find(|(key, _)| !KEYS.contains(&key.as_str())) {
        return Err(format!("business time has no setting `{}`", crate::text::display(other)));
    }
    let zone = text("zone", "UTC")?;
    let zone = TimeZone::get(&zone).map_err(|_| format!("`{}` is no time zone", crate::text::display(&zone)))?;
    let time = |name: &str, usual| {
        let text = text(name, usual)?;
        text.parse::<Time>().map_err(|_| format!("`{name}` must be a time like 09:00"))
    };
    let (open, close) = (time("open", "09:00")?, time("close", "17:00")?);
    if open >= close {
        return Err("`open` must be before `close`".to_owned());
    }
    let list = |name: &str| match value.get(name) {
        None => Ok(&[][..]),
        Some(Value::List(list)) if list.len() <= HOLIDAYS_MAX => Ok(list.as_slice()),
        Some(_) => Err(format!("`{name}` is a list of at most {HOLIDAYS_MAX}")),
    };
    let mut holidays = Vec::new();
    for day in list("holidays")? {
        let day = day.as_str().and_then(|day| day.parse::<Date>().ok());
        holidays.push(day.ok_or_else(|| "a holiday is a date like 2026-12-25".to_owned())?);
    }
    let mut days: Vec<Weekday> = Vec::new();
    for day in list("days")? {
        let known = DAYS.iter().find(|(name, _)| day.as_str() == Some(name));
        days.push(known.ok_or_else(|| "a working day is one of mon, tue, wed, thu, fri, sat, sun".to_owned())?.1);
    }
    if days.is_empty() {
        days = DAYS.iter().take(5).map(|(_, day)| *day).collect();
    }
    let hours = Hours { zone, open, close, days, holidays };
    Ok((hours.span(&text("business", "")?)?, hours))
}

impl Hours {
    fn span(&self, text: &str) -> Result<Span, String> {
        let day_ms = u64::try_from(self.open.duration_until(self.close).as_millis()).unwrap_or(0);
        let week = u64::try_from(self.days.len()).unwrap_or(5);
        let counted = |unit: char, days: u64| -> Option<u64> {
            text.trim().strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(days)?.checked_mul(day_ms)
        };
        let span = match counted('d', 1).or_else(|| counted('w', week)) {
            Some(ms) => Span::from_ms(ms),
            None => text.parse::<Span>()?,
        };
        if span.ms == 0 { Err("`business` says how much working time there is".to_owned()) } else { Ok(span) }
    }

    /// When a span of business time that begins at a time is over, in Unix milliseconds; `None` if that is too far.
    #[must_use]
    pub fn after(&self, from_ms: i64, span: Span) -> Option<i64> {
        let start = Timestamp::from_millisecond(from_ms).ok()?.to_zoned(self.zone.clone());
        let mut left = SignedDuration::from_millis(i64::try_from(span.ms).ok()?);
        let mut day = start.date();
        for number in 0..DAYS_MAX {
            let from = if number == 0 { start.time().max(self.open) } else { self.open };
            if self.works(day) && from < self.close {
                let room = from.duration_until(self.close);
                if left <= room {
                    let end = day.to_datetime(from).checked_add(left).ok()?;
                    return Some(end.to_zoned(self.zone.clone()).ok()?.timestamp().as_millisecond());
                }
                left -= room;
            }
            day = day.checked_add(1.day()).ok()?;
        }
        None
    }

    fn works(&self, day: Date) -> bool {
        self.days.contains(&day.weekday()) && !self.holidays.contains(&day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(from: &str, settings: &str) -> String {
        let (span, rules) = read(&Value::from_json(settings.as_bytes()).unwrap()).unwrap();
        let local: jiff::civil::DateTime = from.parse().unwrap();
        let from_ms = local.in_tz("Europe/Berlin").unwrap().timestamp().as_millisecond();
        let due = rules.after(from_ms, span).unwrap();
        Timestamp::from_millisecond(due).unwrap().to_string()
    }

    #[test]
    fn the_reference_cases_of_deadlines() {
        let check = |from: &str, span: &str, expected: &str| {
            let rest =
                r#""zone":"Europe/Berlin","open":"09:00","close":"17:00","holidays":["2026-12-25","2026-12-26"]"#;
            assert_eq!(due(from, &format!(r#"{{"business":"{span}",{rest}}}"#)), expected, "{from} + {span}");
        };
        // The deadlines of case `46_appr`.
        check("2026-12-23T16:00", "4h", "2026-12-24T11:00:00Z");
        check("2026-11-20T16:30", "1h", "2026-11-23T08:30:00Z");
        check("2026-11-21T11:00", "8h", "2026-11-23T16:00:00Z");
        check("2026-03-27T15:00", "4h", "2026-03-30T09:00:00Z");
        // A day is a working day, a week has as many as there are, and closing time is in time.
        check("2026-11-20T10:00", "1d", "2026-11-23T09:00:00Z");
        check("2026-11-20T09:00", "1d", "2026-11-20T16:00:00Z");
        check("2026-11-20T09:00", "1w", "2026-11-26T16:00:00Z");
        check("2026-10-24T12:00", "1h", "2026-10-26T09:00:00Z");
    }

    #[test]
    fn other_days_and_what_is_refused() {
        let week = r#"{"business":"2h","zone":"Europe/Berlin","days":["sun","mon"]}"#;
        assert_eq!(due("2026-11-20T10:00", week), "2026-11-22T10:00:00Z", "the weekend is theirs");
        let check = |settings: &str, expected: &str| {
            let said = read(&Value::from_json(settings.as_bytes()).unwrap()).unwrap_err();
            assert!(said.contains(expected), "{settings}: {said}");
        };
        check(r#"{"business":"8h","zone":"Mars/Base"}"#, "is no time zone");
        check(r#"{"business":"8h","open":"18:00"}"#, "`open` must be before `close`");
        check(r#"{"business":"0d"}"#, "how much working time");
        check(r#"{"business":"8h","days":["noday"]}"#, "a working day is one of");
        check(r#"{"business":"8h","holidays":["25.12."]}"#, "a holiday is a date");
        check(r#"{"business":"8h","zones":"UTC"}"#, "no setting `zones`");
    }
}
