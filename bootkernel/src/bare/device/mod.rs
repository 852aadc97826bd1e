//! What drivers need: registers, memory that a device reads and writes, and a clock. The kernel has real ones; tests have
//! fakes, so that a driver can be run against a device that misbehaves.

mod awake;
pub mod disk;

pub use self::awake::{Awake, LOOK_MAX_US};
use core::fmt;

/// Registers of a device, by their offset.
pub trait Registers {
    /// Reads a byte.
    fn read_u8(&self, offset: usize) -> u8;
    /// Reads two bytes.
    fn read_u16(&self, offset: usize) -> u16;
    /// Reads four bytes.
    fn read_u32(&self, offset: usize) -> u32;
    /// Writes a byte.
    fn write_u8(&self, offset: usize, value: u8);
    /// Writes two bytes.
    fn write_u16(&self, offset: usize, value: u16);
    /// Writes four bytes.
    fn write_u32(&self, offset: usize, value: u32);

    /// Reads eight bytes, the lower half first.
    fn read_u64(&self, offset: usize) -> u64 {
        u64::from(self.read_u32(offset)) | u64::from(self.read_u32(offset + 4)) << 32
    }

    /// Writes eight bytes, the lower half first.
    fn write_u64(&self, offset: usize, value: u64) {
        self.write_u32(offset, value as u32);
        self.write_u32(offset + 4, (value >> 32) as u32);
    }
}

/// Memory that a device reads and writes by itself: every access is volatile. Addresses for the device are the driver's own.
#[derive(Debug)]
pub struct Shared {
    base: *mut u8,
    n_byte: usize,
}

// SAFETY: plain memory that this value alone gives access to.
unsafe impl Send for Shared {}

impl Shared {
    /// Bytes of a page: the unit in which memory for devices is aligned.
    pub const PAGE: usize = 4096;

    /// # Safety
    ///
    /// `n_byte` zeroed bytes at `base`, a multiple of [`Shared::PAGE`], belong to this value and to the devices that it is shown to,
    /// for ever; a device finds them at the same address.
    pub unsafe fn new(base: *mut u8, n_byte: usize) -> Shared {
        assert!((base as usize).is_multiple_of(Shared::PAGE));
        Shared { base, n_byte }
    }

    /// The bytes from `n` on, as a value of its own; this one keeps those before.
    ///
    /// # Panics
    ///
    /// If `n` is not a whole number of pages inside.
    pub fn split_off(&mut self, n: usize) -> Shared {
        assert!(n <= self.n_byte && n.is_multiple_of(Shared::PAGE), "{n} bytes of {}", self.n_byte);
        let rest = Shared { base: self.base.wrapping_add(n), n_byte: self.n_byte - n };
        self.n_byte = n;
        rest
    }

    /// The address of the byte at `offset`, for a device.
    pub fn address(&self, offset: usize) -> u64 {
        assert!(offset < self.n_byte);
        self.base as u64 + offset as u64
    }

    fn place<T>(&self, offset: usize) -> *mut T {
        assert!(offset.is_multiple_of(size_of::<T>()) && offset + size_of::<T>() <= self.n_byte);
        self.base.wrapping_add(offset).cast()
    }

    /// Reads the integer at `offset`.
    pub fn read<T: Integer>(&self, offset: usize) -> T {
        // SAFETY: inside, aligned, and any bits are an integer.
        unsafe { self.place::<T>(offset).read_volatile() }
    }

    /// Writes the integer at `offset`.
    pub fn write<T: Integer>(&mut self, offset: usize, value: T) {
        // SAFETY: inside and aligned.
        unsafe { self.place::<T>(offset).write_volatile(value) }
    }

    /// Copies bytes to `offset`, where no device reads them yet.
    pub fn write_bytes(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.n_byte && bytes.len() <= self.n_byte - offset);
        // SAFETY: inside; what is borrowed elsewhere is not this memory, which is reached through this value alone.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.wrapping_add(offset), bytes.len()) };
    }

    /// The `n` bytes at `offset`.
    ///
    /// # Safety
    ///
    /// While they are borrowed, no device writes them.
    pub unsafe fn bytes(&self, offset: usize, n: usize) -> &[u8] {
        assert!(offset <= self.n_byte && n <= self.n_byte - offset);
        // SAFETY: inside, initialised, and written by nobody, by the caller's word.
        unsafe { core::slice::from_raw_parts(self.base.wrapping_add(offset), n) }
    }

    /// Fills everything with zeros.
    pub fn clear(&mut self) {
        for offset in (0..self.n_byte).step_by(8) {
            self.write(offset, 0u64);
        }
    }
}

/// Integers that devices know.
pub trait Integer: Copy {}
impl Integer for u8 {}
impl Integer for u16 {}
impl Integer for u32 {}
impl Integer for u64 {}

/// What is wrong with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// It did not come to a state in time.
    TimedOut {
        /// The state.
        waiting_for: &'static str,
        /// How long it was waited for.
        after_us: u64,
    },
    /// It says that it has failed.
    Failed {
        /// What was asked of it.
        what: &'static str,
        /// What it answered.
        status: u32,
    },
    /// It lacks what the driver needs.
    Unsupported {
        /// What.
        what: &'static str,
        /// What it has instead.
        got: u64,
    },
    /// It says what cannot be.
    Nonsense {
        /// What.
        what: &'static str,
        /// What it said.
        got: u64,
    },
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::TimedOut { waiting_for, after_us } => {
                write!(f, "no {waiting_for} within {} ms; the device hangs", after_us / 1000)
            }
            DeviceError::Failed { what, status } => write!(f, "{what} failed with status {status:#x}"),
            DeviceError::Unsupported { what, got } => {
                write!(f, "expected {what}, got {got:#x}; this device cannot be used")
            }
            DeviceError::Nonsense { what, got } => {
                write!(f, "{what} is {got:#x}, which cannot be; the device is broken")
            }
        }
    }
}

/// Microseconds since some moment.
pub type Clock = fn() -> u64;

/// Polls until `is_done`, or for `limit_us`.
///
/// # Errors
///
/// [`DeviceError::TimedOut`].
pub fn wait(
    clock: Clock,
    limit_us: u64,
    waiting_for: &'static str,
    mut is_done: impl FnMut() -> bool,
) -> Result<(), DeviceError> {
    let mut awake = Awake::new(clock);
    while !is_done() {
        if awake.now() > limit_us {
            // Asked once more: the look at the clock may have taken longer than the answer.
            return if is_done() { Ok(()) } else { Err(DeviceError::TimedOut { waiting_for, after_us: limit_us }) };
        }
        core::hint::spin_loop();
    }
    Ok(())
}
