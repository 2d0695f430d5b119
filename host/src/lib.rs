//! Embergate: an embeddings gateway that its users extend with WebAssembly.
//!
//! This file is the map, from the bottom of the stack to the top; a module may
//! name only modules above it in this list. What is behind `pub use` lives in a
//! package of its own and is named like any module. `docs/ARCHITECTURE.md` tells
//! the same as a story, and `tests/tidy` keeps both true.

// Leaves: what everybody talks about.
pub use embergate_core::document; // Document, Chunk, Span, and the way back to the original file
pub use embergate_core::model; // ModelName, Purpose, Embedding
pub use embergate_core::units; // sizes and times as people write them

pub mod errand; // work that goes on when whoever began it leaves
pub mod shutdown; // from a signal to a token that everybody watches
pub mod telemetry; // logs, spans and metrics

// Parts: each does one job and knows no other part, except that plugins are
// handed the tokenizer, and gateways among upstreams say which one it is.
pub mod analyzer; // text → sparse vector
pub mod batcher; // queued texts → batches for whichever upstream has a free slot
pub mod cache; // space and text → embedding

pub use embergate_core::tokenizer; // text → tokens, exactly or by estimate
pub use embergate_plugin as plugin; // WebAssembly components: load, lend, call, check

pub mod store; // collections of points, embedded or in Qdrant
pub mod upstream; // one server that embeds, over its own protocol

// Flows: what the parts do together.
pub mod embed; // texts → embeddings
pub mod index; // files → points
pub mod search; // a question → chunks

// Edges: where people and programs come in.
pub mod server; // the HTTP APIs

pub mod config; // the file, the environment, the defaults

pub mod app; // puts the parts together
pub mod cli; // the commands
