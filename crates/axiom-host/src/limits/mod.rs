//! What this process may use of the machine, and what bounds it: [`cpu_budget`] and [`memory_budget`].
//!
//! Linux answers in files, and everything here is a pure function of their contents ([`ReadFile`]), so that a test hands it
//! the files of any machine. Elsewhere the files do not exist, and what is not known does not bound. The twin in Python is
//! `axiom.hardware`.

mod cgroup;
mod cpu;
mod memory;

pub use self::cpu::CpuBudget;
pub use self::memory::MemoryBudget;

/// Contents of the file at an absolute path, or `None` if there is none to read.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The processors that this process may use.
pub fn cpu_budget() -> CpuBudget {
    let n_other = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    CpuBudget::of(&read_file, n_other)
}

/// The memory that this process may still take.
pub fn memory_budget() -> MemoryBudget {
    MemoryBudget::of(&read_file)
}

pub(crate) fn read_file(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The fields of a `key: value` line, after the colon.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod fake {
    /// A reader of these `(path, contents)` and nothing else.
    pub fn tree<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |path| files.iter().find(|(name, _)| *name == path).map(|(_, contents)| (*contents).to_string())
    }
}
