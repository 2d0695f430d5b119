//! Offsets in the units of a guest's language, and in bytes.

use super::bindings::embergate::plugin::types::OffsetUnit;

/// Characters between two known places of a text.
const STEP: usize = 64;

/// Finds the bytes at which units of one text start.
pub(super) struct Offsets<'t> {
    text: &'t str,
    unit: OffsetUnit,
    /// Every `STEP` characters: units and bytes before the next one. Empty where a unit is a byte.
    known: Vec<(usize, usize)>,
}

impl<'t> Offsets<'t> {
    /// Takes linear time, and none to speak of where a unit is a byte.
    pub(super) fn new(text: &'t str, unit: OffsetUnit) -> Self {
        let mut known = Vec::new();
        if !is_byte(text, unit) {
            let mut units = 0;
            for (index, (byte, char)) in text.char_indices().enumerate() {
                if index % STEP == 0 {
                    known.push((units, byte));
                }
                units += width(char, unit);
            }
        }
        Self { text, unit, known }
    }

    /// Returns the byte at which unit `at` starts, or nothing where that is outside
    /// the text or inside a character.
    pub(super) fn byte(&self, at: u32) -> Option<usize> {
        let at = at as usize;
        let index = self.known.partition_point(|(units, _)| *units <= at);
        let Some(&(mut units, mut byte)) = index.checked_sub(1).and_then(|index| self.known.get(index))
        else {
            return self.text.is_char_boundary(at).then_some(at);
        };
        for char in self.text[byte..].chars() {
            if at <= units {
                break;
            }
            units += width(char, self.unit);
            byte += char.len_utf8();
        }
        (units == at).then_some(byte)
    }
}

/// Rewrites byte offsets, ascending and on characters of `text`, into `unit`.
pub(super) fn from_bytes(text: &str, unit: OffsetUnit, ends: &mut [u32]) {
    if is_byte(text, unit) {
        return;
    }
    let (mut byte, mut units) = (0, 0);
    for end in ends {
        let until = *end as usize;
        units += text[byte..until].chars().map(|char| width(char, unit)).sum::<usize>();
        byte = until;
        *end = units as u32;
    }
}

fn is_byte(text: &str, unit: OffsetUnit) -> bool {
    unit == OffsetUnit::Utf8Byte || text.is_ascii()
}

fn width(char: char, unit: OffsetUnit) -> usize {
    match unit {
        OffsetUnit::Utf8Byte => char.len_utf8(),
        OffsetUnit::Utf16Unit => char.len_utf16(),
        OffsetUnit::CodePoint => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "aé海🌊z";

    #[track_caller]
    fn check(unit: OffsetUnit, at: u32, want: Option<usize>) {
        assert_eq!(Offsets::new(TEXT, unit).byte(at), want);
    }

    #[test]
    fn bytes_are_bytes() {
        check(OffsetUnit::Utf8Byte, 3, Some(3));
    }

    #[test]
    fn a_byte_inside_a_character_is_nowhere() {
        check(OffsetUnit::Utf8Byte, 2, None);
    }

    #[test]
    fn a_wave_is_two_units_of_utf16() {
        check(OffsetUnit::Utf16Unit, 5, Some(10));
    }

    #[test]
    fn half_a_surrogate_pair_is_nowhere() {
        check(OffsetUnit::Utf16Unit, 4, None);
    }

    #[test]
    fn a_wave_is_one_code_point() {
        check(OffsetUnit::CodePoint, 4, Some(10));
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        check(OffsetUnit::CodePoint, 5, Some(11));
    }

    #[test]
    fn past_the_end_is_nowhere() {
        check(OffsetUnit::CodePoint, 6, None);
    }

    #[test]
    fn an_empty_text_has_one_place() {
        assert_eq!(Offsets::new("", OffsetUnit::Utf16Unit).byte(0), Some(0));
    }

    #[test]
    fn there_and_back_is_the_same_place() {
        let text = "aé海🌊 ".repeat(100);
        for unit in [OffsetUnit::Utf8Byte, OffsetUnit::Utf16Unit, OffsetUnit::CodePoint] {
            let places: Vec<u32> = text.char_indices().map(|(at, _)| at as u32).collect();
            let mut units = places.clone();
            from_bytes(&text, unit, &mut units);
            let offsets = Offsets::new(&text, unit);
            let back: Vec<_> = units.iter().map(|at| offsets.byte(*at).unwrap() as u32).collect();
            assert_eq!(back, places);
        }
    }
}
