//! The language between an engine and a program that drives it from outside, over a line that carries bytes
//! (`docs/bare-protocol.md`). Here is what is plain computation: frames, messages of frames, and the fields of messages.
//! Nothing allocates but where it says so.

mod fields;
mod frame;
mod message;

pub use self::fields::{Malformed, Reader};
pub use self::frame::{BYTES_FRAME_MAX, BYTES_HEADER, BYTES_PAYLOAD_MAX, BYTES_TRAILER, Header, MAGIC, Receiver};
pub use self::message::{Inbox, Taken, frames};

/// This version of the language. Both sides must speak the same.
pub const VERSION: u32 = 1;

/// What a message is. Requests go to the engine, each is answered by [`kind::ANSWER`] plus its own number or by an error.
pub mod kind {
    /// Which version is spoken, and what machine this is.
    pub const HELLO: u16 = 1;
    /// Open the model.
    pub const OPEN: u16 = 2;
    /// Append tokens, answer logits.
    pub const FORWARD: u16 = 3;
    /// End the pass under way at the next boundary between layers; has no answer of its own.
    pub const CANCEL: u16 = 4;
    /// Open a sequence.
    pub const SEQ_NEW: u16 = 5;
    /// Close one.
    pub const SEQ_FREE: u16 = 6;
    /// Open one with the positions of another.
    pub const SEQ_FORK: u16 = 7;
    /// Count positions.
    pub const SEQ_LEN: u16 = 8;
    /// Keep the first positions.
    pub const SEQ_REWIND: u16 = 9;
    /// The state of a sequence.
    pub const SEQ_SAVE: u16 = 10;
    /// Open a sequence with a state.
    pub const SEQ_LOAD: u16 = 11;
    /// Times and counts.
    pub const TELEMETRY: u16 = 12;
    /// The records of layers since the last call.
    pub const RECORDS: u16 = 13;
    /// What was chosen at start, and bytes that are held.
    pub const INFO: u16 = 14;
    /// Run one function of the core, or a program on one of its machines.
    pub const CONFORMANCE: u16 = 15;
    /// End.
    pub const QUIT: u16 = 16;

    /// Added to a request's kind in its answer.
    pub const ANSWER: u16 = 0x100;
    /// Instead of an answer: what went wrong.
    pub const ERROR: u16 = 0x200;
    /// Before an answer: how far it is.
    pub const PROGRESS: u16 = 0x201;
    /// What came was damaged, and nothing was done for it.
    pub const DAMAGED: u16 = 0x202;
}
