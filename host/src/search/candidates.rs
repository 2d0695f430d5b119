//! What two rankings put forward, with its scores in both of them.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use uuid::Uuid;

use super::{Ranking, SearchRequest};
use crate::store::{Filter, Hit, Probe, Query, Store, StoreError};

/// Candidates that each ranking puts forward: four for each chunk asked for,
/// within these bounds.
pub(super) const BOUNDS: RangeInclusive<usize> = 50..=1000;

/// The candidates by vector and by words. A ranking without a probe has none.
///
/// Both rankings know every candidate, but for those that have no score in one:
/// words know only what has a word of the question. So they come in no order.
pub(super) async fn of(
    store: &dyn Store,
    request: &SearchRequest,
    by_vector: Option<Probe>,
    by_words: Option<Probe>,
) -> Result<(Vec<Hit>, Vec<Hit>), StoreError> {
    let (mut dense, mut sparse) =
        tokio::try_join!(best(store, request, by_vector.as_ref()), best(store, request, by_words.as_ref()),)?;
    let (more_dense, more_sparse) = tokio::try_join!(
        missing(store, request, by_vector, &dense, &sparse),
        missing(store, request, by_words, &sparse, &dense),
    )?;
    dense.extend(more_dense);
    sparse.extend(more_sparse);
    Ok((dense, sparse))
}

async fn best(
    store: &dyn Store,
    request: &SearchRequest,
    probe: Option<&Probe>,
) -> Result<Vec<Hit>, StoreError> {
    let Some(probe) = probe.cloned() else { return Ok(Vec::new()) };
    let query = Query { probe, filter: request.filter.clone(), limit: limit(request) };
    store.query(&request.collection, query).await
}

/// Scores those that only `others` has. A ranking that put forward fewer than
/// it might has no score for them.
async fn missing(
    store: &dyn Store,
    request: &SearchRequest,
    probe: Option<Probe>,
    seen: &[Hit],
    others: &[Hit],
) -> Result<Vec<Hit>, StoreError> {
    let Some(probe) = probe else { return Ok(Vec::new()) };
    let seen_ids: HashSet<Uuid> = seen.iter().map(|hit| hit.id).collect();
    let ids: Vec<Uuid> = others.iter().map(|hit| hit.id).filter(|id| !seen_ids.contains(id)).collect();
    if ids.is_empty() || seen.len() < limit(request) {
        return Ok(Vec::new());
    }
    let limit = ids.len();
    store.query(&request.collection, Query { probe, filter: Some(Filter::Ids(ids)), limit }).await
}

fn limit(request: &SearchRequest) -> usize {
    match request.ranking {
        Ranking::Hybrid => (4 * request.limit).clamp(*BOUNDS.start(), *BOUNDS.end()),
        Ranking::Dense | Ranking::Sparse => request.limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyzer::SparseVector;
    use crate::model::Embedding;
    use crate::store::{self, Collection, Payload, Point};

    const WORD: u32 = 7;

    /// Every point has a vector, those from 40 on have the word, and the later
    /// ones are the better the later by words, the worse by vector.
    fn point(n: u16) -> Point {
        let words = if 40 <= n { vec![WORD] } else { vec![] };
        Point {
            id: Uuid::from_u128(n.into()),
            dense: Embedding::new(vec![1.0, f32::from(n)]).unwrap(),
            sparse: SparseVector { weights: vec![f32::from(n); words.len()], terms: words },
            payload: Payload::default(),
        }
    }

    /// The number of points that each ranking scores, and of those that both do.
    async fn check(ranking: Ranking, n_points: u16, want: (usize, usize, usize)) {
        let folder = tempfile::tempdir().unwrap();
        let (store, _state) = store::open(&store::Config::default(), folder.path()).await.unwrap();
        let name = "docs".to_owned();
        let (model, space) = ("m".to_owned(), "0".to_owned());
        let (language, pipeline) = (None, String::new());
        let collection = Collection { name: name.clone(), model, dimensions: 2, space, language, pipeline };
        store.create(&collection).await.unwrap();
        store.upsert(&name, (0..n_points).map(point).collect()).await.unwrap();

        let by_vector = Probe::Dense(Embedding::new(vec![1.0, 0.0]).unwrap());
        let by_words = Probe::Sparse(SparseVector { terms: vec![WORD], weights: vec![1.0] });
        let request =
            SearchRequest { collection: name, question: String::new(), limit: 3, ranking, filter: None };
        let by_vector = (ranking != Ranking::Sparse).then_some(by_vector);
        let by_words = (ranking != Ranking::Dense).then_some(by_words);
        let (dense, sparse) = of(store.as_ref(), &request, by_vector, by_words).await.unwrap();
        let ids = |hits: &[Hit]| hits.iter().map(|hit| hit.id).collect::<HashSet<_>>();
        let n_both = ids(&dense).intersection(&ids(&sparse)).count();
        assert_eq!((dense.len(), sparse.len(), n_both), want);
    }

    #[tokio::test]
    async fn what_one_ranking_puts_forward_is_scored_in_the_other() {
        // By vector 0 to 49, of which ten have the word; by words 150 to 199.
        check(Ranking::Hybrid, 200, (100, 60, 60)).await;
    }

    #[tokio::test]
    async fn what_has_no_word_of_the_question_has_no_score_by_words() {
        check(Ranking::Hybrid, 60, (60, 20, 20)).await;
    }

    #[tokio::test]
    async fn a_ranking_alone_puts_forward_what_is_asked_for() {
        check(Ranking::Dense, 60, (3, 0, 0)).await;
        check(Ranking::Sparse, 60, (0, 3, 0)).await;
    }
}
