//! What each upstream was found to have, and which models follow from it: plain
//! decisions without a clock or a task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::embed::families::{self, Family};
use crate::model::ModelName;
use crate::upstream::{Card, Offered};

/// Tokens that are asked for where only the upstream says what a model takes:
/// servers reserve memory for all that they are asked to take at once.
const MAX_CONTEXT: u32 = 8192;
/// Names that are served in the life of the process, for each that is served at
/// once: each leaves its metrics behind.
const NAMES_FOR_EACH: usize = 10;

/// One model at one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) digest: Option<String>,
    pub(super) context: Option<u32>,
    /// How it is served there, at a gateway.
    pub(super) card: Option<Arc<Card>>,
}

/// The embedding models of one upstream.
pub(super) type Offers = BTreeMap<ModelName, Offer>;
/// One model at all its upstreams, by their place among those that are looked at.
pub(super) type Places = Vec<(usize, Offer)>;

/// Picks the models that embed: those of which the upstream says so. Where it
/// says nothing, the name tells, and a server's only model is taken as it is.
pub(super) fn embedding_models(models: Vec<Offered>) -> Offers {
    let is_only = models.len() == 1;
    let embeds = |model: &Offered| model.embeds.unwrap_or_else(|| is_only || sounds_embedding(&model.name));
    models
        .into_iter()
        .filter(embeds)
        .filter_map(|model| {
            // What cannot be asked for by name is of no use to anybody.
            let name = ModelName::new(&model.name).ok()?;
            Some((name, Offer { digest: model.digest, context: model.context, card: model.card }))
        })
        .collect()
}

fn sounds_embedding(name: &str) -> bool {
    name.to_lowercase().contains("embed") || families::find(name) != Family::default()
}

/// What all upstreams have, within bounds.
pub(super) struct Findings {
    /// What each said last; nothing before its first answer.
    offers: Vec<Option<Offers>>,
    /// Names and aliases of `[[model]]` tables, as [`whole`] writes them.
    taken: BTreeSet<String>,
    /// Names that were ever served.
    ever: BTreeSet<ModelName>,
    max: usize,
}

/// What became of an upstream's list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) appeared: Vec<String>,
    pub(super) vanished: Vec<String>,
}

impl Findings {
    /// `configured` are the names and aliases of `[[model]]` tables.
    pub(super) fn new<'n>(n_upstreams: usize, configured: impl Iterator<Item = &'n str>, max: usize) -> Self {
        Self {
            offers: vec![None; n_upstreams],
            taken: configured.map(whole).collect(),
            ever: BTreeSet::new(),
            max,
        }
    }

    /// Takes what the upstream at `place` says now. Returns nothing where that is what it said before.
    pub(super) fn learn(&mut self, place: usize, offers: Offers) -> Option<Change> {
        let before = self.offers[place].replace(offers);
        let now = self.offers[place].as_ref()?;
        if before.as_ref() == Some(now) {
            return None;
        }
        let before = before.unwrap_or_default();
        let other = |some: &Offers, than: &Offers| -> Vec<String> {
            let names = some.iter().filter(|(name, offer)| than.get(*name) != Some(offer));
            names.take(self.max).map(|(name, _)| name.to_string()).collect()
        };
        Some(Change { appeared: other(now, &before), vanished: other(&before, now) })
    }

    /// The models to serve beside those of the configuration, and the number of
    /// those that are too many. One of `served` is never given up for a new one.
    pub(super) fn models(&mut self, served: &BTreeSet<ModelName>) -> (BTreeMap<ModelName, Places>, usize) {
        let mut all: BTreeMap<ModelName, Places> = BTreeMap::new();
        for (place, offers) in self.offers.iter().enumerate() {
            for (name, offer) in offers.iter().flatten() {
                if !self.taken.contains(&whole(name.as_str())) {
                    let places = all.entry(name.clone()).or_default();
                    if may_join(places, offer) {
                        places.push((place, offer.clone()));
                    }
                }
            }
        }
        let (kept, new): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| served.contains(name));
        let mut models = BTreeMap::new();
        let mut n_left_out = 0;
        for (name, places) in kept.into_iter().chain(new) {
            let has_room = models.len() < self.max
                && (self.ever.contains(&name) || self.ever.len() < self.max.saturating_mul(NAMES_FOR_EACH));
            if has_room {
                self.ever.insert(name.clone());
                models.insert(name, places);
            } else {
                n_left_out += 1;
            }
        }
        (models, n_left_out)
    }
}

/// Whether `offer` is served together with those of `places`: what a gateway makes of a text is not
/// what a model does, and two gateways have to make the same of it.
fn may_join(places: &Places, offer: &Offer) -> bool {
    places.first().is_none_or(|(_, first)| first.card == offer.card)
}

/// Tokens that the model at `places` takes: what all its upstreams allow, and no
/// more than its family is used with.
pub(super) fn max_tokens(name: &ModelName, places: &Places) -> Option<u32> {
    if let Some((_, Offer { card: Some(card), .. })) = places.first() {
        return card.max_tokens;
    }
    let usual = families::find(name.as_str()).max_tokens;
    match places.iter().filter_map(|(_, offer)| offer.context).min() {
        Some(context) => Some(context.min(usual.unwrap_or(MAX_CONTEXT))),
        None => usual,
    }
}

/// A name as Ollama compares it: in lower case, and with a tag.
fn whole(name: &str) -> String {
    let name = name.to_lowercase();
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains(':') { name } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(name: &str, embeds: Option<bool>) -> Offered {
        Offered { name: name.to_owned(), digest: Some("d".into()), embeds, context: None, card: None }
    }

    fn offers(names: &[&str]) -> Offers {
        embedding_models(names.iter().map(|name| offered(name, Some(true))).collect())
    }

    fn name(name: &str) -> ModelName {
        ModelName::new(name).unwrap()
    }

    #[track_caller]
    fn check_pick(models: &[(&str, Option<bool>)], want: &[&str]) {
        let models = models.iter().map(|(name, embeds)| offered(name, *embeds)).collect();
        let got: Vec<_> = embedding_models(models).keys().map(ToString::to_string).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn what_the_upstream_says_is_believed() {
        check_pick(&[("chatty-embed", Some(false)), ("plain", Some(true))], &["plain"]);
        check_pick(&[("llama3", Some(false))], &[]);
    }

    #[test]
    fn where_it_says_nothing_the_name_tells() {
        check_pick(
            &[("gpt-5", None), ("text-embedding-3-small", None), ("BAAI/bge-m3", None)],
            &["BAAI/bge-m3", "text-embedding-3-small"],
        );
        check_pick(&[("gpt-5", None), ("llama3", None)], &[]);
    }

    #[test]
    fn a_servers_only_model_is_taken_as_it_is() {
        check_pick(&[("snowflake-arctic", None)], &["snowflake-arctic"]);
    }

    #[test]
    fn a_name_that_nobody_could_ask_for_is_left_out() {
        check_pick(&[("an embed model", None), ("embed", None), ("", Some(true))], &["embed"]);
    }

    #[test]
    fn a_change_is_told_once() {
        let mut findings = Findings::new(1, std::iter::empty(), 9);
        let change = |appeared: &[&str], vanished: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Some(Change { appeared: names(appeared), vanished: names(vanished) })
        };
        assert_eq!(findings.learn(0, Offers::new()), change(&[], &[]));
        assert_eq!(findings.learn(0, offers(&["a", "b"])), change(&["a", "b"], &[]));
        assert_eq!(findings.learn(0, offers(&["a", "b"])), None);
        assert_eq!(findings.learn(0, offers(&["b"])), change(&[], &["a"]));
        let other = Offer { digest: Some("e".into()), context: None, card: None };
        assert_eq!(findings.learn(0, Offers::from([(name("b"), other)])), change(&["b"], &["b"]));
    }

    #[test]
    fn one_name_at_two_upstreams_is_one_model() {
        let mut findings = Findings::new(2, std::iter::empty(), 9);
        findings.learn(0, offers(&["a", "b"]));
        findings.learn(1, offers(&["b"]));
        let (models, n_left_out) = findings.models(&BTreeSet::new());
        let places = |name: &ModelName| models[name].iter().map(|(place, _)| *place).collect::<Vec<_>>();
        assert_eq!((places(&name("a")), places(&name("b")), n_left_out), (vec![0], vec![0, 1], 0));
    }

    #[test]
    fn a_word_of_the_configuration_is_never_taken() {
        let mut findings = Findings::new(1, ["Mine", "b:latest"].into_iter(), 9);
        findings.learn(0, offers(&["mine:latest", "b", "c"]));
        assert_eq!(findings.models(&BTreeSet::new()).0.into_keys().collect::<Vec<_>>(), [name("c")]);
    }

    #[test]
    fn too_many_are_left_out_and_never_one_that_is_served() {
        let mut findings = Findings::new(1, std::iter::empty(), 2);
        findings.learn(0, offers(&["c", "d"]));
        let (models, _) = findings.models(&BTreeSet::new());
        let served: BTreeSet<_> = models.into_keys().collect();
        findings.learn(0, offers(&["a", "b", "c", "d"]));
        let (models, n_left_out) = findings.models(&served);
        assert_eq!((models.into_keys().collect::<BTreeSet<_>>(), n_left_out), (served, 2));
    }

    #[test]
    fn names_that_change_with_every_look_come_to_an_end() {
        let mut findings = Findings::new(1, std::iter::empty(), 2);
        let mut n_served = 0;
        for number in 0..100 {
            findings.learn(0, offers(&[&format!("model-{number}")]));
            n_served += findings.models(&BTreeSet::new()).0.len();
        }
        assert_eq!(n_served, 2 * NAMES_FOR_EACH);
    }

    #[track_caller]
    fn check_tokens(model: &str, contexts: &[Option<u32>], want: Option<u32>) {
        let offer = |context: &Option<u32>| Offer { digest: None, context: *context, card: None };
        let places = contexts.iter().map(offer).enumerate().collect();
        assert_eq!(max_tokens(&name(model), &places), want);
    }

    #[test]
    fn a_model_takes_what_its_family_and_all_its_upstreams_take() {
        check_tokens("qwen3-embedding:0.6b", &[Some(32_768)], Some(8192));
        check_tokens("bge-m3", &[Some(8192), Some(2048)], Some(2048));
        check_tokens("bge-m3", &[None], Some(8192));
        check_tokens("somebodys", &[Some(512), None], Some(512));
        check_tokens("somebodys", &[Some(131_072)], Some(MAX_CONTEXT));
        check_tokens("somebodys", &[None], None);
    }
}
