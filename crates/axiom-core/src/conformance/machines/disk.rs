//! `ScriptedDisk`: a disk that does with each request what a program says, in whatever order.

use crate::platform::{BlockDevice, Completion, IoFault};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// Bytes of a block.
pub const BLOCK: usize = 8;

/// A request that has not been answered.
#[derive(Clone, Copy)]
struct Pending {
    tag: u32,
    offset: u64,
    to: *mut u8,
    bytes: usize,
}

/// The byte at an offset.
fn byte_at(offset: u64) -> u8 {
    (offset * 167 + (offset >> 8) * 13) as u8
}

/// The disk. Its clock goes on when somebody waits: a millisecond where there is an answer to come, a second where not.
pub struct ScriptedDisk {
    n_request_max: usize,
    blocks_request_max: usize,
    is_in_order: bool,
    pending: RefCell<Vec<Pending>>,
    answers: RefCell<VecDeque<Completion>>,
    script: RefCell<VecDeque<(usize, u64)>>,
    n_silent: Cell<u32>,
    is_stopped: Cell<bool>,
    now_us: Cell<u64>,
}

// SAFETY: programs run on one thread.
unsafe impl Send for ScriptedDisk {}
// SAFETY: as above.
unsafe impl Sync for ScriptedDisk {}

impl ScriptedDisk {
    /// A disk that takes so many requests at a time, of at most so many blocks, and says whether it keeps their order.
    pub fn new(n_request_max: usize, blocks_request_max: usize, is_in_order: bool) -> ScriptedDisk {
        ScriptedDisk {
            n_request_max,
            blocks_request_max,
            is_in_order,
            pending: RefCell::default(),
            answers: RefCell::default(),
            script: RefCell::default(),
            n_silent: Cell::new(0),
            is_stopped: Cell::new(false),
            now_us: Cell::new(0),
        }
    }

    /// Its clock.
    pub fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// What the next one to wait will get, after what has been said already.
    pub fn plan(&self, which: usize, kind: u64) {
        self.script.borrow_mut().push_back((which, kind));
    }

    /// Offset and length of every request that has not been answered, in the order in which they came.
    pub fn pending(&self) -> Vec<(u64, usize)> {
        self.pending.borrow().iter().map(|request| (request.offset, request.bytes)).collect()
    }

    /// Answers one request: 0 in full, 1 by half, 2 with nothing, 3 with an error, 4 with more than was asked for, 5 under a tag
    /// that nobody gave (the request stays). 6: nothing is answered for the next forty waits. 7: the next wait takes a minute,
    /// because everything stands still.
    pub fn answer(&self, which: usize, kind: u64) {
        let mut pending = self.pending.borrow_mut();
        if kind == 6 {
            self.n_silent.set(40);
        }
        if kind == 7 {
            self.is_stopped.set(true);
        }
        if pending.is_empty() || kind >= 6 {
            return;
        }
        let at = which % pending.len();
        let Pending { tag, offset, to, bytes } = pending[at];
        let (tag, result) = match kind {
            0 => (tag, Ok(bytes)),
            1 => (tag, Ok(bytes / 2)),
            2 => (tag, Ok(0)),
            3 => (tag, Err(IoFault { what: "input/output error", code: 5 })),
            4 => (tag, Ok(bytes + 1)),
            _ => (tag ^ 0x8000_0000, Ok(bytes)),
        };
        if kind != 5 {
            pending.remove(at);
            for i in 0..result.unwrap_or(0).min(bytes) {
                // SAFETY: within the buffer of the request, which is the disk's until the answer.
                unsafe { to.add(i).write(byte_at(offset + i as u64)) };
            }
        }
        self.answers.borrow_mut().push_back(Completion { tag, result });
    }
}

// SAFETY: a buffer is written to before its answer is there, and not after.
unsafe impl BlockDevice for ScriptedDisk {
    fn align(&self) -> usize {
        BLOCK
    }

    fn bytes_request_max(&self) -> usize {
        self.blocks_request_max * BLOCK
    }

    fn n_request_max(&self) -> usize {
        self.n_request_max
    }

    fn is_in_order(&self) -> bool {
        self.is_in_order
    }

    unsafe fn submit(&self, tag: u32, offset: u64, to: *mut u8, bytes: usize) -> bool {
        assert!(bytes <= self.bytes_request_max(), "a request is cut before it is made");
        let mut pending = self.pending.borrow_mut();
        let is_room = pending.len() < self.n_request_max;
        if is_room {
            pending.push(Pending { tag, offset, to, bytes });
        }
        is_room
    }

    fn poll(&self) -> Option<Completion> {
        self.answers.borrow_mut().pop_front()
    }

    fn wait(&self) {
        let is_silent = self.n_silent.get() > 0 || self.pending.borrow().is_empty();
        let stopped_us = if self.is_stopped.take() { 60_000_000 } else { 0 };
        self.now_us.set(self.now_us.get() + stopped_us + if is_silent { 1_000_000 } else { 1000 });
        if is_silent {
            self.n_silent.set(self.n_silent.get().saturating_sub(1));
            return;
        }
        let (which, kind) = self.script.borrow_mut().pop_front().unwrap_or((0, 0));
        self.answer(which, kind);
    }
}
