//! Takes the text out of web pages.
//!
//! The text is the page itself with markup patched away, so that what is found in it points into
//! the original file. Reading order: [`extract`] is the whole, [`scan`] finds tags, [`tree`] finds
//! which element holds which, [`content`] finds the part that matters, [`text`] lays it out, and
//! [`patch`] says what that changes.

pub mod content;
pub mod element;
pub mod extract;
pub mod options;
pub mod patch;
pub mod references;
pub mod scan;
pub mod text;
pub mod tree;

#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "wit-bindgen exports")]
mod component;
