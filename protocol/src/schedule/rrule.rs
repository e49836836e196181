//! Recurrence rules as calendars write them: the part of RFC 5545 (section 3.3.10) that says days and times of day.
//!
//! Everything else of an RRULE is refused with a sentence, never ignored. The walk goes period by period (day, week,
//! month, year) from the first one, so it finds the same instants wherever it starts. Wall times become instants by
//! the one rule of all schedules: what a clock change leaves out is due at the first moment after it, what comes twice
//! the first time.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;

use super::wall;

/// `COUNT` is at most this.
pub const COUNT_MAX: usize = 5_000;
/// Instants that are looked at to find those of a rule with `COUNT` and `BYSETPOS`.
const LOOKS_MAX: usize = 10_000_000;
/// Times of a day.
const TIMES_MAX: usize = 96;
/// Years without an instant after which there is none any more.
const YEARS: i16 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freq {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// A weekday, in months and years perhaps with its number from the beginning or the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ByDay {
    nth: i16,
    day: Weekday,
}

/// A recurrence rule with its beginning.
#[derive(Clone, Debug)]
pub struct Recurrence {
    freq: Freq,
    interval: i64,
    start: DateTime,
    until_ms: i64,
    count: Option<usize>,
    months: Vec<i8>,
    month_days: Vec<i8>,
    days: Vec<ByDay>,
    times: Vec<Time>,
    positions: Vec<i16>,
    week_start: Weekday,
    zone: TimeZone,
    /// All instants of a rule with `COUNT`.
    all: Vec<i64>,
}

type Read<T> = Result<T, String>;

fn number<T: FromStr + PartialOrd + Display>(key: &str, text: &str, least: T, most: T) -> Read<T> {
    let found = text.strip_prefix('+').unwrap_or(text).parse::<T>().ok();
    found
        .filter(|number| *number >= least && *number <= most)
        .ok_or_else(|| format!("`{key}={text}` must be a number from {least} to {most}"))
}

fn numbers<T>(key: &str, text: &str, least: T, most: T) -> Read<Vec<T>>
where
    T: FromStr + PartialOrd + Display + Copy + Default,
{
    let found: Vec<T> = text.split(',').map(|one| number(key, one, least, most)).collect::<Read<_>>()?;
    if key != "BYHOUR" && key != "BYMINUTE" && key != "BYSECOND" && found.contains(&T::default()) {
        return Err(format!("`{key}` has no 0"));
    }
    Ok(found)
}

fn weekday(text: &str) -> Read<Weekday> {
    Ok(match text {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return Err(format!("`{text}` is no weekday; they are MO, TU, WE, TH, FR, SA, SU")),
    })
}

fn by_day(text: &str) -> Read<ByDay> {
    let cut = text.len().checked_sub(2).filter(|cut| text.is_char_boundary(*cut)).unwrap_or(0);
    let (nth, day) = text.split_at(cut);
    let day = weekday(day)?;
    Ok(ByDay { nth: if nth.is_empty() { 0 } else { number("BYDAY", nth, -53, 53)? }, day })
}

impl Recurrence {
    /// Reads a rule that begins at a wall time of a zone.
    ///
    /// # Errors
    /// A sentence that says which part is wrong or not executed here.
    pub fn read(text: &str, start: DateTime, zone: &TimeZone) -> Read<Self> {
        let text = text.strip_prefix("RRULE:").unwrap_or(text);
        if text.len() > 500 || !text.is_ascii() {
            return Err("it is longer than 500 characters or not plain ASCII".to_owned());
        }
        let (mut freq, mut seen) = (None, BTreeSet::new());
        let mut rule = Self {
            freq: Freq::Daily,
            interval: 1,
            start,
            until_ms: i64::MAX,
            count: None,
            months: Vec::new(),
            month_days: Vec::new(),
            days: Vec::new(),
            times: Vec::new(),
            positions: Vec::new(),
            week_start: Weekday::Monday,
            zone: zone.clone(),
            all: Vec::new(),
        };
        let (mut hours, mut minutes, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is no `KEY=VALUE`"))?;
            let (key, value) = (key.trim().to_ascii_uppercase(), value.trim().to_ascii_uppercase());
            if !seen.insert(key.clone()) {
                return Err(format!("`{key}` stands in it twice"));
            }
            let value = value.as_str();
            match key.as_str() {
                "FREQ" => {
                    freq = Some(match value {
                        "DAILY" => Freq::Daily,
                        "WEEKLY" => Freq::Weekly,
                        "MONTHLY" => Freq::Monthly,
                        "YEARLY" => Freq::Yearly,
                        "HOURLY" | "MINUTELY" | "SECONDLY" => {
                            return Err(format!("`FREQ={value}` is not executed; write `every` or `cron` for that"));
                        }
                        _ => {
                            return Err(format!("`FREQ={value}` is not known; write DAILY, WEEKLY, MONTHLY or YEARLY"));
                        }
                    });
                }
                "INTERVAL" => rule.interval = number("INTERVAL", value, 1, 1_000)?,
                "COUNT" => rule.count = Some(number("COUNT", value, 1, COUNT_MAX)?),
                "UNTIL" => rule.until_ms = until(value, zone)?,
                "BYMONTH" => rule.months = numbers("BYMONTH", value, 1, 12)?,
                "BYMONTHDAY" => rule.month_days = numbers("BYMONTHDAY", value, -31, 31)?,
                "BYDAY" => rule.days = value.split(',').map(by_day).collect::<Read<_>>()?,
                "BYHOUR" => hours = numbers("BYHOUR", value, 0, 23)?,
                "BYMINUTE" => minutes = numbers("BYMINUTE", value, 0, 59)?,
                "BYSECOND" => seconds = numbers("BYSECOND", value, 0, 59)?,
                "BYSETPOS" => rule.positions = numbers("BYSETPOS", value, -366, 366)?,
                "WKST" => rule.week_start = weekday(value)?,
                "BYWEEKNO" | "BYYEARDAY" => {
                    return Err(format!("`{key}` is not executed; say the days by BYMONTH, BYMONTHDAY and BYDAY"));
                }
                _ => return Err(format!("`{key}` is no part of a recurrence rule")),
            }
        }
        rule.freq = freq.ok_or("it has no `FREQ`, as in `FREQ=MONTHLY;BYDAY=1MO`")?;
        if rule.count.is_some() && rule.until_ms != i64::MAX {
            return Err("it has `COUNT` and `UNTIL`; keep one of the two".to_owned());
        }
        let counted = rule.days.iter().any(|day| day.nth != 0);
        if counted && !matches!(rule.freq, Freq::Monthly | Freq::Yearly) {
            return Err("a numbered `BYDAY` as in `1MO` needs `FREQ=MONTHLY` or `YEARLY`".to_owned());
        }
        if rule.freq == Freq::Weekly && !rule.month_days.is_empty() {
            return Err("`BYMONTHDAY` does not go with `FREQ=WEEKLY`".to_owned());
        }
        let or = |given: Vec<i8>, usual: i8| if given.is_empty() { vec![usual] } else { given };
        let (hours, minutes, seconds) =
            (or(hours, start.hour()), or(minutes, start.minute()), or(seconds, start.second()));
        for hour in &hours {
            for minute in &minutes {
                let at = |second: &i8| Time::new(*hour, *minute, *second, 0).ok();
                rule.times.extend(seconds.iter().filter_map(at));
            }
        }
        rule.times.sort_unstable();
        rule.times.dedup();
        if rule.times.len() > TIMES_MAX {
            return Err(format!("it has more than {TIMES_MAX} times of a day; write `cron` for that"));
        }
        if let Some(count) = rule.count {
            // With `BYSETPOS` each instant is chosen among all of its period.
            let days = match rule.freq {
                Freq::Daily => 1,
                Freq::Weekly => 7,
                Freq::Monthly => 31,
                Freq::Yearly => 366,
            };
            let looks = count.saturating_mul(days * rule.times.len());
            if !rule.positions.is_empty() && looks > LOOKS_MAX {
                return Err("it takes too long to find all of its instants; give it a lower `COUNT` or no `BYSETPOS`"
                    .to_owned());
            }
            let mut walk = Vec::new();
            let mut after = i64::MIN;
            while walk.len() < count
                && let Some(next) = rule.walked(after)
            {
                walk.push(next);
                after = next;
            }
            rule.all = walk;
        }
        Ok(rule)
    }

    /// The first instant after a time.
    #[must_use]
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        let next = match self.count {
            Some(_) => self.all.get(self.all.partition_point(|at| *at <= after_ms)).copied(),
            None => self.walked(after_ms),
        };
        next.filter(|next| *next <= self.until_ms)
    }

    fn walked(&self, after_ms: i64) -> Option<i64> {
        let begin = wall(self.start, &self.zone)?;
        let from = jiff::Timestamp::from_millisecond(after_ms.max(begin - 1)).ok()?;
        let here = from.to_zoned(self.zone.clone()).datetime().date();
        let last = here.year().saturating_add(YEARS);
        // One period earlier: a wall time that was left out is due after its period's end at most.
        let mut number = (self.period_of(here)? / self.interval).saturating_sub(1).max(0);
        loop {
            let first = self.begins(number.checked_mul(self.interval)?)?;
            if first.year() > last {
                return None;
            }
            let next = self.first_in(first, here, after_ms);
            if next.is_some() {
                return next;
            }
            number += 1;
        }
    }

    /// How many periods after the first one a day is.
    fn period_of(&self, date: Date) -> Option<i64> {
        let start = self.start.date();
        let days = |from: Date, to: Date| Some(i64::from(from.until(to).ok()?.get_days()));
        let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
        Some(match self.freq {
            Freq::Daily => days(start, date)?,
            Freq::Weekly => days(self.week_of(start)?, date)?.div_euclid(7),
            Freq::Monthly => months(date) - months(start),
            Freq::Yearly => i64::from(date.year()) - i64::from(start.year()),
        })
    }

    /// The first day of a period.
    fn begins(&self, period: i64) -> Option<Date> {
        let start = self.start.date();
        match self.freq {
            Freq::Daily => start.checked_add(period.days()).ok(),
            Freq::Weekly => self.week_of(start)?.checked_add(period.checked_mul(7)?.days()).ok(),
            Freq::Monthly => start.first_of_month().checked_add(period.months()).ok(),
            Freq::Yearly => start.first_of_year().checked_add(period.years()).ok(),
        }
    }

    fn week_of(&self, date: Date) -> Option<Date> {
        let back = date.weekday().since(self.week_start);
        date.checked_sub(i64::from(back).days()).ok()
    }

    /// The first instant of a period after a time on a day.
    fn first_in(&self, first: Date, here: Date, after_ms: i64) -> Option<i64> {
        let length = match self.freq {
            Freq::Daily => 1,
            Freq::Weekly => 7,
            Freq::Monthly => i64::from(first.days_in_month()),
            Freq::Yearly => i64::from(first.days_in_year()),
        };
        // What a clock change leaves out is due on the next day at the latest.
        let near = here.yesterday().unwrap_or(here);
        let days = (0..length).filter_map(|day| first.checked_add(day.days()).ok()).filter(|day| self.takes(*day));
        let of = |day: Date| self.times.iter().map(move |time| DateTime::from_parts(day, *time));
        let due = |at: DateTime| wall(at, &self.zone).filter(|ms| at >= self.start && *ms > after_ms);
        if self.positions.is_empty() {
            return days.filter(|day| *day >= near).flat_map(of).find_map(due);
        }
        let all: Vec<DateTime> = days.flat_map(of).collect();
        let count = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let place = |at: &i16| if *at > 0 { i64::from(*at) - 1 } else { count + i64::from(*at) };
        let wanted: BTreeSet<i64> = self.positions.iter().map(place).collect();
        let chosen = all.into_iter().zip(0_i64..).filter(|(_, number)| wanted.contains(number));
        chosen.map(|(at, _)| at).find_map(due)
    }

    fn takes(&self, day: Date) -> bool {
        if !self.months.is_empty() && !self.months.contains(&day.month()) {
            return false;
        }
        let length = day.days_in_month();
        let in_month = |wanted: &i8| *wanted == day.day() || *wanted == day.day() - length - 1;
        if !self.month_days.is_empty() && !self.month_days.iter().any(in_month) {
            return false;
        }
        if !self.days.is_empty() {
            return self.days.iter().any(|wanted| wanted.day == day.weekday() && self.is_nth(wanted.nth, day));
        }
        // What the rule leaves open is as the beginning has it.
        let start = self.start.date();
        match self.freq {
            Freq::Daily => true,
            Freq::Weekly => day.weekday() == start.weekday(),
            Freq::Monthly => !self.month_days.is_empty() || day.day() == start.day(),
            Freq::Yearly if !self.month_days.is_empty() => true,
            Freq::Yearly => day.day() == start.day() && (!self.months.is_empty() || day.month() == start.month()),
        }
    }

    /// Whether a day is the so manieth of its weekday: of its month, or of its year if the rule names no months.
    fn is_nth(&self, nth: i16, day: Date) -> bool {
        let of_year = self.freq == Freq::Yearly && self.months.is_empty();
        let (at, length) = match of_year {
            true => (day.day_of_year(), day.days_in_year()),
            false => (i16::from(day.day()), i16::from(day.days_in_month())),
        };
        nth == 0 || nth == (at - 1) / 7 + 1 || nth == -((length - at) / 7 + 1)
    }
}

/// `UNTIL`: a day (to its end), a wall time, or one in UTC.
fn until(text: &str, zone: &TimeZone) -> Read<i64> {
    let wrong = || format!("`UNTIL={text}` is no time; write 20261231, 20261231T090000 or 20261231T090000Z");
    if let Some(utc) = text.strip_suffix('Z') {
        let at: DateTime = utc.parse().map_err(|_| wrong())?;
        return wall(at, &TimeZone::UTC).ok_or_else(wrong);
    }
    if text.contains('T') {
        let at: DateTime = text.parse().map_err(|_| wrong())?;
        return wall(at, zone).ok_or_else(wrong);
    }
    let day: Date = text.parse().map_err(|_| wrong())?;
    let next = day.tomorrow().map_err(|_| wrong())?;
    wall(next.to_datetime(Time::midnight()), zone).map(|end| end - 1).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instants(rule: &str, start: &str, count: usize) -> Vec<String> {
        let zone = TimeZone::get("America/New_York").unwrap();
        let rule = Recurrence::read(rule, start.parse().unwrap(), &zone).unwrap_or_else(|why| panic!("{rule}: {why}"));
        let walk = std::iter::successors(rule.next_after(i64::MIN), |last| rule.next_after(*last));
        let local = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap().to_zoned(zone.clone()).datetime();
        walk.take(count).map(|ms| local(ms).to_string()).collect()
    }

    #[test]
    fn the_examples_of_the_rfc_give_what_it_says() {
        let days = |rule: &str, start: &str, expected: &str| {
            let expected: Vec<&str> = expected.split_ascii_whitespace().collect();
            let found = instants(rule, &format!("{start}T09:00:00"), expected.len());
            let found: Vec<&str> = found.iter().map(|at| at.strip_suffix("T09:00:00").unwrap()).collect();
            assert_eq!(found, expected, "{rule} from {start}");
        };
        let (sep2, fri) = ("1997-09-02", "1997-09-05");
        days("FREQ=DAILY;COUNT=3", sep2, "1997-09-02 1997-09-03 1997-09-04");
        days("FREQ=DAILY;INTERVAL=10;COUNT=5", sep2, "1997-09-02 1997-09-12 1997-09-22 1997-10-02 1997-10-12");
        days(
            "FREQ=YEARLY;UNTIL=20000131T140000Z;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA",
            "1998-01-01",
            "1998-01-01 1998-01-02",
        );
        days(
            "FREQ=WEEKLY;COUNT=10",
            sep2,
            "1997-09-02 1997-09-09 1997-09-16 1997-09-23 1997-09-30 1997-10-07 1997-10-14 1997-10-21 1997-10-28 1997-11-04",
        );
        days(
            "FREQ=WEEKLY;INTERVAL=2;WKST=SU",
            sep2,
            "1997-09-02 1997-09-16 1997-09-30 1997-10-14 1997-10-28 1997-11-11",
        );
        days(
            "FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH",
            sep2,
            "1997-09-02 1997-09-04 1997-09-16 1997-09-18 1997-09-30 1997-10-02 1997-10-14 1997-10-16",
        );
        days(
            "FREQ=MONTHLY;COUNT=10;BYDAY=1FR",
            fri,
            "1997-09-05 1997-10-03 1997-11-07 1997-12-05 1998-01-02 1998-02-06 1998-03-06 1998-04-03 1998-05-01 1998-06-05",
        );
        days(
            "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU",
            "1997-09-07",
            "1997-09-07 1997-09-28 1997-11-02 1997-11-30 1998-01-04 1998-01-25 1998-03-01 1998-03-29 1998-05-03 1998-05-31",
        );
        days(
            "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO",
            "1997-09-22",
            "1997-09-22 1997-10-20 1997-11-17 1997-12-22 1998-01-19 1998-02-16",
        );
        days(
            "FREQ=MONTHLY;BYMONTHDAY=-3",
            "1997-09-28",
            "1997-09-28 1997-10-29 1997-11-28 1997-12-29 1998-01-29 1998-02-26",
        );
        days(
            "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15",
            sep2,
            "1997-09-02 1997-09-15 1997-10-02 1997-10-15 1997-11-02 1997-11-15 1997-12-02 1997-12-15 1998-01-02 1998-01-15",
        );
        days(
            "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1",
            "1997-09-30",
            "1997-09-30 1997-10-01 1997-10-31 1997-11-01 1997-11-30 1997-12-01 1997-12-31 1998-01-01 1998-01-31 1998-02-01",
        );
        days(
            "FREQ=YEARLY;COUNT=10;BYMONTH=6,7",
            "1997-06-10",
            "1997-06-10 1997-07-10 1998-06-10 1998-07-10 1999-06-10 1999-07-10 2000-06-10 2000-07-10 2001-06-10 2001-07-10",
        );
        days("FREQ=YEARLY;BYDAY=20MO", "1997-05-19", "1997-05-19 1998-05-18 1999-05-17");
        days(
            "FREQ=YEARLY;BYMONTH=3;BYDAY=TH",
            "1997-03-13",
            "1997-03-13 1997-03-20 1997-03-27 1998-03-05 1998-03-12 1998-03-19 1998-03-26",
        );
        days("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", sep2, "1998-02-13 1998-03-13 1998-11-13 1999-08-13 2000-10-13");
        days(
            "FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13",
            "1997-09-13",
            "1997-09-13 1997-10-11 1997-11-08 1997-12-13 1998-01-10 1998-02-07 1998-03-07",
        );
        days(
            "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
            "1996-11-05",
            "1996-11-05 2000-11-07 2004-11-02",
        );
        days("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "1997-09-04", "1997-09-04 1997-10-07 1997-11-06");
        days(
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
            "1997-09-29",
            "1997-09-29 1997-10-30 1997-11-27 1997-12-30 1998-01-29 1998-02-26 1998-03-30",
        );
        days(
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
            "1997-08-05",
            "1997-08-05 1997-08-10 1997-08-19 1997-08-24",
        );
        days(
            "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
            "1997-08-05",
            "1997-08-05 1997-08-17 1997-08-19 1997-08-31",
        );
        days(
            "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5",
            "2007-01-15",
            "2007-01-15 2007-01-30 2007-02-15 2007-03-15 2007-03-30",
        );
        let every = instants("FREQ=DAILY;BYHOUR=9,10;BYMINUTE=0,40", "1997-09-02T09:00:00", 5);
        assert_eq!(
            every,
            [
                "1997-09-02T09:00:00",
                "1997-09-02T09:40:00",
                "1997-09-02T10:00:00",
                "1997-09-02T10:40:00",
                "1997-09-03T09:00:00"
            ]
        );
        // The 31st and the leap day come where they are, and a rule ends.
        days("FREQ=MONTHLY", "2026-01-31", "2026-01-31 2026-03-31 2026-05-31 2026-07-31");
        days("FREQ=YEARLY", "2024-02-29", "2024-02-29 2028-02-29 2032-02-29");
        assert_eq!(instants("FREQ=DAILY;UNTIL=19970904", "1997-09-02T09:00:00", 9).len(), 3);
        assert_eq!(instants("FREQ=DAILY;COUNT=2", "1997-09-02T09:00:00", 9).len(), 2);
        assert_eq!(instants("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "1997-09-02T09:00:00", 9).len(), 0);
    }

    #[test]
    fn what_is_not_executed_is_refused_with_a_sentence() {
        let check = |rule: &str, part: &str| {
            let start: DateTime = "2026-01-01T09:00:00".parse().unwrap();
            let why = Recurrence::read(rule, start, &TimeZone::UTC).map(|_| ()).unwrap_err();
            assert!(why.contains(part), "{rule}: {why}");
        };
        check("", "no `FREQ`");
        check("FREQ=HOURLY", "write `every` or `cron`");
        check("FREQ=FORTNIGHTLY", "is not known");
        check("FREQ=YEARLY;BYWEEKNO=20", "is not executed");
        check("FREQ=YEARLY;BYYEARDAY=1", "is not executed");
        check("FREQ=DAILY;BYDAY=1MO", "needs `FREQ=MONTHLY`");
        check("FREQ=DAILY;COUNT=3;UNTIL=20270101", "keep one");
        check("FREQ=DAILY;COUNT=0", "from 1 to");
        check("FREQ=DAILY;FREQ=WEEKLY", "twice");
        let hours: Vec<String> = (0..24).map(|hour| hour.to_string()).collect();
        let costly = format!("FREQ=YEARLY;BYHOUR={};BYMINUTE=0,15,30,45;BYSETPOS=1;COUNT=5000", hours.join(","));
        check(&costly, "takes too long");
        check("FREQ=MONTHLY;BYMONTHDAY=0", "has no 0");
        check("FREQ=WEEKLY;BYDAY=MONDAY", "is no weekday");
        check("FREQ=DAILY;UNTIL=soon", "is no time");
        check("EXDATE=20260101", "is no part");
        check("FREQ", "is no `KEY=VALUE`");
    }
}
