//! The layout of a model whose file claims what it does not have.

mod common;

use axiom_core::config::ModelConfig;
use axiom_core::error::Error;
use axiom_core::format::Format;
use axiom_core::model::{ModelLayout, TensorShape};

#[test]
fn layers_that_no_memory_has_room_for_are_missing_tensors() {
    let shapes = [TensorShape { name: "token_embd.weight", format: Format::Q4_0, n_row: 83, n_col: 256 }];
    let claimed = ModelConfig { n_layer: 1 << 30, ..common::config() };
    claimed.check().unwrap();
    let missing = Error::MissingTensor { name: "blk.0.attn_norm.weight".into() };
    assert_eq!(ModelLayout::new(&claimed, &shapes), Err(missing));
}
