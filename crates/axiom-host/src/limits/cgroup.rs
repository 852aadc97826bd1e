//! The folders of the control groups that a process is in, its own and every one above, in versions 1 and 2.
//!
//! `/proc/self/cgroup` names the group as a path within a hierarchy; `/proc/self/mountinfo` says where that hierarchy is
//! mounted, and which of its groups is at the mount point. Both paths are seen through the process's cgroup namespace:
//!
//! - with a namespace of its own, the group is `/` and is what is mounted;
//! - without one, a container's group is `/docker/…` and either the whole hierarchy is mounted, or only the part from its
//!   own group on, which mountinfo then gives as the mount's root;
//! - a group outside of what is mounted (`/../…`, or another branch) cannot be looked at; what is mounted stands for it.
//!
//! A limit holds for everything below it, so the least of all counts. Source: Linux `cgroups(7)`, `cgroup_namespaces(7)`,
//! `proc_pid_mountinfo(5)`.

use super::ReadFile;

/// A version 2 hierarchy, or the version 1 hierarchy of a controller.
#[derive(Clone, Copy)]
pub enum Hierarchy {
    /// The unified one.
    V2,
    /// The one of `cpu`, `memory`, ….
    V1(&'static str),
}

/// The mounted folders of this process's groups in a hierarchy, its own first; none if it is not mounted.
pub fn folders(read: ReadFile, hierarchy: Hierarchy) -> Vec<String> {
    let (Some(groups), Some(mounts)) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo")) else {
        return Vec::new();
    };
    let Some(group) = groups.lines().find_map(|line| group_of(line, hierarchy)) else { return Vec::new() };
    let Some((root, mount_point)) = mounts.lines().find_map(|line| mount_of(line, hierarchy)) else {
        return Vec::new();
    };
    let mut below = below(group, &root);
    let mut folders = Vec::new();
    loop {
        folders.push(format!("{mount_point}{below}"));
        let Some(end) = below.rfind('/') else { return folders };
        below = &below[..end];
    }
}

/// The group of a line of `/proc/self/cgroup`, `id:controllers:path`, if it is of this hierarchy.
fn group_of(line: &str, hierarchy: Hierarchy) -> Option<&str> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let is_it = match hierarchy {
        Hierarchy::V2 => controllers.is_empty(),
        Hierarchy::V1(controller) => controllers.split(',').any(|name| name == controller),
    };
    is_it.then_some(path)
}

/// Root and mount point of a line of `/proc/self/mountinfo`, if it mounts this hierarchy:
/// `id parent major:minor root mount-point options optional… - type source super-options`.
fn mount_of(line: &str, hierarchy: Hierarchy) -> Option<(String, String)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, mount_point) = (mount.next()?, mount.next()?);
    let mut filesystem = filesystem.split(' ');
    let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
    let is_it = match hierarchy {
        Hierarchy::V2 => kind == "cgroup2",
        Hierarchy::V1(controller) => kind == "cgroup" && options.split(',').any(|name| name == controller),
    };
    is_it.then(|| (unescape(root), unescape(mount_point)))
}

/// The part of `group` below the mounted `root`, with a leading slash, or nothing for the root itself.
fn below<'a>(group: &'a str, root: &str) -> &'a str {
    let group = group.trim_end_matches('/');
    let root = root.trim_end_matches('/');
    match group.strip_prefix(root) {
        Some(rest) if (rest.is_empty() || rest.starts_with('/')) && !rest.split('/').any(|part| part == "..") => rest,
        _ => "",
    }
}

/// Undoes `\040` for a space, and the like.
fn unescape(text: &str) -> String {
    let mut result = text.to_string();
    for (escaped, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        result = result.replace(escaped, plain);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::fake::tree;

    fn v2(group: &str, root: &str) -> Vec<String> {
        let groups = format!("0::{group}\n");
        let mounts = format!(
            "22 1 0:21 / /proc rw - proc proc rw\n30 1 0:26 {root} /sys/fs/cgroup ro,nosuid shared:9 - cgroup2 cgroup2 rw\n"
        );
        folders(&tree(&[("/proc/self/cgroup", &groups), ("/proc/self/mountinfo", &mounts)]), Hierarchy::V2)
    }

    #[test]
    fn own_namespace() {
        assert_eq!(v2("/", "/"), ["/sys/fs/cgroup"]);
    }

    #[test]
    fn whole_hierarchy() {
        let expected = ["/sys/fs/cgroup/user.slice/job", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"];
        assert_eq!(v2("/user.slice/job", "/"), expected);
    }

    #[test]
    fn own_group_mounted() {
        assert_eq!(v2("/docker/abc", "/docker/abc"), ["/sys/fs/cgroup"]);
        assert_eq!(v2("/docker/abc/inner", "/docker/abc"), ["/sys/fs/cgroup/inner", "/sys/fs/cgroup"]);
        assert_eq!(v2("/docker/abcd", "/docker/abc"), ["/sys/fs/cgroup"]);
    }

    #[test]
    fn outside_of_what_is_mounted() {
        assert_eq!(v2("/../other", "/"), ["/sys/fs/cgroup"]);
        assert_eq!(v2("/elsewhere", "/docker/abc"), ["/sys/fs/cgroup"]);
    }

    #[test]
    fn version_1_beside_version_2() {
        let files = [
            ("/proc/self/cgroup", "4:memory:/job\n2:cpu,cpuacct:/\n0::/\n"),
            (
                "/proc/self/mountinfo",
                "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                 32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                 35 31 0:32 / /sys/fs/cgroup/with\\040space rw - cgroup cgroup rw,memory\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            ),
        ];
        let read = tree(&files);
        assert_eq!(folders(&read, Hierarchy::V1("cpu")), ["/sys/fs/cgroup/cpu,cpuacct"]);
        let memory = ["/sys/fs/cgroup/with space/job", "/sys/fs/cgroup/with space"];
        assert_eq!(folders(&read, Hierarchy::V1("memory")), memory);
        assert_eq!(folders(&read, Hierarchy::V2), ["/sys/fs/cgroup/unified"]);
        assert!(folders(&read, Hierarchy::V1("pids")).is_empty());
    }

    #[test]
    fn nothing_to_read() {
        assert!(folders(&tree(&[]), Hierarchy::V2).is_empty());
        assert!(
            folders(&tree(&[("/proc/self/cgroup", "x\n\n::"), ("/proc/self/mountinfo", "x - y\n")]), Hierarchy::V2)
                .is_empty()
        );
    }
}
