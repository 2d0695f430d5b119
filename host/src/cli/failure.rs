//! Errors as people read them, and the code that a script sees.

use std::process::ExitCode;

use serde_json::json;

use super::output::Output;
use super::through;
use crate::app::AppError;
use crate::config::ConfigError;
use crate::embed::EmbedError;
use crate::index::IndexError;
use crate::plugin::PluginError;
use crate::search::SearchError;
use crate::server::ServerError;
use crate::store::{StoreError, TransferError};
use crate::telemetry::LogError;
use crate::upstream::UpstreamError;

/// How a command that did not fail as a whole ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    SomeDocumentsFailed,
    Interrupted,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Done => Self::SUCCESS,
            Ending::SomeDocumentsFailed => Self::from(3),
            Ending::Interrupted => Self::from(130),
        }
    }
}

/// A command line that asks for what cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Usage {
    pub(super) message: String,
    pub(super) remedy: String,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// Usage, configuration, and what they name: another command or file may do.
    Input,
    /// The machine, the network, or us: the same again may do.
    Circumstances,
}

pub(super) fn exit_code(error: &anyhow::Error) -> ExitCode {
    match blame(error) {
        Blame::Input => ExitCode::from(2),
        Blame::Circumstances => ExitCode::FAILURE,
    }
}

/// Nobody reads on (`embergate … | head`): no reason to complain.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = match error.downcast_ref() {
        Some(TransferError::Write(error)) => Some(error),
        _ => error.downcast_ref::<std::io::Error>(),
    };
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Tells stderr what went wrong, why, and what to do about it.
pub(super) fn report(error: &anyhow::Error, output: &Output) {
    let message = error.to_string();
    let causes = causes(error, &message);
    let remedy = remedy(error);
    if output.json {
        output.complain(&json!({ "error": message, "causes": causes, "try": remedy }).to_string());
        return;
    }
    output.complain(&format!("error: {message}"));
    for cause in causes {
        output.complain(&format!("  because: {cause}"));
    }
    if let Some(remedy) = remedy {
        output.complain(&format!("  try: {remedy}"));
    }
}

/// What is behind the error, without those that only repeat what is above them.
fn causes(error: &anyhow::Error, message: &str) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        let last = causes.last().map_or(message, String::as_str);
        if !last.contains(&cause) {
            causes.push(cause);
        }
    }
    causes
}

fn blame(error: &anyhow::Error) -> Blame {
    if error.is::<Usage>() || error.is::<ConfigError>() || error.is::<LogError>() {
        return Blame::Input;
    }
    if let Some(AppError::Setup(_) | AppError::PluginUse { .. }) = error.downcast_ref() {
        return Blame::Input;
    }
    if let Some(AppError::Server(
        ServerError::Bind { .. } | ServerError::KeyHash { .. } | ServerError::Tls { .. },
    )) = error.downcast_ref()
    {
        return Blame::Input;
    }
    if let Some(
        IndexError::Source(_)
        | IndexError::Gone { .. }
        | IndexError::NoSources(_)
        | IndexError::NotGiven { .. }
        | IndexError::NoPoint { .. },
    ) = error.downcast_ref()
    {
        return Blame::Input;
    }
    if let Some(SearchError::EmptyQuestion | SearchError::Limit { .. } | SearchError::SpaceChanged { .. }) =
        error.downcast_ref()
    {
        return Blame::Input;
    }
    if let Some(
        TransferError::NoHeader
        | TransferError::Version { .. }
        | TransferError::Line { .. }
        | TransferError::Cut { .. },
    ) = error.downcast_ref()
    {
        return Blame::Input;
    }
    if let Some(error) = embed_error(error) {
        return blame_of_embedding(error);
    }
    if let Some(error) = store_error(error) {
        return blame_of_store(error);
    }
    plugin_error(error).map_or(Blame::Circumstances, blame_of_plugin)
}

fn blame_of_embedding(error: &EmbedError) -> Blame {
    match error {
        EmbedError::Overloaded { .. } | EmbedError::Deadline(_) => Blame::Circumstances,
        EmbedError::Plugin(error) => blame_of_plugin(error),
        EmbedError::Upstream(error) => blame_of_upstream(error),
        EmbedError::UnknownModel(_)
        | EmbedError::OtherSpace(_)
        | EmbedError::NoTexts
        | EmbedError::TooManyTexts { .. }
        | EmbedError::EmptyText { .. }
        | EmbedError::TooLong { .. }
        | EmbedError::Dimensions { .. }
        | EmbedError::NotMatryoshka { .. }
        | EmbedError::Text { .. }
        | EmbedError::Rejected { .. } => Blame::Input,
    }
}

fn blame_of_upstream(error: &UpstreamError) -> Blame {
    match error {
        UpstreamError::Timeout { .. }
        | UpstreamError::Busy { .. }
        | UpstreamError::Fault { .. }
        | UpstreamError::Behind { .. } => Blame::Circumstances,
        UpstreamError::Connect { .. }
        | UpstreamError::NoModel { .. }
        | UpstreamError::NotEmbedding { .. }
        | UpstreamError::Denied { .. }
        | UpstreamError::NoGateway { .. }
        | UpstreamError::OtherSpace { .. }
        | UpstreamError::Refused { .. }
        | UpstreamError::Count { .. }
        | UpstreamError::Dimensions { .. }
        | UpstreamError::Embedding { .. }
        | UpstreamError::Nonsense { .. } => Blame::Input,
    }
}

fn blame_of_store(error: &StoreError) -> Blame {
    match error {
        StoreError::Busy { .. }
        | StoreError::Full { .. }
        | StoreError::Damaged { .. }
        | StoreError::Refused { .. }
        | StoreError::Failed(_) => Blame::Circumstances,
        StoreError::Open { .. }
        | StoreError::ReadOnly { .. }
        | StoreError::KeyFile { .. }
        | StoreError::Key { .. }
        | StoreError::NoCollection { .. }
        | StoreError::Mismatch { .. }
        | StoreError::Locked { .. }
        | StoreError::Name { .. }
        | StoreError::Taken { .. }
        | StoreError::Dimensions { .. }
        | StoreError::Words { .. }
        | StoreError::Newer { .. }
        | StoreError::Foreign { .. }
        | StoreError::NoUrl
        | StoreError::Unreachable { .. }
        | StoreError::NotOurs { .. }
        | StoreError::Filter { .. } => Blame::Input,
    }
}

fn blame_of_plugin(error: &PluginError) -> Blame {
    match error {
        PluginError::Busy { .. } | PluginError::OutOfService { .. } => Blame::Circumstances,
        PluginError::Unknown { .. }
        | PluginError::Role { .. }
        | PluginError::Load { .. }
        | PluginError::Refused { .. }
        | PluginError::Trapped { .. }
        | PluginError::Stopped { .. }
        | PluginError::Contract { .. } => Blame::Input,
    }
}

fn embed_error(error: &anyhow::Error) -> Option<&EmbedError> {
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(IndexError::Embed(error)), _) | (_, Some(SearchError::Embed(error))) => Some(error),
        _ => error.downcast_ref(),
    }
}

fn store_error(error: &anyhow::Error) -> Option<&StoreError> {
    if let Some(TransferError::Store(error)) = error.downcast_ref() {
        return Some(error);
    }
    match (error.downcast_ref(), error.downcast_ref(), error.downcast_ref()) {
        (Some(IndexError::Store(error)), ..)
        | (_, Some(SearchError::Store(error)), _)
        | (.., Some(AppError::Store(error))) => Some(error),
        _ => error.downcast_ref(),
    }
}

fn plugin_error(error: &anyhow::Error) -> Option<&PluginError> {
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(IndexError::Plugin(error)), _) | (_, Some(AppError::Plugin(error))) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// What to do about it, where the message does not say so itself.
fn remedy(error: &anyhow::Error) -> Option<String> {
    if let Some(usage) = error.downcast_ref::<Usage>() {
        return Some(usage.remedy.clone());
    }
    if let Some(AppError::Server(ServerError::Bind { key, .. })) = error.downcast_ref() {
        return Some(format!("set another address as `{key}`, or stop what listens there"));
    }
    if let Some(StoreError::NoCollection { name, .. }) = store_error(error) {
        return Some(format!("embergate index PATH --collection {name}"));
    }
    match embed_error(error)? {
        EmbedError::Upstream(error) => remedy_of_upstream(error),
        EmbedError::UnknownModel(model) => Some(format!("add a [[model]] table named `{model}`")),
        EmbedError::Overloaded { .. } => Some("come back later, or add an upstream".into()),
        _ => None,
    }
}

fn remedy_of_upstream(error: &UpstreamError) -> Option<String> {
    let table = |upstream: &str| match upstream {
        through::FLAG => "the address behind `--gateway`".to_owned(),
        name => format!("`url` in the [[upstream]] table named `{name}`"),
    };
    match error {
        UpstreamError::Connect { upstream, .. } if upstream == through::FLAG => Some(
            "start it there with `embergate serve`, correct the address, or leave `--gateway` out to embed here".into(),
        ),
        UpstreamError::NoGateway { upstream, .. } => Some(format!("correct {}", table(upstream))),
        UpstreamError::Denied { upstream, .. } if upstream == through::FLAG => {
            Some("name a file with a key that has the right `index`, or `search` for searching: --gateway-key-file FILE".into())
        }
        UpstreamError::Denied { upstream, .. } => Some(format!(
            "name a file with a key that may do it as `api_key_file` in the [[upstream]] table named `{upstream}`"
        )),
        UpstreamError::Timeout { upstream, .. } if upstream == through::FLAG => {
            Some("look whether the gateway is well, or raise `timeout` in [index]".into())
        }
        UpstreamError::Busy { upstream } if upstream == through::FLAG => {
            Some("come back later: the gateway has more to do than it can".into())
        }
        UpstreamError::NoModel { upstream, model } if upstream == through::FLAG => {
            Some(format!("give the gateway the model `{model}`, or name one that it has: --model NAME"))
        }
        UpstreamError::Connect { upstream, .. } => {
            Some(format!("start the server, or correct `url` in the [[upstream]] table named `{upstream}`"))
        }
        UpstreamError::NoModel { model, .. } => Some(format!(
            "ollama pull {model}, where that upstream is an Ollama; else correct `upstream_name` in the [[model]] table"
        )),
        UpstreamError::NotEmbedding { .. } => {
            Some("name a model that is made for embeddings, such as qwen3-embedding:0.6b".into())
        }
        UpstreamError::Timeout { upstream, .. } => {
            Some(format!("raise `timeout` in the [[upstream]] table named `{upstream}`"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: impl Into<anyhow::Error>, want: Blame) {
        assert_eq!(blame(&error.into()), want);
    }

    fn no_model() -> EmbedError {
        let error = UpstreamError::NoModel { upstream: "a".into(), model: "m".into() };
        EmbedError::Upstream(std::sync::Arc::new(error))
    }

    #[test]
    fn what_another_command_would_cure_is_the_input_s_fault() {
        check(Usage { message: String::new(), remedy: String::new() }, Blame::Input);
        check(IndexError::Embed(no_model()), Blame::Input);
        check(SearchError::Embed(no_model()), Blame::Input);
        check(AppError::Store(StoreError::Name { name: "a b".into() }), Blame::Input);
    }

    #[test]
    fn what_may_pass_by_itself_is_not() {
        check(IndexError::Embed(EmbedError::Deadline(std::time::Duration::ZERO)), Blame::Circumstances);
        check(IndexError::Store(StoreError::Failed("disk full".into())), Blame::Circumstances);
        check(std::io::Error::other("x"), Blame::Circumstances);
    }

    #[test]
    fn an_upstream_without_the_model_says_how_to_get_it() {
        let error = anyhow::Error::from(IndexError::Embed(no_model()));
        assert!(remedy(&error).unwrap().starts_with("ollama pull m"));
    }
}
