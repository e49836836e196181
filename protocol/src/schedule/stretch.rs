//! Which instants of a schedule have fired, for ever and in little room: stretches of time, each with the settings whose
//! instants fired in it.
//!
//! Invariant: what is noted as fired stays so. When there are too many stretches the two oldest become one in which
//! every instant counts as fired, whatever the rule: rather one too few than one twice.

use serde::{Deserialize, Serialize};

use super::{Schedule, settings_of};

/// Stretches that are kept apart.
pub const STRETCHES_MAX: usize = 256;
/// Different settings that are remembered.
const SETTINGS_MAX: usize = 32;

/// In `(from, to]` all instants of these settings fired; without settings every instant counts as fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stretch(i64, i64, Option<u16>);

impl Stretch {
    fn covers(&self, instant: i64) -> bool {
        self.0 < instant && instant <= self.1
    }
}

/// What of a schedule has fired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretches {
    settings: Vec<String>,
    all: Vec<Stretch>,
}

impl Stretches {
    /// What fired before anybody noted it: everything up to a time.
    #[must_use]
    pub fn unknown_until(to_ms: i64) -> Self {
        Self { settings: Vec::new(), all: vec![Stretch(i64::MIN, to_ms, None)] }
    }

    /// Whether an instant has fired.
    #[must_use]
    pub fn has(&self, instant: i64) -> bool {
        self.all.iter().any(|it| it.covers(instant)) && self.judge().has(instant)
    }

    /// Who knows of many instants whether they have fired.
    #[must_use]
    pub fn judge(&self) -> Judge<'_> {
        Judge { stretches: self, schedules: self.settings.iter().map(|settings| settings_of(settings)).collect() }
    }

    /// Up to where every instant counts as fired, whatever the rule; `None`: there is no such time.
    #[must_use]
    pub fn unknown(&self) -> Option<i64> {
        self.all.iter().filter(|it| it.2.is_none()).map(|it| it.1).max()
    }

    /// All instants of a schedule in `(from, to]` have fired.
    pub fn fired(&mut self, schedule: &Schedule, from_ms: i64, to_ms: i64) {
        let settings = schedule.settings();
        let place = self.settings.iter().position(|known| known == settings).unwrap_or_else(|| {
            self.settings.push(settings.to_owned());
            self.settings.len() - 1
        });
        let of = u16::try_from(place).ok();
        let (mut from, mut to) = (from_ms.min(to_ms), to_ms);
        self.all.retain(|it| {
            let touches = it.2 == of && it.0 <= to && from <= it.1;
            if touches {
                (from, to) = (from.min(it.0), to.max(it.1));
            }
            !touches
        });
        let at = self.all.partition_point(|it| it.0 <= from);
        self.all.insert(at, Stretch(from, to, of));
        while self.all.len() > STRETCHES_MAX || self.settings.len() > SETTINGS_MAX {
            self.forget();
        }
    }

    /// The two oldest become one.
    fn forget(&mut self) {
        if self.all.len() >= 2 {
            let first = self.all.remove(0);
            if let Some(second) = self.all.first_mut() {
                *second = Stretch(first.0, first.1.max(second.1), None);
            }
        } else if let Some(only) = self.all.first_mut() {
            only.2 = None;
        }
        let mut kept: Vec<String> = Vec::new();
        for stretch in &mut self.all {
            let Some(text) = stretch.2.and_then(|at| self.settings.get(usize::from(at))) else { continue };
            let place = kept.iter().position(|known| known == text).unwrap_or_else(|| {
                kept.push(text.clone());
                kept.len() - 1
            });
            stretch.2 = u16::try_from(place).ok();
        }
        self.settings = kept;
    }
}

/// Stretches with their settings read.
#[derive(Debug)]
pub struct Judge<'s> {
    stretches: &'s Stretches,
    schedules: Vec<Option<Schedule>>,
}

impl Judge<'_> {
    /// Whether an instant has fired. What cannot be read any more counts as fired.
    #[must_use]
    pub fn has(&self, instant: i64) -> bool {
        let of = |it: &Stretch| it.2.and_then(|at| self.schedules.get(usize::from(at))?.as_ref());
        let all = self.stretches.all.iter();
        all.filter(|it| it.covers(instant)).any(|it| of(it).is_none_or(|schedule| schedule.has(instant)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::value::Value;

    fn every(seconds: u64) -> Schedule {
        Schedule::read(&[("every".to_owned(), Value::from(format!("{seconds}s")))].into_iter().collect()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever fired under whatever rule is never given again, and while there is room nothing else is held back.
        #[test]
        fn what_fired_is_known_for_ever(story in proptest::collection::vec((0_usize..3, 0_i64..60, 1_i64..40), 1..40)) {
            let rules = [every(1), every(2), every(3)];
            let (mut noted, mut model) = (Stretches::default(), BTreeSet::new());
            for (rule, from, length) in story {
                let (from, to) = (from * 1000, (from + length) * 1000);
                model.extend(rules[rule].after(from, 1000).take_while(|instant| *instant <= to));
                noted.fired(&rules[rule], from, to);
            }
            for second in 0..110 {
                prop_assert_eq!(noted.has(second * 1000), model.contains(&(second * 1000)), "{} of {:?}", second, &noted);
            }
            prop_assert_eq!(noted.unknown(), None);
        }
    }

    #[test]
    fn too_many_stretches_hold_back_rather_than_repeat() {
        let (rule, mut noted) = (every(1), Stretches::default());
        for number in 0..2_000_i64 {
            noted.fired(&rule, number * 10_000, number * 10_000 + 1_000);
        }
        assert_eq!(noted.all.len(), STRETCHES_MAX);
        assert!((0..2_000).all(|number| noted.has(number * 10_000 + 1_000)), "nothing is forgotten");
        assert!(!noted.has(1_999 * 10_000 - 2_000) && noted.has(5_000), "the oldest are one stretch");
        assert!(noted.unknown().is_some_and(|until| until < 1_800 * 10_000));
        let mut many = Stretches::default();
        for seconds in 1..100 {
            many.fired(&every(seconds), 0, 1_000_000);
        }
        assert!(many.settings.len() <= SETTINGS_MAX && many.has(1_000));
        assert!(Stretches::unknown_until(500).has(500) && !Stretches::unknown_until(500).has(501));
    }
}
