//! Loading of what is pinned. Bytes that the system has in memory are read by the workers, each piece by one of them, which
//! digests every part of it as soon as it has come, from its own cache. The rest is left to the device: while it reads a group
//! of pieces, the workers digest the group before.

use super::store::WeightImage;
use crate::digest::{BYTES_PIECE, Digest, digest_of_piece, digest_of_pieces, n_piece};
use crate::error::Error;
use crate::memory::WeightPool;
use crate::platform::Platform;
use crate::schedule::Phases;
use crate::stream::{StreamedExtent, Streamer};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Progress of a load in bytes, done and in all; stops it with `false`.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize) -> bool;

/// Bytes that are read at once and then digested: they stay in the cache of a core.
const BYTES_PART: usize = 256 << 10;
/// Pieces of a group: enough to keep a device at its full rate, little enough for the caches of a processor.
const N_GROUP: usize = 8;

/// What an image is read with.
pub struct Reader<'a> {
    /// Where from.
    pub image: &'a WeightImage,
    /// A scan of nothing, which fetches.
    pub streamer: Streamer,
    /// Where to.
    pub pool: &'a mut WeightPool,
    /// Who digests.
    pub platform: &'a dyn Platform,
}

/// What has come, and who is told of it.
struct Counted<'a> {
    done: usize,
    total: usize,
    progress: Progress<'a>,
}

impl Counted<'_> {
    fn tell(&mut self, done: usize) -> Result<(), Error> {
        self.done = done;
        if (self.progress)(done, self.total) { Ok(()) } else { Err(Error::Cancelled) }
    }
}

/// A piece of an extent.
struct Piece {
    at: StreamedExtent,
    index: usize,
    bytes: usize,
    to: *mut u8,
    /// Once it has been digested.
    digest: Cell<Option<Digest>>,
}

// SAFETY: of all that share a piece, one uses its memory and its digest at a time: the worker that has taken it.
unsafe impl Sync for Piece {}

impl Piece {
    /// Where it begins in the device.
    fn offset(&self) -> u64 {
        self.at.offset + (self.index * BYTES_PIECE) as u64
    }

    /// Digests it. `come(offset, to, bytes)` is asked for each part, and says whether it is there.
    fn digest(&self, come: &dyn Fn(u64, *mut u8, usize) -> bool) {
        self.digest.set(digest_of_piece(self.index, n_piece(self.at.bytes), &mut |update| {
            (0..self.bytes).step_by(BYTES_PART).all(|start| {
                let (to, bytes) = (self.to.wrapping_add(start), BYTES_PART.min(self.bytes - start));
                let has_come = come(self.offset() + start as u64, to, bytes);
                if has_come {
                    // SAFETY: it is there, and only read from now on.
                    update(unsafe { core::slice::from_raw_parts(to, bytes) });
                }
                has_come
            })
        }));
    }
}

/// What worker 0 alone uses in a job.
struct OfFirst<T>(RefCell<T>);

// SAFETY: who calls `with` sees to that.
unsafe impl<T> Sync for OfFirst<T> {}

impl<T> OfFirst<T> {
    /// # Safety
    ///
    /// Called by worker 0.
    unsafe fn with<R>(&self, action: impl FnOnce(&mut T) -> R) -> R {
        action(&mut self.0.borrow_mut())
    }
}

impl<'a> Reader<'a> {
    /// For a pool that nothing is in yet.
    ///
    /// # Errors
    ///
    /// [`Error::Stream`] for a device whose requests have no length.
    pub fn new(
        image: &'a WeightImage,
        pool: &'a mut WeightPool,
        platform: &'a dyn Platform,
    ) -> Result<Reader<'a>, Error> {
        let streamer = Streamer::new(Vec::new(), 0..0, &*image.device, image.bytes_request, false)?;
        Ok(Reader { image, streamer, pool, platform })
    }

    /// Reads extents into the slots of the pool, the first into slot 0, checks their digests, and pins them. `progress` counts
    /// the bytes that have come.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Damaged`], [`Error::Cancelled`] if `progress` said so.
    pub fn load(&mut self, extents: &[StreamedExtent], progress: Progress<'_>) -> Result<(), Error> {
        let mut pieces = Vec::new();
        for (slot, &at) in extents.iter().enumerate() {
            if at.bytes > self.pool.room(slot).1 {
                return Err(Error::Stream {
                    what: "room for an extent",
                    expected: at.bytes,
                    got: self.pool.room(slot).1,
                });
            }
            self.pool.start(slot, at.extent)?;
            let room = self.pool.room(slot).0;
            pieces.extend((0..n_piece(at.bytes)).map(|index| {
                let bytes = BYTES_PIECE.min(at.bytes - index * BYTES_PIECE);
                Piece { at, index, bytes, to: room.wrapping_add(index * BYTES_PIECE), digest: Cell::default() }
            }));
        }
        let mut counted = Counted { done: 0, total: extents.iter().map(|at| at.bytes).sum(), progress };
        self.take_at_hand(&pieces, &mut counted)?;
        self.fetch_others(&pieces, &mut counted)?;
        let mut values = pieces.iter().map(|piece| piece.digest.get().expect("all have come"));
        for (slot, at) in extents.iter().enumerate() {
            let value = digest_of_pieces(n_piece(at.bytes), &mut |_| values.next().expect("one for each piece"));
            if value != self.image.extents[at.extent].digest {
                return Err(Error::Damaged { extent: at.extent });
            }
            self.pool.finish(slot)?;
            self.pool.pin(slot)?;
        }
        Ok(())
    }

    /// Reads and digests the pieces that need no waiting for, on all workers.
    fn take_at_hand(&self, pieces: &[Piece], counted: &mut Counted<'_>) -> Result<(), Error> {
        let (platform, device, phases) = (self.platform, &*self.image.device, Phases::new());
        let n_come = AtomicUsize::new(counted.done);
        let is_cancelled = AtomicBool::new(false);
        let counted = OfFirst(RefCell::new(counted));
        platform.run(&|worker| {
            let taken = phases.join(platform).phase(pieces.len(), |i| {
                // SAFETY: the room of the piece is this worker's until the phase ends.
                pieces[i].digest(&|offset, to, bytes| unsafe { device.read_at_hand(offset, to, bytes) });
                if pieces[i].digest.get().is_none() {
                    return;
                }
                let done = n_come.fetch_add(pieces[i].bytes, Relaxed) + pieces[i].bytes;
                // SAFETY: worker 0 it is.
                if worker == 0 && unsafe { counted.with(|counted| counted.tell(done)) }.is_err() {
                    phases.cancel();
                }
            });
            is_cancelled.fetch_or(taken.is_err(), Relaxed);
        });
        if is_cancelled.into_inner() { Err(Error::Cancelled) } else { counted.0.into_inner().tell(n_come.into_inner()) }
    }

    /// Has the device read the pieces that were not at hand, a group at a time, and the workers digest the group before.
    fn fetch_others(&mut self, pieces: &[Piece], counted: &mut Counted<'_>) -> Result<(), Error> {
        let others: Vec<&Piece> = pieces.iter().filter(|piece| piece.digest.get().is_none()).collect();
        if others.is_empty() {
            return Ok(());
        }
        let groups = others.chunk_by(|a, b| a.at == b.at).flat_map(|of_extent| of_extent.chunks(N_GROUP));
        let platform = self.platform;
        let mut come: &[&Piece] = &[];
        // At last a group of none, beside which the last ones are digested.
        for group in groups.chain([[].as_slice()]) {
            let phases = Phases::new();
            let read = OfFirst(RefCell::new((&mut *self, Ok(()))));
            platform.run(&|worker| {
                if worker == 0 {
                    let parts = group.iter().map(|piece| (piece.offset(), piece.to, piece.bytes));
                    let extent = group.first().map_or(0, |piece| piece.at.extent);
                    // SAFETY: worker 0 it is.
                    unsafe { read.with(|(reader, result)| *result = reader.fetch(extent, parts)) };
                }
                if !come.is_empty() {
                    // Nobody cancels it.
                    let _ = phases.join(platform).phase(come.len(), |i| come[i].digest(&|_, _, _| true));
                }
            });
            read.0.into_inner().1?;
            come = group;
            counted.tell(counted.done + group.iter().map(|piece| piece.bytes).sum::<usize>())?;
        }
        Ok(())
    }

    /// Has the device read parts of an extent, each with its offset, the place of its first byte, and its length.
    fn fetch(&mut self, extent: usize, parts: impl Iterator<Item = (u64, *mut u8, usize)>) -> Result<(), Error> {
        let device = &*self.image.device;
        let most = self.image.bytes_request.min(device.bytes_request_max()) / device.align() * device.align();
        let requests = parts.flat_map(|(offset, to, bytes)| {
            let request = move |start| (offset + start as u64, to.wrapping_add(start), most.min(bytes - start));
            (0..bytes).step_by(most).map(request)
        });
        let requests: Vec<_> = requests.collect();
        self.streamer.fetch(extent, &requests, self.pool, device, &|| self.platform.now_us())
    }

    /// Checks the digest of an extent that is not to stay in memory as a whole: it goes through `room`, which nothing is in
    /// yet.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Damaged`].
    pub fn check(&mut self, at: StreamedExtent, room: (*mut u8, usize)) -> Result<(), Error> {
        let (to, bytes_room) = (room.0, room.1 / self.image.device.align() * self.image.device.align());
        let mut result = Ok(());
        let value = digest_of_piece(0, 1, &mut |update| {
            (0..at.bytes).step_by(bytes_room).all(|start| {
                let bytes = bytes_room.min(at.bytes - start);
                result = self.fetch(at.extent, [(at.offset + start as u64, to, bytes)].into_iter());
                if result.is_ok() {
                    // SAFETY: the room, which has been read into and which nobody writes now.
                    update(unsafe { core::slice::from_raw_parts(to, bytes) });
                }
                result.is_ok()
            })
        });
        result?;
        if value == Some(self.image.extents[at.extent].digest) {
            Ok(())
        } else {
            Err(Error::Damaged { extent: at.extent })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::digest;
    use crate::memory::TensorRegion;
    use crate::model::StoredExtent;
    use crate::platform::{BlockDevice, Completion};
    use alloc::boxed::Box;
    use alloc::vec;
    use core::ptr::NonNull;

    /// One worker.
    struct Alone;

    // SAFETY: it calls the job once.
    unsafe impl Platform for Alone {
        fn now_us(&self) -> u64 {
            0
        }
        fn n_worker(&self) -> usize {
            1
        }
        fn run(&self, job: &(dyn Fn(usize) + Sync)) {
            job(0);
        }
        fn relax(&self, _n_poll: u32) {}
    }

    /// A disk of which the system has some megabytes in memory.
    struct Memory {
        content: &'static [u8],
        is_at_hand: fn(u64) -> bool,
        /// Tag and length of the last request, until it is polled.
        last: AtomicUsize,
    }

    impl Memory {
        unsafe fn read(&self, offset: u64, to: *mut u8, bytes: usize) {
            let from = &self.content[offset as usize..][..bytes];
            // SAFETY: the caller's duty.
            unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to, bytes) };
        }
    }

    // SAFETY: what is written to is written before `submit` returns; one request is accepted at a time.
    unsafe impl BlockDevice for Memory {
        fn align(&self) -> usize {
            4096
        }
        fn bytes_request_max(&self) -> usize {
            3 << 20
        }
        fn n_request_max(&self) -> usize {
            1
        }
        fn is_in_order(&self) -> bool {
            true
        }
        unsafe fn submit(&self, tag: u32, offset: u64, to: *mut u8, bytes: usize) -> bool {
            assert!(bytes <= self.bytes_request_max() && offset.is_multiple_of(4096));
            // SAFETY: the caller's duty.
            unsafe { self.read(offset, to, bytes) };
            self.last.store((tag as usize) << 32 | bytes, Relaxed);
            true
        }
        unsafe fn read_at_hand(&self, offset: u64, to: *mut u8, bytes: usize) -> bool {
            if (self.is_at_hand)(offset) {
                // SAFETY: the caller's duty.
                unsafe { self.read(offset, to, bytes) };
            }
            (self.is_at_hand)(offset)
        }
        fn poll(&self) -> Option<Completion> {
            let last = self.last.swap(0, Relaxed);
            (last > 0).then_some(Completion { tag: (last >> 32) as u32, result: Ok(last as u32 as usize) })
        }
        fn wait(&self) {}
    }

    /// Loads three extents, of one piece, of several groups of them and of a little more than two, and compares what came.
    fn load(whole: &[u8], content: &'static [u8], is_at_hand: fn(u64) -> bool) -> Result<(), Error> {
        let sizes = [4096, 17 * BYTES_PIECE, 2 * BYTES_PIECE + 8192];
        let mut at = 4096;
        let extents: Vec<StreamedExtent> = sizes
            .iter()
            .enumerate()
            .map(|(extent, &bytes)| {
                at += bytes;
                StreamedExtent { extent, offset: (at - bytes) as u64, bytes }
            })
            .collect();
        let of = |at: &StreamedExtent| &whole[at.offset as usize..at.offset as usize + at.bytes];
        let device = Memory { content, is_at_hand, last: AtomicUsize::new(0) };
        let image = WeightImage {
            device: Box::new(device),
            extents: extents.iter().map(|at| StoredExtent { offset: at.offset, digest: digest(of(at)) }).collect(),
            is_paranoid: false,
            bytes_request: 2 << 20,
        };
        let n = sizes.iter().sum::<usize>() + 4 * 4096;
        let mut memory = vec![0u8; n + 4096];
        let base = memory.as_mut_ptr().wrapping_add(memory.as_ptr().align_offset(4096));
        // SAFETY: zeroed, aligned, and left alone while the pool is in use.
        let mut region = unsafe { TensorRegion::new(NonNull::new(base).unwrap(), n) };
        let mut pool = WeightPool::carve(&mut region, sizes)?;
        let mut told = vec![0];
        let mut progress = |done, total| {
            assert!(told.last().is_some_and(|last| *last <= done) && total == sizes.iter().sum(), "{told:?} {done}");
            told.push(done);
            true
        };
        Reader::new(&image, &mut pool, &Alone)?.load(&extents, &mut progress)?;
        assert_eq!(told.last(), Some(&sizes.iter().sum()));
        for (slot, at) in extents.iter().enumerate() {
            // SAFETY: a slot that has been loaded.
            let loaded = unsafe { core::slice::from_raw_parts(pool.room(slot).0, at.bytes) };
            assert!(loaded == of(at), "extent {slot}");
        }
        Ok(())
    }

    /// What parts of the disk are in the system's memory.
    const HANDS: [fn(u64) -> bool; 3] = [|_| true, |_| false, |offset| offset % (5 << 20) < 3 << 20];

    fn original() -> Vec<u8> {
        (0..22 * BYTES_PIECE).map(|i| (i % 251 * (i >> 12) % 253) as u8).collect()
    }

    #[test]
    fn whatever_is_at_hand_all_of_it_comes() {
        let content: &'static [u8] = original().leak();
        for is_at_hand in HANDS {
            load(content, content, is_at_hand).unwrap();
        }
    }

    #[test]
    fn damage_is_found_however_it_comes() {
        let mut content = original();
        content[9 * BYTES_PIECE + 5] ^= 4;
        let content: &'static [u8] = content.leak();
        for is_at_hand in HANDS {
            assert_eq!(load(&original(), content, is_at_hand).unwrap_err(), Error::Damaged { extent: 1 });
        }
    }
}
