//! What becomes of documents whose plugin fails or is out of service: an error, nothing at all,
//! or the work of another plugin.
//!
//! What comes of them then is not what the plugin would have made of them, and is told apart by
//! a mark: whoever keeps it keeps it under another key.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use embergate_core::document::{Chunks, Document};
use serde::{Deserialize, Serialize};

use super::breaker::Pass;
use super::error::in_full;
use super::{Call, Edit, LOG, Outage, Plugin, PluginError, PluginInfo, Preprocessed};

/// How long a caller is asked to wait, at least, for a plugin that is being tried again.
const LEAST_WAIT: std::time::Duration = std::time::Duration::from_secs(1);

/// `on_error` in a `[[plugin]]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum OnError {
    /// The documents of the call fail.
    #[default]
    Fail,
    /// They go on as they are. Only for preprocessors.
    Skip,
    /// The plugin of this name does them.
    Fallback(String),
}

impl TryFrom<String> for OnError {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "fail" => Ok(Self::Fail),
            "skip" => Ok(Self::Skip),
            _ => match text.strip_prefix("fallback:").map(str::trim) {
                Some(name) if !name.is_empty() => Ok(Self::Fallback(name.to_owned())),
                _ => Err(format!(
                    "`{text}` is none of \"fail\", \"skip\" and \"fallback:NAME\", where NAME is another plugin"
                )),
            },
        }
    }
}

impl From<OnError> for String {
    fn from(on_error: OnError) -> Self {
        match on_error {
            OnError::Fail => "fail".to_owned(),
            OnError::Skip => "skip".to_owned(),
            OnError::Fallback(name) => format!("fallback:{name}"),
        }
    }
}

impl OnError {
    /// Whether the plugin `name` is to stand in.
    pub(super) fn is_fallback(&self, name: &str) -> bool {
        matches!(self, Self::Fallback(fallback) if fallback == name)
    }
}

/// What was done in the place of a plugin that could not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instead {
    plugin: String,
    /// Nothing where it was skipped.
    fallback: Option<String>,
    mark: String,
}

impl Instead {
    fn of(plugin: &Plugin, fallback: Option<&Plugin>) -> Arc<Self> {
        let by = fallback.map_or("skipped", Plugin::fingerprint);
        Arc::new(Self {
            plugin: plugin.name().to_owned(),
            fallback: fallback.map(|fallback| fallback.name().to_owned()),
            mark: format!("{} {by}", plugin.fingerprint()),
        })
    }

    /// Tells what came of it from what the plugin itself makes, and from what another one does.
    pub fn mark(&self) -> &str {
        &self.mark
    }
}

impl std::fmt::Display for Instead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.fallback {
            None => write!(f, "plugin `{}` failed and was skipped", self.plugin),
            Some(fallback) => write!(f, "plugin `{}` failed, and `{fallback}` stood in", self.plugin),
        }
    }
}

/// Documents after a preprocessor, or what stood in for it.
#[derive(Clone, Debug)]
pub struct Processed {
    /// One for each document, in order.
    pub answers: Vec<Preprocessed>,
    pub instead: Option<Arc<Instead>>,
}

/// A document's chunks, and what stood in for its chunker.
pub type Split = Result<(Chunks, Option<Arc<Instead>>), PluginError>;

impl Plugin {
    /// Runs the preprocessor on `documents` as [`Plugin::process`] does; where that fails, what
    /// its table says is done instead.
    ///
    /// # Errors
    /// The plugin refused, has no instance free, or failed and nothing stands in for it. The
    /// error of what stands in, where that fails too.
    pub async fn process_or_instead(
        &self,
        call: &Call,
        documents: &[Document],
    ) -> Result<Processed, PluginError> {
        let error = match self.process(call, documents).await {
            Ok(answers) => return Ok(Processed { answers, instead: None }),
            Err(error) => error,
        };
        match self.stand_in(error)? {
            StandIn::Nobody => Ok(Processed {
                answers: documents.iter().map(|_| Preprocessed::kept()).collect(),
                instead: Some(Instead::of(self, None)),
            }),
            StandIn::Plugin(fallback) => Ok(Processed {
                answers: fallback.process(call, documents).await?,
                instead: Some(Instead::of(self, Some(&fallback))),
            }),
        }
    }

    /// Runs the chunker on `document` as [`Plugin::split`] does; where that fails, the plugin that
    /// stands in for it.
    ///
    /// # Errors
    /// As those of [`Plugin::process_or_instead`]. A chunker is never skipped.
    pub async fn split_or_instead(&self, call: &Call, document: &Document) -> Split {
        let error = match self.split_one(call, document).await {
            Ok(chunks) => return Ok((chunks, None)),
            Err(error) => error,
        };
        if self.on_error == OnError::Skip {
            return Err(error);
        }
        match self.stand_in(error)? {
            StandIn::Nobody => Ok((Chunks::default(), Some(Instead::of(self, None)))),
            StandIn::Plugin(fallback) => {
                let chunks = fallback.split_one(call, document).await?;
                Ok((chunks, Some(Instead::of(self, Some(&fallback)))))
            }
        }
    }

    async fn split_one(&self, call: &Call, document: &Document) -> Result<Chunks, PluginError> {
        let mut answers = self.split(call, std::slice::from_ref(document)).await?;
        // As many answers as documents: that was checked.
        answers.pop().unwrap_or_else(|| Ok(Chunks::default()))
    }

    /// Who is to do what failed with `error`, or the error where nobody is.
    fn stand_in(&self, error: PluginError) -> Result<StandIn, PluginError> {
        if !error.is_failure() {
            return Err(error);
        }
        let fallback = self.fallback.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stand_in = match (&self.on_error, fallback) {
            (OnError::Skip, _) => StandIn::Nobody,
            (OnError::Fallback(_), Some(fallback)) => StandIn::Plugin(fallback),
            (OnError::Fail, _) | (OnError::Fallback(_), None) => return Err(error),
        };
        metrics::counter!("embergate_plugin_replaced_calls_total", "plugin" => self.name().to_owned())
            .increment(1);
        // That it is out of service was said once, when it began.
        if !matches!(error, PluginError::OutOfService { .. }) {
            let on_error = String::from(self.on_error.clone());
            let error = in_full(&error);
            tracing::warn!(target: LOG, plugin = self.name(), on_error, error, "plugin failed, and is done without");
        }
        Ok(stand_in)
    }

    /// Lets a call through unless the plugin is out of service.
    pub(super) fn admit(&self) -> Result<Pass<'_>, PluginError> {
        self.breaker.admit().map_err(|Outage { since, because, retry_after }| PluginError::OutOfService {
            plugin: self.name().to_owned(),
            version: self.info.version.clone(),
            since,
            because,
            retry_after: retry_after.max(LEAST_WAIT),
        })
    }

    /// Why and for how long the plugin is out of service; nothing where it is not.
    pub fn outage(&self) -> Option<Outage> {
        self.breaker.outage()
    }
}

enum StandIn {
    Nobody,
    Plugin(Arc<Plugin>),
}

/// Says why a plugin that is what `info` says cannot have `on_error`.
pub(super) fn check(on_error: &OnError, info: &PluginInfo) -> Result<(), String> {
    if *on_error == OnError::Skip && !info.is_preprocessor {
        return Err("`on_error = \"skip\"` is for preprocessors, and it only cuts: without chunks there is nothing to embed; write \"fail\", or \"fallback:NAME\" with another chunker".into());
    }
    Ok(())
}

/// Gives each plugin the one of `plugins` that stands in for it, or changes nothing. Once for all
/// that are loaded together, and again whenever one of them is replaced.
///
/// # Errors
/// A fallback that is not there, has not the same roles, or has a fallback itself.
pub(super) fn link(plugins: &BTreeMap<String, Arc<Plugin>>) -> Result<(), PluginError> {
    let mut pairs = Vec::new();
    for plugin in plugins.values() {
        let OnError::Fallback(name) = &plugin.on_error else { continue };
        let fallback = fallback_of(plugin, name, plugins).map_err(|reason| PluginError::Load {
            plugin: plugin.name().to_owned(),
            source_name: plugin.info.source.clone(),
            reason: format!("`on_error = \"fallback:{name}\"` cannot be: {reason}"),
            inside: None,
        })?;
        pairs.push((plugin, fallback));
    }
    for (plugin, fallback) in pairs {
        *plugin.fallback.lock().unwrap_or_else(PoisonError::into_inner) = Some(fallback);
    }
    Ok(())
}

fn fallback_of(
    plugin: &Plugin,
    name: &str,
    plugins: &BTreeMap<String, Arc<Plugin>>,
) -> Result<Arc<Plugin>, String> {
    let Some(fallback) = plugins.get(name) else {
        let known: Vec<_> = plugins.keys().map(String::as_str).collect();
        return Err(format!("there is no plugin `{name}`; there are: {}", known.join(", ")));
    };
    if matches!(fallback.on_error, OnError::Fallback(_)) {
        return Err(format!(
            "`{name}` has a fallback itself: let it `fail`, or name a plugin that does without one"
        ));
    }
    for (role, needs, has) in [
        ("preprocessor", plugin.info.is_preprocessor, fallback.info.is_preprocessor),
        ("chunker", plugin.info.is_chunker, fallback.info.is_chunker),
    ] {
        if needs && !has {
            return Err(format!("`{name}` is no {role}, and `{}` is: name one that is", plugin.name()));
        }
    }
    Ok(Arc::clone(fallback))
}

impl Preprocessed {
    /// What a preprocessor says that has nothing to do.
    fn kept() -> Self {
        Self { edit: Edit::Keep, media_type: None, metadata: Vec::new() }
    }
}

impl PluginError {
    /// Whether the plugin could not do what it is for. A refusal is an answer, and one that has
    /// no instance free has too much to do: neither is a failure.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Trapped { .. }
            | Self::Stopped { .. }
            | Self::Contract { .. }
            | Self::OutOfService { .. } => true,
            Self::Unknown { .. }
            | Self::Role { .. }
            | Self::Load { .. }
            | Self::Refused { .. }
            | Self::Busy { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_read(text: &str, want: Option<OnError>) {
        let read = OnError::try_from(text.to_owned());
        assert_eq!(read.as_ref().ok(), want.as_ref());
        match read {
            Ok(on_error) => assert_eq!(String::from(on_error), text),
            Err(why) => assert!(why.contains("fallback:NAME"), "{why}"),
        }
    }

    #[test]
    fn what_is_read_is_shown_as_it_was_written() {
        check_read("fail", Some(OnError::Fail));
        check_read("skip", Some(OnError::Skip));
        check_read("fallback:unicode", Some(OnError::Fallback("unicode".into())));
    }

    #[test]
    fn other_words_are_told_what_there_is() {
        for text in ["", "Skip", "fallback", "fallback:", "fallback: "] {
            check_read(text, None);
        }
    }
}
