//! `embergate serve`

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use super::{Context, Ending};
use crate::config::Config;
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
        let (api_tls, admin_tls) = server.speaks_tls();
        let api = url(api, api_tls);
        announce(context, &api, &url(admin, admin_tls), &example(&api, &app.config))?;
        server.run(signals.token()).await;
        app.stop().await;
        Ok(Ending::Done)
    }
}

fn url(address: SocketAddr, speaks_tls: bool) -> String {
    let scheme = if speaks_tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

fn announce(context: &Context, api: &str, admin: &str, example: &str) -> std::io::Result<()> {
    if context.output.json {
        return context.output.json(&json!({ "event": "listening", "api": api, "admin": admin }));
    }
    context.output.line(&format!("listening on {api}, admin on {admin}"))?;
    context.output.remark(&format!("try: {example}"));
    Ok(())
}

/// A command that works as it stands but for the key: where no table names a model, it lists those that are found.
fn example(api: &str, config: &Config) -> String {
    let key = if config.keys.is_empty() { "" } else { " -H 'authorization: Bearer KEY'" };
    let first = config.models.first().map(|model| &model.name);
    let Some(model) = config.embed.default_model.as_ref().or(first) else {
        return format!("curl {api}/v1/models{key}");
    };
    let body = json!({ "model": model, "input": "hello" });
    format!("curl {api}/v1/embeddings{key} -H 'content-type: application/json' -d '{body}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(configuration: &str, want: &str) {
        let config: Config = toml::from_str(configuration).unwrap();
        assert_eq!(example("http://here", &config), want);
    }

    #[test]
    fn a_model_that_is_known_is_asked() {
        let want = r#"curl http://here/v1/embeddings -H 'content-type: application/json' -d '{"input":"hello","model":"m"}'"#;
        check("[[model]]\nname = \"m\"\nupstreams = [\"u\"]", want);
        check("[embed]\ndefault_model = \"m\"", want);
    }

    #[test]
    fn where_models_are_found_later_they_are_listed() {
        check("", "curl http://here/v1/models");
        let hash = "0".repeat(64);
        check(
            &format!("[[key]]\nname = \"k\"\nsha256 = \"{hash}\""),
            "curl http://here/v1/models -H 'authorization: Bearer KEY'",
        );
    }
}
