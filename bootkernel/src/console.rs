//! The serial line COM1: whole lines, because every write is a way into the nub and often into a hypervisor.

use crate::nub;
use crate::ports::{read_u8, write_u8};
use crate::spin::Spin;
use core::fmt;

const COM1: u16 = 0x3f8;

/// Characters that are gathered before they are written, if no line ends first.
const BYTES_BUFFER: usize = 512;

/// The line that is being put together.
pub struct Console {
    buffer: [u8; BYTES_BUFFER],
    n_byte: usize,
    /// Whether the port has ever taken what it was given.
    is_there: bool,
}

/// The one console.
pub static CONSOLE: Spin<Console> = Spin::new(Console { buffer: [0; BYTES_BUFFER], n_byte: 0, is_there: false });

/// 115,200 baud, 8 data bits, no parity, one stop bit, no interrupts, queues on.
pub fn set_up() {
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 0xc7), (4, 3)] {
        write_u8(COM1 + register, value);
    }
}

/// Waits until the last character has left the port, if it is there.
pub fn drain() {
    const IS_EMPTY: u8 = 1 << 6;
    while CONSOLE.lock().is_there && read_u8(COM1 + 5) & IS_EMPTY == 0 {
        core::hint::spin_loop();
    }
}

impl Console {
    /// Appends bytes; writes what ends in a line.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.push(b'\r');
            }
            self.push(byte);
            if byte == b'\n' {
                self.flush();
            }
        }
    }

    /// Writes what is there, line or not. A port that has taken something before is waited for: in a virtual machine it takes
    /// nothing while nobody reads what is at its other end. One that never has is not there.
    pub fn flush(&mut self) {
        let mut rest = &self.buffer[..self.n_byte];
        while !rest.is_empty() {
            let n_left = nub::write(COM1, rest);
            self.is_there |= n_left < rest.len();
            if !self.is_there {
                break;
            }
            rest = &rest[rest.len() - n_left..];
        }
        self.n_byte = 0;
    }

    fn push(&mut self, byte: u8) {
        if self.n_byte == BYTES_BUFFER {
            self.flush();
        }
        self.buffer[self.n_byte] = byte;
        self.n_byte += 1;
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes());
        Ok(())
    }
}

/// Writes a line.
#[macro_export]
macro_rules! line {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        let mut console = $crate::console::CONSOLE.lock();
        // The console never fails.
        let _ = console.write_fmt(format_args!($($argument)*));
        let _ = console.write_str("\n");
    }};
}
