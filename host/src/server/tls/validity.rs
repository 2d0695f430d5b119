//! Until when a certificate is good: the one thing that is read from inside it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

const DAY: u64 = 24 * 60 * 60;

/// A moment to the second, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Until {
    year: u64,
    month: u64,
    day: u64,
    /// Of the day.
    second: u64,
}

/// The end of `certificate`'s validity (RFC 5280, 4.1.2.5); `None` where it cannot be found.
pub(super) fn not_after(certificate: &[u8]) -> Option<Until> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if let Some((_, after)) = expect(VERSION, rest) {
        rest = after;
    }
    let (_serial, rest) = expect(INTEGER, rest)?;
    let (_algorithm, rest) = expect(SEQUENCE, rest)?;
    let (_issuer, rest) = expect(SEQUENCE, rest)?;
    let (validity, _) = expect(SEQUENCE, rest)?;
    let (_, _not_before, rest) = element(validity)?;
    let (tag, not_after, _) = element(rest)?;
    let text = std::str::from_utf8(not_after).ok()?;
    match tag {
        // Two digits stand for the years from 1950 to 2049.
        UTC_TIME => {
            let (year, rest) = number(text, 2)?;
            time(if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = number(text, 4)?;
            time(year, rest)
        }
        _ => None,
    }
}

/// `MMDDHHMMSSZ`
fn time(year: u64, text: &str) -> Option<Until> {
    let (month, text) = number(text, 2)?;
    let (day, text) = number(text, 2)?;
    let (hour, text) = number(text, 2)?;
    let (minute, text) = number(text, 2)?;
    let (second, _) = number(text, 2)?;
    Some(Until { year, month, day, second: hour * 3600 + minute * 60 + second })
}

fn number(text: &str, digits: usize) -> Option<(u64, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, rest))
}

/// The content of an element that must have `tag`, and what follows it.
fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// Tag, content and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Lengths of up to four bytes do for any certificate.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

impl Until {
    pub(super) fn is_past(self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.since_1970() < now
    }

    /// Seconds. Days since 1970 by counting years from March, as Howard Hinnant's
    /// `days_from_civil` does, so that a leap day comes last in its year.
    fn since_1970(self) -> u64 {
        let year = if self.month <= 2 { self.year.saturating_sub(1) } else { self.year };
        let of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day.saturating_sub(1);
        let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year;
        // Days from 1 March of the year 0 to 1 January 1970.
        days.saturating_sub(719_468) * DAY + self.second
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, second } = self;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[track_caller]
    fn check(year: i32, month: u8, day: u8, shown: &str, since_1970: u64) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let until = not_after(certificate.der()).unwrap();
        assert_eq!((until.to_string().as_str(), until.since_1970()), (shown, since_1970));
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_time() {
        check(2026, 11, 23, "2026-11-23T00:00:00Z", 1_795_392_000);
        check(2028, 2, 29, "2028-02-29T00:00:00Z", 1_835_395_200);
        check(2099, 12, 31, "2099-12-31T00:00:00Z", 4_102_358_400);
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for bytes in [&b""[..], b"\x30", b"\x30\x05\x30\x03\x02\x01\x01", b"\x30\x84\xff\xff\xff\xff\x00"] {
            assert_eq!(not_after(bytes), None);
        }
    }
}
