//! `embergate config check` and `embergate config show`

use clap::Subcommand;
use serde_json::json;

use super::{Context, Ending};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read the configuration, load its plugins, and say what is there; ask no upstream
    Check,
    /// Print every key with its value, as TOML that can be read again
    Show,
}

impl Command {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        match self {
            Self::Check => check(context).await?,
            Self::Show => show(context)?,
        }
        Ok(Ending::Done)
    }
}

fn show(context: &Context) -> anyhow::Result<()> {
    if context.output.json {
        context.output.json(&serde_json::to_value(&context.config)?)?;
    } else {
        context.output.line(context.config.to_toml().trim_end())?;
    }
    Ok(())
}

async fn check(context: &Context) -> anyhow::Result<()> {
    let app = context.start().await?;
    app.check_certificates()?;
    let config = &app.config;
    let file = context.file.as_ref().map(|file| file.display().to_string());
    let names = |names: Vec<&str>| match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    };
    let upstreams: Vec<&str> = config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    let searched: Vec<&str> = config
        .upstreams
        .iter()
        .filter(|upstream| crate::embed::discovers(upstream, &config.models))
        .map(|upstream| upstream.name.as_str())
        .collect();
    let models: Vec<&str> = config.models.iter().map(|model| model.name.as_str()).collect();
    let plugins = app.plugins.list();
    let plugins: Vec<&str> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    let collections: Vec<&str> =
        config.collections.iter().map(|collection| collection.name.as_str()).collect();
    if context.output.json {
        context.output.json(&json!({
            "file": file, "upstreams": upstreams, "models": models, "discover": searched,
            "plugins": plugins, "collections": collections,
        }))?;
    } else {
        let output = &context.output;
        output.line(&format!("{}: fine", file.as_deref().unwrap_or("the defaults (there is no file)")))?;
        output.line(&format!("  upstreams    {}", names(upstreams)))?;
        output.line(&format!("  models       {}", names(models)))?;
        if !searched.is_empty() {
            output.line(&format!("  discover     models of {}", names(searched)))?;
        }
        output.line(&format!("  plugins      {}", names(plugins)))?;
        output.line(&format!("  collections  {}", names(collections)))?;
    }
    app.stop().await;
    Ok(())
}
