//! Loading of what is pinned. Bytes that the system has in memory are read by the workers, each piece by one of them, which
//! digests every part of it as soon as it has come, from its own cache. The rest is left to the device: while it reads a group
//! of pieces, the workers digest the group before.

use super::progress::{Counted, OfFirst};
use crate::digest::{BYTES_PIECE, Digest, digest_of_piece, digest_of_pieces, n_piece};
use crate::error::Error;
use crate::memory::WeightPool;
use crate::platform::{BlockDevice, Platform};
use crate::schedule::Phases;
use crate::stream::{StreamedExtent, Streamer};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// Bytes that are read at once and then digested: they stay in the cache of a core.
const BYTES_PART: usize = 256 << 10;
/// Pieces of a group: enough to keep a device at its full rate, little enough for the caches of a processor.
const N_GROUP: usize = 8;

/// An extent of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredExtent {
    /// Where it begins in the device.
    pub offset: u64,
    /// Its digest.
    pub digest: Digest,
}

/// A device that holds the extents of a model.
pub struct WeightImage {
    /// What is read.
    pub device: Box<dyn BlockDevice>,
    /// One for each extent of the layout.
    pub extents: Vec<StoredExtent>,
    /// Whether every load is checked, not the first alone.
    pub is_paranoid: bool,
    /// Bytes of a request.
    pub bytes_request: usize,
}

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
    /// What has come, of all that is to be read.
    pub counted: Counted<'a>,
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
        counted: Counted<'a>,
    ) -> Result<Reader<'a>, Error> {
        let streamer = Streamer::new(Vec::new(), 0..0, &*image.device, image.bytes_request, false)?;
        Ok(Reader { image, streamer, pool, platform, counted })
    }

    /// Reads extents into the slots of the pool, the first into slot 0, checks their digests, and pins them.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Damaged`], [`Error::Cancelled`].
    pub fn load(&mut self, extents: &[StreamedExtent]) -> Result<(), Error> {
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
        self.take_at_hand(&pieces)?;
        self.fetch_others(&pieces)?;
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
    fn take_at_hand(&mut self, pieces: &[Piece]) -> Result<(), Error> {
        let (platform, device, counted, phases) = (self.platform, &*self.image.device, &self.counted, Phases::new());
        platform.run(&|worker| {
            // Who cancels it has been told so.
            let _ = phases.join(platform).phase(pieces.len(), |i| {
                // SAFETY: the room of the piece is this worker's until the phase ends.
                pieces[i].digest(&|offset, to, bytes| unsafe { device.read_at_hand(offset, to, bytes) });
                let n_come = if pieces[i].digest.get().is_some() { pieces[i].bytes } else { 0 };
                // SAFETY: this worker's number.
                if unsafe { counted.add(worker, n_come) }.is_err() {
                    phases.cancel();
                }
            });
        });
        self.counted.tell(0)
    }

    /// Has the device read the pieces that were not at hand, a group at a time, and the workers digest the group before.
    fn fetch_others(&mut self, pieces: &[Piece]) -> Result<(), Error> {
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
            self.counted.tell(group.iter().map(|piece| piece.bytes).sum())?;
        }
        Ok(())
    }

    /// Has the device read parts of an extent, each with its offset, the place of its first byte, and its length.
    fn fetch(&mut self, extent: usize, parts: impl Iterator<Item = (u64, *mut u8, usize)>) -> Result<(), Error> {
        self.streamer.fetch(extent, parts, self.pool, &*self.image.device, &|| self.platform.now_us())
    }

    /// Checks the digest of an extent that is not to stay in memory as a whole: it goes through `room`, which nothing is in
    /// yet.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Damaged`], [`Error::Cancelled`].
    pub fn check(&mut self, at: StreamedExtent, room: (*mut u8, usize)) -> Result<(), Error> {
        let align = self.image.device.align();
        let (to, bytes_room) = (room.0, room.1.min(N_GROUP * BYTES_PIECE) / align * align);
        let mut result = Ok(());
        let value = digest_of_piece(0, 1, &mut |update| {
            (0..at.bytes).step_by(bytes_room).all(|start| {
                let bytes = bytes_room.min(at.bytes - start);
                result = self.fetch(at.extent, [(at.offset + start as u64, to, bytes)].into_iter());
                if result.is_ok() {
                    // SAFETY: the room, which has been read into and which nobody writes now.
                    update(unsafe { core::slice::from_raw_parts(to, bytes) });
                    result = self.counted.tell(bytes);
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
    use crate::platform::Completion;
    use alloc::vec;
    use core::ptr::NonNull;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

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

    /// Loads three extents, of one piece, of several groups of them and of a little more than two, and compares what came; then
    /// checks the largest. Whoever is told of so many bytes stops it.
    fn load(whole: &[u8], content: &'static [u8], is_at_hand: fn(u64) -> bool, n_stop: usize) -> Result<(), Error> {
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
        let total = sizes.iter().sum::<usize>() + sizes[1];
        let n = sizes.iter().sum::<usize>() + 4 * 4096;
        let mut memory = vec![0u8; n + 4096];
        let base = memory.as_mut_ptr().wrapping_add(memory.as_ptr().align_offset(4096));
        // SAFETY: zeroed, aligned, and left alone while the pool is in use.
        let mut region = unsafe { TensorRegion::new(NonNull::new(base).unwrap(), n) };
        let mut pool = WeightPool::carve(&mut region, sizes)?;
        let mut told = vec![0];
        let mut progress = |done, of| {
            let last = *told.last().unwrap();
            assert!(last <= done && done <= last + N_GROUP * BYTES_PIECE && of == total, "{told:?} {done} of {of}");
            assert!(last < n_stop, "told again after it said stop");
            told.push(done);
            done < n_stop
        };
        let mut reader = Reader::new(&image, &mut pool, &Alone, Counted::new(total, &mut progress))?;
        reader.load(&extents)?;
        let mut room = vec![0u8; 3 * BYTES_PIECE];
        reader.check(extents[1], (room.as_mut_ptr(), room.len()))?;
        assert_eq!(told.last(), Some(&total));
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
            load(content, content, is_at_hand, usize::MAX).unwrap();
        }
    }

    #[test]
    fn damage_is_found_however_it_comes() {
        let mut content = original();
        content[9 * BYTES_PIECE + 5] ^= 4;
        let content: &'static [u8] = content.leak();
        for is_at_hand in HANDS {
            let found = load(&original(), content, is_at_hand, usize::MAX);
            assert_eq!(found, Err(Error::Damaged { extent: 1 }));
        }
    }

    #[test]
    fn whoever_is_told_can_stop_it_at_any_time() {
        let content: &'static [u8] = original().leak();
        for is_at_hand in HANDS {
            for n_stop in (1..37 * BYTES_PIECE).step_by(5 << 20) {
                assert_eq!(load(content, content, is_at_hand, n_stop), Err(Error::Cancelled));
            }
        }
    }
}
