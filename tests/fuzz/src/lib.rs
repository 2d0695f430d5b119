//! What strangers send, made up: requests, plugins, what plugins answer, and files to index. Each
//! check is a fuzz target (`main.rs`) and a replay of seeds (`tests/seeds.rs`).

mod answers;
mod components;
mod image;
mod patches;
mod requests;
mod seed;
mod sources;
mod spans;

pub use requests::check;
pub use seed::Asked;

/// Panics when something is not as it should be.
pub type Check = fn(&[u8]);

/// What can be made up: the name of the target, which is its folder in `seeds`.
pub const TARGETS: &[(&str, Check)] = &[
    ("requests", requests::check_bytes),
    ("components", components::check_bytes),
    ("answers", answers::check_bytes),
    ("sources", sources::check_bytes),
    ("spans", spans::check_bytes),
    ("patches", patches::check_bytes),
];

/// Returns the check of a target.
pub fn target(name: &str) -> Option<Check> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, check)| *check)
}
