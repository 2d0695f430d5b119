//! A plugin that does what each document's text tells it to, most of it bad.
//!
//! The key `start` of its configuration does the same for `start`.

#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "wit-bindgen exports")]
mod component;
