//! Constants in the DSDT. It is a program, and this kernel has no interpreter for it; but what is looked for here is always
//! written as a constant, after a name, in the same few bytes.

use crate::boot::Range;
use crate::words::{u32, u64};

/// What follows the first `pattern` in `code`.
fn after<'a>(code: &'a [u8], pattern: &[u8]) -> Option<&'a [u8]> {
    let at = code.windows(pattern.len()).position(|window| window == pattern)?;
    Some(&code[at + pattern.len()..])
}

/// The type of the sleep S5: `Name (_S5, Package {type, …})`.
pub fn sleep_type(dsdt: &[u8]) -> Option<u8> {
    const PACKAGE: u8 = 0x12;
    const BYTE: u8 = 0x0a;
    let package = after(dsdt, &[b'_', b'S', b'5', b'_', PACKAGE])?;
    // The upper two bits of the length say how many more bytes it has; then comes the count.
    let content = package.get(2 + usize::from(package.first()? >> 6)..)?;
    match *content.first()? {
        BYTE => content.get(1).copied(),
        number => Some(number),
    }
    .filter(|&number| number < 8)
}

/// Where PCI configuration is in memory, for firmware that has no MCFG: `Method (_CBA) { Return (address) }`.
pub fn configuration_window(dsdt: &[u8]) -> Option<u64> {
    const RETURN: u8 = 0xa4;
    const DOUBLE_WORD: u8 = 0x0c;
    const QUAD_WORD: u8 = 0x0e;
    let method = after(dsdt, b"_CBA")?;
    match *method.get(1..3)? {
        [RETURN, DOUBLE_WORD] => u32(method, 3).map(u64::from),
        [RETURN, QUAD_WORD] => u64(method, 3),
        _ => None,
    }
}

/// The first window of a PCI root to memory below 4 GiB: a descriptor of addresses (ACPI 6.5, section 6.4.3.5.2).
pub fn device_window(dsdt: &[u8]) -> Option<Range> {
    const MEMORY: u8 = 0;
    let mut rest = after(dsdt, b"PNP0A0")?;
    loop {
        rest = after(rest, &[0x87, 23, 0, MEMORY])?;
        let (lowest, highest) = (u32(rest, 6)?, u32(rest, 10)?);
        // The windows of old graphics are below 1 MiB.
        if lowest >= 1 << 20 && highest > lowest {
            return Range::new(lowest.into(), u64::from(highest) + 1);
        }
    }
}

/// Registers of virtio devices: the identity `LNRO0005`, and a descriptor of fixed memory (section 6.4.3.4).
pub fn virtio(dsdt: &[u8]) -> impl Iterator<Item = Range> {
    let mut rest = dsdt;
    core::iter::from_fn(move || {
        rest = after(rest, b"LNRO0005")?;
        let fixed = after(rest, &[0x86, 9, 0])?;
        Range::sized(u32(fixed, 1)?.into(), u32(fixed, 5)?.into())
    })
}
