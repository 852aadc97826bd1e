//! The model: configuration, weights, and the forward pass from tokens to logits.

mod attention;
mod config;
mod forward;
mod layer;
mod layout;
mod matrix;
mod rope;
mod weights;

pub use self::attention::rows_per_item;
pub use self::config::{ModelConfig, RopePairing, RopeScaling};
pub use self::forward::{Pass, Span, Wave};
pub use self::layout::{
    EXTENT_ALIGN, LayerLayout, LayerWeights, MatrixAt, ModelLayout, OutputLayout, TensorAt, TensorShape,
};
pub use self::matrix::Matrix;
pub use self::rope::Rope;
pub use self::weights::{TensorSource, Weights, pack_matrix};
