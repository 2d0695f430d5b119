//! Why a plugin is not there, or a call of one brought nothing, in words for its
//! author and for whoever runs it.
//!
//! The text of an error is one line of our own words. What was inside the guest,
//! its last output and its stack, is told by its causes: for the log, the admin
//! API and the command line, and not for clients.

use std::error::Error;
use std::time::Duration;

use super::inside::Inside;

/// Why a call brought nothing. A plugin that refuses gave an answer; one that
/// traps has a bug; one that is stopped met a limit of ours.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error(
        "there is no {role} `{name}`; there are: {known}: put `{name}.wasm` into the folder `plugins.dir`, or name one of these"
    )]
    Unknown { name: String, role: &'static str, known: String },
    #[error("plugin `{plugin}` is no {role}: name it where its own role is asked for, or another one here")]
    Role { plugin: String, role: &'static str },
    #[error("cannot load plugin `{plugin}` from {source_name}: {reason}")]
    Load {
        plugin: String,
        source_name: String,
        reason: String,
        #[source]
        inside: Option<Box<Inside>>,
    },
    #[error("plugin `{}` {} refused `{}`{}: {message}", .at.plugin, .at.version, .at.function, .at.documents)]
    Refused { at: Box<At>, message: String },
    #[error(
        "plugin `{}` {} trapped in `{}`{}, which is a bug in it: {reason}",
        .at.plugin, .at.version, .at.function, .at.documents
    )]
    Trapped {
        at: Box<At>,
        reason: String,
        #[source]
        inside: Option<Box<Inside>>,
    },
    #[error(
        "plugin `{}` {} was stopped in `{}`{} after {after:.1?}: {limit}",
        .at.plugin, .at.version, .at.function, .at.documents
    )]
    Stopped {
        at: Box<At>,
        after: Duration,
        limit: LimitMet,
        #[source]
        inside: Option<Box<Inside>>,
    },
    #[error(
        "plugin `{}` {} broke the contract in `{}`{}: {reason}",
        .at.plugin, .at.version, .at.function, .at.documents
    )]
    Contract { at: Box<At>, reason: String },
    #[error(
        "plugin `{plugin}` has no instance free within {within:?}: raise its `limits.instances`, or `limits.wait`"
    )]
    Busy { plugin: String, within: Duration },
    #[error(
        "plugin `{plugin}` {version} has been out of service for {since:?} and is tried again in {retry_after:?}: {because}"
    )]
    OutOfService { plugin: String, version: String, since: Duration, because: String, retry_after: Duration },
}

/// Which call it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    pub plugin: String,
    pub version: String,
    pub function: &'static str,
    pub documents: Subject,
}

/// What a call was about, as it follows the name of the function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// Nothing: `start` has no documents.
    #[default]
    None,
    /// By its id, or by its place in the call where it has none.
    One(String),
    All(usize),
}

/// A limit of ours that a plugin met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitMet {
    /// As `[plugins.limits]` names it.
    pub key: &'static str,
    /// What the plugin did, and the value of the limit.
    pub how: String,
}

/// Limits that are times.
const TIMES: [&str; 3] = ["time", "time_per_mib", "query_time"];

/// What became of a call that failed, as a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Refused,
    Trapped,
    Timeout,
    Limit,
    Contract,
    Busy,
}

impl Class {
    pub const ALL: [Self; 6] =
        [Self::Refused, Self::Trapped, Self::Timeout, Self::Limit, Self::Contract, Self::Busy];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Trapped => "trapped",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::Contract => "contract",
            Self::Busy => "busy",
        }
    }
}

impl PluginError {
    /// Of a call; nothing where there was none.
    pub fn class(&self) -> Option<Class> {
        Some(match self {
            Self::Unknown { .. } | Self::Role { .. } | Self::Load { .. } | Self::OutOfService { .. } => {
                return None;
            }
            Self::Refused { .. } => Class::Refused,
            Self::Trapped { .. } => Class::Trapped,
            Self::Stopped { limit, .. } if TIMES.contains(&limit.key) => Class::Timeout,
            Self::Stopped { .. } => Class::Limit,
            Self::Contract { .. } => Class::Contract,
            Self::Busy { .. } => Class::Busy,
        })
    }

    /// The error as a stranger may hear it: without paths, without advice for whoever
    /// runs the gateway, and without a word from inside the guest, whose memory and
    /// output may hold other people's texts. A refusal is an answer, and told whole.
    pub fn for_clients(&self) -> String {
        let call =
            |at: &At, what| format!("plugin `{}` {} {what} in `{}`", at.plugin, at.version, at.function);
        match self {
            Self::Unknown { name: plugin, .. } | Self::Role { plugin, .. } | Self::Load { plugin, .. } => {
                format!("plugin `{plugin}` cannot be used: the gateway's log says why")
            }
            Self::Refused { at, message } => {
                format!("plugin `{}` {} refused: {message}", at.plugin, at.version)
            }
            Self::Trapped { at, .. } => format!("{}: the gateway's log says why", call(at, "trapped")),
            Self::Stopped { at, limit, .. } => {
                let call = call(at, "was stopped");
                format!("{call}, at its limit of `{}`: the gateway's log says more", limit.key)
            }
            Self::Contract { at, .. } => {
                format!("{}: the gateway's log says which", call(at, "gave a wrong answer"))
            }
            Self::Busy { plugin, .. } => format!("plugin `{plugin}` is busy"),
            Self::OutOfService { plugin, version, since, retry_after, .. } => format!(
                "plugin `{plugin}` {version} has been out of service for {since:?} and is tried again in {retry_after:?}: the gateway's log says why"
            ),
        }
    }

    /// The same error, said of what the call was about.
    pub(super) fn on(mut self, subject: Subject) -> Self {
        match &mut self {
            Self::Refused { at, .. }
            | Self::Trapped { at, .. }
            | Self::Stopped { at, .. }
            | Self::Contract { at, .. } => at.documents = subject,
            Self::Unknown { .. }
            | Self::Role { .. }
            | Self::Load { .. }
            | Self::Busy { .. }
            | Self::OutOfService { .. } => {}
        }
        self
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::One(id) => write!(f, " on document `{id}`"),
            Self::All(n) => write!(f, " on all {n} documents"),
        }
    }
}

impl std::fmt::Display for LimitMet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; if it needs more, raise its `limits.{}`", self.how, self.key)
    }
}

/// An error and its causes in one line.
pub(super) fn in_full(error: &PluginError) -> String {
    with_causes(error.to_string(), error.source())
}

/// `line` and a chain of causes behind it.
pub(super) fn with_causes(line: String, cause: Option<&(dyn Error + 'static)>) -> String {
    let causes = std::iter::successors(cause, |cause| (**cause).source());
    causes.fold(line, |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trapped(output: &str) -> PluginError {
        let at = At {
            plugin: "legal".into(),
            version: "1.2.0".into(),
            function: "process",
            documents: Subject::None,
        };
        PluginError::Trapped {
            at: Box::new(at),
            reason: "wasm `unreachable` instruction executed".into(),
            inside: Inside::new(Vec::new(), output.into()).map(Box::new),
        }
    }

    #[test]
    fn clients_hear_nothing_from_inside_a_guest() {
        let error =
            trapped("panicked at /home/me/legal/src/lib.rs:7: somebody's text").on(Subject::One("a".into()));
        assert_eq!(
            error.for_clients(),
            "plugin `legal` 1.2.0 trapped in `process`: the gateway's log says why"
        );
        assert!(in_full(&error).ends_with("panicked at /home/me/legal/src/lib.rs:7: somebody's text"));
    }

    #[test]
    fn a_limit_comes_with_its_key() {
        let limit = LimitMet { key: "memory", how: "it asked for 9 bytes, more than 8".into() };
        let words = "it asked for 9 bytes, more than 8; if it needs more, raise its `limits.memory`";
        assert_eq!(limit.to_string(), words);
    }
}
