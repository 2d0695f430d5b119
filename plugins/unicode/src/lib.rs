//! Normalises characters: composed forms, line ends, and no invisible marks.
//!
//! Two texts that look alike should embed alike. What is done to a character,
//! and what is left alone, stands in [`clean`].

pub mod clean;
pub mod options;

#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "wit-bindgen exports")]
mod component;
