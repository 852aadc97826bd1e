//! Finding the disks: on PCI, by memory or by ports, and where the command line says that virtio devices are.

use crate::memory;
use crate::nub;
use crate::ports::{read_u32, write_u32};
use crate::{clock, line};
use alloc::alloc::{Layout, alloc_zeroed};
use alloc::boxed::Box;
use alloc::vec::Vec;
use bare::acpi::{ConfigurationWindow, Tables};
use bare::boot::{BootInfo, MemoryMap, Range};
use bare::device::disk::{Disk, Driver, Patience};
use bare::device::{DeviceError, Registers, Shared};
use bare::nvme::{self, Nvme};
use bare::pci::{Address, Device, Space};
use bare::virtio::{self, Block, Mmio, Pci, parse_mmio};

/// Registers in memory.
pub struct Mapped(u64);

impl Mapped {
    fn new(address: u64, n_byte: u64) -> Mapped {
        memory::map_device(address, n_byte);
        Mapped(address)
    }
}

macro_rules! access {
    ($read:ident, $write:ident, $integer:ty) => {
        fn $read(&self, offset: usize) -> $integer {
            // SAFETY: mapped; what a device does at a read or a write is the driver's concern.
            unsafe { ((self.0 + offset as u64) as *const $integer).read_volatile() }
        }

        fn $write(&self, offset: usize, value: $integer) {
            // SAFETY: as above.
            unsafe { ((self.0 + offset as u64) as *mut $integer).write_volatile(value) }
        }
    };
}

impl Registers for Mapped {
    access!(read_u8, write_u8, u8);
    access!(read_u16, write_u16, u16);
    access!(read_u32, write_u32, u32);
}

/// Configuration space, the first segment of it.
enum Configuration {
    Memory(ConfigurationWindow),
    Ports,
}

impl Configuration {
    fn find(tables: Option<&Tables>) -> Configuration {
        const LARGE: u64 = 2 << 20;
        let window = tables.and_then(|tables| tables.windows().iter().find(|window| window.segment == 0));
        let Some(&window) = window else { return Configuration::Ports };
        let first = window.address + (u64::from(window.first_bus) << 20);
        let end = window.address + ((u64::from(window.last_bus) + 1) << 20);
        memory::map_device_pages(first / LARGE * LARGE, end.div_ceil(LARGE) * LARGE);
        Configuration::Memory(window)
    }

    fn select(address: Address, offset: u16) -> u32 {
        let Address { bus, device, function } = address;
        1 << 31 | u32::from(bus) << 16 | u32::from(device) << 11 | u32::from(function) << 8 | u32::from(offset & 0xfc)
    }

    fn in_memory(window: &ConfigurationWindow, address: Address, offset: u16) -> Option<*mut u32> {
        let Address { bus, device, function } = address;
        if !(window.first_bus..=window.last_bus).contains(&bus) {
            return None;
        }
        let place = u64::from(bus) << 20 | u64::from(device) << 15 | u64::from(function) << 12;
        Some((window.address + place + u64::from(offset & 0xffc)) as *mut u32)
    }
}

impl Space for Configuration {
    fn read(&self, address: Address, offset: u16) -> u32 {
        match self {
            Configuration::Memory(window) => match Configuration::in_memory(window, address, offset) {
                // SAFETY: inside the window, which is mapped.
                Some(place) => unsafe { place.read_volatile() },
                None => u32::MAX,
            },
            Configuration::Ports => {
                write_u32(0xcf8, Configuration::select(address, offset));
                read_u32(0xcfc)
            }
        }
    }

    fn write(&self, address: Address, offset: u16, value: u32) {
        match self {
            Configuration::Memory(window) => {
                if let Some(place) = Configuration::in_memory(window, address, offset) {
                    // SAFETY: inside the window, which is mapped.
                    unsafe { place.write_volatile(value) }
                }
            }
            Configuration::Ports => {
                write_u32(0xcf8, Configuration::select(address, offset));
                write_u32(0xcfc, value);
            }
        }
    }

    fn buses(&self) -> core::ops::RangeInclusive<u8> {
        // Servers have several roots; virtual machines have one, and every look at a bus is slow there.
        let is_virtual = nub::is_virtual();
        match self {
            Configuration::Memory(window) if !is_virtual => window.first_bus..=window.last_bus,
            Configuration::Ports if !is_virtual => 0..=255,
            _ => 0..=0,
        }
    }
}

/// A disk of either kind.
pub type AnyDisk = Disk<Box<dyn Driver + Send>>;

/// A disk that was found, and what to call it.
pub struct Found {
    /// The kind, and which one.
    pub name: alloc::string::String,
    /// The disk.
    pub disk: AnyDisk,
}

/// Memory for a driver, for good.
fn shared(n_byte: usize) -> Shared {
    let layout = Layout::from_size_align(n_byte, Shared::PAGE).expect("a small number of pages");
    // SAFETY: not of size zero.
    let block = unsafe { alloc_zeroed(layout) };
    assert!(!block.is_null(), "no memory for a driver");
    // SAFETY: zeroed, aligned, never given back; the kernel's memory is where devices find it.
    unsafe { Shared::new(block, n_byte) }
}

/// Every disk that can be brought up; those that cannot are named with the reason.
pub fn find_disks(info: &BootInfo, tables: Option<&Tables>) -> Vec<Found> {
    let mut found = Vec::new();
    let patience = if nub::is_virtual() { Patience::Wait } else { Patience::Reset };
    let mut add = |name: alloc::string::String, driver: Result<Box<dyn Driver + Send>, DeviceError>| match driver {
        Ok(driver) => {
            let disk = Disk::new(driver, clock::now_us).with_patience(patience);
            line!("axiom: {name}: {} MiB", disk.bytes() >> 20);
            found.push(Found { name, disk });
        }
        Err(error) => line!("axiom: {name}: {error}"),
    };

    // Firmware lists them; without tables, the command line does.
    let named = info.command_line.words().filter_map(|word| parse_mmio(word.strip_prefix(b"virtio_mmio.device=")?));
    let listed = tables.map_or(&[][..], Tables::virtio);
    for device in listed.iter().copied().chain(named) {
        let name = alloc::format!("virtio-blk at {:#x}", device.start);
        match Mmio::block(Mapped::new(device.start, device.bytes())) {
            Ok(Some(transport)) => {
                let block = Block::new(transport, shared(virtio::BYTES_MEMORY), clock::now_us);
                add(name, block.map(|block| Box::new(block) as _));
            }
            Ok(None) => {}
            Err(error) => add(name, Err(error)),
        }
    }

    let space = Configuration::find(tables);
    let mut devices = Vec::new();
    bare::pci::scan(&space, |device| devices.push(device));
    let mut window =
        tables.and_then(|tables| tables.device_window).unwrap_or_else(|| hole_for_devices(&info.memory, tables));
    for device in devices {
        let is_nvme = device.class == nvme::CLASS;
        if !is_nvme && !virtio::is_block(&device) {
            continue;
        }
        let Address { bus, device: place, function } = device.address;
        let kind = if is_nvme { "nvme" } else { "virtio-blk" };
        let name = alloc::format!("{kind} {bus:02x}:{place:02x}.{function}");
        let Some(start) = device.place(&space, window.start, window.end) else {
            line!("axiom: {name}: no room for its registers below 4 GiB");
            continue;
        };
        window.start = start;
        device.enable(&space);
        add(name, if is_nvme { nvme(&space, &device) } else { virtio_pci(&space, &device) });
    }
    found
}

fn nvme(space: &Configuration, device: &Device) -> Result<Box<dyn Driver + Send>, DeviceError> {
    const BYTES_REGISTERS: u64 = 0x2000;
    let base = device.memory_bar(space, 0).ok_or(DeviceError::Unsupported { what: "registers in memory", got: 0 })?;
    let driver = Nvme::new(Mapped::new(base, BYTES_REGISTERS), shared(nvme::BYTES_MEMORY), clock::now_us)?;
    Ok(Box::new(driver))
}

fn virtio_pci(space: &Configuration, device: &Device) -> Result<Box<dyn Driver + Send>, DeviceError> {
    let transport = Pci::new(space, device, Mapped::new)?;
    Ok(Box::new(Block::new(transport, shared(virtio::BYTES_MEMORY), clock::now_us)?))
}

/// Addresses for devices that firmware has not placed: what the memory map does not mention, below the windows at its top.
fn hole_for_devices(memory: &MemoryMap, tables: Option<&Tables>) -> Range {
    const FIXED_DEVICES: u64 = 0xfe00_0000;
    let windows = tables.map_or(&[][..], Tables::windows);
    let end = windows.iter().map(|window| window.address).fold(FIXED_DEVICES, u64::min);
    memory.longest_hole(Range { start: 2 << 30, end })
}
