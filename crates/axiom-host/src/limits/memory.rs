//! The memory that a process may still take, by the system and by its control groups.

use super::cgroup::{Hierarchy, folders};
use super::{ReadFile, field};

/// Version 1 writes "no limit" as the largest multiple of a page; no machine comes near this.
const V1_UNLIMITED: u64 = 1 << 60;

/// The memory that a process may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    /// What the system could give without swapping, or `None` if it does not say.
    pub available_bytes: Option<u64>,
    /// What the control groups still grant, or `None` for no limit.
    pub limit_bytes: Option<u64>,
}

impl MemoryBudget {
    /// Reads it from the files of a system.
    pub fn of(read: ReadFile) -> Self {
        let meminfo = read("/proc/meminfo");
        let available = meminfo.as_deref().and_then(|text| {
            let kib: u64 = field(text, "MemAvailable")?.strip_suffix(" kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        });
        Self { available_bytes: available, limit_bytes: limit(read) }
    }

    /// The smaller of the two, or `None` if neither is known.
    pub fn usable_bytes(&self) -> Option<u64> {
        self.available_bytes.into_iter().chain(self.limit_bytes).min()
    }
}

/// The least that any group leaves. Page cache counts as free: it gives way. A group's soft limit (`memory.high`) counts as
/// one: beyond it the system slows the process down until it is of no use.
fn limit(read: ReadFile) -> Option<u64> {
    let number = |folder: &str, file: &str| read(&format!("{folder}/{file}"))?.trim().parse::<u64>().ok();
    let v2 = folders(read, Hierarchy::V2).into_iter().filter_map(|folder| {
        let limits = [number(&folder, "memory.max"), number(&folder, "memory.high")];
        let limit = limits.into_iter().flatten().min()?;
        Some(left(limit, number(&folder, "memory.current")?, stat(read, &folder, "inactive_file")))
    });
    let v1 = folders(read, Hierarchy::V1("memory")).into_iter().filter_map(|folder| {
        let limit = number(&folder, "memory.limit_in_bytes").filter(|&limit| limit < V1_UNLIMITED)?;
        Some(left(limit, number(&folder, "memory.usage_in_bytes")?, stat(read, &folder, "total_inactive_file")))
    });
    v2.chain(v1).min()
}

fn left(limit: u64, used: u64, cache: u64) -> u64 {
    limit.saturating_sub(used.saturating_sub(cache))
}

fn stat(read: ReadFile, folder: &str, key: &str) -> u64 {
    let text = read(&format!("{folder}/memory.stat")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::fake::tree;

    #[test]
    fn nothing_known() {
        let budget = MemoryBudget::of(&tree(&[("/proc/meminfo", "MemAvailable: many\n")]));
        assert_eq!(budget, MemoryBudget { available_bytes: None, limit_bytes: None });
        assert_eq!(budget.usable_bytes(), None);
    }

    #[test]
    fn least_of_all_ancestors_with_cache_given_back() {
        let files = [
            ("/proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:    8000 kB\n"),
            ("/proc/self/cgroup", "0::/outer/inner\n"),
            ("/proc/self/mountinfo", "30 1 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"),
            ("/sys/fs/cgroup/outer/inner/memory.max", "max\n"),
            ("/sys/fs/cgroup/outer/inner/memory.high", "5000000\n"),
            ("/sys/fs/cgroup/outer/inner/memory.current", "1000000\n"),
            ("/sys/fs/cgroup/outer/memory.max", "3000000\n"),
            ("/sys/fs/cgroup/outer/memory.high", "max\n"),
            ("/sys/fs/cgroup/outer/memory.current", "2000000\n"),
            ("/sys/fs/cgroup/outer/memory.stat", "anon 5\ninactive_file 600000\nactive_file 1\n"),
        ];
        let budget = MemoryBudget::of(&tree(&files));
        assert_eq!(budget, MemoryBudget { available_bytes: Some(8_192_000), limit_bytes: Some(1_600_000) });
        assert_eq!(budget.usable_bytes(), Some(1_600_000));
    }

    #[test]
    fn more_used_than_allowed_leaves_nothing() {
        assert_eq!(left(10, 50, 5), 0);
        assert_eq!(left(10, 5, 50), 10);
    }

    #[test]
    fn version_1() {
        let files = |limit| {
            [
                ("/proc/self/cgroup", "4:memory:/job\n"),
                ("/proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "4096\n"),
                ("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", limit),
                ("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1000\n"),
                ("/sys/fs/cgroup/memory/job/memory.stat", "total_inactive_file 300\n"),
            ]
        };
        assert_eq!(MemoryBudget::of(&tree(&files("9223372036854771712\n"))).limit_bytes, None);
        assert_eq!(MemoryBudget::of(&tree(&files("5000\n"))).limit_bytes, Some(4300));
    }
}
