//! What of the bare machine is plain computation: what firmware, loaders and devices say, checked before it is believed, and
//! what devices are told, built before it is written to them. It touches no register, so it is tested where it is written.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod boot;
pub mod device;
pub mod metadata;
pub mod nvme;
pub mod pace;
pub mod partitions;
pub mod pci;
pub mod timer;
pub mod virtio;
pub mod words;

#[cfg(test)]
mod testing;
