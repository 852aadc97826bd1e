use super::*;
use crate::testing::{Bytes, Random};
use std::format;
use std::vec::Vec;

const BASE: u64 = 0xe_0000;
const ROOT: u64 = BASE + 0x100;
const MADT: u64 = BASE + 0x200;
const MCFG: u64 = BASE + 0x300;
const FADT: u64 = BASE + 0x400;
const DSDT: u64 = BASE + 0x600;

/// A table with its head and its sum.
fn sealed(signature: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut table = signature.to_vec();
    table.extend((36 + content.len() as u32).to_le_bytes());
    table.resize(36, 0);
    table.extend(content);
    let rest = table.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    table[9] = 0u8.wrapping_sub(rest);
    table
}

fn pointer(is_new: bool) -> [u8; 36] {
    let mut rsdp = [0; 36];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[15] = if is_new { 2 } else { 0 };
    rsdp[16..20].copy_from_slice(&(ROOT as u32).to_le_bytes());
    rsdp[24..32].copy_from_slice(&if is_new { ROOT } else { 0 }.to_le_bytes());
    let sum = rsdp[..20].iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    rsdp[8] = 0u8.wrapping_sub(sum);
    rsdp
}

fn machine(is_new: bool, is_reduced: bool) -> Bytes {
    let mut memory = Bytes { address: BASE, bytes: std::vec![0; 0x1000] };
    memory.write(BASE, &pointer(is_new));
    let tables = [MADT, MCFG, FADT, BASE + 0xff0];
    let (signature, list): (_, Vec<u8>) = if is_new {
        (b"XSDT", tables.map(u64::to_le_bytes).concat())
    } else {
        (b"RSDT", tables.map(|table| (table as u32).to_le_bytes()).concat())
    };
    memory.write(ROOT, &sealed(signature, &list));

    let mut cores = std::vec![0; 8];
    cores.extend([0, 8, 0, 0, 1, 0, 0, 0]); // APIC 0, usable
    cores.extend([1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // an I/O APIC
    cores.extend([0, 8, 1, 4, 1, 0, 0, 0]); // APIC 4, usable
    cores.extend([0, 8, 2, 6, 0, 0, 0, 0]); // APIC 6, not usable
    cores.extend([9, 16, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]); // APIC 4 once more, as x2APIC
    cores.extend([9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]); // APIC 256
    memory.write(MADT, &sealed(b"APIC", &cores));

    let mut window = std::vec![0; 8];
    window.extend(0xb000_0000u64.to_le_bytes());
    window.extend([0, 0, 0, 63, 0, 0, 0, 0]);
    memory.write(MCFG, &sealed(b"MCFG", &window));

    let mut fixed = std::vec![0; 244 - 36 + 12];
    let mut put = |offset: usize, bytes: &[u8]| fixed[offset - 36..offset - 36 + bytes.len()].copy_from_slice(bytes);
    put(40, &(DSDT as u32).to_le_bytes());
    put(64, &0x604u32.to_le_bytes());
    put(76, &0x608u32.to_le_bytes());
    if is_reduced {
        put(112, &(1u32 << 20).to_le_bytes());
        put(244, &[0, 8, 0, 1]);
        put(248, &0xfea0_0000u64.to_le_bytes());
    }
    memory.write(FADT, &sealed(b"FACP", &fixed));
    memory.write(DSDT, &sealed(b"DSDT", PROGRAM));
    memory
}

/// Excerpts as QEMU's microvm has them.
const PROGRAM: &[u8] = b"[\x82B\x04VR23\x08_HID\rLNRO0005\0\x08_UID\n\x17\x08_CRS\x11\x1a\n\x17\x86\t\0\x01\0.\xb0\xfe\0\x02\0\0\
    \x89\x06\0\x01\x01/\0\0\0y\0PCI0\x08_HID\x0cA\xd0\n\x08PNP0A08\0\x14\x0c_CBA\0\xa4\x0c\0\0\0\xe0\x08_CRS\x11N\x05\nZ\
    \x87\x17\0\0\x0c\x01\0\0\0\0\0\0\n\0\xff\xff\x0b\0\0\0\0\0\0\0\x02\0\
    \x87\x17\0\0\x0c\x01\0\0\0\0\0\0\0\xc0\xff\xff\xff\xdf\0\0\0\0\0\0\0 \x10\\\0\x08_S5_\x12\x07\x04\n\x05\0\0\0";

#[test]
fn tables_of_either_age() {
    for is_new in [true, false] {
        let memory = machine(is_new, false);
        for rsdp in [Rsdp::At(BASE), Rsdp::Copy(pointer(is_new))] {
            let tables = Tables::read(rsdp, &memory).unwrap();
            assert_eq!(tables.cores(), [0, 4, 256]);
            let window = ConfigurationWindow { address: 0xb000_0000, segment: 0, first_bus: 0, last_bus: 63 };
            assert_eq!(tables.windows(), [window]);
            assert_eq!(tables.timer_port, Some(0x608));
            assert_eq!(tables.power_off, Some(PowerOff::Port { port: 0x604, value: 5 << 10 | 1 << 13 }));
            assert_eq!(tables.virtio(), [Range::sized(0xfeb0_2e00, 512).unwrap()]);
            assert_eq!(tables.device_window, Some(Range { start: 0xc000_0000, end: 0xe000_0000 }));
        }
    }
}

#[test]
fn reduced_hardware_sleeps_by_memory_and_has_no_timer() {
    let tables = Tables::read(Rsdp::At(BASE), &machine(true, true)).unwrap();
    assert_eq!(tables.power_off, Some(PowerOff::Memory { address: 0xfea0_0000, value: 5 << 2 | 1 << 5 }));
    assert_eq!(tables.timer_port, None);
}

#[test]
fn without_a_table_of_windows_the_program_says_where() {
    let mut memory = machine(true, true);
    memory.write(MCFG, b"????");
    let tables = Tables::read(Rsdp::At(BASE), &memory).unwrap();
    assert_eq!(tables.windows()[0].address, 0xe000_0000);
}

#[test]
fn a_table_that_is_listed_twice_lists_its_devices_once_and_too_many_are_left_out() {
    // Each table of 20 devices; the last two have room for 12 more.
    let devices =
        |n: u8| (0..20).flat_map(move |i| [&b"LNRO0005\x86\t\0\x01\0"[..], &[i, n, 0xfe, 0, 2, 0, 0]].concat());
    let mut memory = Bytes { address: BASE, bytes: std::vec![0; 0x4000] };
    memory.write(BASE, &pointer(true));
    let fixed = [1, 1, 2, 3].map(|n| BASE + 0x1000 * n);
    memory.write(ROOT, &sealed(b"XSDT", &fixed.map(u64::to_le_bytes).concat()));
    for (n, table) in [(1u8, fixed[0]), (2, fixed[2]), (3, fixed[3])] {
        let mut content = std::vec![0; 8];
        content[4..8].copy_from_slice(&(table as u32 + 0x200).to_le_bytes());
        memory.write(table, &sealed(b"FACP", &content));
        memory.write(table + 0x200, &sealed(b"DSDT", &devices(n).collect::<Vec<u8>>()));
    }
    let tables = Tables::read(Rsdp::At(BASE), &memory).unwrap();
    let starts: Vec<u64> = tables.virtio().iter().map(|device| device.start).collect();
    let expected = |n: u64, i: u64| 0xfe00_0000 | n << 16 | i << 8;
    let all: Vec<u64> = (0..20).map(|i| expected(1, i)).chain((0..12).map(|i| expected(2, i))).collect();
    assert_eq!(starts, all);
}

#[test]
fn a_damaged_root_is_an_error_and_any_other_damage_is_survived() {
    let error = Tables::read(Rsdp::At(BASE + 1), &machine(true, false)).unwrap_err();
    assert_eq!(format!("{error}"), "ACPI table RSDP at 0xe0001: has another signature or sum; update the firmware");
    let whole = machine(true, false);
    for n in 0..whole.bytes.len() {
        let _ = Tables::read(Rsdp::At(BASE), &Bytes { address: BASE, bytes: whole.bytes[..n].to_vec() });
    }
    let mut random = Random(3);
    for _ in 0..20_000 {
        let mut damaged = Bytes { address: BASE, bytes: whole.bytes.clone() };
        for _ in 0..1 + random.below(4) {
            let at = random.below(0x900) as usize;
            damaged.bytes[at] = random.next() as u8;
        }
        // Let the sums be right, so that the contents are looked at.
        for table in [ROOT, MADT, MCFG, FADT, DSDT] {
            let start = (table - BASE) as usize;
            let n = u32(&damaged.bytes, start + 4).unwrap() as usize;
            if let Some(bytes) = damaged.bytes.get_mut(start..start.saturating_add(n)).filter(|bytes| bytes.len() > 9) {
                bytes[9] = bytes[9].wrapping_sub(bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)));
            }
        }
        let _ = Tables::read(Rsdp::At(BASE), &damaged);
    }
}
