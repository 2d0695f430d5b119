//! What Ollama does and a gateway of embeddings does not.
//!
//! Nothing of it is ever passed on to an upstream: whoever may embed here could
//! otherwise delete the models there, or fill its disk.

use crate::server::error::ApiError;

/// The answer to pull, push, create, copy, delete and blobs.
pub(in crate::server) fn no_management(path: &str) -> ApiError {
    ApiError::not_served(format!(
        "`{path}` is not served: the gateway keeps no models. Manage them at the upstream, by its own \
         address, and name each in a [[model]] table; GET /api/tags lists what is served here"
    ))
}

/// The answer to generate and chat.
pub(in crate::server) fn no_generation(path: &str) -> ApiError {
    ApiError::not_served(format!(
        "`{path}` is not served: the gateway embeds, and does nothing else. Ask the upstream for it, by \
         its own address; POST /api/embed is served here"
    ))
}
