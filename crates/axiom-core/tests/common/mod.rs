//! What the kernel tests share: all of [`axiom_core::conformance`], and the tables that run here.

#![allow(dead_code, unused_imports)] // each test program uses a part

pub use axiom_core::conformance::inputs::*;
use axiom_core::kernels::{CpuFeatures, Kernels};

/// The tables that this processor runs, emulated ones included. What is left out is printed, so that a green run says what it has not seen.
pub fn usable_tables() -> Vec<&'static Kernels> {
    let cpu = CpuFeatures::detect();
    Kernels::all()
        .iter()
        .chain(Kernels::emulated())
        .copied()
        .filter(|table| {
            let missing: Vec<&str> = table.missing(&cpu).collect();
            if !missing.is_empty() {
                println!("table {} is not checked here: this processor lacks {}", table.name, missing.join(", "));
            }
            missing.is_empty()
        })
        .collect()
}
