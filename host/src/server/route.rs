//! Which path means what, and which methods it takes.

use hyper::Method;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Root,
    Health,
    Ready,
    Metrics,
    AdminModels,
    AdminUpstreams,
    AdminPlugins,
    AdminConfig,
    AdminKeys,
    AdminCache,
    OpenaiEmbeddings,
    OpenaiModels,
    OpenaiModel,
    OllamaEmbed,
    OllamaEmbeddings,
    OllamaTags,
    OllamaPs,
    OllamaShow,
    OllamaVersion,
    /// What keeps models: pull, push and their like, which are refused.
    OllamaManage,
    /// What generates text, which is refused too.
    OllamaGenerate,
    Openapi,
    /// What another gateway asks.
    Gateway,
    GatewaySpaces,
    GatewayTokenizer,
}

/// Whose errors a path speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Openai,
    Ollama,
    /// Neither: plain text.
    Plain,
}

impl Route {
    /// As a label in metrics and logs.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
            Self::AdminModels => "/admin/models",
            Self::AdminUpstreams => "/admin/upstreams",
            Self::AdminPlugins => "/admin/plugins",
            Self::AdminConfig => "/admin/config",
            Self::AdminKeys => "/admin/keys",
            Self::AdminCache => "/admin/cache",
            Self::OpenaiEmbeddings => "/v1/embeddings",
            Self::OpenaiModels => "/v1/models",
            Self::OpenaiModel => "/v1/models/{id}",
            Self::OllamaEmbed => "/api/embed",
            Self::OllamaEmbeddings => "/api/embeddings",
            Self::OllamaTags => "/api/tags",
            Self::OllamaPs => "/api/ps",
            Self::OllamaShow => "/api/show",
            Self::OllamaVersion => "/api/version",
            Self::OllamaManage => "/api/{manage}",
            Self::OllamaGenerate => "/api/{generate}",
            Self::Openapi => "/openapi.json",
            Self::Gateway => "/api/embergate",
            Self::GatewaySpaces => "/api/embergate/spaces/{id}",
            Self::GatewayTokenizer => "/api/embergate/tokenizers/{id}",
        }
    }

    /// The methods that the path takes, `OPTIONS` aside.
    pub(super) fn methods(self) -> Methods {
        match self {
            Self::Root
            | Self::Health
            | Self::Ready
            | Self::Metrics
            | Self::Openapi
            | Self::AdminModels
            | Self::AdminUpstreams
            | Self::AdminPlugins
            | Self::AdminConfig
            | Self::AdminKeys
            | Self::OpenaiModels
            | Self::OpenaiModel
            | Self::OllamaTags
            | Self::OllamaPs
            | Self::OllamaVersion
            | Self::Gateway
            | Self::GatewaySpaces
            | Self::GatewayTokenizer => Methods::READ,
            Self::OpenaiEmbeddings | Self::OllamaEmbed | Self::OllamaEmbeddings | Self::OllamaShow => {
                Methods::POST
            }
            Self::AdminCache => Methods::DELETE,
            // What is refused is refused in every way of asking.
            Self::OllamaManage | Self::OllamaGenerate => Methods::ALL,
        }
    }
}

/// Methods of a path; every path takes `OPTIONS` beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Methods {
    list: &'static [Method],
    /// The list as a header has it.
    pub(super) allow: &'static str,
}

impl Methods {
    pub(super) const READ: Self = Self { list: &[Method::GET, Method::HEAD], allow: "GET, HEAD, OPTIONS" };
    pub(super) const POST: Self = Self { list: &[Method::POST], allow: "POST, OPTIONS" };
    pub(super) const DELETE: Self = Self { list: &[Method::DELETE], allow: "DELETE, OPTIONS" };
    pub(super) const ALL: Self = Self {
        list: &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE],
        allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    };

    pub(super) fn contain(self, method: &Method) -> bool {
        self.list.contains(method)
    }
}

impl Api {
    pub(super) fn of(path: &str) -> Self {
        let under = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'/', ..]))
        };
        if under("/v1") {
            Self::Openai
        } else if under("/api") {
            Self::Ollama
        } else {
            Self::Plain
        }
    }
}

/// The paths of the APIs' listener; `openapi.json` tells of each.
pub(super) const APIS: &[(&str, Route)] = &[
    ("/", Route::Root),
    ("/healthz", Route::Health),
    ("/readyz", Route::Ready),
    ("/openapi.json", Route::Openapi),
    ("/v1/embeddings", Route::OpenaiEmbeddings),
    ("/v1/models", Route::OpenaiModels),
    // The rest of the path, because names have slashes in them.
    ("/v1/models/{*id}", Route::OpenaiModel),
    ("/api/embed", Route::OllamaEmbed),
    ("/api/embeddings", Route::OllamaEmbeddings),
    ("/api/tags", Route::OllamaTags),
    ("/api/ps", Route::OllamaPs),
    ("/api/show", Route::OllamaShow),
    ("/api/version", Route::OllamaVersion),
    ("/api/embergate", Route::Gateway),
    ("/api/embergate/spaces/{*id}", Route::GatewaySpaces),
    ("/api/embergate/tokenizers/{*id}", Route::GatewayTokenizer),
    ("/api/pull", Route::OllamaManage),
    ("/api/push", Route::OllamaManage),
    ("/api/create", Route::OllamaManage),
    ("/api/copy", Route::OllamaManage),
    ("/api/delete", Route::OllamaManage),
    ("/api/blobs/{digest}", Route::OllamaManage),
    ("/api/generate", Route::OllamaGenerate),
    ("/api/chat", Route::OllamaGenerate),
];

/// The paths of one listener.
pub(super) struct Routes(matchit::Router<Route>);

impl Routes {
    pub(super) fn apis() -> Self {
        Self::new(APIS)
    }

    pub(super) fn admin() -> Self {
        Self::new(&[
            ("/healthz", Route::Health),
            ("/readyz", Route::Ready),
            ("/metrics", Route::Metrics),
            ("/admin/models", Route::AdminModels),
            ("/admin/upstreams", Route::AdminUpstreams),
            ("/admin/plugins", Route::AdminPlugins),
            ("/admin/config", Route::AdminConfig),
            ("/admin/keys", Route::AdminKeys),
            ("/admin/cache", Route::AdminCache),
        ])
    }

    fn new(paths: &[(&str, Route)]) -> Self {
        let mut router = matchit::Router::new();
        for (path, route) in paths {
            router.insert(*path, *route).expect("the paths above do not collide");
        }
        Self(router)
    }

    /// The route of `path`, and what stands for `{id}` in it, decoded.
    pub(super) fn at(&self, path: &str) -> Option<(Route, Option<String>)> {
        let found = self.0.at(path).ok()?;
        let id = match found.params.get("id") {
            Some(raw) => Some(percent_decoded(raw)?),
            None => None,
        };
        Some((*found.value, id))
    }
}

/// Decodes `%2F` and its like; `None` where what comes out is no text.
pub(super) fn percent_decoded(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex_value(*high) << 4 | hex_value(*low));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, want: Option<(Route, Option<&str>)>) {
        let found = Routes::apis().at(path);
        assert_eq!(found, want.map(|(route, id)| (route, id.map(str::to_owned))));
    }

    #[test]
    fn a_models_name_may_have_slashes_encoded_or_not() {
        let name = "hf.co/Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0";
        check(&format!("/v1/models/{name}"), Some((Route::OpenaiModel, Some(name))));
        let encoded = "/v1/models/hf.co%2FQwen%2fQwen3-Embedding-0.6B-GGUF%3AQ8_0";
        check(encoded, Some((Route::OpenaiModel, Some(name))));
    }

    #[test]
    fn a_broken_escape_stays_as_it_is_and_a_broken_text_is_no_model() {
        check("/v1/models/50%", Some((Route::OpenaiModel, Some("50%"))));
        check("/v1/models/%zz%+1", Some((Route::OpenaiModel, Some("%zz%+1"))));
        check("/v1/models/%ff", None);
    }

    #[test]
    fn metrics_are_for_the_admin_only() {
        check("/metrics", None);
        assert_eq!(Routes::admin().at("/metrics"), Some((Route::Metrics, None)));
        assert_eq!(Routes::admin().at("/v1/embeddings"), None);
    }

    #[test]
    fn the_methods_of_a_path_are_those_that_it_names() {
        for methods in [Methods::READ, Methods::POST, Methods::DELETE, Methods::ALL] {
            let names: Vec<_> = methods.list.iter().map(Method::as_str).chain(["OPTIONS"]).collect();
            assert_eq!(methods.allow, names.join(", "));
        }
        assert!(Route::OllamaTags.methods().contain(&Method::HEAD));
        assert!(!Route::OllamaTags.methods().contain(&Method::POST));
        assert!(!Route::OllamaEmbed.methods().contain(&Method::GET));
        assert!(Route::OllamaManage.methods().contain(&Method::DELETE));
    }

    #[test]
    fn what_manages_models_is_known_and_nothing_else() {
        check("/api/blobs/sha256:00ff", Some((Route::OllamaManage, None)));
        check("/api/chat", Some((Route::OllamaGenerate, None)));
        check("/api/nope", None);
        check("/api/tags/", None);
    }

    #[test]
    fn a_path_speaks_the_errors_of_its_api() {
        for (path, api) in [
            ("/v1/nope", Api::Openai),
            ("/v1", Api::Openai),
            ("/v1x", Api::Plain),
            ("/api/nope", Api::Ollama),
            ("/apis", Api::Plain),
            ("/", Api::Plain),
        ] {
            assert_eq!(Api::of(path), api, "{path}");
        }
    }
}
