//! Collections in Qdrant, over gRPC.
//!
//! A collection's properties are kept in Qdrant's own collection metadata, where
//! a snapshot takes them along and no query can find them.

mod wire;

use std::time::Duration;

use async_trait::async_trait;
use qdrant_client::QdrantError;
use qdrant_client::qdrant::{
    CountPoints, CreateFieldIndexCollection, DeletePoints, FieldType, GetPoints, PointsOperationResponse,
    PointsUpdateOperation, UpdateBatchPoints, UpdateStatus, UpsertPoints, points_update_operation,
};
use uuid::Uuid;

use super::{
    Collection, Config, Filter, Hit, Payload, Point, Query, Selection, Store, StoreError, check_name,
    check_points, check_probe, check_same,
};

/// Points in one call, at most.
const MAX_POINTS: usize = 256;
/// Bytes in one call, at most: a quarter of Qdrant's write-ahead log segment.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Ids in one call, at most.
const MAX_IDS: usize = 1024;
/// How often a call is repeated that found no server. All writes here may be
/// applied twice with the same result.
const MAX_RETRIES: u32 = 3;

/// The remote store.
pub(super) struct Qdrant {
    client: qdrant_client::Qdrant,
    url: String,
    timeout: Duration,
}

impl Qdrant {
    /// # Errors
    /// The key file cannot be read, or nobody answers at `url`.
    pub(super) async fn connect(url: &str, config: &Config) -> Result<Self, StoreError> {
        let unreachable = |reason: String| StoreError::Unreachable { url: url.to_owned(), reason };
        let mut settings = qdrant_client::Qdrant::from_url(url)
            // A bulk write takes longer than the client's own 5 seconds, and a
            // call that it gives up on is sent again.
            .timeout(config.timeout)
            .skip_compatibility_check();
        if let Some(path) = &config.api_key_file {
            let unreadable = |source| StoreError::KeyFile { path: path.display().to_string(), source };
            let key = tokio::fs::read_to_string(path).await.map_err(unreadable)?;
            settings = settings.api_key(key.trim());
        }
        let client = settings.build().map_err(|error| unreachable(said(&error)))?;
        client.health_check().await.map_err(|error| unreachable(said(&error)))?;
        Ok(Self { client, url: url.to_owned(), timeout: config.timeout })
    }

    async fn known(&self, name: &str) -> Result<Collection, StoreError> {
        match self.collection(name).await? {
            Some(collection) => Ok(collection),
            None => Err(super::no_collection(name, &self.collections().await?)),
        }
    }

    /// Repeats a call that may be repeated, while there is no server to take it.
    async fn call<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let mut n_retries = 0;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if n_retries == MAX_RETRIES || !is_transient(&error) {
                return Err(self.failed(error));
            }
            let pause = match &error {
                QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => {
                    Duration::from_secs(*retry_after_seconds).min(self.timeout)
                }
                _ => Duration::from_millis(100) * 2_u32.pow(n_retries),
            };
            tracing::warn!(error = said(&error), ?pause, "call to Qdrant failed and is repeated");
            tokio::time::sleep(pause).await;
            n_retries += 1;
        }
    }

    /// Repeats a write until the server says that it is applied.
    async fn write<F>(&self, mut call: impl FnMut() -> F) -> Result<(), StoreError>
    where
        F: Future<Output = Result<PointsOperationResponse, QdrantError>>,
    {
        // The server stopped waiting, not working. The same write again queues
        // behind the first, so that its answer covers both.
        for _ in 0..=MAX_RETRIES {
            let answer = self.call(&mut call).await?;
            if answer.result.is_some_and(|result| result.status() == UpdateStatus::Completed) {
                return Ok(());
            }
        }
        Err(failed(format!("Qdrant at `{}` did not apply a write within {:?}", self.url, self.timeout)))
    }

    fn failed(&self, error: QdrantError) -> StoreError {
        if is_transient(&error) {
            StoreError::Unreachable { url: self.url.clone(), reason: said(&error) }
        } else {
            StoreError::Failed(Box::new(error))
        }
    }

    fn seconds(&self) -> Option<u64> {
        Some(self.timeout.as_secs().max(1))
    }
}

#[async_trait]
impl Store for Qdrant {
    async fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError> {
        check_name(name)?;
        if !self.call(|| self.client.collection_exists(name)).await? {
            return Ok(None);
        }
        let answer = self.call(|| self.client.collection_info(name)).await?;
        wire::collection(name, answer.result.unwrap_or_default()).map(Some)
    }

    async fn collections(&self) -> Result<Vec<Collection>, StoreError> {
        let answer = self.call(|| self.client.list_collections()).await?;
        let mut collections = Vec::new();
        for description in answer.collections {
            match self.collection(&description.name).await {
                Ok(collection) => collections.extend(collection),
                // Other programs' collections live on the same server.
                Err(StoreError::NotOurs { .. } | StoreError::Name { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        collections.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(collections)
    }

    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        check_name(&collection.name)?;
        if self.collection(&collection.name).await?.is_none() {
            let created = self.client.create_collection(wire::create(collection, self.seconds())).await;
            // Another indexer may have been faster, and an answer may have been
            // lost: what counts is what is there now.
            if let Err(error) = created {
                match self.collection(&collection.name).await? {
                    Some(_) => {}
                    None => return Err(self.failed(error)),
                }
            }
        }
        check_same(&self.known(&collection.name).await?, collection)?;
        for (field, kind) in wire::INDEXES {
            self.index(&collection.name, field, kind).await?;
        }
        Ok(())
    }

    /// A collection that was not made by Embergate is refused, and so is not deleted.
    async fn drop_collection(&self, name: &str) -> Result<(), StoreError> {
        self.known(name).await?;
        self.call(|| self.client.delete_collection(name)).await?;
        Ok(())
    }

    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError> {
        check_points(&self.known(collection).await?, &points)?;
        let points = points.into_iter().map(wire::point).collect();
        for batch in wire::batches(points, MAX_POINTS, MAX_BYTES) {
            let request = UpsertPoints {
                collection_name: collection.to_owned(),
                wait: Some(true),
                points: batch,
                timeout: self.seconds(),
                ..UpsertPoints::default()
            };
            self.write(|| self.client.upsert_points(request.clone())).await?;
        }
        Ok(())
    }

    async fn query(&self, collection: &str, query: Query) -> Result<Vec<Hit>, StoreError> {
        check_probe(&self.known(collection).await?, &query.probe)?;
        let request = wire::query(collection, query, self.seconds())?;
        let answer = self.call(|| self.client.query(request.clone())).await?;
        let mut hits = answer.result.into_iter().map(wire::hit).collect::<Result<Vec<_>, _>>()?;
        hits.sort_by(|one, other| other.score.total_cmp(&one.score).then_with(|| one.id.cmp(&other.id)));
        Ok(hits)
    }

    async fn existing(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        self.known(collection).await?;
        let mut there = std::collections::HashSet::new();
        for some in ids.chunks(MAX_IDS) {
            let request = GetPoints {
                collection_name: collection.to_owned(),
                ids: some.iter().map(wire::point_id).collect(),
                with_payload: Some(false.into()),
                timeout: self.seconds(),
                ..GetPoints::default()
            };
            let answer = self.call(|| self.client.get_points(request.clone())).await?;
            for point in answer.result {
                there.insert(wire::uuid(point.id)?);
            }
        }
        Ok(ids.iter().copied().filter(|id| there.contains(id)).collect())
    }

    async fn delete(&self, collection: &str, selection: Selection) -> Result<(), StoreError> {
        self.known(collection).await?;
        for selector in wire::selectors(selection, MAX_IDS)? {
            let request = DeletePoints {
                collection_name: collection.to_owned(),
                wait: Some(true),
                points: Some(selector),
                timeout: self.seconds(),
                ..DeletePoints::default()
            };
            self.write(|| self.client.delete_points(request.clone())).await?;
        }
        Ok(())
    }

    async fn count(&self, collection: &str, filter: Option<Filter>) -> Result<u64, StoreError> {
        self.known(collection).await?;
        let request = CountPoints {
            collection_name: collection.to_owned(),
            filter: filter.as_ref().map(wire::filter).transpose()?,
            exact: Some(true),
            timeout: self.seconds(),
            ..CountPoints::default()
        };
        let answer = self.call(|| self.client.count(request.clone())).await?;
        Ok(answer.result.unwrap_or_default().count)
    }

    /// Asks first which points are there: Qdrant refuses a payload without a point.
    async fn set_payload(&self, collection: &str, payloads: Vec<(Uuid, Payload)>) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = payloads.iter().map(|(id, _)| *id).collect();
        let there: std::collections::HashSet<Uuid> =
            self.existing(collection, &ids).await?.into_iter().collect();
        let operations: Vec<(usize, PointsUpdateOperation)> = payloads
            .into_iter()
            .filter(|(id, _)| there.contains(id))
            .map(|(id, payload)| {
                let n_bytes = wire::payload_bytes(&payload);
                let overwrite = points_update_operation::OverwritePayload {
                    payload: wire::payload(payload),
                    points_selector: Some(wire::ids(&[id])),
                    ..Default::default()
                };
                (n_bytes, points_update_operation::Operation::OverwritePayload(overwrite).into())
            })
            .collect();
        for batch in wire::batches(operations, MAX_POINTS, MAX_BYTES) {
            let request = UpdateBatchPoints {
                collection_name: collection.to_owned(),
                wait: Some(true),
                operations: batch,
                timeout: self.seconds(),
                ..UpdateBatchPoints::default()
            };
            self.write_batch(request).await?;
        }
        Ok(())
    }
}

impl Qdrant {
    async fn index(&self, collection: &str, field: &str, kind: FieldType) -> Result<(), StoreError> {
        let request = CreateFieldIndexCollection {
            collection_name: collection.to_owned(),
            wait: Some(true),
            field_name: field.to_owned(),
            field_type: Some(kind.into()),
            timeout: self.seconds(),
            ..CreateFieldIndexCollection::default()
        };
        self.write(|| self.client.create_field_index(request.clone())).await
    }

    /// As `write`, for a call that answers for each operation.
    async fn write_batch(&self, request: UpdateBatchPoints) -> Result<(), StoreError> {
        self.write(|| {
            let answer = self.client.update_points_batch(request.clone());
            async {
                let results = answer.await?.result;
                // One that is not applied stands for all.
                let open = results.iter().find(|result| result.status() != UpdateStatus::Completed);
                let result = open.or(results.last()).copied();
                Ok(PointsOperationResponse { result, ..Default::default() })
            }
        })
        .await
    }
}

/// Whether the same call may succeed a little later.
fn is_transient(error: &QdrantError) -> bool {
    match error {
        QdrantError::ResourceExhaustedError { .. } | QdrantError::Io(_) => true,
        QdrantError::ResponseError { status } => {
            // `tonic::Code` by its number: the client does not export it. The
            // client says `Internal` when it cannot connect.
            let code = i32::from(status.code());
            const UNAVAILABLE: i32 = 14;
            const INTERNAL: i32 = 13;
            code == UNAVAILABLE || code == INTERNAL && status.message().contains("onnect")
        }
        _ => false,
    }
}

/// What the server said, without the client's dump of the answer's headers.
fn said(error: &QdrantError) -> String {
    match error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
            cause_in(status.message()).to_owned()
        }
        other => other.to_string(),
    }
}

/// Of a failure to connect, which the client shows with all its layers, the innermost message.
fn cause_in(message: &str) -> &str {
    if !message.contains("tonic::transport::Error") {
        return message;
    }
    message.rsplit('"').nth(1).unwrap_or(message)
}

fn failed(reason: String) -> StoreError {
    StoreError::Failed(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_failure_to_connect_the_cause_is_told() {
        let message = r#"Failed to connect to http://127.0.0.1:1/: tonic::transport::Error(Transport, ConnectError(ConnectError("tcp connect error", 127.0.0.1:1, Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })))"#;
        assert_eq!(cause_in(message), "Connection refused");
        assert_eq!(cause_in(r#"collection "docs" is gone"#), r#"collection "docs" is gone"#);
    }
}
