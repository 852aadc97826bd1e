//! PCI configuration space: finding devices, their registers and their capabilities, and placing registers where firmware did
//! not (PCI Local Bus Specification 3.0, chapter 6).

/// A function of a device on a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its bus.
    pub bus: u8,
    /// Its place there, below 32.
    pub device: u8,
    /// Which of its functions, below 8.
    pub function: u8,
}

/// Access to configuration space, by ports or by memory.
pub trait Space {
    /// Reads four bytes at a multiple of four; all ones where nothing is.
    fn read(&self, address: Address, offset: u16) -> u32;
    /// Writes four bytes at a multiple of four.
    fn write(&self, address: Address, offset: u16, value: u32);
    /// Buses on which devices may be that no bridge leads to.
    fn buses(&self) -> core::ops::RangeInclusive<u8>;
}

/// A device that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where it is.
    pub address: Address,
    /// Who made it.
    pub vendor: u16,
    /// What they call it.
    pub id: u16,
    /// Class, subclass and programming interface.
    pub class: u32,
}

/// An entry of the list of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// What it is.
    pub id: u8,
    /// Where in configuration space.
    pub offset: u16,
}

const COMMAND: u16 = 0x04;
const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_MASTER: u32 = 1 << 2;
const CLASS: u16 = 0x08;
const HEADER: u16 = 0x0c;
const FIRST_BAR: u16 = 0x10;
const N_BAR: u8 = 6;
const CAPABILITIES: u16 = 0x34;

/// Calls `visit` for every function of every device that is not a bridge; follows bridges.
pub fn scan(space: &impl Space, mut visit: impl FnMut(Device)) {
    const BRIDGE: u8 = 1;
    const SECONDARY_BUS: u16 = 0x18;
    let mut is_wanted = [false; 256];
    space.buses().for_each(|bus| is_wanted[usize::from(bus)] = true);
    // Bridges lead to higher buses.
    for bus in 0..=255u8 {
        if !is_wanted[usize::from(bus)] {
            continue;
        }
        for_each_function(space, bus, |address, header| match header {
            0 => {
                let (id, class) = (space.read(address, 0), space.read(address, CLASS) >> 8);
                visit(Device { address, vendor: id as u16, id: (id >> 16) as u16, class });
            }
            BRIDGE => {
                let secondary = (space.read(address, SECONDARY_BUS) >> 8) as u8;
                if secondary > bus {
                    is_wanted[usize::from(secondary)] = true;
                }
            }
            _ => {}
        });
    }
}

/// Calls `visit` with the kind of header of every function on a bus.
fn for_each_function(space: &impl Space, bus: u8, mut visit: impl FnMut(Address, u8)) {
    const HAS_MORE_FUNCTIONS: u8 = 0x80;
    for device in 0..32 {
        for function in 0..8 {
            let address = Address { bus, device, function };
            let is_there = space.read(address, 0) as u16 != 0xffff;
            let header = (space.read(address, HEADER) >> 16) as u8;
            if is_there {
                visit(address, header & !HAS_MORE_FUNCTIONS);
            }
            // Without a first function there is no device; most have no other.
            if function == 0 && (!is_there || header & HAS_MORE_FUNCTIONS == 0) {
                break;
            }
        }
    }
}

impl Device {
    /// Lets it answer at its memory registers, and read and write memory by itself.
    pub fn enable(&self, space: &impl Space) {
        // The upper half is the status, of which ones written would clear bits.
        let command = space.read(self.address, COMMAND) & 0xffff;
        space.write(self.address, COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER);
    }

    /// Address of the memory registers `bar`, or `None` for ports, for none, and for those that nobody placed.
    pub fn memory_bar(&self, space: &impl Space, bar: u8) -> Option<u64> {
        if bar >= N_BAR {
            return None;
        }
        let offset = FIRST_BAR + 4 * u16::from(bar);
        let low = space.read(self.address, offset);
        let (is_port, is_long) = (low & 1 == 1, low >> 1 & 3 == 2);
        let high = if is_long && bar + 1 < N_BAR { space.read(self.address, offset + 4) } else { 0 };
        let address = u64::from(low & !0xf) | u64::from(high) << 32;
        (!is_port && address != 0).then_some(address)
    }

    /// The capabilities, in the device's order. A list that runs in a circle is followed no longer than it could be.
    pub fn capabilities<'a>(&self, space: &'a impl Space) -> impl Iterator<Item = Capability> + 'a {
        const HAS_CAPABILITIES: u32 = 1 << 20;
        const MOST: usize = 48;
        let address = self.address;
        let first = match space.read(address, COMMAND) & HAS_CAPABILITIES {
            0 => 0,
            _ => space.read(address, CAPABILITIES) as u16 & 0xfc,
        };
        let mut next = first;
        core::iter::from_fn(move || {
            let offset = next;
            if offset < 0x40 {
                return None;
            }
            let head = space.read(address, offset);
            next = (head >> 8) as u16 & 0xfc;
            Some(Capability { id: head as u8, offset })
        })
        .take(MOST)
    }

    /// Places the memory registers that firmware has not placed, from `window` on; answers where the window goes on.
    ///
    /// To be called before [`Device::enable`]: while they are sized, registers answer at wrong places.
    pub fn place(&self, space: &impl Space, window: u64, window_end: u64) -> Option<u64> {
        let mut window = window;
        let mut bar = 0;
        while bar < N_BAR {
            let offset = FIRST_BAR + 4 * u16::from(bar);
            let old = space.read(self.address, offset);
            space.write(self.address, offset, !0);
            let mask = space.read(self.address, offset);
            space.write(self.address, offset, old);
            let (is_port, is_long) = (mask & 1 == 1, mask >> 1 & 3 == 2);
            if mask & !0xf != 0 && !is_port && self.memory_bar(space, bar).is_none() {
                // Sizes are powers of two; those of 4 GiB and more have no place below 4 GiB.
                let n_byte = u64::from((!(mask & !0xf)).wrapping_add(1));
                let start = window.checked_next_multiple_of(n_byte.max(4096))?;
                window = start.checked_add(n_byte).filter(|&end| end <= window_end)?;
                space.write(self.address, offset, start as u32 | (old & 0xf));
                if is_long {
                    space.write(self.address, offset + 4, (start >> 32) as u32);
                }
            }
            bar += if is_long { 2 } else { 1 };
        }
        Some(window)
    }
}

#[cfg(test)]
mod tests;
