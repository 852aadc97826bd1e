//! How far the work has come, in numbers that can be printed from anywhere: a report of a fault ends with them.

use crate::{clock, line};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

static N_TOKEN: AtomicU64 = AtomicU64::new(0);
static N_PASS: AtomicU64 = AtomicU64::new(0);
/// Layers that the pass has done; `IS_OVER` between passes.
static LAYER: AtomicU64 = AtomicU64::new(IS_OVER);
static N_LAYER: AtomicU64 = AtomicU64::new(0);
static SINCE_US: AtomicU64 = AtomicU64::new(0);
static LAST_PASS_US: AtomicU64 = AtomicU64::new(0);
static LONGEST_LAYER_US: AtomicU64 = AtomicU64::new(0);

const IS_OVER: u64 = u64::MAX;

/// A pass through that many layers begins.
pub fn pass_begins(n_layer: usize) {
    N_PASS.fetch_add(1, Relaxed);
    N_LAYER.store(n_layer as u64, Relaxed);
    LAYER.store(0, Relaxed);
    SINCE_US.store(clock::now_us(), Relaxed);
}

/// That many layers of it are done.
pub fn layers_done(n: u64, longest_us: u64) {
    LAYER.store(n, Relaxed);
    LONGEST_LAYER_US.store(longest_us, Relaxed);
    SINCE_US.store(clock::now_us(), Relaxed);
}

/// It is over.
pub fn pass_ends(us: u64) {
    LAYER.store(IS_OVER, Relaxed);
    LAST_PASS_US.store(us, Relaxed);
    SINCE_US.store(clock::now_us(), Relaxed);
}

/// A token was chosen.
pub fn token_chosen() {
    N_TOKEN.fetch_add(1, Relaxed);
}

/// The pass, from 1 on, and how many of its layers are done.
pub fn now() -> (u64, u64) {
    (N_PASS.load(Relaxed), LAYER.load(Relaxed))
}

/// Prints the last that is known, if anything is.
pub fn report() {
    let n_pass = N_PASS.load(Relaxed);
    if n_pass == 0 {
        return;
    }
    let ago_us = clock::now_us().saturating_sub(SINCE_US.load(Relaxed));
    let (n_token, last_us) = (N_TOKEN.load(Relaxed), LAST_PASS_US.load(Relaxed));
    match LAYER.load(Relaxed) {
        IS_OVER => {
            line!("axiom: last: {n_token} tokens; pass {n_pass} had ended {ago_us} us before, after {last_us} us")
        }
        layer => line!(
            "axiom: last: {n_token} tokens; pass {n_pass} had done {layer} of {} layers {ago_us} us before; \
             the pass before took {last_us} us, the longest layer {} us",
            N_LAYER.load(Relaxed),
            LONGEST_LAYER_US.load(Relaxed)
        ),
    }
}
