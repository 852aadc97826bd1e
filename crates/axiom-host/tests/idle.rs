//! Workers without a job sleep. Alone in its file, because it counts the time of every worker in its process.

#![cfg(target_os = "linux")]

use axiom_host::workers::{SPIN, Workers};
use std::time::Duration;

#[test]
fn idle_workers_use_no_processor_time() {
    let workers = Workers::start(4, SPIN).unwrap();
    workers.run(&|_| {});
    std::thread::sleep(Duration::from_millis(20));
    let before = processor_time();
    std::thread::sleep(Duration::from_millis(300));
    // A single thread that spins would have used 30.
    assert!(processor_time() - before <= 1, "idle workers ran");
}

/// Time that the workers of this process have run, in ticks of 10 ms.
fn processor_time() -> u64 {
    let mut ticks = 0;
    let mut n_worker = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (name, fields) = stat.rsplit_once(") ").unwrap();
        if name.contains("(axiom-") {
            let fields: Vec<&str> = fields.split(' ').collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
            n_worker += 1;
        }
    }
    assert_eq!(n_worker, 3);
    ticks
}
