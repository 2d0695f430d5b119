//! A plugin of both roles: lower case without white space around it, and chunks of whole sentences.

#[cfg(target_family = "wasm")]
#[expect(unsafe_code, reason = "wit-bindgen exports")]
mod component;
