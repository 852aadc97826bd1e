//! PVH: `struct hvm_start_info` of Xen's public headers, as QEMU fills it in for `-kernel`.

use super::{BootError, BootInfo, Physical, Range, Rsdp};
use crate::words::{u32, u64};

/// In the structure, and in eax by the kernel's own entry.
pub const MAGIC: u32 = 0x336e_c578;

/// Bytes of the structure in version 1, the first with a memory map.
const BYTES_START_INFO: usize = 56;
const BYTES_MEMORY: usize = 24;
const BYTES_MODULE: usize = 32;

/// Reads the structure at `address`.
pub fn read(address: u64, physical: &dyn Physical, info: &mut BootInfo) -> Result<(), BootError> {
    let table = |name, address| BootError::Table { name, address };
    let here = table("start_info", address);
    let start = physical.read(address, BYTES_START_INFO).ok_or(here)?;
    let (word, long) = (|offset| u32(start, offset).ok_or(here), |offset| u64(start, offset).ok_or(here));
    if word(0)? != MAGIC || word(4)? < 1 {
        return Err(here);
    }
    if let command_line @ 1.. = long(24)? {
        info.command_line.copy_from_c(command_line, physical)?;
    }
    if let rsdp @ 1.. = long(32)? {
        info.rsdp = Some(Rsdp::At(rsdp));
    }

    let (map, n_entry) = (long(40)?, word(48)? as usize);
    let damaged = table("memory map", map);
    let entries = physical.read(map, n_entry.checked_mul(BYTES_MEMORY).ok_or(damaged)?).ok_or(damaged)?;
    for entry in entries.chunks_exact(BYTES_MEMORY) {
        let (start, bytes) = (u64(entry, 0).ok_or(damaged)?, u64(entry, 8).ok_or(damaged)?);
        info.memory.add(start, bytes, u32(entry, 16) == Some(1))?;
    }

    let (list, n_module) = (long(16)?, word(12)? as usize);
    let damaged = table("list of modules", list);
    let entries = physical.read(list, n_module.checked_mul(BYTES_MODULE).ok_or(damaged)?).ok_or(damaged)?;
    for entry in entries.chunks_exact(BYTES_MODULE) {
        let (start, bytes) = (u64(entry, 0).ok_or(damaged)?, u64(entry, 8).ok_or(damaged)?);
        info.add_module(Range::sized(start, bytes).ok_or(damaged)?)?;
    }
    Ok(())
}
