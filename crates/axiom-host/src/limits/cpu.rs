//! The processors that a process may use, by affinity, topology and the quota of its control groups.

use super::cgroup::{Hierarchy, folders};
use super::{ReadFile, field};
use std::collections::BTreeSet;

/// The processors that a process may use.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuBudget {
    /// Logical processors that it may run on.
    pub n_affinity: usize,
    /// Physical cores among them; the threads of one core share its arithmetic units, so a second one adds little.
    pub n_cores: usize,
    /// Processors' worth of time that its control groups grant, or `None` for no limit.
    pub quota: Option<f64>,
}

impl CpuBudget {
    /// Reads it from the files of a system; `n_other` logical processors where they do not say.
    pub fn of(read: ReadFile, n_other: usize) -> Self {
        let status = read("/proc/thread-self/status");
        let allowed = status.as_deref().and_then(|text| parse_list(field(text, "Cpus_allowed_list")?));
        // A machine may allow processors that it does not have, or not yet.
        let online = read("/sys/devices/system/cpu/online").and_then(|list| parse_list(&list));
        let cpus: Option<Vec<usize>> = allowed.map(|cpus| match online {
            Some(online) => cpus.into_iter().filter(|cpu| online.contains(cpu)).collect(),
            None => cpus,
        });
        let Some(cpus) = cpus.filter(|cpus| !cpus.is_empty()) else {
            let n_other = n_other.max(1);
            return Self { n_affinity: n_other, n_cores: n_other, quota: quota(read) };
        };
        // One name for each core: its list of siblings, or the processor itself if its topology is not known.
        let cores: BTreeSet<String> = cpus
            .iter()
            .map(|cpu| {
                let siblings = read(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"));
                siblings.map_or_else(|| format!("only {cpu}"), |list| list.trim().to_string())
            })
            .collect();
        Self { n_affinity: cpus.len(), n_cores: cores.len(), quota: quota(read) }
    }

    /// Threads to use by default: one for each core, and no more than the quota pays for in full.
    ///
    /// The quota is rounded down, to at least 1: one thread too many has all of them stopped, mid-step, for the rest of
    /// every period.
    pub fn n_threads(&self) -> usize {
        self.quota.map_or(self.n_cores, |quota| self.n_cores.min(quota as usize)).max(1)
    }

    /// Which of the three decides [`CpuBudget::n_threads`]: `quota`, `cores` or `affinity`.
    pub fn bounded_by(&self) -> &'static str {
        if self.n_threads() < self.n_cores {
            "quota"
        } else if self.n_cores < self.n_affinity {
            "cores"
        } else {
            "affinity"
        }
    }
}

/// The numbers of a list like `0-3,8,10-11`; `None` if it is none.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    // More processors than any machine has: a list is a claim.
    const MOST: usize = 1 << 16;
    let mut numbers = Vec::new();
    for range in list.trim().split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last >= MOST {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// The least quota of all groups, in processors.
fn quota(read: ReadFile) -> Option<f64> {
    let v2 = folders(read, Hierarchy::V2).into_iter().filter_map(|folder| {
        let text = read(&format!("{folder}/cpu.max"))?;
        let mut words = text.split_whitespace();
        ratio(words.next()?, words.next()?)
    });
    let v1 = folders(read, Hierarchy::V1("cpu")).into_iter().filter_map(|folder| {
        let quota = read(&format!("{folder}/cpu.cfs_quota_us"))?;
        ratio(quota.trim(), read(&format!("{folder}/cpu.cfs_period_us"))?.trim())
    });
    v2.chain(v1).reduce(f64::min)
}

/// `quota / period`, or `None` for `max`, for version 1's −1, and for what is no number.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::fake::tree;

    const V2_MOUNT: (&str, &str) = ("/proc/self/mountinfo", "30 1 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");

    #[test]
    fn lists() {
        assert_eq!(parse_list("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse_list(""), Some(vec![]));
        for wrong in ["3-1", "a", "1-", "0-99999999999", "0-18446744073709551615"] {
            assert_eq!(parse_list(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn cores_not_hyperthreads() {
        let files = [
            ("/proc/thread-self/status", "Name:\tx\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\n"),
            ("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,2\n"),
            ("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1,3\n"),
            ("/sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "0,2\n"),
            ("/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3\n"),
        ];
        let budget = CpuBudget::of(&tree(&files), 7);
        assert_eq!(budget, CpuBudget { n_affinity: 4, n_cores: 2, quota: None });
        assert_eq!((budget.n_threads(), budget.bounded_by()), (2, "cores"));
    }

    #[test]
    fn unknown_topology_counts_every_processor() {
        let files = [("/proc/thread-self/status", "Cpus_allowed_list:\t4-5\n")];
        let budget = CpuBudget::of(&tree(&files), 7);
        assert_eq!((budget.n_cores, budget.n_threads(), budget.bounded_by()), (2, 2, "affinity"));
    }

    #[test]
    fn allowed_but_not_there() {
        let files =
            [("/proc/thread-self/status", "Cpus_allowed_list:\t0-127\n"), ("/sys/devices/system/cpu/online", "0-1\n")];
        assert_eq!(CpuBudget::of(&tree(&files), 7).n_threads(), 2);
    }

    #[test]
    fn no_files_at_all() {
        let budget = CpuBudget::of(&tree(&[]), 7);
        assert_eq!(budget, CpuBudget { n_affinity: 7, n_cores: 7, quota: None });
        assert_eq!(CpuBudget::of(&tree(&[]), 0).n_threads(), 1);
    }

    #[test]
    fn least_quota_of_all_ancestors_rounded_down() {
        let files = [
            V2_MOUNT,
            ("/proc/thread-self/status", "Cpus_allowed_list:\t0-7\n"),
            ("/proc/self/cgroup", "0::/outer/inner\n"),
            ("/sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/outer/cpu.max", "250000 100000\n"),
        ];
        let budget = CpuBudget::of(&tree(&files), 1);
        assert_eq!(budget.quota, Some(2.5));
        assert_eq!((budget.n_threads(), budget.bounded_by()), (2, "quota"));
    }

    #[test]
    fn a_quota_below_one_still_has_a_thread() {
        let files = [
            V2_MOUNT,
            ("/proc/thread-self/status", "Cpus_allowed_list:\t0\n"),
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/cpu.max", "20000 100000\n"),
        ];
        assert_eq!(CpuBudget::of(&tree(&files), 1).n_threads(), 1);
    }

    #[test]
    fn version_1() {
        let files = |quota| {
            [
                ("/proc/thread-self/status", "Cpus_allowed_list:\t0-7\n"),
                ("/proc/self/cgroup", "2:cpu,cpuacct:/docker/x\n"),
                ("/proc/self/mountinfo", "32 31 0:29 /docker/x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"),
                ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota),
                ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ]
        };
        assert_eq!(CpuBudget::of(&tree(&files("-1\n")), 1).quota, None);
        assert_eq!(CpuBudget::of(&tree(&files("300000\n")), 1).n_threads(), 3);
    }

    #[test]
    fn this_machine() {
        let budget = crate::limits::cpu_budget();
        assert!((1..=budget.n_affinity).contains(&budget.n_threads()), "{budget:?}");
    }
}
