//! Who does what when: the phases of a pass, and the lock that holds ticks back while a layer runs.

mod layer_lock;
mod phases;
mod shares;

pub use self::layer_lock::{LayerLock, Served};
pub use self::phases::{Cancelled, Member, Phases};
pub use self::shares::Shares;
