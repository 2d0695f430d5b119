//! Calls on collections and aliases.

use ::qdrant_client::qdrant::alias_operations::Action;
use ::qdrant_client::qdrant::collections_server::Collections;
use ::qdrant_client::qdrant::*;
use tonic::{Request, Response, Status};

use super::{Collection, Shared, State};

#[tonic::async_trait]
impl Collections for Shared {
    async fn get(
        &self,
        request: Request<GetCollectionInfoRequest>,
    ) -> Result<Response<GetCollectionInfoResponse>, Status> {
        let mut state = self.lock();
        let collection = state.collection(&request.into_inner().collection_name)?;
        let result = Some(info(collection));
        Ok(Response::new(GetCollectionInfoResponse { result, time: 0.0 }))
    }

    async fn list(
        &self,
        _: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let state = self.lock();
        let collections =
            state.collections.keys().map(|name| CollectionDescription { name: name.clone() }).collect();
        Ok(Response::new(ListCollectionsResponse { collections, time: 0.0 }))
    }

    async fn create(
        &self,
        request: Request<CreateCollection>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        let created = request.into_inner();
        self.pass().await;
        self.lock().create(created)?;
        self.applied().await;
        done(true)
    }

    async fn delete(
        &self,
        request: Request<DeleteCollection>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        let name = request.into_inner().collection_name;
        self.pass().await;
        let was_there = self.lock().delete(&name);
        self.applied().await;
        done(was_there)
    }

    /// All of them or none, as the real one.
    async fn update_aliases(
        &self,
        request: Request<ChangeAliases>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        self.pass().await;
        self.lock().change_aliases(request.into_inner().actions)?;
        self.applied().await;
        done(true)
    }

    async fn list_collection_aliases(
        &self,
        request: Request<ListCollectionAliasesRequest>,
    ) -> Result<Response<ListAliasesResponse>, Status> {
        let name = request.into_inner().collection_name;
        let aliases = aliases(&self.lock()).filter(|alias| alias.collection_name == name).collect();
        Ok(Response::new(ListAliasesResponse { aliases, time: 0.0 }))
    }

    async fn list_aliases(
        &self,
        _: Request<ListAliasesRequest>,
    ) -> Result<Response<ListAliasesResponse>, Status> {
        let aliases = aliases(&self.lock()).collect();
        Ok(Response::new(ListAliasesResponse { aliases, time: 0.0 }))
    }

    async fn collection_exists(
        &self,
        request: Request<CollectionExistsRequest>,
    ) -> Result<Response<CollectionExistsResponse>, Status> {
        let exists = self.lock().collection(&request.into_inner().collection_name).is_ok();
        let result = Some(CollectionExists { exists });
        Ok(Response::new(CollectionExistsResponse { result, time: 0.0 }))
    }

    /// What is not said stays as it is; metadata is merged key by key.
    async fn update(
        &self,
        request: Request<UpdateCollection>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.lock();
        let collection = state.collection(&request.collection_name)?;
        if let Some(threshold) = request.optimizers_config.and_then(|changed| changed.indexing_threshold) {
            collection.optimizers.indexing_threshold = Some(threshold);
        }
        collection.metadata.extend(request.metadata);
        done(true)
    }

    async fn collection_cluster_info(
        &self,
        _: Request<CollectionClusterInfoRequest>,
    ) -> Result<Response<CollectionClusterInfoResponse>, Status> {
        Err(Status::unimplemented("collection_cluster_info"))
    }

    async fn update_collection_cluster_setup(
        &self,
        _: Request<UpdateCollectionClusterSetupRequest>,
    ) -> Result<Response<UpdateCollectionClusterSetupResponse>, Status> {
        Err(Status::unimplemented("update_collection_cluster_setup"))
    }

    async fn create_shard_key(
        &self,
        _: Request<CreateShardKeyRequest>,
    ) -> Result<Response<CreateShardKeyResponse>, Status> {
        Err(Status::unimplemented("create_shard_key"))
    }

    async fn delete_shard_key(
        &self,
        _: Request<DeleteShardKeyRequest>,
    ) -> Result<Response<DeleteShardKeyResponse>, Status> {
        Err(Status::unimplemented("delete_shard_key"))
    }

    async fn list_shard_keys(
        &self,
        _: Request<ListShardKeysRequest>,
    ) -> Result<Response<ListShardKeysResponse>, Status> {
        Err(Status::unimplemented("list_shard_keys"))
    }
}

impl State {
    fn create(&mut self, created: CreateCollection) -> Result<(), Status> {
        let name = created.collection_name.clone();
        check_free(self, &name)?;
        if self.aliases.contains_key(&name) {
            return Err(Status::invalid_argument(format!(
                "Wrong input: Can't create collection with name {name}. Alias with the same name already exists"
            )));
        }
        let collection = Collection {
            optimizers: optimizers(created.optimizers_config),
            metadata: created.metadata.clone(),
            strict: created.strict_mode_config.clone().or_else(|| self.strict.clone()),
            created,
            indexed: Vec::new(),
            points: Default::default(),
        };
        self.collections.insert(name, collection);
        Ok(())
    }

    /// Returns whether it was there.
    fn delete(&mut self, name: &str) -> bool {
        self.aliases.retain(|_, collection| collection != name);
        self.collections.remove(name).is_some()
    }

    fn change_aliases(&mut self, actions: Vec<AliasOperations>) -> Result<(), Status> {
        let mut aliases = self.aliases.clone();
        for operation in actions {
            match operation.action {
                Some(Action::CreateAlias(create)) => {
                    let CreateAlias { collection_name: name, alias_name } = &create;
                    if !self.collections.contains_key(name) {
                        let missing = format!("Not found: Collection `{name}` doesn't exist!");
                        return Err(Status::not_found(missing));
                    }
                    check_free(self, alias_name)?;
                    aliases.insert(create.alias_name, create.collection_name);
                }
                Some(Action::RenameAlias(rename)) => {
                    let missing =
                        || Status::not_found(format!("Alias {} does not exist!", rename.old_alias_name));
                    let collection = aliases.remove(&rename.old_alias_name).ok_or_else(missing)?;
                    aliases.insert(rename.new_alias_name, collection);
                }
                Some(Action::DeleteAlias(delete)) => {
                    aliases.remove(&delete.alias_name);
                }
                None => return Err(Status::invalid_argument("an alias operation without an action")),
            }
        }
        self.aliases = aliases;
        Ok(())
    }
}

fn aliases(state: &State) -> impl Iterator<Item = AliasDescription> {
    state.aliases.iter().map(|(alias, collection)| AliasDescription {
        alias_name: alias.clone(),
        collection_name: collection.clone(),
    })
}

fn check_free(state: &State, name: &str) -> Result<(), Status> {
    if state.collections.contains_key(name) {
        return Err(Status::already_exists(format!("Wrong input: Collection `{name}` already exists!")));
    }
    Ok(())
}

/// As they were asked for, and the server's own where nothing was.
fn optimizers(asked: Option<OptimizersConfigDiff>) -> OptimizersConfigDiff {
    let asked = asked.unwrap_or_default();
    OptimizersConfigDiff { indexing_threshold: asked.indexing_threshold.or(Some(20_000)), ..asked }
}

pub(super) fn info(collection: &Collection) -> CollectionInfo {
    let created = &collection.created;
    let params = CollectionParams {
        shard_number: 1,
        vectors_config: created.vectors_config.clone(),
        sparse_vectors_config: created.sparse_vectors_config.clone(),
        ..CollectionParams::default()
    };
    CollectionInfo {
        status: CollectionStatus::Green.into(),
        segments_count: 1,
        config: Some(CollectionConfig {
            params: Some(params),
            metadata: collection.metadata.clone(),
            optimizer_config: Some(collection.optimizers),
            quantization_config: created.quantization_config,
            strict_mode_config: collection.strict.clone(),
            ..CollectionConfig::default()
        }),
        payload_schema: collection
            .indexed
            .iter()
            .map(|field| (field.clone(), PayloadSchemaInfo::default()))
            .collect(),
        points_count: Some(collection.points.len() as u64),
        ..CollectionInfo::default()
    }
}

fn done(result: bool) -> Result<Response<CollectionOperationResponse>, Status> {
    Ok(Response::new(CollectionOperationResponse { result, time: 0.0 }))
}
