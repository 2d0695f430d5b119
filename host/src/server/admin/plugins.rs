//! `GET /admin/plugins`: which plugins are loaded, from where, who uses them, what became of
//! their calls, and which files serve as none. All that is known of the last error is told here, the guest's stack and output
//! included, which clients are not told.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde::Serialize;

use super::{ErrorBody, in_rfc_3339};
use crate::embed::Model;
use crate::plugin::{Limits, Outage, PluginStatus, Refused};
use crate::server::shared::Shared;
use crate::server::wire::{self, json_response};
use crate::server::{PluginRule, Told};

/// Answers `GET /admin/plugins`.
pub(in crate::server) fn plugins(shared: &Shared) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct List {
        plugins: Vec<PluginBody>,
        refused: Vec<RefusedBody>,
    }
    let Told { plugins, rules, .. } = &shared.told;
    let models = shared.embedder.models();
    let models: Vec<&Model> = models.iter().map(AsRef::as_ref).collect();
    let refused = plugins.refused().into_iter().map(RefusedBody::new).collect();
    let plugins =
        plugins.status().into_iter().map(|status| PluginBody::new(status, &models, rules)).collect();
    json_response(wire::to_json(&List { plugins, refused }))
}

#[derive(Serialize)]
struct PluginBody {
    name: String,
    version: String,
    about: String,
    /// `preprocessor`, `chunker`, or both.
    roles: Vec<&'static str>,
    /// Null where it is bundled.
    file: Option<String>,
    sha256: String,
    /// Of component, configuration and grants.
    fingerprint: String,
    grants: Vec<String>,
    /// As `[plugins.limits]` writes them.
    limits: Limits,
    /// RFC 3339, to the second.
    loaded_at: String,
    used_by: UsersBody,
    calls: u64,
    /// All calls together.
    seconds: f64,
    /// By class, those that never happened included.
    failures: BTreeMap<&'static str, u64>,
    last_error: Option<ErrorBody>,
    /// Null where it is in service.
    out_of_service: Option<OutageBody>,
}

/// Times are in seconds.
#[derive(Serialize)]
struct OutageBody {
    since: f64,
    because: String,
    retry_after: f64,
}

/// A file that is there and does not serve.
#[derive(Serialize)]
struct RefusedBody {
    plugin: String,
    /// Null where it is bundled.
    file: Option<String>,
    reason: String,
    at: String,
}

#[derive(Serialize)]
struct UsersBody {
    models: Vec<String>,
    rules: Vec<RuleBody>,
}

#[derive(Serialize)]
struct RuleBody {
    collection: String,
    media_type: String,
}

impl PluginBody {
    fn new(status: PluginStatus, models: &[&Model], rules: &[PluginRule]) -> Self {
        let PluginStatus { info, fingerprint, limits, loaded_at, calls, outage } = status;
        let roles = [(info.is_preprocessor, "preprocessor"), (info.is_chunker, "chunker")];
        let error = calls.last_error;
        Self {
            used_by: UsersBody::new(&info.name, models, rules),
            file: info.file().map(str::to_owned),
            name: info.name,
            version: info.version,
            about: info.about,
            roles: roles.into_iter().filter(|(has, _)| *has).map(|(_, role)| role).collect(),
            sha256: info.sha256,
            fingerprint,
            grants: info.grants,
            limits,
            loaded_at: in_rfc_3339(loaded_at),
            calls: calls.n_calls,
            seconds: calls.seconds,
            failures: calls.failures.into_iter().collect(),
            last_error: error.map(|error| ErrorBody { message: error.message, at: in_rfc_3339(error.at) }),
            out_of_service: outage.map(|Outage { since, because, retry_after }| OutageBody {
                since: since.as_secs_f64(),
                because,
                retry_after: retry_after.as_secs_f64(),
            }),
        }
    }
}

impl RefusedBody {
    fn new(refused: Refused) -> Self {
        let file = refused.file().map(str::to_owned);
        let Refused { plugin, source: _, reason, at } = refused;
        Self { plugin, file, reason, at: in_rfc_3339(at) }
    }
}

impl UsersBody {
    fn new(plugin: &str, models: &[&Model], rules: &[PluginRule]) -> Self {
        let models = models.iter().filter(|model| model.preprocess.iter().any(|name| name == plugin));
        let rules = rules.iter().filter(|rule| rule.plugin == plugin).map(|rule| RuleBody {
            collection: rule.collection.clone(),
            media_type: rule.media_type.clone(),
        });
        Self { models: models.map(|model| model.name.to_string()).collect(), rules: rules.collect() }
    }
}
