//! How a server that loads models by itself is to have one: the same in every call,
//! because another set has it load the model anew, for everybody.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What every call for a model asks of such a server. Where nothing is said, the server decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    pub keep_alive: KeepAlive,
    pub options: Options,
}

/// A `[model.options]` table, in Ollama's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Tokens of a text.
    pub num_ctx: Option<u32>,
    /// Tokens that are computed together; Ollama cuts there without a word, for most models.
    pub num_batch: Option<u32>,
    /// Layers on the graphics processor.
    pub num_gpu: Option<i32>,
    pub main_gpu: Option<u32>,
    pub num_thread: Option<u32>,
    pub use_mmap: Option<bool>,
}

impl Options {
    /// With `num_ctx` for texts of `max_tokens` where the table leaves it open, and `num_batch` as large.
    pub fn for_texts_of(self, max_tokens: Option<u32>) -> Self {
        let num_ctx = self.num_ctx.or(max_tokens);
        Self { num_ctx, num_batch: self.num_batch.or(num_ctx), ..self }
    }
}

/// How long a model stays loaded after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    For(Duration),
    Forever,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self::For(Duration::from_secs(60 * 60))
    }
}

/// As configuration has it: `1h`, or `forever`.
impl fmt::Display for KeepAlive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(time) => humantime::format_duration(*time).fmt(f),
            Self::Forever => f.write_str("forever"),
        }
    }
}

impl FromStr for KeepAlive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "forever" => Ok(Self::Forever),
            _ => humantime::parse_duration(text)
                .map(Self::For)
                .map_err(|_| "write a time, such as \"1h\", or \"forever\"".to_owned()),
        }
    }
}

impl Serialize for KeepAlive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeepAlive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<KeepAlive>) {
        assert_eq!(text.parse().ok(), want, "{text}");
        if let Some(want) = want {
            assert_eq!(want.to_string().parse(), Ok(want));
        }
    }

    #[test]
    fn a_model_is_kept_for_a_time_or_for_ever() {
        check("1h", Some(KeepAlive::default()));
        check("90m", Some(KeepAlive::For(Duration::from_secs(5400))));
        check("forever", Some(KeepAlive::Forever));
        check("-1", None);
        check("always", None);
    }

    #[test]
    fn what_the_table_leaves_open_follows_from_the_length_of_texts() {
        let sizes = |num_ctx, num_batch, max_tokens| {
            let options = Options { num_ctx, num_batch, ..Options::default() }.for_texts_of(max_tokens);
            (options.num_ctx, options.num_batch)
        };
        assert_eq!(sizes(None, None, None), (None, None));
        assert_eq!(sizes(None, None, Some(512)), (Some(512), Some(512)));
        assert_eq!(sizes(Some(1024), None, Some(512)), (Some(1024), Some(1024)));
        assert_eq!(sizes(None, Some(256), Some(512)), (Some(512), Some(256)));
    }
}
