//! What happens when a peer misbehaves.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod abuse;
mod behind_v1;
mod bench;
mod cut;
mod each;
mod far;
mod fleet;
mod health;
mod index;
mod index_edits;
mod index_faults;
mod index_kills;
mod index_machine;
mod index_parts;
mod mixture;
mod nonsense;
mod pages;
mod several;
mod sharing;
mod spans;
mod through;
