//! Luxon's format letters, for `format` and `parseDate`. Names of months and days are English.

use jiff::Zoned;
use jiff::tz::TimeZone;

use super::super::eval::Fail;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A piece of a format: a run of one letter, or text that stands for itself.
enum Piece<'f> {
    Letters(&'f str),
    Literal(&'f str),
}

fn pieces(format: &str) -> Result<Vec<Piece<'_>>, Fail> {
    let mut out = Vec::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let length = if first == '\'' {
            let inner = rest.get(1..).unwrap_or("");
            let end = inner.find('\'').ok_or_else(|| Fail::new("the format has a ' that is not closed"))?;
            out.push(Piece::Literal(if end == 0 { "'" } else { inner.get(..end).unwrap_or("") }));
            end + 2
        } else if first.is_ascii_alphabetic() {
            let run = rest.chars().take_while(|next| *next == first).count();
            out.push(Piece::Letters(rest.get(..run).unwrap_or("")));
            run
        } else {
            let run = rest.find(|next: char| next == '\'' || next.is_ascii_alphabetic()).unwrap_or(rest.len());
            out.push(Piece::Literal(rest.get(..run).unwrap_or("")));
            run
        };
        rest = rest.get(length..).unwrap_or("");
    }
    Ok(out)
}

fn unknown(letters: &str) -> Fail {
    let shown: String = letters.chars().take(10).collect();
    Fail::new(format!("the format letters `{shown}` are not known"))
        .hint("use yyyy MM dd HH mm ss and put other text in 'quotes'")
}

pub(super) fn format(date: &Zoned, format: &str) -> Result<String, Fail> {
    let mut out = String::new();
    for piece in pieces(format)? {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Letters(letters) => out.push_str(&field(date, letters)?),
        }
    }
    Ok(out)
}

fn field(date: &Zoned, letters: &str) -> Result<String, Fail> {
    let month = MONTHS.get(usize::try_from(date.month() - 1).unwrap_or(0)).copied().unwrap_or("");
    let day = DAYS.get(usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0)).copied().unwrap_or("");
    let hour12 = match date.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let start = |text: &str, count: usize| text.chars().take(count).collect::<String>();
    let week = || date.clone().iso_week_date();
    let seconds = date.offset().seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    Ok(match letters {
        "y" => date.year().to_string(),
        "yy" => format!("{:02}", date.year().rem_euclid(100)),
        "yyyy" => format!("{:04}", date.year()),
        "M" | "L" => date.month().to_string(),
        "MM" | "LL" => format!("{:02}", date.month()),
        "MMM" | "LLL" => start(month, 3),
        "MMMM" | "LLLL" => month.to_owned(),
        "d" => date.day().to_string(),
        "dd" => format!("{:02}", date.day()),
        "o" => date.day_of_year().to_string(),
        "ooo" => format!("{:03}", date.day_of_year()),
        "E" | "c" => date.weekday().to_monday_one_offset().to_string(),
        "EEE" | "ccc" => start(day, 3),
        "EEEE" | "cccc" => day.to_owned(),
        "H" => date.hour().to_string(),
        "HH" => format!("{:02}", date.hour()),
        "h" => hour12.to_string(),
        "hh" => format!("{hour12:02}"),
        "m" => date.minute().to_string(),
        "mm" => format!("{:02}", date.minute()),
        "s" => date.second().to_string(),
        "ss" => format!("{:02}", date.second()),
        "S" => date.millisecond().to_string(),
        "SSS" | "u" => format!("{:03}", date.millisecond()),
        "a" => (if date.hour() < 12 { "AM" } else { "PM" }).to_owned(),
        "q" => ((date.month() - 1) / 3 + 1).to_string(),
        "W" => week().week().to_string(),
        "WW" => format!("{:02}", week().week()),
        "kkkk" => format!("{:04}", week().year()),
        "Z" if minutes == 0 => format!("{sign}{hours}"),
        "Z" => format!("{sign}{hours}:{minutes:02}"),
        "ZZ" => format!("{sign}{hours:02}:{minutes:02}"),
        "ZZZ" => format!("{sign}{hours:02}{minutes:02}"),
        "z" => date.time_zone().iana_name().unwrap_or("UTC").to_owned(),
        "X" => super::date::unix(date, false),
        "x" => super::date::unix(date, true),
        "T" => format!("{:02}:{:02}", date.hour(), date.minute()),
        "D" => format!("{}/{}/{}", date.month(), date.day(), date.year()),
        _ => return Err(unknown(letters)),
    })
}

/// The strtime directives that read what a format writes.
fn directives(format: &str) -> Result<String, Fail> {
    let mut out = String::new();
    for piece in pieces(format)? {
        match piece {
            Piece::Literal(text) => out.push_str(&text.replace('%', "%%")),
            Piece::Letters(letters) => out.push_str(match letters {
                "y" | "yyyy" => "%Y",
                "yy" => "%y",
                "M" | "MM" | "L" | "LL" => "%m",
                "MMM" | "LLL" => "%b",
                "MMMM" | "LLLL" => "%B",
                "d" | "dd" => "%d",
                "o" | "ooo" => "%j",
                "EEE" | "ccc" => "%a",
                "EEEE" | "cccc" => "%A",
                "H" | "HH" => "%H",
                "h" | "hh" => "%I",
                "m" | "mm" => "%M",
                "s" | "ss" => "%S",
                "S" | "SSS" => "%f",
                "a" => "%p",
                "ZZ" => "%:z",
                "ZZZ" => "%z",
                "z" => "%:Q",
                "X" => "%s",
                _ => return Err(unknown(letters)),
            }),
        }
    }
    Ok(out)
}

pub(super) fn parse(text: &str, format: &str, zone: TimeZone) -> Result<Zoned, Fail> {
    let shown = |text: &str| crate::text::display(&text.chars().take(40).collect::<String>());
    let failed = || Fail::new(format!("the text \"{}\" does not have the format \"{}\"", shown(text), shown(format)));
    if text.len() > 200 || format.len() > 200 {
        return Err(failed());
    }
    let parsed = jiff::fmt::strtime::parse(directives(format)?, text).map_err(|_| failed())?;
    if let Ok(date) = parsed.to_zoned() {
        return Ok(date);
    }
    if let Ok(instant) = parsed.to_timestamp() {
        return Ok(instant.to_zoned(zone));
    }
    let day = parsed.to_date().map_err(|_| failed())?;
    let time = parsed.to_time().map_err(|_| failed())?;
    day.to_datetime(time).to_zoned(zone).map_err(|_| failed())
}
