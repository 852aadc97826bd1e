//! An NVMe controller and its first namespace: brought up, and read from.

use super::command::{
    BYTES_LIST_COVERS, BYTES_PAGE, Identify, create_completion_queue, create_submission_queue, describe_pages,
    identify, read,
};
use super::queue::{BYTES_QUEUES, FIRST_BELL, N_ENTRY, Queues};
use crate::device::disk::{Driver, Ended, N_REQUEST};
use crate::device::{Clock, DeviceError, Registers, Shared, wait};

/// Registers of the controller (section 3.1).
mod register {
    pub const CAPABILITIES: usize = 0x00;
    pub const MASK_INTERRUPTS: usize = 0x0c;
    pub const CONFIGURATION: usize = 0x14;
    pub const STATUS: usize = 0x1c;
    pub const QUEUE_SIZES: usize = 0x24;
    pub const COMMANDS: usize = 0x28;
    pub const COMPLETIONS: usize = 0x30;
}

const IS_READY: u32 = 1;
const HAS_FAILED: u32 = 1 << 1;

/// The largest read: longer ones gain nothing, and keep others waiting.
const BYTES_REQUEST_MAX: usize = 2 << 20;
const _: () = assert!(BYTES_REQUEST_MAX <= BYTES_LIST_COVERS);

/// Reads under way: one place in a queue stays empty, so that a full one and an empty one differ.
const N_READ: usize = 32;
const _: () = assert!(N_READ < N_ENTRY as usize && N_READ <= N_REQUEST);

/// Bytes of memory that a controller needs: two pairs of queues, a page for answers, and a list for each read.
pub const BYTES_MEMORY: usize = 2 * BYTES_QUEUES + BYTES_PAGE + N_READ * BYTES_PAGE;

/// Bytes of the registers that every controller has at the same place.
pub const BYTES_FIRST_REGISTERS: u64 = FIRST_BELL as u64;

/// Bytes of all registers that are used: behind those of [`BYTES_FIRST_REGISTERS`], which are read here, come the doorbells of
/// two pairs of queues, as far apart as the controller says.
pub fn bytes_registers(first: &impl Registers) -> u64 {
    const N_BELL: usize = 4;
    (FIRST_BELL + N_BELL * stride(first.read_u64(register::CAPABILITIES))) as u64
}

/// Bytes from one doorbell to the next.
fn stride(capabilities: u64) -> usize {
    4 << (capabilities >> 32 & 0xf)
}

/// The disk.
pub struct Nvme<R> {
    registers: R,
    clock: Clock,
    /// How long the controller may take to get ready, by its own word.
    ready_us: u64,
    management: Queues,
    reads: Queues,
    answer: Shared,
    lists: Shared,
    namespace: u32,
    n_sector: u64,
    bytes_sector: u32,
    bytes_request_max: usize,
    /// Completions taken since the controller was last told.
    n_taken: u16,
}

impl<R: Registers> Nvme<R> {
    /// Brings the controller up, with [`BYTES_MEMORY`] bytes of memory.
    ///
    /// # Errors
    ///
    /// If it does not come up, or is not as it should be.
    pub fn new(registers: R, mut memory: Shared, clock: Clock) -> Result<Nvme<R>, DeviceError> {
        let capabilities = registers.read_u64(register::CAPABILITIES);
        let stride = stride(capabilities);
        let smallest_page_shift = 12 + (capabilities >> 48 & 0xf);
        if smallest_page_shift != 12 {
            return Err(DeviceError::Unsupported { what: "pages of 4096 bytes (shift 12)", got: smallest_page_shift });
        }
        let n_entry = N_ENTRY.min(((capabilities & 0xffff) as u16).saturating_add(1));
        if n_entry < 2 {
            return Err(DeviceError::Nonsense { what: "the size of a queue", got: n_entry.into() });
        }
        let lists = memory.split_off(2 * BYTES_QUEUES + BYTES_PAGE);
        let answer = memory.split_off(2 * BYTES_QUEUES);
        let reads = memory.split_off(BYTES_QUEUES);
        let mut nvme = Nvme {
            registers,
            clock,
            // In units of 500 ms.
            ready_us: (capabilities >> 24 & 0xff).max(1) * 500_000,
            management: Queues::new(memory, n_entry, 0, stride),
            reads: Queues::new(reads, n_entry, 1, stride),
            answer,
            lists,
            namespace: 0,
            n_sector: 0,
            bytes_sector: 0,
            bytes_request_max: 0,
            n_taken: 0,
        };
        nvme.start()?;
        nvme.identify()?;
        Ok(nvme)
    }

    /// From any state to one in which reads can be queued.
    fn start(&mut self) -> Result<(), DeviceError> {
        // Commands of 64 bytes, completions of 16, pages of 4096, round robin; enabled.
        const ENABLED: u32 = 4 << 20 | 6 << 16 | 1;
        let status = |registers: &R| registers.read_u32(register::STATUS);
        self.registers.write_u32(register::CONFIGURATION, 0);
        wait(self.clock, self.ready_us, "stop of an NVMe controller", || status(&self.registers) & IS_READY == 0)?;
        self.management.clear();
        self.reads.clear();
        self.n_taken = 0;
        let [commands, completions] = self.management.addresses();
        let largest = u32::from(self.management.n_entry() - 1);
        self.registers.write_u32(register::MASK_INTERRUPTS, u32::MAX);
        self.registers.write_u32(register::QUEUE_SIZES, largest << 16 | largest);
        self.registers.write_u64(register::COMMANDS, commands);
        self.registers.write_u64(register::COMPLETIONS, completions);
        self.registers.write_u32(register::CONFIGURATION, ENABLED);
        wait(self.clock, self.ready_us, "start of an NVMe controller", || {
            status(&self.registers) & (IS_READY | HAS_FAILED) != 0
        })?;
        let now = status(&self.registers);
        if now & HAS_FAILED != 0 {
            return Err(DeviceError::Failed { what: "start of an NVMe controller", status: now });
        }
        let [commands, completions] = self.reads.addresses();
        let n = self.reads.n_entry();
        self.run("making a completion queue", &create_completion_queue(n, completions))?;
        self.run("making a submission queue", &create_submission_queue(n, commands))
    }

    fn run(&mut self, what: &'static str, command: &super::command::Command) -> Result<(), DeviceError> {
        self.management.run(&self.registers, self.clock, what, command)
    }

    /// Learns the limits of the controller and of its first namespace.
    fn identify(&mut self) -> Result<(), DeviceError> {
        let answer = self.answer.address(0);
        self.run("identifying an NVMe controller", &identify(Identify::Controller, 0, answer))?;
        let largest_shift = self.answer.read::<u8>(77);
        let largest = match largest_shift {
            0 => usize::MAX,
            shift => 1usize.checked_shl(12 + u32::from(shift)).unwrap_or(usize::MAX),
        };
        self.bytes_request_max = BYTES_REQUEST_MAX.min(largest);

        self.run("listing NVMe namespaces", &identify(Identify::Namespaces, 0, answer))?;
        self.namespace = self.answer.read(0);
        if self.namespace == 0 {
            return Err(DeviceError::Unsupported { what: "an active namespace", got: 0 });
        }
        self.run("identifying an NVMe namespace", &identify(Identify::Namespace, self.namespace, answer))?;
        self.n_sector = self.answer.read(0);
        let format = usize::from(self.answer.read::<u8>(26) & 0xf);
        let description = self.answer.read::<u32>(128 + 4 * format);
        let (bytes_metadata, sector_shift) = (description as u16, description >> 16 & 0xff);
        if bytes_metadata != 0 {
            return Err(DeviceError::Unsupported { what: "sectors without metadata", got: bytes_metadata.into() });
        }
        if !(9..=12).contains(&sector_shift) {
            return Err(DeviceError::Unsupported { what: "sectors of 512 to 4096 bytes", got: sector_shift.into() });
        }
        self.bytes_sector = 1 << sector_shift;
        Ok(())
    }
}

impl<R: Registers> Driver for Nvme<R> {
    fn bytes_sector(&self) -> u32 {
        self.bytes_sector
    }

    fn n_sector(&self) -> u64 {
        self.n_sector
    }

    fn bytes_request_max(&self) -> usize {
        self.bytes_request_max
    }

    fn n_request_max(&self) -> usize {
        N_READ.min(usize::from(self.reads.n_entry()) - 1)
    }

    unsafe fn submit(&mut self, slot: usize, sector: u64, to: *mut u8, n_byte: usize) {
        let pages = describe_pages(to as u64, n_byte, &mut self.lists, slot);
        let n_sector = (n_byte / self.bytes_sector as usize) as u16;
        self.reads.push(slot as u16, &read(self.namespace, sector, n_sector, pages));
    }

    fn kick(&mut self) {
        self.reads.ring(&self.registers);
    }

    fn poll(&mut self) -> Result<Option<Ended>, DeviceError> {
        // Telling the controller costs as much as a read of a page: it is done for several completions together.
        const N_RELEASE: u16 = 8;
        let Some(done) = self.reads.pop() else {
            if self.n_taken > 0 {
                self.reads.release(&self.registers);
                self.n_taken = 0;
            }
            return Ok(None);
        };
        self.n_taken += 1;
        if self.n_taken >= N_RELEASE.min(self.reads.n_entry() / 2) {
            self.reads.release(&self.registers);
            self.n_taken = 0;
        }
        Ok(Some(Ended { slot: done.id.into(), status: done.status.into() }))
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        self.start()
    }
}
