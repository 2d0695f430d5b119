//! Cuts text at the largest boundary that fits.
//!
//! What a chunk may hold is configured here; where it ends is decided by
//! `embergate-cut`, next door, which the chunker for Markdown uses too.

pub mod recursive;

#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "wit-bindgen exports")]
mod component;

#[cfg(test)]
mod tests;
