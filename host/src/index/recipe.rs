//! Media type → plugins: which preprocessors a document goes through, and
//! which chunker cuts it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::identity::Fingerprint;
use super::report::in_full;
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
pub(super) struct Recipes {
    plugins: Arc<Plugins>,
    rules: Vec<Rule>,
    model_preprocess: Vec<String>,
    /// Goes into every fingerprint.
    common: Vec<String>,
    /// Those that were asked for.
    known: Mutex<HashMap<String, Result<Arc<Recipe>, String>>>,
}

impl Recipes {
    /// `common` goes into every fingerprint; `model_preprocess` serves where a
    /// rule names no preprocessors.
    ///
    /// # Errors
    /// A rule that names a plugin which is not there, whether a document needs it or not.
    pub(super) fn new(
        plugins: Arc<Plugins>,
        collection: &CollectionConfig,
        model_preprocess: &[String],
        common: Vec<String>,
    ) -> Result<Self, PluginError> {
        let (rules, model_preprocess) = (collection.rules.clone(), model_preprocess.to_vec());
        let recipes = Self { plugins, rules, model_preprocess, common, known: Mutex::default() };
        for rule in &recipes.rules {
            recipes.by_rule(rule)?;
        }
        Ok(recipes)
    }

    /// What is done with documents of `media_type`, or what keeps it from being done.
    pub(super) fn of(&self, media_type: &str) -> Result<Arc<Recipe>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(recipe) = known.get(media_type) {
            return recipe.clone();
        }
        let rule = self.rules.iter().find(|rule| covers(&rule.media_type, media_type)).cloned();
        let rule = rule.unwrap_or_else(|| default_rule(media_type, &self.model_preprocess));
        let is_named = self.rules.iter().any(|rule| rule.media_type.eq_ignore_ascii_case(media_type));
        let recipe = self.by_rule(&rule).map(|recipe| Arc::new(Recipe { is_named, ..recipe }));
        let recipe = recipe.map_err(|error| in_full(&error));
        known.insert(media_type.to_owned(), recipe.clone());
        recipe
    }

    /// Of everything that decides which points documents become, of whatever media type.
    pub(super) fn fingerprint(&self) -> String {
        let mut all = self.common.iter().map(String::as_str).fold(Fingerprint::new(), Fingerprint::with);
        for rule in &self.rules {
            let recipe = self.by_rule(rule).map(|recipe| recipe.fingerprint).unwrap_or_default();
            all = all.with(&rule.media_type).with(&recipe);
        }
        for media_type in DEFAULTS {
            let rule = default_rule(media_type, &self.model_preprocess);
            let recipe = self.by_rule(&rule).map(|recipe| recipe.fingerprint).unwrap_or_default();
            all = all.with(media_type).with(&recipe);
        }
        all.finish()
    }

    fn by_rule(&self, rule: &Rule) -> Result<Recipe, PluginError> {
        let preprocess = rule.preprocess.as_deref().unwrap_or(&self.model_preprocess);
        Recipe::new(&self.plugins, preprocess, &rule.chunker, &self.common)
    }

    /// The preprocessors of all that rules and defaults say, those of several more than once.
    pub(super) fn preprocessors(&self) -> Vec<Arc<Plugin>> {
        let defaults = DEFAULTS.map(|media_type| default_rule(media_type, &self.model_preprocess));
        let recipes = self.rules.iter().chain(&defaults).filter_map(|rule| self.by_rule(rule).ok());
        recipes.flat_map(|recipe| recipe.preprocessors).collect()
    }
}

/// One media type for each way of working that is there without a rule.
const DEFAULTS: [&str; 3] = ["text/html", "text/markdown", "text/plain"];

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
