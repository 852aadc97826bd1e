//! The loop that both algorithms share: join the adjacent pair of symbols that comes first, until none can be joined.
//!
//! "First" is the lowest key, and among equal keys the leftmost. A linked list of symbols and a heap of (key, position)
//! give O(n log n) for any text. Entries of the heap are never removed when a join makes them stale; an entry counts
//! only while its position still begins a pair with its key.

use alloc::{collections::BinaryHeap, vec::Vec};
use core::cmp::Reverse;

/// No symbol, or no token.
pub(super) const NONE: u32 = u32::MAX;

/// A stretch of the text that is one token so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    /// The token, or `NONE` if the vocabulary has none for these bytes.
    pub id: u32,
    /// First byte of the text, and one past the last.
    pub start: u32,
    pub end: u32,
    /// Neighbours still alive, or `NONE`.
    prev: u32,
    next: u32,
    /// Key of the pair with the next symbol, and the token it becomes; `joined == NONE` if it cannot be joined.
    key: u32,
    joined: u32,
}

/// A join that the vocabulary allows.
pub(super) struct Join {
    /// Lower comes first.
    pub key: u32,
    /// The token that the pair becomes.
    pub id: u32,
}

/// The list and the heap, kept between words so that they are allocated once per text.
#[derive(Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    /// `key << 32 | position`, least first.
    queue: BinaryHeap<Reverse<u64>>,
}

impl Merger {
    /// Forget the last word.
    pub fn clear(&mut self) {
        self.symbols.clear();
        self.queue.clear();
    }

    /// Add the next symbol of the word. A word has at most `u32::MAX - 1` symbols.
    pub fn push(&mut self, id: u32, start: u32, end: u32) {
        let idx = self.symbols.len() as u32;
        let prev = idx.checked_sub(1).unwrap_or(NONE);
        if let Some(last) = self.symbols.last_mut() {
            last.next = idx;
        }
        self.symbols.push(Symbol { id, start, end, prev, next: NONE, key: 0, joined: NONE });
    }

    /// Join pairs until none can be; `join` says what two neighbours become.
    pub fn run(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<Join>) {
        for idx in 0..self.symbols.len() as u32 {
            self.consider(idx, &join);
        }
        while let Some(Reverse(entry)) = self.queue.pop() {
            let (key, idx) = ((entry >> 32) as u32, entry as u32);
            let left = self.symbols[idx as usize];
            if left.joined == NONE || left.key != key {
                continue;
            }
            let right = self.symbols[left.next as usize];
            // The right symbol leaves the list; it can begin no pair any more.
            self.symbols[left.next as usize].joined = NONE;
            let grown = &mut self.symbols[idx as usize];
            grown.id = left.joined;
            grown.end = right.end;
            grown.next = right.next;
            if right.next != NONE {
                self.symbols[right.next as usize].prev = idx;
            }
            self.consider(idx, &join);
            if left.prev != NONE {
                self.consider(left.prev, &join);
            }
        }
    }

    /// Note what symbol `idx` and its right neighbour become.
    fn consider(&mut self, idx: u32, join: &impl Fn(&Symbol, &Symbol) -> Option<Join>) {
        let left = self.symbols[idx as usize];
        let found = if left.next == NONE { None } else { join(&left, &self.symbols[left.next as usize]) };
        let symbol = &mut self.symbols[idx as usize];
        symbol.joined = NONE;
        if let Some(Join { key, id }) = found {
            symbol.key = key;
            symbol.joined = id;
            self.queue.push(Reverse(u64::from(key) << 32 | u64::from(idx)));
        }
    }

    /// The symbols that are left, in order.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        let mut idx = if self.symbols.is_empty() { NONE } else { 0 };
        core::iter::from_fn(move || {
            let symbol = self.symbols.get(idx as usize)?;
            idx = symbol.next;
            Some(symbol)
        })
    }
}
