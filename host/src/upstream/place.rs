//! Where an upstream is and whose protocol it speaks, for those who watch calls.

use reqwest::Url;

use super::{Config, Kind};

/// What tells an upstream's calls from another's, in the terms of OpenTelemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `gen_ai.provider.name`: whose protocol it is, whoever runs the server.
    pub provider: &'static str,
    /// `server.address`: a name or an IP address; nothing for the embedded model.
    pub address: Option<String>,
    /// `server.port`.
    pub port: Option<u16>,
    /// All of it but user, password and query.
    pub url: Option<String>,
}

impl Place {
    pub fn of(config: &Config) -> Self {
        let provider = match config.kind {
            Kind::Ollama => "ollama",
            Kind::Openai => "openai",
            Kind::Embergate | Kind::Embedded => "embergate",
        };
        let url = config.url.as_deref().and_then(|url| Url::parse(url).ok());
        let address = url.as_ref().and_then(Url::host_str).map(str::to_owned);
        let port = url.as_ref().and_then(Url::port_or_known_default);
        Self { provider, address, port, url: url.map(shown) }
    }
}

/// What of an address is no secret.
fn shown(mut url: Url) -> String {
    // Both fail only where there is nothing to take away.
    let (Ok(()) | Err(())) = url.set_username("");
    let (Ok(()) | Err(())) = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &str, provider: &'static str, address: Option<&str>, port: Option<u16>) {
        let config: Config = toml::from_str(&format!("name = \"u\"\n{table}")).unwrap();
        let place = Place::of(&config);
        assert_eq!((place.provider, place.address.as_deref(), place.port), (provider, address, port));
        assert!(!place.url.unwrap_or_default().contains("secret"));
    }

    #[test]
    fn a_place_is_a_host_and_a_port_without_user_and_password() {
        let url = "kind = \"ollama\"\nurl = \"http://anna:secret@127.0.0.1:11434/x\"";
        check(url, "ollama", Some("127.0.0.1"), Some(11434));
        check("kind = \"openai\"\nurl = \"https://gpu.example\"", "openai", Some("gpu.example"), Some(443));
        check("kind = \"embedded\"", "embergate", None, None);
    }
}
