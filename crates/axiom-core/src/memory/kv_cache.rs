//! `KVCachePool`: slabs of 128 positions that sequences share until one of them writes.
//!
//! A sequence is a list of slabs and a length. Forking copies the list, not the slabs; the first write to a slab that another
//! sequence also holds copies it. A slab is one tile of attention: both grids start at position 0 of the sequence. All slabs
//! are carved at the start, and none moves; handing one out or back touches no memory but two numbers.

use super::region::TensorRegion;
use crate::arithmetic::{LANES, TILE_POSITIONS};
use crate::config::ModelConfig;
use crate::error::Error;
use crate::kernels::Kernels;
use alloc::vec;
use alloc::vec::Vec;

/// How the cache holds a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KVFormat {
    /// IEEE binary16.
    F16,
    /// IEEE binary32.
    F32,
}

impl KVFormat {
    /// Bytes of a number.
    pub const fn bytes(self) -> usize {
        match self {
            KVFormat::F16 => 2,
            KVFormat::F32 => 4,
        }
    }

    /// The name in options.
    pub const fn name(self) -> &'static str {
        match self {
            KVFormat::F16 => "f16",
            KVFormat::F32 => "f32",
        }
    }
}

#[derive(Clone, Copy)]
struct Sequence {
    open: bool,
    n_pos: usize,
    n_slab: usize,
}

/// All sequences of an engine.
pub struct KVCachePool {
    base: *mut u8,
    /// Type of keys and values.
    pub format: KVFormat,
    /// Most positions of a sequence.
    pub n_ctx: usize,
    pub(super) n_layer: usize,
    pub(super) n_head_kv: usize,
    pub(super) head_dim: usize,
    pub(super) dim_stride: usize,
    slabs_per_seq: usize,
    /// Slabs of sequence s at `s × slabs_per_seq`.
    tables: Vec<u32>,
    sequences: Vec<Sequence>,
    /// Holders of each slab.
    n_holder: Vec<u32>,
    /// Slabs without a holder, the next to hand out last.
    free: Vec<u32>,
}

// SAFETY: the pointer is into a region that the engine owns.
unsafe impl Send for KVCachePool {}
// SAFETY: as above.
unsafe impl Sync for KVCachePool {}

/// Two thousand million positions: the tables of more, which are allocated beside the region, would fill the memory.
const MOST_SLABS: usize = 1 << 24;

impl KVCachePool {
    /// Carves slabs for `n_seq_max` sequences of `n_ctx` positions.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] if the region is too small.
    pub fn carve(
        region: &mut TensorRegion,
        model: &ModelConfig,
        n_ctx: usize,
        n_seq_max: usize,
        format: KVFormat,
    ) -> Result<KVCachePool, Error> {
        let dim_stride = model.head_dim.next_multiple_of(LANES);
        let slabs_per_seq = n_ctx.div_ceil(TILE_POSITIONS);
        let n_slab = slabs_per_seq.saturating_mul(n_seq_max);
        let mut pool = KVCachePool {
            base: core::ptr::null_mut(),
            format,
            n_ctx,
            n_layer: model.n_layer,
            n_head_kv: model.n_head_kv,
            head_dim: model.head_dim,
            dim_stride,
            slabs_per_seq,
            tables: Vec::new(),
            sequences: Vec::new(),
            n_holder: Vec::new(),
            free: Vec::new(),
        };
        if n_slab > MOST_SLABS {
            let (used, bytes_each) = (region.used(), pool.bytes_slab());
            return Err(Error::Region { len: 0, used, n: n_slab, bytes_each });
        }
        pool.base = region.carve(n_slab.saturating_mul(pool.bytes_slab()))?;
        pool.tables = vec![0; n_slab];
        pool.sequences = vec![Sequence { open: false, n_pos: 0, n_slab: 0 }; n_seq_max];
        pool.n_holder = vec![0; n_slab];
        pool.free = (0..n_slab as u32).rev().collect();
        Ok(pool)
    }

    // ---- layout: slab [n_layer][n_head_kv] { keys [8 panels][head_dim][16], values [128][dim_stride] }

    fn bytes_head(&self) -> usize {
        TILE_POSITIONS * (self.head_dim + self.dim_stride) * self.format.bytes()
    }

    fn bytes_slab(&self) -> usize {
        self.n_layer * self.n_head_kv * self.bytes_head()
    }

    /// Keys and values of one tile of a sequence, for one layer and key-value head.
    pub fn tile(&self, seq: usize, tile: usize, layer: usize, head: usize) -> (*mut u8, *mut u8) {
        debug_assert!(tile < self.sequences[seq].n_slab && layer < self.n_layer && head < self.n_head_kv);
        let slab = self.tables[seq * self.slabs_per_seq + tile] as usize;
        // SAFETY: slab, layer and head are within the carved slabs.
        unsafe {
            let k = self.base.add(slab * self.bytes_slab() + (layer * self.n_head_kv + head) * self.bytes_head());
            (k, k.add(TILE_POSITIONS * self.head_dim * self.format.bytes()))
        }
    }

    /// Stores key and value of one position, rounding them to the cache's type. `half` is room for a head in f16.
    ///
    /// # Safety
    ///
    /// `k` and `v` hold a head each, `half` has room for one; the position is reserved, and nobody else touches it meanwhile.
    #[allow(clippy::too_many_arguments)] // where, and what
    pub unsafe fn store(
        &self,
        kernels: &Kernels,
        seq: usize,
        pos: usize,
        layer: usize,
        head: usize,
        k: *const f32,
        v: *const f32,
        half: *mut u16,
    ) {
        let (keys, values) = self.tile(seq, pos / TILE_POSITIONS, layer, head);
        let within = pos % TILE_POSITIONS;
        let key = within / LANES * self.head_dim * LANES + within % LANES;
        let value = within * self.dim_stride;
        // SAFETY: the caller's duty; the position is in the tile, the head in the position.
        unsafe {
            match self.format {
                KVFormat::F16 => {
                    (kernels.to_f16)(k, self.head_dim, half);
                    for e in 0..self.head_dim {
                        keys.cast::<u16>().add(key + e * LANES).write(*half.add(e));
                    }
                    (kernels.to_f16)(v, self.head_dim, values.cast::<u16>().add(value));
                }
                KVFormat::F32 => {
                    for e in 0..self.head_dim {
                        keys.cast::<f32>().add(key + e * LANES).write(*k.add(e));
                    }
                    core::ptr::copy_nonoverlapping(v, values.cast::<f32>().add(value), self.head_dim);
                }
            }
        }
    }

    // ---- sequences

    /// Opens an empty sequence, the lowest number that is free.
    ///
    /// # Errors
    ///
    /// [`Error::NoSequence`] if all are taken.
    pub fn open(&mut self) -> Result<usize, Error> {
        let seq = self
            .sequences
            .iter()
            .position(|sequence| !sequence.open)
            .ok_or(Error::NoSequence { n_seq_max: self.sequences.len() })?;
        self.sequences[seq] = Sequence { open: true, n_pos: 0, n_slab: 0 };
        Ok(seq)
    }

    /// Closes a sequence; slabs that no other holds become free.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`].
    pub fn close(&mut self, seq: usize) -> Result<(), Error> {
        self.check(seq)?;
        self.keep_slabs(seq, 0);
        self.sequences[seq].open = false;
        Ok(())
    }

    /// Opens a new sequence that shares all slabs of `seq`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`], [`Error::NoSequence`].
    pub fn fork(&mut self, seq: usize) -> Result<usize, Error> {
        self.check(seq)?;
        let child = self.open()?;
        let n_slab = self.sequences[seq].n_slab;
        for i in 0..n_slab {
            let slab = self.tables[seq * self.slabs_per_seq + i];
            self.n_holder[slab as usize] += 1;
            self.tables[child * self.slabs_per_seq + i] = slab;
        }
        self.sequences[child] = self.sequences[seq];
        Ok(child)
    }

    /// Positions of a sequence.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`].
    pub fn len(&self, seq: usize) -> Result<usize, Error> {
        self.check(seq)?;
        Ok(self.sequences[seq].n_pos)
    }

    /// Keeps the first `n_pos` positions.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`], [`Error::Rewind`] if it has fewer.
    pub fn rewind(&mut self, seq: usize, n_pos: usize) -> Result<(), Error> {
        let len = self.len(seq)?;
        if n_pos > len {
            return Err(Error::Rewind { seq, n_pos, len });
        }
        self.sequences[seq].n_pos = n_pos;
        self.keep_slabs(seq, n_pos.div_ceil(TILE_POSITIONS));
        Ok(())
    }

    /// Positions of a sequence after `n_new` more.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`], [`Error::ContextLength`] if they are more than the context has.
    pub fn len_after(&self, seq: usize, n_new: usize) -> Result<usize, Error> {
        let n_pos = self.len(seq)?;
        let n_after = n_pos.saturating_add(n_new);
        if n_after > self.n_ctx {
            return Err(Error::ContextLength { seq, n_pos, n_new, n_ctx: self.n_ctx });
        }
        Ok(n_after)
    }

    /// Makes the next `n_new` positions writable; [`KVCachePool::commit`] or [`KVCachePool::abandon`] must follow.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSequence`], [`Error::ContextLength`] if they are more than the context has.
    pub fn reserve(&mut self, seq: usize, n_new: usize) -> Result<(), Error> {
        let (n_pos, n_after) = (self.len(seq)?, self.len_after(seq, n_new)?);
        for i in n_pos / TILE_POSITIONS..n_after.div_ceil(TILE_POSITIONS) {
            let at = seq * self.slabs_per_seq + i;
            if i >= self.sequences[seq].n_slab {
                self.tables[at] = self.take();
                self.sequences[seq].n_slab = i + 1;
            } else if self.n_holder[self.tables[at] as usize] > 1 {
                let (old, new) = (self.tables[at], self.take());
                self.n_holder[old as usize] -= 1;
                let bytes = self.bytes_slab();
                // SAFETY: two different slabs of the pool.
                unsafe {
                    let from = self.base.add(old as usize * bytes);
                    core::ptr::copy_nonoverlapping(from, self.base.add(new as usize * bytes), bytes);
                }
                self.tables[at] = new;
            }
        }
        Ok(())
    }

    /// Makes `n_new` written positions part of the sequence.
    pub fn commit(&mut self, seq: usize, n_new: usize) {
        self.sequences[seq].n_pos += n_new;
    }

    /// Gives back what was reserved and not committed.
    pub fn abandon(&mut self, seq: usize) {
        self.keep_slabs(seq, self.sequences[seq].n_pos.div_ceil(TILE_POSITIONS));
    }

    /// A slab for one holder. There is always one: a sequence holds at most `slabs_per_seq`.
    fn take(&mut self) -> u32 {
        let slab = self.free.pop().expect("as many slabs as all sequences can hold");
        self.n_holder[slab as usize] = 1;
        slab
    }

    fn keep_slabs(&mut self, seq: usize, n_slab: usize) {
        for i in n_slab..self.sequences[seq].n_slab {
            let slab = self.tables[seq * self.slabs_per_seq + i];
            self.n_holder[slab as usize] -= 1;
            if self.n_holder[slab as usize] == 0 {
                self.free.push(slab);
            }
        }
        self.sequences[seq].n_slab = self.sequences[seq].n_slab.min(n_slab);
    }

    fn check(&self, seq: usize) -> Result<(), Error> {
        match self.sequences.get(seq) {
            Some(sequence) if sequence.open => Ok(()),
            _ => Err(Error::UnknownSequence { seq, open: self.sequences.iter().filter(|s| s.open).count() }),
        }
    }

    /// Slabs that some sequence holds.
    pub fn n_slab_held(&self) -> usize {
        self.n_holder.len() - self.free.len()
    }

    /// Bytes of the slabs that some sequence holds.
    pub fn bytes_held(&self) -> usize {
        self.n_slab_held() * self.bytes_slab()
    }
}
