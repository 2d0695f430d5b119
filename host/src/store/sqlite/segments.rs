//! Segments: the postings of points that were written together.
//!
//! A list of postings that grew in place would have a page of the file written
//! again for each term of each point. So what is written together gets lists of
//! its own, a segment, which is written once, from one end to the other. Small
//! segments are merged into larger ones as they become many, each point a number
//! of times that grows with the logarithm of all: few segments are left to look
//! into. A point that is deleted stays in its lists and is noted in its segment
//! as gone, until that is merged, or so much of it is gone that it is written again.

use std::ops::Range;

use rusqlite::{Connection, Row, Transaction, params};

use super::postings::{self, Cursor, Posting, Writer};
use crate::analyzer::SparseVector;
use crate::store::StoreError;

/// Segments of about one size, at most, before they are merged.
const MAX_ALIKE: usize = 8;
/// Points of the smallest size; each next one is `MAX_ALIKE` times that.
const SMALLEST: u64 = 4;

/// The postings of points whose numbers lie side by side.
pub(super) struct Segment {
    number: i64,
    /// The number of its first point, and how many numbers it spans.
    first: i64,
    length: u32,
    /// Points that it was written with, and those that are left.
    n_written: u64,
    n_points: u64,
    /// Offsets of points that are gone since, ascending.
    gone: Vec<u32>,
}

impl Segment {
    /// All of a collection, in the order of their points.
    pub(super) fn all(connection: &Connection, collection: i64) -> rusqlite::Result<Vec<Self>> {
        let mut statement = connection.prepare_cached(
            "SELECT number, first, length, n_written, n_points, gone FROM segments
             WHERE collection = ?1 ORDER BY first",
        )?;
        statement.query_map([collection], Self::from_row)?.collect()
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (gone, _) = row.get_ref(5)?.as_blob()?.as_chunks::<4>();
        Ok(Self {
            number: row.get(0)?,
            first: row.get(1)?,
            length: row.get(2)?,
            n_written: row.get::<_, i64>(3)?.cast_unsigned(),
            n_points: row.get::<_, i64>(4)?.cast_unsigned(),
            gone: gone.iter().map(|four| u32::from_le_bytes(*four)).collect(),
        })
    }

    /// The points of this segment that have a term, with its weights, in `postings`.
    pub(super) fn postings(
        &self,
        connection: &Connection,
        term: u32,
        postings: &mut Vec<Posting>,
    ) -> Result<(), StoreError> {
        postings::of_term(connection, self.number, term, postings)?;
        if !self.gone.is_empty() {
            let mut is_gone = self.gone_in_order();
            postings.retain(|(offset, _)| !is_gone(*offset));
        }
        Ok(())
    }

    /// The number of the point at an offset.
    pub(super) fn point(&self, offset: u32) -> i64 {
        self.first + i64::from(offset)
    }

    fn numbers(&self) -> Range<i64> {
        self.first..self.first + i64::from(self.length)
    }

    /// Asks for ascending offsets whether their points are gone.
    fn gone_in_order(&self) -> impl FnMut(u32) -> bool {
        let mut gone = self.gone.iter().copied().peekable();
        move |offset| {
            while gone.next_if(|gone| *gone < offset).is_some() {}
            gone.peek() == Some(&offset)
        }
    }
}

/// How many points a collection has: each is in one segment.
pub(super) fn count(connection: &Connection, collection: i64) -> rusqlite::Result<u64> {
    let mut statement =
        connection.prepare_cached("SELECT total(n_points) FROM segments WHERE collection = ?1")?;
    statement.query_row([collection], |row| Ok(row.get::<_, f64>(0)? as u64))
}

/// Adds the words of new points, whose numbers ascend and are more than all before.
pub(super) fn add(
    transaction: &Transaction<'_>,
    collection: i64,
    points: &[(i64, &SparseVector)],
) -> Result<(), StoreError> {
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else { return Ok(()) };
    let mut words: Vec<(u32, u32, f32)> = Vec::new();
    for (number, vector) in points {
        let (offset, weighed) = ((number - first) as u32, vector.terms.iter().zip(&vector.weights));
        words.extend(weighed.map(|(term, weight)| (*term, offset, *weight)));
    }
    words.sort_unstable_by_key(|(term, offset, _)| u64::from(*term) << 32 | u64::from(*offset));
    let number = insert(transaction, collection, *first, (last - first + 1) as u32, points.len() as u64)?;
    let mut writer = Writer::new(transaction, number);
    for list in words.chunk_by(|(one, ..), (other, ..)| one == other) {
        writer.add(list[0].0, list.iter().map(|(_, offset, weight)| (*offset, *weight)))?;
    }
    writer.finish()?;
    merge_alike(transaction, collection)
}

fn insert(
    transaction: &Transaction<'_>,
    collection: i64,
    first: i64,
    length: u32,
    n_points: u64,
) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO segments (collection, first, length, n_written, n_points, gone)
             VALUES (?1, ?2, ?3, ?4, ?4, x'')",
        )?
        .execute(params![collection, first, length, n_points.cast_signed()])?;
    Ok(transaction.last_insert_rowid())
}

/// Notes that points are gone. Each is there, and named once.
pub(super) fn remove(
    transaction: &Transaction<'_>,
    collection: i64,
    mut points: Vec<i64>,
) -> Result<(), StoreError> {
    points.sort_unstable();
    for mut segment in Segment::all(transaction, collection)? {
        let numbers = segment.numbers();
        let from = points.partition_point(|point| *point < numbers.start);
        let to = points.partition_point(|point| *point < numbers.end);
        if from == to {
            continue;
        }
        segment.gone.extend(points[from..to].iter().map(|point| (point - segment.first) as u32));
        segment.gone.sort_unstable();
        segment.n_points = segment.n_points.saturating_sub((to - from) as u64);
        if segment.n_points == 0 {
            delete(transaction, segment.number)?;
        } else if segment.n_points < segment.n_written / 2 {
            merge(transaction, collection, &[segment])?;
        } else {
            note(transaction, &segment)?;
        }
    }
    Ok(())
}

fn note(transaction: &Transaction<'_>, segment: &Segment) -> rusqlite::Result<()> {
    let gone: Vec<u8> = segment.gone.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    transaction
        .prepare_cached("UPDATE segments SET n_points = ?2, gone = ?3 WHERE number = ?1")?
        .execute(params![segment.number, segment.n_points.cast_signed(), gone])?;
    Ok(())
}

fn delete(transaction: &Transaction<'_>, number: i64) -> rusqlite::Result<()> {
    postings::delete(transaction, number)?;
    transaction.prepare_cached("DELETE FROM segments WHERE number = ?1")?.execute([number])?;
    Ok(())
}

/// Deletes the segments of a collection.
pub(super) fn delete_all(transaction: &Transaction<'_>, collection: i64) -> rusqlite::Result<()> {
    Segment::all(transaction, collection)?.iter().try_for_each(|segment| delete(transaction, segment.number))
}

/// Merges the last segments where too many of them are no larger than some size.
fn merge_alike(transaction: &Transaction<'_>, collection: i64) -> Result<(), StoreError> {
    let mut size = SMALLEST;
    loop {
        let segments = Segment::all(transaction, collection)?;
        let n_alike = segments.iter().rev().take_while(|segment| segment.n_points <= size).count();
        if MAX_ALIKE <= n_alike {
            merge(transaction, collection, &segments[segments.len() - n_alike..])?;
        } else if n_alike == segments.len() {
            return Ok(());
        }
        size *= MAX_ALIKE as u64;
    }
}

/// Writes segments that lie side by side as one, without what is gone.
fn merge(transaction: &Transaction<'_>, collection: i64, segments: &[Segment]) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok(()) };
    // Billions of points came and went between the two: they stay as they are.
    let Ok(length) = u32::try_from(last.numbers().end - first.first) else { return Ok(()) };
    let n_points = segments.iter().map(|segment| segment.n_points).sum();
    let number = insert(transaction, collection, first.first, length, n_points)?;
    let mut cursors = Vec::with_capacity(segments.len());
    for segment in segments {
        cursors.push((segment, Cursor::new(transaction, segment.number)?));
    }
    let mut writer = Writer::new(transaction, number);
    let mut list = Vec::new();
    while let Some(term) = cursors.iter().filter_map(|(_, cursor)| cursor.term()).min() {
        list.clear();
        for (segment, cursor) in &mut cursors {
            if cursor.term() == Some(term) {
                let shift = (segment.first - first.first) as u32;
                let mut is_gone = segment.gone_in_order();
                for posting in cursor.list()? {
                    let (offset, weight) = posting?;
                    if !is_gone(offset) {
                        list.push((offset + shift, weight));
                    }
                }
                cursor.advance(transaction)?;
            }
        }
        writer.add(term, list.iter().copied())?;
    }
    writer.finish()?;
    segments.iter().try_for_each(|segment| delete(transaction, segment.number))?;
    Ok(())
}
