//! Schedules: when a `schedule` trigger is due. Pure: an instant goes in, the next one comes out.
//!
//! The instants of a schedule are one fixed set on the time line; [`Schedule::next_after`] walks it and always
//! finds the same ones, wherever it starts. Who keeps what was decided stands in the daemon's `schedules`.

use std::str::FromStr;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::flow::Span;
use crate::value::{Map, Value};

/// Keys of `with` on a schedule trigger.
pub const KEYS: &[&str] = &["cron", "every", "zone", "catch_up", "overlap"];
/// The shortest `every`.
pub const EVERY_MIN: Span = Span::from_secs(1);
/// The longest `every`: a leap year.
pub const EVERY_MAX: Span = Span::from_secs(366 * 86_400);

/// What becomes of instants that passed while nobody could fire them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are left out.
    Skip,
    /// Only the last one fires.
    #[default]
    Latest,
    /// All fire, at most the newest 1,000.
    All,
}

/// What happens when the run of an earlier instant still goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// No run; the event says which run was in the way.
    Skip,
    /// The run waits for the one before it.
    Queue,
    /// The one before it is cancelled.
    Cancel,
    /// Both go on.
    Allow,
}

/// Words of [`CatchUp`].
const CATCH_UP: &[(&str, CatchUp)] = &[("skip", CatchUp::Skip), ("latest", CatchUp::Latest), ("all", CatchUp::All)];
/// Words of [`Overlap`].
const OVERLAP: &[(&str, Overlap)] =
    &[("skip", Overlap::Skip), ("queue", Overlap::Queue), ("cancel", Overlap::Cancel), ("allow", Overlap::Allow)];

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

/// When a trigger is due, and what happens when that cannot be kept.
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    zone: TimeZone,
    zone_name: String,
    /// What becomes of missed instants.
    pub catch_up: CatchUp,
    /// What happens when an earlier run still goes on; `None` if the file does not say.
    pub overlap: Option<Overlap>,
}

#[derive(Clone, Debug)]
enum Rule {
    Cron(Box<Cron>, String),
    Every(Span),
}

impl Schedule {
    /// Reads the `with` of a schedule trigger.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its key.
    pub fn read(with: &Map) -> Result<Self, Vec<Wrong>> {
        let mut wrong = Vec::new();
        for key in with.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let message = format!("a schedule has no setting `{key}`");
            wrong.push(Wrong::new(key, message, &format!("known are: {}", KEYS.join(", "))));
        }
        let mut text = |key: &str| match with.get(key) {
            None => None,
            Some(Value::Str(text)) => Some(text.trim().to_owned()),
            Some(other) => {
                let message = format!("`{key}` must be a text and is {}", other.to_json());
                wrong.push(Wrong::new(key, message, "put it in quotes"));
                None
            }
        };
        let (cron, every, zone) = (text("cron"), text("every"), text("zone"));
        let (catch_up, overlap) = (text("catch_up"), text("overlap"));
        let rule = match (cron, every) {
            (Some(cron), None) => kept(read_cron(cron), &mut wrong),
            (None, Some(every)) => kept(read_every(&every), &mut wrong),
            (Some(_), Some(_)) => {
                wrong.push(Wrong::new("every", "a schedule has `cron` or `every`, not both", "leave one out"));
                None
            }
            (None, None) => {
                if !with.contains_key("cron") && !with.contains_key("every") {
                    let hint =
                        "write `with: { cron: \"0 9 * * MON-FRI\", zone: Europe/Berlin }` or `with: { every: 5m }`";
                    wrong.push(Wrong::new("", "the schedule does not say when", hint));
                }
                None
            }
        };
        let zone_name = zone.unwrap_or_else(|| "UTC".to_owned());
        let zone = kept(read_zone(&zone_name), &mut wrong);
        let catch_up = catch_up.and_then(|word| kept(read_word("catch_up", &word, CATCH_UP), &mut wrong));
        let overlap = overlap.and_then(|word| kept(read_word("overlap", &word, OVERLAP), &mut wrong));
        match (rule, zone) {
            (Some(rule), Some(zone)) if wrong.is_empty() => {
                Ok(Self { rule, zone, zone_name, catch_up: catch_up.unwrap_or_default(), overlap })
            }
            _ => Err(wrong),
        }
    }

    /// The first instant after a time, in Unix milliseconds; `None` if there is none any more.
    ///
    /// A wall time that a clock change leaves out counts at the first moment after it; one that comes twice
    /// counts once, the first time, unless the rule repeats within the hour.
    #[must_use]
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        match &self.rule {
            Rule::Every(span) => {
                let every = i64::try_from(span.ms).ok().filter(|ms| *ms > 0)?;
                after_ms.div_euclid(every).checked_add(1)?.checked_mul(every)
            }
            Rule::Cron(cron, _) => {
                let after = Timestamp::from_second(after_ms.div_euclid(1000)).ok()?.to_zoned(self.zone.clone());
                let next = cron.find_next_occurrence(&after, false).ok()?;
                let next = next.timestamp().as_millisecond();
                // A walk that stands still or goes back would be an endless loop for whoever follows it.
                (next > after_ms).then_some(next)
            }
        }
    }

    /// The next instants after a time, at most `count`.
    pub fn after(&self, after_ms: i64, count: usize) -> impl Iterator<Item = i64> + '_ {
        std::iter::successors(self.next_after(after_ms), |last| self.next_after(*last)).take(count)
    }

    /// How many instants are in `(after, to]`; those of a cron rule are counted to `most` only.
    #[must_use]
    pub fn count(&self, after_ms: i64, to_ms: i64, most: usize) -> u64 {
        match &self.rule {
            Rule::Every(span) => {
                let every = i64::try_from(span.ms).unwrap_or(i64::MAX).max(1);
                let between = to_ms.div_euclid(every).saturating_sub(after_ms.div_euclid(every));
                u64::try_from(between).unwrap_or(0)
            }
            Rule::Cron(..) => {
                let walked = self.after(after_ms, most).take_while(|instant| *instant <= to_ms).count();
                u64::try_from(walked).unwrap_or(u64::MAX)
            }
        }
    }

    /// The rule as people read it. Two schedules with the same text have the same instants.
    #[must_use]
    pub fn rule(&self) -> String {
        match &self.rule {
            Rule::Every(span) => format!("every {span}"),
            Rule::Cron(_, text) => format!("{text} {}", self.zone_name),
        }
    }

    /// Name of the zone.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// An instant as RFC 3339 text with the offset of the schedule's zone.
    #[must_use]
    pub fn local(&self, unix_ms: i64) -> String {
        match Timestamp::from_millisecond(unix_ms) {
            Ok(time) => time.display_with_offset(self.zone.to_offset(time)).to_string(),
            Err(_) => unix_ms.to_string(),
        }
    }

    /// The zone, for showing times.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl Wrong {
    pub(crate) fn new(key: &str, message: impl Into<String>, hint: &str) -> Self {
        Self { key: key.to_owned(), message: message.into(), hint: hint.to_owned() }
    }
}

fn kept<T>(read: Result<T, Wrong>, wrong: &mut Vec<Wrong>) -> Option<T> {
    read.map_err(|one| wrong.push(one)).ok()
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

fn read_every(text: &str) -> Result<Rule, Wrong> {
    let span: Span = text.parse().map_err(|why: String| Wrong::new("every", why, ""))?;
    if span < EVERY_MIN || span > EVERY_MAX {
        let message = format!("`every: {span}` must be between {EVERY_MIN} and {EVERY_MAX}");
        return Err(Wrong::new("every", message, "use `cron` for dates"));
    }
    Ok(Rule::Every(span))
}

fn read_zone(name: &str) -> Result<TimeZone, Wrong> {
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

#[cfg(test)]
mod tests;
