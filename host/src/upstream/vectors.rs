//! Lists of numbers in an answer, read faster than the rest of it.
//!
//! An answer is nearly all numbers, and to read them as JSON takes longer than all
//! else that happens to a text. They are taken out before the rest is read. What is
//! not just as expected is left where it is: then all of the answer is read as JSON,
//! slowly, and that tells what is wrong with it.

use memchr::memmem;

/// What was taken out of an answer.
#[derive(Debug, PartialEq)]
pub(super) struct Taken {
    /// In the order in which they stood there.
    pub(super) vectors: Vec<Vec<f32>>,
    /// The answer with `[]` where they were.
    pub(super) rest: Vec<u8>,
}

/// Takes every list of numbers, or list of such lists, out of `body` that is a value of `key`,
/// which is written with its quotes and colon. `None` where there is none, or one that is
/// something else.
///
/// Bytes like those of `key` are a key: within a string, a quote has a backslash before it.
pub(super) fn take(body: &[u8], key: &[u8]) -> Option<Taken> {
    let keys = memmem::Finder::new(key);
    let mut taken = Taken { vectors: Vec::new(), rest: Vec::with_capacity(256) };
    let mut at = 0;
    while let Some(found) = keys.find(&body[at..]) {
        let mut reader = Reader { body, at: at + found + key.len() };
        reader.skip_white();
        taken.rest.extend_from_slice(&body[at..reader.at]);
        taken.rest.extend_from_slice(b"[]");
        reader.value(&mut taken.vectors)?;
        at = reader.at;
    }
    taken.rest.extend_from_slice(&body[at..]);
    if taken.vectors.is_empty() { None } else { Some(taken) }
}

struct Reader<'b> {
    body: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn skip_white(&mut self) {
        while self.body.get(self.at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
            self.at += 1;
        }
    }

    /// Goes over `byte` and what is white behind it, if that is what comes.
    fn next_is(&mut self, byte: u8) -> bool {
        let is_next = self.body.get(self.at) == Some(&byte);
        if is_next {
            self.at += 1;
            self.skip_white();
        }
        is_next
    }

    /// A list of numbers, or a list of those.
    fn value(&mut self, vectors: &mut Vec<Vec<f32>>) -> Option<()> {
        let start = self.at;
        if self.next_is(b'[') && self.body.get(self.at) == Some(&b'[') {
            self.vector(vectors)?;
            while self.next_is(b',') {
                self.vector(vectors)?;
            }
            return self.end();
        }
        self.at = start;
        self.vector(vectors)
    }

    fn vector(&mut self, vectors: &mut Vec<Vec<f32>>) -> Option<()> {
        let mut numbers = Vec::with_capacity(vectors.last().map_or(1024, Vec::len));
        if !self.next_is(b'[') {
            return None;
        }
        numbers.push(self.number()?);
        while self.next_is(b',') {
            numbers.push(self.number()?);
        }
        vectors.push(numbers);
        self.end()
    }

    /// The bracket that ends a list.
    fn end(&mut self) -> Option<()> {
        // What is white behind it belongs to the rest as well as to the list.
        self.next_is(b']').then_some(())
    }

    /// A finite number as JSON writes it.
    fn number(&mut self) -> Option<f32> {
        let bytes = &self.body[self.at..];
        let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
        let leads_with_zero = |next: Option<&u8>| next.is_some_and(u8::is_ascii_digit);
        match digits.first()? {
            b'0' if leads_with_zero(digits.get(1)) => return None,
            b'0'..=b'9' => {}
            _ => return None,
        }
        let (number, length) = fast_float2::parse_partial::<f32, _>(bytes).ok()?;
        // `1.` is a number to others.
        if !number.is_finite() || !bytes[length - 1].is_ascii_digit() {
            return None;
        }
        self.at += length;
        self.skip_white();
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &[u8] = br#""embedding":"#;

    #[track_caller]
    fn check(body: &str, want: Option<(&[&[f32]], &str)>) {
        let got = take(body.as_bytes(), KEY);
        let got = got.map(|taken| (taken.vectors, String::from_utf8(taken.rest).unwrap()));
        let owned = |vectors: &[&[f32]]| vectors.iter().map(|vector| vector.to_vec()).collect::<Vec<_>>();
        assert_eq!(got, want.map(|(vectors, rest)| (owned(vectors), rest.to_owned())), "{body}");
    }

    #[test]
    fn vectors_are_taken_wherever_they_stand() {
        check(
            r#"{"data":[{"embedding":[1,-2.5e-1],"index":0},{"embedding": [ 3.0 , 0 ] ,"index":1}],"n":2}"#,
            Some((
                &[&[1.0, -0.25], &[3.0, 0.0]],
                r#"{"data":[{"embedding":[],"index":0},{"embedding": [],"index":1}],"n":2}"#,
            )),
        );
        check(
            r#"{"embedding":[[1],[2, 3]],"x":0}"#,
            Some((&[&[1.0], &[2.0, 3.0]], r#"{"embedding":[],"x":0}"#)),
        );
    }

    #[test]
    fn a_string_that_looks_like_a_key_is_none() {
        check(
            r#"{"model":"\"embedding\":[9]","embedding":[1]}"#,
            Some((&[&[1.0]], r#"{"model":"\"embedding\":[9]","embedding":[]}"#)),
        );
    }

    #[test]
    fn what_is_no_list_of_numbers_is_left_to_others() {
        for value in [
            "null", "\"AAAA\"", "[]", "[[]]", "[1,]", "[,1]", "[1", "[1 2]", "[NaN]", "[nan]", "[-inf]",
            "[+1]", "[.5]", "[1.]", "[01]", "[-01]", "[-]", "[1e]", "[1e999]", "[null]", "[[1],2]",
            "[1,[2]]", "[0x1]", "[\"1\"]",
        ] {
            check(&format!(r#"{{"embedding":{value}}}"#), None);
        }
        check("", None);
        check(r#"{"embedding":"#, None);
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(vectors: Vec<Vec<u32>>) {
            let finite = |bits: &u32| Some(f32::from_bits(*bits)).filter(|number| number.is_finite());
            let vectors: Vec<Vec<f32>> = vectors.iter().map(|bits| bits.iter().filter_map(finite).collect()).collect();
            prop_assume!(!vectors.is_empty() && vectors.iter().all(|vector: &Vec<f32>| !vector.is_empty()));
            let body = format!(r#"{{"embedding":{}}}"#, serde_json::to_string(&vectors).unwrap());
            let bits = |vectors: &[Vec<f32>]| -> Vec<Vec<u32>> {
                vectors.iter().map(|vector| vector.iter().map(|number| number.to_bits()).collect()).collect()
            };
            let taken = take(body.as_bytes(), KEY).unwrap();
            prop_assert_eq!(bits(&taken.vectors), bits(&vectors));
        }

        #[test]
        fn nothing_is_taken_that_json_would_not_read_the_same(body in r#"[\[\],0-9.eE+ \-]{0,24}"#) {
            let body = format!(r#"{{"embedding":{body}}}"#);
            let whole = serde_json::from_str::<serde_json::Value>(&body);
            if let Some(taken) = take(body.as_bytes(), KEY) {
                prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&taken.rest).is_ok(), whole.is_ok());
                let Ok(value) = whole else { return Ok(()) };
                let read = |value: &serde_json::Value| serde_json::from_value::<Vec<f32>>(value.clone());
                let value = &value["embedding"];
                let vectors = match read(value) {
                    Ok(vector) => vec![vector],
                    Err(_) => value.as_array().unwrap().iter().map(|value| read(value).unwrap()).collect(),
                };
                prop_assert_eq!(taken.vectors, vectors);
            }
        }
    }
}
