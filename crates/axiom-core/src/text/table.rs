//! Two hash tables for the vocabulary: token text to id, and pair of ids to merge.
//!
//! They are filled once, at load time, and read for every pair of symbols of a text. Open addressing with linear
//! probing in one power-of-two array; the words themselves stay where they are and the table holds ids. The hash is
//! fixed, so a hostile file could aim many words at one slot: a probe sequence is therefore bounded, and a file that
//! needs a longer one is refused. Honest vocabularies of 250,000 tokens need fewer than 100 steps.

use alloc::{vec, vec::Vec};

/// No honest table at a load of at most two thirds has a run this long.
const MAX_PROBES: usize = 4096;

/// More entries fell on one slot than honest ones do.
#[derive(Debug)]
pub(super) struct Crowded;

/// Outcome of an insertion.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Insertion {
    /// The entry is new.
    New,
    /// The entry was there already, with this value; the table is unchanged.
    Present(u32),
}

/// Hash of bytes that need not be contiguous: FNV-1a, then mixed, since its low bits alone are weak.
fn hash_bytes(bytes: impl Iterator<Item = u8>) -> u64 {
    let fnv = bytes
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    mix(fnv)
}

/// The finaliser of MurmurHash3: every bit of the input reaches every bit of the output.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    x = (x ^ (x >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    x ^ (x >> 33)
}

fn capacity_for(n: usize) -> usize {
    (n + n / 2 + 1).next_power_of_two()
}

/// Words to ids. The words live in the caller's array, which every call gets as `word_of`.
#[derive(Debug)]
pub(super) struct WordTable {
    /// (upper half of the hash, id + 1); a zero second half is an empty slot.
    slots: Vec<(u32, u32)>,
}

impl WordTable {
    /// A table for up to `n` words.
    pub fn with_capacity(n: usize) -> Self {
        WordTable { slots: vec![(0, 0); capacity_for(n)] }
    }

    /// Add word `id`, unless an equal word is there.
    pub fn insert<'a>(&mut self, id: u32, word_of: impl Fn(u32) -> &'a [u8]) -> Result<Insertion, Crowded> {
        let word = word_of(id);
        let hash = hash_bytes(word.iter().copied());
        let tag = (hash >> 32) as u32;
        let mask = self.slots.len() - 1;
        for step in 0..MAX_PROBES.min(self.slots.len()) {
            let slot = &mut self.slots[(hash as usize).wrapping_add(step) & mask];
            if slot.1 == 0 {
                *slot = (tag, id + 1);
                return Ok(Insertion::New);
            }
            if slot.0 == tag && word_of(slot.1 - 1) == word {
                return Ok(Insertion::Present(slot.1 - 1));
            }
        }
        Err(Crowded)
    }

    /// The id of the word with these bytes.
    pub fn find<'a>(&self, bytes: impl Iterator<Item = u8> + Clone, word_of: impl Fn(u32) -> &'a [u8]) -> Option<u32> {
        let hash = hash_bytes(bytes.clone());
        let tag = (hash >> 32) as u32;
        let mask = self.slots.len() - 1;
        for step in 0..MAX_PROBES.min(self.slots.len()) {
            let slot = self.slots[(hash as usize).wrapping_add(step) & mask];
            if slot.1 == 0 {
                return None;
            }
            if slot.0 == tag && word_of(slot.1 - 1).iter().copied().eq(bytes.clone()) {
                return Some(slot.1 - 1);
            }
        }
        None
    }
}

/// Pairs of token ids to their rank and the token they become.
#[derive(Debug)]
pub(super) struct PairTable {
    /// (left, right, rank + 1, joined); a zero rank is an empty slot.
    slots: Vec<[u32; 4]>,
}

impl PairTable {
    /// A table for up to `n` pairs.
    pub fn with_capacity(n: usize) -> Self {
        PairTable { slots: vec![[0; 4]; capacity_for(n)] }
    }

    fn start(left: u32, right: u32) -> usize {
        mix(u64::from(left) << 32 | u64::from(right)) as usize
    }

    /// Add a pair, unless it is there.
    pub fn insert(&mut self, left: u32, right: u32, rank: u32, joined: u32) -> Result<Insertion, Crowded> {
        let mask = self.slots.len() - 1;
        let start = Self::start(left, right);
        for step in 0..MAX_PROBES.min(self.slots.len()) {
            let slot = &mut self.slots[start.wrapping_add(step) & mask];
            if slot[2] == 0 {
                *slot = [left, right, rank + 1, joined];
                return Ok(Insertion::New);
            }
            if slot[0] == left && slot[1] == right {
                return Ok(Insertion::Present(slot[2] - 1));
            }
        }
        Err(Crowded)
    }

    /// The rank of a pair and the token it becomes.
    pub fn find(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let mask = self.slots.len() - 1;
        let start = Self::start(left, right);
        for step in 0..MAX_PROBES.min(self.slots.len()) {
            let slot = self.slots[start.wrapping_add(step) & mask];
            if slot[2] == 0 {
                return None;
            }
            if slot[0] == left && slot[1] == right {
                return Some((slot[2] - 1, slot[3]));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    #[test]
    fn words_and_pairs_are_found_and_others_are_not() {
        let words: Vec<String> = (0..1000).map(|i| format!("w{i}")).collect();
        let word_of = |id: u32| words[id as usize].as_bytes();
        let mut table = WordTable::with_capacity(words.len());
        for id in 0..1000 {
            assert_eq!(table.insert(id, word_of).unwrap(), Insertion::New);
        }
        assert_eq!(table.insert(7, word_of).unwrap(), Insertion::Present(7));
        for id in 0..1000 {
            assert_eq!(table.find(words[id].bytes(), word_of), Some(id as u32));
        }
        assert_eq!(table.find("w1000".bytes(), word_of), None);
        assert_eq!(table.find("".bytes(), word_of), None);

        let mut pairs = PairTable::with_capacity(1000);
        for i in 0..1000 {
            assert_eq!(pairs.insert(i, i * 7, i, i + 1).unwrap(), Insertion::New);
        }
        assert_eq!(pairs.insert(3, 21, 9, 9).unwrap(), Insertion::Present(3));
        for i in 0..1000 {
            assert_eq!(pairs.find(i, i * 7), Some((i, i + 1)));
            assert_eq!(pairs.find(i, i * 7 + 1), None);
        }
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert_eq!(PairTable::with_capacity(0).find(1, 2), None);
        assert_eq!(WordTable::with_capacity(0).find([].into_iter(), |_| &[]), None);
    }

    #[test]
    fn a_crowded_slot_is_an_error_and_not_a_long_wait() {
        // Distinct pairs that all start at slot 0 of this table, found by trying.
        let mut table = PairTable::with_capacity(10_000);
        let mask = table.slots.len() - 1;
        let aimed = (0..u32::MAX).filter(|&right| PairTable::start(1, right) & mask == 0);
        let outcome = aimed.take(5000).try_for_each(|right| table.insert(1, right, 0, 0).map(|_| ()));
        assert!(outcome.is_err());
    }
}
