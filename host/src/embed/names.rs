//! What a client's word for a model leads to, and the words that are listed.
//!
//! Ollama's clients add `:latest` or leave it out and care for no case, one program
//! lists only ids with `embed` in them, and no client has a field for what a text
//! is for. So a model answers to more words than its name.

use crate::model::Purpose;

/// Stands before a model's name, for programs that look for it.
const PREFIX: &str = "embed/";
/// What such programs look for.
const LOOKED_FOR: &str = "embed";
const LATEST: &str = ":latest";
/// Stand behind a model's name, and say what texts are for.
const ROLES: [(&str, Purpose); 2] = [(":query", Purpose::Query), (":document", Purpose::Document)];

/// A model as far as names go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'m> {
    pub(crate) name: &'m str,
    pub(crate) aliases: &'m [String],
    /// Whether questions get another prompt than documents.
    pub(crate) has_query_prompt: bool,
}

/// The name of the model that `asked` means, and the purpose where it says one.
///
/// What is written exactly so comes before what differs in case, and a name
/// before an alias. A word that differs from two models in case alone means neither.
pub(crate) fn resolve<'m>(
    asked: &str,
    models: impl Iterator<Item = Named<'m>> + Clone,
) -> Option<(&'m str, Option<Purpose>)> {
    if asked.is_empty() {
        return None;
    }
    let exact = forms(asked).into_iter().find_map(|(word, purpose)| {
        let found = models
            .clone()
            .find(|model| model.name == word)
            .or_else(|| models.clone().find(|model| model.aliases.contains(&word)))?;
        Some((found.name, purpose))
    });
    exact.or_else(|| in_any_case(asked, models))
}

fn in_any_case<'m>(
    asked: &str,
    models: impl Iterator<Item = Named<'m>> + Clone,
) -> Option<(&'m str, Option<Purpose>)> {
    let names: Vec<_> = models.clone().map(|model| (model.name.to_lowercase(), model.name)).collect();
    let aliases: Vec<_> = models
        .flat_map(|model| model.aliases.iter().map(move |alias| (alias.to_lowercase(), model.name)))
        .collect();
    for (word, purpose) in forms(&asked.to_lowercase()) {
        for known in [&names, &aliases] {
            let mut meant = known.iter().filter(|(known, _)| *known == word).map(|(_, name)| *name);
            if let Some(first) = meant.next() {
                return meant.all(|other| other == first).then_some((first, purpose));
            }
        }
    }
    None
}

/// The names that `asked` may stand for, the likeliest first.
fn forms(asked: &str) -> Vec<(String, Option<Purpose>)> {
    let role = ROLES.iter().find_map(|(role, purpose)| Some((asked.strip_suffix(role)?, Some(*purpose))));
    let mut forms = Vec::with_capacity(8);
    for (word, purpose) in [(asked, None)].into_iter().chain(role) {
        for word in [Some(word), word.strip_prefix(PREFIX)].into_iter().flatten() {
            let other_tag = match word.strip_suffix(LATEST) {
                Some(bare) => bare.to_owned(),
                None => format!("{word}{LATEST}"),
            };
            forms.extend([(word.to_owned(), purpose), (other_tag, purpose)]);
        }
    }
    forms
}

/// Names and aliases, `NAME:query` where that makes a difference, and
/// `embed/NAME` where a program that looks for `embed` would not see the model.
/// Each leads to its model; what would lead to another one is left out.
pub(crate) fn listed<'m>(models: impl Iterator<Item = Named<'m>> + Clone) -> Vec<String> {
    let mut listed = Vec::new();
    for model in models.clone() {
        let mut own = vec![(model.name.to_owned(), None)];
        own.extend(model.aliases.iter().map(|alias| (alias.clone(), None)));
        let is_seen = own.iter().any(|(id, _)| id.contains(LOOKED_FOR));
        if model.has_query_prompt {
            own.push((format!("{}:query", model.name), Some(Purpose::Query)));
        }
        if !is_seen {
            own.push((format!("{PREFIX}{}", model.name), None));
        }
        let leads_here = |(id, purpose): &(String, _)| {
            resolve(id, models.clone()) == Some((model.name, *purpose)) && !listed.contains(id)
        };
        let own: Vec<_> = own.into_iter().filter(leads_here).map(|(id, _)| id).collect();
        listed.extend(own);
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `NAME`, or `NAME = ALIAS ALIAS`; with a `?` behind it where questions have a prompt of their own.
    fn with_models<T>(models: &[&str], run: impl FnOnce(&[Named<'_>]) -> T) -> T {
        let split = models.iter().map(|model| {
            let (model, has_query_prompt) = match model.strip_suffix('?') {
                Some(model) => (model, true),
                None => (*model, false),
            };
            let (name, aliases) = model.split_once(" = ").unwrap_or((model, ""));
            let aliases: Vec<String> = aliases.split_whitespace().map(str::to_owned).collect();
            (name, aliases, has_query_prompt)
        });
        let owned: Vec<_> = split.collect();
        let named: Vec<_> = owned
            .iter()
            .map(|(name, aliases, has_query_prompt)| Named {
                name,
                aliases,
                has_query_prompt: *has_query_prompt,
            })
            .collect();
        run(&named)
    }

    #[track_caller]
    fn check(models: &[&str], asked: &str, want: Option<(&str, Option<Purpose>)>) {
        with_models(models, |models| assert_eq!(resolve(asked, models.iter().copied()), want, "{asked}"));
    }

    /// `asked` is the model `want`, and says no purpose.
    #[track_caller]
    fn check_name(models: &[&str], asked: &str, want: &str) {
        check(models, asked, Some((want, None)));
    }

    #[track_caller]
    fn check_listed(models: &[&str], want: &[&str]) {
        with_models(models, |models| assert_eq!(listed(models.iter().copied()), want));
    }

    const QUERY: Option<Purpose> = Some(Purpose::Query);
    const DOCUMENT: Option<Purpose> = Some(Purpose::Document);

    #[test]
    fn a_name_and_an_alias_lead_to_their_model() {
        let models = ["qwen3-embedding:0.6b = text-embedding-3-small default", "bge-m3"];
        check_name(&models, "bge-m3", "bge-m3");
        check_name(&models, "default", "qwen3-embedding:0.6b");
        check_name(&models, "text-embedding-3-small", "qwen3-embedding:0.6b");
        check(&models, "text-embedding-3-large", None);
        check(&models, "", None);
    }

    #[test]
    fn the_tag_latest_may_be_there_or_not() {
        check_name(&["bge-m3"], "bge-m3:latest", "bge-m3");
        check_name(&["bge-m3:latest"], "bge-m3", "bge-m3:latest");
        check_name(&["m = small"], "small:latest", "m");
        check(&["qwen3-embedding:0.6b"], "qwen3-embedding", None);
    }

    #[test]
    fn a_role_behind_the_name_says_what_texts_are_for() {
        check(&["m"], "m:query", Some(("m", QUERY)));
        check(&["m"], "m:document", Some(("m", DOCUMENT)));
        check(&["m:latest"], "m:query", Some(("m:latest", QUERY)));
        check(&["m:0.6b = small"], "m:0.6b:query", Some(("m:0.6b", QUERY)));
        check(&["m:0.6b = small"], "small:document", Some(("m:0.6b", DOCUMENT)));
        check(&["m"], "m:passage", None);
        check(&["m"], ":query", None);
    }

    #[test]
    fn embed_may_stand_before_a_name() {
        check_name(&["bge-m3"], "embed/bge-m3", "bge-m3");
        check_name(&["bge-m3 = b"], "embed/b:latest", "bge-m3");
        check(&["bge-m3"], "embed/bge-m3:query", Some(("bge-m3", QUERY)));
        check(&["bge-m3"], "embed/embed/bge-m3", None);
        check(&["bge-m3"], "embed/", None);
    }

    #[test]
    fn what_is_really_called_so_comes_before_what_is_read_into_it() {
        check_name(&["m", "m:query"], "m:query", "m:query");
        check_name(&["m", "embed/m"], "embed/m", "embed/m");
        check_name(&["m", "m:latest"], "m:latest", "m:latest");
        check_name(&["m", "m:latest"], "m", "m");
        check_name(&["a = b", "b"], "b", "b");
        check_name(&["m", "other = m:query"], "m:query", "other");
    }

    #[test]
    fn case_matters_only_where_two_names_differ_by_nothing_else() {
        check_name(&["all-minilm"], "All-MiniLM", "all-minilm");
        check_name(&["hf.co/A/B:Q8_0"], "hf.co/a/b:q8_0", "hf.co/A/B:Q8_0");
        check_name(&["M", "m"], "m", "m");
        check_name(&["M", "m"], "M", "M");
        check_name(&["M = Small", "x"], "SMALL:LATEST", "M");
        check(&["Mini"], "EMBED/mini:QUERY", Some(("Mini", QUERY)));
        check(&["Mini", "mINI"], "mini", None);
        check_name(&["Größe"], "GRÖẞE", "Größe");
    }

    #[test]
    fn two_aliases_of_one_model_are_no_doubt() {
        check_name(&["m = Small small"], "SMALL", "m");
        check(&["m = Small", "n = small"], "SMALL", None);
    }

    #[test]
    fn names_and_aliases_are_listed() {
        check_listed(&["my-embedder = e"], &["my-embedder", "e"]);
        check_listed(&["bge-m3 = text-embedding-3-small"], &["bge-m3", "text-embedding-3-small"]);
    }

    #[test]
    fn a_prompt_for_questions_makes_an_id_for_them() {
        check_listed(&["nomic-embed-text?"], &["nomic-embed-text", "nomic-embed-text:query"]);
    }

    #[test]
    fn a_model_without_embed_in_its_ids_is_listed_once_more() {
        check_listed(
            &["bge-m3", "all-minilm"],
            &["bge-m3", "embed/bge-m3", "all-minilm", "embed/all-minilm"],
        );
        check_listed(&["e5-small = small?"], &["e5-small", "small", "e5-small:query", "embed/e5-small"]);
    }

    #[test]
    fn what_leads_to_another_model_is_not_listed_twice() {
        check_listed(&["m-embed?", "m-embed:query"], &["m-embed", "m-embed:query"]);
        check_listed(&["a-embed = b-embed", "b-embed"], &["a-embed", "b-embed"]);
    }

    #[test]
    fn every_listed_id_leads_to_a_model() {
        let models = ["a = b c?", "b?", "A", "embed/a", "c:query", "d:latest = D"];
        with_models(&models, |models| {
            for id in listed(models.iter().copied()) {
                assert!(resolve(&id, models.iter().copied()).is_some(), "{id}");
            }
        });
    }
}
