//! Sizes as people write them: `512MiB`, `64 KiB`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes, read from and written to configuration with its unit.
///
/// Writing is exact: what is shown, read again, is the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    pub const fn b(bytes: u64) -> Self {
        Self(bytes)
    }

    pub const fn kib(kibibytes: u64) -> Self {
        Self(kibibytes << 10)
    }

    pub const fn mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    pub const fn gib(gibibytes: u64) -> Self {
        Self(gibibytes << 30)
    }

    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The largest unit of 1024 that leaves a whole number.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        let (shift, unit) = match bytes.trailing_zeros() {
            _ if bytes == 0 => (0, "B"),
            zeros if 30 <= zeros => (30, "GiB"),
            zeros if 20 <= zeros => (20, "MiB"),
            zeros if 10 <= zeros => (10, "KiB"),
            _ => (0, "B"),
        };
        write!(f, "{}{unit}", bytes >> shift)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<bytesize::ByteSize>().map(|size| Self(size.as_u64()))
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"64MiB\"")
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
        u64::try_from(bytes).map(ByteSize).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
        Ok(ByteSize(bytes))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, bytes: u64, shown: &str) {
        let size: ByteSize = written.parse().unwrap();
        assert_eq!(size, ByteSize(bytes));
        assert_eq!(size.to_string(), shown);
        assert_eq!(shown.parse(), Ok(size));
    }

    #[test]
    fn sizes_are_read_with_either_kind_of_unit() {
        check("512MiB", 512 << 20, "512MiB");
        check("64 KiB", 64 << 10, "64KiB");
        check("1MB", 1_000_000, "1000000B");
    }

    #[test]
    fn what_is_shown_is_exact() {
        check("1500KiB", 1500 << 10, "1500KiB");
        check("3GiB", 3 << 30, "3GiB");
        check("0", 0, "0B");
        check("1025B", 1025, "1025B");
    }
}
