//! `Streamer`: a cyclic scan of extents through a few landing slots.
//!
//! Every pass needs the streamed extents in the same order, so what will be needed next is known: the window, as many extents
//! from the one that is due as there are landing slots, past the end of the order into the next pass. An extent of the window
//! that is in no slot goes into one that is free; a slot that holds anything else is emptied. A pass that ends early moves the
//! window, and that is all: what is on its way is awaited, since a buffer that a device writes to is not free.
//!
//! What is asked for is not only a matter of room. A device that works at all requests at once shares its rate out, so that
//! what is needed first would come as late as the rest: of what comes after it, only a share is under way at a time. The same
//! holds for rows of the embedding, which a pass may begin with ([`Streamer::fetch`]), and which nobody can ask for sooner:
//! until then, of all that comes after the first extent of their pass only a share is under way.
//!
//! Nothing blocks but [`Streamer::begin`], and nothing allocates after the start.

use super::requests::{Request, Requests};
use super::silence::Silence;
use crate::error::Error;
use crate::memory::{SlotState, WeightPool};
use crate::platform::{BlockDevice, Completion, IoFault};
use crate::telemetry::Load;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// An extent that is not pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamedExtent {
    /// Its number in the layout.
    pub extent: usize,
    /// Where it begins in the device.
    pub offset: u64,
    /// Its length.
    pub bytes: usize,
}

/// What streaming has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes read.
    pub bytes_read: u64,
    /// Requests sent, repeated ones among them.
    pub n_request: u64,
    /// Requests that failed and were sent again.
    pub n_retry: u64,
    /// Times that computing had to wait.
    pub n_stall: u64,
}

/// A landing slot's load.
#[derive(Clone, Copy, Debug, Default)]
struct Landing {
    /// Index in the order.
    index: usize,
    /// Bytes asked for, and bytes that came.
    asked: usize,
    came: usize,
    n_pending: usize,
    fault: Option<(u64, IoFault)>,
    times: Load,
}

/// While something is on its way that is needed sooner, of an extent only this share may be under way at a time, or two
/// requests: as much as keeps the device busy while a layer computes from memory, which is read ten times as fast as a disk.
const SHARE_AHEAD: usize = 6;

/// The slot of a request that goes into no slot.
const FETCH: usize = usize::MAX;

/// Pieces that somebody waits for.
#[derive(Clone, Copy, Debug, Default)]
struct Fetched {
    n_pending: usize,
    fault: Option<(u64, IoFault)>,
}

/// The scan.
pub struct Streamer {
    order: Vec<StreamedExtent>,
    /// Landing slots of the pool.
    slots: Range<usize>,
    landings: Vec<Landing>,
    requests: Requests,
    bytes_request: usize,
    align: usize,
    /// Index in the order of the extent that is due.
    due: usize,
    /// Whether each pass begins with a [`Streamer::fetch`], and whether that of the next one is still to come.
    fetches: bool,
    awaits_fetch: bool,
    /// For each of the order, whether it has been loaded before.
    is_known: Vec<bool>,
    counts: Counts,
    fetched: Fetched,
    /// What the device has done that it cannot do.
    broken: Option<Error>,
}

impl Streamer {
    /// A scan of `order` through the landing `slots` of a pool, with requests of up to `bytes_request`. `fetches` says that each
    /// pass begins with a [`Streamer::fetch`].
    ///
    /// # Errors
    ///
    /// [`Error::Stream`] if there are fewer than two slots (or one for one extent), or an extent is not aligned as the device
    /// needs it.
    pub fn new(
        order: Vec<StreamedExtent>,
        slots: Range<usize>,
        device: &dyn BlockDevice,
        bytes_request: usize,
        fetches: bool,
    ) -> Result<Streamer, Error> {
        let align = device.align();
        let bytes_request = bytes_request.min(device.bytes_request_max()) / align * align;
        if slots.len() < order.len().min(2) {
            return Err(Error::Stream { what: "landing slots", expected: order.len().min(2), got: slots.len() });
        }
        if bytes_request == 0 {
            return Err(Error::Stream { what: "bytes of a request", expected: align, got: 0 });
        }
        for at in &order {
            if !at.offset.is_multiple_of(align as u64) || !at.bytes.is_multiple_of(align) {
                return Err(Error::Stream { what: "alignment of an extent", expected: align, got: at.extent });
            }
        }
        Ok(Streamer {
            is_known: vec![false; order.len()],
            landings: vec![Landing::default(); slots.len()],
            requests: Requests::new(device.n_request_max()),
            order,
            slots,
            bytes_request,
            align,
            due: 0,
            fetches,
            awaits_fetch: fetches,
            counts: Counts::default(),
            fetched: Fetched::default(),
            broken: None,
        })
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn index_of(&self, extent: usize) -> Option<usize> {
        self.order.binary_search_by_key(&extent, |at| at.extent).ok()
    }

    /// Indices of the window, from the one that is due.
    fn window(&self) -> impl Iterator<Item = usize> + use<> {
        let (due, n) = (self.due, self.order.len());
        (0..self.slots.len().min(n)).map(move |i| (due + i) % n)
    }

    /// Takes completions, empties what is not wanted, starts what is, and sends as many requests as the device takes.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTag`] or [`Error::Completion`] for an answer that belongs to no request, or to less than it says.
    pub fn pump(&mut self, pool: &mut WeightPool, device: &dyn BlockDevice, now_us: u64) -> Result<(), Error> {
        self.collect(pool, device, now_us)?;
        for slot in self.slots.clone() {
            let landing = self.landings[slot - self.slots.start];
            if self.window().any(|wanted| wanted == landing.index) {
                continue;
            }
            match pool.state(slot).0 {
                SlotState::Resident => pool.unload(slot)?,
                SlotState::Streaming if landing.n_pending == 0 => pool.fail(slot)?,
                _ => {}
            }
        }
        for index in self.window() {
            if pool.slot_of(self.order[index].extent).is_some() {
                continue;
            }
            let free = self.slots.clone().find(|&slot| pool.state(slot).0 == SlotState::Unloaded);
            let Some(slot) = free else { break };
            pool.start(slot, self.order[index].extent)?;
            let times = Load { start_us: now_us, ..Load::default() };
            self.landings[slot - self.slots.start] = Landing { index, times, ..Landing::default() };
        }
        // In the order in which they are needed; what is needed first has the device to itself, or nearly.
        let n_before_fetch = match (self.fetches, self.awaits_fetch) {
            (false, _) => usize::MAX,
            (true, false) => self.order.len() - self.due + 1,
            (true, true) => 1,
        };
        let mut is_first = true;
        for (i, index) in self.window().enumerate() {
            let Some(slot) = pool.slot_of(self.order[index].extent) else { continue };
            if pool.state(slot).0 == SlotState::Streaming {
                let share = (self.order[index].bytes / SHARE_AHEAD).max(2 * self.bytes_request);
                let is_next = is_first || device.is_in_order();
                let most = if is_next && i < n_before_fetch { usize::MAX } else { share };
                self.ask(slot, most, pool, device);
                is_first = false;
            }
        }
        device.start();
        Ok(())
    }

    /// Takes the completions that are there. After one that cannot be, nothing more is asked of the device: what it has
    /// answered, and what it will, is unknown.
    fn collect(&mut self, pool: &mut WeightPool, device: &dyn BlockDevice, now_us: u64) -> Result<bool, Error> {
        self.check()?;
        let mut has_come = false;
        while let Some(completion) = device.poll() {
            has_come = true;
            self.complete(completion, pool, device, now_us).inspect_err(|error| self.broken = Some(error.clone()))?;
        }
        Ok(has_come)
    }

    /// The error after which nothing more is asked of the device, if there was one.
    fn check(&self) -> Result<(), Error> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Waits a moment for completions, and takes them; an error where none has come for long.
    fn await_some(
        &mut self,
        silence: &mut Silence,
        pool: &mut WeightPool,
        device: &dyn BlockDevice,
        now_us: &dyn Fn() -> u64,
    ) -> Result<(), Error> {
        device.wait();
        let now = now_us();
        silence.go_on(now);
        if self.collect(pool, device, now)? {
            silence.ends();
        } else if let Some(waited_us) = silence.too_long() {
            let error = Error::Silence { n_request: self.requests.len(), waited_us };
            self.broken = Some(error.clone());
            return Err(error);
        }
        Ok(())
    }

    /// Sends what is left to ask for one slot, while the device takes it and fewer than `most` bytes are under way.
    fn ask(&mut self, slot: usize, most: usize, pool: &WeightPool, device: &dyn BlockDevice) {
        let landing = slot - self.slots.start;
        loop {
            let at = &self.landings[landing];
            let extent = self.order[at.index];
            let is_enough = self.requests.len().saturating_mul(self.bytes_request) >= most;
            if at.asked == extent.bytes || at.fault.is_some() || is_enough {
                return;
            }
            let bytes = self.bytes_request.min(extent.bytes - at.asked);
            let request = Request {
                slot,
                offset: extent.offset + at.asked as u64,
                // SAFETY: an extent fits its slot (the planner's duty, checked when the engine was made).
                to: unsafe { pool.room(slot).0.add(at.asked) },
                bytes,
                is_retry: false,
            };
            if !self.send(request, device) {
                return;
            }
            self.landings[landing].asked += bytes;
        }
    }

    /// Sends a request, if there is room for it here and there.
    fn send(&mut self, request: Request, device: &dyn BlockDevice) -> bool {
        if !self.requests.has_room() {
            return false;
        }
        let tag = self.requests.add(request);
        // SAFETY: the room is in a slot that is Streaming, which nobody else uses until the load has ended.
        let is_sent = unsafe { device.submit(tag, request.offset, request.to, request.bytes) };
        if !is_sent {
            self.requests.take(tag).expect("added above");
            return false;
        }
        *self.n_pending(request.slot) += 1;
        self.counts.n_request += 1;
        true
    }

    /// Requests under way for a slot.
    fn n_pending(&mut self, slot: usize) -> &mut usize {
        match slot {
            FETCH => &mut self.fetched.n_pending,
            _ => &mut self.landings[slot - self.slots.start].n_pending,
        }
    }

    /// Notes why a slot cannot be filled, unless there is a reason already.
    fn give_up(&mut self, slot: usize, offset: u64, fault: IoFault) {
        let noted = match slot {
            FETCH => &mut self.fetched.fault,
            _ => &mut self.landings[slot - self.slots.start].fault,
        };
        noted.get_or_insert((offset, fault));
    }

    fn complete(
        &mut self,
        completion: Completion,
        pool: &mut WeightPool,
        device: &dyn BlockDevice,
        now_us: u64,
    ) -> Result<(), Error> {
        let request = self.requests.take(completion.tag)?;
        *self.n_pending(request.slot) -= 1;
        match completion.result {
            Ok(bytes) if bytes > request.bytes => {
                return Err(Error::Completion { tag: completion.tag, expected: request.bytes, got: bytes });
            }
            Ok(bytes) if bytes == request.bytes => self.came(request.slot, bytes),
            Ok(bytes) => {
                // What is whole is kept, and the rest is asked for again.
                let whole = bytes / self.align * self.align;
                self.came(request.slot, whole);
                let rest = Request {
                    offset: request.offset + whole as u64,
                    to: request.to.wrapping_add(whole),
                    bytes: request.bytes - whole,
                    is_retry: request.is_retry || whole == 0,
                    ..request
                };
                let is_end = whole == 0 && request.is_retry;
                if is_end || !self.send(rest, device) {
                    let fault = IoFault { what: "the device gave fewer bytes than were asked for", code: 0 };
                    self.give_up(request.slot, rest.offset, fault);
                }
            }
            Err(fault) => {
                let again = Request { is_retry: true, ..request };
                if request.is_retry || !self.send(again, device) {
                    self.give_up(request.slot, request.offset, fault);
                } else {
                    self.counts.n_retry += 1;
                }
            }
        }
        if request.slot == FETCH {
            return Ok(());
        }
        let at = &mut self.landings[request.slot - self.slots.start];
        if at.n_pending == 0 && at.fault.is_none() && at.came == self.order[at.index].bytes {
            at.times.end_us = now_us;
            at.times.bytes = at.came as u64;
            pool.finish(request.slot)?;
        }
        Ok(())
    }

    fn came(&mut self, slot: usize, bytes: usize) {
        if slot != FETCH {
            self.landings[slot - self.slots.start].came += bytes;
        }
        self.counts.bytes_read += bytes as u64;
    }

    /// Waits until an extent is whole, and begins to compute from it: its slot, how it was loaded, and whether for the first
    /// time. The extents after it load meanwhile. `now_us` tells the time.
    ///
    /// # Errors
    ///
    /// As [`Streamer::wait`].
    pub fn begin(
        &mut self,
        extent: usize,
        pool: &mut WeightPool,
        device: &dyn BlockDevice,
        now_us: &dyn Fn() -> u64,
    ) -> Result<(usize, Load, bool), Error> {
        let slot = self.wait(extent, pool, device, now_us)?;
        pool.begin(slot)?;
        let landing = self.landings[slot - self.slots.start];
        let is_first = !core::mem::replace(&mut self.is_known[landing.index], true);
        Ok((slot, landing.times, is_first))
    }

    /// Waits until an extent is Resident, and returns its slot. The extents after it load meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if it cannot be read; everything of its load has then come to an end, and a later call tries again.
    pub fn wait(
        &mut self,
        extent: usize,
        pool: &mut WeightPool,
        device: &dyn BlockDevice,
        now_us: &dyn Fn() -> u64,
    ) -> Result<usize, Error> {
        let Some(index) = self.index_of(extent) else {
            return Err(Error::Stream { what: "a streamed extent", expected: self.order.len(), got: extent });
        };
        self.due = index;
        self.awaits_fetch = false;
        let mut silence = Silence::begin(now_us());
        let mut has_waited = false;
        loop {
            self.pump(pool, device, now_us())?;
            if let Some(slot) = pool.slot_of(extent) {
                if pool.state(slot).0 == SlotState::Resident {
                    return Ok(slot);
                }
                let at = self.landings[slot - self.slots.start];
                if let (Some((offset, fault)), 0) = (at.fault, at.n_pending) {
                    pool.fail(slot)?;
                    return Err(Error::Read { extent, offset, fault });
                }
            }
            if !has_waited {
                has_waited = true;
                self.counts.n_stall += 1;
            }
            self.await_some(&mut silence, pool, device, now_us)?;
        }
    }

    /// The layer is done with its extent: the slot is free for the next load, which begins at once.
    ///
    /// # Errors
    ///
    /// As [`Streamer::pump`].
    pub fn end(
        &mut self,
        slot: usize,
        pool: &mut WeightPool,
        device: &dyn BlockDevice,
        now_us: u64,
    ) -> Result<(), Error> {
        let index = self.landings[slot - self.slots.start].index;
        self.due = (index + 1) % self.order.len();
        self.awaits_fetch = self.fetches && self.due == 0;
        pool.end(slot)?;
        self.pump(pool, device, now_us)
    }

    /// Reads some pieces of `extent` that somebody waits for: each `(offset, to, bytes)`, aligned as the device needs it, and as
    /// long as it may be.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] for the first that cannot be read; none is under way then.
    pub fn fetch(
        &mut self,
        extent: usize,
        pieces: impl Iterator<Item = (u64, *mut u8, usize)>,
        pool: &mut WeightPool,
        device: &dyn BlockDevice,
        now_us: &dyn Fn() -> u64,
    ) -> Result<(), Error> {
        self.check()?;
        let most = self.bytes_request;
        let requests = pieces.flat_map(|(offset, to, bytes)| {
            (0..bytes).step_by(most).map(move |start| Request {
                slot: FETCH,
                offset: offset + start as u64,
                to: to.wrapping_add(start),
                bytes: most.min(bytes - start),
                is_retry: false,
            })
        });
        let mut requests = requests.peekable();
        let mut silence = Silence::begin(now_us());
        self.fetched = Fetched::default();
        while requests.peek().is_some() || self.fetched.n_pending > 0 {
            while let Some(&request) = requests.peek()
                && self.fetched.fault.is_none()
                && self.send(request, device)
            {
                requests.next();
            }
            device.start();
            if self.fetched.fault.is_some() && self.fetched.n_pending == 0 {
                break;
            }
            self.await_some(&mut silence, pool, device, now_us)?;
        }
        match self.fetched.fault {
            Some((offset, fault)) => Err(Error::Read { extent, offset, fault }),
            None => Ok(()),
        }
    }

    /// Forgets that an extent has been loaded and checked: it was found damaged.
    pub fn distrust(&mut self, extent: usize) {
        if let Some(index) = self.index_of(extent) {
            self.is_known[index] = false;
        }
    }
}
