//! The `embergate` command.

fn main() {}
