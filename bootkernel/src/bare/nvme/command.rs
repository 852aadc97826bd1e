//! Commands (section 4.2): 64 bytes each, as 16 words.

use crate::device::Shared;

/// A command.
pub type Command = [u32; 16];

/// Bytes of a page of memory, as the controller is set up.
pub const BYTES_PAGE: usize = 4096;

/// Bytes that a list of one page covers, with the page of the command itself.
pub const BYTES_LIST_COVERS: usize = (1 + BYTES_PAGE / 8) * BYTES_PAGE;

mod opcode {
    pub const READ: u32 = 0x02;
    pub const CREATE_SUBMISSION_QUEUE: u32 = 0x01;
    pub const CREATE_COMPLETION_QUEUE: u32 = 0x05;
    pub const IDENTIFY: u32 = 0x06;
}

/// What to identify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Identify {
    /// A namespace.
    Namespace = 0,
    /// The controller.
    Controller = 1,
    /// The active namespaces.
    Namespaces = 2,
}

fn with_address(mut command: Command, address: u64) -> Command {
    (command[6], command[7]) = (address as u32, (address >> 32) as u32);
    command
}

/// Asks for 4096 bytes about something.
pub fn identify(what: Identify, namespace: u32, to: u64) -> Command {
    let mut command = [0; 16];
    (command[0], command[1], command[10]) = (opcode::IDENTIFY, namespace, what as u32);
    with_address(command, to)
}

/// Makes completion queue 1, polled, in contiguous memory.
pub fn create_completion_queue(n_entry: u16, at: u64) -> Command {
    let mut command = [0; 16];
    command[0] = opcode::CREATE_COMPLETION_QUEUE;
    command[10] = u32::from(n_entry - 1) << 16 | 1;
    command[11] = 1;
    with_address(command, at)
}

/// Makes submission queue 1, whose completions go to queue 1.
pub fn create_submission_queue(n_entry: u16, at: u64) -> Command {
    let mut command = [0; 16];
    command[0] = opcode::CREATE_SUBMISSION_QUEUE;
    command[10] = u32::from(n_entry - 1) << 16 | 1;
    command[11] = 1 << 16 | 1;
    with_address(command, at)
}

/// Reads `n_sector` sectors from `sector` to memory that [`describe_pages`] has described.
pub fn read(namespace: u32, sector: u64, n_sector: u16, [first, second]: [u64; 2]) -> Command {
    let mut command = [0; 16];
    (command[0], command[1]) = (opcode::READ, namespace);
    (command[8], command[9]) = (second as u32, (second >> 32) as u32);
    (command[10], command[11]) = (sector as u32, (sector >> 32) as u32);
    command[12] = u32::from(n_sector - 1);
    with_address(command, first)
}

/// Describes `n_byte` bytes at `to`, a multiple of a page, as a command wants it: the first page, and the second if there are
/// two, or a list of all but the first, which is written into the page of `lists` with number `idx`.
pub fn describe_pages(to: u64, n_byte: usize, lists: &mut Shared, idx: usize) -> [u64; 2] {
    let page = BYTES_PAGE as u64;
    let n_page = n_byte.div_ceil(BYTES_PAGE);
    match n_page {
        0 | 1 => [to, 0],
        2 => [to, to + page],
        _ => {
            let list = idx * BYTES_PAGE;
            for i in 1..n_page {
                lists.write(list + 8 * (i - 1), to + i as u64 * page);
            }
            [to, lists.address(list)]
        }
    }
}
