//! Choosing a token and chaining its logits allocates nothing once the sampler stands.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use axiom_core::kernels::{CpuFeatures, Kernels};
use axiom_core::receipt::ReceiptChain;
use axiom_core::sample::{Parameters, Sampler};

thread_local! {
    /// Allocations of this thread: the test harness has threads of its own.
    static N_ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_ALLOCATIONS.set(N_ALLOCATIONS.get() + 1);
        // SAFETY: the caller's duties are those of the system allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const N_VOCAB: usize = 50_021;

/// Logits without pattern, many of them equal: a multiplicative hash of the token, in steps of 1/64.
fn logits() -> Vec<f32> {
    (0..N_VOCAB as u32).map(|token| (token.wrapping_mul(2_654_435_761) >> 22) as f32 / 64.0 - 8.0).collect()
}

#[test]
fn no_setting_allocates() {
    let logits = logits();
    let history: Vec<u32> = (0..300).map(|idx| idx * idx % 1000).collect();
    let neutral = Parameters::default;
    let settings = [
        neutral(),
        Parameters { temperature: 0.0, ..neutral() },
        Parameters { temperature: 0.0, logit_bias: vec![(3, 1.0), (9, f64::NEG_INFINITY)], ..neutral() },
        Parameters { top_k: 40, top_p: 0.95, min_p: 0.05, temperature: 0.8, ..neutral() },
        Parameters { top_k: N_VOCAB as u32 - 1, temperature: 4.0, ..neutral() },
        Parameters { top_p: 0.9999, ..neutral() },
        Parameters { typical_p: 0.9, repeat_penalty: 1.2, repeat_last_n: -1, ..neutral() },
        Parameters { min_p: 0.001, frequency_penalty: 0.5, presence_penalty: 0.1, ..neutral() },
    ];
    let mut top = [(0, 0.0); 20];
    let kernels = Kernels::choose(&CpuFeatures::detect(), None).expect("a table for this processor");
    for parameters in settings {
        let mut sampler = Sampler::new(kernels, N_VOCAB, parameters).expect("valid settings");
        let mut chain = ReceiptChain::new("axiom-arithmetic-1", &[7; 32], &history, &[]);
        let before = N_ALLOCATIONS.get();
        for position in 0..4 {
            let token = sampler.sample(&logits, &history, position).expect("a token");
            sampler.logprobs(&logits, token, &mut top).expect("log-probabilities");
            chain.update(position, token, &logits).expect("finite logits");
        }
        assert_eq!(N_ALLOCATIONS.get() - before, 0, "{:?}", sampler.parameters());
    }
}

#[test]
fn the_counter_counts() {
    let before = N_ALLOCATIONS.get();
    drop(std::hint::black_box(Vec::<u8>::with_capacity(100)));
    assert_eq!(N_ALLOCATIONS.get() - before, 1);
}
