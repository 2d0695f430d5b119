//! Media type → plugins: which preprocessors a document goes through, and
//! which chunker cuts it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::identity::Fingerprint;
use super::{CollectionConfig, Rule};
use crate::plugin::{Plugin, PluginError, Plugins};

/// What is done with documents of one media type.
pub(super) struct Recipe {
    /// In the order in which they run.
    pub(super) preprocessors: Vec<Arc<Plugin>>,
    pub(super) chunker: Arc<Plugin>,
    /// Of all that decides which points a document becomes: 32 hexadecimal digits.
    pub(super) fingerprint: String,
    /// Whether a rule names the media type, so that documents of it are wanted as they are.
    pub(super) is_named: bool,
}

impl Recipe {
    fn new(
        plugins: &Plugins,
        preprocess: &[String],
        chunker: &str,
        common: &[String],
    ) -> Result<Self, PluginError> {
        let preprocessors =
            preprocess.iter().map(|name| plugins.preprocessor(name)).collect::<Result<Vec<_>, _>>()?;
        let chunker = plugins.chunker(chunker)?;
        let parts = preprocessors.iter().chain([&chunker]).map(|plugin| plugin.fingerprint());
        let parts = common.iter().map(String::as_str).chain(parts);
        let fingerprint = parts.fold(Fingerprint::new(), Fingerprint::with).finish();
        Ok(Self { preprocessors, chunker, fingerprint, is_named: false })
    }
}

/// The recipes of a collection, by media type.
pub(super) struct Recipes(BTreeMap<&'static str, Recipe>);

impl Recipes {
    /// Finds the plugins for all of `media_types`. `common` goes into every
    /// fingerprint; `model_preprocess` serves where a rule names no preprocessors.
    ///
    /// # Errors
    /// A rule or a default that names a plugin which is not there, whether a
    /// document needs it or not.
    pub(super) fn new(
        plugins: &Plugins,
        collection: &CollectionConfig,
        model_preprocess: &[String],
        common: &[String],
        media_types: impl IntoIterator<Item = &'static str>,
    ) -> Result<Self, PluginError> {
        let recipe = |rule: &Rule| {
            let preprocess = rule.preprocess.as_deref().unwrap_or(model_preprocess);
            Recipe::new(plugins, preprocess, &rule.chunker, common)
        };
        for rule in &collection.rules {
            recipe(rule)?;
        }
        let mut recipes = BTreeMap::new();
        for media_type in media_types {
            let rule = collection.rules.iter().find(|rule| covers(&rule.media_type, media_type));
            let is_named = rule.is_some_and(|rule| rule.media_type.eq_ignore_ascii_case(media_type));
            let rule = rule.cloned().unwrap_or_else(|| default_rule(media_type, model_preprocess));
            recipes.insert(media_type, Recipe { is_named, ..recipe(&rule)? });
        }
        Ok(Self(recipes))
    }

    /// The preprocessors of all recipes, those of several more than once.
    pub(super) fn preprocessors(&self) -> impl Iterator<Item = &Plugin> {
        self.0.values().flat_map(|recipe| &recipe.preprocessors).map(|plugin| &**plugin)
    }

    pub(super) fn of(&self, media_type: &str) -> Option<&Recipe> {
        self.0.get(media_type)
    }
}

/// Returns whether a rule for `pattern` is for documents of `media_type`:
/// `text/*` is for all text, `*/*` for everything.
fn covers(pattern: &str, media_type: &str) -> bool {
    match pattern.strip_suffix("/*") {
        Some("*") => true,
        Some(family) => media_type.split('/').next() == Some(family),
        None => pattern.eq_ignore_ascii_case(media_type),
    }
}

/// What happens where a collection has no rule. `html` runs first, so that the
/// model's own preprocessors see characters and not entities; it leaves
/// headings as Markdown has them, which the chunker `markdown` understands.
fn default_rule(media_type: &str, model_preprocess: &[String]) -> Rule {
    let html = || [&["html".to_owned()], model_preprocess].concat();
    let (preprocess, chunker) = match media_type {
        "text/html" => (Some(html()), "markdown"),
        "text/markdown" => (None, "markdown"),
        _ => (None, "recursive"),
    };
    Rule { media_type: media_type.to_owned(), preprocess, chunker: chunker.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, media_type: &str, want: bool) {
        assert_eq!(covers(pattern, media_type), want);
    }

    #[test]
    fn a_rule_is_for_its_media_type() {
        check("text/markdown", "text/markdown", true);
        check("Text/Markdown", "text/markdown", true);
        check("text/markdown", "text/html", false);
    }

    #[test]
    fn a_star_is_for_all_of_a_family() {
        check("text/*", "text/html", true);
        check("image/*", "text/html", false);
        check("*/*", "text/plain", true);
    }

    #[test]
    fn html_runs_before_the_preprocessors_of_the_model() {
        let rule = default_rule("text/html", &["unicode".to_owned()]);
        assert_eq!(rule.preprocess.unwrap(), ["html", "unicode"]);
    }
}
