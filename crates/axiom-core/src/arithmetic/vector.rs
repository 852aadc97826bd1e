//! Whole-vector kernels: rmsnorm, the gate of the feed-forward, sums, rope (`docs/arithmetic.md`, section 5).

use super::LANES;
use super::elementary::{exp, silu};
use super::simd::Simd;

/// Runs `body(start, lanes)` over `n` elements in steps of 16; the last step may have fewer lanes.
#[inline(always)]
fn steps(n: usize, mut body: impl FnMut(usize, usize)) {
    let mut i = 0;
    while i < n {
        body(i, (n - i).min(LANES));
        i += LANES;
    }
}

/// Reads `lanes` f32, zeros after them.
///
/// # Safety
///
/// `p` is readable for `lanes` ≤ 16 values.
#[inline(always)]
pub(crate) unsafe fn load_lanes<S: Simd>(p: *const f32, lanes: usize) -> S::F {
    // SAFETY: the caller's duty; the copy is within both arrays.
    unsafe {
        if lanes == LANES {
            return S::load(p);
        }
        let mut part = [0f32; LANES];
        core::ptr::copy_nonoverlapping(p, part.as_mut_ptr(), lanes);
        S::load(part.as_ptr())
    }
}

/// Writes the first `lanes` f32.
///
/// # Safety
///
/// `p` is writable for `lanes` ≤ 16 values.
#[inline(always)]
pub(crate) unsafe fn store_lanes<S: Simd>(p: *mut f32, x: S::F, lanes: usize) {
    // SAFETY: the caller's duty; the copy is within both arrays.
    unsafe {
        if lanes == LANES {
            return S::store(p, x);
        }
        let mut part = [0f32; LANES];
        S::store(part.as_mut_ptr(), x);
        core::ptr::copy_nonoverlapping(part.as_ptr(), p, lanes);
    }
}

/// `out[i] = (x[i] × r) × w[i]`, `r = 1 ÷ sqrt(sum16(x × x) ÷ n + eps)`. `out` may be `x`.
///
/// # Safety
///
/// The processor has the instructions of `S`; the arrays hold `n` values.
#[inline(always)]
pub unsafe fn rms_norm<S: Simd>(x: *const f32, w: *const f32, n: usize, eps: f32, out: *mut f32) {
    // SAFETY: the caller's duty; `steps` stays below `n`.
    unsafe {
        let mut sums = S::splat(0.0);
        steps(n, |i, lanes| {
            let x = load_lanes::<S>(x.add(i), lanes);
            sums = S::add(sums, S::mul(x, x));
        });
        let mean = S::splat(S::tree_sum(sums) / n as f32 + eps);
        let r = S::div(S::splat(1.0), S::sqrt(mean));
        steps(n, |i, lanes| {
            let x = load_lanes::<S>(x.add(i), lanes);
            let w = load_lanes::<S>(w.add(i), lanes);
            store_lanes::<S>(out.add(i), S::mul(S::mul(x, r), w), lanes);
        });
    }
}

/// `out[i] = silu(gate[i]) × up[i]`. `out` may be either.
///
/// # Safety
///
/// The processor has the instructions of `S`; the arrays hold `n` values.
#[inline(always)]
pub unsafe fn silu_mul<S: Simd>(gate: *const f32, up: *const f32, n: usize, out: *mut f32) {
    // SAFETY: the caller's duty; `steps` stays below `n`.
    unsafe {
        steps(n, |i, lanes| {
            let gate = load_lanes::<S>(gate.add(i), lanes);
            let up = load_lanes::<S>(up.add(i), lanes);
            store_lanes::<S>(out.add(i), S::mul(silu::<S>(gate), up), lanes);
        });
    }
}

/// `x[i] = x[i] + y[i]`.
///
/// # Safety
///
/// The processor has the instructions of `S`; the arrays hold `n` values.
#[inline(always)]
pub unsafe fn add<S: Simd>(x: *mut f32, y: *const f32, n: usize) {
    // SAFETY: the caller's duty; `steps` stays below `n`.
    unsafe {
        steps(n, |i, lanes| {
            let sum = S::add(load_lanes::<S>(x.add(i), lanes), load_lanes::<S>(y.add(i), lanes));
            store_lanes::<S>(x.add(i), sum, lanes);
        });
    }
}

/// `x[i] = x[i] × a`.
///
/// # Safety
///
/// The processor has the instructions of `S`; the array holds `n` values.
#[inline(always)]
pub unsafe fn scale<S: Simd>(x: *mut f32, a: f32, n: usize) {
    // SAFETY: the caller's duty; `steps` stays below `n`.
    unsafe {
        steps(n, |i, lanes| {
            store_lanes::<S>(x.add(i), S::mul(load_lanes::<S>(x.add(i), lanes), S::splat(a)), lanes);
        });
    }
}

/// `out[i] = f16(x[i])`, to nearest even.
///
/// # Safety
///
/// The processor has the instructions of `S`; the arrays hold `n` values.
#[inline(always)]
pub unsafe fn to_f16<S: Simd>(x: *const f32, n: usize, out: *mut u16) {
    // SAFETY: the caller's duty; `steps` stays below `n`, and the copy is within both arrays.
    unsafe {
        steps(n, |i, lanes| {
            let mut part = [0u16; LANES];
            S::store_f16(part.as_mut_ptr(), load_lanes::<S>(x.add(i), lanes));
            core::ptr::copy_nonoverlapping(part.as_ptr(), out.add(i), lanes);
        });
    }
}

/// `out[i] = e^x[i]`. `out` may be `x`.
///
/// # Safety
///
/// The processor has the instructions of `S`; the arrays hold `n` values.
#[inline(always)]
pub unsafe fn exp_all<S: Simd>(x: *const f32, n: usize, out: *mut f32) {
    // SAFETY: the caller's duty; `steps` stays below `n`.
    unsafe {
        steps(n, |i, lanes| store_lanes::<S>(out.add(i), exp::<S>(load_lanes::<S>(x.add(i), lanes)), lanes));
    }
}

/// Turns the first `2 × n_pair` elements of one head; pair i is (2i, 2i + 1) if `adjacent`, else (i, i + n_pair).
///
/// # Safety
///
/// `head` holds `2 × n_pair` values, `cos` and `sin` hold `n_pair`.
#[inline(always)]
pub unsafe fn rope<S: Simd>(head: *mut f32, cos: *const f32, sin: *const f32, n_pair: usize, adjacent: bool) {
    for i in 0..n_pair {
        let (first, second) = if adjacent { (2 * i, 2 * i + 1) } else { (i, i + n_pair) };
        // SAFETY: the caller's duty; both indices are below 2 × n_pair.
        unsafe {
            let (x0, x1) = (*head.add(first), *head.add(second));
            let (c, s) = (*cos.add(i), *sin.add(i));
            *head.add(first) = x0 * c - x1 * s;
            *head.add(second) = x0 * s + x1 * c;
        }
    }
}
