//! Every kernel table against the portable one, `==` on bits: every entry, every format, around every size at which the code
//! takes another path. The checks are in the core, so that a machine without an operating system can run them.

mod common;

use axiom_core::conformance::kernels;
use common::usable_tables;

#[test]
fn elementwise_kernels() {
    usable_tables().into_iter().filter(|table| table.name != "portable").for_each(kernels::elementwise_kernels);
}

#[test]
fn weigh() {
    usable_tables().into_iter().for_each(kernels::weigh);
}

#[test]
fn kernels_stay_within_their_arrays() {
    usable_tables()
        .into_iter()
        .filter(|table| table.name != "portable")
        .for_each(kernels::kernels_stay_within_their_arrays);
}

#[test]
fn rms_norm() {
    usable_tables().into_iter().filter(|table| table.name != "portable").for_each(kernels::rms_norm);
}

#[test]
fn rope() {
    usable_tables().into_iter().filter(|table| table.name != "portable").for_each(kernels::rope);
}

#[test]
fn quantize() {
    usable_tables().into_iter().filter(|table| table.name != "portable").for_each(kernels::quantize);
}

#[test]
fn multiply_every_width() {
    usable_tables().into_iter().filter(|table| table.name != "portable").for_each(kernels::multiply_every_width);
}

#[test]
fn multiply_every_batch() {
    usable_tables().into_iter().filter(|table| table.name != "portable").for_each(kernels::multiply_every_batch);
}

#[test]
fn multiply_every_share_of_a_batch() {
    usable_tables().into_iter().for_each(kernels::multiply_every_share_of_a_batch);
}
