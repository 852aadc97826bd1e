//! The `.axiom` image: a model whose extents lie as they are computed from (`docs/image.md`).
//!
//! The head (header, configuration, metadata, directory, table of extents) is read whole and checked once by [`Image::parse`];
//! what it says can be relied on afterwards. The extents are read when they are needed, and checked against their digests.

mod head;

pub use self::head::{HEADER, Image, MAGIC, ROOT, head_bytes, stated_bytes};
