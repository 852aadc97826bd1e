//! Ports by width.

use crate::nub::{port_in, port_out};

/// Reads a byte.
pub fn read_u8(port: u16) -> u8 {
    port_in(port, 1) as u8
}

/// Writes a byte.
pub fn write_u8(port: u16, value: u8) {
    port_out(port, 1, value.into());
}

/// Writes two bytes.
pub fn write_u16(port: u16, value: u16) {
    port_out(port, 2, value.into());
}

/// Reads four bytes.
pub fn read_u32(port: u16) -> u32 {
    port_in(port, 4)
}

/// Writes four bytes.
pub fn write_u32(port: u16, value: u32) {
    port_out(port, 4, value);
}
