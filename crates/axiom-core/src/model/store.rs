//! `WeightStore`: the weights of a model, some pinned in memory, the rest coming from a device as layers need them.

use super::layout::{EMBEDDING_ROWS_AT_ONCE, EXTENT_ALIGN, ModelLayout};
use super::loading::{Reader, WeightImage};
use super::matrix::row_of_panel;
use super::packing::{TensorSource, pack_panels};
use super::plan::MemoryPlan;
use super::progress::{Counted, Progress};
use super::weights::Weights;
use crate::digest::digest;
use crate::error::Error;
use crate::memory::{TensorRegion, WeightPool};
use crate::platform::Platform;
use crate::stream::{Counts, StreamedExtent, Streamer};
use crate::telemetry::Load;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// All weights.
pub struct WeightStore {
    weights: Arc<Weights>,
    pool: WeightPool,
    plan: MemoryPlan,
    /// Room for the panels of some embedding rows, where the embedding is not pinned.
    panels: *mut u8,
    stream: Option<Stream>,
}

// SAFETY: the room for panels is in a region that the engine owns, and is used by the thread that begins a pass alone.
unsafe impl Send for WeightStore {}
// SAFETY: as above.
unsafe impl Sync for WeightStore {}

struct Stream {
    image: WeightImage,
    streamer: Streamer,
}

impl WeightStore {
    /// Carves slots for the extents that the plan pins, in their order, and for landing.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] if the region is too small.
    pub fn carve(region: &mut TensorRegion, layout: ModelLayout, plan: MemoryPlan) -> Result<WeightStore, Error> {
        let pinned = (0..layout.extents.len()).filter(|&extent| plan.is_pinned[extent]);
        let sizes: Vec<usize> = pinned.map(|extent| layout.extents[extent]).collect();
        let landing = core::iter::repeat_n(plan.bytes_landing, plan.n_landing);
        let pool = WeightPool::carve(region, sizes.into_iter().chain(landing))?;
        let is_read_by_row = !plan.is_pinned[ModelLayout::EMBEDDING];
        let room = if is_read_by_row { layout.bytes_embedding_rows() } else { 0 };
        let panels = region.carve_pages(room)?;
        Ok(WeightStore { weights: Arc::new(Weights::new(layout)), pool, plan, panels, stream: None })
    }

    /// Where weights are now.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The same, for the workers of a pass, while the store itself is at work between layers.
    pub fn shared(&self) -> Arc<Weights> {
        Arc::clone(&self.weights)
    }

    /// What is pinned and what is not.
    pub fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// What streaming has done so far.
    pub fn counts(&self) -> Counts {
        self.stream.as_ref().map_or_else(Counts::default, |stream| stream.streamer.counts())
    }

    /// Packs every tensor into its place, on all workers. Everything is pinned.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for a tensor with too few or too many bytes, [`Error::ReadTensor`], [`Error::Cancelled`] if `progress`
    /// said so.
    ///
    /// # Safety
    ///
    /// The store was carved from real memory, which nobody uses meanwhile.
    pub unsafe fn pack(
        &mut self,
        tensors: &[TensorSource<'_>],
        platform: &dyn Platform,
        progress: Progress<'_>,
    ) -> Result<(), Error> {
        tensors.iter().try_for_each(TensorSource::check_len)?;
        for extent in 0..self.pool.n_slot() {
            self.pool.start(extent, extent)?;
            self.weights.set_base(extent, self.pool.room(extent).0);
        }
        let total = tensors.iter().map(|tensor| tensor.bytes.n_bytes()).sum();
        let mut counted = Counted::new(total, progress);
        for at in &self.weights.layout().tensors {
            let tensor = &tensors[at.tensor];
            // SAFETY: the caller's duty; the tensor's place is within its extent.
            let packed =
                unsafe { core::slice::from_raw_parts_mut(self.weights.base(at.extent).add(at.offset), at.bytes) };
            if at.is_vector {
                tensor.copy_vector(packed)?;
                counted.tell(tensor.bytes.n_bytes())?;
            } else {
                pack_panels(tensor, packed, platform, &mut counted)?;
            }
        }
        for extent in 0..self.pool.n_slot() {
            self.pool.finish(extent)?;
            self.pool.pin(extent)?;
        }
        Ok(())
    }

    /// Reads what is pinned from an image, checks it, and makes ready to stream the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Damaged`], [`Error::Stream`], [`Error::Cancelled`] if `progress` said so.
    ///
    /// # Safety
    ///
    /// As for [`WeightStore::pack`].
    pub unsafe fn load(
        &mut self,
        image: WeightImage,
        platform: &dyn Platform,
        progress: Progress<'_>,
    ) -> Result<(), Error> {
        let extents = &self.weights.layout().extents;
        let at =
            |extent: usize| StreamedExtent { extent, offset: image.extents[extent].offset, bytes: extents[extent] };
        let pinned: Vec<StreamedExtent> = (0..extents.len()).filter(|&e| self.plan.is_pinned[e]).map(at).collect();
        let layers = (0..self.weights.layout().layers.len()).map(ModelLayout::layer_extent);
        let streamed: Vec<StreamedExtent> = layers.filter(|&e| !self.plan.is_pinned[e]).map(at).collect();
        let n_pinned = pinned.len();
        let slots = n_pinned..self.pool.n_slot();
        // Nothing is in the landing slots yet; where every layer is pinned there are none.
        let panels = (self.panels, self.weights.layout().bytes_embedding_rows());
        let room = if slots.is_empty() { panels } else { self.pool.room(slots.start) };
        // An embedding that is not pinned is checked all the same.
        let checked = (!self.plan.is_pinned[ModelLayout::EMBEDDING]).then(|| at(ModelLayout::EMBEDDING));
        if let Some(at) = streamed.iter().find(|at| at.bytes > room.1) {
            return Err(Error::Stream { what: "bytes of a landing slot", expected: at.bytes, got: room.1 });
        }
        let total = pinned.iter().chain(&checked).map(|at| at.bytes).sum();
        let mut reader = Reader::new(&image, &mut self.pool, platform, Counted::new(total, progress))?;
        reader.load(&pinned)?;
        if let Some(at) = checked {
            reader.check(at, room)?;
        }
        for (slot, at) in pinned.iter().enumerate() {
            self.weights.set_base(at.extent, self.pool.room(slot).0);
        }
        let fetches = checked.is_some();
        let streamer = Streamer::new(streamed, slots, &*image.device, image.bytes_request, fetches)?;
        self.stream = Some(Stream { image, streamer });
        Ok(())
    }

    /// Whether a layer has to be waited for.
    pub fn is_streamed(&self, layer: usize) -> bool {
        !self.plan.is_pinned[ModelLayout::layer_extent(layer)]
    }

    /// Waits for a streamed layer and puts it in its place: its slot, and how it was loaded.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Damaged`].
    pub fn begin(&mut self, layer: usize, now_us: &dyn Fn() -> u64) -> Result<(usize, Load), Error> {
        let extent = ModelLayout::layer_extent(layer);
        let Stream { image, streamer } = self.stream.as_mut().expect("a streamed layer has a stream");
        let (slot, load, is_first) = streamer.begin(extent, &mut self.pool, &*image.device, now_us)?;
        let (base, _) = self.pool.room(slot);
        if is_first || image.is_paranoid {
            // SAFETY: the slot is Computing, for this thread: whole, and written by nobody.
            let loaded = unsafe { core::slice::from_raw_parts(base, self.weights.layout().extents[extent]) };
            if digest(loaded) != image.extents[extent].digest {
                streamer.distrust(extent);
                streamer.end(slot, &mut self.pool, &*image.device, now_us())?;
                return Err(Error::Damaged { extent });
            }
        }
        self.weights.set_base(extent, base);
        Ok((slot, load))
    }

    /// The layer in `slot` is done: the next load may use it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTag`], [`Error::Completion`].
    pub fn end(&mut self, slot: usize, now_us: u64) -> Result<(), Error> {
        let Stream { image, streamer } = self.stream.as_mut().expect("a streamed layer has a stream");
        streamer.end(slot, &mut self.pool, &*image.device, now_us)
    }

    /// Keeps the device at work while layers compute that are in memory.
    ///
    /// # Errors
    ///
    /// As [`WeightStore::end`].
    pub fn pump(&mut self, now_us: u64) -> Result<(), Error> {
        match &mut self.stream {
            Some(Stream { image, streamer }) => streamer.pump(&mut self.pool, &*image.device, now_us),
            None => Ok(()),
        }
    }

    /// Reads the rows of some tokens into `out`, rows of f32 `stride` apart, where the embedding is not pinned; false where it
    /// is. `bytes` is room for a row in GGUF.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    ///
    /// # Safety
    ///
    /// `out` is writable for as many rows as there are tokens.
    pub unsafe fn read_embedding(
        &mut self,
        tokens: &[u32],
        bytes: &mut [u8],
        out: *mut f32,
        stride: usize,
        now_us: &dyn Fn() -> u64,
    ) -> Result<bool, Error> {
        if self.plan.is_pinned[ModelLayout::EMBEDDING] {
            return Ok(false);
        }
        let layout = self.weights.layout();
        let (matrix, room) = (layout.token_embd, layout.bytes_embedding_row());
        let Stream { image, streamer } = self.stream.as_mut().expect("what is not pinned has a stream");
        let start = image.extents[ModelLayout::EMBEDDING].offset;
        let bytes_panel = matrix.format.bytes_panel(matrix.n_col).expect("checked in the layout");
        for (i, some) in tokens.chunks(EMBEDDING_ROWS_AT_ONCE).enumerate() {
            let mut reads = [(0u64, core::ptr::null_mut::<u8>(), 0usize); EMBEDDING_ROWS_AT_ONCE];
            let mut within = [0usize; EMBEDDING_ROWS_AT_ONCE];
            for (k, &token) in some.iter().enumerate() {
                let from = matrix.offset + token as usize / crate::arithmetic::LANES * bytes_panel;
                let first = from / EXTENT_ALIGN * EXTENT_ALIGN;
                let end = (from + bytes_panel).next_multiple_of(EXTENT_ALIGN);
                within[k] = from - first;
                // SAFETY: room k of the panels' room.
                reads[k] = (start + first as u64, unsafe { self.panels.add(k * room) }, end - first);
            }
            let pieces = reads[..some.len()].iter().copied();
            streamer.fetch(ModelLayout::EMBEDDING, pieces, &mut self.pool, &*image.device, now_us)?;
            for (k, &token) in some.iter().enumerate() {
                // SAFETY: the panel has been read to there; the rows of `out` are the caller's duty.
                unsafe {
                    let panel = core::slice::from_raw_parts(reads[k].1.add(within[k]), bytes_panel);
                    let out = out.add((i * EMBEDDING_ROWS_AT_ONCE + k) * stride);
                    let out = core::slice::from_raw_parts_mut(out, matrix.n_col);
                    row_of_panel(matrix.format, panel, token as usize, matrix.n_col, bytes, out);
                }
            }
        }
        Ok(true)
    }
}
