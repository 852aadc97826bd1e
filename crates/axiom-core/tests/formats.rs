//! Formats move bytes without changing any: rows to panels and back, and the sizes that loading relies on.

mod common;

use axiom_core::arithmetic::BLOCK;
use axiom_core::format::Format;
use axiom_core::format::pack::{pack_panel, unpack_row};
use common::*;

/// Columns that a row of the format can have: one block, several, and numbers of blocks that end inside a chunk of 256.
fn column_counts(format: Format) -> Vec<usize> {
    match format.columns_per_block() {
        1 => vec![1, 2, 31, 32, 33, 95, 257],
        columns => [1, 2, 3, 7, 8, 9, 15, 16, 17, 25].map(|n| n * columns).to_vec(),
    }
}

#[test]
fn panels_give_every_row_back() {
    let mut random = Random(41);
    for format in Format::ALL {
        for n_col in column_counts(format) {
            let bytes_row = format.bytes_row(n_col).unwrap();
            for n_row in 1..=16 {
                let mut rows = vec![0u8; n_row * bytes_row];
                random.bytes(&mut rows);
                let mut panel = vec![0xAA; format.bytes_panel(n_col).unwrap()];
                pack_panel(format, &rows, n_col, &mut panel);
                let mut row = vec![0x55; bytes_row];
                for lane in 0..16 {
                    unpack_row(format, &panel, lane, n_col, &mut row);
                    match rows.chunks_exact(bytes_row).nth(lane) {
                        Some(expected) => {
                            assert_eq!(row, expected, "{} row {lane} of {n_row}, {n_col} columns", format.name())
                        }
                        // Q8_0 keeps its codes with the top bit flipped, so a panel's zeros are codes of −128 (with scale 0).
                        None if format == Format::Q8_0 => {
                            assert!(row.chunks_exact(34).all(|block| block[..2] == [0, 0]))
                        }
                        None => assert!(row.iter().all(|&byte| byte == 0), "{} padding row {lane}", format.name()),
                    }
                }
            }
        }
    }
}

#[test]
fn rows_of_a_panel_do_not_touch_each_other() {
    let mut random = Random(42);
    for format in Format::ALL {
        let n_col = if format.is_quantized() { 256 + format.columns_per_block() } else { 40 };
        let bytes_row = format.bytes_row(n_col).unwrap();
        let mut rows = vec![0u8; 16 * bytes_row];
        random.bytes(&mut rows);
        let pack = |rows: &[u8]| {
            let mut panel = vec![0; format.bytes_panel(n_col).unwrap()];
            pack_panel(format, rows, n_col, &mut panel);
            panel
        };
        for lane in 0..16 {
            let mut changed = rows.clone();
            random.bytes(&mut changed[lane * bytes_row..][..bytes_row]);
            let panel = pack(&changed);
            let mut row = vec![0; bytes_row];
            for other in 0..16 {
                unpack_row(format, &panel, other, n_col, &mut row);
                assert_eq!(
                    row,
                    changed[other * bytes_row..][..bytes_row],
                    "{} row {other} after {lane} changed",
                    format.name()
                );
            }
        }
    }
}

#[test]
fn sizes() {
    for format in Format::ALL {
        let (bytes, columns) = (block_shape(format).0, format.columns_per_block());
        assert_eq!(Format::from_name(format.name()), Some(format));
        assert_eq!(format.bytes_row(3 * columns), Some(3 * bytes), "{}", format.name());
        for n_col in column_counts(format) {
            let padded = if format.is_quantized() { n_col } else { n_col.next_multiple_of(BLOCK) };
            let bytes_panel = padded / columns * bytes * 16;
            assert_eq!(format.bytes_panel(n_col), Some(bytes_panel), "{} panel of {n_col}", format.name());
            for (n_row, n_panel) in [(0, 0), (1, 1), (16, 1), (17, 2), (33, 3)] {
                assert_eq!(format.bytes_matrix(n_row, n_col), Some(n_panel * bytes_panel), "{}", format.name());
            }
        }
        if columns > 1 {
            for n_col in [1, columns - 1, columns + 1] {
                assert_eq!(format.bytes_row(n_col), None, "{} has no row of {n_col}", format.name());
            }
        }
        // Absurd sizes from a damaged file give None, never a small number.
        let huge = usize::MAX / columns * columns;
        assert_eq!(format.bytes_panel(huge), None, "{}", format.name());
        assert_eq!(format.bytes_matrix(usize::MAX, 256), None, "{}", format.name());
    }
    assert_eq!(Format::from_name("q4_k"), None);
}

#[test]
fn a_row_of_the_wrong_length_is_refused() {
    for format in Format::ALL {
        let columns = format.columns_per_block();
        let bytes_row = format.bytes_row(columns).unwrap();
        let refused = |f: &mut dyn FnMut()| {
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err(), "{}", format.name());
        };
        let mut panel = vec![0; format.bytes_panel(columns).unwrap()];
        let mut floats = vec![0.0; columns];
        refused(&mut || pack_panel(format, &vec![0; 17 * bytes_row], columns, &mut panel));
        refused(&mut || pack_panel(format, &vec![0; bytes_row + 1], columns, &mut panel));
        refused(&mut || pack_panel(format, &vec![0; bytes_row], columns, &mut panel[1..]));
        refused(&mut || unpack_row(format, &panel, 16, columns, &mut vec![0; bytes_row]));
        refused(&mut || unpack_row(format, &panel, 0, columns, &mut vec![0; bytes_row + 1]));
        refused(&mut || format.dequantize_row(&vec![0; bytes_row + 1], &mut floats));
    }
}
