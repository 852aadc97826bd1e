//! The streamer: while layer L computes from one slot, the layers after it load into the others.

mod requests;
mod silence;
mod streamer;

pub use self::streamer::{Counts, StreamedExtent, Streamer};
