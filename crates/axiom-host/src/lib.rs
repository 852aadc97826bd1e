//! The [`Platform`](axiom_core::platform::Platform) of an operating system, and what an engine asks of it once, at start.
//!
//! - [`Host`]: clock and worker threads; [`workers`] is how they join a job, [`float_mode`] how they compute alike.
//! - [`Region`]: the one reservation of memory that an engine lives in, on huge pages where there are any.
//! - [`Timer`]: what ticks while an engine computes.
//! - [`limits`]: how many processors and how much memory this process may use, read from files of the system.
//! - [`disk`]: a file that the core reads in the background; [`FileBytes`] some bytes of one that are read at once.
//! - [`bandwidth`]: how fast this machine reads memory, the yardstick of every decoding speed; [`disk_bandwidth`] how fast it
//!   reads a file, the yardstick where weights are streamed.
//!
//! Nothing here prints, reads the environment, or runs while no job does.

pub mod bandwidth;
pub mod disk;
pub mod disk_bandwidth;
mod file_bytes;
pub mod float_mode;
mod host;
pub mod limits;
#[cfg(target_os = "linux")]
mod page_cache;
pub mod region;
mod timer;
pub mod workers;

pub use crate::file_bytes::FileBytes;
pub use crate::host::Host;
pub use crate::region::{Region, RegionError};
pub use crate::timer::Timer;
