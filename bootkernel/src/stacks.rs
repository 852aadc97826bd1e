//! The stacks: what lies on them, and what lies below.

use crate::cores;
use bare::boot::Range;

unsafe extern "C" {
    static __guard: u8;
    static __stack: u8;
    static __stack_top: u8;
    static __fault_stack: u8;
    static __fault_stack_top: u8;
}

/// Whether the `n_byte` at `address` are on a stack.
pub fn is_stack(address: u64, n_byte: u64) -> bool {
    let stacks = [
        Range { start: &raw const __stack as u64, end: &raw const __stack_top as u64 },
        Range { start: &raw const __fault_stack as u64, end: &raw const __fault_stack_top as u64 },
    ];
    stacks.iter().any(|stack| stack.start <= address && address.saturating_add(n_byte) <= stack.end)
        || cores::is_stack(address, n_byte)
}

/// What there is to say of an address that is not mapped.
pub fn stack_note(address: u64) -> &'static str {
    let guard = &raw const __guard as u64;
    if (guard..&raw const __stack as u64).contains(&address) || cores::is_guard(address) {
        ": the stack has overflowed"
    } else {
        ""
    }
}
