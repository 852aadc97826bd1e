//! A matrix is packed alike from memory and from a file, on any number of threads; a file that cannot be read is an error; who
//! is told of progress can stop it.

mod common;

use axiom_core::error::Error;
use axiom_core::format::Format;
use axiom_core::model::{TensorBytes, TensorSource, pack_matrix};
use axiom_host::{FileBytes, Host};
use common::Random;
use std::fs::File;
use std::sync::Arc;

const OFFSET: usize = 1000;
const N_COL: usize = 512;

/// Rows of random blocks in a file, behind something else.
struct Stored {
    path: std::path::PathBuf,
    rows: Vec<u8>,
    bytes: FileBytes,
}

impl Stored {
    fn new(name: &str, format: Format, n_row: usize) -> Stored {
        let n_bytes = n_row * format.bytes_row(N_COL).unwrap();
        let mut random = Random(n_bytes as u64);
        let rows: Vec<u8> = (0..n_bytes).map(|_| random.next() as u8).collect();
        let name = format!("axiom-stored-{}-{name}-{}-{n_row}", std::process::id(), format.name());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, [&[7; OFFSET], &*rows].concat()).unwrap();
        let bytes = FileBytes { file: Arc::new(File::open(&path).unwrap()), offset: OFFSET as u64, n_bytes };
        Stored { path, rows, bytes }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn packed(format: Format, n_row: usize, bytes: TensorBytes<'_>, n_thread: usize) -> Result<Vec<u8>, Error> {
    let tensor = TensorSource { name: "matrix", format, n_row, n_col: N_COL, bytes };
    let mut panels = vec![0xEE; format.bytes_matrix(n_row, N_COL).unwrap()];
    pack_matrix(&tensor, &mut panels, &Host::start(n_thread).unwrap(), &mut |_, _| true)?;
    Ok(panels)
}

#[test]
fn from_memory_and_from_a_file_alike() {
    for format in Format::ALL {
        // No row, a row alone, a panel that is not full, and several chunks for a worker.
        for n_row in [0, 1, 37, 3000] {
            let stored = Stored::new("alike", format, n_row);
            let expected = packed(format, n_row, TensorBytes::Memory(&stored.rows), 1).unwrap();
            for n_thread in [1, 3] {
                let got = packed(format, n_row, TensorBytes::Stored(&stored.bytes), n_thread).unwrap();
                assert!(got == expected, "{} {n_row} {n_thread}", format.name());
            }
        }
    }
}

#[test]
fn a_file_that_has_become_shorter_is_an_error() {
    let stored = Stored::new("shorter", Format::ALL[0], 3000);
    for n_left in [0, OFFSET, OFFSET + stored.rows.len() - 1] {
        File::options().write(true).open(&stored.path).unwrap().set_len(n_left as u64).unwrap();
        for n_thread in [1, 3] {
            let error = packed(Format::ALL[0], 3000, TensorBytes::Stored(&stored.bytes), n_thread).unwrap_err();
            let text = "matrix: the tensor cannot be read: the file ends before it; check the disk and the file";
            assert_eq!(error.to_string(), text);
        }
    }
}

#[test]
fn whoever_is_told_can_stop_it_within_a_matrix() {
    let (format, n_row) = (Format::F32, 40_000);
    let rows = vec![0; n_row * format.bytes_row(N_COL).unwrap()];
    let tensor = TensorSource { name: "matrix", format, n_row, n_col: N_COL, bytes: TensorBytes::Memory(&rows) };
    let mut panels = vec![0; format.bytes_matrix(n_row, N_COL).unwrap()];
    for n_thread in [1, 3] {
        let host = Host::start(n_thread).unwrap();
        let mut told = Vec::new();
        pack_matrix(&tensor, &mut panels, &host, &mut |done, total| {
            told.push(done);
            total == rows.len()
        })
        .unwrap();
        assert!(told.is_sorted() && told.len() > 2 && told.last() == Some(&rows.len()), "{told:?} of {}", rows.len());
        let mut n_told = 0;
        let stopped = pack_matrix(&tensor, &mut panels, &host, &mut |_, _| {
            n_told += 1;
            false
        });
        assert_eq!((stopped, n_told), (Err(Error::Cancelled), 1));
    }
}
