//! The best points: an exact scan over vectors, and postings for words.

use std::collections::{HashMap, HashSet};

use pulp::Arch;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use uuid::Uuid;

use super::segments::{self, Segment};
use super::{points, sql};
use crate::analyzer::SparseVector;
use crate::model::Embedding;
use crate::store::scan::{Best, Scored, dot, normalised};
use crate::store::{Filter, Hit, Probe, Query, StoreError};

pub(super) fn run(connection: &Connection, collection: i64, query: &Query) -> Result<Vec<Hit>, StoreError> {
    let filter = query.filter.as_ref();
    let best = match &query.probe {
        Probe::Dense(embedding) => by_cosine(connection, collection, embedding, filter, query.limit)?,
        Probe::Sparse(vector) => by_words(connection, collection, vector, filter, query.limit)?,
    };
    let hit = |scored: Scored| {
        let (id, payload) = points::read(connection, scored.number)?;
        Ok(Hit { id, score: scored.score, payload })
    };
    best.into_iter().map(hit).collect()
}

/// Scores every vector of the collection. Both sides have norm 1.
fn by_cosine(
    connection: &Connection,
    collection: i64,
    question: &Embedding,
    filter: Option<&Filter>,
    limit: usize,
) -> Result<Vec<Scored>, StoreError> {
    let (arch, question) = (Arch::new(), normalised(question.values()));
    let (first, last) = points::range(collection);
    let mut values: Vec<Value> = vec![collection.into(), first.into(), last.into()];
    let from = match filter {
        None => "FROM vectors WHERE point BETWEEN ?2 AND ?3".to_owned(),
        Some(filter) => {
            let condition = sql::compile(Some(filter))?;
            values.extend(condition.values);
            format!(
                "FROM points JOIN vectors ON vectors.point = points.number
                 WHERE points.number BETWEEN ?2 AND ?3 AND {}",
                condition.sql
            )
        }
    };
    let mut statement =
        connection.prepare(&format!("SELECT vectors.point, vectors.id, vectors.value {from}"))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut best = Best::new(limit);
    while let Some(row) = rows.next()? {
        let score = dot(arch, &question, row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?);
        if best.may_take(score) {
            best.show(Scored { score, id: Uuid::from_bytes(row.get(1)?), number: row.get(0)? });
        }
    }
    Ok(best.into_sorted())
}

/// Adds up the products of weights, each term weighted by how rare it is.
fn by_words(
    connection: &Connection,
    collection: i64,
    question: &SparseVector,
    filter: Option<&Filter>,
    limit: usize,
) -> Result<Vec<Scored>, StoreError> {
    let segments = Segment::all(connection, collection)?;
    let n_points = segments::count(connection, collection)?;
    let mut scores: HashMap<i64, f32> = HashMap::new();
    let (mut found, mut postings) = (Vec::new(), Vec::new());
    for (term, weight) in question.terms.iter().zip(&question.weights) {
        found.clear();
        for segment in &segments {
            segment.postings(connection, *term, &mut postings)?;
            found.extend(postings.iter().map(|(offset, weight)| (segment.point(*offset), *weight)));
        }
        let factor = weight * rarity(n_points, found.len());
        for (point, weight) in &found {
            *scores.entry(*point).or_default() += factor * weight;
        }
    }
    if let Some(filter) = filter {
        let matching: HashSet<i64> = points::matching(connection, collection, filter)?.into_iter().collect();
        scores.retain(|point, _| matching.contains(point));
    }
    best_of(connection, scores, limit)
}

/// The inverse document frequency of a term that `n_with` of `n_points` have.
///
/// Robertson and Spärck Jones' weight with 1 added inside the logarithm, so
/// that it never is negative: as Qdrant's `idf` modifier has it.
fn rarity(n_points: u64, n_with: usize) -> f32 {
    let (all, with) = (n_points as f32, n_with as f32);
    (1.0 + (all - with + 0.5) / (with + 0.5)).ln()
}

/// Looks up the ids of those only that may be among the best: ids decide between equals.
fn best_of(
    connection: &Connection,
    scores: HashMap<i64, f32>,
    limit: usize,
) -> Result<Vec<Scored>, StoreError> {
    let mut scores: Vec<(i64, f32)> = scores.into_iter().collect();
    scores.sort_unstable_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut best = Best::new(limit);
    let mut statement = connection.prepare_cached("SELECT id FROM points WHERE number = ?1")?;
    for (number, score) in scores {
        if !best.may_take(score) {
            break;
        }
        let id = statement.query_row([number], |row| row.get(0))?;
        best.show(Scored { score, id: Uuid::from_bytes(id), number });
    }
    Ok(best.into_sorted())
}
