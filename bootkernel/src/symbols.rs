//! Names of functions, for backtraces: a table that `tools/build_kernel.py` writes into the finished image.

use bare::words::u32;

/// Room for the table.
const BYTES_SYMBOLS: usize = 64 << 10;

/// The count of functions; for each its address, and where in the table its name is; the names.
#[unsafe(link_section = ".symbols")]
static SYMBOLS: [u8; BYTES_SYMBOLS] = [0; BYTES_SYMBOLS];

/// The function that holds `address`, and how far into it that is.
pub fn find(address: u64) -> Option<(&'static str, u64)> {
    // The compiler knows only the zeros: the table must be read from memory.
    let table: &'static [u8] = core::hint::black_box(&SYMBOLS);
    let start = |idx: usize| u32(table, 4 + 8 * idx).map_or(u64::MAX, u64::from);
    let n = u32(table, 0)? as usize;
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low.midpoint(high);
        if start(middle) <= address { low = middle + 1 } else { high = middle }
    }
    let idx = low.checked_sub(1)?;
    let name = table.get(u32(table, 8 + 8 * idx)? as usize..)?;
    let name = name.split(|&byte| byte == 0).next()?;
    Some((str::from_utf8(name).ok()?, address - start(idx)))
}
