//! The state of a sequence as bytes (`docs/formats.md`): header, numbers `[n_layer][2][n_pos][n_head_kv][head_dim]`, CRC-32.
//!
//! The same bytes from every body, whatever the layout of its cache.

use super::kv_cache::KVCachePool;
use crate::arithmetic::{LANES, TILE_POSITIONS};
use crate::checksum::{Crc32, crc32};
use crate::error::Error;
use alloc::vec::Vec;
use core::ops::Range;

const MAGIC: &[u8; 8] = b"AXIOMSEQ";
const HEADER: usize = 8 + 6 * 4;

/// How far the saving of a sequence has come, part by part.
pub struct Saving {
    seq: usize,
    n_pos: usize,
    n_row_done: usize,
    crc: Crc32,
    is_over: bool,
}

impl KVCachePool {
    /// Bytes of a sequence's saved state.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`].
    pub fn bytes_saved(&self, seq: usize) -> Result<usize, Error> {
        Ok(HEADER + self.len(seq)? * self.bytes_position() + 4)
    }

    fn bytes_position(&self) -> usize {
        2 * self.n_layer * self.bytes_row()
    }

    /// Keys or values of one position in one layer.
    fn bytes_row(&self) -> usize {
        self.n_head_kv * self.head_dim * self.format.bytes()
    }

    /// The state of a sequence, the same bytes from every body.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`], [`Error::OutOfMemory`].
    pub fn save(&self, seq: usize) -> Result<Vec<u8>, Error> {
        Ok(self.save_part(&mut self.begin_save(seq)?, usize::MAX)?.unwrap_or_default())
    }

    /// Begins to save the positions that a sequence has now.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`].
    pub fn begin_save(&self, seq: usize) -> Result<Saving, Error> {
        Ok(Saving { seq, n_pos: self.len(seq)?, n_row_done: 0, crc: Crc32::new(), is_over: false })
    }

    /// The next part of a state, of about `bytes_part`, or none after the last: together they are what [`KVCachePool::save`]
    /// returns.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`] and [`Error::Rewind`] if the sequence has been closed or rewound since, and
    /// [`Error::OutOfMemory`].
    pub fn save_part(&self, saving: &mut Saving, bytes_part: usize) -> Result<Option<Vec<u8>>, Error> {
        let &mut Saving { seq, n_pos, n_row_done: first, .. } = saving;
        if saving.is_over {
            return Ok(None);
        }
        let len = self.len(seq)?;
        if len < n_pos {
            return Err(Error::Rewind { seq, n_pos, len });
        }
        let n_row = 2 * self.n_layer * n_pos;
        let end = n_row.min(first.saturating_add((bytes_part / self.bytes_row()).max(1)));
        let bytes_header = if first == 0 { HEADER } else { 0 };
        let n_bytes = bytes_header + (end - first) * self.bytes_row() + if end == n_row { 4 } else { 0 };
        let mut part = Vec::new();
        part.try_reserve_exact(n_bytes).map_err(|_| Error::OutOfMemory { what: "a saved sequence", n_bytes })?;
        if first == 0 {
            part.extend_from_slice(MAGIC);
            for number in self.header(n_pos) {
                part.extend_from_slice(&number.to_le_bytes());
            }
        }
        self.each_number(seq, n_pos, first..end, |number, bytes| {
            // SAFETY: `each_number` gives numbers inside the held slabs; the machine is little-endian, as the file is.
            part.extend_from_slice(unsafe { core::slice::from_raw_parts(number, bytes) });
        });
        saving.crc.update(&part);
        saving.n_row_done = end;
        if end == n_row {
            saving.is_over = true;
            part.extend_from_slice(&saving.crc.sum().to_le_bytes());
        }
        Ok(Some(part))
    }

    /// Opens a sequence from saved state.
    ///
    /// # Errors
    ///
    /// [`Error::SavedSequence`] if it is damaged or of another model or cache type, [`Error::ContextLength`] if it is longer
    /// than the context, [`Error::NoSequence`].
    pub fn load(&mut self, state: &[u8]) -> Result<usize, Error> {
        let wrong = |what, expected: usize, got: usize| Err(Error::SavedSequence { what, expected, got });
        if state.len() < HEADER + 4 || &state[..8] != MAGIC {
            return wrong("is none: bytes that begin with AXIOMSEQ", HEADER + 4, state.len());
        }
        let number = |i: usize| {
            let at = 8 + 4 * i;
            u32::from_le_bytes([state[at], state[at + 1], state[at + 2], state[at + 3]]) as usize
        };
        let n_pos = number(5);
        let names = ["version", "bytes per number", "n_layer", "n_head_kv", "head_dim"];
        for ((i, name), expected) in names.into_iter().enumerate().zip(self.header(n_pos)) {
            if number(i) != expected as usize {
                return wrong(name, expected as usize, number(i));
            }
        }
        if n_pos > self.n_ctx {
            return Err(Error::ContextLength { seq: 0, n_pos: 0, n_new: n_pos, n_ctx: self.n_ctx });
        }
        let expected = HEADER + n_pos * self.bytes_position() + 4;
        if state.len() != expected {
            return wrong("length in bytes", expected, state.len());
        }
        let (body, crc) = state.split_at(state.len() - 4);
        let crc = u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]]);
        if crc32(body) != crc {
            return wrong("checksum", crc32(body) as usize, crc as usize);
        }
        let seq = self.open()?;
        self.reserve(seq, n_pos)?;
        let mut at = HEADER;
        self.each_number(seq, n_pos, 0..2 * self.n_layer * n_pos, |number, bytes| {
            // SAFETY: as in `save_part`; the slabs were reserved for this sequence alone.
            unsafe { core::ptr::copy_nonoverlapping(body[at..].as_ptr(), number, bytes) };
            at += bytes;
        });
        self.commit(seq, n_pos);
        Ok(seq)
    }

    fn header(&self, n_pos: usize) -> [u32; 6] {
        [1, self.format.bytes() as u32, self.n_layer as u32, self.n_head_kv as u32, self.head_dim as u32, n_pos as u32]
    }

    /// Runs of numbers in the order of the saved state: single keys (they lie transposed), whole value rows. `rows` are some
    /// of the `[n_layer][2][n_pos]` that there are.
    fn each_number(&self, seq: usize, n_pos: usize, rows: Range<usize>, mut visit: impl FnMut(*mut u8, usize)) {
        let bytes = self.format.bytes();
        for row in rows {
            let (layer, is_value, pos) = (row / n_pos / 2, row / n_pos % 2 == 1, row % n_pos);
            let within = pos % TILE_POSITIONS;
            for head in 0..self.n_head_kv {
                let (k, v) = self.tile(seq, pos / TILE_POSITIONS, layer, head);
                if is_value {
                    // SAFETY: row `within` of the head's values.
                    visit(unsafe { v.add(within * self.dim_stride * bytes) }, self.head_dim * bytes);
                    continue;
                }
                for e in 0..self.head_dim {
                    let at = (within / LANES * self.head_dim + e) * LANES + within % LANES;
                    // SAFETY: lane of the position in its panel of keys.
                    visit(unsafe { k.add(at * bytes) }, bytes);
                }
            }
        }
    }
}
