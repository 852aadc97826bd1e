//! Every operation of every `Simd` against `Portable`, by itself: when a kernel differs, this says which instruction did.

mod common;

use axiom_core::conformance::operations;
use common::usable_tables;

#[test]
fn every_operation() {
    usable_tables().into_iter().for_each(operations::every_operation);
}
