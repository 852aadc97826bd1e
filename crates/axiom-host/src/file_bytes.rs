//! [`FileBytes`]: a stretch of an open file, read piece by piece by whoever packs it.
//!
//! A file that is read cannot end the process: one that has become shorter, or whose disk is gone, is an error, where a mapping
//! of it would be a bus error.

use crate::disk::fault;
use axiom_core::platform::{IoFault, StoredBytes};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Some bytes of a file that stays open for them.
pub struct FileBytes {
    /// The file; tensors of one file share it.
    pub file: Arc<File>,
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub n_bytes: usize,
}

impl StoredBytes for FileBytes {
    fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    fn read(&self, start: usize, to: &mut [u8]) -> Result<(), IoFault> {
        self.file.read_exact_at(to, self.offset.saturating_add(start as u64)).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => IoFault { what: "the file ends before it", code: 0 },
            _ => fault(&error),
        })
    }
}
