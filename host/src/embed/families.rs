//! What is known of well-known models: their prompts, and how they may be used.
//!
//! Servers put no prompt before a text; a model that was trained with one finds
//! less without it, and nobody is told. A `[[model]]` table overrides all of it.

use super::Prompts;

/// What models of one family have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) prompts: Prompts,
    /// Whether the model was trained so that a prefix of a vector is a vector.
    pub(super) matryoshka: bool,
    /// Tokens that a server gives it by default or that it was evaluated with.
    pub(super) max_tokens: Option<u32>,
}

const TASK: &str = "Instruct: Given a web search query, retrieve relevant passages that answer the query\n";

fn family(query: impl Into<String>, document: &str, matryoshka: bool, max_tokens: u32) -> Family {
    Family {
        prompts: Prompts { query: query.into(), document: document.to_owned() },
        matryoshka,
        max_tokens: Some(max_tokens),
    }
}

/// Looks a model up by its name at an upstream, whoever published it.
pub(super) fn find(name: &str) -> Family {
    let name = name.to_lowercase();
    let has = |part: &str| name.contains(part);
    let is_e5 = has("multilingual-e5") || name.rsplit('/').next().is_some_and(|last| last.starts_with("e5-"));
    if has("qwen3-embedding") {
        // No space after the colon: so the model's authors evaluate it.
        family(format!("{TASK}Query:"), "", true, 8192)
    } else if has("nomic-embed-text-v2") {
        family("search_query: ", "search_document: ", true, 512)
    } else if has("nomic-embed-text") {
        family("search_query: ", "search_document: ", true, 2048)
    } else if has("mxbai-embed-large") {
        family("Represent this sentence for searching relevant passages: ", "", true, 512)
    } else if has("embeddinggemma") || has("embedding-gemma") {
        family("task: search result | query: ", "title: none | text: ", true, 2048)
    } else if is_e5 && has("instruct") {
        family(format!("{TASK}Query: "), "", false, 512)
    } else if is_e5 {
        family("query: ", "passage: ", false, 512)
    } else if has("bge-m3") {
        family("", "", false, 8192)
    } else if has("all-minilm") {
        family("", "", false, 256)
    } else {
        Family::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, query: &str, document: &str, matryoshka: bool) {
        let family = find(name);
        assert_eq!(family.prompts, Prompts { query: query.into(), document: document.into() });
        assert_eq!(family.matryoshka, matryoshka);
    }

    #[test]
    fn a_family_is_known_under_the_names_of_hubs_and_of_ollama() {
        check("nomic-embed-text:latest", "search_query: ", "search_document: ", true);
        check("hf.co/nomic-ai/nomic-embed-text-v1.5-GGUF", "search_query: ", "search_document: ", true);
        check("intfloat/multilingual-e5-small", "query: ", "passage: ", false);
        check("jeffh/intfloat-multilingual-e5-large:f16", "query: ", "passage: ", false);
        check("e5-base-v2", "query: ", "passage: ", false);
        check("bge-m3", "", "", false);
    }

    #[test]
    fn an_instructed_model_gets_its_task_with_its_own_spacing() {
        assert!(find("qwen3-embedding:0.6b").prompts.query.ends_with("\nQuery:"));
        assert!(find("multilingual-e5-large-instruct").prompts.query.ends_with("\nQuery: "));
    }

    #[test]
    fn an_unknown_model_gets_nothing() {
        assert_eq!(find("somebody/made5-it"), Family::default());
    }
}
