//! What all of the gateway talks about; no I/O but reading a tokenizer's file.
//!
//! This file is the map, from the bottom to the top; a module may name only
//! modules above it in this list. The gateway names these modules as its own.

pub mod document; // Document, Chunk, Span, and the way back to the original file
pub mod model; // ModelName, Purpose, Embedding
pub mod tokenizer; // text → tokens, exactly or by estimate
pub mod units; // sizes as people write them
