//! Two rankings → one, by scores.
//!
//! Ranks alone lose by how much one chunk beats the next, which is what tells a
//! ranking that is sure from one that guesses. Cosines are scaled from the least
//! to the greatest of the candidates, since a model's cosines all lie close
//! together; scores by words, whose zero means something, by their greatest.
//! A candidate's score is the mean of both parts, from 0 to 1.
//!
//! The candidates are those that either ranking puts forward, each with what it
//! scores in both. With the cosines of its own candidates alone a model that knows
//! little of a language would spread their small differences over the whole
//! scale, and whatever it did not put forward would lose half of its score.

use std::collections::HashMap;

use uuid::Uuid;

use super::Found;
use crate::store::Hit;

/// The best `limit` of both rankings; equal scores in the order of ids.
///
/// A candidate that has no score in a ranking gets nothing from it. Where one
/// ranking is empty, scores are those of the other as they are.
pub(super) fn fuse(dense: Vec<Hit>, sparse: Vec<Hit>, limit: usize) -> Vec<Found> {
    let is_fused = !dense.is_empty() && !sparse.is_empty();
    let lowest = dense.iter().map(|hit| hit.score).fold(f32::INFINITY, f32::min);
    let highest = dense.iter().map(|hit| hit.score).fold(f32::NEG_INFINITY, f32::max);
    let most = sparse.iter().map(|hit| hit.score).fold(0.0, f32::max);

    let mut found: HashMap<Uuid, Found> = HashMap::new();
    for Hit { id, score, payload } in dense {
        let share = if is_fused { scaled(score - lowest, highest - lowest) / 2.0 } else { score };
        found.insert(id, Found { id, score: share, dense: Some(score), sparse: None, payload });
    }
    for Hit { id, score, payload } in sparse {
        let share = if is_fused { scaled(score, most) / 2.0 } else { score };
        let entry = found.entry(id).or_insert(Found { id, score: 0.0, dense: None, sparse: None, payload });
        entry.score += share;
        entry.sparse = Some(score);
    }

    let mut found: Vec<Found> = found.into_values().collect();
    found.sort_by(|one, other| other.score.total_cmp(&one.score).then_with(|| one.id.cmp(&other.id)));
    found.truncate(limit);
    found
}

/// A part of a whole; all of it where there is no whole to be a part of.
fn scaled(part: f32, whole: f32) -> f32 {
    if 0.0 < whole { part / whole } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Payload;

    fn hits(scores: &[(u128, f32)]) -> Vec<Hit> {
        scores
            .iter()
            .map(|(id, score)| Hit { id: Uuid::from_u128(*id), score: *score, payload: Payload::default() })
            .collect()
    }

    #[track_caller]
    fn check(dense: &[(u128, f32)], sparse: &[(u128, f32)], want: &[(u128, f32)]) {
        let got: Vec<(u128, f32)> = fuse(hits(dense), hits(sparse), 3)
            .into_iter()
            .map(|found| (found.id.as_u128(), found.score))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn both_rankings_count_the_same() {
        check(&[(1, 0.9), (2, 0.5), (3, 0.1)], &[(2, 8.0), (3, 4.0)], &[(2, 0.75), (1, 0.5), (3, 0.25)]);
    }

    #[test]
    fn a_chunk_without_a_word_of_the_question_gets_nothing_for_words() {
        check(&[(1, 0.9), (2, 0.1), (3, 0.1)], &[(3, 4.0)], &[(1, 0.5), (3, 0.5), (2, 0.0)]);
    }

    #[test]
    fn the_cosine_of_what_words_alone_put_forward_counts_and_sets_the_scale() {
        check(&[(1, 0.5), (2, 0.4), (3, 0.1)], &[(2, 8.0), (3, 8.0)], &[(2, 0.875), (1, 0.5), (3, 0.5)]);
    }

    #[test]
    fn a_ranking_alone_keeps_its_scores() {
        check(&[(1, 0.9), (2, 0.5)], &[], &[(1, 0.9), (2, 0.5)]);
        check(&[], &[(2, 7.5)], &[(2, 7.5)]);
        check(&[], &[], &[]);
    }

    #[test]
    fn equal_scores_come_in_the_order_of_ids_and_no_more_than_asked_for() {
        check(&[(4, 0.5), (2, 0.5), (3, 0.5), (1, 0.5)], &[], &[(1, 0.5), (2, 0.5), (3, 0.5)]);
    }

    #[test]
    fn the_best_of_both_rankings_scores_one() {
        check(&[(1, 0.2)], &[(1, 3.0)], &[(1, 1.0)]);
        check(&[(1, 0.9), (2, 0.1)], &[(1, 8.0), (2, 4.0)], &[(1, 1.0), (2, 0.25)]);
    }
}
