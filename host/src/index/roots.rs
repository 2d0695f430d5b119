//! What a collection was ever given: kept with it, so that it can be brought up
//! to date, or built anew, without being told again.

use std::sync::Arc;

use super::source::{Root, Sources};
use super::target::Target;
use super::{CollectionConfig, IndexError, Indexer};

impl Indexer {
    /// What the run is about. What was given is remembered before anything is written.
    pub(super) async fn sources(
        &self,
        collection: &CollectionConfig,
        given: Vec<Root>,
        target: &Target,
    ) -> Result<Arc<Sources>, IndexError> {
        let (sources, given) = self.checked(collection, given, target).await?;
        self.remember(&collection.name, &given).await?;
        Ok(sources)
    }

    /// What the run is about, with what was given of it, both as they are kept.
    pub(super) async fn checked(
        &self,
        collection: &CollectionConfig,
        given: Vec<Root>,
        target: &Target,
    ) -> Result<(Arc<Sources>, Vec<Root>), IndexError> {
        let given = Sources::new(given, &self.config)?.roots();
        let all = self.roots(&collection.name, given.clone(), target).await?;
        let gone = |source| IndexError::Gone { collection: collection.name.clone(), source };
        let sources = Sources::new(all, &self.config).map_err(gone)?;
        Ok((Arc::new(sources.in_language(collection.language.as_deref())), given))
    }

    /// What was given; with all that the collection was ever given where nothing was, or where a
    /// generation is built that is to have all that the one beside it has.
    async fn roots(
        &self,
        collection: &str,
        mut given: Vec<Root>,
        target: &Target,
    ) -> Result<Vec<Root>, IndexError> {
        if given.is_empty() || target.beside().is_some() {
            for (_, root) in self.remembered(collection).await? {
                if !given.iter().any(|given| given.is_of_the_place_of(&root)) {
                    given.push(root);
                }
            }
        }
        if given.is_empty() { Err(IndexError::NoSources(collection.to_owned())) } else { Ok(given) }
    }

    /// What the collection was ever given, with the form in which it is kept.
    pub(super) async fn remembered(&self, collection: &str) -> Result<Vec<(String, Root)>, IndexError> {
        let read = |json: String| match serde_json::from_str(&json) {
            Ok(root) => Ok((json, root)),
            Err(source) => Err(IndexError::Root { root: json, source }),
        };
        self.state.roots(collection).await?.into_iter().map(read).collect()
    }

    /// Keeps what a collection was given, in place of what it was given of the same places.
    pub(super) async fn remember(&self, collection: &str, given: &[Root]) -> Result<(), IndexError> {
        let before = self.remembered(collection).await?;
        for root in given {
            let json = root.to_json();
            self.state.add_root(collection, json.clone()).await?;
            for (old, _) in before.iter().filter(|(_, other)| other.is_of_the_place_of(root)) {
                if *old != json {
                    self.state.remove_root(collection, old).await?;
                }
            }
        }
        Ok(())
    }
}
