//! What the ACPI tables say that a kernel without an interpreter for their programs can use (ACPI 6.5, section 5.2): the
//! cores, the windows to PCI configuration, the timer, and how to switch off.

mod program;

use crate::boot::{Physical, Range, Rsdp};
use crate::words::{bytes, u16, u32, u64};
use core::fmt;

/// Most cores that are kept.
pub const N_CORE: usize = 256;
/// Most windows to PCI configuration that are kept.
pub const N_WINDOW: usize = 8;

/// Most virtio devices with registers in memory that are kept.
pub const N_VIRTIO: usize = 32;

/// Bytes of the head that every table has.
const BYTES_HEAD: usize = 36;
/// No table is larger; a damaged length must not send the reader through all of memory.
const MOST_BYTES: usize = 4 << 20;

/// What is of use.
#[derive(Clone, Debug, PartialEq)]
pub struct Tables {
    cores: [u32; N_CORE],
    n_core: usize,
    windows: [ConfigurationWindow; N_WINDOW],
    n_window: usize,
    /// Port of the power-management timer, which counts 3,579,545 times a second.
    pub timer_port: Option<u16>,
    /// How to switch off.
    pub power_off: Option<PowerOff>,
    /// Addresses below 4 GiB that reach devices on PCI.
    pub device_window: Option<Range>,
    virtio: [Range; N_VIRTIO],
    n_virtio: usize,
}

/// PCI configuration space in memory (PCI Firmware Specification, MCFG).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigurationWindow {
    /// Where bus 0 would be.
    pub address: u64,
    /// The group of buses; 0 is the one that ports reach too.
    pub segment: u16,
    /// The first bus that is there.
    pub first_bus: u8,
    /// The last bus that is there.
    pub last_bus: u8,
}

/// The write that switches off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerOff {
    /// Two bytes to a port.
    Port {
        /// The port: PM1a control.
        port: u16,
        /// The type of the sleep S5, and the bit that begins it.
        value: u16,
    },
    /// One byte to memory: the sleep control register of hardware-reduced ACPI.
    Memory {
        /// The register.
        address: u64,
        /// The type of the sleep S5, and the bit that begins it.
        value: u8,
    },
}

/// A table that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcpiError {
    /// Its signature.
    pub table: [u8; 4],
    /// Its address; 0 if the loader gave a copy.
    pub address: u64,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, address, what } = self;
        write!(f, "ACPI table {} at {address:#x}: {what}; update the firmware", table.escape_ascii())
    }
}

impl Tables {
    /// Reads the tables under `rsdp`.
    ///
    /// # Errors
    ///
    /// [`AcpiError`] for the root; a damaged table among many is left out, as if it were not there.
    pub fn read(rsdp: Rsdp, physical: &dyn Physical) -> Result<Tables, AcpiError> {
        let (root, bytes_entry) = root(rsdp, physical)?;
        let mut found = Tables {
            cores: [0; N_CORE],
            n_core: 0,
            windows: [ConfigurationWindow::default(); N_WINDOW],
            n_window: 0,
            timer_port: None,
            power_off: None,
            device_window: None,
            virtio: [Range::EMPTY; N_VIRTIO],
            n_virtio: 0,
        };
        for entry in root[BYTES_HEAD..].chunks_exact(bytes_entry) {
            let address = if bytes_entry == 8 { u64(entry, 0) } else { u32(entry, 0).map(u64::from) };
            let Some(table) = address.and_then(|address| table(address, physical).ok()) else { continue };
            match &table[..4] {
                b"APIC" => found.read_cores(table),
                b"MCFG" => found.read_windows(table),
                b"FACP" => found.read_fixed(table, physical),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Numbers of the local APICs of cores that can be used.
    pub fn cores(&self) -> &[u32] {
        &self.cores[..self.n_core]
    }

    /// The windows to PCI configuration.
    pub fn windows(&self) -> &[ConfigurationWindow] {
        &self.windows[..self.n_window]
    }

    /// Registers of virtio devices outside of PCI.
    pub fn virtio(&self) -> &[Range] {
        &self.virtio[..self.n_virtio]
    }

    /// MADT: a list of records, each with its kind and its length.
    fn read_cores(&mut self, table: &[u8]) {
        const LOCAL_APIC: u8 = 0;
        const LOCAL_X2APIC: u8 = 9;
        let mut rest = table.get(44..).unwrap_or_default();
        while let [kind, length, ..] = *rest {
            let Some(record) = rest.get(..usize::from(length)).filter(|record| record.len() >= 2) else { return };
            let (id, flags) = match kind {
                LOCAL_APIC => (record.get(3).map(|&id| u32::from(id)), u32(record, 4)),
                LOCAL_X2APIC => (u32(record, 4), u32(record, 8)),
                _ => (None, None),
            };
            // Bit 0: usable. A core may be listed under both kinds.
            if let (Some(id), Some(flags)) = (id, flags)
                && flags & 1 == 1
                && self.n_core < N_CORE
                && !self.cores().contains(&id)
            {
                self.cores[self.n_core] = id;
                self.n_core += 1;
            }
            rest = &rest[record.len()..];
        }
    }

    fn read_windows(&mut self, table: &[u8]) {
        // The constant that stands for a missing table may have been found first.
        self.n_window = 0;
        for entry in table.get(44..).unwrap_or_default().chunks_exact(16) {
            let (Some(address), Some(segment)) = (u64(entry, 0), u16(entry, 8)) else { continue };
            let window = ConfigurationWindow { address, segment, first_bus: entry[10], last_bus: entry[11] };
            if self.n_window < N_WINDOW && window.first_bus <= window.last_bus {
                self.windows[self.n_window] = window;
                self.n_window += 1;
            }
        }
    }

    /// FADT.
    fn read_fixed(&mut self, table: &[u8], physical: &dyn Physical) {
        const IS_HARDWARE_REDUCED: u32 = 1 << 20;
        const BEGIN_SLEEP: u16 = 1 << 13;
        let dsdt = u64(table, 140).filter(|&x| x > 0).or(u32(table, 40).map(u64::from));
        let dsdt = dsdt.and_then(|at| self::table(at, physical).ok()).unwrap_or_default();
        self.read_program(dsdt);
        let sleep = program::sleep_type(dsdt);
        if u32(table, 112).unwrap_or(0) & IS_HARDWARE_REDUCED != 0 {
            // A generic address: space, width, offset, access, address. Space 0 is memory.
            let register = bytes::<12>(table, 244).filter(|register| register[0] == 0);
            if let (Some(register), Some(sleep)) = (register, sleep)
                && let Some(address @ 1..) = u64(&register, 4)
            {
                self.power_off = Some(PowerOff::Memory { address, value: sleep << 2 | 1 << 5 });
            }
            return;
        }
        let port = |offset| u32(table, offset).and_then(|port| u16::try_from(port).ok()).filter(|&port| port > 0);
        self.timer_port = port(76);
        if let (Some(port), Some(sleep)) = (port(64), sleep) {
            self.power_off = Some(PowerOff::Port { port, value: u16::from(sleep) << 10 | BEGIN_SLEEP });
        }
    }

    /// DSDT, as far as it can be read without running it.
    fn read_program(&mut self, dsdt: &[u8]) {
        self.device_window = program::device_window(dsdt);
        for device in program::virtio(dsdt) {
            // A root may list this table twice.
            if self.n_virtio < N_VIRTIO && !self.virtio().contains(&device) {
                self.virtio[self.n_virtio] = device;
                self.n_virtio += 1;
            }
        }
        if let Some(address) = program::configuration_window(dsdt).filter(|_| self.n_window == 0) {
            self.windows[0] = ConfigurationWindow { address, segment: 0, first_bus: 0, last_bus: 255 };
            self.n_window = 1;
        }
    }
}

/// The root table, and the bytes of an address in it.
fn root(rsdp: Rsdp, physical: &dyn Physical) -> Result<(&[u8], usize), AcpiError> {
    let (address, pointer) = match rsdp {
        Rsdp::Copy(copy) => (0, copy),
        Rsdp::At(address) => {
            // The longer form may not be there to read.
            let mut copy = [0; 36];
            let error = AcpiError { table: *b"RSDP", address, what: "is not in memory" };
            copy[..20].copy_from_slice(physical.read(address, 20).ok_or(error)?);
            if copy[15] >= 2 {
                copy.copy_from_slice(physical.read(address, 36).ok_or(error)?);
            }
            (address, copy)
        }
    };
    let error = |what| AcpiError { table: *b"RSDP", address, what };
    if &pointer[..8] != b"RSD PTR " || sum(&pointer[..20]) != 0 {
        return Err(error("has another signature or sum"));
    }
    let old = u32(&pointer, 16).unwrap_or(0).into();
    let new = u64(&pointer, 24).filter(|&new| pointer[15] >= 2 && new > 0);
    let (root, signature, bytes_entry) = match new {
        Some(new) => (new, b"XSDT", 8),
        None => (old, b"RSDT", 4),
    };
    let table = table(root, physical)?;
    if &table[..4] != signature {
        return Err(error("points to something else than the root table"));
    }
    Ok((table, bytes_entry))
}

/// The table at `address`, whole, with its sum checked.
fn table(address: u64, physical: &dyn Physical) -> Result<&[u8], AcpiError> {
    let error = |table, what| AcpiError { table, address, what };
    let head = physical.read(address, BYTES_HEAD).ok_or(error(*b"????", "is not in memory"))?;
    let signature = bytes(head, 0).unwrap_or(*b"????");
    let n_byte = u32(head, 4).unwrap_or(0) as usize;
    if !(BYTES_HEAD..=MOST_BYTES).contains(&n_byte) {
        return Err(error(signature, "has an impossible length"));
    }
    let table = physical.read(address, n_byte).ok_or(error(signature, "is not in memory"))?;
    if sum(table) != 0 {
        return Err(error(signature, "has another sum"));
    }
    Ok(table)
}

fn sum(table: &[u8]) -> u8 {
    table.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

#[cfg(test)]
mod tests;
