//! Memory: one contiguous region from outside, carved once into weights, key-value slabs and activations.

mod activation_pool;
mod activations;
mod kv_cache;
mod region;
mod saved_sequence;
mod weight_pool;

pub use self::activation_pool::{ActivationPool, ActivationSlots};
pub use self::activations::{ROW_GROUP, ROWS_PER_WAVE, Rows, Scratch, Work, row_group};
pub use self::kv_cache::{KVCachePool, KVFormat};
pub use self::region::TensorRegion;
pub use self::saved_sequence::Saving;
pub use self::weight_pool::{SlotState, WeightPool};
