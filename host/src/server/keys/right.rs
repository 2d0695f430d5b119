//! What a key may do, and what each request needs: the one place that decides.

use serde::{Deserialize, Serialize};

use super::super::route::Route;
use crate::embed::{EmbedRequest, Lane};
use crate::model::Purpose;

/// One thing that a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Embed texts for any purpose.
    Embed,
    /// Embed queries.
    Search,
    /// Embed documents, in the bulk lane and prepared where the client says so.
    Index,
    /// Everything on the admin listener.
    Admin,
}

impl Right {
    pub const ALL: [Self; 4] = [Self::Embed, Self::Search, Self::Index, Self::Admin];

    /// The word used in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Search => "search",
            Self::Index => "index",
            Self::Admin => "admin",
        }
    }
}

/// Something that takes one right of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// For the error: what takes it.
    pub(super) what: &'static str,
    /// Any one of them will do.
    pub(super) any: &'static [Right],
}

/// What a route needs; nothing where it is open to everybody.
pub(super) fn of_route(route: Route) -> Option<Need> {
    let any: &[Right] = match route {
        Route::Root | Route::Health | Route::Ready | Route::Openapi => return None,
        Route::OpenaiEmbeddings
        | Route::OpenaiModels
        | Route::OpenaiModel
        | Route::OllamaEmbed
        | Route::OllamaEmbeddings
        | Route::OllamaTags
        | Route::OllamaPs
        | Route::OllamaShow
        | Route::OllamaVersion
        | Route::Gateway
        | Route::GatewaySpaces
        | Route::GatewayTokenizer
        | Route::OllamaManage
        | Route::OllamaGenerate => &[Right::Embed, Right::Search, Right::Index],
        Route::Metrics
        | Route::AdminModels
        | Route::AdminUpstreams
        | Route::AdminPlugins
        | Route::AdminConfig
        | Route::AdminKeys
        | Route::AdminCache => &[Right::Admin],
    };
    Some(Need { what: route.label(), any })
}

/// All that an embedding needs, beyond its route, of a key whose own lane is `by_key`.
pub(super) fn of_embedding(request: &EmbedRequest, by_key: Option<Lane>) -> impl Iterator<Item = Need> {
    [Some(of_purpose(request.purpose)), of_lane(request.lane, by_key), of_prepared(request.prepared)]
        .into_iter()
        .flatten()
}

fn of_purpose(purpose: Purpose) -> Need {
    match purpose {
        Purpose::Query => Need { what: "embedding a query", any: &[Right::Embed, Right::Search] },
        Purpose::Document => Need { what: "embedding a document", any: &[Right::Embed, Right::Index] },
        // It may be either.
        Purpose::None => Need { what: "embedding a text as it is", any: &[Right::Embed] },
    }
}

/// A request that is bulk by its number of texts or by its key needs nothing more.
fn of_lane(by_header: Option<Lane>, by_key: Option<Lane>) -> Option<Need> {
    match (by_header, by_key) {
        (None | Some(Lane::Interactive), _) | (Some(Lane::Bulk), Some(Lane::Bulk)) => None,
        (Some(Lane::Bulk), None | Some(Lane::Interactive)) => {
            Some(Need { what: "`x-embergate-lane: bulk`", any: &[Right::Index] })
        }
    }
}

fn of_prepared(prepared: bool) -> Option<Need> {
    prepared.then_some(Need { what: "`x-embergate-prepared: true`", any: &[Right::Index] })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::model::ModelName;

    fn allowed(rights: &[Right], mut needs: impl Iterator<Item = Need>) -> bool {
        needs.all(|need| need.any.iter().any(|right| rights.contains(right)))
    }

    /// `want` says for each right, in the order of `Right::ALL`, whether it suffices alone.
    #[track_caller]
    fn check_route(route: Route, want: [bool; 4]) {
        assert_eq!(Right::ALL.map(|right| allowed(&[right], of_route(route).into_iter())), want, "{route:?}");
    }

    fn request(purpose: Purpose, lane: Option<Lane>, prepared: bool) -> EmbedRequest {
        let (model, deadline) = (ModelName::new("m").unwrap(), Instant::now());
        EmbedRequest {
            model,
            texts: vec!["a".into()],
            purpose,
            truncate: false,
            dimensions: None,
            lane,
            prepared,
            space: None,
            deadline,
        }
    }

    #[track_caller]
    fn check(purpose: Purpose, lane: Option<Lane>, prepared: bool, want: [bool; 4]) {
        let request = request(purpose, lane, prepared);
        assert_eq!(
            Right::ALL.map(|right| allowed(&[right], of_embedding(&request, None))),
            want,
            "{request:?}"
        );
    }

    #[test]
    fn some_routes_are_open() {
        for route in [Route::Root, Route::Health, Route::Ready] {
            assert_eq!(of_route(route), None);
            check_route(route, [true; 4]);
        }
    }

    #[test]
    fn the_apis_take_any_right_but_admin() {
        for route in [Route::OpenaiModels, Route::OpenaiModel, Route::OpenaiEmbeddings, Route::OllamaEmbed] {
            check_route(route, [true, true, true, false]);
        }
    }

    #[test]
    fn the_admin_listener_takes_admin_alone() {
        for route in [
            Route::Metrics,
            Route::AdminModels,
            Route::AdminUpstreams,
            Route::AdminPlugins,
            Route::AdminConfig,
            Route::AdminKeys,
            Route::AdminCache,
        ] {
            check_route(route, [false, false, false, true]);
        }
    }

    #[test]
    fn queries_are_for_search_and_documents_for_index() {
        check(Purpose::Query, None, false, [true, true, false, false]);
        check(Purpose::Document, None, false, [true, false, true, false]);
        check(Purpose::None, None, false, [true, false, false, false]);
    }

    #[test]
    fn the_bulk_lane_by_header_and_prepared_texts_are_for_index() {
        check(Purpose::Document, Some(Lane::Interactive), false, [true, false, true, false]);
        check(Purpose::Document, Some(Lane::Bulk), false, [false, false, true, false]);
        check(Purpose::Document, None, true, [false, false, true, false]);
        check(Purpose::Document, Some(Lane::Bulk), true, [false, false, true, false]);
    }

    #[test]
    fn a_prepared_query_takes_two_rights() {
        check(Purpose::Query, None, true, [false; 4]);
        let query = request(Purpose::Query, Some(Lane::Bulk), true);
        assert!(allowed(&[Right::Search, Right::Index], of_embedding(&query, None)));
        assert!(allowed(&[Right::Embed, Right::Index], of_embedding(&query, None)));
    }
}
