//! The engine. `no_std`; memory comes from outside, once; no I/O, threads or clock of its own.
#![no_std]
extern crate alloc;

pub mod checksum;
pub mod config;
pub mod digest;
pub mod error;
pub mod platform;
pub mod telemetry;

pub mod arithmetic;
pub mod format;
pub mod kernels;

pub mod memory;
pub mod schedule;
pub mod stream;

pub mod model;

pub mod image;

pub mod sample;
pub mod text;

pub mod protocol;
pub mod receipt;
pub mod runtime;

#[cfg(feature = "conformance")]
pub mod conformance;
