//! The streamer: while layer L computes from one slot, the layers after it load into the others.

mod requests;
mod silence;
mod streamer;

pub use self::streamer::{Counts, StreamedExtent, Streamer};

/// Bytes of a request while streaming, if the device takes so many: a disk's full speed, and small enough that several are
/// under way.
pub const BYTES_REQUEST: usize = 2 << 20;
