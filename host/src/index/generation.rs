//! Generations: the builds of a collection, and which of them serves.
//!
//! What people name is a collection, `docs`. What holds points is one of its
//! generations, `docs@1`, `docs@2` and so on, each of one space and one
//! pipeline. The alias `docs` leads to the one that serves, `docs@previous` to
//! the one that served before it. A run whose space and pipeline are those of
//! the serving one goes on in it; any other builds beside, and the aliases are
//! swapped in one step when it is complete.

use std::collections::BTreeMap;

use crate::store::{Collection, IndexState, Store, StoreError, generation, generation_of, previous};

/// The builds of one collection, as the store has them at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generations {
    /// The name of the collection.
    pub name: String,
    /// By number.
    pub all: BTreeMap<u64, Collection>,
    /// The generation that the name leads to.
    pub serving: Option<String>,
    /// The one that served before it.
    pub previous: Option<String>,
}

impl Generations {
    /// Reads what the store has under `name`.
    pub async fn of(store: &dyn Store, name: &str) -> Result<Self, StoreError> {
        let mut aliases = store.aliases().await?;
        let serving = aliases.remove(name);
        let previous = aliases.remove(&previous(name));
        let all = store.collections().await?;
        let all = all.into_iter().filter_map(|build| Some((number(name, &build.name)?, build))).collect();
        Ok(Self { name: name.to_owned(), all, serving, previous })
    }

    /// The generation that the name leads to, where it is there.
    pub fn serving(&self) -> Option<&Collection> {
        self.all.values().find(|build| Some(&build.name) == self.serving.as_ref())
    }

    /// The newest generation that is made as `wanted` says, the serving one first.
    pub(super) fn made_as(&self, wanted: &Collection) -> Option<&Collection> {
        let is_same = |build: &&Collection| differs(build, wanted).is_none();
        self.serving().filter(is_same).or_else(|| self.all.values().rev().find(is_same))
    }

    /// A name that no generation has had as far as is known.
    pub(super) fn next_name(&self) -> String {
        let last = self.all.last_key_value().map_or(0, |(number, _)| *number);
        let led_to = [&self.serving, &self.previous].into_iter().flatten();
        let last = led_to.filter_map(|led| number(&self.name, led)).fold(last, u64::max);
        generation(&self.name, last.saturating_add(1))
    }

    /// The generations that neither serve nor did so last.
    pub(super) fn left_over(&self) -> impl Iterator<Item = &str> {
        let names = self.all.values().map(|build| build.name.as_str());
        names.filter(|name| {
            [&self.serving, &self.previous].into_iter().all(|led| led.as_deref() != Some(*name))
        })
    }

    /// Lets the name lead to `generation`, and remembers which one it led to before.
    pub(super) async fn serve(&self, store: &dyn Store, generation: &str) -> Result<(), StoreError> {
        let mut changes = vec![(self.name.clone(), Some(generation.to_owned()))];
        if let Some(serving) = self.serving() {
            changes.push((previous(&self.name), Some(serving.name.clone())));
        }
        store.set_aliases(changes).await
    }

    /// Lets the name lead where it led before the last swap; a second time undoes the first.
    ///
    /// Returns the generation that serves now; none where there is no other.
    pub async fn roll_back(&self, store: &dyn Store) -> Result<Option<&Collection>, StoreError> {
        let previous = self.all.values().find(|build| Some(&build.name) == self.previous.as_ref());
        if let Some(previous) = previous {
            self.serve(store, &previous.name).await?;
        }
        Ok(previous)
    }

    /// Deletes all generations but the serving one, with what is recorded of them.
    ///
    /// Returns their names. What a stopped run of this leaves behind, the next one deletes.
    pub async fn prune(&self, store: &dyn Store, state: &IndexState) -> Result<Vec<String>, StoreError> {
        if self.previous.is_some() {
            store.set_aliases(vec![(previous(&self.name), None)]).await?;
        }
        let names = self.all.values().map(|build| build.name.clone());
        let others: Vec<_> = names.filter(|name| Some(name) != self.serving.as_ref()).collect();
        delete(store, state, &others).await?;
        Ok(others)
    }

    /// Deletes the collection with all of its generations.
    pub async fn delete(&self, store: &dyn Store, state: &IndexState) -> Result<(), StoreError> {
        store.set_aliases(vec![(self.name.clone(), None), (previous(&self.name), None)]).await?;
        let names: Vec<_> = self.all.values().map(|build| build.name.clone()).collect();
        delete(store, state, &names).await
    }
}

/// Deletes generations. Records go last: what a stopped deletion leaves of
/// them is forgotten when the number is given again.
pub(super) async fn delete(
    store: &dyn Store,
    state: &IndexState,
    generations: &[String],
) -> Result<(), StoreError> {
    for name in generations {
        store.drop_collection(name).await?;
        state.forget_all(name).await?;
    }
    Ok(())
}

/// The number of a generation of `name`; none for any other collection.
fn number(name: &str, generation: &str) -> Option<u64> {
    generation_of(generation).filter(|(collection, _)| *collection == name).map(|(_, number)| number)
}

/// What two builds differ in first, for people.
pub(super) fn differs(have: &Collection, want: &Collection) -> Option<&'static str> {
    let pairs = [
        ("the model", have.model == want.model),
        ("the model's vectors", have.space == want.space && have.dimensions == want.dimensions),
        ("the language", have.language == want.language),
        ("plugins or their configuration", have.pipeline == want.pipeline),
    ];
    pairs.into_iter().find(|(_, is_same)| !is_same).map(|(what, _)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(name: &str, pipeline: &str) -> Collection {
        Collection {
            name: name.to_owned(),
            model: "m".to_owned(),
            dimensions: 3,
            space: "s".to_owned(),
            language: None,
            pipeline: pipeline.to_owned(),
        }
    }

    fn generations(serving: Option<&str>, builds: &[(u64, &str)]) -> Generations {
        let all =
            builds.iter().map(|(number, pipeline)| (*number, build(&format!("docs@{number}"), pipeline)));
        Generations {
            name: "docs".to_owned(),
            all: all.collect(),
            serving: serving.map(str::to_owned),
            previous: None,
        }
    }

    #[test]
    fn a_generation_of_another_collection_is_none_of_this_one() {
        assert_eq!(number("docs", "docs@12"), Some(12));
        assert_eq!(number("docs", "docs2@1"), None);
        assert_eq!(number("docs", "docs"), None);
    }

    #[test]
    fn the_serving_one_goes_on_where_it_is_made_alike() {
        let there = generations(Some("docs@1"), &[(1, "p"), (2, "p"), (3, "q")]);
        assert_eq!(there.made_as(&build("", "p")).unwrap().name, "docs@1");
        assert_eq!(there.made_as(&build("", "q")).unwrap().name, "docs@3");
        assert_eq!(there.made_as(&build("", "r")), None);
    }

    #[test]
    fn a_number_is_not_given_again_while_an_alias_leads_to_it() {
        assert_eq!(generations(None, &[]).next_name(), "docs@1");
        assert_eq!(generations(Some("docs@7"), &[(2, "p")]).next_name(), "docs@8");
    }

    #[test]
    fn what_neither_serves_nor_did_is_left_over() {
        let mut there = generations(Some("docs@3"), &[(1, "p"), (2, "p"), (3, "q"), (4, "r")]);
        there.previous = Some("docs@2".to_owned());
        assert_eq!(there.left_over().collect::<Vec<_>>(), ["docs@1", "docs@4"]);
    }

    #[test]
    fn the_first_difference_is_told() {
        let other = Collection { model: "n".to_owned(), ..build("docs@1", "q") };
        assert_eq!(differs(&build("docs@1", "p"), &other), Some("the model"));
        assert_eq!(differs(&build("docs@1", "p"), &build("docs@2", "p")), None);
    }
}
