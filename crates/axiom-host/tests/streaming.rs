//! Streamed is resident, bit for bit, at every budget; what is read is what is not pinned; faults are errors.

mod common;

use axiom_core::error::Error;
use axiom_core::format::Format;
use axiom_core::memory::KVFormat;
use axiom_core::model::MemoryPlan;
use axiom_core::platform::{BlockDevice, Completion, IoFault};
use axiom_core::runtime::{Append, Options};
use common::{Model, Packed, Tensor, config, load, tensors, usable};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

const OPTIONS: Options = Options { n_ctx: 700, n_seq_max: 5, rows_per_pass: 300, kv: KVFormat::F16 };

fn deep() -> axiom_core::config::ModelConfig {
    axiom_core::config::ModelConfig { n_layer: 7, ..config() }
}

fn model(name: &str, tied: bool) -> (axiom_core::config::ModelConfig, Vec<Tensor>, Packed) {
    let config = axiom_core::config::ModelConfig { tied_output: tied, ..deep() };
    let tensors = tensors(&config, Format::Q4_0, 3);
    let packed = Packed::new(&config, &tensors, name);
    (config, tensors, packed)
}

/// The logits of a prompt and of some tokens after it, one by one.
fn run(model: &mut Model, n_prompt: usize) -> Result<Vec<u32>, Error> {
    let tokens: Vec<u32> = (0..n_prompt as u32 + 6).map(|i| (i * 31 + 7) % 83).collect();
    let seq = model.engine.sequences().open()?;
    let mut bits = Vec::new();
    let mut start = 0;
    for end in n_prompt..=n_prompt + 6 {
        if end > start {
            let new = &tokens[start..end];
            let mut out = vec![0f32; new.len() * 83];
            let append = [Append { seq, tokens: new, n_logit: new.len() }];
            let done = model.engine.forward(&append, &mut out, &|_| false);
            if let Err(error) = done {
                model.engine.sequences().close(seq)?;
                return Err(error);
            }
            bits.extend(out.iter().map(|x| x.to_bits()));
        }
        start = end;
    }
    model.engine.sequences().close(seq)?;
    Ok(bits)
}

#[test]
fn streamed_is_resident_at_every_budget() {
    for tied in [false, true] {
        let (config, tensors, packed) = model(&format!("budgets-{tied}"), tied);
        let expected = run(&mut load(&config, &tensors, usable()[0], 1, KVFormat::F16), 500).unwrap();
        let layer = packed.layout.extents[1];
        let whole = packed.layout.bytes();
        let mut n_streamed = Vec::new();
        for budget in (0..=whole + layer).step_by(layer / 2) {
            let opened = packed.open(&config, packed.image(), budget, 1 + budget / layer % 3, OPTIONS);
            let mut model = match opened {
                Ok(model) => model,
                Err(Error::Budget { floor, budget }) if floor > budget => continue,
                Err(error) => panic!("{error}"),
            };
            let plan = model.engine.store().plan().clone();
            assert!(plan.bytes(&packed.layout) <= budget, "the plan keeps its budget");
            assert!(model.engine.bytes().weights <= budget + 16 * 8192, "and so does what is held");
            let before = model.engine.store().counts().bytes_read as usize;
            let n_pass = 2 + 6;
            assert!(run(&mut model, 500).unwrap() == expected, "budget {budget} of {whole}, tied {tied}");
            // The streamed share in each pass, what is read ahead of the next, and rows of the embedding; no more.
            let streamed = plan.bytes_streamed(&packed.layout);
            let read = model.engine.store().counts().bytes_read as usize - before;
            let rows = if plan.is_pinned[0] { 0 } else { 506 * 3 * 4096 };
            let most = n_pass * streamed + plan.n_landing * plan.bytes_landing + rows;
            assert!(n_pass * streamed <= read && read <= most, "{read} bytes read, {streamed} a pass");
            n_streamed.push(streamed / layer);
        }
        assert_eq!((n_streamed.first(), n_streamed.last()), (Some(&7), Some(&0)));
    }
}

#[test]
fn a_budget_below_the_floor_is_refused_with_both_numbers() {
    let (_, _, packed) = model("floor", false);
    let floor = MemoryPlan::smallest(&packed.layout).bytes(&packed.layout);
    assert_eq!(MemoryPlan::fit(&packed.layout, floor - 1), Err(Error::Budget { floor, budget: floor - 1 }));
    assert!(MemoryPlan::fit(&packed.layout, floor).is_ok());
}

#[test]
fn every_damaged_extent_is_found_before_it_is_computed_with() {
    let (config, _, packed) = model("damaged", false);
    let floor = MemoryPlan::smallest(&packed.layout).bytes(&packed.layout);
    let good = std::fs::read(&packed.path).unwrap();
    for (extent, at) in packed.extents.iter().enumerate() {
        let mut bad = good.clone();
        bad[at.offset as usize + packed.layout.extents[extent] / 3] ^= 0x10;
        std::fs::write(&packed.path, &bad).unwrap();
        // The smallest; all layers in memory, but not the embedding; everything.
        for budget in [floor, packed.layout.bytes() - 1, packed.layout.bytes()] {
            let found = packed.open(&config, packed.image(), budget, 2, OPTIONS).and_then(|mut model| {
                let first = run(&mut model, 3);
                assert_eq!(run(&mut model, 3), first, "it stays damaged");
                first
            });
            assert_eq!(found, Err(Error::Damaged { extent }));
        }
    }
    std::fs::write(&packed.path, &good).unwrap();
}

#[test]
fn cancelled_passes_change_nothing() {
    let (config, tensors, packed) = model("cancelled", false);
    let expected = run(&mut load(&config, &tensors, usable()[0], 1, KVFormat::F16), 40).unwrap();
    let floor = MemoryPlan::smallest(&packed.layout).bytes(&packed.layout);
    let mut model = packed.open(&config, packed.image(), floor, 2, OPTIONS).unwrap();
    let seq = model.engine.sequences().open().unwrap();
    for n in 0..60 {
        let polls = std::cell::Cell::new(0);
        let stop = |_| polls.replace(polls.get() + 1) == n % 8;
        let append = [Append { seq, tokens: &[1, 2, 3], n_logit: 0 }];
        assert_eq!(model.engine.forward(&append, &mut [], &stop), Err(Error::Cancelled), "at boundary {}", n % 8);
        assert_eq!(model.engine.sequences().len(seq), Ok(0));
        assert_eq!(model.engine.lock().held(), None);
    }
    model.engine.sequences().close(seq).unwrap();
    assert_eq!(model.engine.sequences().n_slab_held(), 0);
    assert!(run(&mut model, 40).unwrap() == expected);
}

/// A disk that has an answer only after somebody has waited for one.
struct Slow {
    disk: Box<dyn BlockDevice>,
    has_waited: AtomicBool,
    n_wait: Arc<AtomicUsize>,
}

// SAFETY: everything is passed on.
unsafe impl BlockDevice for Slow {
    fn align(&self) -> usize {
        self.disk.align()
    }
    fn bytes_request_max(&self) -> usize {
        self.disk.bytes_request_max()
    }
    fn n_request_max(&self) -> usize {
        self.disk.n_request_max()
    }
    fn is_in_order(&self) -> bool {
        self.disk.is_in_order()
    }
    unsafe fn submit(&self, tag: u32, offset: u64, to: *mut u8, bytes: usize) -> bool {
        // SAFETY: the caller's duty.
        unsafe { self.disk.submit(tag, offset, to, bytes) }
    }
    fn poll(&self) -> Option<Completion> {
        if self.has_waited.swap(false, SeqCst) { self.disk.poll() } else { None }
    }
    fn wait(&self) {
        self.n_wait.fetch_add(1, SeqCst);
        self.has_waited.store(true, SeqCst);
        self.disk.wait();
    }
}

#[test]
fn a_pass_that_is_to_end_waits_for_nothing_more() {
    let (config, _, packed) = model("stopped", false);
    let floor = MemoryPlan::smallest(&packed.layout).bytes(&packed.layout);
    let n_wait = Arc::new(AtomicUsize::new(0));
    let image = packed.image();
    let slow = Slow { disk: image.device, has_waited: AtomicBool::new(false), n_wait: Arc::clone(&n_wait) };
    let image = axiom_core::model::WeightImage { device: Box::new(slow), ..image };
    let mut model = packed.open(&config, image, floor, 2, OPTIONS).unwrap();
    let seq = model.engine.sequences().open().unwrap();
    for boundary in 0..config.n_layer {
        let n_seen = std::cell::Cell::new(0);
        let n_wait_before = std::cell::Cell::new(0);
        let stop = |_| {
            n_wait_before.set(n_wait.load(SeqCst));
            n_seen.replace(n_seen.get() + 1) == boundary
        };
        let append = [Append { seq, tokens: &[1, 2, 3], n_logit: 0 }];
        assert_eq!(model.engine.forward(&append, &mut [], &stop), Err(Error::Cancelled));
        assert_eq!(n_wait.load(SeqCst), n_wait_before.get(), "waits after boundary {boundary}");
    }
}

/// A disk that fails now and then.
struct Faulty {
    disk: Box<dyn BlockDevice>,
    n_answer: AtomicUsize,
    /// What becomes of answer number n.
    fault: fn(usize, Completion) -> Completion,
}

// SAFETY: everything is passed on; an answer may say less than was read, never more.
unsafe impl BlockDevice for Faulty {
    fn align(&self) -> usize {
        self.disk.align()
    }
    fn bytes_request_max(&self) -> usize {
        self.disk.bytes_request_max()
    }
    fn n_request_max(&self) -> usize {
        5
    }
    fn is_in_order(&self) -> bool {
        false
    }
    unsafe fn submit(&self, tag: u32, offset: u64, to: *mut u8, bytes: usize) -> bool {
        // SAFETY: the caller's duty.
        unsafe { self.disk.submit(tag, offset, to, bytes) }
    }
    fn poll(&self) -> Option<Completion> {
        self.disk.poll().map(|done| (self.fault)(self.n_answer.fetch_add(1, SeqCst), done))
    }
    fn wait(&self) {
        self.disk.wait();
    }
}

const BROKEN: IoFault = IoFault { what: "input/output error", code: 5 };

#[test]
fn faults_are_retried_once_then_one_error_and_the_next_pass_goes_on() {
    let (config, tensors, packed) = model("faults", false);
    let expected = run(&mut load(&config, &tensors, usable()[0], 1, KVFormat::F16), 20).unwrap();
    let floor = MemoryPlan::smallest(&packed.layout).bytes(&packed.layout);
    let open = |fault| {
        let image = packed.image();
        let faulty = Faulty { disk: image.device, n_answer: AtomicUsize::new(0), fault };
        let image = axiom_core::model::WeightImage { device: Box::new(faulty), ..image };
        packed.open(&config, image, floor, 2, OPTIONS)
    };
    // Short reads everywhere: the rest is asked for again.
    let mut short = open(|n, done| Completion {
        result: done.result.map(|b| if n % 3 == 0 && b > 4096 { b - 4096 } else { b }),
        ..done
    })
    .unwrap();
    assert!(run(&mut short, 20).unwrap() == expected);
    // One error in fifty: the second try succeeds. One in two: one error, and a pass after it is right.
    let mut rare = open(|n, done| if n % 50 == 3 { Completion { result: Err(BROKEN), ..done } } else { done }).unwrap();
    assert!(run(&mut rare, 20).unwrap() == expected);
    assert!(rare.engine.store().counts().n_retry > 10);
    let mut broken =
        open(
            |n, done| {
                if n > 40 && n % 2 == 0 || n % 97 > 90 { Completion { result: Err(BROKEN), ..done } } else { done }
            },
        )
        .unwrap();
    let outcomes: Vec<bool> = (0..12)
        .map(|_| match run(&mut broken, 20) {
            Ok(bits) => {
                assert!(bits == expected, "no wrong token");
                true
            }
            Err(Error::Read { fault, .. }) => {
                assert_eq!(fault, BROKEN);
                false
            }
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert!(outcomes.contains(&false), "{outcomes:?}");
    // An answer to nothing, and one that says too much.
    let mut alien =
        open(|n, done| if n == 60 { Completion { tag: done.tag ^ 0x7000_0000, ..done } } else { done }).unwrap();
    for _ in 0..3 {
        assert!(matches!(run(&mut alien, 20), Err(Error::UnknownTag { .. })), "what cannot be is not forgotten");
    }
    let mut long = open(|n, done| if n == 50 { Completion { result: Ok(1 << 40), ..done } } else { done }).unwrap();
    assert!(matches!(run(&mut long, 20), Err(Error::Completion { got: 0x100_0000_0000, .. })));
}
