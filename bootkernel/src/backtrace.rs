//! How the processor came to where it is: the functions of a stack, by their frames.

use crate::stacks::is_stack;
use crate::{line, memory, symbols};
use core::arch::asm;

/// Prints the functions from `rip` outwards.
pub fn backtrace(rip: u64, frame: u64) {
    const MOST_FRAMES: usize = 24;
    let (mut rip, mut frame) = (rip, frame);
    for _ in 0..MOST_FRAMES {
        match symbols::find(rip) {
            Some((name, offset)) if memory::is_code(rip) => line!("  at {rip:#x} {name}+{offset:#x}"),
            _ => line!("  at {rip:#x}"),
        }
        // Only what surely is a stack is read: a fault in here ends without a word more.
        if !frame.is_multiple_of(8) || !is_stack(frame, 16) {
            break;
        }
        // SAFETY: on a stack, which is mapped.
        let (next, return_to) = unsafe { ((frame as *const u64).read(), (frame as *const u64).add(1).read()) };
        if return_to == 0 || next <= frame {
            break;
        }
        // The call, not what comes after it: that may belong to the next function.
        (rip, frame) = (return_to - 1, next);
    }
}

/// Prints the functions from the caller outwards.
pub fn backtrace_here() {
    let frame: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    backtrace(backtrace_here as *const () as u64, frame);
}
