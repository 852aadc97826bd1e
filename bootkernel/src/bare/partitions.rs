//! Where on a disk an image may begin: at its start, or at the start of a partition of a GUID partition table (UEFI 2.10,
//! section 5.3).

use crate::words::{u32, u64};

/// Bytes at the beginning of a disk that are looked at: protective record, header, and the entries, for either sector size.
pub const BYTES_LOOK: usize = 64 << 10;

/// Most partitions that are looked at: what a table has room for by the specification's minimum.
const N_PARTITION: usize = 128;

/// Offsets in bytes of the partitions that the first [`BYTES_LOOK`] bytes of a disk list, with their lengths.
pub fn partitions(start: &[u8], bytes_sector: u64) -> impl Iterator<Item = (u64, u64)> {
    let header = start.get(bytes_sector as usize..).unwrap_or_default();
    let is_table = header.get(..8) == Some(b"EFI PART");
    let (entries, n, bytes_entry) = match (u64(header, 72), u32(header, 80), u32(header, 84)) {
        (Some(entries), Some(n), Some(bytes_entry)) if is_table && bytes_entry >= 128 => {
            (entries.saturating_mul(bytes_sector), (n as usize).min(N_PARTITION), bytes_entry as usize)
        }
        _ => (0, 0, 128),
    };
    (0..n).filter_map(move |i| {
        let at = usize::try_from(entries).ok()?.checked_add(i * bytes_entry)?;
        let entry = start.get(at..at.checked_add(48)?)?;
        let (first, last) = (u64(entry, 32)?, u64(entry, 40)?);
        let is_used = entry[..16].iter().any(|&byte| byte != 0);
        let n_sector = last.checked_sub(first)?.checked_add(1)?;
        let place = (first.checked_mul(bytes_sector)?, n_sector.checked_mul(bytes_sector)?);
        is_used.then_some(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use alloc::vec::Vec;

    fn disk(bytes_sector: usize) -> Vec<u8> {
        let mut disk = alloc::vec![0; BYTES_LOOK];
        let header = bytes_sector;
        disk[header..header + 8].copy_from_slice(b"EFI PART");
        disk[header + 72..header + 80].copy_from_slice(&2u64.to_le_bytes());
        disk[header + 80..header + 84].copy_from_slice(&4u32.to_le_bytes());
        disk[header + 84..header + 88].copy_from_slice(&128u32.to_le_bytes());
        for (i, (first, last)) in [(34u64, 99u64), (100, 100), (50, 49)].into_iter().enumerate() {
            let entry = 2 * bytes_sector + 128 * i;
            disk[entry] = 7;
            disk[entry + 32..entry + 40].copy_from_slice(&first.to_le_bytes());
            disk[entry + 40..entry + 48].copy_from_slice(&last.to_le_bytes());
        }
        disk
    }

    #[test]
    fn partitions_of_either_sector_size() {
        for size in [512, 4096] {
            let found: Vec<_> = partitions(&disk(size as usize), size).collect();
            // The third has nothing between its ends; the fourth is not used.
            assert_eq!(found[..2], [(34 * size, 66 * size), (100 * size, size)]);
            assert!(found.len() <= 3);
        }
        assert_eq!(partitions(&disk(512), 4096).count(), 0);
        assert_eq!(partitions(&[], 512).count(), 0);
    }

    #[test]
    fn damage_is_survived() {
        let mut random = Random(10);
        for _ in 0..20_000 {
            let mut damaged = disk(512);
            for _ in 0..1 + random.below(8) {
                let at = random.below(1600) as usize;
                damaged[at] = random.next() as u8;
            }
            partitions(&damaged, 512).for_each(drop);
        }
    }
}
