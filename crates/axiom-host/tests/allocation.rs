//! After start-up nothing allocates in the token path, counted by the allocator itself.

mod common;

use axiom_core::format::Format;
use axiom_core::memory::KVFormat;
use axiom_core::runtime::Append;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's duty.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's duty.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_token_path_does_not_allocate() {
    let config = common::config();
    let tensors = common::tensors(&config, Format::Q4_0, 1);
    let mut model = common::load(&config, &tensors, common::usable()[0], 2, KVFormat::F16);
    let seqs = [model.engine.sequences().open().unwrap(), model.engine.sequences().open().unwrap()];
    let prompt: Vec<u32> = (0..300).map(|i| i % 83).collect();
    let mut out = vec![0f32; 2 * config.n_vocab];
    let mut step = |tokens: [&[u32]; 2]| {
        let batch = [0, 1].map(|i| Append { seq: seqs[i], tokens: tokens[i], n_logit: 1 });
        model.engine.forward(&batch, &mut out, &|_| false).unwrap();
    };
    step([&prompt[..1], &prompt[..1]]); // warm-up: threads start, pages are touched
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    step([&prompt, &prompt[..70]]);
    for _ in 0..200 {
        step([&prompt[..1], &prompt[..1]]);
    }
    assert_eq!(ALLOCATIONS.load(Ordering::SeqCst) - before, 0, "allocations in prefill of 300 and 200 decode steps");
}
