//! Dates: instants with a time zone. In text and results they are RFC 3339, in zones other than UTC RFC 9557.
//!
//! Durations written as text (`'1d 12h'`) are exact: a day is 24 hours, as everywhere in a flow. Durations
//! written as objects (`{days: 1}`) or with a unit (`plus(1, 'day')`) follow the calendar of the zone.

use std::rc::Rc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _, Unit, Zoned};
use rust_decimal::Decimal;

use super::super::data::{Data, offset_text};
use super::super::eval::{Fail, Machine, Outcome, a};
use super::super::number::Number;
use super::date_format;
use super::types::{DATE, NUMBER, TEXT};
use super::{Args, Function, method, plain};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    plain(
        "now",
        0,
        (0, 0),
        "The time of this step, in UTC; the same when a step is repeated.",
        ("now().toISO()", "\"2026-01-02T03:04:05.678Z\""),
        now,
    ),
    plain(
        "Date.now",
        0,
        (0, 0),
        "The time of this step in milliseconds since 1970.",
        ("Date.now()", "1767323045678"),
        now_ms,
    ),
    plain(
        "date",
        TEXT | NUMBER | DATE,
        (1, 2),
        "The date in a text (in zone b, or UTC, if the text names none), or in a number with its unit 's' or 'ms'.",
        ("date('2024-05-01T10:00:00Z').plus('3d')", "\"2024-05-04T10:00:00Z\""),
        date,
    ),
    plain(
        "parseDate",
        TEXT,
        (2, 3),
        "The date in a text of format b, in zone c if it names none.",
        ("parseDate('01.05.2024', 'dd.MM.yyyy')", "\"2024-05-01T00:00:00Z\""),
        parse_date,
    ),
    plain(
        "duration",
        TEXT,
        (1, 1),
        "A duration such as '1h 30m' in milliseconds.",
        ("duration('1h 30m')", "5400000"),
        duration,
    ),
    method(
        "plus",
        DATE,
        (1, 2),
        "Later by a duration: '3d', {months: 1}, or 3, 'days'.",
        ("date('2024-01-31').plus({months: 1}).toISODate()", "\"2024-02-29\""),
        plus,
    ),
    method(
        "minus",
        DATE,
        (1, 2),
        "Earlier by a duration.",
        ("date('2024-05-01').minus('12h')", "\"2024-04-30T12:00:00Z\""),
        minus,
    ),
    method(
        "diff",
        DATE,
        (1, 2),
        "How much later this date is than a, in milliseconds or in unit b; months and years count whole ones.",
        ("date('2024-05-03').diff(date('2024-05-01T12:00'), 'days')", "1.5"),
        diff,
    ),
    method(
        "format",
        DATE,
        (1, 1),
        "As text, in Luxon's letters: yyyy MM dd HH mm ss, text in 'quotes'.",
        ("date('2024-05-01T09:05:00Z').format('dd.MM.yyyy HH:mm')", "\"01.05.2024 09:05\""),
        format,
    ),
    method("toFormat", DATE, (1, 1), "As format.", ("date('2024-05-01').toFormat('d LLL yy')", "\"1 May 24\""), format),
    method(
        "toISO",
        DATE,
        (0, 0),
        "As RFC 3339 text with its offset.",
        ("date('2024-05-01T10:00', 'Europe/Berlin').toISO()", "\"2024-05-01T10:00:00+02:00\""),
        to_iso,
    ),
    method(
        "toISOString",
        DATE,
        (0, 0),
        "As RFC 3339 text in UTC with milliseconds, as JavaScript writes it.",
        ("date('2024-05-01').toISOString()", "\"2024-05-01T00:00:00.000Z\""),
        to_iso_string,
    ),
    method(
        "toISODate",
        DATE,
        (0, 0),
        "The day as yyyy-MM-dd.",
        ("date('2024-05-01T10:00:00Z').toISODate()", "\"2024-05-01\""),
        to_iso_date,
    ),
    method(
        "toMillis",
        DATE,
        (0, 0),
        "Milliseconds since 1970.",
        ("date('1970-01-02').toMillis()", "86400000"),
        to_millis,
    ),
    method("getTime", DATE, (0, 0), "As toMillis.", ("date('1970-01-02').getTime()", "86400000"), to_millis),
    method(
        "toSeconds",
        DATE,
        (0, 0),
        "Whole seconds since 1970.",
        ("date('1970-01-02').toSeconds()", "86400"),
        to_seconds,
    ),
    method(
        "setZone",
        DATE,
        (1, 1),
        "The same instant in a zone such as 'Europe/Berlin'.",
        ("date('2024-05-01T10:00:00Z').setZone('Europe/Berlin').hour", "12"),
        set_zone,
    ),
    method(
        "toUTC",
        DATE,
        (0, 0),
        "The same instant in UTC.",
        ("date('2024-05-01T10:00:00+02:00').toUTC().hour", "8"),
        to_utc,
    ),
    method(
        "startOf",
        DATE,
        (1, 1),
        "The start of its year, quarter, month, week (Monday), day, hour, minute or second.",
        ("date('2024-05-17').startOf('month').toISODate()", "\"2024-05-01\""),
        start_of,
    ),
    method(
        "endOf",
        DATE,
        (1, 1),
        "The last millisecond of such a span.",
        ("date('2024-05-17').endOf('month').toISOString()", "\"2024-05-31T23:59:59.999Z\""),
        end_of,
    ),
    method("getFullYear", DATE, (0, 0), "The year.", ("date('2024-05-17').getFullYear()", "2024"), get_full_year),
    method("getDate", DATE, (0, 0), "The day of the month.", ("date('2024-05-17').getDate()", "17"), get_date),
];

pub(super) fn made<'a>(machine: &mut Machine<'a>, date: Zoned) -> Outcome<'a> {
    machine.steps(8)?;
    machine.grow(64)?;
    Ok(Data::Date(Rc::new(date)))
}

/// A field of a date: `year`, `month` (from 1), `day`, `hour`, `minute`, `second`, `millisecond`, `weekday` (Monday 1), `quarter`,
/// `ordinal` (day of the year), `weekNumber` (ISO), `daysInMonth`, `zone`.
pub(in super::super) fn field<'a>(date: &Zoned, name: &str) -> Option<Data<'a>> {
    Some(Data::Int(match name {
        "year" => date.year().into(),
        "month" => date.month().into(),
        "day" => date.day().into(),
        "hour" => date.hour().into(),
        "minute" => date.minute().into(),
        "second" => date.second().into(),
        "millisecond" => date.millisecond().into(),
        "quarter" => ((date.month() - 1) / 3 + 1).into(),
        "ordinal" => date.day_of_year().into(),
        "weekNumber" => date.date().iso_week_date().week().into(),
        "daysInMonth" => date.days_in_month().into(),
        "weekday" => date.weekday().to_monday_one_offset().into(),
        "zone" => return Some(Data::text(date.time_zone().iana_name().unwrap_or("UTC").to_owned())),
        _ => return None,
    }))
}

fn of_ms(ms: i64) -> Result<Zoned, Fail> {
    Timestamp::from_millisecond(ms)
        .map(|instant| instant.to_zoned(TimeZone::UTC))
        .map_err(|_| Fail::new(format!("{ms} milliseconds is no date that can be held")))
}

fn now<'a>(machine: &mut Machine<'a>, _args: &Args<'a, '_>) -> Outcome<'a> {
    let date = of_ms(machine.scope.now_ms())?;
    machine.heap(240)?;
    machine.draws.push(Value::Str(offset_text(&date)));
    made(machine, date)
}

fn now_ms<'a>(machine: &mut Machine<'a>, _args: &Args<'a, '_>) -> Outcome<'a> {
    machine.grow(64)?;
    machine.heap(160)?;
    let ms = i128::from(machine.scope.now_ms());
    machine.draws.push(Value::Int(ms));
    Ok(Data::Int(ms))
}

fn zone(name: &str) -> Result<TimeZone, Fail> {
    if name.eq_ignore_ascii_case("utc") || name == "Z" {
        return Ok(TimeZone::UTC);
    }
    let fixed = || -> Option<TimeZone> {
        let rest = name.strip_prefix("UTC").unwrap_or(name);
        let full = if rest.len() == 2 || rest.len() == 3 { format!("{rest}:00") } else { rest.to_owned() };
        format!("2024-01-01T00:00:00{full}[{full}]").parse::<Zoned>().ok().map(|date| date.time_zone().clone())
    };
    if name.len() <= 64
        && let Some(found) = TimeZone::get(name).ok().or_else(fixed)
    {
        return Ok(found);
    }
    let shown: String = name.chars().take(40).collect();
    Err(Fail::new(format!("\"{}\" is no known time zone", crate::text::display(&shown)))
        .hint("write 'UTC' or a name such as 'Europe/Berlin'"))
}

fn zone_arg<'a>(args: &Args<'a, '_>, place: usize) -> Outcome<'a, TimeZone> {
    if args.get(place).is_some() { zone(args.text(place)?) } else { Ok(TimeZone::UTC) }
}

pub(super) fn date<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    match args.get(0) {
        Some(Data::Date(date)) => Ok(Data::Date(Rc::clone(date))),
        Some(Data::Text(text)) => {
            machine.scan(text.len())?;
            let zone = zone_arg(args, 1)?;
            let date = read(text.trim(), zone)?;
            made(machine, date)
        }
        _ => {
            let number = args.number(0)?;
            let unit = if args.get(1).is_some() { &**args.text(1)? } else { "" };
            let factor = match unit {
                "s" | "seconds" => 1000,
                "ms" | "milliseconds" => 1,
                _ => {
                    return Err(Fail::new("`date` of a number needs its unit")
                        .hint("write `date(x, 's')` for seconds or `date(x, 'ms')` for milliseconds since 1970"));
                }
            };
            let ms = match number.multiply(Number::Int(factor)).map_err(Fail::new)? {
                Number::Int(ms) => i64::try_from(ms).ok(),
                Number::Dec(ms) => i64::try_from(ms.floor().mantissa()).ok(),
            };
            let date = of_ms(ms.ok_or_else(|| Fail::new("the number is no date that can be held"))?)?;
            made(machine, date)
        }
    }
}

/// Reads RFC 3339, RFC 9557, RFC 2822 and ISO 8601 texts without a zone.
fn read(text: &str, zone: TimeZone) -> Result<Zoned, Fail> {
    let unreadable = || {
        let shown: String = text.chars().take(40).collect();
        Fail::new(format!("the text \"{}\" is no date", crate::text::display(&shown)))
            .hint("dates look like 2024-05-01T10:00:00Z; for others write `parseDate(x, 'dd.MM.yyyy')`")
    };
    if text.len() > 100 {
        return Err(unreadable());
    }
    if let Ok(date) = text.parse::<Zoned>() {
        return Ok(date);
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        let offset = jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M:%S%.f%:z", text).ok().and_then(|parsed| parsed.offset());
        let zone = match offset {
            Some(offset) if offset != jiff::tz::Offset::UTC => TimeZone::fixed(offset),
            _ => TimeZone::UTC,
        };
        return Ok(instant.to_zoned(zone));
    }
    if let Ok(local) = text.parse::<DateTime>() {
        return local.to_zoned(zone).map_err(|_| unreadable());
    }
    jiff::fmt::rfc2822::parse(text).map_err(|_| unreadable())
}

fn parse_date<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, format) = (args.text(0)?, args.text(1)?);
    machine.scan(text.len() + format.len())?;
    let zone = zone_arg(args, 2)?;
    let date = date_format::parse(text.trim(), format, zone)?;
    made(machine, date)
}

const UNITS: &[(&str, i64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// Milliseconds of a duration text: integers with units, `1h 30m`.
fn duration_ms(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let (sign, unsigned) = rest.strip_prefix('-').map_or((1, rest), |after| (-1, after));
    rest = unsigned;
    let mut total = None;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?.trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = rest.get(..letters)?;
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = Some(count.checked_mul(*ms)?.checked_add(total.unwrap_or(0))?);
        rest = rest.get(letters..)?.trim_start();
    }
    total.map(|total| total * sign)
}

fn bad_duration(text: &str) -> Fail {
    let shown: String = text.chars().take(40).collect();
    Fail::new(format!("\"{}\" is no duration", crate::text::display(&shown)))
        .hint("write numbers with ms, s, m, h, d or w: '1h 30m'; months and years as {months: 1}")
}

fn duration<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    duration_ms(text).map(|ms| Data::Int(ms.into())).ok_or_else(|| bad_duration(text))
}

/// Adds a count of a calendar unit to a span; the unit may be singular or plural.
fn with_unit(span: Span, unit: &str, count: i128) -> Result<Span, Fail> {
    let count = i64::try_from(count).map_err(|_| Fail::new("the duration is too long"))?;
    let too_long = |_| Fail::new("the duration is too long");
    match unit.strip_suffix('s').filter(|rest| !rest.is_empty() && *rest != "m").unwrap_or(unit) {
        "year" => span.try_years(count).map_err(too_long),
        "quarter" => span.try_months(count.saturating_mul(3)).map_err(too_long),
        "month" => span.try_months(count).map_err(too_long),
        "week" | "w" => span.try_weeks(count).map_err(too_long),
        "day" | "d" => span.try_days(count).map_err(too_long),
        "hour" | "h" => span.try_hours(count).map_err(too_long),
        "minute" | "m" => span.try_minutes(count).map_err(too_long),
        "second" | "s" => span.try_seconds(count).map_err(too_long),
        "millisecond" | "ms" => span.try_milliseconds(count).map_err(too_long),
        _ => Err(unknown_unit(unit)),
    }
}

fn unknown_unit(unit: &str) -> Fail {
    let shown: String = unit.chars().take(40).collect();
    Fail::new(format!("\"{}\" is no unit of time", crate::text::display(&shown)))
        .hint("write years, quarters, months, weeks, days, hours, minutes, seconds or milliseconds")
}

fn span<'a>(args: &Args<'a, '_>) -> Outcome<'a, Span> {
    match (args.get(1), args.get(2)) {
        (Some(Data::Text(text)), None) => {
            duration_ms(text).map(|ms| ms.milliseconds()).ok_or_else(|| bad_duration(text))
        }
        (Some(Data::Object(fields)), None) => {
            let mut span = Span::new();
            for (unit, count) in fields.iter() {
                let Data::Int(count) = count else {
                    return Err(Fail::new(format!(
                        "{} of a duration must be an integer, it is {}",
                        &*unit,
                        a(count.kind())
                    )));
                };
                span = with_unit(span, &unit, count)?;
            }
            Ok(span)
        }
        (Some(Data::Int(count)), Some(Data::Text(unit))) => with_unit(Span::new(), unit, *count),
        (Some(Data::Int(_)), None) => Err(args.wrong(1, "a duration").hint("write '3d', {days: 3}, or 3, 'days'")),
        _ => Err(args.wrong(1, "a duration").hint("write '3d' or {days: 3}")),
    }
}

fn plus<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let date = args.date(0)?.checked_add(span(args)?).map_err(|_| out_of_range())?;
    made(machine, date)
}

fn minus<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let date = args.date(0)?.checked_sub(span(args)?).map_err(|_| out_of_range())?;
    made(machine, date)
}

pub(super) fn out_of_range() -> Fail {
    Fail::new("the date lies outside the years -9999 to 9999")
}

fn diff<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (date, other) = (args.date(0)?, args.date(1)?);
    apart(machine, args, date, other)
}

pub(super) fn diff_to<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (date, other) = (args.date(0)?, args.date(1)?);
    apart(machine, args, other, date)
}

/// How much later `date` is than `other`, in the unit of argument 2.
fn apart<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>, date: &Rc<Zoned>, other: &Rc<Zoned>) -> Outcome<'a> {
    machine.steps(8)?;
    let unit: &str = if args.get(2).is_some() { args.text(2)? } else { "milliseconds" };
    let name = unit.strip_suffix('s').filter(|rest| rest.len() > 1).unwrap_or(unit);
    let nanoseconds = date.timestamp().as_nanosecond() - other.timestamp().as_nanosecond();
    let whole = |unit: Unit, get: fn(&Span) -> i64| {
        other.until((unit, &**date)).map(|span| Data::Int(get(&span).into())).map_err(|_| out_of_range())
    };
    let per: i128 = match name {
        "year" => return whole(Unit::Year, |span| span.get_years().into()),
        "month" => return whole(Unit::Month, |span| span.get_months().into()),
        "week" => 604_800_000,
        "day" => 86_400_000,
        "hour" => 3_600_000,
        "minute" => 60_000,
        "second" => 1_000,
        "millisecond" | "ms" => 1,
        _ => return Err(unknown_unit(unit)),
    };
    Number::Int(nanoseconds).divide(Number::Int(per * 1_000_000)).map(Data::number).map_err(Fail::new)
}

fn format<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (date, format) = (args.date(0)?, args.text(1)?);
    machine.scan(format.len())?;
    machine.grow(format.len().saturating_mul(16))?;
    date_format::format(date, format).map(Data::text)
}

fn to_iso<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    machine.made_text(offset_text(args.date(0)?))
}

fn to_iso_string<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    machine.made_text(format!("{:.3}", args.date(0)?.timestamp()))
}

fn to_iso_date<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    machine.made_text(args.date(0)?.date().to_string())
}

fn to_millis<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Int(args.date(0)?.timestamp().as_millisecond().into()))
}

fn to_seconds<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Int(args.date(0)?.timestamp().as_second().into()))
}

fn set_zone<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let date = args.date(0)?.with_time_zone(zone(args.text(1)?)?);
    made(machine, date)
}

fn to_utc<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let date = args.date(0)?.with_time_zone(TimeZone::UTC);
    made(machine, date)
}

/// The start of the span of a unit around a date, and the length of that span.
fn floor(date: &Zoned, unit: &str) -> Result<(Zoned, Span), Fail> {
    let failed = |_| out_of_range();
    let day = |date: &Zoned| date.start_of_day().map_err(failed);
    let clock = |hour: bool, minute: bool| {
        let with = date.with().subsec_nanosecond(0).second(if minute || hour { 0 } else { date.second() });
        with.minute(if hour { 0 } else { date.minute() }).build().map_err(failed)
    };
    let name = unit.strip_suffix('s').unwrap_or(unit);
    Ok(match name {
        "year" => (day(&date.first_of_year().map_err(failed)?)?, 1.year()),
        "quarter" => {
            let month = (date.month() - 1) / 3 * 3 + 1;
            (day(&date.with().day(1).month(month).build().map_err(failed)?)?, 3.months())
        }
        "month" => (day(&date.first_of_month().map_err(failed)?)?, 1.month()),
        "week" => {
            let back = i64::from(date.weekday().to_monday_zero_offset());
            (day(&date.checked_sub(back.days()).map_err(failed)?)?, 1.week())
        }
        "day" => (day(date)?, 1.day()),
        "hour" => (clock(true, true)?, 1.hour()),
        "minute" => (clock(false, true)?, 1.minute()),
        "second" => (clock(false, false)?, 1.second()),
        _ => return Err(unknown_unit(unit)),
    })
}

fn start_of<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (start, _) = floor(args.date(0)?, args.text(1)?)?;
    made(machine, start)
}

fn end_of<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (start, length) = floor(args.date(0)?, args.text(1)?)?;
    let end = start.checked_add(length).and_then(|end| end.checked_sub(1.millisecond())).map_err(|_| out_of_range())?;
    made(machine, end)
}

fn get_full_year<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Int(args.date(0)?.year().into()))
}

fn get_date<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Int(args.date(0)?.day().into()))
}

/// Used by the format: seconds since 1970 with milliseconds, for `X` and `x`.
pub(super) fn unix(date: &Zoned, milliseconds: bool) -> String {
    let instant = date.timestamp();
    if milliseconds { instant.as_millisecond().to_string() } else { Decimal::from(instant.as_second()).to_string() }
}
