//! When a certificate ends, read from its DER: the second time of its validity, and nothing else.
//!
//! Invariant: whether it is taken was decided by the TLS library; a certificate that is not understood here has no end,
//! and never a panic.

/// One element: its tag, what is in it, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0_usize, |length, digit| (length << 8) | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (inside, after) = rest.split_at_checked(length)?;
    Some((*tag, inside, after))
}

/// When it ends, in Unix seconds.
#[must_use]
pub fn not_after_s(der: &[u8]) -> Option<i64> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (SEQUENCE, whole, _) = element(der)? else { return None };
    let (SEQUENCE, mut rest, _) = element(whole)? else { return None };
    if let (VERSION, _, after) = element(rest)? {
        rest = after;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (SEQUENCE, validity, _) = element(rest)? else { return None };
    let (_, _, after) = element(validity)?;
    let (tag, text, _) = element(after)?;
    time_s(tag, std::str::from_utf8(text).ok()?)
}

/// `261222194704Z` or `21261029194704Z`.
fn time_s(tag: u8, text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    let (year, rest) = match tag {
        // Two digits mean 1950 to 2049 (RFC 5280, 4.1.2.5.1).
        0x17 => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        0x18 => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let time = jiff::civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginnings of two certificates that `openssl req -x509` made.
    const UTC: &str = "3082016d30820113a003020102021460fe728ea4eae642fa39e29e83410aad74d1d770300a06082a8648ce3d040302300c310a300806035504030c0174301e170d3236313132323139343730345a170d3236313232323139343730345a300c310a300806035504030c01743059301306072a8648ce3d020106082a8648ce3d03010703420004791aefb76c15547fa53919cdcbaf09a26bb284361b19a246a7ddac218b46ba9cff4d22396753295098e8c8efcd7a176b585af81e51d947c3f3926a731974743ea3533051301d0603551d0e041604144905fc2768f555b8c67147b663f8038735e1a7a2301f0603551d230418301680144905fc2768f555b8c67147b663f8038735e1a7a2300f0603551d130101ff040530030101ff300a06082a8648ce3d04030203480030450220194c423cf27a826f1685f8caf3d65be138d44f677ef116927a7dc7530e4dae0e02210090a8afcf45431521e49db56d155d70d46d008e0a8f4077ec6bae72bf5e8a18c7";
    const GENERAL: &str = "3082016f30820115a00302010202142cfbb7aa02610965c7d4856ac2abfcdaa6fcdab4300a06082a8648ce3d040302300c310a300806035504030c01743020170d3236313132323139343730345a180f32313236313032393139343730345a300c310a300806035504030c01743059301306072a8648ce3d020106082a8648ce3d03010703420004edb207ad130cae8873a8bbeea27692b1a662fc0702a8bbbb0a72195a1fbd73d4f1480a05f6672c254bd1238080b474b424420e98a3e8344e69549ee3cba875b3a3533051301d0603551d0e04160414de3674554daf8cd10e7a960a4909dfc3b1b3df5e301f0603551d23041830168014de3674554daf8cd10e7a960a4909dfc3b1b3df5e300f0603551d130101ff040530030101ff300a06082a8648ce3d04030203480030450220770a1161c1173373bc06525a6d1d140e94cc95020f83ee3dd73a23f0dc168dbe022100ae97284d73b603d17dbe6981926d235cc3183575d8059e552465fba8bdf2aaec";

    #[test]
    fn the_end_of_a_certificate_is_read_and_a_broken_one_has_none() {
        let bytes = |text: &str| hex::decode(text).unwrap();
        let at = |text: &str| Some(text.parse::<jiff::Timestamp>().unwrap().as_second());
        assert_eq!(not_after_s(&bytes(UTC)), at("2026-12-22T19:47:04Z"));
        assert_eq!(not_after_s(&bytes(GENERAL)), at("2126-10-29T19:47:04Z"));
        let whole = bytes(UTC);
        for end in 0..whole.len() {
            assert_eq!(not_after_s(&whole[..end]), None, "cut at {end}");
        }
        for place in 0..whole.len() {
            let mut other = whole.clone();
            other[place] ^= 0xff;
            let _ = not_after_s(&other);
        }
    }
}
