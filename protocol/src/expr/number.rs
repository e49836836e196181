//! Numbers of the expression language: `i128` and exact decimals of 28 digits, never `f64`.
//!
//! Results are kept short: a decimal result loses trailing zeros and becomes an integer if nothing is left
//! behind the point, so `1.5 + 1.5` is `3`. A number whose text is too large for a decimal passes through
//! and can be compared, but not calculated with.

use std::cmp::Ordering;

use rust_decimal::{Decimal, RoundingStrategy};

/// An operand or result.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Int(i128),
    Dec(Decimal),
}

/// Why two numbers could not be calculated: a sentence without its subject.
pub(super) type Refused = &'static str;

/// Longest text that is read as a number to calculate with.
const WRITTEN_MAX: usize = 128;
const OVERFLOW: Refused = "the result has more digits than a number can hold";
const ZERO: Refused = "division by zero";

impl Number {
    /// A decimal result in its shortest form.
    pub(super) fn short(result: Decimal) -> Self {
        let short = result.normalize();
        if short.scale() == 0 { Self::Int(short.mantissa()) } else { Self::Dec(short) }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Int(number) => number.to_string(),
            Self::Dec(number) => number.to_string(),
        }
    }

    /// As a decimal, if it has at most 28 digits.
    pub(super) fn decimal(self) -> Option<Decimal> {
        match self {
            Self::Int(number) => Decimal::try_from_i128_with_scale(number, 0).ok(),
            Self::Dec(number) => Some(number),
        }
    }

    /// The number behind a JSON number's text; `None` if 28 digits do not hold it exactly.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > WRITTEN_MAX {
            return None;
        }
        let exact = Exact::of(text)?;
        // Keep the zeros that were written (`1.10`) unless there is an exponent.
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some(_) => (exact.digits.clone(), exact.exponent - i128::try_from(exact.digits.len()).ok()?),
            None => {
                let fraction = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
                (text.replace(['.', '-'], ""), -i128::try_from(fraction).ok()?)
            }
        };
        let held = |digits: &str, exponent: i128| -> Option<Decimal> {
            let padded = if exponent > 0 {
                format!("{digits}{}", "0".repeat(usize::try_from(exponent).ok().filter(|zeros| *zeros <= 28)?))
            } else {
                digits.to_owned()
            };
            let value: i128 = if padded.is_empty() { 0 } else { padded.parse().ok()? };
            let scale = u32::try_from((-exponent).max(0)).ok().filter(|scale| *scale <= 28)?;
            Decimal::try_from_i128_with_scale(if exact.negative { -value } else { value }, scale).ok()
        };
        if exact.digits.is_empty() {
            return Some(Self::Int(0));
        }
        let short = || held(&exact.digits, exact.exponent - i128::try_from(exact.digits.len()).ok()?);
        let value = held(&mantissa, exponent).or_else(short)?;
        Some(if value.scale() == 0 { Self::Int(value.mantissa()) } else { Self::Dec(value) })
    }

    fn with(
        self,
        other: Self,
        whole: fn(i128, i128) -> Option<i128>,
        exact: fn(Decimal, Decimal) -> Option<Decimal>,
    ) -> Result<Self, Refused> {
        if let (Self::Int(left), Self::Int(right)) = (self, other) {
            return whole(left, right).map(Self::Int).ok_or(OVERFLOW);
        }
        let (left, right) = (self.decimal().ok_or(OVERFLOW)?, other.decimal().ok_or(OVERFLOW)?);
        exact(left, right).map(Self::short).ok_or(OVERFLOW)
    }

    pub(super) fn add(self, other: Self) -> Result<Self, Refused> {
        self.with(other, i128::checked_add, Decimal::checked_add)
    }

    pub(super) fn subtract(self, other: Self) -> Result<Self, Refused> {
        self.with(other, i128::checked_sub, Decimal::checked_sub)
    }

    pub(super) fn multiply(self, other: Self) -> Result<Self, Refused> {
        self.with(other, i128::checked_mul, Decimal::checked_mul)
    }

    /// An integer if the division of two integers leaves nothing, else a decimal of at most 28 digits.
    pub(super) fn divide(self, other: Self) -> Result<Self, Refused> {
        if other.is_zero() {
            return Err(ZERO);
        }
        if let (Self::Int(left), Self::Int(right)) = (self, other)
            && left.checked_rem(right) == Some(0)
        {
            return left.checked_div(right).map(Self::Int).ok_or(OVERFLOW);
        }
        let (left, right) = (self.decimal().ok_or(OVERFLOW)?, other.decimal().ok_or(OVERFLOW)?);
        left.checked_div(right).map(Self::short).ok_or(OVERFLOW)
    }

    /// The rest of a division, with the sign of the dividend as in JavaScript.
    pub(super) fn remainder(self, other: Self) -> Result<Self, Refused> {
        if other.is_zero() {
            return Err(ZERO);
        }
        if let (Self::Int(_), Self::Int(-1)) = (self, other) {
            return Ok(Self::Int(0)); // i128::MIN % -1 overflows in the machine, not in arithmetic
        }
        self.with(other, i128::checked_rem, Decimal::checked_rem)
    }

    pub(super) fn negate(self) -> Result<Self, Refused> {
        match self {
            Self::Int(number) => number.checked_neg().map(Self::Int).ok_or(OVERFLOW),
            Self::Dec(number) => Ok(Self::Dec(-number)),
        }
    }

    pub(super) fn is_zero(self) -> bool {
        match self {
            Self::Int(number) => number == 0,
            Self::Dec(number) => number.is_zero(),
        }
    }

    /// Rounds to places behind the point.
    pub(super) fn round(self, places: u32, how: RoundingStrategy) -> Self {
        match self {
            Self::Int(_) => self,
            Self::Dec(number) => Self::short(number.round_dp_with_strategy(places, how)),
        }
    }

    /// As `Math.round`: halves go up, also below zero.
    pub(super) fn round_half_up(self) -> Self {
        match self {
            Self::Int(_) => self,
            Self::Dec(number) => {
                let floor = number.floor();
                let half = (number - floor) >= Decimal::new(5, 1);
                Self::short(if half { floor.checked_add(Decimal::ONE).unwrap_or(floor) } else { floor })
            }
        }
    }

    /// The digits behind the point exactly `places` long, halves away from zero.
    pub(super) fn fixed(self, places: u32) -> String {
        let width = usize::try_from(places).unwrap_or(0);
        match self {
            Self::Int(number) if places == 0 => number.to_string(),
            Self::Int(number) => format!("{number}.{}", "0".repeat(width)),
            Self::Dec(number) => {
                let rounded = number.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero);
                let rounded = if rounded.is_zero() { Decimal::ZERO } else { rounded };
                let text = rounded.to_string();
                let have = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
                match (places, have) {
                    (0, _) => text,
                    (_, 0) => format!("{text}.{}", "0".repeat(width)),
                    _ => format!("{text}{}", "0".repeat(width.saturating_sub(have))),
                }
            }
        }
    }
}

/// Compares two numbers by their text, whatever their size: `1e400`, `1.0` and `1` among them.
pub(super) fn compare_text(left: &str, right: &str) -> Ordering {
    match (Exact::of(left), Exact::of(right)) {
        (Some(left), Some(right)) => left.compare(&right),
        _ => left.cmp(right),
    }
}

/// The order of two numbers by their text; none if one of them is no number.
#[must_use]
pub fn compare_numbers(left: &str, right: &str) -> Option<Ordering> {
    Some(Exact::of(left)?.compare(&Exact::of(right)?))
}

/// A number as sign, digits without zeros at both ends, and the place of the point: `0.digits × 10^exponent`.
struct Exact {
    negative: bool,
    digits: String,
    exponent: i128,
}

impl Exact {
    fn of(text: &str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = match rest.split_once(['e', 'E']) {
            None => (rest, 0),
            Some((mantissa, power)) => {
                let low = if power.starts_with('-') { i128::MIN / 4 } else { i128::MAX / 4 };
                (mantissa, power.strip_prefix('+').unwrap_or(power).parse::<i64>().map_or(low, i128::from))
            }
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let leading = all.len() - all.trim_start_matches('0').len();
        let digits = all.trim_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        let point = i128::try_from(whole.len()).ok()? - i128::try_from(leading).ok()?;
        Some(Self { negative, digits, exponent: point + power })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (_, true) => -1,
            _ => 1,
        };
        let by_sign = sign(self).cmp(&sign(other));
        let size = self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
        by_sign.then_with(|| if self.negative { size.reverse() } else { size })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        match text.parse::<i128>() {
            Ok(whole) => Number::Int(whole),
            Err(_) => Number::parse(text).unwrap(),
        }
    }

    #[test]
    fn texts_become_exact_decimals() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Number::parse(text).map(Number::text).as_deref(), expected, "{text}");
        };
        check("612.10", Some("612.10"));
        check("-0.005", Some("-0.005"));
        check("1e2", Some("100"));
        check("1.5E-3", Some("0.0015"));
        check("-0", Some("0"));
        check("0e999999999999999999999999999999", Some("0"));
        check("1e28", Some("10000000000000000000000000000"));
        check("1e29", None);
        check("1e400", None);
        check("1e-29", None);
        check("0.1000000000000000000000000000000000", Some("0.1"));
        check("0.12345678901234567890123456789", None);
        check("123456789012345678901234567890.5", None);
    }

    #[test]
    fn arithmetic() {
        type Operation = fn(Number, Number) -> Result<Number, Refused>;
        let check = |left: &str, operation: Operation, right: &str, expected: Result<&str, Refused>| {
            let result = operation(number(left), number(right)).map(Number::text);
            assert_eq!(result.as_deref().map_err(|refused| *refused), expected, "{left} {right}");
        };
        check("0.1", Number::add, "0.2", Ok("0.3"));
        check("1.5", Number::add, "1.5", Ok("3"));
        check("612.10", Number::subtract, "0.10", Ok("612"));
        check("19.99", Number::multiply, "3", Ok("59.97"));
        check("6", Number::divide, "3", Ok("2"));
        check("10", Number::divide, "4", Ok("2.5"));
        check("1", Number::divide, "3", Ok("0.3333333333333333333333333333"));
        check("1", Number::divide, "0.0", Err(ZERO));
        check("1", Number::remainder, "0", Err(ZERO));
        check("-7", Number::remainder, "3", Ok("-1"));
        check("7.5", Number::remainder, "2", Ok("1.5"));
        check(&i128::MIN.to_string(), Number::remainder, "-1", Ok("0"));
        check(&i128::MIN.to_string(), Number::divide, "-1", Err(OVERFLOW));
        check(&i128::MAX.to_string(), Number::add, "1", Err(OVERFLOW));
        check(&i128::MAX.to_string(), Number::add, "0.5", Err(OVERFLOW));
    }

    #[test]
    fn rounding() {
        let check = |text: &str, places: u32, expected: &str| {
            assert_eq!(number(text).fixed(places), expected, "{text} {places}");
        };
        check("2.5", 0, "3");
        check("-2.5", 0, "-3");
        check("-0.4", 0, "0");
        check("1.005", 2, "1.01");
        check("1.1", 3, "1.100");
        check("5", 2, "5.00");
        check("5.0", 2, "5.00");
        for (text, expected) in [("2.5", "3"), ("-2.5", "-2"), ("2.4", "2"), ("-2.6", "-3"), ("7", "7")] {
            assert_eq!(number(text).round_half_up().text(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn comparison_by_text_agrees_with_decimals(
            left in -100_000_i64..100_000, left_scale in 0_u32..6, right in -100_000_i64..100_000, right_scale in 0_u32..6
        ) {
            let (left, right) = (Decimal::new(left, left_scale), Decimal::new(right, right_scale));
            prop_assert_eq!(compare_text(&left.to_string(), &right.to_string()), left.cmp(&right));
            let shifted = format!("{}e-2", right.checked_mul(Decimal::ONE_HUNDRED).unwrap());
            prop_assert_eq!(compare_text(&left.to_string(), &shifted), left.cmp(&right));
        }

        #[test]
        fn adding_and_taking_away_gives_back(left in any::<i64>(), scale in 0_u32..9, right in any::<i64>()) {
            let left = Number::Dec(Decimal::new(left, scale));
            let right = Number::Int(i128::from(right));
            let back = left.add(right).unwrap().subtract(right).unwrap();
            prop_assert_eq!(compare_text(&back.text(), &left.text()), Ordering::Equal);
        }
    }
}
