//! `ActivationPool`: the residual stream as a triple ring, slot = position mod 3.
//!
//! Position 0 is the embedding; attention and feed-forward of layer L make 2L + 1 and 2L + 2. A product leaves at a position
//! what it adds, and the norm that reads the position adds the position before. While a wave of rows is in a layer, the waves
//! after it still need the layer's own position: three are live, and no more.

use super::region::TensorRegion;
use crate::error::Error;

/// Slots of the ring.
const SLOTS: usize = 3;

/// Where positions lie.
#[derive(Clone, Copy, Debug)]
pub struct ActivationSlots {
    base: *mut f32,
    values_slot: usize,
}

impl ActivationSlots {
    /// The rows at a position, f32 `[n_row][stride]`.
    pub fn at(&self, position: usize) -> *mut f32 {
        // SAFETY: inside what was carved.
        unsafe { self.base.add(position % SLOTS * self.values_slot) }
    }
}

/// The rows of the residual stream at up to three positions.
#[derive(Debug)]
pub struct ActivationPool {
    slots: ActivationSlots,
    /// Live positions: `first` … `end − 1`.
    first: usize,
    end: usize,
}

// SAFETY: the pointer is into a region that the engine owns; who writes what when is the forward pass's contract.
unsafe impl Send for ActivationSlots {}
// SAFETY: as above.
unsafe impl Sync for ActivationSlots {}

impl ActivationPool {
    /// Carves three slots of f32 `[n_row][stride]`.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] if the region is too small.
    pub fn carve(region: &mut TensorRegion, n_row: usize, stride: usize) -> Result<ActivationPool, Error> {
        let values = n_row.saturating_mul(stride);
        let base = region.carve(values.saturating_mul(SLOTS))?;
        Ok(ActivationPool { slots: ActivationSlots { base, values_slot: values }, first: 0, end: 0 })
    }

    /// Makes the next position live, and says its slot. Position 0 begins a pass and ends whatever was live.
    ///
    /// # Errors
    ///
    /// [`Error::Position`] if it is not the next, or its slot holds a position that is live.
    pub fn begin(&mut self, position: usize) -> Result<usize, Error> {
        if position == 0 {
            (self.first, self.end) = (0, 0);
        }
        if position != self.end || self.end - self.first == SLOTS {
            return Err(Error::Position { request: "begin", position, first: self.first, end: self.end });
        }
        self.end += 1;
        Ok(position % SLOTS)
    }

    /// The oldest live position is needed no more.
    ///
    /// # Errors
    ///
    /// [`Error::Position`] if it is not the oldest live one.
    pub fn end(&mut self, position: usize) -> Result<(), Error> {
        if position != self.first || self.first == self.end {
            return Err(Error::Position { request: "end", position, first: self.first, end: self.end });
        }
        self.first += 1;
        Ok(())
    }

    /// The live positions.
    pub fn live(&self) -> core::ops::Range<usize> {
        self.first..self.end
    }

    /// Where positions lie.
    pub fn slots(&self) -> ActivationSlots {
        self.slots
    }
}
