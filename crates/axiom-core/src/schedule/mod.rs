//! Who does what when: the phases of a pass.

mod layer_lock;
mod phases;

pub use self::layer_lock::{LayerLock, Served};
pub use self::phases::{Cancelled, Member, Phases};
