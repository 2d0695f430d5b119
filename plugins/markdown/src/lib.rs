//! Cuts Markdown along its headings and blocks.
//!
//! [`blocks`] reads the document's form, [`sections`] decides what belongs
//! together, and [`markdown`] cuts that, with the heading path before each chunk.

pub mod blocks;
pub mod markdown;
pub mod sections;

#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "wit-bindgen exports")]
mod component;

#[cfg(test)]
mod tests;
