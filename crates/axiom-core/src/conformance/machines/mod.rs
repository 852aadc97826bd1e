//! The core's state machines, driven by programs, for comparison with their twins in the reference.
//!
//! A program is a list of requests, each a word and two numbers. A request is answered in words, an error in its own; what
//! comes back is every answer, and the state of the machine after it.

mod disk;
mod kv_cache_pool;
mod layer_lock;
mod memory_plan;
mod slots;
mod streamer;

use crate::error::Error;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A request.
pub type Step<'a> = (&'a str, u64, u64);
/// What was answered, and the state after it.
pub type Answer = (String, String);

/// A machine's name, the sizes that it is made with, and what runs a program on it.
type Machine = (&'static str, &'static [&'static str], fn(&[usize], &[Step<'_>]) -> Result<Vec<Answer>, String>);

const MACHINES: [Machine; 6] = [
    ("weight_pool", &["n_slot"], slots::weight_pool),
    ("activation_pool", &[], slots::activation_pool),
    ("layer_lock", &[], layer_lock::run),
    ("kv_cache_pool", &["n_ctx", "n_seq_max"], kv_cache_pool::run),
    ("memory_plan", &["n_col", "is_tied"], memory_plan::run),
    (
        "streamer",
        &["n_extent", "n_landing", "n_request_max", "blocks_request_max", "is_in_order", "fetches"],
        streamer::run,
    ),
];

/// Runs a program on the machine of that name.
///
/// # Errors
///
/// In words: a machine, a size or a request that there is not.
pub fn run(machine: &str, sizes: &[usize], program: &[Step<'_>]) -> Result<Vec<Answer>, String> {
    let Some((_, names, run)) = MACHINES.iter().find(|(name, ..)| *name == machine) else {
        let names: Vec<&str> = MACHINES.iter().map(|(name, ..)| *name).collect();
        return Err(format!("no machine {machine:?}; use one of {}", names.join(", ")));
    };
    if sizes.len() != names.len() {
        return Err(format!("{machine}: expected {} sizes ({}), got {}", names.len(), names.join(", "), sizes.len()));
    }
    run(sizes, program)
}

fn unknown(request: &str) -> String {
    format!("no request {request:?}")
}

fn said<T: ToString>(result: Result<T, Error>) -> String {
    result.map_or_else(|error| error.to_string(), |answer| answer.to_string())
}

fn done(result: Result<(), Error>) -> String {
    said(result.map(|()| "done"))
}
