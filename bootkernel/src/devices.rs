//! Finding disks and the console: on PCI, by memory or by ports, and where tables or the command line say that virtio devices
//! are.

use crate::exit::{Status, fail};
use crate::memory;
use crate::nub;
use crate::ports::{read_u32, write_u32};
use crate::{clock, line, watchdog};
use alloc::alloc::{Layout, alloc_zeroed};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bare::acpi::{ConfigurationWindow, Tables};
use bare::boot::{BootInfo, MemoryMap, Range};
use bare::device::disk::{Disk, Driver, Patience};
use bare::device::{DeviceError, Registers, Shared};
use bare::nvme::{self, Nvme};
use bare::pci::{Address, Device, Space};
use bare::virtio::{self, Block, Console, Kind, Mmio, Pci, Transport, parse_mmio};

/// Registers in memory.
pub struct Mapped(u64);

impl Mapped {
    fn new(address: u64, n_byte: u64) -> Result<Mapped, DeviceError> {
        match memory::map_device(address, n_byte) {
            true => Ok(Mapped(address)),
            false => Err(DeviceError::Nonsense { what: "the address of its registers", got: address }),
        }
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
        let window = tables.and_then(|tables| tables.windows().iter().find(|window| window.segment == 0));
        let Some(&window) = window else { return Configuration::Ports };
        let first = window.address.saturating_add(u64::from(window.first_bus) << 20);
        let n_bus = u64::from(window.last_bus - window.first_bus) + 1;
        if !memory::map_device(first, n_bus << 20) {
            line!("axiom: firmware has PCI configuration at {first:#x}, where it cannot be; ports are used instead");
            return Configuration::Ports;
        }
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
    pub name: String,
    /// The disk.
    pub disk: AnyDisk,
}

/// A virtio console, wherever it is.
pub type AnyConsole = Console<Box<dyn Transport + Send>>;

/// What was found.
pub struct Devices {
    /// Every disk that came up.
    pub disks: Vec<Found>,
    /// The first console, if it was asked for.
    pub console: Option<AnyConsole>,
}

impl Devices {
    fn add_disk(&mut self, name: String, driver: Result<Box<dyn Driver + Send>, DeviceError>) {
        match driver {
            Ok(driver) => {
                let patience = if nub::is_virtual() { Patience::Wait } else { Patience::Reset };
                let disk = Disk::new(driver, watchdog::waiting_us).with_patience(patience);
                line!("axiom: {name}: {} MiB", disk.bytes() >> 20);
                self.disks.push(Found { name, disk });
            }
            Err(error) => line!("axiom: {name}: {error}"),
        }
    }

    /// Brings a virtio device up; a console only if one is wanted, and there is none yet.
    fn add_virtio(&mut self, kind: Kind, place: &str, wants_console: bool, transport: Box<dyn Transport + Send>) {
        match kind {
            Kind::Block => {
                let block = Block::new(transport, shared(virtio::BYTES_MEMORY), watchdog::waiting_us);
                self.add_disk(format!("virtio-blk {place}"), block.map(|block| Box::new(block) as _));
            }
            Kind::Console if wants_console && self.console.is_none() => {
                match Console::new(transport, shared(virtio::BYTES_CONSOLE_MEMORY), clock::now_us) {
                    Ok(console) => self.console = Some(console),
                    Err(error) => line!("axiom: virtio console {place}: {error}"),
                }
            }
            Kind::Console => {}
        }
    }
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

/// Every disk that can be brought up, and a console if one is wanted; those that cannot are named with the reason.
pub fn find(info: &BootInfo, tables: Option<&Tables>, wants_console: bool) -> Devices {
    let mut found = Devices { disks: Vec::new(), console: None };
    // Firmware lists them; without tables, the command line does.
    let named = info.command_line.words().filter_map(|word| Some(named(word.strip_prefix(b"virtio_mmio.device=")?)));
    let listed = tables.map_or(&[][..], Tables::virtio);
    for device in listed.iter().copied().chain(named) {
        match Mapped::new(device.start, virtio::BYTES_MMIO).and_then(Mmio::find) {
            Ok(Some((kind, transport))) => {
                let place = format!("at {:#x}", device.start);
                found.add_virtio(kind, &place, wants_console, Box::new(transport));
            }
            Ok(None) => {}
            Err(error) => line!("axiom: virtio device at {:#x}: {error}", device.start),
        }
    }

    let space = Configuration::find(tables);
    let mut devices = Vec::new();
    bare::pci::scan(&space, |device| devices.push(device));
    let mut window =
        tables.and_then(|tables| tables.device_window).unwrap_or_else(|| hole_for_devices(&info.memory, tables));
    for device in devices {
        let is_nvme = device.class == nvme::CLASS;
        let kind = virtio::kind_of(&device);
        if !is_nvme && kind.is_none() {
            continue;
        }
        let Address { bus, device: place, function } = device.address;
        let place = format!("{bus:02x}:{place:02x}.{function}");
        let Some(start) = device.place(&space, window.start, window.end) else {
            line!("axiom: device {place}: no room for its registers below 4 GiB");
            continue;
        };
        window.start = start;
        device.enable(&space);
        match kind {
            None => found.add_disk(format!("nvme {place}"), nvme(&space, &device)),
            Some(kind) => match Pci::new(&space, &device, Mapped::new) {
                Ok(transport) => found.add_virtio(kind, &place, wants_console, Box::new(transport)),
                Err(error) => line!("axiom: virtio device {place}: {error}"),
            },
        }
    }
    found
}

/// The registers of a virtio device that the command line names.
fn named(value: &[u8]) -> Range {
    parse_mmio(value).filter(memory::is_for_devices).unwrap_or_else(|| {
        let value = value.escape_ascii();
        let expected = "expected SIZE@ADDRESS:IRQ, 512 bytes or more at a multiple of 4 where a device can be";
        fail(Status::CommandLine, format_args!("virtio_mmio.device={value}: {expected}"))
    })
}

fn nvme(space: &Configuration, device: &Device) -> Result<Box<dyn Driver + Send>, DeviceError> {
    let base = device.memory_bar(space, 0).ok_or(DeviceError::Unsupported { what: "registers in memory", got: 0 })?;
    let first = Mapped::new(base, nvme::BYTES_FIRST_REGISTERS)?;
    let registers = Mapped::new(base, nvme::bytes_registers(&first))?;
    Ok(Box::new(Nvme::new(registers, shared(nvme::BYTES_MEMORY), watchdog::waiting_us)?))
}

/// Addresses for devices that firmware has not placed: what the memory map does not mention, below the windows at its top.
fn hole_for_devices(memory: &MemoryMap, tables: Option<&Tables>) -> Range {
    const FIXED_DEVICES: u64 = 0xfe00_0000;
    let windows = tables.map_or(&[][..], Tables::windows);
    let end = windows.iter().map(|window| window.address).fold(FIXED_DEVICES, u64::min);
    memory.longest_hole(Range { start: 2 << 30, end })
}
