//! What the loader says: where memory is, what it has loaded beside the kernel, and the command line.
//!
//! QEMU speaks PVH, GRUB speaks Multiboot2. Both leave tables in memory, at addresses that may be anything: they are read
//! through [`Physical`], and copied, so that nothing refers to them afterwards.

mod command_line;
mod memory;
mod multiboot2;
mod pvh;

pub use self::command_line::{CommandLine, LONGEST_COMMAND_LINE};
pub use self::memory::{Frames, MemoryMap, N_RANGE, Range};

use core::fmt;

/// Memory by its physical address, to read.
pub trait Physical {
    /// The `n` bytes at `address`, or `None` where that cannot be memory.
    fn read(&self, address: u64, n: usize) -> Option<&[u8]>;
}

/// Most modules that are kept.
pub const N_MODULE: usize = 8;

/// All that a loader says.
pub struct BootInfo {
    /// Who loaded the kernel.
    pub loader: Loader,
    /// Memory, as firmware lists it.
    pub memory: MemoryMap,
    /// Options.
    pub command_line: CommandLine,
    modules: [Range; N_MODULE],
    n_module: usize,
    /// Where the root of the ACPI tables is, if the loader says.
    pub rsdp: Option<Rsdp>,
}

/// The root of the ACPI tables: PVH says where it is, Multiboot2 gives a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rsdp {
    /// At this address.
    At(u64),
    /// These bytes; those of ACPI 1 are 20, and the rest zero.
    Copy([u8; 36]),
}

/// A way to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loader {
    /// `qemu -kernel`.
    Pvh,
    /// GRUB.
    Multiboot2,
}

/// What is wrong with a loader's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The kernel was entered by something else.
    Loader {
        /// What was in eax.
        magic: u32,
    },
    /// A table that is not where it should be, or is cut off.
    Table {
        /// Which.
        name: &'static str,
        /// Its address.
        address: u64,
    },
    /// More of something than there is room for.
    TooMany {
        /// What.
        name: &'static str,
        /// The most there may be.
        most: usize,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Loader { magic } => write!(
                f,
                "loaded with magic {magic:#x}, expected 0x336ec578 (PVH: qemu -kernel) or 0x36d76289 (Multiboot2: GRUB's \
                 multiboot2 command)"
            ),
            BootError::Table { name, address } => {
                write!(
                    f,
                    "the loader's {name} at {address:#x} is cut off or damaged; use another version of the loader"
                )
            }
            BootError::TooMany { name, most } => write!(f, "the loader gave more than {most} {name}; give fewer"),
        }
    }
}

impl BootInfo {
    /// Reads what the loader that left `magic` and `address` says.
    ///
    /// # Errors
    ///
    /// [`BootError`].
    pub fn read(magic: u32, address: u64, physical: &dyn Physical) -> Result<BootInfo, BootError> {
        let loader = match magic {
            pvh::MAGIC => Loader::Pvh,
            multiboot2::MAGIC => Loader::Multiboot2,
            _ => return Err(BootError::Loader { magic }),
        };
        let mut info = BootInfo {
            loader,
            memory: MemoryMap::new(),
            command_line: CommandLine::new(),
            modules: [Range::EMPTY; N_MODULE],
            n_module: 0,
            rsdp: None,
        };
        match loader {
            Loader::Pvh => pvh::read(address, physical, &mut info)?,
            Loader::Multiboot2 => multiboot2::read(address, physical, &mut info)?,
        }
        Ok(info)
    }

    /// What the loader loaded beside the kernel, in its order.
    pub fn modules(&self) -> &[Range] {
        &self.modules[..self.n_module]
    }

    fn add_module(&mut self, module: Range) -> Result<(), BootError> {
        let place =
            self.modules.get_mut(self.n_module).ok_or(BootError::TooMany { name: "modules", most: N_MODULE })?;
        *place = module;
        self.n_module += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
