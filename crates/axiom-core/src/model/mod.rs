//! The model: weights, and the forward pass from tokens to logits.

mod attention;
mod boundary;
mod forward;
mod layer;
mod layout;
mod loading;
mod matrix;
mod packing;
mod plan;
mod progress;
mod rope;
mod store;
mod weights;

pub use self::attention::rows_per_item;
pub use self::boundary::Boundary;
pub use self::forward::{Pass, Span, Wave};
pub use self::layout::{
    EXTENT_ALIGN, LayerLayout, LayerWeights, MatrixAt, ModelLayout, OutputLayout, TensorAt, TensorShape,
};
pub use self::loading::{StoredExtent, WeightImage};
pub use self::matrix::Matrix;
pub use self::packing::{TensorBytes, TensorSource, pack_matrix};
pub use self::plan::MemoryPlan;
pub use self::progress::Progress;
pub use self::rope::Rope;
pub use self::store::WeightStore;
pub use self::weights::Weights;
