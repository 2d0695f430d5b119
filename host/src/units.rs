//! Sizes as people write them: `512MiB`, `64 KiB`.

pub use bytesize::ByteSize;
