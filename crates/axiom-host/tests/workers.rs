//! The workers under stress: thousands of tiny jobs, threads that come late, panics, and callers from several threads.
//!
//! A job here is what a job of the engine is: pieces handed out by a counter to whoever comes.

use axiom_core::platform::Platform;
use axiom_core::schedule::Phases;
use axiom_core::telemetry::{LayerClock, Part};
use axiom_host::Host;
use axiom_host::workers::{SPIN, Workers};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Runs one job of `n_piece` pieces; checks that each is done once, and that nobody is inside afterwards.
fn run_pieces(workers: &Workers, n_piece: usize, work: impl Fn(usize, usize) + Sync) {
    let next = AtomicUsize::new(0);
    let n_inside = AtomicUsize::new(0);
    let entered: Vec<AtomicUsize> = (0..workers.n_worker()).map(|_| AtomicUsize::new(0)).collect();
    let done: Vec<AtomicUsize> = (0..n_piece).map(|_| AtomicUsize::new(0)).collect();
    workers.run(&|worker| {
        n_inside.fetch_add(1, SeqCst);
        entered[worker].fetch_add(1, SeqCst);
        loop {
            let piece = next.fetch_add(1, SeqCst);
            if piece >= n_piece {
                break;
            }
            work(worker, piece);
            done[piece].fetch_add(1, SeqCst);
        }
        n_inside.fetch_sub(1, SeqCst);
    });
    assert_eq!(n_inside.load(SeqCst), 0, "a worker is inside after the job");
    assert_eq!(entered[0].load(SeqCst), 1);
    assert!(entered.iter().all(|n| n.load(SeqCst) <= 1), "a worker entered twice");
    assert!(done.iter().all(|n| n.load(SeqCst) == 1), "a piece was lost or done twice");
}

#[test]
fn thousands_of_tiny_jobs() {
    for n_worker in 1..=8 {
        for spin in [Duration::ZERO, SPIN] {
            let workers = Workers::start(n_worker, spin).unwrap();
            for job in 0..2000 {
                run_pieces(&workers, job % 9, |_, _| {});
            }
        }
    }
}

#[test]
fn workers_come_while_the_job_is_open() {
    let workers = Workers::start(4, SPIN).unwrap();
    for job in 0..20 {
        if job % 2 == 0 {
            // Long enough for all of them to have fallen asleep.
            std::thread::sleep(SPIN * 20);
        }
        // The caller's part does not end before another has come: if a sleeper were missed, this would never end.
        let n_entered = AtomicUsize::new(0);
        workers.run(&|_| {
            n_entered.fetch_add(1, SeqCst);
            while n_entered.load(SeqCst) < 4 {
                std::thread::yield_now();
            }
        });
        assert_eq!(n_entered.load(SeqCst), 4);
    }
}

#[test]
fn a_slow_neighbour_is_waited_for_if_it_came() {
    let workers = Workers::start(3, SPIN).unwrap();
    for _ in 0..50 {
        run_pieces(&workers, 6, |worker, _| {
            if worker > 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
        });
    }
}

#[test]
fn panics_reach_the_caller_and_the_next_job_runs() {
    let workers = Workers::start(3, SPIN).unwrap();
    for who in 0..3 {
        let n_entered = AtomicUsize::new(0);
        let result = catch_unwind(AssertUnwindSafe(|| {
            workers.run(&|worker| {
                n_entered.fetch_add(1, SeqCst);
                if worker == who {
                    // Not `panic!`, which would print.
                    std::panic::resume_unwind(Box::new(who));
                }
                // The others wait for something that will never come.
                loop {
                    workers.leave_if_abandoned();
                    std::thread::yield_now();
                }
            });
        }));
        assert_eq!(result.unwrap_err().downcast_ref::<usize>(), Some(&who));
        run_pieces(&workers, 100, |_, _| {});
    }
}

#[test]
fn callers_from_several_threads_take_turns() {
    let workers = Workers::start(3, SPIN).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| run_pieces(&workers, 5, |_, _| {})));
        }
    });
}

#[test]
fn dropped_while_asleep_awake_and_unused() {
    for pause in [Duration::ZERO, SPIN / 2, SPIN * 20] {
        for _ in 0..20 {
            let workers = Workers::start(4, SPIN).unwrap();
            std::thread::sleep(pause);
            run_pieces(&workers, 3, |_, _| {});
            drop(workers);
        }
    }
}

#[test]
fn the_platform_keeps_its_promises() {
    let host = Host::start(3).unwrap();
    assert_eq!(host.n_worker(), 3);
    let before = host.now_us();
    let n_entered = AtomicUsize::new(0);
    host.run(&|worker| {
        assert!(worker < 3);
        n_entered.fetch_add(1, SeqCst);
        (0..300).for_each(|n_poll| host.relax(n_poll));
    });
    assert!((1..=3).contains(&n_entered.load(SeqCst)));
    assert!(host.now_us() >= before);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn every_worker_computes_with_denormals() {
    let workers = Workers::start(4, SPIN).unwrap();
    let mut flushing = 0x9FC0u32;
    let mut before = 0u32;
    // SAFETY: saves MXCSR and sets flush-to-zero and denormals-are-zero on this thread.
    unsafe { std::arch::asm!("stmxcsr [{0}]", "ldmxcsr [{1}]", in(reg) &mut before, in(reg) &flushing) };
    let n_entered = AtomicUsize::new(0);
    workers.run(&|_| {
        let half = std::hint::black_box(f32::MIN_POSITIVE) * std::hint::black_box(0.5);
        assert_eq!(half.to_bits(), 0x0040_0000);
        n_entered.fetch_add(1, SeqCst);
        while n_entered.load(SeqCst) < 4 {
            std::thread::yield_now();
        }
    });
    // SAFETY: reads the mode, then puts the one from before back.
    unsafe { std::arch::asm!("stmxcsr [{0}]", "ldmxcsr [{1}]", in(reg) &mut flushing, in(reg) &before) };
    assert_eq!(flushing & 0xFFC0, 0x9FC0, "the caller's mode is its own again");
}

/// Worker 0 comes when the other has done all phases: each is noted when it ended, and not when worker 0 saw that it had.
#[test]
fn phases_that_went_by_without_worker_0_are_noted_when_they_ended() {
    const N_LAYER: usize = 3;
    let host = Host::start(2).unwrap();
    let phases = Phases::new();
    let mut clock = LayerClock::new(N_LAYER);
    clock.begin(host.now_us());
    let (is_over, enders) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let clock = &clock;
    host.run(&|worker| {
        while worker == 0 && !is_over.load(SeqCst) {
            std::thread::yield_now();
        }
        let mut member = phases.join(&host);
        for layer in 0..N_LAYER {
            let work = |_| std::thread::sleep(Duration::from_millis(5));
            let at_end = || {
                clock.note(layer, Part::Attention, host.now_us());
                enders.lock().unwrap().push((worker, layer));
            };
            member.phase_then(2, work, at_end).unwrap();
        }
        is_over.store(true, SeqCst);
    });
    assert_eq!(enders.into_inner().unwrap(), [(1, 0), (1, 1), (1, 2)]);
    for layer in 0..N_LAYER {
        let (start_us, times) = clock.layer(layer);
        assert!(times.layer_us() >= 10_000 && times.attn_us == times.layer_us(), "layer {layer}: {times:?}");
        assert!(layer == 0 || start_us == clock.layer(layer - 1).0 + clock.layer(layer - 1).1.layer_us());
    }
}
