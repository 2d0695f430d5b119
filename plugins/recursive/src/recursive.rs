//! The chunker without its WebAssembly side: configuration, and one document's chunks.

use embergate_cut::settings::{self, NO_LIMIT, Value};
use embergate_cut::{Cuts, Job, Source, Span, Structure, Text, overlap};

/// Why a character is in no chunk.
pub const TOO_LONG: &str = "this character alone takes more tokens than a chunk may have";

/// The most of a chunk that may repeat the one before it.
const MOST_OVERLAP: f64 = 0.2;

/// What `start` was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Tokens in a chunk, at most; less where the collection or the model wants less.
    pub max_tokens: u32,
    /// The share of a chunk that may repeat whole sentences of the one before it.
    pub overlap: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_tokens: NO_LIMIT, overlap: 0.0 }
    }
}

impl Config {
    /// Reads the values of the plugin's table.
    ///
    /// # Errors
    /// Names the key, its value and what is allowed.
    pub fn from_values(values: impl IntoIterator<Item = (String, Value)>) -> Result<Self, String> {
        let mut config = Self::default();
        for (key, value) in values {
            match key.as_str() {
                "max_tokens" => config.max_tokens = settings::tokens(&key, &value)?,
                "overlap" => config.overlap = settings::share(&key, &value, MOST_OVERLAP)?,
                _ => return Err(settings::unknown(&key, "`max_tokens`, `overlap`")),
            }
        }
        Ok(config)
    }
}

/// Cuts `text` into chunks of at most `config.max_tokens` and `max_tokens` tokens.
///
/// An edit changes no chunk that ends a chunk's length or more before it. Behind
/// it, chunks are the same again from the first boundary that both versions cut at.
///
/// # Errors
/// `max_tokens` is 0: nothing fits.
pub fn split(
    text: &str,
    host: &dyn Text,
    config: Config,
    max_tokens: u32,
    language: Option<&str>,
) -> Result<Cuts, String> {
    let limit = config.max_tokens.min(max_tokens);
    if limit == 0 {
        return Err("the model leaves `0` tokens for a chunk: shorten its prompt".into());
    }
    let shared = (f64::from(limit) * config.overlap) as u32;
    let source = Source::new(text, host, language);
    let range = Span::new(0, text.len());
    let job = Job { range, limit, reserved: shared, structure: &Structure::default() };
    let mut cuts = source.cut(&job, &|spans| host.count_tokens(spans));
    if shared > 0 && cuts.spans.len() > 1 {
        overlap(&source, &mut cuts, shared, limit);
    }
    Ok(cuts)
}
