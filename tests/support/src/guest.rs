//! Guests written by hand: core modules as WebAssembly text, of `tests/guests/*.wat`.
//!
//! Each becomes a core module that carries its component type, as wit-bindgen
//! would make it, so that the gateway turns it into a component by itself. What a
//! compiler would never do, such as answering with a pointer into nowhere, can be
//! written only so.

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The gateway's contract.
pub const CONTRACT: &str = include_str!("../../../wit/embergate.wit");

/// Builds `wat` for `world` of the contract.
///
/// # Panics
/// When the text is no module.
pub fn built(wat: &str, world: &str) -> Vec<u8> {
    built_for(CONTRACT, wat, world)
}

/// The same for the last package of `wit`, which may be any other contract.
///
/// # Panics
/// When one of the texts cannot be read, or `wit` has no such world.
pub fn built_for(wit: &str, wat: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).expect("the guest is WebAssembly text");
    let mut resolve = Resolve::default();
    let package = resolve.push_str("guest.wit", wit).expect("the contract is WIT");
    let world = resolve.select_world(&[package], Some(world)).expect("the contract has this world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("a module takes a type");
    module
}
