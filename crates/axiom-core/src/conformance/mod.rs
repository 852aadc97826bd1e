//! Checks of a kernel table against the portable one, on bits. They take any table that the processor runs, need nothing but
//! memory, and panic with the first number that differs: the tests of this crate run them on the development machine, the
//! bare kernel wherever it boots. Beside them, programs for the state machines, whose answers are compared with those of the
//! reference, and single calls of kernels: as values in [`machines`] and [`calls`], as bytes in [`answer`].

mod answer;
pub mod attention;
pub mod calls;
pub mod inputs;
pub mod kernels;
pub mod machines;
pub mod operations;
mod value;

pub use self::answer::answer;

use crate::kernels::Kernels;

/// A check: its name, and what runs it on a table.
pub type Check = (&'static str, fn(&Kernels));

/// Every check, those that show the cause of a difference first.
pub const CHECKS: [Check; 14] = [
    ("every_operation", operations::every_operation),
    ("elementwise_kernels", kernels::elementwise_kernels),
    ("weigh", kernels::weigh),
    ("kernels_stay_within_their_arrays", kernels::kernels_stay_within_their_arrays),
    ("rms_norm", kernels::rms_norm),
    ("rope", kernels::rope),
    ("quantize", kernels::quantize),
    ("multiply_every_width", kernels::multiply_every_width),
    ("multiply_every_batch", kernels::multiply_every_batch),
    ("multiply_every_share_of_a_batch", kernels::multiply_every_share_of_a_batch),
    ("attention: every_number_of_positions", attention::every_number_of_positions),
    ("attention: every_number_of_queries", attention::every_number_of_queries),
    ("attention: every_head_size", attention::every_head_size),
    ("attention: unseen_infinities", attention::unseen_infinities),
];
