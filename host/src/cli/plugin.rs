//! `embergate plugin list` and `embergate plugin check`

use std::path::PathBuf;

use clap::Subcommand;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::{Context, Ending};
use crate::app;
use crate::plugin::{Code, PluginInfo, PluginStatus, Plugins};

#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// List the plugins that are loaded
    List,
    /// Load one file as `serve` would, start it, and say what it is
    #[command(
        after_help = "Example:\n  embergate plugin check target/wasm32-unknown-unknown/release/redact.wasm --grant embed"
    )]
    Check {
        /// A component, or a core module made with wit-bindgen
        file: PathBuf,
        /// What it may use beyond logging and text
        #[arg(long = "grant", value_name = "NAME")]
        grants: Vec<String>,
    },
}

impl Plugin {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        match self {
            Self::List => list(context).await?,
            Self::Check { file, grants } => check(context, file, &grants).await?,
        }
        Ok(Ending::Done)
    }
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let plugins = app::load_plugins(&context.config, &context.folders).await?.status();
    if context.output.json {
        let plugins: Vec<Value> = plugins.iter().map(status_json).collect();
        context.output.json(&json!({ "plugins": plugins }))?;
        return Ok(());
    }
    let rows = plugins.iter().map(|plugin| {
        let PluginInfo { name, version, source, about, sha256, grants, .. } = &plugin.info;
        let hash = sha256.get(..12).unwrap_or(sha256);
        let grants = if grants.is_empty() { "none".to_owned() } else { grants.join(", ") };
        [name.as_str(), version, roles(&plugin.info), &grants, source, hash, about].map(str::to_owned)
    });
    context.output.table(["name", "version", "role", "grants", "from", "sha256", "about"], rows)?;
    Ok(())
}

async fn check(context: &Context, file: PathBuf, grants: &[String]) -> anyhow::Result<()> {
    let config = app::plugin_config(&context.config, &context.folders);
    let plugin = Plugins::check(&config, &file, grants).await?;
    let size = std::fs::metadata(&file)?.len();
    let output = &context.output;
    if output.json {
        let mut report = described(&plugin);
        report["size"] = size.into();
        output.json(&report)?;
        return Ok(());
    }
    output.line(&format!("{}: fine, and it started", file.display()))?;
    let used = if plugin.needs_embedder { "log, text, embedder" } else { "log, text" };
    let granted = if plugin.grants.is_empty() { "none".to_owned() } else { plugin.grants.join(", ") };
    for (name, value) in [
        ("name", plugin.name.as_str()),
        ("version", &plugin.version),
        ("about", &plugin.about),
        ("role", roles(&plugin)),
        ("may use", used),
        ("grants", &granted),
        ("size", &HumanBytes(size).to_string()),
        ("code", &code(plugin.code)),
        ("sha256", &plugin.sha256),
    ] {
        output.line(&format!("  {name:<9}{value}"))?;
    }
    Ok(())
}

fn code(code: Code) -> String {
    match code {
        Code::Compiled(took) => format!("compiled in {took:.1?}"),
        Code::Kept(took) => format!("compiled before, loaded in {took:.1?}"),
    }
}

fn roles(plugin: &PluginInfo) -> &'static str {
    match (plugin.is_preprocessor, plugin.is_chunker) {
        (true, true) => "preprocessor, chunker",
        (true, false) => "preprocessor",
        (false, true) => "chunker",
        (false, false) => "none",
    }
}

/// The essentials of what `GET /admin/plugins` tells of a gateway that runs.
fn status_json(plugin: &PluginStatus) -> Value {
    let mut value = described(&plugin.info);
    value["fingerprint"] = plugin.fingerprint.as_str().into();
    value["limits"] = json!(plugin.limits);
    value
}

fn described(plugin: &PluginInfo) -> Value {
    json!({
        "name": plugin.name,
        "version": plugin.version,
        "about": plugin.about,
        "preprocessor": plugin.is_preprocessor,
        "chunker": plugin.is_chunker,
        "source": plugin.source,
        "sha256": plugin.sha256,
        "grants": plugin.grants,
        "needs_embedder": plugin.needs_embedder,
    })
}
