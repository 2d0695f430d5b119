//! How deep a JSON text is, found without parsing it.

/// Bytes that are looked at together, which the compiler does by vectors of them.
const PIECE: usize = 64;

/// What of a piece says something of the depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    quotes: u8,
    opened: u8,
    closed: u8,
}

/// Whether arrays and objects are in one another more than `max` deep. Brackets in texts do not count.
pub(super) fn is_deeper(json: &[u8], max: usize) -> bool {
    let (mut at, mut depth) = (0, 0_usize);
    while at < json.len() {
        // Where nothing in a piece could go too deep, the order of its brackets is all the same.
        if let Some(piece) = json[at..].first_chunk::<PIECE>() {
            let Counts { quotes, opened, closed } = counts(piece);
            let (opened, closed) = (usize::from(opened), usize::from(closed));
            if quotes == 0 && depth + opened <= max && closed <= depth {
                depth = depth + opened - closed;
                at += PIECE;
                continue;
            }
        }
        let end = json.len().min(at + PIECE);
        while at < end {
            match json[at] {
                b'"' => at = text_end(json, at + 1),
                b'[' | b'{' => {
                    depth += 1;
                    if max < depth {
                        return true;
                    }
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
    }
    false
}

fn counts(piece: &[u8; PIECE]) -> Counts {
    let mut counts = Counts::default();
    for byte in piece {
        // `{` and `}` are `[` and `]` with one bit more.
        let bracket = byte | 0x20;
        counts.quotes += u8::from(*byte == b'"');
        counts.opened += u8::from(bracket == b'{');
        counts.closed += u8::from(bracket == b'}');
    }
    counts
}

/// Where the text that begins at `at` has its closing quote.
fn text_end(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at;
        }
        // A backslash, and what it stands before.
        at += 2;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The depth, a byte at a time.
    fn depth_of(json: &[u8]) -> usize {
        let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
        for byte in json {
            match (in_text, byte) {
                (true, _) if escaped => escaped = false,
                (true, b'\\') => escaped = true,
                (_, b'"') => in_text = !in_text,
                (false, b'[' | b'{') => depth += 1,
                (false, b']' | b'}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        deepest
    }

    #[track_caller]
    fn check(json: &[u8]) {
        let depth = depth_of(json);
        assert!(!is_deeper(json, depth), "{json:?}");
        assert!(depth == 0 || is_deeper(json, depth - 1), "{json:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_as_deep_as_they_are(
            words in prop::collection::vec(prop::sample::select(vec![
                "[", "]", "{", "}", "\"", "\\", "\\\"", "1,", "a long run of bytes that have nothing to say of depth ",
            ]), 0..120)
        ) {
            check(words.concat().as_bytes());
        }
    }

    #[test]
    fn brackets_count_wherever_they_stand_in_a_piece() {
        for at in 0..3 * PIECE {
            let mut json = vec![b'1'; 4 * PIECE];
            json[at] = b'[';
            json[at + 1] = b'{';
            check(&json);
            json[at + 1] = b']';
            check(&json);
        }
        check(&[b'['; 1000]);
        check(br#""\"#);
        check(b"");
    }
}
