//! Calls on points.

use std::collections::HashMap;

use ::qdrant_client::qdrant::point_id::PointIdOptions;
use ::qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use ::qdrant_client::qdrant::points_server::Points;
use ::qdrant_client::qdrant::points_update_operation::Operation;
use ::qdrant_client::qdrant::*;
use tonic::{Request, Response, Status};

use super::{Collection, Fault, Point, Shared, State, filter, limits, scores};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Points for Shared {
    async fn upsert(&self, request: Request<UpsertPoints>) -> Answer<PointsOperationResponse> {
        let request = request.into_inner();
        let n_points = request.points.len();
        self.write(n_points, request.wait, |state| {
            let collection = state.collection(&request.collection_name)?;
            limits::upsert(collection, n_points)?;
            limits::timeout(collection, request.timeout)?;
            let points = request.points.into_iter().map(|point| read(collection, point));
            let points = points.collect::<Result<Vec<_>, _>>()?;
            collection.points.extend(points);
            Ok(())
        })
        .await
    }

    async fn delete(&self, request: Request<DeletePoints>) -> Answer<PointsOperationResponse> {
        let request = request.into_inner();
        self.write(1, request.wait, |state| {
            let collection = state.collection(&request.collection_name)?;
            for id in selected(collection, request.points)? {
                collection.points.remove(&id);
            }
            Ok(())
        })
        .await
    }

    async fn get(&self, request: Request<GetPoints>) -> Answer<GetResponse> {
        self.pass().await;
        let request = request.into_inner();
        let mut state = self.lock();
        let collection = state.collection(&request.collection_name)?;
        let ids = request.ids.into_iter().map(|id| uuid(Some(id))).collect::<Result<Vec<_>, _>>()?;
        let there = ids.into_iter().filter_map(|id| collection.points.get_key_value(&id));
        let vectors = request.with_vectors;
        let result = there.map(|(id, point)| retrieved(id, point, &request.with_payload, &vectors)).collect();
        Ok(Response::new(GetResponse { result, ..GetResponse::default() }))
    }

    async fn set_payload(&self, request: Request<SetPayloadPoints>) -> Answer<PointsOperationResponse> {
        let request = request.into_inner();
        self.write(1, request.wait, |state| {
            change(state.collection(&request.collection_name)?, request.points_selector, |payload| {
                payload.extend(request.payload.clone());
            })
        })
        .await
    }

    async fn overwrite_payload(&self, request: Request<SetPayloadPoints>) -> Answer<PointsOperationResponse> {
        let request = request.into_inner();
        self.write(1, request.wait, |state| {
            change(state.collection(&request.collection_name)?, request.points_selector, |payload| {
                payload.clone_from(&request.payload);
            })
        })
        .await
    }

    async fn create_field_index(
        &self,
        request: Request<CreateFieldIndexCollection>,
    ) -> Answer<PointsOperationResponse> {
        let request = request.into_inner();
        let mut state = self.lock();
        let collection = state.collection(&request.collection_name)?;
        limits::indexes(collection)?;
        let indexed = &mut collection.indexed;
        if !indexed.contains(&request.field_name) {
            indexed.push(request.field_name);
        }
        applied(UpdateStatus::Completed)
    }

    async fn count(&self, request: Request<CountPoints>) -> Answer<CountResponse> {
        self.pass().await;
        let request = request.into_inner();
        let mut state = self.lock();
        let collection = state.collection(&request.collection_name)?;
        let count = matching(collection, request.filter.as_ref())?.len() as u64;
        Ok(Response::new(CountResponse { result: Some(CountResult { count }), ..CountResponse::default() }))
    }

    async fn update_batch(&self, request: Request<UpdateBatchPoints>) -> Answer<UpdateBatchResponse> {
        let request = request.into_inner();
        let n_operations = request.operations.len();
        let answer = self
            .write(n_operations, request.wait, |state| {
                let collection = state.collection(&request.collection_name)?;
                for operation in request.operations {
                    match operation.operation {
                        Some(Operation::OverwritePayload(overwrite)) => {
                            change(collection, overwrite.points_selector, |payload| {
                                payload.clone_from(&overwrite.payload);
                            })?;
                        }
                        _ => return Err(Status::unimplemented("this operation in a batch")),
                    }
                }
                Ok(())
            })
            .await?;
        let result = answer.into_inner().result;
        let result = result.into_iter().cycle().take(n_operations).collect();
        Ok(Response::new(UpdateBatchResponse { result, ..UpdateBatchResponse::default() }))
    }

    async fn query(&self, request: Request<QueryPoints>) -> Answer<QueryResponse> {
        self.pass().await;
        let request = request.into_inner();
        let mut state = self.lock();
        let collection = state.collection(&request.collection_name)?;
        limits::page(collection, request.limit)?;
        limits::filter(collection, request.filter.as_ref())?;
        let rescored = request.params.and_then(|params| params.quantization).and_then(|how| how.rescore);
        let using = request.using.unwrap_or_default();
        let score = scorer(collection, using, request.query)?;
        let mut found = Vec::new();
        for (id, point) in matching(collection, request.filter.as_ref())? {
            if let Some(score) = score(point) {
                found.push(ScoredPoint {
                    id: Some(id.as_str().into()),
                    payload: point.payload.clone(),
                    score,
                    ..ScoredPoint::default()
                });
            }
        }
        found.sort_by(|one, other| other.score.total_cmp(&one.score));
        found.truncate(request.limit.unwrap_or(10) as usize);
        state.rescored = rescored;
        Ok(Response::new(QueryResponse { result: found, ..QueryResponse::default() }))
    }

    async fn scroll(&self, request: Request<ScrollPoints>) -> Answer<ScrollResponse> {
        self.pass().await;
        let request = request.into_inner();
        let mut state = self.lock();
        let collection = state.collection(&request.collection_name)?;
        limits::page(collection, request.limit.map(u64::from))?;
        limits::filter(collection, request.filter.as_ref())?;
        let from = request.offset.map(|id| uuid(Some(id))).transpose()?.unwrap_or_default();
        let mut rest =
            matching(collection, request.filter.as_ref())?.into_iter().filter(|(id, _)| from <= **id);
        let limit = request.limit.unwrap_or(10) as usize;
        let (payload, vectors) = (request.with_payload, request.with_vectors);
        let page = rest.by_ref().take(limit);
        let result = page.map(|(id, point)| retrieved(id, point, &payload, &vectors)).collect();
        let next_page_offset = rest.next().map(|(id, _)| id.as_str().into());
        Ok(Response::new(ScrollResponse { result, next_page_offset, ..ScrollResponse::default() }))
    }

    async fn update_vectors(
        &self,
        _: Request<UpdatePointVectors>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        Err(Status::unimplemented("update_vectors"))
    }

    async fn delete_vectors(
        &self,
        _: Request<DeletePointVectors>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        Err(Status::unimplemented("delete_vectors"))
    }

    async fn delete_payload(
        &self,
        _: Request<DeletePayloadPoints>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        Err(Status::unimplemented("delete_payload"))
    }

    async fn clear_payload(
        &self,
        _: Request<ClearPayloadPoints>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        Err(Status::unimplemented("clear_payload"))
    }

    async fn delete_field_index(
        &self,
        _: Request<DeleteFieldIndexCollection>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        Err(Status::unimplemented("delete_field_index"))
    }

    async fn create_vector_name(
        &self,
        _: Request<CreateVectorNameRequest>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        Err(Status::unimplemented("create_vector_name"))
    }

    async fn delete_vector_name(
        &self,
        _: Request<DeleteVectorNameRequest>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        Err(Status::unimplemented("delete_vector_name"))
    }

    async fn search(&self, _: Request<SearchPoints>) -> Result<Response<SearchResponse>, Status> {
        Err(Status::unimplemented("search"))
    }

    async fn search_batch(
        &self,
        _: Request<SearchBatchPoints>,
    ) -> Result<Response<SearchBatchResponse>, Status> {
        Err(Status::unimplemented("search_batch"))
    }

    async fn search_groups(
        &self,
        _: Request<SearchPointGroups>,
    ) -> Result<Response<SearchGroupsResponse>, Status> {
        Err(Status::unimplemented("search_groups"))
    }

    async fn recommend(&self, _: Request<RecommendPoints>) -> Result<Response<RecommendResponse>, Status> {
        Err(Status::unimplemented("recommend"))
    }

    async fn recommend_batch(
        &self,
        _: Request<RecommendBatchPoints>,
    ) -> Result<Response<RecommendBatchResponse>, Status> {
        Err(Status::unimplemented("recommend_batch"))
    }

    async fn recommend_groups(
        &self,
        _: Request<RecommendPointGroups>,
    ) -> Result<Response<RecommendGroupsResponse>, Status> {
        Err(Status::unimplemented("recommend_groups"))
    }

    async fn discover(&self, _: Request<DiscoverPoints>) -> Result<Response<DiscoverResponse>, Status> {
        Err(Status::unimplemented("discover"))
    }

    async fn discover_batch(
        &self,
        _: Request<DiscoverBatchPoints>,
    ) -> Result<Response<DiscoverBatchResponse>, Status> {
        Err(Status::unimplemented("discover_batch"))
    }

    async fn query_batch(
        &self,
        _: Request<QueryBatchPoints>,
    ) -> Result<Response<QueryBatchResponse>, Status> {
        Err(Status::unimplemented("query_batch"))
    }

    async fn query_groups(
        &self,
        _: Request<QueryPointGroups>,
    ) -> Result<Response<QueryGroupsResponse>, Status> {
        Err(Status::unimplemented("query_groups"))
    }

    async fn facet(&self, _: Request<FacetCounts>) -> Result<Response<FacetResponse>, Status> {
        Err(Status::unimplemented("facet"))
    }

    async fn search_matrix_pairs(
        &self,
        _: Request<SearchMatrixPoints>,
    ) -> Result<Response<SearchMatrixPairsResponse>, Status> {
        Err(Status::unimplemented("search_matrix_pairs"))
    }

    async fn search_matrix_offsets(
        &self,
        _: Request<SearchMatrixPoints>,
    ) -> Result<Response<SearchMatrixOffsetsResponse>, Status> {
        Err(Status::unimplemented("search_matrix_offsets"))
    }
}

impl Shared {
    /// Applies a write, unless a fault is due.
    async fn write(
        &self,
        n_points: usize,
        wait: Option<bool>,
        apply: impl FnOnce(&mut State) -> Result<(), Status>,
    ) -> Answer<PointsOperationResponse> {
        self.pass().await;
        let fault = self.apply(n_points, wait, apply)?;
        self.applied().await;
        match fault {
            Some(Fault::AnswerLost) => Err(Status::unavailable("the connection broke")),
            Some(Fault::WaitTimeout) => applied(UpdateStatus::WaitTimeout),
            Some(Fault::ClockRejected) => applied(UpdateStatus::ClockRejected),
            Some(Fault::Silent) => std::future::pending().await,
            _ if wait == Some(true) => applied(UpdateStatus::Completed),
            _ => applied(UpdateStatus::Acknowledged),
        }
    }

    /// Returns what is wrong with the answer.
    fn apply(
        &self,
        n_points: usize,
        wait: Option<bool>,
        apply: impl FnOnce(&mut State) -> Result<(), Status>,
    ) -> Result<Option<Fault>, Status> {
        let mut state = self.lock();
        state.writes.push(n_points);
        state.waits.push(wait.unwrap_or_default());
        let fault = state.faults.pop_front().flatten();
        match fault {
            Some(Fault::Unavailable) => return Err(Status::unavailable("the shard is not there")),
            Some(Fault::Refused) => return Err(Status::invalid_argument("Wrong input: refused")),
            Some(Fault::Exhausted(seconds)) => return Err(exhausted(seconds)),
            Some(Fault::ClockRejected) => {}
            Some(Fault::Silent | Fault::AnswerLost | Fault::WaitTimeout) | None => apply(&mut state)?,
        }
        Ok(fault)
    }
}

fn exhausted(seconds: u32) -> Status {
    let mut status = Status::resource_exhausted("Rate limiting exceeded: Write rate limit exceeded");
    status.metadata_mut().insert("retry-after", seconds.into());
    status
}

/// Checks a point against its collection, as the real one before it writes any.
fn read(collection: &Collection, message: PointStruct) -> Result<(String, Point), Status> {
    let id = uuid(message.id)?;
    let mut point = Point { payload: message.payload, ..Point::default() };
    let Some(vectors::VectorsOptions::Vectors(named)) = message.vectors.and_then(|v| v.vectors_options)
    else {
        return Err(Status::invalid_argument("Wrong input: Not existing vector name error: "));
    };
    for (name, vector) in named.vectors {
        match vector.vector {
            Some(vector::Vector::Dense(dense)) => {
                check_size(collection, &name, &dense)?;
                point.dense.insert(name, scores::normalised(dense));
            }
            Some(vector::Vector::Sparse(sparse)) => {
                check_sparse(collection, &name, &sparse)?;
                point.sparse.insert(name, sparse);
            }
            _ => return Err(Status::unimplemented("this kind of vector")),
        }
    }
    Ok((id, point))
}

fn check_size(collection: &Collection, name: &str, vector: &DenseVector) -> Result<(), Status> {
    let config = collection.created.vectors_config.as_ref().and_then(|vectors| vectors.config.as_ref());
    let size = match config {
        Some(vectors_config::Config::ParamsMap(named)) => named.map.get(name).map(|params| params.size),
        _ => None,
    };
    match size {
        None => Err(Status::invalid_argument(format!("Wrong input: Not existing vector name error: {name}"))),
        Some(size) if size != vector.data.len() as u64 => Err(Status::invalid_argument(format!(
            "Wrong input: Vector dimension error: expected dim: {size}, got {}",
            vector.data.len()
        ))),
        Some(_) => Ok(()),
    }
}

fn check_sparse(collection: &Collection, name: &str, vector: &SparseVector) -> Result<(), Status> {
    let config = collection.created.sparse_vectors_config.as_ref();
    if !config.is_some_and(|sparse| sparse.map.contains_key(name)) {
        return Err(Status::invalid_argument(format!("Wrong input: Not existing vector name error: {name}")));
    }
    if vector.indices.len() != vector.values.len() {
        return Err(Status::invalid_argument("Validation error: values: must be the same length as indices"));
    }
    Ok(())
}

type Scorer = Box<dyn Fn(&Point) -> Option<f32>>;

fn scorer(collection: &Collection, using: String, question: Option<Query>) -> Result<Scorer, Status> {
    let Some(query::Variant::Nearest(nearest)) = question.and_then(|question| question.variant) else {
        return Err(Status::unimplemented("a query that is not for the nearest"));
    };
    match nearest.variant {
        Some(vector_input::Variant::Dense(question)) => {
            check_size(collection, &using, &question)?;
            Ok(Box::new(move |point| Some(scores::cosine(&question, point.dense.get(&using)?))))
        }
        Some(vector_input::Variant::Sparse(question)) => {
            check_sparse(collection, &using, &question)?;
            let rarities = scores::rarities(&collection.points, &using, &question);
            Ok(Box::new(move |point| scores::words(&question, &rarities, point.sparse.get(&using)?)))
        }
        _ => Err(Status::unimplemented("this kind of question")),
    }
}

fn matching<'c>(
    collection: &'c Collection,
    wanted: Option<&Filter>,
) -> Result<Vec<(&'c String, &'c Point)>, Status> {
    let mut found = Vec::new();
    for (id, point) in &collection.points {
        if wanted.map_or(Ok(true), |wanted| filter::matches(wanted, id, &point.payload))? {
            found.push((id, point));
        }
    }
    Ok(found)
}

fn selected(collection: &Collection, selector: Option<PointsSelector>) -> Result<Vec<String>, Status> {
    match selector.and_then(|selector| selector.points_selector_one_of) {
        Some(PointsSelectorOneOf::Points(list)) => list.ids.into_iter().map(|id| uuid(Some(id))).collect(),
        Some(PointsSelectorOneOf::Filter(wanted)) => {
            Ok(matching(collection, Some(&wanted))?.into_iter().map(|(id, _)| id.clone()).collect())
        }
        None => Err(Status::invalid_argument("PointsSelector is missing")),
    }
}

/// Refuses a point that is not there, as the real one.
fn change(
    collection: &mut Collection,
    selector: Option<PointsSelector>,
    mut change: impl FnMut(&mut HashMap<String, Value>),
) -> Result<(), Status> {
    for id in selected(collection, selector)? {
        let missing = || Status::not_found(format!("Not found: No point with id {id} found"));
        change(&mut collection.points.get_mut(&id).ok_or_else(missing)?.payload);
    }
    Ok(())
}

fn retrieved(
    id: &str,
    point: &Point,
    with_payload: &Option<WithPayloadSelector>,
    with_vectors: &Option<WithVectorsSelector>,
) -> RetrievedPoint {
    use with_payload_selector::SelectorOptions as Payloads;
    use with_vectors_selector::SelectorOptions as Vectors;
    let has_field = |field: &str| match with_payload.as_ref().and_then(|with| with.selector_options.as_ref())
    {
        Some(Payloads::Enable(enable)) => *enable,
        Some(Payloads::Include(include)) => include.fields.iter().any(|name| name == field),
        Some(Payloads::Exclude(exclude)) => exclude.fields.iter().all(|name| name != field),
        // The real one sends it unless it is told not to.
        None => true,
    };
    let has_vector =
        |vector: &str| match with_vectors.as_ref().and_then(|with| with.selector_options.as_ref()) {
            Some(Vectors::Enable(enable)) => *enable,
            Some(Vectors::Include(include)) => include.names.iter().any(|name| name == vector),
            None => false,
        };
    let payload = point.payload.iter().filter(|(field, _)| has_field(field));
    let output = |vector| VectorOutput { vector: Some(vector), ..VectorOutput::default() };
    let dense = point
        .dense
        .iter()
        .filter(|(name, _)| has_vector(name))
        .map(|(name, vector)| (name.clone(), output(vector_output::Vector::Dense(vector.clone()))));
    let sparse = point
        .sparse
        .iter()
        .filter(|(name, _)| has_vector(name))
        .map(|(name, vector)| (name.clone(), output(vector_output::Vector::Sparse(vector.clone()))));
    let named = NamedVectorsOutput { vectors: dense.chain(sparse).collect() };
    RetrievedPoint {
        id: Some(id.into()),
        payload: payload.map(|(field, value)| (field.clone(), value.clone())).collect(),
        vectors: Some(VectorsOutput {
            vectors_options: Some(vectors_output::VectorsOptions::Vectors(named)),
        }),
        ..RetrievedPoint::default()
    }
}

/// Only UUIDs: Embergate gives no other ids.
fn uuid(id: Option<PointId>) -> Result<String, Status> {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Uuid(id)) => Ok(id),
        _ => Err(Status::unimplemented("ids that are numbers")),
    }
}

fn applied(status: UpdateStatus) -> Answer<PointsOperationResponse> {
    let result = Some(UpdateResult { operation_id: Some(1), status: status.into() });
    Ok(Response::new(PointsOperationResponse { result, ..PointsOperationResponse::default() }))
}
