//! Generations, the aliases that lead to them, and how they are tuned.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use qdrant_client::QdrantError;
use qdrant_client::qdrant::alias_operations::Action;
use qdrant_client::qdrant::collections_client::CollectionsClient;
use qdrant_client::qdrant::{AliasOperations, ChangeAliases, CollectionInfo, CreateAlias, DeleteAlias};
use tonic::Status;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::Qdrant;
use super::properties::{self, Known, Tuned};
use crate::store::checks::{check_same, no_collection};
use crate::store::{Collection, StoreError, Tuning, names};

impl Qdrant {
    /// A collection of ours by its name or an alias.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Known>, StoreError> {
        let found = self.resolved(name).await?;
        if found.is_some() || names::generation_of(name).is_some() {
            return Ok(found);
        }
        // What the alias led to may have been deleted while it was asked for.
        self.resolved(name).await
    }

    async fn resolved(&self, name: &str) -> Result<Option<Known>, StoreError> {
        // No alias is called like a generation.
        let name = match names::generation_of(name) {
            Some(_) => name.to_owned(),
            None => self.all_aliases().await?.remove(name).unwrap_or_else(|| name.to_owned()),
        };
        let info = self.info(&name).await?;
        info.map(|info| Known::new(&name, info)).transpose()
    }

    /// What the server says of a collection of whatever program.
    async fn info(&self, name: &str) -> Result<Option<CollectionInfo>, StoreError> {
        if !self.call(|| self.client.collection_exists(name)).await? {
            return Ok(None);
        }
        let answer = self.call(|| self.client.collection_info(name)).await?;
        Ok(Some(answer.result.unwrap_or_default()))
    }

    /// As `find`, for those that have to be there. Asks no more than once for a generation.
    pub(super) async fn known(&self, name: &str) -> Result<Arc<Known>, StoreError> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Arc::clone(known));
        }
        super::check_stored_name(name)?;
        let Some(found) = self.find(name).await? else {
            return Err(no_collection(name, &self.all().await?));
        };
        let found = Arc::new(found);
        if names::generation_of(&found.collection.name).is_some() {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(found.collection.name.clone(), Arc::clone(&found));
        }
        Ok(found)
    }

    pub(super) fn forget(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(super) async fn all(&self) -> Result<Vec<Collection>, StoreError> {
        let answer = self.call(|| self.client.list_collections()).await?;
        let mut collections = Vec::new();
        for description in answer.collections {
            let name = description.name;
            if super::check_stored_name(&name).is_err() {
                continue;
            }
            let Some(info) = self.info(&name).await? else { continue };
            match properties::collection(&name, info) {
                Ok(collection) => collections.push(collection),
                // Other programs' collections live on the same server.
                Err(StoreError::NotOurs { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        collections.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(collections)
    }

    /// Makes a generation, unless it is there already with the same properties.
    pub(super) async fn create_generation(&self, collection: &Collection) -> Result<Known, StoreError> {
        if let Some(there) = self.find(&collection.name).await? {
            return check_same(&there.collection, collection).map(|()| there);
        }
        let aliases = self.all_aliases().await?;
        self.check_free(names::collection_of(&collection.name), &collection.name, &aliases).await?;
        self.forget(&collection.name);
        let request = properties::create(collection, self.quantisation, self.seconds());
        let created = self.client.create_collection(request).await;
        // Another indexer may have been faster, and an answer may have been
        // lost: what counts is what is there now.
        match (self.find(&collection.name).await?, created) {
            (Some(there), _) => check_same(&there.collection, collection).map(|()| there),
            (None, Err(error)) => Err(self.failed(error)),
            (None, Ok(_)) => Err(no_collection(&collection.name, &self.all().await?)),
        }
    }

    /// Refuses a name under which an alias could not be made: some collection has it.
    async fn check_free(
        &self,
        name: &str,
        wanted: &str,
        aliases: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        match self.info(name).await? {
            Some(info) if !aliases.contains_key(name) => {
                // One that is not ours has another way out.
                properties::collection(name, info)?;
                Err(StoreError::Taken { name: name.to_owned(), wanted: wanted.to_owned() })
            }
            _ => Ok(()),
        }
    }

    async fn all_aliases(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let answer = self.call(|| self.client.list_aliases()).await?;
        let aliases = answer.aliases.into_iter();
        Ok(aliases.map(|alias| (alias.alias_name, alias.collection_name)).collect())
    }

    /// Those that lead to generations; other programs have aliases as well.
    pub(super) async fn own_aliases(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let mut aliases = self.all_aliases().await?;
        aliases.retain(|_, name| names::generation_of(name).is_some());
        Ok(aliases)
    }

    pub(super) async fn change_aliases(
        &self,
        changes: Vec<(String, Option<String>)>,
    ) -> Result<(), StoreError> {
        let there = self.all_aliases().await?;
        let mut actions = Vec::new();
        for (alias, to) in changes {
            let target = match to {
                Some(name) => Some(self.known(&name).await?.collection.name.clone()),
                None => None,
            };
            if let Some(target) = &target {
                self.check_free(&alias, target, &there).await?;
            }
            if there.contains_key(&alias) {
                actions.push(Action::DeleteAlias(DeleteAlias { alias_name: alias.clone() }));
            }
            actions.extend(target.map(|collection_name| {
                Action::CreateAlias(CreateAlias { collection_name, alias_name: alias })
            }));
        }
        if actions.is_empty() {
            return Ok(());
        }
        let actions = actions.into_iter().map(|action| AliasOperations { action: Some(action) }).collect();
        let request = ChangeAliases { actions, timeout: self.seconds() };
        self.call(|| self.update_aliases(request.clone())).await
    }

    /// The client's own methods change one alias at a time.
    async fn update_aliases(&self, request: ChangeAliases) -> Result<(), QdrantError> {
        let channel = self.channel().map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = tonic::Request::new(request);
        if let Some(key) = &self.client.config.api_key {
            let key = key
                .parse()
                .map_err(|_| Status::unauthenticated("the key has a character that no key has"))?;
            request.metadata_mut().insert("api-key", key);
        }
        CollectionsClient::new(channel).update_aliases(request).await?;
        Ok(())
    }

    /// A connection as the client makes them.
    fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let endpoint =
            Endpoint::from_shared(self.url.clone())?.timeout(self.timeout).connect_timeout(self.timeout);
        let is_secure = endpoint.uri().scheme_str() == Some("https");
        let endpoint = match is_secure {
            true => endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?,
            false => endpoint,
        };
        Ok(endpoint.connect_lazy())
    }

    /// Puts off the indexing of vectors while many are written.
    ///
    /// What it was before is noted first, in the collection's own metadata: a
    /// run that is killed leaves it to the next one, on whatever machine.
    pub(super) async fn set_tuning(&self, name: &str, tuning: Tuning) -> Result<(), StoreError> {
        let info = self.info(name).await?.unwrap_or_default();
        let Tuned { threshold, remembered } = Tuned::of(info);
        let timeout = self.seconds();
        let updates = match (tuning, remembered) {
            // Done already, or somebody wants it so for good.
            (Tuning::Bulk, _) if threshold == 0 => vec![],
            (Tuning::Bulk, None) => vec![
                properties::remember(name, Some(threshold), timeout),
                properties::set_threshold(name, 0, timeout),
            ],
            (Tuning::Bulk, Some(_)) => vec![properties::set_threshold(name, 0, timeout)],
            (Tuning::Serving, Some(before)) => vec![
                properties::set_threshold(name, before, timeout),
                properties::remember(name, None, timeout),
            ],
            (Tuning::Serving, None) => vec![],
        };
        for update in updates {
            self.call(|| self.client.update_collection(update.clone())).await?;
        }
        Ok(())
    }
}
