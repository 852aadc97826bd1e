# Names for the numbers of the architecture, and the layout of what the nub keeps for each core.

.set COM1, 0x3f8

.set MSR_EFER, 0xc0000080
.set EFER_LME, 1 << 8
.set EFER_NXE, 1 << 11
.set CR0_PE, 1
.set CR0_MP, 1 << 1
.set CR0_EM, 1 << 2
.set CR0_TS, 1 << 3
.set CR0_NE, 1 << 5
.set CR0_WP, 1 << 16
.set CR0_NW, 1 << 29
.set CR0_CD, 1 << 30
.set CR0_PG, 1 << 31
.set CR4_PAE, 1 << 5
.set CR4_MCE, 1 << 6
.set CR4_OSFXSR, 1 << 9
.set CR4_OSXMMEXCPT, 1 << 10
.set CR4_OSXSAVE, 1 << 18

# Selectors, in the order of `gdt`.
.set CODE64, 0x08
.set DATA0, 0x10
.set CODE3, 0x18 | 3
.set DATA3, 0x20 | 3
.set CODE32, 0x28

.set N_CORE, 64
.set N_SERVICE, 13
.set IMAGE, 0x1000000                           # as in linker.ld
.set N_IMAGE_TABLE, 4                           # 2 MiB each
.set N_TABLE, 128                               # for what the runtime has mapped
.set TRAMPOLINE, 0x8000                         # where the other cores wake up: below 1 MiB, on a page

# Bits of a page-table entry.
.set PRESENT, 1 << 0
.set WRITE, 1 << 1
.set USER, 1 << 2
.set UNCACHED, 1 << 4 | 1 << 3
.set LARGE, 1 << 7
.set NO_EXECUTE_HIGH, 1 << 31                   # bit 63, in the upper half

# A core's block, aligned to its size so that any stack pointer inside leads to it: fields, task state, the stack of
# last resort up to the middle, the ordinary ring-0 stack up to the end.
.set CORE_SHIFT, 13
.set CORE_BYTES, 1 << CORE_SHIFT
.set CORE_NUMBER, 0
.set CORE_FAULT_STACK, 8                        # top of the ring-3 stack that reports a fault
.set CORE_PAGE, 16                              # what the runtime may see and set: `nub::CorePage`
.set CORE_IN_FAULT, 24
.set CORE_STACK, 32                             # top of the ring-3 stack it starts on
.set CORE_TSS, 64

# `nub::CorePage` in Rust.
.set PAGE_SHIFT_OF_CORE, 9
.set PAGE_CORE, 0
.set PAGE_TICKS, 8
.set PAGE_WATCHDOG, 16
.set PAGE_STOP, 24
.set PAGE_TICK_TSC, 32
.set PAGE_REPORT, 64                            # 15 registers, vector, error, rip, cs, rflags, rsp, ss, cr2
.set REPORT_WORDS, 22
