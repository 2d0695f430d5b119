//! Which points have a term, and how much it weighs in them: lists of a
//! segment, in blocks by term.
//!
//! A block is one row. Its key is its segment's number above 32 bits, and its
//! first term below them. Its bytes are the number of terms, then each term with
//! the end of its list, then the lists: a point as what its offset in the
//! segment is more than the one before, and its weight.

use rusqlite::{Connection, Transaction, params};

use super::bytes::{damaged, put, take, take_four};
use crate::store::StoreError;

/// Bytes of a block, about: what a page of the file holds.
const BLOCK: usize = 15 * 1024;
/// Bytes of a block before its terms, and of each of them before the lists.
const HEAD: usize = 4;
const ENTRY: usize = 8;

/// A point's offset in its segment, and what a term weighs in it.
pub(super) type Posting = (u32, f32);

/// The keys of a segment's blocks, up to that of a block that has `term` first.
fn keys(segment: i64, term: u32) -> (i64, i64) {
    (segment << 32, segment << 32 | i64::from(term))
}

/// Writes the lists of one segment, in the order of terms.
pub(super) struct Writer<'t> {
    transaction: &'t Transaction<'t>,
    segment: i64,
    /// Each with the end of its list.
    terms: Vec<(u32, u32)>,
    lists: Vec<u8>,
}

impl<'t> Writer<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>, segment: i64) -> Self {
        Self { transaction, segment, terms: Vec::new(), lists: Vec::new() }
    }

    /// Adds the list of a term that is more than those before. Offsets ascend.
    pub(super) fn add(
        &mut self,
        term: u32,
        postings: impl IntoIterator<Item = Posting>,
    ) -> rusqlite::Result<()> {
        let start = self.lists.len();
        let mut before = 0;
        for (offset, weight) in postings {
            put(&mut self.lists, offset - before);
            self.lists.extend_from_slice(&weight.to_le_bytes());
            before = offset;
        }
        if self.lists.len() == start {
            return Ok(());
        }
        if !self.terms.is_empty() && BLOCK < HEAD + ENTRY * (self.terms.len() + 1) + self.lists.len() {
            let list = self.lists.split_off(start);
            self.flush()?;
            self.lists = list;
        }
        self.terms.push((term, self.lists.len() as u32));
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> rusqlite::Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> rusqlite::Result<()> {
        let Some((first, _)) = self.terms.first() else { return Ok(()) };
        let (_, key) = keys(self.segment, *first);
        let mut block = Vec::with_capacity(HEAD + ENTRY * self.terms.len() + self.lists.len());
        block.extend_from_slice(&(self.terms.len() as u32).to_le_bytes());
        for (term, end) in self.terms.drain(..) {
            block.extend_from_slice(&term.to_le_bytes());
            block.extend_from_slice(&end.to_le_bytes());
        }
        block.append(&mut self.lists);
        self.transaction
            .prepare_cached("INSERT INTO postings (block, value) VALUES (?1, ?2)")?
            .execute(params![key, block])?;
        Ok(())
    }
}

/// What a segment says of a term; nothing where no point of it has that.
pub(super) fn of_term(
    connection: &Connection,
    segment: i64,
    term: u32,
    postings: &mut Vec<Posting>,
) -> Result<(), StoreError> {
    postings.clear();
    let (first, last) = keys(segment, term);
    let mut statement = connection.prepare_cached(
        "SELECT value FROM postings WHERE block BETWEEN ?1 AND ?2 ORDER BY block DESC LIMIT 1",
    )?;
    let mut rows = statement.query([first, last])?;
    let Some(row) = rows.next()? else { return Ok(()) };
    let block = Block::new(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
    if let Ok(place) = block.terms.binary_search_by_key(&term, term_of) {
        for posting in List::new(block.list(place)?) {
            postings.push(posting?);
        }
    }
    Ok(())
}

/// Deletes the lists of a segment.
pub(super) fn delete(transaction: &Transaction<'_>, segment: i64) -> rusqlite::Result<()> {
    let (first, last) = keys(segment, u32::MAX);
    transaction
        .prepare_cached("DELETE FROM postings WHERE block BETWEEN ?1 AND ?2")?
        .execute([first, last])?;
    Ok(())
}

/// A block, taken apart.
struct Block<'b> {
    terms: &'b [[u8; ENTRY]],
    lists: &'b [u8],
}

impl<'b> Block<'b> {
    fn new(mut bytes: &'b [u8]) -> Result<Self, StoreError> {
        let broken = || damaged("a block of postings");
        let n_terms = u32::from_le_bytes(take_four(&mut bytes).ok_or_else(broken)?) as usize;
        let size = n_terms.checked_mul(ENTRY).ok_or_else(broken)?;
        let (terms, lists) = bytes.split_at_checked(size).ok_or_else(broken)?;
        Ok(Self { terms: terms.as_chunks().0, lists })
    }

    /// The list of the term at `place`.
    fn list(&self, place: usize) -> Result<&'b [u8], StoreError> {
        let end = |place: usize| self.terms.get(place).map(end_of);
        let start = place.checked_sub(1).and_then(end).unwrap_or_default();
        let list = end(place).and_then(|end| self.lists.get(start..end));
        list.ok_or_else(|| damaged("a block of postings"))
    }
}

fn term_of(entry: &[u8; ENTRY]) -> u32 {
    u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]])
}

fn end_of(entry: &[u8; ENTRY]) -> usize {
    u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]) as usize
}

/// Reads a list.
pub(super) struct List<'b> {
    bytes: &'b [u8],
    offset: u32,
}

impl<'b> List<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    fn posting(&mut self) -> Option<Posting> {
        self.offset = self.offset.checked_add(take(&mut self.bytes)?)?;
        Some((self.offset, f32::from_le_bytes(take_four(&mut self.bytes)?)))
    }
}

impl Iterator for List<'_> {
    type Item = Result<Posting, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let posting = self.posting();
        if posting.is_none() {
            self.bytes = &[];
        }
        Some(posting.ok_or_else(|| damaged("a list of postings")))
    }
}

/// Walks through the terms of a segment, a block at a time.
pub(super) struct Cursor {
    /// The key of the block that is read, and the last that may be.
    at: i64,
    last: i64,
    block: Vec<u8>,
    place: usize,
    term: Option<u32>,
}

impl Cursor {
    /// Begins at the first term.
    pub(super) fn new(connection: &Connection, segment: i64) -> Result<Self, StoreError> {
        let (first, last) = keys(segment, u32::MAX);
        let mut cursor = Self { at: first - 1, last, block: Vec::new(), place: 0, term: None };
        cursor.read(connection)?;
        Ok(cursor)
    }

    /// The term that it stands at; nothing behind the last.
    pub(super) fn term(&self) -> Option<u32> {
        self.term
    }

    /// The list of that term.
    pub(super) fn list(&self) -> Result<List<'_>, StoreError> {
        Ok(List::new(Block::new(&self.block)?.list(self.place)?))
    }

    pub(super) fn advance(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.place += 1;
        self.term = Block::new(&self.block)?.terms.get(self.place).map(term_of);
        if self.term.is_none() { self.read(connection) } else { Ok(()) }
    }

    fn read(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut statement = connection.prepare_cached(
            "SELECT block, value FROM postings WHERE block > ?1 AND block <= ?2 ORDER BY block LIMIT 1",
        )?;
        let mut rows = statement.query([self.at, self.last])?;
        (self.place, self.term) = (0, None);
        if let Some(row) = rows.next()? {
            self.at = row.get(0)?;
            self.block.clear();
            self.block.extend_from_slice(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
            self.term = Block::new(&self.block)?.terms.first().map(term_of);
        }
        Ok(())
    }
}
