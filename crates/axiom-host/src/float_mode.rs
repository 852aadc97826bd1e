//! The floating-point mode in which the arithmetic is defined: round to nearest even, denormals kept, nothing trapped.
//!
//! The mode is a register of each thread, and a thread that calls into the engine may bring another one: libraries built
//! with `-ffast-math` switch denormals off for the whole process when they are loaded. So it is set around every job, on
//! every thread, and put back.

/// Holds the standard mode on this thread; dropping it puts the previous mode back.
pub struct StandardFloat {
    previous: arch::Mode,
    /// The mode belongs to the thread: this must not move to another.
    _thread: core::marker::PhantomData<*const ()>,
}

impl StandardFloat {
    /// Sets the standard mode.
    #[must_use]
    pub fn enter() -> Self {
        let previous = arch::read();
        if previous != arch::STANDARD {
            arch::write(arch::STANDARD);
        }
        Self { previous, _thread: core::marker::PhantomData }
    }
}

impl Drop for StandardFloat {
    fn drop(&mut self) {
        // The flags that the job has raised go too: the caller sees its own.
        if arch::read() != self.previous {
            arch::write(self.previous);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use core::arch::asm;

    /// MXCSR.
    pub type Mode = u32;

    /// All exceptions masked; rounding to nearest, flush-to-zero and denormals-are-zero off; no flag raised.
    pub const STANDARD: Mode = 0x1F80;

    pub fn read() -> Mode {
        let mut mode: Mode = 0;
        // SAFETY: stores MXCSR to a u32 that is ours.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut mode, options(nostack, preserves_flags)) };
        mode
    }

    pub fn write(mode: Mode) {
        // SAFETY: the value is the standard mode, or one that `read` returned on this thread, so no reserved bit is set.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &mode, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use core::arch::asm;

    /// FPCR.
    pub type Mode = u64;

    /// Rounding to nearest, flush-to-zero off, nothing trapped.
    pub const STANDARD: Mode = 0;

    pub fn read() -> Mode {
        let mode: Mode;
        // SAFETY: reads FPCR, which user code may.
        unsafe { asm!("mrs {}, fpcr", out(reg) mode, options(nostack, preserves_flags)) };
        mode
    }

    pub fn write(mode: Mode) {
        // SAFETY: the value is the standard mode, or one that `read` returned on this thread.
        unsafe { asm!("msr fpcr, {}", in(reg) mode, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    /// No mode is known for this architecture; its threads start in the standard one.
    pub type Mode = ();

    pub const STANDARD: Mode = ();

    pub fn read() -> Mode {}

    pub fn write(_mode: Mode) {}
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn denormals_are_kept_and_the_callers_mode_comes_back() {
        let halved = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        let before = arch::read();
        let flushing = 0x9FC0;
        arch::write(flushing);
        assert_eq!(halved(), 0.0);
        {
            let _standard = StandardFloat::enter();
            assert_eq!(halved().to_bits(), 0x0040_0000);
        }
        // The low six bits are flags that the first product raised.
        assert_eq!(arch::read() & !0x3F, flushing & !0x3F);
        arch::write(before);
    }
}
