//! Collections in Qdrant, over gRPC.
//!
//! A collection's properties are kept in Qdrant's own collection metadata, where
//! a snapshot takes them along and no query can find them.

mod calls;
mod conditions;
mod generations;
mod properties;
mod wire;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use qdrant_client::qdrant::{
    CountPoints, CreateFieldIndexCollection, DeletePoints, FieldType, GetPoints, PointsUpdateOperation,
    ScrollPoints, UpdateBatchPoints, UpsertPoints, points_update_operation,
};
use uuid::Uuid;

use self::calls::said;
use self::properties::Known;
use super::checks::{check_points, check_probe};
use super::names::check_stored_name;
use super::{
    Collection, Config, Filter, Hit, Payload, Point, Quantisation, Query, Selection, Store, StoreError,
    TextHash, Tuning,
};
use crate::model::Embedding;

/// Points in one call, at most.
const MAX_POINTS: usize = 256;
/// Bytes in one call, at most: a quarter of Qdrant's write-ahead log segment.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Ids in one call, at most.
const MAX_IDS: usize = 1024;
/// Points in one answer, at most.
const MAX_PAGE: usize = 4096;
/// How much longer the client waits than the server is told to: the server's
/// answer says more than none.
const GRACE: Duration = Duration::from_secs(2);

/// The remote store.
pub(super) struct Qdrant {
    client: qdrant_client::Qdrant,
    url: String,
    timeout: Duration,
    max_repeats: u32,
    quantisation: Quantisation,
    /// Generations that were asked for, by name: what holds for one never changes.
    known: Mutex<HashMap<String, Arc<Known>>>,
}

impl Qdrant {
    /// # Errors
    /// The key file cannot be read, or nobody answers at `url`.
    pub(super) async fn connect(url: &str, config: &Config) -> Result<Self, StoreError> {
        let unreachable = |reason: String| StoreError::Unreachable { url: url.to_owned(), reason };
        let mut settings = qdrant_client::Qdrant::from_url(url)
            // A bulk write takes longer than the client's own 5 seconds, and a
            // call that it gives up on is sent again.
            .timeout(config.timeout.saturating_add(GRACE))
            .skip_compatibility_check();
        if let Some(path) = &config.api_key_file {
            let unreadable = |source| StoreError::KeyFile { path: path.display().to_string(), source };
            let key = tokio::fs::read_to_string(path).await.map_err(unreadable)?;
            settings = settings.api_key(key.trim());
        }
        let client = settings.build().map_err(|error| unreachable(said(&error)))?;
        client.health_check().await.map_err(|error| unreachable(said(&error)))?;
        let Config { timeout, max_repeats, quantisation, .. } = *config;
        let url = url.to_owned();
        Ok(Self { client, url, timeout, max_repeats, quantisation, known: Mutex::default() })
    }

    fn seconds(&self) -> Option<u64> {
        Some(self.timeout.as_secs().max(1))
    }

    fn seconds_for(&self, known: &Known) -> Option<u64> {
        self.seconds().map(|seconds| seconds.min(known.max_seconds))
    }
}

#[async_trait]
impl Store for Qdrant {
    async fn collection(&self, name: &str) -> Result<Option<Collection>, StoreError> {
        check_stored_name(name)?;
        Ok(self.find(name).await?.map(|known| known.collection))
    }

    async fn collections(&self) -> Result<Vec<Collection>, StoreError> {
        self.all().await
    }

    async fn create(&self, collection: &Collection) -> Result<(), StoreError> {
        check_stored_name(&collection.name)?;
        let known = self.create_generation(collection).await?;
        // Before the first point: the graph of vectors is built with them in mind.
        for (field, kind) in known.missing_indexes {
            self.index(&known.collection.name, field, kind).await?;
        }
        Ok(())
    }

    /// A collection that was not made by Embergate is refused, and so is not
    /// deleted. Aliases that led to it go with it.
    async fn drop_collection(&self, name: &str) -> Result<(), StoreError> {
        let known = self.known(name).await?;
        let name = &known.collection.name;
        self.forget(name);
        self.call(|| self.client.delete_collection(name)).await?;
        Ok(())
    }

    async fn aliases(&self) -> Result<BTreeMap<String, String>, StoreError> {
        self.own_aliases().await
    }

    async fn set_aliases(&self, changes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        changes.iter().try_for_each(|(alias, _)| check_stored_name(alias))?;
        self.change_aliases(changes).await
    }

    /// In one queue, all but the last call return once they are in the server's
    /// log, and the last one waits for all.
    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError> {
        let known = self.known(collection).await?;
        check_points(&known.collection, &points)?;
        let points = points.into_iter().map(wire::point).collect();
        let mut batches = wire::batches(points, known.max_points, MAX_BYTES).into_iter().peekable();
        while let Some(batch) = batches.next() {
            let request = UpsertPoints {
                collection_name: known.collection.name.clone(),
                wait: Some(!known.has_one_queue || batches.peek().is_none()),
                points: batch,
                timeout: self.seconds_for(&known),
                ..UpsertPoints::default()
            };
            self.write(|| self.client.upsert_points(request.clone())).await?;
        }
        Ok(())
    }

    async fn query(&self, collection: &str, query: Query) -> Result<Vec<Hit>, StoreError> {
        let known = self.known(collection).await?;
        check_probe(&known.collection, &query.probe)?;
        let request = wire::query(&known, query, self.seconds_for(&known))?;
        let answer = self.call(|| self.client.query(request.clone())).await?;
        let mut hits = answer.result.into_iter().map(wire::hit).collect::<Result<Vec<_>, _>>()?;
        hits.sort_by(|one, other| other.score.total_cmp(&one.score).then_with(|| one.id.cmp(&other.id)));
        Ok(hits)
    }

    async fn existing(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
        let known = self.known(collection).await?;
        let mut there = HashSet::new();
        for some in ids.chunks(MAX_IDS) {
            let request = GetPoints {
                collection_name: known.collection.name.clone(),
                ids: some.iter().map(wire::point_id).collect(),
                with_payload: Some(false.into()),
                timeout: self.seconds_for(&known),
                ..GetPoints::default()
            };
            let answer = self.call(|| self.client.get_points(request.clone())).await?;
            for point in answer.result {
                there.insert(wire::uuid(point.id)?);
            }
        }
        Ok(ids.iter().copied().filter(|id| there.contains(id)).collect())
    }

    async fn known_vectors(
        &self,
        collection: &str,
        texts: &[TextHash],
    ) -> Result<HashMap<TextHash, Embedding>, StoreError> {
        let known = self.known(collection).await?;
        let mut vectors = HashMap::new();
        let texts: Vec<TextHash> = texts.iter().copied().filter(TextHash::is_known).collect();
        for some in texts.chunks(known.max_values) {
            self.add_known_vectors(&known, some, &mut vectors).await?;
        }
        Ok(vectors)
    }

    async fn points(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Point>, StoreError> {
        let known = self.known(collection).await?;
        let mut found = HashMap::new();
        for some in ids.chunks(MAX_POINTS) {
            let request = GetPoints {
                collection_name: known.collection.name.clone(),
                ids: some.iter().map(wire::point_id).collect(),
                with_payload: Some(true.into()),
                with_vectors: Some(true.into()),
                timeout: self.seconds_for(&known),
                ..GetPoints::default()
            };
            let answer = self.call(|| self.client.get_points(request.clone())).await?;
            for point in answer.result {
                let point = wire::stored(point)?;
                found.insert(point.id, point);
            }
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    async fn page(
        &self,
        collection: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Point>, StoreError> {
        let known = self.known(collection).await?;
        // The server begins with the point that it is told.
        let Some(mut first) = after.map_or(Some(0), |id| id.as_u128().checked_add(1)) else {
            return Ok(Vec::new());
        };
        let mut points = Vec::new();
        while points.len() < limit {
            let request = ScrollPoints {
                collection_name: known.collection.name.clone(),
                offset: Some(wire::point_id(&Uuid::from_u128(first))),
                limit: Some((limit - points.len()).min(MAX_POINTS).min(known.max_page) as u32),
                with_payload: Some(true.into()),
                with_vectors: Some(true.into()),
                timeout: self.seconds_for(&known),
                ..ScrollPoints::default()
            };
            let answer = self.call(|| self.client.scroll(request.clone())).await?;
            for point in answer.result {
                points.push(wire::stored(point)?);
            }
            match answer.next_page_offset {
                Some(next) => first = wire::uuid(Some(next))?.as_u128(),
                None => break,
            }
        }
        Ok(points)
    }

    async fn delete(&self, collection: &str, selection: Selection) -> Result<(), StoreError> {
        let known = self.known(collection).await?;
        for selector in wire::selectors(selection, MAX_IDS)? {
            let request = DeletePoints {
                collection_name: known.collection.name.clone(),
                wait: Some(true),
                points: Some(selector),
                timeout: self.seconds_for(&known),
                ..DeletePoints::default()
            };
            self.write(|| self.client.delete_points(request.clone())).await?;
        }
        Ok(())
    }

    async fn count(&self, collection: &str, filter: Option<Filter>) -> Result<u64, StoreError> {
        let known = self.known(collection).await?;
        let request = CountPoints {
            collection_name: known.collection.name.clone(),
            filter: filter.as_ref().map(conditions::filter).transpose()?,
            exact: Some(true),
            timeout: self.seconds_for(&known),
            ..CountPoints::default()
        };
        let answer = self.call(|| self.client.count(request.clone())).await?;
        Ok(answer.result.unwrap_or_default().count)
    }

    /// Asks first which points are there: Qdrant refuses a payload without a point.
    async fn set_payload(&self, collection: &str, payloads: Vec<(Uuid, Payload)>) -> Result<(), StoreError> {
        let known = self.known(collection).await?;
        let ids: Vec<Uuid> = payloads.iter().map(|(id, _)| *id).collect();
        let there: HashSet<Uuid> = self.existing(&known.collection.name, &ids).await?.into_iter().collect();
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
        for batch in wire::batches(operations, known.max_points, MAX_BYTES) {
            let request = UpdateBatchPoints {
                collection_name: known.collection.name.clone(),
                wait: Some(true),
                operations: batch,
                timeout: self.seconds_for(&known),
                ..UpdateBatchPoints::default()
            };
            self.write_batch(request).await?;
        }
        Ok(())
    }

    async fn tune(&self, collection: &str, tuning: Tuning) -> Result<(), StoreError> {
        let known = self.known(collection).await?;
        self.set_tuning(&known.collection.name, tuning).await
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

    /// Adds the vectors of texts that the collection knows.
    ///
    /// Many points may be made of one text. Each page that is read settles one
    /// text at least, and the next one asks for the others only.
    async fn add_known_vectors(
        &self,
        known: &Known,
        texts: &[TextHash],
        vectors: &mut HashMap<TextHash, Embedding>,
    ) -> Result<(), StoreError> {
        let mut open = texts.to_vec();
        let mut offset = None;
        while !open.is_empty() {
            let request = ScrollPoints {
                collection_name: known.collection.name.clone(),
                filter: Some(conditions::made_of(&open)),
                offset,
                limit: Some(MAX_POINTS.min(known.max_page) as u32),
                with_payload: Some(vec!["text_hash"].into()),
                with_vectors: Some(vec![wire::DENSE].into()),
                timeout: self.seconds_for(known),
                ..ScrollPoints::default()
            };
            let answer = self.call(|| self.client.scroll(request.clone())).await?;
            for (text, vector) in answer.result.into_iter().filter_map(wire::known_vector) {
                if let Entry::Vacant(new) = vectors.entry(text) {
                    new.insert(vector?);
                }
            }
            open.retain(|text| !vectors.contains_key(text));
            offset = answer.next_page_offset;
            if offset.is_none() {
                break;
            }
        }
        Ok(())
    }
}
