//! Who does what when: the phases of a pass.

mod phases;

pub use self::phases::{Cancelled, Member, Phases};
