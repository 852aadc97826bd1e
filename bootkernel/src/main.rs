//! The kernel. Ring 0 is the nub: some hundred lines of assembly in `nub/`, which set up what only ring 0 can, and serve what
//! only ring 0 may. All else runs in ring 3, here: the engine is `axiom-core` as it stands, the drivers are plain Rust, and a
//! mistake in any of it is a fault that is reported, not a machine that hangs.
//!
//! To read: `nub/entry.s`, how it begins; `start.rs`, what happens then; `machine.rs`, what the engine sees of it.
#![no_std]
#![no_main]
extern crate alloc;

mod apic;
mod backtrace;
mod clock;
mod console;
mod cores;
mod devices;
mod exit;
mod fault;
mod heap;
mod intrinsics;
mod machine;
mod memory;
mod model;
mod nub;
mod passes;
mod ports;
mod progress;
mod rate;
mod refusal;
mod report;
mod serve;
mod serving;
mod spin;
mod stacks;
mod start;
mod storage;
mod story;
mod symbols;
mod trial;
mod vocabulary;
mod watchdog;
mod wire;
mod wish;
