//! Working days, and dates changed or told by their parts.
//!
//! A working day is Monday to Friday in the zone of the date, unless it stands in a list of holidays (dates, or
//! texts as `2024-12-25`).

use std::collections::HashSet;

use jiff::civil::{Date, Weekday};
use jiff::{ToSpan as _, Zoned};

use super::super::data::Data;
use super::super::eval::{Fail, Machine, Outcome, a};
use super::date::{made, out_of_range};
use super::types::{DATE, TEXT};
use super::{Args, Function, method};

/// Days that one call may walk over.
const DAYS_MAX: i128 = 20_000;

pub(super) const FUNCTIONS: &[Function] = &[
    method(
        "isWeekend",
        DATE,
        (0, 0),
        "Whether it is a Saturday or Sunday.",
        ("date('2024-05-18').isWeekend()", "true"),
        is_weekend,
    ),
    method(
        "isBusinessDay",
        DATE,
        (0, 1),
        "Whether it is Monday to Friday and not in list a of holidays.",
        ("date('2024-12-25').isBusinessDay(['2024-12-25'])", "false"),
        is_business_day,
    ),
    method(
        "plusBusinessDays",
        DATE,
        (1, 2),
        "Later by a working days (earlier if negative), at the same time of day; b are holidays.",
        ("date('2024-05-17T09:00').plusBusinessDays(1)", "\"2024-05-20T09:00:00Z\""),
        plus_business_days,
    ),
    method(
        "businessDaysUntil",
        DATE,
        (1, 2),
        "How many working days lie from this day up to day a (not included), negative if a is earlier; b are holidays.",
        ("date('2024-05-17').businessDaysUntil(date('2024-05-21'))", "2"),
        business_days_until,
    ),
    method(
        "set",
        DATE,
        (1, 1),
        "With other parts: {year, month, day, hour, minute, second, millisecond}.",
        ("date('2024-05-17T09:30').set({day: 1, minute: 0})", "\"2024-05-01T09:00:00Z\""),
        set,
    ),
    method(
        "diffTo",
        DATE,
        (1, 2),
        "How far date a lies ahead of this one: as diff, the other way round.",
        ("date('2024-05-01').diffTo(date('2024-05-03'), 'days')", "2"),
        super::date::diff_to,
    ),
    method("toDateTime", TEXT, (0, 1), "As date(x).", ("'2024-05-01'.toDateTime().year", "2024"), super::date::date),
];

fn is_off(weekday: Weekday) -> bool {
    matches!(weekday, Weekday::Saturday | Weekday::Sunday)
}

fn holidays<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>, place: usize) -> Outcome<'a, HashSet<Date>> {
    if args.get(place).is_none() {
        return Ok(HashSet::new());
    }
    let list = args.list(place)?;
    machine.grow_items(list.len())?;
    let mut out = HashSet::with_capacity(list.len());
    for item in list.iter() {
        out.insert(match &item {
            Data::Date(date) => date.date(),
            Data::Text(text) => text.trim().parse::<Date>().map_err(|_| {
                let shown: String = text.chars().take(40).collect();
                Fail::new(format!("the holiday \"{}\" is no day", crate::text::display(&shown)))
                    .hint("write it as '2024-12-25'")
            })?,
            other => return Err(Fail::new(format!("a holiday must be a date or text, it is {}", a(other.kind())))),
        });
    }
    Ok(out)
}

fn works(day: Date, holidays: &HashSet<Date>) -> bool {
    !is_off(day.weekday()) && !holidays.contains(&day)
}

fn is_weekend<'a>(_machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    Ok(Data::Bool(is_off(args.date(0)?.weekday())))
}

fn is_business_day<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let holidays = holidays(machine, args, 1)?;
    Ok(Data::Bool(works(args.date(0)?.date(), &holidays)))
}

fn too_far() -> Fail {
    Fail::new(format!("that is more than {DAYS_MAX} days away"))
}

fn plus_business_days<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (date, days) = (args.date(0)?, args.int(1)?);
    let holidays = holidays(machine, args, 2)?;
    let step = if days < 0 { -1 } else { 1 };
    let (mut left, mut moved, mut day) = (days.unsigned_abs(), 0_i64, date.date());
    if left > DAYS_MAX.unsigned_abs() {
        return Err(too_far());
    }
    while left > 0 {
        machine.steps(1)?;
        moved += step;
        day = day.checked_add(step.days()).map_err(|_| out_of_range())?;
        if i128::from(moved.abs()) > DAYS_MAX * 2 {
            return Err(too_far());
        }
        if works(day, &holidays) {
            left -= 1;
        }
    }
    let found: Zoned = date.checked_add(moved.days()).map_err(|_| out_of_range())?;
    made(machine, found)
}

fn business_days_until<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (from, to) = (args.date(0)?.date(), args.date(1)?.date());
    let holidays = holidays(machine, args, 2)?;
    let (mut day, last, sign) = if from <= to { (from, to, 1) } else { (to, from, -1) };
    let mut count = 0_i128;
    let mut walked = 0_i128;
    while day < last {
        machine.steps(1)?;
        walked += 1;
        if walked > DAYS_MAX {
            return Err(too_far());
        }
        if works(day, &holidays) {
            count += 1;
        }
        day = day.tomorrow().map_err(|_| out_of_range())?;
    }
    Ok(Data::Int(count * sign))
}

fn set<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (date, parts) = (args.date(0)?, args.object(1)?);
    let mut with = date.with();
    for (name, value) in parts.iter() {
        machine.steps(1)?;
        let Data::Int(number) = value else {
            return Err(Fail::new(format!("{} of a date must be an integer, it is {}", &*name, a(value.kind()))));
        };
        let wrong = || Fail::new(format!("a date cannot have the {} {number}", &*name));
        let small = i8::try_from(number).map_err(|_| wrong());
        with = match &*name {
            "year" => with.year(i16::try_from(number).map_err(|_| wrong())?),
            "month" => with.month(small?),
            "day" => with.day(small?),
            "hour" => with.hour(small?),
            "minute" => with.minute(small?),
            "second" => with.second(small?),
            "millisecond" => with.millisecond(i16::try_from(number).map_err(|_| wrong())?),
            _ => {
                let name = crate::text::display(&name.chars().take(40).collect::<String>());
                return Err(Fail::new(format!("\"{name}\" is no part of a date"))
                    .hint("say year, month, day, hour, minute, second or millisecond"));
            }
        };
    }
    let found = with.build().map_err(|_| Fail::new("there is no such date"))?;
    made(machine, found)
}
