//! Multiboot2 (specification 2.0, section 3.6): a list of tags, as GRUB leaves it.

use super::{BootError, BootInfo, Physical, Range, Rsdp};
use crate::words::{bytes, u32, u64};

/// In eax, by the specification.
pub const MAGIC: u32 = 0x36d7_6289;

/// More than any loader writes; a damaged length must not send the reader through all of memory.
const MOST_BYTES: usize = 1 << 20;

mod tag {
    pub const END: u32 = 0;
    pub const COMMAND_LINE: u32 = 1;
    pub const MODULE: u32 = 3;
    pub const MEMORY_MAP: u32 = 6;
    pub const ACPI_1: u32 = 14;
    pub const ACPI_2: u32 = 15;
}

/// Reads the tags at `address`.
pub fn read(address: u64, physical: &dyn Physical, info: &mut BootInfo) -> Result<(), BootError> {
    let damaged = BootError::Table { name: "Multiboot2 tags", address };
    let head = physical.read(address, 8).ok_or(damaged)?;
    let n_byte = u32(head, 0).ok_or(damaged)? as usize;
    if n_byte > MOST_BYTES {
        return Err(damaged);
    }
    let tags = physical.read(address, n_byte).ok_or(damaged)?;
    let mut offset = 8;
    loop {
        let (kind, size) =
            (u32(tags, offset).ok_or(damaged)?, u32(tags, offset.saturating_add(4)).ok_or(damaged)? as usize);
        let content = offset.checked_add(size).and_then(|end| tags.get(offset + 8..end)).ok_or(damaged)?;
        match kind {
            tag::END => return Ok(()),
            tag::COMMAND_LINE => info.command_line.copy_from(until_zero(content))?,
            tag::MODULE => {
                let (start, end) = (u32(content, 0).ok_or(damaged)?, u32(content, 4).ok_or(damaged)?);
                info.add_module(Range::new(start.into(), end.into()).ok_or(damaged)?)?;
            }
            tag::MEMORY_MAP => memory_map(content, info, damaged)?,
            // The newer one is the better one, whichever comes first.
            tag::ACPI_1 if info.rsdp.is_none() => {
                let mut rsdp = [0; 36];
                rsdp[..20].copy_from_slice(&bytes::<20>(content, 0).ok_or(damaged)?);
                info.rsdp = Some(Rsdp::Copy(rsdp));
            }
            tag::ACPI_2 => info.rsdp = Some(Rsdp::Copy(bytes(content, 0).ok_or(damaged)?)),
            _ => {}
        }
        offset = (offset + size).next_multiple_of(8);
    }
}

fn memory_map(content: &[u8], info: &mut BootInfo, damaged: BootError) -> Result<(), BootError> {
    let bytes_entry = u32(content, 0).filter(|&n| n >= 20).ok_or(damaged)? as usize;
    for entry in content.get(8..).ok_or(damaged)?.chunks_exact(bytes_entry) {
        let (start, bytes) = (u64(entry, 0).ok_or(damaged)?, u64(entry, 8).ok_or(damaged)?);
        info.memory.add(start, bytes, u32(entry, 16) == Some(1))?;
    }
    Ok(())
}

fn until_zero(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}
