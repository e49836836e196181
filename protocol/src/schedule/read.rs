//! Reading of a schedule's settings: everything that is wrong is told at once, each with its key.

use std::str::FromStr;

use croner::Cron;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::rrule::Recurrence;
use super::rule::Rule;
use super::{CATCH_UP_MAX, CatchUp, EVERY_MAX, EVERY_MIN, JITTER_MAX, KEYS, NAMED_MAX, Overlap, Schedule, wall};
use crate::flow::Span;
use crate::value::{Map, Value};

/// Words of [`CatchUp`].
const CATCH_UP: &[(&str, CatchUp)] = &[("skip", CatchUp::Skip), ("latest", CatchUp::Latest), ("all", CatchUp::All)];
/// Words of [`Overlap`].
const OVERLAP: &[(&str, Overlap)] =
    &[("skip", Overlap::Skip), ("queue", Overlap::Queue), ("cancel", Overlap::Cancel), ("allow", Overlap::Allow)];
/// Cron expressions of one schedule.
const CRONS_MAX: usize = 20;
/// The keys that say when; a schedule has one of them.
const WHEN: &[&str] = &["cron", "every", "rrule", "at"];
/// The keys that decide which instants there are.
const DECIDING: &[&str] = &["cron", "every", "rrule", "at", "start", "until", "except", "zone"];

/// What is wrong with the settings of a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The key of `with`; empty for the settings as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub hint: String,
}

impl Wrong {
    pub(crate) fn new(key: &str, message: impl Into<String>, hint: &str) -> Self {
        Self { key: key.to_owned(), message: message.into(), hint: hint.to_owned() }
    }
}

/// A schedule as [`Schedule::settings`] wrote it.
#[must_use]
pub fn settings_of(text: &str) -> Option<Schedule> {
    match Value::from_json(text.as_bytes()) {
        Ok(Value::Map(map)) => schedule(&map).ok(),
        _ => None,
    }
}

struct Settings<'w> {
    with: &'w Map,
    wrong: Vec<Wrong>,
}

/// Reads the `with` of a trigger.
pub(super) fn schedule(with: &Map) -> Result<Schedule, Vec<Wrong>> {
    let mut all = Settings { with, wrong: Vec::new() };
    for key in with.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        let message = format!("a schedule has no setting `{key}`");
        all.say(key, message, &format!("known are: {}", KEYS.join(", ")));
    }
    let zone_name = all.text("zone").unwrap_or_else(|| "UTC".to_owned());
    let zone = all.kept(zone_of(&zone_name));
    let known = zone.clone().unwrap_or(TimeZone::UTC);
    let start = all.time("start", &known);
    let until = all.time("until", &known);
    let rules = all.rules(start, &known);
    let (except_days, except_at) = all.exceptions(&known);
    let jitter = all.span("jitter").unwrap_or_default();
    let (catch_up, catch_up_max) = all.catch_up();
    let overlap = all.text("overlap").and_then(|word| all.kept(read_word("overlap", &word, OVERLAP)));
    let jitter_ms = i64::try_from(jitter.ms).unwrap_or(i64::MAX);
    if jitter > JITTER_MAX {
        all.say("jitter", format!("`jitter: {jitter}` is longer than {JITTER_MAX}"), "make it shorter");
    } else if let [Rule::Every { ms, .. }] = rules.as_slice()
        && jitter_ms > *ms
    {
        let message = format!("`jitter: {jitter}` is longer than the schedule's own interval");
        all.say("jitter", message, "make it as long as `every` at most");
    }
    let bounds = (start.map_or(i64::MIN, |(_, ms)| ms), until.map_or(i64::MAX, |(_, ms)| ms));
    if bounds.0 > bounds.1 {
        all.say("until", "`until` lies before `start`", "");
    }
    let deciding = with.iter().filter(|(key, _)| DECIDING.contains(&key.as_str()));
    let settings = Value::Map(deciding.map(|(key, value)| (key.clone(), value.clone())).collect()).to_canonical_json();
    match zone {
        Some(zone) if all.wrong.is_empty() && !rules.is_empty() => Ok(Schedule {
            rules,
            zone,
            zone_name,
            bounds,
            except_days,
            except_at,
            jitter_ms,
            seed: [0; 16],
            settings,
            catch_up,
            catch_up_max,
            overlap,
        }),
        _ => Err(all.wrong),
    }
}

impl Settings<'_> {
    fn say(&mut self, key: &str, message: impl Into<String>, hint: &str) {
        self.wrong.push(Wrong::new(key, message, hint));
    }

    fn kept<T>(&mut self, read: Result<T, Wrong>) -> Option<T> {
        read.map_err(|one| self.wrong.push(one)).ok()
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.with.get(key)? {
            Value::Str(text) => Some(text.trim().to_owned()),
            other => {
                let message = format!("`{key}` must be a text and is {}", other.to_json());
                self.say(key, message, "put it in quotes");
                None
            }
        }
    }

    /// A text or a list of texts.
    fn texts(&mut self, key: &str, most: usize) -> Vec<String> {
        let one = |value: &Value| value.as_str().map(|text| text.trim().to_owned());
        let found: Option<Vec<String>> = match self.with.get(key) {
            None => return Vec::new(),
            Some(Value::List(list)) => list.iter().map(one).collect(),
            Some(Value::Str(text)) => Some(vec![text.trim().to_owned()]),
            Some(_) => None,
        };
        match found {
            Some(found) if !found.is_empty() && found.len() <= most => found,
            Some(found) => {
                self.say(key, format!("`{key}` has {} entries, it may have 1 to {most}", found.len()), "");
                Vec::new()
            }
            None => {
                let message = format!("`{key}` must be a text or a list of texts");
                self.say(key, message, "put each entry in quotes");
                Vec::new()
            }
        }
    }

    fn span(&mut self, key: &str) -> Option<Span> {
        let text = self.text(key)?;
        self.kept(text.parse().map_err(|why: String| Wrong::new(key, why, "")))
    }

    /// A wall time of the zone and its instant.
    fn time(&mut self, key: &str, zone: &TimeZone) -> Option<(DateTime, i64)> {
        let text = self.text(key)?;
        self.kept(time_of(key, &text, zone))
    }

    fn rules(&mut self, start: Option<(DateTime, i64)>, zone: &TimeZone) -> Vec<Rule> {
        let said: Vec<&str> = WHEN.iter().copied().filter(|key| self.with.contains_key(*key)).collect();
        match said.as_slice() {
            [] => {
                let hint = "write `with: { cron: \"0 9 * * MON-FRI\", zone: Europe/Berlin }` or `with: { every: 5m }`";
                self.say("", "the schedule does not say when", hint);
                Vec::new()
            }
            ["cron"] => {
                let texts = self.texts("cron", CRONS_MAX);
                texts.into_iter().filter_map(|text| self.kept(read_cron(text))).collect()
            }
            ["every"] => {
                let every = self.text("every").and_then(|text| self.kept(read_every(&text)));
                let ms = every.and_then(|span| i64::try_from(span.ms).ok());
                ms.map(|ms| Rule::Every { ms, anchor: start.map_or(0, |(_, ms)| ms) }).into_iter().collect()
            }
            ["rrule"] => {
                let Some(text) = self.text("rrule") else { return Vec::new() };
                let Some((start, _)) = start else {
                    if !self.with.contains_key("start") {
                        let hint = "write `start: 2026-01-05T09:00`, the first day and its time (DTSTART)";
                        self.say("rrule", "a recurrence rule counts from `start`, which is missing", hint);
                    }
                    return Vec::new();
                };
                match Recurrence::read(&text, start, zone) {
                    Ok(rule) => vec![Rule::Recurs(Box::new(rule), text)],
                    Err(why) => {
                        let shown = crate::text::display(&text);
                        self.say("rrule", format!("`{shown}` is not taken: {why}"), "see docs/schedules.md");
                        Vec::new()
                    }
                }
            }
            ["at"] => {
                let texts = self.texts("at", NAMED_MAX);
                let read = texts.iter().filter_map(|text| self.kept(time_of("at", text, zone)));
                let mut all: Vec<i64> = read.map(|(_, ms)| ms).collect();
                all.sort_unstable();
                all.dedup();
                if all.is_empty() { Vec::new() } else { vec![Rule::At(all)] }
            }
            _ => {
                let (first, second) = (said.first().copied().unwrap_or(""), said.get(1).copied().unwrap_or(""));
                let message = format!("a schedule has `{first}` or `{second}`, not both");
                self.say(second, message, "leave one out");
                Vec::new()
            }
        }
    }

    fn exceptions(&mut self, zone: &TimeZone) -> (Vec<Date>, Vec<i64>) {
        let (mut days, mut times) = (Vec::new(), Vec::new());
        for text in self.texts("except", NAMED_MAX) {
            match text.parse::<Date>() {
                Ok(day) if !text.contains('T') => days.push(day),
                _ => times.extend(self.kept(time_of("except", &text, zone)).map(|(_, ms)| ms)),
            }
        }
        days.sort_unstable();
        times.sort_unstable();
        (days, times)
    }

    fn catch_up(&mut self) -> (CatchUp, usize) {
        let usual = (CatchUp::default(), CATCH_UP_MAX);
        if let Some(Value::Map(map)) = self.with.get("catch_up") {
            let most = match (map.len(), map.get("all")) {
                (1, Some(Value::Int(most))) => usize::try_from(*most).ok(),
                _ => None,
            };
            if let Some(most) = most.filter(|most| (1..=CATCH_UP_MAX).contains(most)) {
                return (CatchUp::All, most);
            }
            let hint = "write `catch_up: { all: 24 }`";
            self.say(
                "catch_up",
                format!("`catch_up` is `{{ all: 1 }}` to `{{ all: {CATCH_UP_MAX} }}`, or a word"),
                hint,
            );
            return usual;
        }
        let Some(word) = self.text("catch_up") else { return usual };
        (self.kept(read_word("catch_up", &word, CATCH_UP)).unwrap_or_default(), CATCH_UP_MAX)
    }
}

fn time_of(key: &str, text: &str, zone: &TimeZone) -> Result<(DateTime, i64), Wrong> {
    let day = || text.parse::<Date>().ok().map(|day| day.to_datetime(jiff::civil::Time::midnight()));
    let at = text.parse::<DateTime>().ok().or_else(day);
    // An offset would be read and thrown away.
    let plain = text.get(11..).is_none_or(|time| !time.contains(['Z', 'z', '+', '-', '[']));
    let found = at.filter(|_| plain).and_then(|at| Some((at, wall(at, zone)?)));
    found.ok_or_else(|| {
        let message = format!("`{}` is no wall time of the schedule's zone", crate::text::display(text));
        Wrong::new(key, message, "write 2026-12-24 or 2026-12-24T18:00, without an offset; `zone` says where")
    })
}

fn read_cron(text: String) -> Result<Rule, Wrong> {
    let refuse = |why: &str, hint: &str| {
        Err(Wrong::new("cron", format!("`{}` is no cron expression: {why}", crate::text::display(&text)), hint))
    };
    if text.len() > 200 || !text.is_ascii() {
        return refuse("it is longer than 200 characters or not plain ASCII", "write five fields, as in `0 9 * * *`");
    }
    let cron = match Cron::from_str(&text) {
        Ok(cron) => cron,
        Err(error) => {
            let hint = if text.contains('/') {
                "fields are minute hour day month weekday; a step needs a range or a star: write `5-59/5` or `*/5`"
            } else {
                "fields are minute hour day month weekday, as in `0 9 * * MON-FRI`; a sixth in front is seconds"
            };
            return refuse(error.to_string().trim_end_matches('.'), hint);
        }
    };
    Ok(Rule::Cron(Box::new(cron), text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")))
}

fn read_every(text: &str) -> Result<Span, Wrong> {
    let span: Span = text.parse().map_err(|why: String| Wrong::new("every", why, ""))?;
    if span < EVERY_MIN || span > EVERY_MAX {
        let message = format!("`every: {span}` must be between {EVERY_MIN} and {EVERY_MAX}");
        return Err(Wrong::new("every", message, "use `cron` for dates"));
    }
    Ok(span)
}

fn zone_of(name: &str) -> Result<TimeZone, Wrong> {
    TimeZone::get(name).map_err(|_| {
        let message = format!("there is no zone `{}` here", crate::text::display(name));
        Wrong::new("zone", message, "write a name like Europe/Berlin, America/New_York or UTC")
    })
}

fn read_word<T: Copy>(key: &str, word: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let message = format!("`{key}: {}` is not known", crate::text::display(word));
        Wrong::new(key, message, &format!("write one of: {}", names.join(", ")))
    })
}
