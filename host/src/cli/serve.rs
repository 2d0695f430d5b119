//! `embergate serve`

use clap::Args;
use serde_json::json;

use super::{Context, Ending};
use crate::shutdown::Signals;

/// Serve the HTTP APIs until SIGINT or SIGTERM, then answer what is under way and end.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  embergate serve --config examples/config/ollama.toml")]
pub(super) struct Serve {}

impl Serve {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Ending> {
        let signals = Signals::spawn()?;
        let app = context.start().await?;
        let server = app.bind().await?;
        let (api, admin) = server.addresses();
        let model = app.config.models.first().map_or("", |model| model.name.as_str());
        let header = if app.config.keys.is_empty() { "" } else { "-H 'authorization: Bearer KEY' " };
        announce(context, &format!("http://{api}"), &format!("http://{admin}"), header, model)?;
        server.run(signals.token()).await;
        app.stop().await;
        Ok(Ending::Done)
    }
}

fn announce(context: &Context, api: &str, admin: &str, header: &str, model: &str) -> std::io::Result<()> {
    if context.output.json {
        return context.output.json(&json!({ "event": "listening", "api": api, "admin": admin }));
    }
    context.output.line(&format!("listening on {api}, admin on {admin}"))?;
    let body = json!({ "model": model, "input": "hello" });
    context.output.remark(&format!(
        "try: curl {api}/v1/embeddings {header}-H 'content-type: application/json' -d '{body}'"
    ));
    Ok(())
}
