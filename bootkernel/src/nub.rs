//! The nub, as the runtime sees it: its services, and the page that each core shares with it.

use core::arch::{asm, global_asm};
use core::sync::atomic::AtomicU64;

// One piece, so that the files share names.
global_asm!(
    include_str!("nub/constants.s"),
    include_str!("nub/entry.s"),
    include_str!("nub/paging.s"),
    include_str!("nub/gates.s"),
    include_str!("nub/services.s"),
    include_str!("nub/cores.s"),
);

/// Most cores that the nub has room for.
pub const N_CORE_MAX: usize = 64;

/// What the nub tells of a core, and what the runtime tells it.
#[repr(C, align(512))]
pub struct CorePage {
    /// The core's number: 0 is the one that was there first.
    pub core: u64,
    /// Ticks of the core's timer.
    pub ticks: AtomicU64,
    /// The count of ticks at which the core counts as stuck, plus 1; 0: never.
    pub watchdog: AtomicU64,
    /// Not zero: a non-maskable interrupt ends the core for good.
    pub stop: AtomicU64,
    /// The time stamp of the last tick.
    pub tick_tsc: AtomicU64,
    reserved: [u64; 3],
    /// What the core was doing when it faulted.
    pub report: Report,
}

/// The registers at a fault.
#[repr(C)]
#[allow(missing_docs)] // the names say it
pub struct Report {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub cr2: u64,
}

unsafe extern "C" {
    static nub_core_pages: [CorePage; N_CORE_MAX];
    static nub_entry_tsc: u64;
    static nub_page_0: [u8; 4096];
}

/// The pages of all cores.
pub fn core_pages() -> &'static [CorePage; N_CORE_MAX] {
    // SAFETY: in the image's memory, zero at first, which is valid; the nub writes `core` and `report` of a core only while
    // that core is not in the runtime, and the rest is atomic.
    unsafe { &nub_core_pages }
}

/// In the order of `services` in `nub/services.s`.
#[derive(Clone, Copy)]
enum Service {
    In,
    Out,
    Write,
    Cpuid,
    ReadMsr,
    WriteMsr,
    Map,
    Interrupts,
    Wait,
    StartCore,
    SetEoi,
    Core,
    Stop,
}

fn call(service: Service, arguments: [u64; 4]) -> (u64, u64) {
    let [a, b, c, d] = arguments;
    let (rax, rdx);
    // SAFETY: the gate keeps all registers but these, and memory as each service says; it uses a stack of its own.
    unsafe {
        asm!(
            "int3",
            inout("rax") service as u64 => rax,
            inout("rdi") a => _,
            inout("rsi") b => _,
            inout("rdx") c => rdx,
            inout("rcx") d => _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            options(nostack),
        );
    }
    (rax, rdx)
}

/// Reads a port; `width` is 1, 2 or 4 bytes.
pub fn port_in(port: u16, width: u64) -> u32 {
    call(Service::In, [port.into(), width, 0, 0]).0 as u32
}

/// Writes a port; `width` is 1, 2 or 4 bytes.
pub fn port_out(port: u16, width: u64, value: u32) {
    call(Service::Out, [port.into(), width, value.into(), 0]);
}

/// Writes bytes to a serial port; answers how many are left, if it has taken no more for a while.
pub fn write(port: u16, bytes: &[u8]) -> usize {
    call(Service::Write, [port.into(), bytes.as_ptr() as u64, bytes.len() as u64, 0]).0 as usize
}

/// CPUID as ring 0 sees it: eax, ebx, ecx, edx. Under some hypervisors ring 3 sees the host's.
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let (low, high) = call(Service::Cpuid, [leaf.into(), subleaf.into(), 0, 0]);
    [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32]
}

/// Whether a hypervisor says that it is one.
pub fn is_virtual() -> bool {
    cpuid(1, 0)[2] >> 31 == 1
}

/// Reads a model-specific register, one of those that the nub lets through.
pub fn read_msr(register: u32) -> u64 {
    call(Service::ReadMsr, [register.into(), 0, 0, 0]).0
}

/// Writes a model-specific register, one of those that the nub lets through.
pub fn write_msr(register: u32, value: u64) {
    call(Service::WriteMsr, [register.into(), value, 0, 0]);
}

/// Sizes of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Page {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

impl Page {
    /// Bytes of one.
    pub const fn bytes(self) -> u64 {
        4096 << (9 * self as u64)
    }
}

/// What mapping came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// Done.
    Yes,
    /// Some of it is mapped already, or is not the runtime's to map. What came before that is mapped.
    Refused,
    /// The nub has no more tables.
    NoTables,
}

/// Maps pages at their physical address, to read and write.
pub fn map(address: u64, n_page: u64, page: Page, is_uncached: bool) -> Mapped {
    let rights = 1 | u64::from(is_uncached) << 1;
    match call(Service::Map, [address, n_page, page as u64, rights]).0 {
        0 => Mapped::Yes,
        1 => Mapped::Refused,
        _ => Mapped::NoTables,
    }
}

/// Lets the timer's interrupt in on this core, or keeps it out.
pub fn interrupts(are_on: bool) {
    call(Service::Interrupts, [are_on.into(), 0, 0, 0]);
}

/// Sleeps until the next interrupt.
pub fn wait() {
    call(Service::Wait, [0; 4]);
}

/// The number of this core.
pub fn core() -> usize {
    call(Service::Core, [0; 4]).0 as usize
}

/// Stops this core for good: no interrupt wakes it.
pub fn stop() -> ! {
    call(Service::Stop, [0; 4]);
    unreachable!("a core that was stopped goes on");
}

/// Prepares the start of core `core`; answers the number of the page to wake it on.
pub fn start_core(core: usize, stack_top: u64, fault_stack_top: u64) -> u8 {
    call(Service::StartCore, [core as u64, stack_top, fault_stack_top, 0]).0 as u8
}

/// Says how the timer's interrupt is ended: by a write to `address`, or as x2APIC has it.
pub fn set_end_of_interrupt(address: Option<u64>) {
    call(Service::SetEoi, [address.unwrap_or(0), 0, 0, 0]);
}

/// The time stamp when the kernel was entered.
pub fn entry_tsc() -> u64 {
    // SAFETY: written once, before the runtime began.
    unsafe { nub_entry_tsc }
}

/// What was at the addresses below 4096, where nothing is mapped any more.
pub fn page_0() -> &'static [u8; 4096] {
    // SAFETY: written once, before the runtime began.
    unsafe { &nub_page_0 }
}
