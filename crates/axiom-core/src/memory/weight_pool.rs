//! `WeightPool`: the slots that weights lie in, and what state each is in.
//!
//! ```text
//!   Unloaded ──start──▶ Streaming ──finish──▶ Resident ──begin──▶ Computing
//!      ▲                    │                  │    ▲                │
//!      ├──────fail──────────┘                  │    └──────end───────┤
//!      └───────────────unload──────────────────┘        (pinned)     │
//!      ▲                                                             │
//!      └───────────────────────end (not pinned)──────────────────────┘
//! ```
//!
//! Every other transition is an error that names the slot, its state and the request.

use super::region::TensorRegion;
use crate::error::Error;
use alloc::vec::Vec;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Nothing.
    Unloaded,
    /// An extent on its way.
    Streaming,
    /// A whole extent.
    Resident,
    /// A whole extent that a layer computes from.
    Computing,
}

impl SlotState {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            SlotState::Unloaded => "Unloaded",
            SlotState::Streaming => "Streaming",
            SlotState::Resident => "Resident",
            SlotState::Computing => "Computing",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    state: SlotState,
    /// Meaningless while Unloaded.
    extent: usize,
    is_pinned: bool,
    base: *mut u8,
    bytes: usize,
}

/// All slots. A pinned one keeps its extent for life.
#[derive(Debug)]
pub struct WeightPool {
    slots: Vec<Slot>,
}

// SAFETY: the pointers are into a region that the engine owns; who writes what when is what the states are for.
unsafe impl Send for WeightPool {}
// SAFETY: as above.
unsafe impl Sync for WeightPool {}

impl WeightPool {
    /// Carves a slot of each of `bytes`, at multiples of 4 KiB; they are Unloaded.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] if the region is too small.
    pub fn carve(region: &mut TensorRegion, bytes: impl IntoIterator<Item = usize>) -> Result<WeightPool, Error> {
        let mut slots = Vec::new();
        for bytes in bytes {
            let base = region.carve_pages(bytes)?;
            slots.push(Slot { state: SlotState::Unloaded, extent: 0, is_pinned: false, base, bytes });
        }
        Ok(WeightPool { slots })
    }

    /// Slots.
    pub fn n_slot(&self) -> usize {
        self.slots.len()
    }

    /// The state of a slot, and the extent that it holds.
    pub fn state(&self, slot: usize) -> (SlotState, Option<usize>) {
        let slot = &self.slots[slot];
        (slot.state, (slot.state != SlotState::Unloaded).then_some(slot.extent))
    }

    /// Address and length of a slot.
    pub fn room(&self, slot: usize) -> (*mut u8, usize) {
        (self.slots[slot].base, self.slots[slot].bytes)
    }

    /// The slot that holds an extent, in whatever state.
    pub fn slot_of(&self, extent: usize) -> Option<usize> {
        self.slots.iter().position(|slot| slot.state != SlotState::Unloaded && slot.extent == extent)
    }

    /// An extent begins to come: Unloaded → Streaming.
    ///
    /// # Errors
    ///
    /// [`Error::SlotState`] from any other state.
    pub fn start(&mut self, slot: usize, extent: usize) -> Result<(), Error> {
        self.go(slot, SlotState::Unloaded, SlotState::Streaming, "start")?;
        self.slots[slot].extent = extent;
        Ok(())
    }

    /// It has come: Streaming → Resident.
    ///
    /// # Errors
    ///
    /// [`Error::SlotState`] from any other state.
    pub fn finish(&mut self, slot: usize) -> Result<(), Error> {
        self.go(slot, SlotState::Streaming, SlotState::Resident, "finish")
    }

    /// It will not come: Streaming → Unloaded.
    ///
    /// # Errors
    ///
    /// [`Error::SlotState`] from any other state.
    pub fn fail(&mut self, slot: usize) -> Result<(), Error> {
        self.go(slot, SlotState::Streaming, SlotState::Unloaded, "fail")
    }

    /// A layer computes from it: Resident → Computing.
    ///
    /// # Errors
    ///
    /// [`Error::SlotState`] from any other state.
    pub fn begin(&mut self, slot: usize) -> Result<(), Error> {
        self.go(slot, SlotState::Resident, SlotState::Computing, "begin")
    }

    /// The layer is done: Computing → Resident where it is pinned, else → Unloaded.
    ///
    /// # Errors
    ///
    /// [`Error::SlotState`] from any other state.
    pub fn end(&mut self, slot: usize) -> Result<(), Error> {
        let to = if self.slots[slot].is_pinned { SlotState::Resident } else { SlotState::Unloaded };
        self.go(slot, SlotState::Computing, to, "end")
    }

    /// The extent is not wanted after all: Resident → Unloaded, unless it is pinned.
    ///
    /// # Errors
    ///
    /// [`Error::SlotState`] from any other state, and for a pinned slot.
    pub fn unload(&mut self, slot: usize) -> Result<(), Error> {
        if self.slots[slot].is_pinned {
            return Err(Error::SlotState { slot, state: "Resident, pinned", request: "unload" });
        }
        self.go(slot, SlotState::Resident, SlotState::Unloaded, "unload")
    }

    /// The slot keeps its extent from now on. It is Resident.
    ///
    /// # Errors
    ///
    /// [`Error::SlotState`] in any other state.
    pub fn pin(&mut self, slot: usize) -> Result<(), Error> {
        self.go(slot, SlotState::Resident, SlotState::Resident, "pin")?;
        self.slots[slot].is_pinned = true;
        Ok(())
    }

    fn go(&mut self, slot: usize, from: SlotState, to: SlotState, request: &'static str) -> Result<(), Error> {
        let state = self.slots[slot].state;
        if state != from {
            return Err(Error::SlotState { slot, state: state.name(), request });
        }
        self.slots[slot].state = to;
        Ok(())
    }
}
