//! The JSON of token arrays, read one token at a time into a [`Decoder`].

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Decoder;

/// A list of token arrays.
pub(super) struct Arrays<'d, 't>(pub(super) &'d mut Decoder<'t>);

impl<'de> DeserializeSeed<'de> for Arrays<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Arrays<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token arrays")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let decoder = self.0;
        while decoder.got < decoder.limits.max_texts {
            if elements.next_element_seed(Array { decoder: &mut *decoder, is_alone: false })?.is_none() {
                return Ok(());
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {
            decoder.got += 1;
        }
        Ok(())
    }
}

/// One token array, which is one text.
pub(super) struct Array<'d, 't> {
    pub(super) decoder: &'d mut Decoder<'t>,
    /// It is the whole of `input`.
    pub(super) is_alone: bool,
}

impl Array<'_, '_> {
    fn mixed<E: Error>(self, what: &str) -> E {
        let index = self.decoder.got;
        self.decoder.invalid(format!(
            "`input` has {what} at index {index} among token arrays: send texts or token arrays, not both"
        ))
    }
}

impl<'de> DeserializeSeed<'de> for Array<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Array<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { decoder, is_alone } = self;
        let mut bytes = Vec::new();
        let mut position = 0;
        while let Some(token) = elements.next_element_seed(Token)? {
            let token = token.map_err(|what| match is_alone {
                true => decoder.invalid(format!(
                    "`input` has {what} at index {position} among tokens: send texts, or tokens, which are \
                     whole numbers from 0"
                )),
                false => decoder.invalid(format!(
                    "text {} of `input` has {what} at index {position} among tokens, which are whole numbers from 0",
                    decoder.got
                )),
            })?;
            match decoder.bytes(token, position) {
                Ok(more) => bytes.extend_from_slice(more),
                Err(fault) => return Err(decoder.give_up(fault)),
            }
            position += 1;
        }
        decoder.finish(bytes).map_err(|fault| decoder.give_up(fault))?;
        decoder.got += 1;
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(self.mixed("null"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(self.mixed("a boolean"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(self.mixed("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(self.mixed("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(self.mixed("a number"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(self.mixed("a string"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.mixed("an object"))
    }
}

/// A token, or what stands in its place.
struct Token;

const NO_TOKEN: &str = "a number that is no token";

impl<'de> DeserializeSeed<'de> for Token {
    type Value = Result<u32, &'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Token {
    type Value = Result<u32, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }

    fn visit_u64<E>(self, token: u64) -> Result<Self::Value, E> {
        Ok(u32::try_from(token).map_err(|_| NO_TOKEN))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Err(NO_TOKEN))
    }

    /// JSON does not tell `15339.0` from `15339`.
    fn visit_f64<E>(self, token: f64) -> Result<Self::Value, E> {
        let is_whole = token.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&token);
        Ok(if is_whole { Ok(token as u32) } else { Err(NO_TOKEN) })
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Err("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err("a boolean"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Err("a string"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Err("an object"))
    }
}
