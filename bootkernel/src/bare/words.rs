//! Fields of tables in memory: little-endian, at any alignment, absent where the table ends.

/// The `N` bytes at `offset`.
pub fn bytes<const N: usize>(table: &[u8], offset: usize) -> Option<[u8; N]> {
    table.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

/// The u16 at `offset`.
pub fn u16(table: &[u8], offset: usize) -> Option<u16> {
    bytes(table, offset).map(u16::from_le_bytes)
}

/// The u32 at `offset`.
pub fn u32(table: &[u8], offset: usize) -> Option<u32> {
    bytes(table, offset).map(u32::from_le_bytes)
}

/// The u64 at `offset`.
pub fn u64(table: &[u8], offset: usize) -> Option<u64> {
    bytes(table, offset).map(u64::from_le_bytes)
}
